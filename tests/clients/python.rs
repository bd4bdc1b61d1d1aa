//! The Python libraries: ddtrace, datadog-lambda and datadog under AWS's runtime client.

use serde_json::{Value, json};

use crate::lab::TelemetryMode;
use crate::session::{Language, Ran, Session, event};
use crate::spans;

/// What the agent has to change of the spans that the function makes.
const NORMAL: &spans::Normal = &[
    ("service", "aws.lambda", "clients-test"),
    ("name", "HTTP Request-é", "HTTP_Request"),
    ("service", "Shop With Blanks", "shop_with_blanks"),
    ("resource", "", "HTTP_Request"),
    // No status of HTTP.
    ("meta http.status_code", "None", "(missing)"),
];

fn python<'a>(name: &str, env: &'a [(&'a str, &'a str)], events: &'a [Value]) -> Session<'a> {
    let name = format!("python::{name}");
    Session { language: Language::Python, name, env, telemetry: TelemetryMode::Real, events }
}

/// Whether `text` stands in `bytes`.
fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

/// All spans as they were made; those expected were made, with the load of the function's modules.
fn check_spans(ran: &Ran, expected: &[(&str, usize)]) {
    let wrong = spans::differences(&ran.made, &ran.received, NORMAL);
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
    python("spans_arrive_as_ddtrace_made_them", &[], &events).run(|ran| {
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
    python("spans_of_version_0_4_arrive_with_their_structures", &[("DD_TRACE_API_VERSION", "v0.4")], &events).run(
        |ran| {
            check_spans(ran, &[("shop.order", 2)]);
            let structures: Vec<_> = ran.received.spans().filter_map(|span| span.meta_struct.get("shop")).collect();
            let [bytes] = structures.as_slice() else { panic!("one expected: {structures:?}") };
            assert!(holds(bytes, "items") && holds(bytes, "deep"), "{bytes:?}");
            let answer = &ran.invoked[1].response["agent"];
            let endpoints = answer["info"]["endpoints"].as_array().expect("ddtrace parsed /info");
            assert!(
                endpoints.contains(&json!("/v0.4/traces")) && endpoints.contains(&json!("/v0.5/traces")),
                "{answer}"
            );
        },
    );
}

#[test]
fn structures_of_llm_observability() {
    let env = [("DD_LLMOBS_ENABLED", "1"), ("DD_LLMOBS_ML_APP", "shop"), ("DD_LLMOBS_AGENTLESS_ENABLED", "0")];
    let events = [event(&["llm"], json!({}))];
    python("structures_of_llm_observability", &env, &events).run(|ran| {
        let wrong = spans::differences(&ran.made, &ran.received, NORMAL);
        assert!(wrong.is_empty(), "{wrong:#?}");
        let structures: Vec<_> = ran.received.spans().filter_map(|span| span.meta_struct.get("_llmobs")).collect();
        let [content] = structures.as_slice() else { panic!("one expected: {structures:?}") };
        for part in ["what is in stock?", "nothing", "workflow"] {
            assert!(holds(content, part), "{part}: {content:?}");
        }
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
        let wrong = spans::differences(&ran.made, &ran.received, NORMAL);
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
