//! Spans as a tracer put them on the wire, read by Datadog's own decoders. Pure.

use libdd_trace_utils::msgpack_decoder::{v04, v05};
use libdd_trace_utils::span::v04::{
    AttributeAnyValueSlice, AttributeArrayValueSlice, SpanEventSlice, SpanLinkSlice, SpanSlice,
};
use serde_json::{Map, Value, json};

use crate::lab::http::Incoming;

/// The spans of all requests with traces, in the form of the functions' records.
pub fn spans(sent: &[Incoming]) -> Vec<Value> {
    let mut spans = Vec::new();
    for request in sent {
        let decoded = match request.target.as_str() {
            "/v0.4/traces" => v04::from_slice(&request.body),
            "/v0.5/traces" => v05::from_slice(&request.body),
            _ => continue,
        };
        let (traces, _) = decoded.unwrap_or_else(|problem| panic!("{}: {problem}", request.target));
        spans.extend(traces.iter().flatten().map(described));
    }
    spans
}

fn described(span: &SpanSlice<'_>) -> Value {
    let structure = |bytes: &[u8]| rmp_serde::from_slice(bytes).unwrap_or_else(|e| json!(e.to_string()));
    json!({
        "trace_id": span.trace_id as u64, // the lower half
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "service": span.service,
        "resource": span.resource,
        "kind": span.r#type,
        "start": span.start,
        "duration": span.duration,
        "error": span.error,
        "meta": span.meta.iter().map(|(key, value)| (key.to_string(), json!(value))).collect::<Map<_, _>>(),
        "metrics": span.metrics.iter().map(|(key, value)| (key.to_string(), digits(*value))).collect::<Map<_, _>>(),
        "meta_struct": span.meta_struct.iter().map(|(key, value)| (key.to_string(), structure(value))).collect::<Map<_, _>>(),
        "links": span.span_links.iter().map(link).collect::<Vec<_>>(),
        "events": span.span_events.iter().map(event).collect::<Vec<_>>(),
    })
}

/// Every digit.
fn digits(value: f64) -> Value {
    json!(value.to_string())
}

fn link(link: &SpanLinkSlice<'_>) -> Value {
    json!({
        "trace_id": format!("{:016x}{:016x}", link.trace_id_high, link.trace_id),
        "span_id": format!("{:016x}", link.span_id),
        "attributes": link.attributes,
        "tracestate": link.tracestate,
        "flags": link.flags,
    })
}

fn event(event: &SpanEventSlice<'_>) -> Value {
    let attributes = event.attributes.iter().map(|(key, value)| {
        let value = match value {
            AttributeAnyValueSlice::SingleValue(value) => single(value),
            AttributeAnyValueSlice::Array(values) => values.iter().map(single).collect(),
        };
        (key.to_string(), value)
    });
    json!({"name": event.name, "time": event.time_unix_nano, "attributes": attributes.collect::<Map<_, _>>()})
}

fn single(value: &AttributeArrayValueSlice<'_>) -> Value {
    match value {
        AttributeArrayValueSlice::String(value) => json!(value),
        AttributeArrayValueSlice::Boolean(value) => json!(value),
        AttributeArrayValueSlice::Integer(value) => json!(value),
        AttributeArrayValueSlice::Double(value) => json!(value),
    }
}
