//! What users set for spans, from the environment and from `datadog.yaml`, seen on the spans that arrive: what is
//! dropped, replaced and obfuscated; and what a mistake in such a setting costs.

use serde_json::{Value, json};

use crate::settings::with_yaml;
use crate::tracer::{encode, find, scene, span, v04};
use crate::{AT_END, Scene, forget, isolated};

/// A root as it is sent, and what of it arrives: null for nothing, else `resource` and `meta`, where null is a tag that
/// is not there.
type Row = (Value, Value);

/// Sends the spans of `rows` in v0.4 and in v0.5 and looks at what arrives of each.
fn check(env: &[(&str, &str)], rows: &[Row]) -> Scene {
    let sent: Vec<Value> = rows.iter().map(|row| row.0.clone()).collect();
    let count = sent.len() as u64;
    let traces =
        move |first: u64| -> Value { (first..).zip(&sent).map(|(id, more)| json!([span(id, more)])).collect() };
    let env: Vec<_> = env.iter().copied().chain([AT_END]).collect();
    let mut scene = scene(&env, move |_| vec![v04(&traces(1), &[]), encode("v0.5", &traces(1 + count))]);
    let answers = scene.answers(1);
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    scene.shutdown();
    let received = scene.intake.received();
    for (id, (sent, expected)) in (1..).zip(rows.iter().chain(rows)) {
        let arrived = find(&received, id);
        if expected.is_null() {
            assert!(arrived.is_none(), "{sent}: {arrived:?}");
            continue;
        }
        let span = arrived.unwrap_or_else(|| panic!("{sent} did not arrive"));
        if let Some(resource) = expected["resource"].as_str() {
            assert_eq!(span.resource, resource, "{sent}");
        }
        for (key, value) in expected["meta"].as_object().into_iter().flatten() {
            assert_eq!(span.meta.get(key).map(String::as_str), value.as_str(), "{key} of {sent}");
        }
    }
    scene
}

/// Filters and rules, which the two tests below set in two ways.
fn filters_and_rules() -> Vec<Row> {
    // What is required of every trace.
    let meta = |more: Value| {
        let mut meta = json!({"tier": "gold", "region": "eu-west"});
        more.as_object().into_iter().flatten().for_each(|(key, value)| meta[key] = value.clone());
        meta
    };
    let with = |more: Value| json!({ "meta": meta(more) });
    let resource = |resource: &str| json!({"resource": resource, "meta": meta(json!({}))});
    vec![
        (with(json!({})), json!({"resource": "r", "meta": {"tier": "gold", "env": "[live]", "version": "7"}})),
        (json!({"meta": {"region": "eu-west"}}), Value::Null),
        (with(json!({"tier": "lead"})), Value::Null),
        (with(json!({"region": "us-east"})), Value::Null),
        (with(json!({"noise": "yes"})), Value::Null),
        (with(json!({"noise": "no"})), json!({"meta": {"noise": "no"}})),
        (with(json!({"http.route": "/healthcheck"})), Value::Null),
        (with(json!({"http.route": "/healthy"})), json!({"meta": {"http.route": "/healthy"}})),
        (json!({"name": "internal", "meta": meta(json!({}))}), Value::Null),
        (resource("GET /ping"), Value::Null),
        (resource("GET /pings"), json!({"resource": "GET /pings"})),
        (resource("a,,b"), Value::Null),
        (resource("GET /users/123/x"), json!({"resource": "GET /users/{id 123}/x"})),
        (with(json!({"user.name": "ann-marie"})), json!({"meta": {"user.name": "?-?"}})),
        (
            json!({"resource": "token=abc", "meta": meta(json!({"any.tag": "a token=xyz b token=1"}))}),
            json!({"resource": "token=***", "meta": {"any.tag": "a token=*** b token=***"}}),
        ),
    ]
}

const RULES: &str = r#"[
    {"name": "resource.name", "pattern": "/users/(\\d+)", "repl": "/users/{id $1}"},
    {"name": "user.name", "pattern": "[a-z]+", "repl": "?"},
    {"name": "*", "pattern": "(token=)(?P<secret>\\w+)", "repl": "${1}***"},
    {"name": "env", "pattern": "^prod(uction)?$", "repl": "[live]"}
]"#;

