//! Bodies of 2,000 spans with 25 tags, and the span path alone: from a body to the pieces that are compressed.

use std::hint::black_box;

use thimble::config::Config;
use thimble::lambda::Tags;
use thimble::traces::pipeline::{Piece, Pipeline, Request, Tally};
use thimble::traces::stages::Stages;
use thimble::traces::tagging::Tagging;
use thimble::traces::{Format, TracerHeaders};

/// Spans in a body, and how many of them make a trace.
pub const SPANS: u64 = 2_000;
const SPANS_PER_TRACE: u64 = 20;
/// Strings in a span's meta, and numbers in its metrics.
const TAGS: u64 = 25;
const METRICS: u64 = 4;
/// The start of all times: 2026.
const EPOCH_NS: u64 = 1_767_225_600_000_000_000;

/// Everything between a body and the pieces that are compressed.
pub struct Path {
    pipeline: Pipeline,
    stages: Stages,
    tagging: Tagging,
}

impl Path {
    /// With the function's tags, under these settings.
    pub fn new(settings: &[(&str, &str)]) -> Self {
        let environment: Vec<_> = settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let config = Config::load(&environment, None).0;
        let (stages, tagging) = Stages::new(&config, &function_tags(), 7);
        Self { pipeline: Pipeline::default(), stages, tagging }
    }

    /// Encodes a body and gives all its pieces to `sink`; panics if it is not taken whole.
    pub fn encode(&mut self, body: &[u8], format: Format, sink: &mut dyn FnMut(Piece<'_>)) {
        let Self { pipeline, stages, tagging } = self;
        let headers =
            TracerHeaders { lang: "python".into(), client_computed_top_level: true, ..TracerHeaders::default() };
        let mut tally = Tally::default();
        let request = Request { headers: &headers, tagging, stages, now: EPOCH_NS, full: sink };
        pipeline.run(black_box(body), format, request, &mut tally).expect("the body is well formed");
        if let Some(piece) = pipeline.piece() {
            sink(piece);
        }
        assert_eq!(tally.accepted, SPANS);
    }
}

/// Tags as a configured function has them.
pub fn function_tags() -> Tags {
    let pairs = [
        ("function_arn", "arn:aws:lambda:eu-central-1:123456789012:function:checkout-worker"),
        ("region", "eu-central-1"),
        ("account_id", "123456789012"),
        ("aws_account", "123456789012"),
        ("functionname", "checkout-worker"),
        ("resource", "checkout-worker"),
        ("version", "1.4.2"),
        ("env", "prod"),
        ("service", "checkout"),
        ("init_type", "on-demand"),
        ("memorysize", "1024"),
        ("architecture", "x86_64"),
        ("dd_extension_version", "1"),
    ];
    let pairs: Vec<(String, String)> = pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    let joined = pairs.iter().map(|(k, v)| format!("{k}:{v}")).collect::<Vec<_>>().join(",");
    Tags { pairs, joined, ..Tags::default() }
}

/// A body of v0.4, with or without statements in a fifth of its spans.
pub fn payload_v04(sql: bool) -> Vec<u8> {
    let mut out = Vec::new();
    array(&mut out, SPANS / SPANS_PER_TRACE);
    for trace in 0..SPANS / SPANS_PER_TRACE {
        array(&mut out, SPANS_PER_TRACE);
        for i in 0..SPANS_PER_TRACE {
            let span = Span::new(trace, i, sql);
            map(&mut out, 12);
            for (key, value) in [("service", span.service), ("name", span.name), ("type", span.kind)] {
                text(&mut out, key);
                text(&mut out, value);
            }
            text(&mut out, "resource");
            text(&mut out, &span.resource);
            for (key, value) in span.numbers() {
                text(&mut out, key);
                number(&mut out, value);
            }
            text(&mut out, "meta");
            map(&mut out, TAGS);
            for tag in 0..TAGS {
                text(&mut out, &key(tag));
                text(&mut out, &span.value(tag));
            }
            text(&mut out, "metrics");
            map(&mut out, METRICS);
            for metric in 0..METRICS {
                text(&mut out, metric_key(metric));
                float(&mut out, metric as f64 + 1.0);
            }
        }
    }
    out
}

/// The same spans as v0.5.
pub fn payload_v05(sql: bool) -> Vec<u8> {
    let mut strings: Vec<String> = Vec::new();
    let mut known = std::collections::HashMap::new();
    let mut index = |text: &str| {
        *known.entry(text.to_owned()).or_insert_with(|| {
            strings.push(text.to_owned());
            strings.len() as u64 - 1
        })
    };
    let mut spans = Vec::new();
    array(&mut spans, SPANS / SPANS_PER_TRACE);
    for trace in 0..SPANS / SPANS_PER_TRACE {
        array(&mut spans, SPANS_PER_TRACE);
        for i in 0..SPANS_PER_TRACE {
            let span = Span::new(trace, i, sql);
            array(&mut spans, 12);
            for value in [span.service, span.name, &span.resource] {
                number(&mut spans, index(value));
            }
            for (_, value) in span.numbers() {
                number(&mut spans, value);
            }
            map(&mut spans, TAGS);
            for tag in 0..TAGS {
                number(&mut spans, index(&key(tag)));
                number(&mut spans, index(&span.value(tag)));
            }
            map(&mut spans, METRICS);
            for metric in 0..METRICS {
                number(&mut spans, index(metric_key(metric)));
                float(&mut spans, metric as f64 + 1.0);
            }
            number(&mut spans, index(span.kind));
        }
    }
    let mut out = Vec::new();
    array(&mut out, 2);
    array(&mut out, strings.len() as u64);
    for string in &strings {
        text(&mut out, string);
    }
    out.extend_from_slice(&spans);
    out
}

struct Span {
    service: &'static str,
    name: &'static str,
    kind: &'static str,
    resource: String,
    trace_id: u64,
    i: u64,
    random: u64,
}

impl Span {
    fn new(trace: u64, i: u64, sql: bool) -> Self {
        let random = mix(trace << 8 | i);
        let database = i.is_multiple_of(5);
        let order = random % 50;
        Self {
            service: if database { "postgres" } else { "checkout" },
            name: if database { "postgres.query" } else { "http.request" },
            kind: if database && sql { "sql" } else { "web" },
            resource: if database && sql { statement(order) } else { format!("GET /orders/{order}/items") },
            trace_id: mix(trace) | 1 << 63,
            i,
            random,
        }
    }

