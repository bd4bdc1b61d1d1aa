//! The Python libraries: ddtrace, datadog-lambda and datadog under AWS's runtime client.

use serde_json::{Value, json};

use crate::lab::TelemetryMode;
use crate::session::{Language, Ran, Session, event};
use crate::{passed, spans, wire};

/// The library's name for every function.
const LAMBDA: (&str, &str, &str) = ("service", "aws.lambda", "clients-test");

/// What the agent has to change of the spans that the function makes.
const RULES: spans::Rules = spans::Rules {
    added: &[],
    removed: &[],
    changed: &[
        LAMBDA,
        ("name", "HTTP Request-é", "HTTP_Request"),
        ("service", "Shop With Blanks", "shop_with_blanks"),
        ("resource", "", "HTTP_Request"),
        // No status of HTTP.
        ("meta http.status_code", "None", "(missing)"),
    ],
};

fn python<'a>(name: &str, env: &'a [(&'a str, &'a str)], events: &'a [Value]) -> Session<'a> {
    let name = format!("python::{name}");
    Session { language: Language::Python, name, env, telemetry: TelemetryMode::Real, events, tapped: false }
}

/// Whether `text` stands in `bytes`.
fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

/// All spans as they were made; those expected were made, with the load of the function's modules.
fn check_spans(ran: &Ran, expected: &[(&str, usize)]) {
    let wrong = spans::differences(&ran.made, &ran.received, RULES);
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (name, count) in expected.iter().chain(&[("aws.lambda", 2), ("aws.lambda.load", 1)]) {
        assert_eq!(ran.made.iter().filter(|span| span["name"] == *name).count(), *count, "{name}");
    }
    assert!(ran.made.iter().any(|span| span["name"] == "aws.lambda.import"));
    let failed = ran.received.spans().find(|span| span.name == "shop.check").expect("it was made");
    let error = ["error.type", "error.message"].map(|key| failed.meta.get(key).map(String::as_str));
    assert_eq!((failed.error, error), (1, [Some("builtins.KeyError"), Some("'no stock'")]));
    assert!(failed.meta["error.stack"].contains("Traceback"));
    assert!(ran.received.spans().any(|span| span.meta.get("_dd.p.tid").is_some_and(|tid| tid.len() == 16)));
}

#[test]
fn spans_arrive_as_ddtrace_made_them() {
    let raise = json!({"raise": true});
    let events = [event(&["spans"], json!({"many": 1200})), event(&["spans", "agent", "lines"], raise)];
    let session = python("spans_arrive_as_ddtrace_made_them", &[], &events);
    Session { tapped: true, ..session }.run(|ran| {
        let wrong = spans::differences(&wire::spans(&ran.sent), &ran.received, RULES);
        assert!(wrong.is_empty(), "{wrong:#?}");
        check_spans(ran, &[("shop.order", 2), ("shop.item", 1200)]);
        let failed = ran.received.spans().filter(|span| span.name == "aws.lambda" && span.error == 1);
        let types: Vec<_> = failed.map(|span| span.meta["error.type"].as_str()).collect();
        assert_eq!(types, ["builtins.LookupError"]);
        let (count, sum, ..) = ran.distribution("aws.lambda.enhanced.errors", &["cold_start:false"]);
        assert_eq!((count, sum), (1, 1.0));
    });
}

