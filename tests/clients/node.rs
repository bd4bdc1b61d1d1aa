//! The Node libraries: dd-trace, datadog-lambda-js and hot-shots.

use serde_json::{Value, json};

use crate::lab::TelemetryMode;
use crate::session::{Language, Ran, Session, event};
use crate::{passed, spans, stats, wire};

/// What the agent has to change of the spans that the function makes.
const RULES: spans::Rules = spans::Rules {
    added: &[],
    removed: &[],
    changed: &[("service", "aws.lambda", "clients-test"), ("meta service", "aws.lambda", "clients-test")],
};

fn node<'a>(name: &str, env: &'a [(&'a str, &'a str)], events: &'a [Value]) -> Session<'a> {
    let name = format!("node::{name}");
    Session { language: Language::Node, name, env, telemetry: TelemetryMode::Real, events, tapped: false }
}

/// All spans as they were made; those expected were made, with the load of the function's modules.
fn check_spans(ran: &Ran, expected: &[(&str, usize)]) {
    let wrong = spans::differences(&ran.made, &ran.received, RULES);
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (name, count) in expected.iter().chain(&[("aws.lambda", 2), ("aws.lambda.load", 1)]) {
        assert_eq!(ran.made.iter().filter(|span| span["name"] == *name).count(), *count, "{name}");
    }
    let failed = ran.received.spans().find(|span| span.name == "shop.check").expect("it was made");
    let error = ["error.type", "error.message"].map(|key| failed.meta.get(key).map(String::as_str));
    assert_eq!((failed.error, error), (1, [Some("RangeError"), Some("no stock")]));
    assert!(failed.meta["error.stack"].contains("clients.js"));
}

#[test]
fn spans_arrive_as_dd_trace_made_them() {
    let raise = json!({"raise": true});
    let events = [event(&["spans"], json!({"many": 1200})), event(&["spans", "lines"], raise)];
    let session = node("spans_arrive_as_dd_trace_made_them", &[], &events);
    Session { tapped: true, ..session }.run(|ran| {
        let wrong = spans::differences(&wire::spans(&ran.sent), &ran.received, RULES);
        assert!(wrong.is_empty(), "{wrong:#?}");
        check_spans(ran, &[("shop.order", 2), ("shop.item", 1200)]);
        let failed = ran.received.spans().filter(|span| span.name == "aws.lambda" && span.error == 1);
        let types: Vec<_> = failed.map(|span| span.meta["error.type"].as_str()).collect();
        assert_eq!(types, ["RangeError"]);
        let (count, sum, ..) = ran.distribution("aws.lambda.enhanced.errors", &["cold_start:false"]);
        assert_eq!((count, sum), (1, 1.0));
    });
}

#[test]
fn spans_of_version_0_5() {
    let env = [("DD_TRACE_AGENT_PROTOCOL_VERSION", "0.5")];
    let events = [event(&["spans"], json!({"many": 50})), event(&["spans"], json!({}))];
    let session = node("spans_of_version_0_5", &env, &events);
    Session { tapped: true, ..session }.run(|ran| {
        let wrong = spans::differences(&wire::spans(&ran.sent), &ran.received, RULES);
        assert!(wrong.is_empty(), "{wrong:#?}");
        check_spans(ran, &[("shop.order", 2), ("shop.item", 50)]);
    });
}