    fn numbers(&self) -> [(&'static str, u64); 6] {
        [
            ("trace_id", self.trace_id),
            ("span_id", self.trace_id.wrapping_add(self.i)),
            ("parent_id", if self.i == 0 { 0 } else { self.trace_id.wrapping_add((self.i - 1) / 3) }),
            ("start", EPOCH_NS + self.random % 1_000_000_000),
            ("duration", self.random % 10_000_000),
            ("error", 0),
        ]
    }

    /// Every fifth tag is a number that differs from span to span; the others repeat.
    fn value(&self, tag: u64) -> String {
        if tag.is_multiple_of(5) {
            format!("{:016x}", mix(self.random ^ tag))
        } else {
            format!("value of tag {tag} {}", self.random % 4)
        }
    }
}

/// 200 bytes.
fn statement(order: u64) -> String {
    let text = format!(
        "SELECT o.id, o.customer_id, i.sku, i.amount FROM orders o JOIN items i ON i.order_id = o.id WHERE o.id = \
         {order:02} AND i.state IN ('open', 'paid', 'sent') AND o.created > '2026-01-05' ORDER BY i.sku LIMIT 10"
    );
    assert_eq!(text.len(), 200);
    text
}

fn key(tag: u64) -> String {
    format!("component.attribute.{tag}")
}

fn metric_key(metric: u64) -> &'static str {
    ["_sampling_priority_v1", "_dd.top_level", "process_id", "_dd.agent_psr"][metric as usize % 4]
}

fn mix(v: u64) -> u64 {
    let v = (v.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ v >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (v ^ v >> 27).wrapping_mul(0x94d0_49bb_1331_11eb)
}

fn array(out: &mut Vec<u8>, count: u64) {
    out.push(0xdd);
    out.extend_from_slice(&(count as u32).to_be_bytes());
}

fn map(out: &mut Vec<u8>, count: u64) {
    out.push(0xde);
    out.extend_from_slice(&(count as u16).to_be_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        short @ 0..=31 => out.push(0xa0 | short as u8),
        long => out.extend_from_slice(&[0xd9, long as u8]),
    }
    out.extend_from_slice(text.as_bytes());
}

fn number(out: &mut Vec<u8>, v: u64) {
    match v {
        0..=127 => out.push(v as u8),
        128..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(v as u16).to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&v.to_be_bytes());
        }
    }
}

fn float(out: &mut Vec<u8>, v: f64) {
    out.push(0xcb);
    out.extend_from_slice(&v.to_be_bytes());
}
