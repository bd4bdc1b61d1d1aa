//! Compares the spans that a tracer made with those that arrived, part by part: every field, tag, structure, link and
//! event, but for what is listed here and in [`Rules`]. Pure.

use std::collections::BTreeMap;

use libdd_trace_protobuf::pb::{AttributeAnyValue, AttributeArrayValue};
use prost::Message;
use serde_json::{Map, Value, json};

use crate::lab::intake::traces::{SpanEvent, SpanLink};
use crate::lab::intake::{Received, Span};

/// What the agent adds to every span: what it knows of the function. Empty for any value.
const ADDED: [(&str, &str); 15] = [
    ("_dd.compute_stats", "1"),
    ("_dd.origin", "lambda"),
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

/// Bit of a link's flags that says that there are flags.
const FLAGS_ARE_SET: u64 = 1 << 31;

/// Parts of spans, each with its value as made, and as the agent has to send it.
pub type Changed = [(&'static str, &'static str, &'static str)];

/// Where a span may differ from what was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// What the agent has to change.
    pub changed: &'static Changed,
    /// Tags that the agent adds beyond those that it adds to all, or the tracer after its spans were recorded.
    pub added: &'static [&'static str],
    /// What the tag `http.url` of spans begins with that the agent removes.
    pub removed: &'static [&'static str],
}

/// Every difference between what was made and what arrived, a sentence each.
pub fn differences(made: &[Value], received: &Received, rules: Rules) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut arrived: BTreeMap<(u64, u64), Vec<&Span>> = BTreeMap::new();
    for span in received.spans() {
        arrived.entry((span.trace_id, span.span_id)).or_default().push(span);
    }
    for span in made {
        let id = (number(&span["trace_id"]), number(&span["span_id"]));
        let url = span["meta"]["http.url"].as_str().unwrap_or_default();
        let removed = rules.removed.iter().any(|removed| url.starts_with(removed));
        match arrived.remove(&id).unwrap_or_default().as_slice() {
            [] if removed => {}
            [one] => wrong.append(&mut Comparison { made: span, span: one, rules, wrong: Vec::new() }.run()),
            several => wrong.push(format!("{} arrived {} times", span["name"], several.len())),
        }
    }
    wrong.extend(arrived.values().flatten().map(|span| format!("{} was never made", span.name)));
    wrong
}

struct Comparison<'a> {
    made: &'a Value,
    span: &'a Span,
    rules: Rules,
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
        let expected =
            self.rules.changed.iter().find(|(p, from, _)| *p == part && *from == made).map_or(made, |(.., to)| to);
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
        let new = new.filter(|(key, _)| ![LINKS, EVENTS].contains(&key.as_str()));
        for (key, value) in new.filter(|(key, _)| !self.rules.added.contains(&key.as_str())) {
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
        let known = |key: &str| ADDED_METRICS.contains(&key) || self.rules.added.contains(&key);
        for key in new.filter(|key| !known(key)) {
            self.wrong.push(format!("{}: metric {key} was added", self.made["name"]));
        }
    }

    fn structures(&mut self) {
        let (made, span) = (self.made, self.span);
        let structure = |bytes: &Vec<u8>| rmp_serde::from_slice(bytes).unwrap_or_else(|e| json!(e.to_string()));
        let arrived: Map<_, _> = span.meta_struct.iter().map(|(key, bytes)| (key.clone(), structure(bytes))).collect();
        self.equal("meta_struct", &made["meta_struct"].to_string(), &Value::Object(arrived).to_string());
        let tag = |key: &str| in_tag(made["meta"][key].as_str());
        let links = |links: Vec<Value>| Value::from_iter(links.iter().map(link)).to_string();
        let arrived = span.links.iter().map(arrived_link).chain(in_tag(span.meta.get(LINKS)));
        self.equal("links", &links(array(&made["links"]).chain(tag(LINKS)).collect()), &links(arrived.collect()));
        let events = |events: Vec<Value>| Value::from(events).to_string();
        let arrived = span.events.iter().map(arrived_event).chain(in_tag(span.meta.get(EVENTS)).map(event));
        let made = array(&made["events"]).chain(tag(EVENTS).map(event));
        self.equal("events", &events(made.collect()), &events(arrived.collect()));
    }
}

/// A link with all its parts, ids in hexadecimal digits.
fn link(link: &Value) -> Value {
    let attributes = link.get("attributes").cloned().unwrap_or_else(|| json!({}));
    let flags = number(&link["flags"]) & !FLAGS_ARE_SET;
    json!({
        "trace_id": link["trace_id"],
        "span_id": link["span_id"],
        "attributes": attributes,
        "tracestate": link["tracestate"].as_str().unwrap_or_default(),
        "flags": flags,
    })
}

fn arrived_link(link: &SpanLink) -> Value {
    json!({
        "trace_id": format!("{:016x}{:016x}", link.trace_id_high, link.trace_id),
        "span_id": format!("{:016x}", link.span_id),
        "attributes": link.attributes,
        "tracestate": link.tracestate,
        "flags": link.flags,
    })
}

/// An event from a tag of the span.
fn event(event: Value) -> Value {
    let attributes = event.get("attributes").cloned().unwrap_or_else(|| json!({}));
    json!({"name": event["name"], "time": event["time_unix_nano"], "attributes": attributes})
}

fn arrived_event(event: &SpanEvent) -> Value {
    let attribute = |bytes: &Vec<u8>| match AttributeAnyValue::decode(bytes.as_slice()) {
        Ok(value) => any(value),
        Err(problem) => json!(problem.to_string()),
    };
    let attributes = event.attributes.iter().map(|(key, bytes)| (key.clone(), attribute(bytes)));
    json!({"name": event.name, "time": event.time, "attributes": attributes.collect::<Map<_, _>>()})
}

/// A value of an event's attribute, with its type.
fn any(value: AttributeAnyValue) -> Value {
    let single = |value: AttributeArrayValue| match value.r#type {
        0 => json!(value.string_value),
        1 => json!(value.bool_value),
        2 => json!(value.int_value),
        _ => json!(value.double_value),
    };
    if value.r#type == 4 {
        return value.array_value.unwrap_or_default().values.into_iter().map(single).collect();
    }
    let AttributeAnyValue { r#type, string_value, bool_value, int_value, double_value, .. } = value;
    single(AttributeArrayValue { r#type, string_value, bool_value, int_value, double_value })
}

/// The elements of the JSON array in a tag.
fn in_tag(text: Option<impl AsRef<str>>) -> impl Iterator<Item = Value> {
    let elements: Option<Vec<Value>> = text.and_then(|text| serde_json::from_str(text.as_ref()).ok());
    elements.unwrap_or_default().into_iter()
}

/// The elements of an array.
fn array(value: &Value) -> impl Iterator<Item = Value> {
    value.as_array().into_iter().flatten().cloned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}