#[test]
fn spans_of_version_0_4_arrive_with_their_structures() {
    let events = [event(&["spans"], json!({"struct": true})), event(&["spans", "agent"], json!({}))];
    let env = [("DD_TRACE_API_VERSION", "v0.4")];
    let session = python("spans_of_version_0_4_arrive_with_their_structures", &env, &events);
    Session { tapped: true, ..session }.run(|ran| {
        let wrong = spans::differences(&wire::spans(&ran.sent), &ran.received, RULES);
        assert!(wrong.is_empty(), "{wrong:#?}");
        check_spans(ran, &[("shop.order", 2)]);
        let with_links = ran.received.spans().filter(|span| span.links.len() == 2);
        assert_eq!(with_links.count(), 2, "links of spans as such, not in a tag");
        let structures: Vec<_> = ran.received.spans().filter_map(|span| span.meta_struct.get("shop")).collect();
        let [bytes] = structures.as_slice() else { panic!("one expected: {structures:?}") };
        assert!(holds(bytes, "items") && holds(bytes, "deep"), "{bytes:?}");
        let answer = &ran.invoked[1].response["agent"];
        let endpoints = answer["info"]["endpoints"].as_array().expect("ddtrace parsed /info");
        assert!(endpoints.contains(&json!("/v0.4/traces")) && endpoints.contains(&json!("/v0.5/traces")), "{answer}");
    });
}

