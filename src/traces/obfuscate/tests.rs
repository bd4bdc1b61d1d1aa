//! The stage as a whole: which spans it changes, and by which settings.

use super::*;
use crate::config::apm::{CardObfuscation, JsonObfuscation, MemcachedObfuscation, RedisObfuscation};
use crate::traces::decode::{Dialect as _, Inline};
use crate::traces::msgpack::Reader;

/// What the Go agent does if nothing is set.
fn defaults() -> Obfuscation {
    let json = || JsonObfuscation { enabled: true, ..JsonObfuscation::default() };
    let redis = RedisObfuscation { enabled: true, remove_all_args: false };
    Obfuscation {
        elasticsearch: json(),
        opensearch: json(),
        mongodb: json(),
        memcached: MemcachedObfuscation { enabled: true, keep_command: false },
        redis,
        valkey: redis,
        credit_cards: CardObfuscation { enabled: true, ..CardObfuscation::default() },
        ..Obfuscation::default()
    }
}

/// A v0.4 span; strings shorter than 32 bytes, or of up to 255.
fn body(kind: &str, resource: &str, meta: &[(&str, &str)]) -> Vec<u8> {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend_from_slice(&[0xd9, text.len() as u8]);
        out.extend_from_slice(text.as_bytes());
    };
    let mut out = vec![0x83];
    for part in ["type", kind, "resource", resource, "meta"] {
        text(&mut out, part);
    }
    out.push(0x80 | meta.len() as u8);
    for (key, value) in meta {
        text(&mut out, key);
        text(&mut out, value);
    }
    out
}

/// The resource and the tags after the stage.
fn run(settings: &Obfuscation, kind: &str, resource: &str, meta: &[(&str, &str)]) -> (String, Vec<(String, String)>) {
    let body = body(kind, resource, meta);
    let (mut span, mut store) = (Span::default(), Store::default());
    assert_eq!(Inline.span(&mut Reader::new(&body, 0), &mut store, &mut span), Ok(true));
    Obfuscator::new(settings).span(&mut span, &body, &mut store);
    let text = |text: Text| String::from_utf8(text.of(&body, &store.pool).to_vec()).unwrap();
    let pairs = span.meta.of(&store.pairs).iter().map(|pair| (text(pair.key), text(pair.value)));
    (text(span.resource), pairs.collect())
}

fn check(settings: &Obfuscation, kind: &str, tag: &str, value: &str, expected: &str) {
    let (resource, tags) = run(settings, kind, "GET /", &[("a", "b"), (tag, value), ("c", "d")]);
    assert_eq!(tags[1], (tag.to_owned(), expected.to_owned()), "{kind}: {value}");
    assert_eq!((&tags[0].1[..], &tags[2].1[..]), ("b", "d"));
    assert_eq!(resource, if matches!(kind, "redis" | "valkey") { "GET" } else { "GET /" });
}

