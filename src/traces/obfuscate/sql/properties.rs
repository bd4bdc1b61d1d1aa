//! What holds for every input: no panic, a bounded output, valid text stays valid, and a cost that its length bounds.

use proptest::prelude::*;

use super::pass::{self, Reading};
use super::tables::Tables;
use super::{Dialect, Sql};
use crate::config::apm::SqlObfuscation;

const DIALECTS: [Dialect; 6] =
    [Dialect::Other, Dialect::SqlServer, Dialect::MySql, Dialect::Postgres, Dialect::Oracle, Dialect::Sqlite];

/// What confuses tokenizers, to be put together at random.
const PIECES: &[&str] = &[
    "'",
    "''",
    "\"",
    "`",
    "``",
    "[",
    "]",
    "(",
    ")",
    "( ",
    " )",
    ",",
    ", ",
    ";",
    ".",
    "..",
    "*",
    "-",
    "--",
    "/*",
    "*/",
    "/",
    "//",
    "#",
    "#>",
    "\\",
    "\\'",
    "$",
    "$$",
    "$func$",
    "$1",
    "$t$",
    "%",
    "%s",
    "%(",
    "?",
    "?|",
    "?&",
    ":",
    "::",
    ":=",
    ":a",
    "=",
    "@",
    "@a",
    "@>",
    "<@",
    "<=>",
    "!",
    "~*",
    "{",
    "}",
    "{call ",
    "0",
    "0x",
    "1e",
    "1.",
    ".5",
    "-1",
    "1_0",
    " ",
    "\n",
    "\t",
    "\u{a0}",
    "\u{3000}",
    "\u{1f980}",
    "é",
    "a",
    "e",
    "N",
    "q'[",
    "]'",
    "E'",
    "U&'",
    "_x'",
    " AS ",
    " as [",
    " NULL ",
    " true ",
    "SELECT ",
    " FROM ",
    " JOIN ",
    " UPDATE ",
    " INTO ",
    "SAVEPOINT ",
    "VALUES ",
    "(1), (2)",
    "\0",
];

fn options() -> impl Strategy<Value = SqlObfuscation> {
    any::<[bool; 6]>().prop_map(|[a, b, c, d, e, f]| SqlObfuscation {
        table_names: a,
        replace_digits: b,
        keep_sql_alias: c,
        dollar_quoted_func: d,
        keep_null: e,
        keep_boolean: f,
    })
}

fn statement() -> impl Strategy<Value = Vec<u8>> {
    let pieces = proptest::collection::vec(proptest::sample::select(PIECES), 0..40);
    prop_oneof![
        6 => pieces.prop_map(|pieces| pieces.concat().into_bytes()),
        1 => ".{0,60}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..60),
    ]
}

fn dialect() -> impl Strategy<Value = Dialect> {
    proptest::sample::select(&DIALECTS[..])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_input(statement in statement(), dialect in dialect(), options in options()) {
        let (mut sql, mut out) = (Sql::new(), Vec::new());
        let done = sql.obfuscate(&statement, dialect, &options, &mut out);
        prop_assert_eq!(done, !out.is_empty());
        prop_assert!(out.len() <= 2 * statement.len(), "{} of {}", out.len(), statement.len());
        prop_assert!(sql.tables().len() <= 4096);
        if std::str::from_utf8(&statement).is_ok() {
            prop_assert!(std::str::from_utf8(&out).is_ok());
        }
        let mut again = Vec::new();
        prop_assert_eq!(sql.obfuscate(&statement, dialect, &options, &mut again), done);
        prop_assert_eq!(again, out);
    }

    /// Whatever is in a string, it is not in the output, and does not change it.
    #[test]
    fn strings_are_hidden(
        content in "[^'\\\\]{0,30}", dialect in dialect(), around in proptest::sample::select(&[
            ("SELECT a FROM b WHERE c = ", " AND d"), ("VALUES (", ")"), ("", ""), ("IN (1, ", ", 2)"),
            ("f(", " || x)"), ("{call p(", ")}"), ("a LIKE N", ""), ("a -> ", " ->> b"), ("(([", "])"),
        ][..]),
    ) {
        let (before, after) = around;
        prop_assume!(dialect != Dialect::SqlServer || !before.ends_with('['));
        let run = |literal: &str| {
            let mut out = Vec::new();
            Sql::new().obfuscate(format!("{before}{literal}{after}").as_bytes(), dialect, &SqlObfuscation::default(), &mut out);
            out
        };
        prop_assert_eq!(run(&format!("'{content}'")), run("'x'"));
        if before != "a LIKE N" && !content.contains('$') {
            prop_assert_eq!(run(&format!("$t${content}$t$")), run("'x'"));
        }
    }
}

/// How many bytes the loops go over, both readings of the strings added up.
fn looked(statement: &[u8], dialect: Dialect) -> usize {
    let options = SqlObfuscation { table_names: true, dollar_quoted_func: true, ..SqlObfuscation::default() };
    let run = |escapes| {
        let reading = Reading { statement, dialect, escapes, options };
        let mut out = Vec::new();
        let found = pass::run(reading, &mut Tables::default(), &mut out);
        assert!(out.len() <= 2 * statement.len());
        found.looked
    };
    run(true) + run(false)
}

/// Every piece, every pair of pieces, and every piece after an opening, over and over: each would be quadratic if
/// something were looked for again and again.
#[test]
fn the_cost_is_linear() {
    let mut patterns: Vec<(String, String)> = Vec::new();
    for first in PIECES {
        patterns.push((String::new(), (*first).to_owned()));
        for second in PIECES {
            patterns.push((String::new(), format!("{first}{second}")));
            patterns.push(((*first).to_owned(), (*second).to_owned()));
        }
    }
    patterns.push((String::new(), "$abcdefghijklmnopqrstuvwxyz".to_owned()));
    for (start, pattern) in patterns {
        let statement = format!("{start}{}", pattern.repeat(100));
        for dialect in DIALECTS {
            let looked = looked(statement.as_bytes(), dialect);
            assert!(looked <= 8 * statement.len() + 64, "{start:?} {pattern:?} {dialect:?}: {looked}");
        }
    }
}
