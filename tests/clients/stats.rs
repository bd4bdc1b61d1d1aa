//! Stats that arrived: compares those that a tracer computed with what it sent, and sums up those that the agent did. Pure.

use std::collections::BTreeMap;

use libdd_trace_protobuf::pb::{ClientStatsPayload, StatsPayload};
use serde_json::{Value, json};

use crate::lab::Route;
use crate::lab::http::Incoming;
use crate::lab::intake::Received;

/// Service, name, resource and kind of spans that the agent counted, with hits and errors.
pub fn counted(received: &Received) -> BTreeMap<[String; 4], (u64, u64)> {
    let mut counted = BTreeMap::new();
    for group in arrived(received).flat_map(|stats| stats.stats).flat_map(|bucket| bucket.stats) {
        let key = [group.service, group.name, group.resource, group.span_kind];
        let (hits, errors): &mut (u64, u64) = counted.entry(key).or_default();
        (*hits, *errors) = (*hits + group.hits, *errors + group.errors);
    }
    counted
}

/// Each tracer's stats, in order of arrival.
fn arrived(received: &Received) -> impl Iterator<Item = ClientStatsPayload> {
    let payload = |body: &[u8]| rmp_serde::from_slice::<StatsPayload>(body).expect("the intake's form of stats");
    received.requests_to(Route::Stats).flat_map(move |request| payload(&request.body).stats)
}

/// Every difference, a sentence each.
pub fn differences(sent: &[Incoming], received: &Received) -> Vec<String> {
    let arrived: Vec<ClientStatsPayload> = arrived(received).collect();
    let mut wrong = Vec::new();
    for request in sent.iter().filter(|request| request.target == "/v0.6/stats") {
        let mut made: ClientStatsPayload = rmp_serde::from_slice(&request.body).expect("the tracers' form of stats");
        // The function's host is nobody's.
        made.hostname.clear();
        // Those that say nothing need not arrive.
        if made.stats.is_empty() {
            continue;
        }
        match arrived.iter().filter(|stats| stats.sequence == made.sequence).collect::<Vec<_>>().as_slice() {
            [one] => compare("stats", &json!(made), &json!(one), &mut wrong),
            several => wrong.push(format!("stats {} arrived {} times", made.sequence, several.len())),
        }
    }
    wrong
}

/// Adds the innermost parts that differ to `wrong`.
fn compare(part: &str, made: &Value, arrived: &Value, wrong: &mut Vec<String>) {
    match (made, arrived) {
        (Value::Object(made), Value::Object(arrived)) => {
            for (key, value) in made {
                compare(&format!("{part}.{key}"), value, &arrived[key], wrong);
            }
        }
        (Value::Array(made), Value::Array(arrived)) if made.len() == arrived.len() => {
            for (index, (made, arrived)) in made.iter().zip(arrived).enumerate() {
                compare(&format!("{part}[{index}]"), made, arrived, wrong);
            }
        }
        _ if made == arrived => {}
        _ => wrong.push(format!("{part} is {arrived:.200}, was made as {made:.200}")),
    }
}
