//! Compares the spans that a tracer handed to its writer with those that arrived. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::lab::intake::{Received, Span};

/// What the agent adds to every span: what it knows of the function. Empty for any value.
const ADDED: [(&str, &str); 14] = [
    ("_dd.compute_stats", "1"),
    ("account_id", "123456789012"),
    ("architecture", ""),
    ("aws_account", "123456789012"),
    ("dd_extension_version", env!("CARGO_PKG_VERSION")),
    ("env", "lab"),
    ("function_arn", "arn:aws:lambda:eu-central-1:123456789012:function:lab-function"),
    ("functionname", "lab-function"),
    ("init_type", "on-demand"),
    ("memorysize", "512"),
    ("region", "eu-central-1"),
    ("resource", "lab-function"),
    ("service", "clients-test"),
    ("version", "1.2.3"),
];

/// Meta in which tracers send links and events when the version of the protocol has no place for them.
const LINKS: &str = "_dd.span_links";
const EVENTS: &str = "events";

/// Metrics that the agent adds to spans that enter a service, and to a trace's root.
const ADDED_METRICS: [&str; 2] = ["_top_level", "_dd.tracer_kr"];

/// A part of a span, its value as made, and as the agent has to send it.
pub type Normal = [(&'static str, &'static str, &'static str)];

/// Every difference between what was made and what arrived, a sentence each.
pub fn differences(made: &[Value], received: &Received, normal: &Normal) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut arrived: BTreeMap<(u64, u64), Vec<&Span>> = BTreeMap::new();
    for span in received.spans() {
        arrived.entry((span.trace_id, span.span_id)).or_default().push(span);
    }
    for span in made {
        let id = (number(&span["trace_id"]), number(&span["span_id"]));
        match arrived.remove(&id).unwrap_or_default().as_slice() {
            [one] => wrong.append(&mut Comparison { made: span, span: one, normal, wrong: Vec::new() }.run()),
            several => wrong.push(format!("{} arrived {} times", span["name"], several.len())),
        }
    }
    wrong.extend(arrived.values().flatten().map(|span| format!("{} was never made", span.name)));
    wrong
}

struct Comparison<'a> {
    made: &'a Value,
    span: &'a Span,
    normal: &'a Normal,
    wrong: Vec<String>,
}

impl Comparison<'_> {
    fn run(mut self) -> Vec<String> {
        self.fields();
        self.meta();
        self.metrics();
        self.structures();
        self.wrong
    }

    /// Notes that `part` arrived otherwise than it was made, unless an agent has to change it so.
    fn equal(&mut self, part: &str, made: &str, arrived: &str) {
        let expected = self.normal.iter().find(|(p, from, _)| *p == part && *from == made).map_or(made, |(.., to)| to);
        if arrived != expected {
            let name = &self.made["name"];
            self.wrong.push(format!("{name}: {part} is {arrived:.200?}, was made as {made:.200?}"));
        }
    }

    fn fields(&mut self) {
        let (made, span) = (self.made, self.span);
        let texts =
            [("name", &span.name), ("service", &span.service), ("resource", &span.resource), ("kind", &span.kind)];
        for (part, arrived) in texts {
            self.equal(part, made[part].as_str().unwrap_or_default(), arrived);
        }
        self.equal("parent_id", &made["parent_id"].to_string(), &span.parent_id.to_string());
        for (part, arrived) in [("start", span.start), ("duration", span.duration), ("error", span.error)] {
            self.equal(part, &made[part].to_string(), &arrived.to_string());
        }
    }

    fn meta(&mut self) {
        let (made, span) = (&self.made["meta"], self.span);
        for (key, value) in made.as_object().into_iter().flatten() {
            let part = format!("meta {key}");
            self.equal(&part, value.as_str().unwrap_or_default(), span.meta.get(key).map_or("(missing)", |v| v));
        }
        let new = span.meta.iter().filter(|(key, _)| made.get(key).is_none());
        for (key, value) in new.filter(|(key, _)| ![LINKS, EVENTS].contains(&key.as_str())) {
            let known = ADDED.iter().find(|(added, _)| added == key);
            match known {
                Some((_, "")) => {}
                Some((_, expected)) => self.equal(&format!("the added meta {key}"), expected, value),
                None if key == "origin" => self.equal("the added meta origin", "lambda", value),
                None => self.wrong.push(format!("{}: meta {key} = {value:?} was added", self.made["name"])),
            }
        }
    }

    fn metrics(&mut self) {
        let (made, span) = (&self.made["metrics"], self.span);
        for (key, value) in made.as_object().into_iter().flatten() {
            let arrived = span.metrics.get(key).map_or("(missing)".into(), f64::to_string);
            let exact = value.as_str().and_then(|digits| digits.parse::<f64>().ok()).unwrap_or(f64::NAN);
            self.equal(&format!("metric {key}"), &exact.to_string(), &arrived);
        }
        let new = span.metrics.keys().filter(|key| made.get(key).is_none());
        for key in new.filter(|key| !ADDED_METRICS.contains(&key.as_str())) {
            self.wrong.push(format!("{}: metric {key} was added", self.made["name"]));
        }
    }

    fn structures(&mut self) {
        let (made, span) = (self.made, self.span);
        let keys: Vec<&String> = span.meta_struct.keys().collect();
        self.equal("meta_struct", &made["meta_struct"].to_string(), &serde_json::to_string(&keys).unwrap_or_default());
        self.equal("links", &made["links"].to_string(), &(span.links.len() + in_meta(span, LINKS).len()).to_string());
        let in_meta = in_meta(span, EVENTS);
        let in_meta = in_meta.iter().filter_map(|event| event["name"].as_str());
        let events: Vec<&str> = span.events.iter().map(|event| event.name.as_str()).chain(in_meta).collect();
        self.equal("events", &made["events"].to_string(), &serde_json::to_string(&events).unwrap_or_default());
    }
}

/// The elements of a JSON array in the meta `key`.
fn in_meta(span: &Span, key: &str) -> Vec<Value> {
    span.meta.get(key).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}
