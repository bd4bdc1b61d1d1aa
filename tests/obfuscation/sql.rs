//! SQL: our obfuscator beside the oracle, statement by statement, and what must hold for every statement.

use std::collections::BTreeMap;

use libdd_trace_obfuscation::obfuscation_config::{DbmsKind, SqlConfig};
use libdd_trace_obfuscation::sql::obfuscate_sql_resource;
use proptest::prelude::*;
use thimble::config::apm::SqlObfuscation;
use thimble::traces::obfuscate::sql::Sql;

use crate::statements::{DATABASES, SECRETS, Statement, made, one, written};

/// What stands for a statement that cannot be obfuscated.
const REFUSED: &str = "Non-parsable SQL query";

/// Replacements of texts.
type Texts = &'static [(&'static str, &'static str)];

/// A kind of difference. What the oracle makes of the statement rewritten by `statement`, rewritten by `answer`, must be
/// what we make of the statement as it is: so a class explains what it names and nothing else.
struct Class {
    why: &'static str,
    statement: Texts,
    answer: Texts,
}

const CLASSES: &[Class] = &[
    Class {
        why: "a prefix is a part of its literal: the oracle leaves it as a name, so that lists of N'…' do not collapse, and \
              does not know that E'…' always has escapes",
        statement: &[
            ("E's3cret\\'s'", "'s'"),
            ("E's3cret\\'s3cret'", "'s'"),
            ("E'\\\\d+'", "'s'"),
            ("U&'", "'"),
            ("N's", "'s"),
            ("_utf8'", "'"),
            ("B'", "'"),
            ("b'", "'"),
        ],
        answer: &[],
    },
    Class {
        why: "Oracle's q'[…]': the oracle leaks what follows a quote inside",
        statement: &[
            ("nq'<s3cret>'", "'x'"),
            ("q'[s3cret 'x']'", "'x'"),
            ("q'[it's s3cret]'", "'x'"),
            ("Q'{s3cret}'", "'x'"),
            ("q'!s3cret's!'", "'x'"),
        ],
        answer: &[],
    },
    Class {
        why: "MySQL's double quotes are strings: the oracle leaks them, as the Go agent does",
        statement: &[
            ("\"it\"\"s s3cret\"", "'x'"),
            ("\"\\\"s3cret\"", "'x'"),
            ("\"s3cret\"", "'x'"),
            ("\"s3cret%\"", "'x'"),
            ("LISTEN \"a channel\"", "LISTEN 'x'"),
        ],
        answer: &[],
    },
    Class {
        why: "a double quoted string behind := is a value, as in the Go agent: the oracle leaks it",
        statement: &[(":= \"s3cret\"", ":= 's3cret'")],
        answer: &[],
    },
    Class {
        why: "comments nest in Postgres and SQL Server: the oracle leaks the rest of the outer one",
        statement: &[("/* outer /* s3cret */ 4711 s3cret */", "/* outer */")],
        answer: &[],
    },
    Class {
        why: "what does not end is a literal up to the end: the oracle leaks it where it is in brackets or dollars",
        statement: &[("[ ROW ( array [ 'magic', 'foo',", "?"), ("$open$s3cret FROM t", "?")],
        answer: &[],
    },
    Class {
        why: "a number that a name is multiplied with is no part of the name: the oracle leaks it, as the Go agent does",
        statement: &[("price*", "price * ")],
        answer: &[("price * qty", "price*qty")],
    },
    Class {
        why: "1_000, 0b1 and 0o7 are numbers: the oracle leaks them but for the first digit",
        statement: &[("1_000_4711", "1"), ("0b1011", "1"), ("0o4711", "1")],
        answer: &[],
    },
    Class {
        why: "a letter e behind a number is an exponent only before digits: the oracle eats the e of a word",
        statement: &[("1else", "1 else")],
        answer: &[],
    },
    Class {
        why: "names end at # and @ in Postgres, and # is an operator there: the oracle splits #> and @>, and takes # for a \
              comment, where the Go agent has operators",
        statement: &[("data#", "data #"), ("tags@", "tags @"), ("a # 4711", "a ^ 4711")],
        answer: &[("a ^ ?", "a # ?")],
    },
    Class {
        why: "the bounds of a slice are numbers: the oracle leaks the upper one as a bind parameter",
        statement: &[("1:4711", "1: 4711")],
        answer: &[],
    },
    Class {
        why: "rows collapse everywhere, as in the Go agent: in the oracle only behind VALUES",
        statement: &[],
        answer: &[("( ? ) ( ? )", "( ? )"), ("( ? ) ( ? )", "( ? )")],
    },
    Class {
        why: "the literal behind a parenthesis stays: in the oracle that depends on whether a blank comes before it",
        statement: &[("),?", "), ?")],
        answer: &[],
    },
    Class {
        why: "a comma behind ] stays, as in the Go agent: in the oracle that depends on whether a blank comes before it",
        statement: &[("4711], ", "4711] , "), ("])), y", "] ) ), y")],
        answer: &[],
    },
    Class {
        why: "<=> is one operator, as in the Go agent: the oracle tears it apart",
        statement: &[],
        answer: &[("<= >", "<=>")],
    },
    Class {
        why: "{ ? = call p() } is a call, as in the Go agent: the oracle drops it",
        statement: &[("{ ? = call p('s3cret') }", "{call result(4711)}")],
        answer: &[("{ call result", "{ ? = call p")],
    },
    Class {
        why: "an empty name keeps its quotes and nothing else, as in the Go agent: the oracle keeps the blanks",
        statement: &[("`  `", "``")],
        answer: &[],
    },
    Class {
        why: "a doubled bracket is one in the name: the oracle ends the name there",
        statement: &[("[a]]b]", "`a]b`")],
        answer: &[],
    },
];