/// Settings that switch on all of the library that talks to the agent.
const PRODUCTS: [(&str, &str); 8] = [
    ("DD_PROFILING_ENABLED", "true"),
    ("DD_DATA_STREAMS_ENABLED", "true"),
    ("DD_LLMOBS_ENABLED", "1"),
    ("DD_LLMOBS_ML_APP", "shop"),
    ("DD_LLMOBS_AGENTLESS_ENABLED", "0"),
    ("DD_EXCEPTION_REPLAY_ENABLED", "true"),
    ("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "true"),
    ("DD_TRACE_STATS_COMPUTATION_ENABLED", "true"),
];

#[test]
fn everything_else_that_ddtrace_sends() {
    let events = [event(&["llm", "profile", "streams", "telemetry", "replay", "settings"], json!({}))];
    let session = python("everything_else_that_ddtrace_sends", &PRODUCTS, &events);
    Session { tapped: true, ..session }.run(|ran| {
        let wrong = passed::differences(&ran.sent, &ran.received);
        assert!(wrong.is_empty(), "{wrong:#?}");
        let sent = [
            ("/profiling/v1/input", "profile.pprof"),
            ("/v0.1/pipeline_stats", ""),
            ("/evp_proxy/v2/api/intake/llm-obs/v2/eval-metric", "quality"),
            ("/telemetry/proxy/api/v2/apmtelemetry", "app-started"),
            // The agent lists it, or it would be /debugger/v1/diagnostics.
            ("/debugger/v2/input", "none left"),
        ];
        for (path, part) in sent {
            assert_eq!(passed::count(&ran.sent, path, part), 1, "{path}: {:#?}", passed::targets(&ran.sent));
        }
        // The agent lists neither this, nor that it would be fine with spans being left out of what it gets.
        assert_eq!(*ran.result("settings"), json!({"enabled": false}));
        for path in ["/v0.7/config", "/v0.6/stats"] {
            assert_eq!(passed::count(&ran.sent, path, ""), 0, "{path}");
        }
        assert!(!ran.sent.iter().flat_map(|r| &r.headers).any(|(name, _)| name == "datadog-client-computed-stats"));
        let wrong = spans::differences(&wire::spans(&ran.sent), &ran.received, RULES);
        assert!(wrong.is_empty(), "{wrong:#?}");
        let structures: Vec<_> = ran.received.spans().filter_map(|span| span.meta_struct.get("_llmobs")).collect();
        let [content] = structures.as_slice() else { panic!("one expected: {structures:?}") };
        for part in ["what is in stock?", "nothing", "workflow"] {
            assert!(holds(content, part), "{part}: {content:?}");
        }
    });
}

#[test]
fn statements_of_a_database() {
    let events = [event(&["statements"], json!({}))];
    python("statements_of_a_database", &[], &events).run(|ran| {
        let changed: &spans::Changed = &[
            (
                "resource",
                "CREATE TABLE orders (id INTEGER, name TEXT)",
                "CREATE TABLE orders ( id INTEGER, name TEXT )",
            ),
            ("resource", "INSERT INTO orders VALUES (7, 'alice'), (8, 'bob')", "INSERT INTO orders VALUES ( ? )"),
            (
                "resource",
                "SELECT name FROM orders WHERE id = 7 AND name IN ('alice', 'carol') -- 4111111111111111",
                "SELECT name FROM orders WHERE id = ? AND name IN ( ? )",
            ),
            (
                "resource",
                "SELECT secret FROM nowhere WHERE card = '4111111111111111'",
                "SELECT secret FROM nowhere WHERE card = ?",
            ),
            LAMBDA,
        ];
        // The agent adds the statement as a tag.
        let rules = spans::Rules { changed, added: &["sql.query"], removed: &[] };
        let wrong = spans::differences(&ran.made, &ran.received, rules);
        assert!(wrong.is_empty(), "{wrong:#?}");
        let statements = ran.received.spans().filter(|span| span.kind == "sql");
        let statements: Vec<_> = statements.map(|span| (&span.resource, span.meta.get("sql.query"))).collect();
        assert_eq!(statements.len(), 4, "{statements:#?}");
        assert!(statements.iter().all(|(resource, query)| Some(*resource) == *query), "{statements:#?}");
    });
}

#[test]
fn commands_of_redis() {
    let events = [event(&["commands"], json!({}))];
    python("commands_of_redis", &[], &events).run(|ran| {
        let changed: &spans::Changed = &[
            ("resource", "SET\nGET", "SET GET"),
            ("meta redis.raw_command", "SET customer:7 alice", "SET customer:7 ?"),
            ("meta redis.raw_command", "AUTH secret", "AUTH ?"),
            ("meta redis.raw_command", "SET a 1\nGET b", "SET a ?\nGET b"),
            LAMBDA,
        ];
        let wrong = spans::differences(&ran.made, &ran.received, spans::Rules { changed, ..RULES });
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(ran.received.spans().filter(|span| span.kind == "redis").count(), 3);
    });
}

#[test]
fn calls_over_http() {
    let events = [event(&["calls"], json!({}))];
    python("calls_over_http", &[], &events).run(|ran| {
        let changed: &spans::Changed = &[
            (
                "meta http.url",
                "HTTP://alice:secret@bank.test/%61ccounts/7?token=1",
                "http://bank.test/accounts/7?token=1",
            ),
            LAMBDA,
        ];
        let rules = spans::Rules { changed, added: &[], removed: &["http://127.0.0.1:8124/"] };
        let wrong = spans::differences(&ran.made, &ran.received, rules);
        assert!(wrong.is_empty(), "{wrong:#?}");
        let count = |name: &str| {
            let made = ran.made.iter().filter(|span| span["name"] == name);
            (made.count(), ran.received.spans().filter(|span| span.name == name).count())
        };
        assert_eq!((count("requests.request"), count("shop.call")), ((1, 0), (1, 1)));
    });
}

#[test]
fn threats_that_ddtrace_detects() {
    let request = json!({
        "version": "2.0",
        "routeKey": "GET /orders",
        "rawPath": "/orders",
        "rawQueryString": "",
        "headers": {"host": "shop.test", "user-agent": "dd-test-scanner-log"},
        "requestContext": {
            "accountId": "123456789012", "apiId": "shop", "domainName": "shop.test", "stage": "$default",
            "http": {"method": "GET", "path": "/orders", "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7"},
            "requestId": "id", "routeKey": "GET /orders", "timeEpoch": 1795420800000_u64,
        },
        "isBase64Encoded": false,
    });
    let events = [event(&["spans"], request)];
    python("threats_that_ddtrace_detects", &[("DD_APPSEC_ENABLED", "true")], &events).run(|ran| {
        let wrong = spans::differences(&ran.made, &ran.received, RULES);
        assert!(wrong.is_empty(), "{wrong:#?}");
        let root = ran.received.spans().find(|span| span.name == "aws.lambda").expect("it was made");
        assert_eq!(root.meta.get("appsec.event").map(String::as_str), Some("true"), "{:?}", root.meta);
        assert!(holds(&root.meta_struct["appsec"], "dd-test-scanner-log"));
    });
}

#[test]
fn metrics_of_the_lambda_library() {
    let events = [event(&["metrics"], json!({}))];
    python("metrics_of_the_lambda_library", &[], &events).run(|ran| {
        let now = ran.result("metrics")["now"].as_i64().expect("a number");
        let (count, sum, min, max, _) = ran.distribution("py.lambda", &["kind:lambda", "odd:ü_b_c"]);
        assert_eq!((count, sum, min, max), (3, 4.5, -1.0, 3.0));
        let (count, sum, .., mut at) = ran.distribution("py.lambda.at", &[]);
        at.sort_unstable();
        let bucket = |at: i64| at - at.rem_euclid(10);
        assert_eq!((count, sum, at), (2, 15.0, vec![bucket(now - 3600), bucket(now - 600)]));
        assert_eq!(ran.metric_names(), ["py.lambda", "py.lambda.at"]);
    });
}

#[test]
fn every_method_of_the_dogstatsd_client() {
    let events = [event(&["statsd"], json!({"samples": 2000}))];
    python("every_method_of_the_dogstatsd_client", &[], &events).run(|ran| {
        ran.has_every_type("py", "client:datadog", "not\nso well");
        let now = ran.result("statsd")["now"].as_i64().expect("a number");
        let bucket = |at: i64| vec![at - at.rem_euclid(10)];
        assert_eq!(ran.series("py.count.at", &[]), (1, 5.0, 5.0, bucket(now - 120)));
        assert_eq!(ran.series("py.gauge.at", &[]), (3, 6.5, 6.5, bucket(now - 240)));
        assert_eq!(ran.series("py.timed.count", &[]).1, 1.0);
    });
}

#[test]
fn lines_as_text() {
    let events = [event(&["lines"], json!({})), event(&["lines"], json!({"raise": true}))];
    python("lines_as_text", &[], &events).run(|ran| {
        ran.has_lines(&[0], &[("printed while loading\n", "info")]);
        let lines = [
            ("printed\twith ünïcode 😀 and \"quotes\"\n", "info"),
            ("\tan info line\n", "info"),
            ("\ta warning of two\n", "info"),
            ("\tan error line\n", "info"),
            ("\tcaught\n", "info"),
            ("KeyError: 'missing'", "info"),
        ];
        ran.has_lines(&[0, 1], &lines);
        ran.has_lines(&[1], &[("[ERROR] LookupError: order 7 is lost\rTraceback", "info")]);
    });
}

#[test]
fn lines_as_json() {
    let events = [event(&["lines"], json!({})), event(&["lines"], json!({"raise": true}))];
    python("lines_as_json", &[("AWS_LAMBDA_LOG_FORMAT", "JSON")], &events).run(|ran| {
        let lines = [
            ("printed\twith ünïcode 😀 and \"quotes\"\n", "info"),
            (r#""message":"an info line""#, "info"),
            (r#""message":"a warning of two\nlines""#, "warn"),
            (r#""message":"an error line""#, "error"),
            (r#""errorType":"KeyError""#, "error"),
            (r#"{"level":"WARN","message":"structured"}"#, "warn"),
        ];
        ran.has_lines(&[0, 1], &lines);
        ran.has_lines(&[1], &[(r#""errorMessage":"order 7 is lost""#, "error")]);
    });
}

#[test]
fn the_flush_that_the_library_asks_for_in_local_tests() {
    let events = [event(&["spans", "metrics"], json!({}))];
    let session = python("the_flush_that_the_library_asks_for_in_local_tests", &[("DD_LOCAL_TEST", "true")], &events);
    // As under AWS's emulator: nothing else tells the end of the invocation.
    Session { telemetry: TelemetryMode::NotSupported, ..session }.run(|ran| {
        assert_eq!(ran.spans_at_its_end("shop."), (4, 4));
        assert_eq!(ran.spans_at_its_end("aws.lambda.load"), (1, 1));
        assert_eq!(ran.at_its_end.sketch_points("py.lambda").map(|point| point.cnt).sum::<i64>(), 3);
    });
}
