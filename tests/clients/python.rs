//! The Python libraries: ddtrace, datadog-lambda and datadog under AWS's runtime client.

use serde_json::json;

use crate::session::{Language, Ran, event, session};
use crate::spans;

fn python(name: &str, env: &[(&str, &str)], events: &[serde_json::Value], judge: impl FnOnce(&Ran)) {
    session(Language::Python, &format!("python::{name}"), env, events, judge);
}

/// What the agent has to change of the spans that the functions make.
const NORMAL: &spans::Normal = &[
    ("service", "aws.lambda", "clients-test"),
    ("name", "HTTP Request-é", "HTTP_Request"),
    ("service", "Shop With Blanks", "shop_with_blanks"),
    ("resource", "", "HTTP_Request"),
];

/// All spans of both invocations, compared, and the load of the modules among them.
fn check_spans(ran: &Ran) {
    let wrong = spans::differences(&ran.made, &ran.received, NORMAL);
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("{:?}", ran.made.iter().map(|s| s["name"].as_str().unwrap()).collect::<Vec<_>>());
}

#[test]
fn spans_arrive_as_ddtrace_made_them() {
    let events = [event(&["spans"], json!({"many": 300})), event(&["spans", "lines"], json!({"raise": true}))];
    python("spans_arrive_as_ddtrace_made_them", &[], &events, |ran| {
        check_spans(ran);
    });
}

#[test]
fn spans_of_version_0_4_arrive_with_their_structs() {
    let events = [event(&["spans"], json!({"struct": true})), event(&["spans"], json!({}))];
    python("spans_of_version_0_4_arrive_with_their_structs", &[("DD_TRACE_API_VERSION", "v0.4")], &events, |ran| {
        check_spans(ran);
    });
}

#[test]
fn metrics_of_the_lambda_library() {
    let events = [event(&["metrics"], json!({}))];
    python("metrics_of_the_lambda_library", &[], &events, |ran| {
        println!("{:?}", ran.metric_names());
        println!("{:?}", ran.distribution("py.lambda", &[]));
        println!("{:?}", ran.received.sketches);
    });
}

#[test]
fn every_method_of_the_dogstatsd_client() {
    let events = [event(&["statsd"], json!({"samples": 2000}))];
    python("every_method_of_the_dogstatsd_client", &[], &events, |ran| {
        println!("{:?}", ran.metric_names());
        println!("{:?}", ran.received.events);
        println!("{:?}", ran.received.checks);
        for s in &ran.received.series {
            println!("{s:?}");
        }
        for s in &ran.received.sketches {
            println!("{s:?}");
        }
    });
}

#[test]
fn lines_as_text() {
    let events = [event(&["lines"], json!({})), event(&["lines"], json!({"raise": true}))];
    python("lines_as_text", &[], &events, |ran| {
        for log in &ran.received.logs {
            println!("{}", log.json);
        }
    });
}

#[test]
fn lines_as_json() {
    let events = [event(&["lines"], json!({})), event(&["lines"], json!({"raise": true}))];
    python("lines_as_json", &[("AWS_LAMBDA_LOG_FORMAT", "JSON")], &events, |ran| {
        for log in &ran.received.logs {
            println!("{}", log.json);
        }
    });
}