fn ours(sql: &mut Sql, s: &Statement, options: &SqlObfuscation) -> String {
    let mut out = Vec::new();
    let obfuscated = sql.obfuscate(s.text.as_bytes(), s.dialect(), options, &mut out);
    assert_eq!(obfuscated, !out.is_empty(), "{s:?}");
    if obfuscated { String::from_utf8(out).expect("UTF-8") } else { REFUSED.to_owned() }
}

fn theirs(text: &str, db: &str, options: &SqlObfuscation) -> String {
    let kind = match db {
        "mssql" => DbmsKind::Mssql,
        "mysql" => DbmsKind::Mysql,
        "postgresql" => DbmsKind::Postgresql,
        "oracle" => DbmsKind::Oracle,
        _ => DbmsKind::Generic,
    };
    let config = SqlConfig {
        replace_digits: options.replace_digits,
        keep_sql_alias: options.keep_sql_alias,
        dollar_quoted_func: options.dollar_quoted_func,
        keep_null: options.keep_null,
        keep_boolean: options.keep_boolean,
        ..SqlConfig::default()
    };
    obfuscate_sql_resource(text, &config, kind)
}

fn rewrite(text: &str, texts: Texts) -> String {
    texts.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Whether the classes of `chosen` make the oracle agree.
fn explains(s: &Statement, options: &SqlObfuscation, ours: &str, chosen: &[usize]) -> bool {
    let text = chosen.iter().fold(s.text.clone(), |text, &class| rewrite(&text, CLASSES[class].statement));
    let answer = theirs(&text, s.db, options);
    chosen.iter().fold(answer, |text, &class| rewrite(&text, CLASSES[class].answer)) == ours
}

/// The classes that explain a difference, none too many.
fn explanation(s: &Statement, options: &SqlObfuscation, ours: &str) -> Option<Vec<usize>> {
    let mut chosen: Vec<usize> = (0..CLASSES.len()).collect();
    if !explains(s, options, ours, &chosen) {
        return None;
    }
    for class in 0..CLASSES.len() {
        let fewer: Vec<usize> = chosen.iter().copied().filter(|&other| other != class).collect();
        if explains(s, options, ours, &fewer) {
            chosen = fewer;
        }
    }
    Some(chosen)
}

fn all_options() -> Vec<SqlObfuscation> {
    let usual = SqlObfuscation { table_names: true, ..SqlObfuscation::default() };
    vec![
        usual,
        SqlObfuscation { replace_digits: true, ..SqlObfuscation::default() },
        SqlObfuscation { keep_sql_alias: true, keep_null: true, keep_boolean: true, ..usual },
    ]
}

#[test]
fn every_difference_from_the_oracle_has_a_reason() {
    let statements: Vec<Statement> = written().into_iter().chain(made(1000)).collect();
    assert!(statements.len() >= 1500, "{}", statements.len());
    let (mut sql, mut found, mut unknown) = (Sql::new(), BTreeMap::<usize, usize>::new(), 0);
    for options in all_options() {
        for s in &statements {
            let ours = ours(&mut sql, s, &options);
            let theirs = theirs(&s.text, s.db, &options);
            if ours == theirs {
                continue;
            }
            match explanation(s, &options, &ours) {
                Some(classes) => classes.into_iter().for_each(|class| *found.entry(class).or_default() += 1),
                None => {
                    unknown += 1;
                    println!("db.type {:?}: {}\n  ours:   {ours}\n  oracle: {theirs}", s.db, s.text);
                }
            }
        }
    }
    for (class, count) in &found {
        println!("{count:5} differences: {}", CLASSES[*class].why);
    }
    assert_eq!(unknown, 0, "differences without a reason, see above");
    let gone: Vec<&str> = (0..CLASSES.len()).filter(|c| !found.contains_key(c)).map(|c| CLASSES[c].why).collect();
    assert!(gone.is_empty(), "reasons without a difference: {gone:#?}");
}

/// Nothing of what is secret is left, the output is bounded, and to obfuscate it once more changes nothing.
fn holds(sql: &mut Sql, s: &Statement) {
    for keep_sql_alias in [false, true] {
        let options = SqlObfuscation { keep_sql_alias, ..SqlObfuscation::default() };
        let once = ours(sql, s, &options);
        assert!(!SECRETS.iter().any(|secret| once.contains(secret)), "{s:?}: {once}");
        assert!(once == REFUSED || once.len() <= 2 * s.text.len(), "{s:?}: {once}");
        // What stood in quotes is bare now, and what stood around an alias is side by side: both may be read as something
        // else.
        if keep_sql_alias && once != REFUSED && !s.text.contains(['"', '`', '[']) {
            let again = ours(sql, &Statement { text: once.clone(), db: s.db }, &options);
            assert_eq!(once, again, "{s:?}");
        }
    }
}

#[test]
fn nothing_secret_is_left() {
    let mut sql = Sql::new();
    for s in written().iter().chain(&made(1000)) {
        holds(&mut sql, s);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_secret_is_left_of_any(seed in any::<u64>(), db in proptest::sample::select(&DATABASES[..])) {
        holds(&mut Sql::new(), &one(seed, db));
    }
}
