//! Compares the spans that a tracer handed to its writer with those that arrived. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::lab::intake::{Received, Span};

/// How an arrived span may differ from the one made, part by part: what an agent has to normalise.
pub type Normal = fn(part: &str, made: &str) -> Option<&'static str>;

/// Every difference between what was made and what arrived, a sentence each.
pub fn differences(made: &[Value], received: &Received, normal: Normal) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut arrived: BTreeMap<(u64, u64), Vec<&Span>> = BTreeMap::new();
    for span in received.spans() {
        arrived.entry((span.trace_id, span.span_id)).or_default().push(span);
    }
    for span in made {
        let name = text(&span["name"]);
        let found = arrived.remove(&(number(&span["trace_id"]), number(&span["span_id"]))).unwrap_or_default();
        match found.as_slice() {
            [one] => compare(span, one, normal, &mut wrong),
            several => wrong.push(format!("{name} arrived {} times", several.len())),
        }
    }
    wrong.extend(arrived.values().flatten().map(|span| format!("{} was never made", span.name)));
    wrong
}

fn compare(made: &Value, span: &Span, normal: Normal, wrong: &mut Vec<String>) {
    let name = text(&made["name"]);
    let mut differ = |part: &str, made: String, arrived: String| {
        if made != arrived && normal(part, &made) != Some(&arrived) {
            wrong.push(format!("{name}: {part} is {arrived:.200?}, made as {made:.200?}"));
        }
    };
    for (part, arrived) in
        [("name", &span.name), ("service", &span.service), ("resource", &span.resource), ("kind", &span.kind)]
    {
        differ(part, text(&made[part]), arrived.clone());
    }
    differ("parent_id", number(&made["parent_id"]).to_string(), span.parent_id.to_string());
    for (part, arrived) in [("start", span.start), ("duration", span.duration), ("error", span.error)] {
        differ(part, made[part].to_string(), arrived.to_string());
    }
    let metas = made["meta"].as_object().into_iter().flatten();
    for (key, value) in metas {
        differ(&format!("meta {key}"), text(value), span.meta.get(key).cloned().unwrap_or_else(|| "missing".into()));
    }
    for (key, value) in made["metrics"].as_object().into_iter().flatten() {
        let arrived = span.metrics.get(key).map_or("missing".into(), f64::to_string);
        differ(&format!("metric {key}"), value.as_f64().unwrap_or(f64::NAN).to_string(), arrived);
    }
    let keys: Vec<&String> = span.meta_struct.keys().collect();
    differ("meta_struct", made["meta_struct"].to_string(), serde_json::to_string(&keys).unwrap_or_default());
    for (key, value) in &span.meta {
        if made["meta"].get(key).is_none() {
            differ(&format!("meta {key}"), "not there".into(), value.clone());
        }
    }
    for key in span.metrics.keys() {
        if made["metrics"].get(key).is_none() {
            differ(&format!("metric {key}"), "not there".into(), "there".into());
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}
