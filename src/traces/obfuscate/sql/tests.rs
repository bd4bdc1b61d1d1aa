//! What statements become, row by row: the rules of the Go agent, and where we differ from it.

use super::{Dialect, Sql};
use crate::config::apm::SqlObfuscation;

const ALL: [Dialect; 6] =
    [Dialect::Other, Dialect::SqlServer, Dialect::MySql, Dialect::Postgres, Dialect::Oracle, Dialect::Sqlite];

fn obfuscated(dialects: &[Dialect], options: SqlObfuscation, statement: &str) -> Vec<Option<String>> {
    let mut sql = Sql::new();
    let mut run = |&dialect: &Dialect| {
        let mut out = b"kept".to_vec();
        let done = sql.obfuscate(statement.as_bytes(), dialect, &options, &mut out);
        let text = String::from_utf8(out).unwrap();
        let text = text.strip_prefix("kept").unwrap().to_owned();
        assert!(done || text.is_empty());
        done.then_some(text)
    };
    dialects.iter().map(&mut run).collect()
}

/// What each of `dialects` makes of a statement with the usual options.
fn check(dialects: &[Dialect], statement: &str, expected: &str) {
    for (dialect, text) in dialects.iter().zip(obfuscated(dialects, SqlObfuscation::default(), statement)) {
        assert_eq!(text.as_deref(), Some(expected), "{dialect:?}: {statement}");
    }
}

fn check_options(options: SqlObfuscation, statement: &str, expected: &str) {
    assert_eq!(obfuscated(&[Dialect::Other], options, statement), [Some(expected.to_owned())], "{statement}");
}

fn refused(statement: &str) {
    for text in obfuscated(&ALL, SqlObfuscation::default(), statement) {
        assert_eq!(text, None, "{statement}");
    }
}

#[test]
fn literals() {
    let check =
        |literal: &str| check(&ALL, &format!("SELECT a WHERE b > {literal} AND c"), "SELECT a WHERE b > ? AND c");
    for literal in
        ["1", "-1", "1.5", "-.5", ".5", "1.", "1e9", "1E-9", "1.5e+9", "0xff", "0XFF", "0b101", "0o17", "089"]
    {
        check(literal);
    }
    check("340282366920938463463374607431768211456");
    check("1_000_000.000_1");
    for literal in ["''", "' '", "'a'", "'it''s'", "'a -- b'", "'/*'", "'\u{1f980}'", "'a;b'", "'a\nb'"] {
        check(literal);
    }
    for literal in ["N'a'", "n'a'", "E'a\\'b'", "B'101'", "X'ff'", "x'ff'", "U&'d\\0061t'", "_utf8mb4'a'"] {
        check(literal);
    }
    for literal in ["$1", "$1.5", "$?", "%s", "%(name)s", "$$a$$", "$tag$a $ $b$ '$tag$", "NULL", "true", "False"] {
        check(literal);
    }
    check("{'a': {'b': '}'}}");
    check("{fn now()}");
}

