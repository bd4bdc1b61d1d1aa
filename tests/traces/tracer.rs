//! Trace payloads as tracers write them, with `rmp` and `serde_json`.

use std::collections::HashMap;

use libdd_trace_protobuf::pb;
use rmp::encode as mp;
use serde_json::{Value, json};

/// A string.
pub fn text(out: &mut Vec<u8>, text: &str) {
    mp::write_str(out, text).unwrap();
}

/// A body of v0.4.
pub fn v04(traces: &[Vec<pb::Span>]) -> Vec<u8> {
    let mut out = Vec::new();
    mp::write_array_len(&mut out, traces.len() as u32).unwrap();
    for trace in traces {
        mp::write_array_len(&mut out, trace.len() as u32).unwrap();
        trace.iter().for_each(|span| span_v04(&mut out, span));
    }
    out
}

fn span_v04(out: &mut Vec<u8>, span: &pb::Span) {
    mp::write_map_len(out, 15).unwrap();
    for (key, value) in
        [("service", &span.service), ("name", &span.name), ("resource", &span.resource), ("type", &span.r#type)]
    {
        text(out, key);
        text(out, value);
    }
    for (key, value) in [("trace_id", span.trace_id), ("span_id", span.span_id), ("parent_id", span.parent_id)] {
        text(out, key);
        mp::write_uint(out, value).unwrap();
    }
    for (key, value) in [("start", span.start), ("duration", span.duration), ("error", i64::from(span.error))] {
        text(out, key);
        mp::write_sint(out, value).unwrap();
    }
    text(out, "meta");
    map(out, &span.meta, |out, v| text(out, v));
    text(out, "metrics");
    map(out, &span.metrics, |out, v| mp::write_f64(out, *v).unwrap());
    text(out, "meta_struct");
    map(out, &span.meta_struct, |out, v| mp::write_bin(out, v).unwrap());
    text(out, "span_links");
    mp::write_array_len(out, span.span_links.len() as u32).unwrap();
    for link in &span.span_links {
        mp::write_map_len(out, 6).unwrap();
        for (key, value) in [
            ("trace_id", link.trace_id),
            ("trace_id_high", link.trace_id_high),
            ("span_id", link.span_id),
            ("flags", u64::from(link.flags)),
        ] {
            text(out, key);
            mp::write_uint(out, value).unwrap();
        }
        text(out, "tracestate");
        text(out, &link.tracestate);
        text(out, "attributes");
        map(out, &link.attributes, |out, v| text(out, v));
    }
    text(out, "span_events");
    mp::write_array_len(out, span.span_events.len() as u32).unwrap();
    for event in &span.span_events {
        mp::write_map_len(out, 3).unwrap();
        text(out, "time_unix_nano");
        mp::write_uint(out, event.time_unix_nano).unwrap();
        text(out, "name");
        text(out, &event.name);
        text(out, "attributes");
        map(out, &event.attributes, any_value);
    }
}

fn map<V>(out: &mut Vec<u8>, map: &HashMap<String, V>, value: fn(&mut Vec<u8>, &V)) {
    mp::write_map_len(out, map.len() as u32).unwrap();
    for (k, v) in map {
        text(out, k);
        value(out, v);
    }
}

fn any_value(out: &mut Vec<u8>, v: &pb::AttributeAnyValue) {
    mp::write_map_len(out, 2).unwrap();
    text(out, "type");
    mp::write_sint(out, i64::from(v.r#type)).unwrap();
    match &v.array_value {
        Some(array) => {
            text(out, "array_value");
            mp::write_map_len(out, 1).unwrap();
            text(out, "values");
            mp::write_array_len(out, array.values.len() as u32).unwrap();
            for v in &array.values {
                mp::write_map_len(out, 2).unwrap();
                text(out, "type");
                mp::write_sint(out, i64::from(v.r#type)).unwrap();
                scalar(out, v.r#type, &v.string_value, v.bool_value, v.int_value, v.double_value);
            }
        }
        None => scalar(out, v.r#type, &v.string_value, v.bool_value, v.int_value, v.double_value),
    }
}

fn scalar(out: &mut Vec<u8>, kind: i32, string: &str, bool: bool, int: i64, double: f64) {
    text(out, ["string_value", "bool_value", "int_value", "double_value"][kind as usize]);
    match kind {
        0 => text(out, string),
        1 => mp::write_bool(out, bool).unwrap(),
        2 => drop(mp::write_sint(out, int).unwrap()),
        _ => mp::write_f64(out, double).unwrap(),
    }
}

/// A body of v0.5; what the version has no room for is left out.
pub fn v05(traces: &[Vec<pb::Span>]) -> Vec<u8> {
    let mut strings = vec![String::new()];
    let mut index = |text: &str| {
        let known = strings.iter().position(|s| s == text);
        known.unwrap_or_else(|| {
            strings.push(text.to_owned());
            strings.len() - 1
        }) as u64
    };
    let mut spans = Vec::new();
    mp::write_array_len(&mut spans, traces.len() as u32).unwrap();
    for trace in traces {
        mp::write_array_len(&mut spans, trace.len() as u32).unwrap();
        for span in trace {
            mp::write_array_len(&mut spans, 12).unwrap();
            for value in [&span.service, &span.name, &span.resource] {
                mp::write_uint(&mut spans, index(value)).unwrap();
            }
            for value in [span.trace_id, span.span_id, span.parent_id] {
                mp::write_uint(&mut spans, value).unwrap();
            }
            for value in [span.start, span.duration, i64::from(span.error)] {
                mp::write_sint(&mut spans, value).unwrap();
            }
            mp::write_map_len(&mut spans, span.meta.len() as u32).unwrap();
            for (k, v) in &span.meta {
                mp::write_uint(&mut spans, index(k)).unwrap();
                mp::write_uint(&mut spans, index(v)).unwrap();
            }
            mp::write_map_len(&mut spans, span.metrics.len() as u32).unwrap();
            for (k, v) in &span.metrics {
                mp::write_uint(&mut spans, index(k)).unwrap();
                mp::write_f64(&mut spans, *v).unwrap();
            }
            mp::write_uint(&mut spans, index(&span.r#type)).unwrap();
        }
    }
    let mut out = Vec::new();
    mp::write_array_len(&mut out, 2).unwrap();
    mp::write_array_len(&mut out, strings.len() as u32).unwrap();
    strings.iter().for_each(|s| text(&mut out, s));
    out.extend_from_slice(&spans);
    out
}

/// A body of v0.7.
pub fn v07(payload: &pb::TracerPayload) -> Vec<u8> {
    let mut out = Vec::new();
    mp::write_map_len(&mut out, 10).unwrap();
    for (key, value) in [
        ("container_id", &payload.container_id),
        ("language_name", &payload.language_name),
        ("language_version", &payload.language_version),
        ("tracer_version", &payload.tracer_version),
        ("runtime_id", &payload.runtime_id),
    ] {
        text(&mut out, key);
        text(&mut out, value);
    }
    text(&mut out, "chunks");
    mp::write_array_len(&mut out, payload.chunks.len() as u32).unwrap();
    for chunk in &payload.chunks {
        mp::write_map_len(&mut out, 5).unwrap();
        text(&mut out, "priority");
        mp::write_sint(&mut out, i64::from(chunk.priority)).unwrap();
        text(&mut out, "origin");
        text(&mut out, &chunk.origin);
        text(&mut out, "spans");
        mp::write_array_len(&mut out, chunk.spans.len() as u32).unwrap();
        chunk.spans.iter().for_each(|span| span_v04(&mut out, span));
        text(&mut out, "tags");
        map(&mut out, &chunk.tags, |out, v| text(out, v));
        text(&mut out, "dropped_trace");
        mp::write_bool(&mut out, chunk.dropped_trace).unwrap();
    }
    text(&mut out, "tags");
    map(&mut out, &payload.tags, |out, v| text(out, v));
    for (key, value) in [("env", &payload.env), ("hostname", &payload.hostname), ("app_version", &payload.app_version)]
    {
        text(&mut out, key);
        text(&mut out, value);
    }
    out
}

/// A body of v0.4 in JSON, as the Go agent reads it.
pub fn json(traces: &[Vec<pb::Span>]) -> String {
    let traces: Vec<Vec<Value>> = traces.iter().map(|trace| trace.iter().map(span_json).collect()).collect();
    json!(traces).to_string()
}

/// A span in JSON.
pub fn span_json(span: &pb::Span) -> Value {
    let bytes = span.meta_struct.iter().map(|(key, value)| (key.clone(), base64(value).into())).collect();
    let link = |link: &pb::SpanLink| {
        json!({
            "trace_id": link.trace_id, "trace_id_high": link.trace_id_high, "span_id": link.span_id,
            "attributes": link.attributes, "tracestate": link.tracestate, "flags": link.flags,
        })
    };
    let event = |event: &pb::SpanEvent| {
        let attributes = event.attributes.iter().map(|(key, value)| (key.clone(), any_json(value))).collect();
        json!({"time_unix_nano": event.time_unix_nano, "name": event.name, "attributes": Value::Object(attributes)})
    };
    json!({
        "service": span.service, "name": span.name, "resource": span.resource, "type": span.r#type,
        "trace_id": span.trace_id, "span_id": span.span_id, "parent_id": span.parent_id,
        "start": span.start, "duration": span.duration, "error": span.error,
        "meta": span.meta, "metrics": span.metrics, "meta_struct": Value::Object(bytes),
        "span_links": span.span_links.iter().map(link).collect::<Vec<_>>(),
        "span_events": span.span_events.iter().map(event).collect::<Vec<_>>(),
    })
}

fn any_json(value: &pb::AttributeAnyValue) -> Value {
    match &value.array_value {
        None => json!({
            "type": value.r#type, "string_value": value.string_value, "bool_value": value.bool_value,
            "int_value": value.int_value, "double_value": value.double_value,
        }),
        Some(array) => {
            let one = |v: &pb::AttributeArrayValue| {
                json!({
                    "type": v.r#type, "string_value": v.string_value, "bool_value": v.bool_value,
                    "int_value": v.int_value, "double_value": v.double_value,
                })
            };
            json!({"type": 4, "array_value": {"values": array.values.iter().map(one).collect::<Vec<_>>()}})
        }
    }
}

/// Base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().chain(&[0; 2]).take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        for digit in 0..4 {
            let shown = digit <= chunk.len();
            out.push(if shown { char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]) } else { '=' });
        }
    }
    out
}
