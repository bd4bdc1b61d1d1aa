//! A span as protobuf: its strings are copied from the request to where they go out, and nowhere else (spec: traces 4.5).
//! Pure.

use super::MAX_SPAN;
use super::span::{Span, Store, Text};
use super::tagging::Overlay;
use crate::codec::protobuf::{Fields, Slack};

/// Field numbers of the message.
const META: u32 = 10;
const METRICS: u32 = 11;
const META_STRUCT: u32 = 13;

/// The service that every Lambda span has if its tracer was not told another.
const DEFAULT_SERVICE: &[u8] = b"aws.lambda";

/// The metric of a top-level span.
const TOP_LEVEL: &[u8] = b"_top_level";

/// What a span's offsets point into, and what is put over its meta.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The request's body.
    pub body: &'a [u8],
    /// The entries of the span's maps.
    pub store: &'a Store,
    /// The function's tags.
    pub overlay: &'a Overlay,
    /// What the service `aws.lambda` is called; empty for the same.
    pub service: &'a str,
}

impl<'a> Context<'a> {
    #[inline]
    fn get(&self, text: Text) -> Slack<'a> {
        text.slack(self.body, &self.store.pool)
    }
}

/// Appends the inside of a span's message; `false` once it is longer than [`MAX_SPAN`].
#[must_use]
pub fn span(span: &Span, cx: &Context<'_>, out: &mut Vec<u8>) -> bool {
    let limit = out.len() + MAX_SPAN;
    let mut fields = Fields::new(out);
    let complete = !span.oversize && all(span, cx, &mut fields, limit) && fields.len() <= limit;
    fields.done();
    complete
}

fn all(span: &Span, cx: &Context<'_>, fields: &mut Fields<'_>, limit: usize) -> bool {
    match cx.get(span.service) {
        service if service.bytes() != DEFAULT_SERVICE || cx.service.is_empty() => fields.bytes(1, service),
        _ => fields.bytes(1, Slack::new(cx.service.as_bytes(), cx.service.len())),
    }
    fields.bytes(2, cx.get(span.name));
    fields.bytes(3, cx.get(span.resource));
    fields.uint(4, span.trace_id);
    fields.uint(5, span.span_id);
    fields.uint(6, span.parent_id);
    fields.uint(7, span.start as u64);
    fields.uint(8, span.duration as u64);
    fields.uint(9, i64::from(span.error) as u64);
    for pair in span.meta.of(&cx.store.pairs) {
        let key = cx.get(pair.key);
        if cx.overlay.covers(key.bytes()) || pair.key == Text::GONE {
            continue;
        }
        fields.entry(META, key, cx.get(pair.value));
        if fields.len() > limit {
            return false;
        }
    }
    fields.encoded(&cx.overlay.bytes);
    for metric in span.metrics.of(&cx.store.metrics) {
        let key = cx.get(metric.key);
        if span.top_level && key.bytes() == TOP_LEVEL {
            continue;
        }
        fields.entry_double(METRICS, key, metric.value);
        if fields.len() > limit {
            return false;
        }
    }
    if span.top_level {
        fields.entry_double(METRICS, Slack::new(TOP_LEVEL, TOP_LEVEL.len()), 1.0);
    }
    fields.bytes(12, cx.get(span.kind));
    for pair in span.meta_struct.of(&cx.store.pairs) {
        fields.entry(META_STRUCT, cx.get(pair.key), cx.get(pair.value));
        if fields.len() > limit {
            return false;
        }
    }
    fields.encoded(cx.get(span.links).bytes());
    fields.encoded(cx.get(span.events).bytes());
    true
}
