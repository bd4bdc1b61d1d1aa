//! The Node libraries: dd-trace, datadog-lambda-js and hot-shots.

use serde_json::json;

use crate::session::{Language, Ran, event, session};
use crate::spans;

fn node(name: &str, env: &[(&str, &str)], events: &[serde_json::Value], judge: impl FnOnce(&Ran)) {
    session(Language::Node, &format!("node::{name}"), env, events, judge);
}

#[test]
fn spans_arrive_as_dd_trace_made_them() {
    let events = [event(&["spans"], json!({"many": 300})), event(&["spans", "lines"], json!({"raise": true}))];
    node("spans_arrive_as_dd_trace_made_them", &[], &events, |ran| {
        let wrong = spans::differences(&ran.made, &ran.received, |_, _| None);
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}
