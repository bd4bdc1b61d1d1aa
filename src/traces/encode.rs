//! A span as protobuf: the second walk over its msgpack, which copies the strings to where they go out and nowhere else
//! (spec: traces 4.5). Pure.

use super::MAX_SPAN;
use super::decode::Dialect;
use super::msgpack::{Fault, Reader};
use super::span::{Edit, Span, Text};
use super::tagging::Overlay;
use crate::codec::protobuf as pb;

/// Field numbers of the message.
const META: u32 = 10;
const METRICS: u32 = 11;
const META_STRUCT: u32 = 13;

/// The service that every Lambda span has if its tracer was not told another.
const DEFAULT_SERVICE: &[u8] = b"aws.lambda";

/// What a span's offsets point into, and what is put over its meta.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The request's body.
    pub body: &'a [u8],
    /// Strings that are not in the body.
    pub pool: &'a [u8],
    /// The function's tags.
    pub overlay: &'a Overlay,
    /// What the service `aws.lambda` is called; empty for the same.
    pub service: &'a str,
    /// What the stages changed in this span's meta.
    pub edits: &'a [Edit],
}

impl<'a> Context<'a> {
    fn get(&self, text: Text) -> &'a [u8] {
        text.of(self.body, self.pool)
    }

    fn edits(&self, key: &[u8]) -> bool {
        self.edits.iter().any(|edit| edit.key.as_bytes() == key)
    }
}

/// Appends the inside of a span's message.
///
/// # Errors
/// [`Fault::SpanTooLong`] once it is longer than [`MAX_SPAN`]; nothing else for a span that was decoded from the same
/// body.
pub fn span<D: Dialect>(dialect: &D, span: &Span, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let limit = out.len() + MAX_SPAN;
    let mut service = cx.get(span.service);
    if service == DEFAULT_SERVICE && !cx.service.is_empty() {
        service = cx.service.as_bytes();
    }
    pb::bytes(out, 1, service);
    pb::bytes(out, 2, cx.get(span.name));
    pb::bytes(out, 3, cx.get(span.resource));
    pb::uint(out, 4, span.trace_id);
    pb::uint(out, 5, span.span_id);
    pb::uint(out, 6, span.parent_id);
    pb::int(out, 7, span.start);
    pb::int(out, 8, span.duration);
    pb::int(out, 9, i64::from(span.error));
    meta(dialect, span, cx, out, limit)?;
    metrics(dialect, span, cx, out, limit)?;
    pb::bytes(out, 12, cx.get(span.kind));
    meta_struct(span, cx, out, limit)?;
    out.extend_from_slice(cx.get(span.links));
    out.extend_from_slice(cx.get(span.events));
    within(out, limit)
}

fn meta<D: Dialect>(d: &D, span: &Span, cx: &Context<'_>, out: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
    let mut reader = Reader::new(cx.body, span.meta.at as usize);
    for _ in 0..span.meta.pairs {
        within(out, limit)?;
        let (_, key) = d.text(&mut reader, cx.pool)?;
        if reader.nil() {
            continue;
        }
        let (_, value) = d.text(&mut reader, cx.pool)?;
        if cx.overlay.covers(key) || cx.edits(key) {
            continue;
        }
        if span.lossy {
            pb::entry(out, META, repaired(key).as_bytes(), repaired(value).as_bytes());
        } else {
            pb::entry(out, META, key, value);
        }
    }
    for edit in cx.edits {
        if let Some(value) = edit.value.filter(|_| !cx.overlay.covers(edit.key.as_bytes())) {
            pb::entry(out, META, edit.key.as_bytes(), cx.get(value));
        }
    }
    out.extend_from_slice(&cx.overlay.bytes);
    Ok(())
}

fn metrics<D: Dialect>(d: &D, span: &Span, cx: &Context<'_>, out: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
    const TOP_LEVEL: &[u8] = b"_top_level";
    let mut reader = Reader::new(cx.body, span.metrics.at as usize);
    for _ in 0..span.metrics.pairs {
        within(out, limit)?;
        let (_, key) = d.text(&mut reader, cx.pool)?;
        if reader.nil() {
            continue;
        }
        let value = reader.number()?.float();
        if span.top_level && key == TOP_LEVEL {
            continue;
        }
        if span.lossy {
            pb::entry_double(out, METRICS, repaired(key).as_bytes(), value);
        } else {
            pb::entry_double(out, METRICS, key, value);
        }
    }
    if span.top_level {
        pb::entry_double(out, METRICS, TOP_LEVEL, 1.0);
    }
    Ok(())
}

fn meta_struct(span: &Span, cx: &Context<'_>, out: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
    let mut reader = Reader::new(cx.body, span.meta_struct.at as usize);
    for _ in 0..span.meta_struct.pairs {
        within(out, limit)?;
        let key = reader.text()?;
        if !reader.nil() {
            pb::entry(out, META_STRUCT, repaired(key).as_bytes(), reader.text()?);
        }
    }
    Ok(())
}

fn repaired(text: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(text)
}

fn within(out: &[u8], limit: usize) -> Result<(), Fault> {
    if out.len() > limit { Err(Fault::SpanTooLong) } else { Ok(()) }
}