#[test]
fn filters_and_rules_by_environment() {
    isolated("rules::filters_and_rules_by_environment", || {
        let env = [
            ("DD_ENV", "production"),
            ("DD_VERSION", "7"),
            ("DD_APM_FILTER_TAGS_REQUIRE", "tier:gold region"),
            ("DD_APM_FILTER_TAGS_REGEX_REQUIRE", "region:^eu-"),
            ("DD_APM_FILTER_TAGS_REJECT", "noise:yes name:internal"),
            ("DD_APM_FILTER_TAGS_REGEX_REJECT", "http.route:health(check)?$"),
            ("DD_APM_IGNORE_RESOURCES", r#"^GET /ping$,"^a,{1,2}b""#),
            ("DD_APM_REPLACE_TAGS", RULES),
        ];
        check(&env, &filters_and_rules()).assert_quiet();
    });
}

#[test]
fn filters_and_rules_by_file() {
    let yaml = r#"
env: production
version: 7
apm_config:
  filter_tags:
    require: ["tier:gold", region]
    reject:
      - noise:yes
      - name:internal
  filter_tags_regex:
    require: ["region:^eu-"]
    reject: ["http.route:health(check)?$"]
  ignore_resources: ["^GET /ping$", "^a,{1,2}b"]
  replace_tags:
    - name: resource.name
      pattern: '/users/(\d+)'
      repl: "/users/{id $1}"
    - {name: user.name, pattern: "[a-z]+", repl: "?"}
    - {name: "*", pattern: '(token=)(?P<secret>\w+)', repl: "${1}***"}
    - {name: env, pattern: "^prod(uction)?$", repl: "[live]"}
"#;
    with_yaml("rules::filters_and_rules_by_file", yaml, || check(&[], &filters_and_rules()).assert_quiet());
}

const CARD: &str = "4111 1111 1111 1111";

/// Spans of each type with something to hide; `hidden` and `shown` are what is expected of them.
fn secrets(resource_and_tag: [(&str, Value, Value); 10]) -> Vec<Row> {
    resource_and_tag
        .map(|(kind, mut sent, expected)| {
            sent["type"] = json!(kind);
            (sent, expected)
        })
        .into()
}

fn redis(command: &str) -> Value {
    json!({"resource": "SET key secret", "meta": {"redis.raw_command": command}})
}

#[test]
fn by_default_everything_is_obfuscated() {
    isolated("rules::by_default_everything_is_obfuscated", || {
        let tag = |key: &str, value: &str| json!({"meta": {key: value}});
        let rows = secrets([
            ("redis", redis("SET key secret"), json!({"resource": "SET", "meta": {"redis.raw_command": "SET key ?"}})),
            (
                "valkey",
                json!({"resource": "AUTH secret", "meta": {"valkey.raw_command": "AUTH secret"}}),
                json!({"resource": "AUTH", "meta": {"valkey.raw_command": "AUTH ?"}}),
            ),
            (
                "memcached",
                tag("memcached.command", "set key 0 0 5\r\nhello"),
                json!({"meta": {"memcached.command": ""}}),
            ),
            (
                "mongodb",
                tag("mongodb.query", r#"{"find": "users", "filter": {"name": "ann"}}"#),
                tag("mongodb.query", r#"{"find":"?","filter":{"name":"?"}}"#),
            ),
            (
                "elasticsearch",
                tag("elasticsearch.body", r#"{"query": {"term": 5}}"#),
                tag("elasticsearch.body", r#"{"query":{"term":"?"}}"#),
            ),
            (
                "opensearch",
                tag("opensearch.body", r#"{"query": {"term": "x"}}"#),
                tag("opensearch.body", r#"{"query":{"term":"?"}}"#),
            ),
            (
                "sql",
                json!({"resource": "SELECT a AS b FROM t1 WHERE x = 'y' AND z IN (1, 2)"}),
                json!({
                    "resource": "SELECT a FROM t1 WHERE x = ? AND z IN ( ? )",
                    "meta": {"sql.query": "SELECT a FROM t1 WHERE x = ? AND z IN ( ? )", "sql.tables": null},
                }),
            ),
            (
                "http",
                tag("http.url", "HTTP://user:password@example.com/a/1?b=c"),
                tag("http.url", "http://example.com/a/1?b=c"),
            ),
            ("custom", tag("note", CARD), tag("note", "?")),
            (
                "custom",
                json!({"resource": "SELECT 5", "meta": {"error.stack": "at x", "env": CARD, "_dd.x": CARD}}),
                json!({"resource": "SELECT 5", "meta": {"error.stack": "at x", "_dd.x": CARD}}),
            ),
        ]);
        check(&[], &rows).assert_quiet();
    });
}

/// What the two tests below switch.
fn switched() -> Vec<Row> {
    let tag = |key: &str, value: &str| json!({"meta": {key: value}});
    let same = |key: &str, value: &str| (tag(key, value), tag(key, value));
    let (query, body) = (r#"{"find": "users"}"#, r#"{"query": {"term": 5, "kept": "x", "sql": "SELECT 7"}}"#);
    let (mongodb, opensearch) = (same("mongodb.query", query), same("opensearch.body", body));
    secrets([
        ("redis", redis("SET key secret"), json!({"resource": "SET", "meta": {"redis.raw_command": "SET ?"}})),
        (
            "valkey",
            json!({"resource": "AUTH secret", "meta": {"valkey.raw_command": "AUTH secret"}}),
            json!({"resource": "AUTH", "meta": {"valkey.raw_command": "AUTH secret"}}),
        ),
        ("memcached", tag("memcached.command", "set key 0 0 5\r\nhello"), tag("memcached.command", "set key 0 0 5")),
        ("mongodb", mongodb.0, mongodb.1),
        (
            "elasticsearch",
            tag("elasticsearch.body", body),
            tag("elasticsearch.body", r#"{"query":{"term":"?","kept":"x","sql":"SELECT ?"}}"#),
        ),
        ("opensearch", opensearch.0, opensearch.1),
        (
            "sql",
            json!({"resource": "SELECT a AS b FROM t1 WHERE x = NULL"}),
            json!({
                "resource": "SELECT a AS b FROM t? WHERE x = NULL",
                "meta": {"sql.query": "SELECT a AS b FROM t? WHERE x = NULL", "sql.tables": "t?"},
            }),
        ),
        ("http", tag("http.url", "http://example.com/a/1?b=c"), tag("http.url", "http://example.com/a/??")),
        (
            "custom",
            json!({"meta": {"note": "4111 1111 1111 1112", "real": CARD, "kept": CARD}}),
            json!({"meta": {"note": "4111 1111 1111 1112", "real": "?", "kept": CARD}}),
        ),
        ("custom", tag("error.stack", "at x"), tag("error.stack", "?")),
    ])
}

#[test]
fn obfuscation_is_switched_by_environment() {
    isolated("rules::obfuscation_is_switched_by_environment", || {
        let env = [
            ("DD_APM_OBFUSCATION_REDIS_REMOVE_ALL_ARGS", "true"),
            ("DD_APM_OBFUSCATION_VALKEY_ENABLED", "false"),
            ("DD_APM_OBFUSCATION_MEMCACHED_KEEP_COMMAND", "true"),
            ("DD_APM_OBFUSCATION_MONGODB_ENABLED", "false"),
            ("DD_APM_OBFUSCATION_ELASTICSEARCH_KEEP_VALUES", r#"["kept"]"#),
            ("DD_APM_OBFUSCATION_ELASTICSEARCH_OBFUSCATE_SQL_VALUES", "sql"),
            ("DD_APM_OBFUSCATION_OPENSEARCH_ENABLED", "false"),
            ("DD_APM_FEATURES", "table_names,keep_sql_alias,quantize_sql_tables"),
            ("DD_APM_OBFUSCATION_SQL_KEEP_NULL", "true"),
            ("DD_APM_OBFUSCATION_HTTP_REMOVE_QUERY_STRING", "true"),
            ("DD_APM_OBFUSCATION_HTTP_REMOVE_PATHS_WITH_DIGITS", "true"),
            ("DD_APM_OBFUSCATION_CREDIT_CARDS_LUHN", "true"),
            ("DD_APM_OBFUSCATION_CREDIT_CARDS_KEEP_VALUES", "kept"),
            ("DD_APM_OBFUSCATION_REMOVE_STACK_TRACES", "true"),
        ];
        check(&env, &switched()).assert_quiet();
    });
}

#[test]
fn obfuscation_is_switched_by_file() {
    let yaml = "
apm_config:
  features: [table_names, keep_sql_alias, quantize_sql_tables]
  obfuscation:
    redis: {remove_all_args: true}
    valkey:
      enabled: false
    memcached: {keep_command: true}
    mongodb: {enabled: false}
    elasticsearch: {keep_values: [kept], obfuscate_sql_values: [sql]}
    opensearch: {enabled: false}
    sql: {keep_null: true}
    http: {remove_query_string: true, remove_paths_with_digits: true}
    credit_cards: {luhn: true, keep_values: [kept]}
    remove_stack_traces: true
";
    with_yaml("rules::obfuscation_is_switched_by_file", yaml, || check(&[], &switched()).assert_quiet());
}

/// Rows: a setting, what it says that cannot be, and what else must work: each is one line that names both.
#[test]
fn a_mistake_costs_itself() {
    isolated("rules::a_mistake_costs_itself", || {
        let rule = |name: &str, pattern: &str| json!({"name": name, "pattern": pattern, "repl": "?"});
        let one_bad_rule = json!([rule("a", "(x"), rule("b", "x")]).to_string();
        let one_without_pattern = json!([{"name": "a", "repl": "?"}, rule("b", "x")]).to_string();
        for (name, value, said, expected) in [
            ("DD_APM_IGNORE_RESOURCES", "(x,^other$", vec!["(x"], json!({"resource": "r"})),
            ("DD_APM_FILTER_TAGS_REGEX_REQUIRE", "a:[ a:^y", vec!["a:["], Value::Null),
            ("DD_APM_FILTER_TAGS_REGEX_REJECT", "a:[ a:^y", vec!["a:["], json!({"meta": {"a": "x"}})),
            (
                "DD_APM_REPLACE_TAGS",
                &one_bad_rule,
                vec!["rule 1", "\"a\"", "(x"],
                json!({"meta": {"a": "x", "b": "?"}}),
            ),
            ("DD_APM_REPLACE_TAGS", &one_without_pattern, vec!["rule 1"], json!({"meta": {"a": "x", "b": "?"}})),
            ("DD_APM_REPLACE_TAGS", "[{\"name\":", vec!["not valid JSON"], json!({"meta": {"a": "x", "b": "x"}})),
            ("DD_APM_TARGET_TPS", "many", vec!["many"], json!({"resource": "r"})),
            ("DD_APM_PROBABILISTIC_SAMPLER_SAMPLING_PERCENTAGE", "101", vec!["101"], json!({"resource": "r"})),
            ("DD_APM_OBFUSCATION_REDIS_ENABLED", "perhaps", vec!["perhaps"], json!({"resource": "r"})),
            (
                "DD_APM_ADDITIONAL_ENDPOINTS",
                "{\"https://x.example\":",
                vec!["not valid JSON"],
                json!({"resource": "r"}),
            ),
        ] {
            let scene = check(&[(name, value)], &[(json!({"meta": {"a": "x", "b": "x"}}), expected)]);
            let lines = [scene.lines("ERROR"), scene.lines("WARN")].concat();
            assert_eq!(lines.len(), 1, "{name}={value}: {lines:?}");
            assert!(!lines[0].contains('\n') && lines[0].contains(name), "{name}: {lines:?}");
            assert!(said.iter().all(|part| lines[0].contains(part)), "{said:?}: {lines:?}");
            forget();
        }
    });
}
