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
        let wrong = spans::differences(&ran.made, &ran.received, &[]);
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}

#[test]
fn metrics_of_the_lambda_library() {
    let events = [event(&["metrics"], json!({}))];
    node("metrics_of_the_lambda_library", &[], &events, |ran| {
        println!("{:?}", ran.metric_names());
        for s in &ran.received.sketches {
            println!("{} {:?} {:?}", s.metric, &s.tags[13..], s.points);
        }
    });
}

#[test]
fn every_method_of_hot_shots() {
    let events = [event(&["statsd"], json!({"samples": 2000}))];
    node("every_method_of_hot_shots", &[], &events, |ran| {
        println!("{:?}", ran.metric_names());
        println!("{:?}", ran.received.events);
        println!("{:?}", ran.received.checks);
        for s in &ran.received.series {
            println!("{} {:?} {:?}", s.metric, &s.tags[13..], s.points);
        }
        for s in &ran.received.sketches {
            println!("{} {:?} {:?}", s.metric, &s.tags[13..], s.points);
        }
    });
}

#[test]
fn lines() {
    let events = [event(&["lines"], json!({})), event(&["lines"], json!({"raise": true}))];
    node("lines", &[], &events, |ran| {
        for log in &ran.received.logs {
            println!("{} {:?} {:?}", log.status().unwrap(), log.request_id(), log.message());
        }
    });
}

#[test]
fn many_connections_at_once() {
    let events = [event(&["connections"], json!({"sockets": 40, "rounds": 20}))];
    node("many_connections_at_once", &[], &events, |ran| {
        assert_eq!(*ran.result("connections"), json!({"200": 800}));
    });
}