#[test]
fn literals_of_one_dialect() {
    for literal in ["q'[it's]'", "Q'{a'b}'", "q'<'>'", "q'(')'", "q'!'a!'", "nq'[a']'"] {
        let statement = format!("SELECT {literal} FROM dual");
        check(&[Dialect::Oracle, Dialect::Other], &statement, "SELECT ? FROM dual");
    }
    check(&[Dialect::MySql], r#"SELECT "a" FROM t WHERE b LIKE "c""#, "SELECT ? FROM t WHERE b LIKE ?");
    check(&[Dialect::MySql], r#"SELECT "a"."b", c."d" FROM "e""#, "SELECT a . b, c. d FROM e");
    check(&[Dialect::Postgres], "SELECT a[1:2]", "SELECT a [ ? : ? ]");
    check(&[Dialect::Postgres, Dialect::Oracle], "SELECT b = :1", "SELECT b = :1");
}

#[test]
fn backslashes() {
    // Either way is tried: the usual one of the dialect first.
    check(&ALL, r"SELECT 'it\'s', b", "SELECT ? b");
    check(&ALL, r"SELECT 'C:\', b", "SELECT ? b");
    check(&ALL, r"SELECT 'C:\', b, 'D:\'", "SELECT ? b, ?");
    check(&ALL, r"SELECT a FROM t WHERE b IN ('C:\\', 'it\'s')", "SELECT a FROM t WHERE b IN ( ? )");
    check(&[Dialect::Other, Dialect::MySql], r"SELECT 'a\' OR b = 'c\' OR d", "SELECT ? OR b = ? OR d");
    check(&[Dialect::Postgres], r"SELECT 'a\', E'b\', c', d", "SELECT ? d");
    // No way makes sense, so that it is not known what is a literal.
    refused(r"SELECT 'a\' \ 'b'");
}

#[test]
fn what_does_not_end_is_a_literal() {
    check(&ALL, "SELECT a WHERE b = 'c", "SELECT a WHERE b = ?");
    check(&ALL, "SELECT a FROM \"b", "SELECT a FROM ?");
    check(&ALL, "SELECT a FROM `b", "SELECT a FROM ?");
    check(&ALL, "SELECT a FROM $b$c", "SELECT a FROM ?");
    check(&ALL, "SELECT {a 'b", "SELECT ?");
    check(&ALL, "SELECT a /* b", "SELECT a");
    check(&ALL, "SELECT %(a b", "SELECT ?");
    check(&ALL, "SELECT a AS", "SELECT a AS");
    check(&[Dialect::SqlServer], "SELECT [a", "SELECT ?");
    check(&[Dialect::Oracle], "SELECT q'[a]", "SELECT ?");
}

#[test]
fn nothing_is_left() {
    for statement in ["", " ", "\t\r\n", "-- a", "/* a */", "// a", ";", "AS /* b */ c"] {
        refused(statement);
    }
}

#[test]
fn comments() {
    check(&ALL, "SELECT a -- b\nFROM c", "SELECT a FROM c");
    check(&ALL, "SELECT a // b\nFROM c", "SELECT a FROM c");
    check(&ALL, "SELECT a/*b*/FROM/**/c/***/", "SELECT a FROM c");
    check(&ALL, "SELECT a AS /* b */ c, d", "SELECT a, d");
    check(&ALL, "SELECT 1, /* b */ 2", "SELECT ?");
    check(&[Dialect::Other, Dialect::MySql, Dialect::Oracle], "SELECT a #b\n,c", "SELECT a, c");
    check(&[Dialect::Other, Dialect::MySql, Dialect::Oracle], "SELECT a #\nFROM c", "SELECT a FROM c");
    check(&[Dialect::SqlServer], "SELECT a FROM #b", "SELECT a FROM #b");
    check(&[Dialect::Postgres, Dialect::SqlServer], "SELECT /* a /* b */ c */ d", "SELECT d");
    check(&[Dialect::MySql, Dialect::Oracle], "SELECT /* a /* b */ c", "SELECT c");
}

#[test]
fn lists() {
    check(&ALL, "a IN (1, 2, 3)", "a IN ( ? )");
    check(&ALL, "a IN ($1,$2)", "a IN ( ? )");
    check(&ALL, "a IN (?, ?, ?)", "a IN ( ? )");
    check(&ALL, "a IN (:b, :c)", "a IN ( :b, :c )");
    check(&ALL, "a IN ((1, 2), (3, 4)) AND b", "a IN ( ( ? ) ) AND b");
    check(&ALL, "VALUES (1, 'a'), (2, 'b'), (3, 'c') RETURNING id", "VALUES ( ? ) RETURNING id");
    check(&ALL, "VALUES (now(), 1), (now(), 2)", "VALUES ( now ( ), ? ) ( now ( ), ? )");
    check(&ALL, "VALUES (1), (SELECT a), (2)", "VALUES ( ? ) ( SELECT a ), ( ? )");
    check(&[Dialect::Other, Dialect::Postgres], "ARRAY[1, 2], b", "ARRAY [ ? ], b");
    check(&ALL, "SET a = 1, b = 2", "SET a = ? b = ?");
    check(&ALL, "LIMIT 1, 20;", "LIMIT ?");
    check(&ALL, "f(a, 1), 2, b", "f ( a, ? ) ? b");
    check(&ALL, "f(), g ()", "f ( ), g ( )");
}

#[test]
fn names_and_aliases() {
    check(&[Dialect::Other], "SELECT a AS b, c \"d\" FROM e AS f", "SELECT a, c d FROM e");
    check(&ALL, "SELECT `a`.`b`, `c`.* FROM `d`", "SELECT a . b, c.* FROM d");
    check(&ALL, "SELECT `a``b`, ``", "SELECT a`b, ``");
    check(&ALL, "SELECT CAST(a AS int), b", "SELECT CAST ( a ), b");
    check(&ALL, "WITH a AS (SELECT 1) SELECT b", "WITH a SELECT ? ) SELECT b");
    check(&ALL, "CREATE PROCEDURE a AS BEGIN b", "CREATE PROCEDURE a AS BEGIN b");
    check(&ALL, "SAVEPOINT a; SAVEPOINT \"b\"", "SAVEPOINT ? SAVEPOINT ?");
    check(&ALL, "SELECT b = \"c\"", "SELECT b = ?");
    check(&ALL, "SELECT @a := \"c\", @d", "SELECT @a := ? @d");
    check(&[Dialect::Other, Dialect::MySql, Dialect::SqlServer], "SELECT @@a", "SELECT @@a");
    check(&ALL, "SELECT größe, 表.列 FROM 🦀", "SELECT größe, 表.列 FROM 🦀");
    check(&ALL, "SELECT\u{3000}a\u{a0}FROM\u{2003}b", "SELECT a FROM b");
    check(&[Dialect::SqlServer], "SELECT [a].[b], [c].d, [e]]f] AS [g h]", "SELECT a . b, c.d, e]f");
    check(&[Dialect::Other, Dialect::MySql], "SELECT [a].[b] AS [c d], e", "SELECT [ a ] . [ b ], e");
    check(&[Dialect::SqlServer], "OUTPUT $action, a", "OUTPUT $action, a");
}

#[test]
fn operators() {
    check(&ALL, "a<>b!=c<=d>=e", "a <> b != c <= d >= e");
    check(&ALL, "a||b&&c", "a | | b & & c");
    check(&ALL, "a::text <=> b", "a :: text <=> b");
    check(&ALL, "a !~* 'b' OR a ~* 'c' OR !d", "a !~* ? OR a ~* ? OR ! d");
    check(&ALL, "a - 1, b -1, c-1", "a - ? b ? c ?");
    check(&ALL, "price*4, price*qty, 5*c", "price * ? price*qty, ? * c");
    check(&ALL, "a % 5, a %b", "a % ? a ?");
    check(&ALL, "a -> 'b' ->> 'c'", "a -> ? ->> ?");
    check(&ALL, "{call p(?, 'a')}", "{ call p ( ? ) }");
    check(&ALL, "{ ? = call p(1) }", "{ ? = call p ( ? ) }");
    check(&ALL, "autovacuum: VACUUM a", "autovacuum : VACUUM a");
    check(&[Dialect::Postgres], "a#>'b' #>> 'c' #- 'd' # 5", "a #> ? #>> ? #- ? # ?");
    check(&[Dialect::Postgres], "a@>b AND c <@ d AND e ? 'f' AND g ?| h", "a @> b AND c <@ d AND e ? ? AND g ?| h");
    check(&[Dialect::Postgres], "a @@ b", "a @@ b");
    check(&[Dialect::Other], "a<@b", "a < @b");
}

#[test]
fn options() {
    let usual = SqlObfuscation::default();
    let digits = SqlObfuscation { replace_digits: true, ..usual };
    check_options(digits, "SELECT a1 FROM t_2019_07 JOIN `u12x3`", "SELECT a? FROM t_?_? JOIN u?x?");
    check_options(digits, "SELECT @p1, :p1, \"c1\"", "SELECT @p?, :p1, c1");
    check_options(SqlObfuscation { table_names: true, ..digits }, "SELECT \"c1\" FROM \"t1\"", "SELECT c1 FROM t?");
    check_options(SqlObfuscation { keep_sql_alias: true, ..usual }, "SELECT a AS b, 1 AS c", "SELECT a AS b, ? AS c");
    check_options(SqlObfuscation { keep_null: true, ..usual }, "a IS NULL, TRUE", "a IS NULL, ?");
    check_options(SqlObfuscation { keep_boolean: true, ..usual }, "a IS NULL, TRUE", "a IS ? TRUE");
    let function = SqlObfuscation { dollar_quoted_func: true, ..usual };
    check_options(function, "DO $func$ SELECT 'a', $b$c$b$ $func$ d", "DO $func$SELECT ?$func$ d");
    check_options(function, "DO $func$$func$, $func$'$func$, $x$a$x$", "DO ?");
    check_options(usual, "DO $func$ SELECT 1 $func$", "DO ?");
}

#[test]
fn tables() {
    let mut sql = Sql::new();
    let mut check = |dialect, statement: &str, expected: &str| {
        let options = SqlObfuscation { table_names: true, ..SqlObfuscation::default() };
        assert!(sql.obfuscate(statement.as_bytes(), dialect, &options, &mut Vec::new()));
        assert_eq!(String::from_utf8_lossy(sql.tables()), expected, "{statement}");
    };
    check(Dialect::Other, "SELECT a FROM b JOIN c ON d JOIN b ON e", "b,c");
    check(Dialect::Other, "INSERT INTO a (b) SELECT c FROM d", "a,d");
    check(Dialect::Other, "UPDATE a SET b = 1", "a");
    check(Dialect::Other, "DELETE FROM a.b WHERE c", "a.b");
    check(Dialect::Other, "SELECT a FROM (SELECT b FROM _c) d", "_c");
    check(Dialect::Other, "SELECT 1", "");
    check(Dialect::Postgres, "SELECT a FROM \"b\".\"c\", d JOIN e.\"f\"", "b.c,e.f");
    check(Dialect::SqlServer, "SELECT a FROM [b].[c d] AS x JOIN #t", "b.c d");
    check(Dialect::Postgres, "INSERT INTO a VALUES (1) ON CONFLICT DO UPDATE SET b = 1", "a");
    check(Dialect::MySql, "INSERT INTO a VALUES (1) ON DUPLICATE KEY UPDATE b = 1", "a");
    check(Dialect::Other, "SELECT a FROM b FOR UPDATE NOWAIT", "b");
    let many: String = (0..1000).map(|n| format!("FROM t{n} ")).collect();
    check(Dialect::Other, &many, &(0..256).map(|n| format!("t{n}")).collect::<Vec<_>>().join(","));
    check(Dialect::Other, &format!("FROM a JOIN {} JOIN b", "x".repeat(5000)), "a,b");
}