#[test]
fn tags_by_type() {
    let on = defaults();
    for (kind, tag, value, hidden) in [
        ("web", "http.url", "http://u:p@a.com/", "http://a.com/"),
        ("http", "http.url", "http://u:p@a.com/", "http://a.com/"),
        ("redis", "redis.raw_command", "SET k v", "SET k ?"),
        ("valkey", "valkey.raw_command", "SET k v", "SET k ?"),
        ("memcached", "memcached.command", "set k 0 0 1\r\nv", ""),
        ("mongodb", "mongodb.query", r#"{"a":1}"#, r#"{"a":"?"}"#),
        ("elasticsearch", "elasticsearch.body", r#"{"a":1}"#, r#"{"a":"?"}"#),
        ("elasticsearch", "opensearch.body", r#"{"a":1}"#, r#"{"a":"?"}"#),
        ("opensearch", "opensearch.body", r#"{"a":1}"#, r#"{"a":"?"}"#),
        ("opensearch", "elasticsearch.body", r#"{"a":1}"#, r#"{"a":"?"}"#),
    ] {
        check(&on, kind, tag, value, hidden);
        check(&on, "custom", tag, value, value);
        check(&on, kind, "other", value, value);
        let user = kind == "web" || kind == "http";
        check(&Obfuscation::default(), kind, tag, value, if user { hidden } else { value });
    }
}

#[test]
fn tags_by_setting() {
    let all = RedisObfuscation { enabled: true, remove_all_args: true };
    let keep = JsonObfuscation { enabled: true, keep_values: vec!["a".into()], ..JsonObfuscation::default() };
    let memcached = MemcachedObfuscation { enabled: true, keep_command: true };
    let settings = Obfuscation {
        redis: all,
        valkey: all,
        mongodb: keep,
        memcached,
        remove_stack_traces: true,
        ..Obfuscation::default()
    };
    for (kind, tag, value, expected) in [
        ("redis", "redis.raw_command", "GET k", "GET ?"),
        ("valkey", "valkey.raw_command", "GET k", "GET ?"),
        ("memcached", "memcached.command", "set k 0 0 1\r\nv", "set k 0 0 1"),
        ("mongodb", "mongodb.query", r#"{"a":1,"b":2}"#, r#"{"a":1,"b":"?"}"#),
        ("custom", "error.stack", "at main()\nat x()", "?"),
        ("custom", "exception.stacktrace", "at main()\nat x()", "?"),
        ("custom", "error.message", "no", "no"),
    ] {
        check(&settings, kind, tag, value, expected);
    }
}

#[test]
fn numbers_of_cards() {
    let on = defaults();
    for (tag, value, expected) in [
        ("card.number", "4111 1111 1111 1111", "?"),
        ("card.number", "4111 1111 1111 1112", "?"),
        ("card.number", "4111 1111 1111 111x", "4111 1111 1111 111x"),
        ("_private", "4111111111111111", "4111111111111111"),
        ("account_id", "4111111111111111", "4111111111111111"),
    ] {
        check(&on, "custom", tag, value, expected);
        check(&Obfuscation::default(), "custom", tag, value, value);
    }
    let credit_cards = CardObfuscation { enabled: true, luhn: true, keep_values: vec!["order".into()] };
    let settings = Obfuscation { credit_cards, ..defaults() };
    check(&settings, "custom", "card.number", "4111111111111111", "?");
    check(&settings, "custom", "card.number", "4111111111111112", "4111111111111112");
    check(&settings, "custom", "order", "4111111111111111", "4111111111111111");
}

#[test]
fn resources() {
    for kind in ["redis", "valkey"] {
        assert_eq!(run(&Obfuscation::default(), kind, "get k\nset k v", &[]).0, "GET SET");
    }
    let mut obfuscator = Obfuscator::new(&defaults());
    for (kind, resource, expected) in [
        ("redis", "get k", Some("GET")),
        ("valkey", "get k", Some("GET")),
        ("redis", "GET", None),
        ("web", "GET /", None),
        ("sql", "", None),
        ("", "", None),
    ] {
        let hidden = obfuscator.resource(kind.as_bytes(), b"", resource.as_bytes());
        assert_eq!(hidden.as_deref(), expected.map(str::as_bytes), "{kind}: {resource}");
    }
}

#[test]
fn statements() {
    for kind in ["sql", "cassandra"] {
        // A text without words is no statement.
        let (resource, tags) = run(&defaults(), kind, "/* */", &[("db.type", "mysql"), ("db.statement", "--")]);
        let not_sql = "Non-parsable SQL query";
        let expected = [("db.type", "mysql"), ("db.statement", not_sql), ("sql.query", not_sql)];
        assert_eq!(resource, not_sql);
        assert_eq!(tags, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(run(&defaults(), kind, "", &[]), (String::new(), vec![]));
    }
}

#[test]
fn the_database_decides_how_a_statement_is_read() {
    // In MySQL double quotes are those of a string.
    let statement = r#"SELECT a FROM t WHERE b = lower("x")"#;
    let (string, name) = ("SELECT a FROM t WHERE b = lower ( ? )", "SELECT a FROM t WHERE b = lower ( x )");
    for (tags, expected) in [
        (&[][..], name),
        (&[("db.type", "mysql")], string),
        (&[("db.system", "mysql")], string),
        (&[("db.system.name", "mariadb")], string),
        (&[("db.type", "postgresql"), ("db.system", "mysql")], name),
        (&[("db.type", "sql"), ("db.system", "mysql")], string),
    ] {
        assert_eq!(run(&defaults(), "sql", statement, tags).0, expected, "{tags:?}");
    }
    let mut obfuscator = Obfuscator::new(&defaults());
    for (database, expected) in [("mysql", string), ("", name)] {
        let hidden = obfuscator.resource(b"sql", database.as_bytes(), statement.as_bytes());
        assert_eq!(hidden.as_deref(), Some(expected.as_bytes()), "stats of {database}");
    }
}

#[test]
fn what_is_hidden_is_hidden_twice_alike() {
    let on = defaults();
    for (kind, tag, value) in [
        ("web", "http.url", "http://u:p@a.com/%7Ex/{b}?c#d"),
        ("redis", "redis.raw_command", "SET k v\nGET k"),
        ("mongodb", "mongodb.query", r#"{"a":[1,{"b":2}]"#),
        ("sql", "db.statement", "SELECT * FROM t1 AS x WHERE a IN (1, 'b') -- c"),
        ("cassandra", "db.query.text", "INSERT INTO t VALUES (1, 2), (3, 4)"),
    ] {
        let resource = if tag.starts_with("db.") { value } else { "GET k" };
        let once = run(&on, kind, resource, &[(tag, value)]);
        let tags: Vec<_> = once.1.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(run(&on, kind, &once.0, &tags), once, "{kind}: {value}");
    }
}

#[test]
fn one_string_of_many_spans_is_not_multiplied() {
    let long = format!("http://u:p@a.com/{}", "x".repeat(1 << 20));
    let body = long.as_bytes();
    let (mut obfuscator, mut store) = (Obfuscator::new(&defaults()), Store::default());
    let before = counters::get(Counter::TextsHidden);
    store.pool.extend_from_slice(b"typewebhttp.url");
    let text = |at, length| Text::in_body(at, length);
    let kind = Text::pooled(&mut store.pool, b"web");
    let key = Text::pooled(&mut store.pool, b"http.url");
    for at in 0..64 {
        store.pairs.push(crate::traces::span::Pair { key, value: text(0, body.len()) });
        let meta = crate::traces::span::Part { first: at, count: 1 };
        let known = crate::traces::span::Known { url: Some(at), ..Default::default() };
        obfuscator.span(&mut Span { kind, meta, known, ..Span::default() }, body, &mut store);
    }
    assert!(store.pool.len() < POOL + (2 << 20));
    assert!(counters::get(Counter::TextsHidden) > before);
    assert_eq!(store.value(Some(63)).map(|value| value.of(body, &store.pool)), Some(HIDDEN));
}
