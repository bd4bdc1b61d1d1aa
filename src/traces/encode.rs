//! A span as protobuf: its strings are copied from the request to where they go out, and nowhere else (spec: traces 4.5).
//! Pure.

use super::MAX_SPAN;
use super::span::{Span, Store, Text};
use super::tagging::Overlay;
use crate::codec::protobuf::{Buffer, Slack};

/// Field numbers of the message.
const META: u32 = 10;
const METRICS: u32 = 11;
const META_STRUCT: u32 = 13;

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
}

impl<'a> Context<'a> {
    #[inline]
    fn get(&self, text: Text) -> Slack<'a> {
        text.slack(self.body, &self.store.pool)
    }
}

/// Appends the inside of a span's message; `false` once it is longer than [`MAX_SPAN`].
#[must_use]
pub fn span(span: &Span, cx: &Context<'_>, out: &mut Buffer) -> bool {
    if span.oversize {
        return false;
    }
    let limit = out.len() + MAX_SPAN;
    out.bytes(1, cx.get(span.service));
    out.bytes(2, cx.get(span.name));
    out.bytes(3, cx.get(span.resource));
    out.uint(4, span.trace_id);
    out.uint(5, span.span_id);
    out.uint(6, span.parent_id);
    out.uint(7, span.start as u64);
    out.uint(8, span.duration as u64);
    out.uint(9, i64::from(span.error) as u64);
    for pair in span.meta.of(&cx.store.pairs) {
        let key = cx.get(pair.key);
        if cx.overlay.covers(key.bytes()) || pair.key == Text::GONE {
            continue;
        }
        out.entry(META, key, cx.get(pair.value));
        if out.len() > limit {
            return false;
        }
    }
    out.encoded(&cx.overlay.bytes);
    for metric in span.metrics.of(&cx.store.metrics) {
        let key = cx.get(metric.key);
        if span.top_level && key.bytes() == TOP_LEVEL {
            continue;
        }
        out.entry_double(METRICS, key, metric.value);
        if out.len() > limit {
            return false;
        }
    }
    if span.top_level {
        out.entry_double(METRICS, Slack::whole(TOP_LEVEL), 1.0);
    }
    out.bytes(12, cx.get(span.kind));
    for pair in span.meta_struct.of(&cx.store.pairs) {
        out.entry(META_STRUCT, cx.get(pair.key), cx.get(pair.value));
        if out.len() > limit {
            return false;
        }
    }
    out.encoded(cx.get(span.links).bytes());
    out.encoded(cx.get(span.events).bytes());
    out.len() <= limit
}