/// Settings that switch on all of the library that talks to the agent.
const PRODUCTS: [(&str, &str); 8] = [
    // Events of spans as such, not in a tag.
    ("DD_TRACE_NATIVE_SPAN_EVENTS", "true"),
    ("DD_PROFILING_ENABLED", "true"),
    ("DD_DATA_STREAMS_ENABLED", "true"),
    ("DD_LLMOBS_ENABLED", "1"),
    ("DD_LLMOBS_ML_APP", "shop"),
    ("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "true"),
    ("DD_REMOTE_CONFIGURATION_ENABLED", "true"),
    ("DD_TRACE_STATS_COMPUTATION_ENABLED", "true"),
];

#[test]
fn everything_else_that_dd_trace_sends() {
    let events = [event(&["spans", "llm"], json!({})), event(&["streams", "stats", "profile"], json!({}))];
    let session = node("everything_else_that_dd_trace_sends", &PRODUCTS, &events);
    Session { tapped: true, ..session }.run(|ran| {
        let wrong = passed::differences(&ran.sent, &ran.received);
        assert!(wrong.is_empty(), "{wrong:#?}");
        let sent = [
            ("/profiling/v1/input", "wall.pprof", 1),
            ("/v0.1/pipeline_stats", "", 2),
            // The library asks /info for them.
            ("/evp_proxy/v2/api/v2/llmobs", "what is in stock?", 1),
            ("/evp_proxy/v2/api/intake/llm-obs/v2/eval-metric", "quality", 1),
            ("/v0.6/stats", "shop.order", 1),
            // In Lambda it sends neither, whatever its settings say.
            ("/v0.7/config", "", 0),
            ("/telemetry/proxy/api/v2/apmtelemetry", "", 0),
        ];
        for (path, part, count) in sent {
            assert_eq!(passed::count(&ran.sent, path, part), count, "{path}: {:#?}", passed::targets(&ran.sent));
        }
        // Not as on the wire, whose times of events are floating-point numbers, which the decoder here does not take.
        let wrong = spans::differences(&ran.made, &ran.received, RULES);
        assert!(wrong.is_empty(), "{wrong:#?}");
        let events = ran.received.spans().flat_map(|span| &span.events).map(|event| event.name.as_str());
        assert_eq!(events.collect::<Vec<_>>(), ["authorized", "nothing more to say"]);
        // Whoever counts, the backend does not: it would count twice.
        assert!(ran.received.spans().all(|span| !span.meta.contains_key("_dd.compute_stats")));
        let wrong = stats::differences(&ran.sent, &ran.received);
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}

#[test]
fn metrics_of_the_lambda_library() {
    let events = [event(&["metrics"], json!({}))];
    node("metrics_of_the_lambda_library", &[], &events).run(|ran| {
        let now = ran.result("metrics")["now"].as_i64().expect("a number");
        let (count, sum, min, max, _) = ran.distribution("js.lambda", &["kind:lambda", "odd:__b_c"]);
        assert_eq!((count, sum, min, max), (2, 5.5, 2.5, 3.0));
        assert_eq!(ran.distribution("js.lambda.empty", &["first:1", "last:1"]).0, 1);
        let (count, sum, .., at) = ran.distribution("js.lambda.at", &["at:date"]);
        assert_eq!((count, sum), (1, 7.0));
        assert!((now - 620..=now - 590).contains(&at[0]), "{at:?}, {now}");
        // The library sends aws.lambda.enhanced.invocations too, which the agent counts itself.
        assert_eq!(ran.metric_names(), ["js.lambda", "js.lambda.at", "js.lambda.empty"]);
    });
}

#[test]
fn every_method_of_hot_shots() {
    let events = [event(&["statsd"], json!({"samples": 2000}))];
    node("every_method_of_hot_shots", &[], &events)
        .run(|ran| ran.has_every_type("js", "client:hot-shots", "not so well"));
}

#[test]
fn lines() {
    let events = [event(&["lines"], json!({})), event(&["lines"], json!({"raise": true}))];
    node("lines", &[], &events).run(|ran| {
        ran.has_lines(&[0], &[("printed while loading\n", "info")]);
        let lines = [
            ("] printed\n", "info"),
            ("printed\twith ünïcode 😀 and \"quotes\"\n", "info"),
            ("] an error\n", "info"),
            ("of two lines\n", "info"),
            (r#"{"level":"warn","message":"structured"}"#, "info"),
        ];
        ran.has_lines(&[0, 1], &lines);
    });
}

#[test]
fn many_connections_at_once() {
    let events = [event(&["connections"], json!({"sockets": 40, "rounds": 20}))];
    node("many_connections_at_once", &[], &events).run(|ran| {
        assert_eq!(*ran.result("connections"), json!({"200": 800}));
    });
}

#[test]
fn the_flush_that_the_library_asks_for_in_local_tests() {
    let events = [event(&["spans", "metrics"], json!({})), event(&["spans", "metrics"], json!({}))];
    // The library's setting, and the extension's.
    let env = [("DD_LOCAL_TESTING", "true"), ("DD_LOCAL_TEST", "true")];
    let session = node("the_flush_that_the_library_asks_for_in_local_tests", &env, &events);
    // As under AWS's emulator: nothing else tells the end of the invocation.
    Session { telemetry: TelemetryMode::NotSupported, ..session }.run(|ran| {
        // The library asks before the invocation's trace is complete, so that may go with the next one's.
        let (made, arrived) = ran.spans_at_its_end("shop.");
        assert!(made == 8 && arrived >= 4, "{arrived} of {made}");
        assert_eq!(ran.at_its_end.sketch_points("js.lambda").map(|point| point.cnt).sum::<i64>(), 4);
    });
}
