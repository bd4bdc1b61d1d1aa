//! The span path in numbers: nanoseconds for each span of a body of 2,000 spans with 25 tags, beside what the same bytes
//! cost to copy and to walk. Included by the benchmark binary with `#[path]`; single-threaded, needs no network.

use std::hint::black_box;
use std::time::Instant;

use thimble::config::Config;
use thimble::lambda::Tags;
use thimble::traces::batch::{BUDGET, Batch};
use thimble::traces::msgpack::Reader;
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

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What was done.
    pub name: &'static str,
    /// Nanoseconds for each span, the best of all rounds.
    pub ns_per_span: f64,
}

/// Measures everything, each `rounds` times, and returns the best of each.
pub fn run(rounds: u32) -> Vec<Figure> {
    let (v04, v05) = (payload_v04(0), payload_v05(0));
    let mut figures = Vec::new();
    let mut measure = |name, f: &mut dyn FnMut()| figures.push(Figure { name, ns_per_span: best(rounds, f) });
    let mut copy = vec![0; v04.len()];
    measure("copy of a v0.4 body", &mut || copy.copy_from_slice(black_box(&v04)));
    measure("walk over a v0.4 body", &mut || black_box(Reader::new(black_box(&v04), 0).skip()).unwrap());
    let mut encoded = Vec::new();
    let mut path = Path::new(&[]);
    path.encode(&v04, Format::V04, &mut |piece| encoded.push((piece.bytes.to_vec(), piece.spans)));
    let drop = &mut |_: Piece<'_>| {};
    measure("v0.4 decoded, tagged, encoded", &mut || path.encode(&v04, Format::V04, drop));
    measure("v0.5 decoded, tagged, encoded", &mut || path.encode(&v05, Format::V05, drop));
    let headers = TracerHeaders::default();
    let mut batch = Batch::new(1, BUDGET.0);
    measure("zstd level 1 of the result", &mut || {
        encoded.iter().for_each(|(bytes, spans)| batch.add(Piece { bytes, spans: *spans }, &headers));
        black_box(batch.take());
    });
    figures
}

/// Everything between a body and the pieces that are compressed.
struct Path {
    pipeline: Pipeline,
    stages: Stages,
    tagging: Tagging,
}

impl Path {
    /// With the function's tags, under these settings.
    fn new(settings: &[(&str, &str)]) -> Self {
        let environment: Vec<_> = settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let config = Config::load(&environment, None).0;
        let (stages, tagging) = Stages::new(&config, &function_tags(), 7);
        Self { pipeline: Pipeline::default(), stages, tagging }
    }

    /// Encodes a body and gives all its pieces to `sink`; panics if it is not taken whole.
    fn encode(&mut self, body: &[u8], format: Format, sink: &mut dyn FnMut(Piece<'_>)) {
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

fn best(rounds: u32, f: &mut dyn FnMut()) -> f64 {
    let round = |f: &mut dyn FnMut()| {
        let start = Instant::now();
        f();
        start.elapsed().as_secs_f64() * 1e9 / SPANS as f64
    };
    (0..rounds).map(|_| round(f)).fold(f64::INFINITY, f64::min)
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

/// A body of v0.4; `seed` tells bodies apart.
pub fn payload_v04(seed: u64) -> Vec<u8> {
    let mut out = Vec::new();
    array(&mut out, SPANS / SPANS_PER_TRACE);
    for trace in 0..SPANS / SPANS_PER_TRACE {
        array(&mut out, SPANS_PER_TRACE);
        for i in 0..SPANS_PER_TRACE {
            let span = Span::new(seed, trace, i);
            map(&mut out, 12);
            for (key, value) in [("service", span.service), ("name", span.name), ("type", "web")] {
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
                float(&mut out, metric as f64);
            }
        }
    }
    out
}

/// The same spans as v0.5.
pub fn payload_v05(seed: u64) -> Vec<u8> {
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
            let span = Span::new(seed, trace, i);
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
                float(&mut spans, metric as f64);
            }
            number(&mut spans, index("web"));
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
    resource: String,
    trace_id: u64,
    i: u64,
    random: u64,
}

impl Span {
    fn new(seed: u64, trace: u64, i: u64) -> Self {
        let random = mix(seed << 32 | trace << 8 | i);
        Self {
            service: if i.is_multiple_of(5) { "postgres" } else { "checkout" },
            name: if i.is_multiple_of(5) { "postgres.query" } else { "http.request" },
            resource: format!("GET /orders/{}/items", random % 50),
            trace_id: mix(seed << 32 | trace) | 1 << 63,
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
