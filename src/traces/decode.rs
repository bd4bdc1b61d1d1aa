//! Spans out of trace payloads: v0.4 (maps with the strings in place) and v0.5 (arrays of indices into a table of
//! strings). First of two walks: it validates everything, keeps numbers and offsets, and encodes nothing but the rare
//! span links and events.
//!
//! Tolerant where tracers differ: any integer or float where a number is expected, `bin` for `str`, nil for the default,
//! unknown keys skipped, strings that are not UTF-8 repaired as the Go agent does. Pure.

use super::msgpack::{Fault, Reader};
use super::span::{Part, Span, Text};
use super::{MAX_SPAN, links};

/// Most strings that a v0.5 table may have; 8 bytes of memory each. A body of 50 MiB whose spans use this many different
/// strings would have 12 bytes left for each of them.
pub const MAX_STRINGS: u32 = 1 << 22;

/// How a payload writes strings and spans.
pub trait Dialect {
    /// Whether strings were checked for UTF-8 before the spans are read.
    const CHECKED: bool;

    /// The next string and where it is.
    ///
    /// # Errors
    /// What is wrong with it.
    fn text<'a, 'b: 'a>(&self, reader: &mut Reader<'b>, pool: &'a [u8]) -> Result<(Text, &'a [u8]), Fault>;

    /// The next span; `None` for nil.
    ///
    /// # Errors
    /// What is wrong with it; the reader stands where.
    fn span(&self, reader: &mut Reader<'_>, pool: &mut Vec<u8>) -> Result<Option<Span>, Fault>;
}

/// v0.4.
#[derive(Clone, Copy, Debug)]
pub struct Inline;

/// v0.5 with its table of strings.
#[derive(Clone, Copy, Debug)]
pub struct Indexed<'t>(pub &'t [Text]);

impl Dialect for Inline {
    const CHECKED: bool = false;

    #[inline]
    fn text<'a, 'b: 'a>(&self, reader: &mut Reader<'b>, _: &'a [u8]) -> Result<(Text, &'a [u8]), Fault> {
        let bytes = reader.text()?;
        Ok((Text::in_body(reader.at() - bytes.len(), bytes.len()), bytes))
    }

    fn span(&self, reader: &mut Reader<'_>, pool: &mut Vec<u8>) -> Result<Option<Span>, Fault> {
        if reader.nil() {
            return Ok(None);
        }
        let mut span = Span::default();
        for _ in 0..reader.map()? {
            match reader.text()? {
                b"service" => span.service = scalar(self, reader, pool)?,
                b"name" => span.name = scalar(self, reader, pool)?,
                b"resource" => span.resource = scalar(self, reader, pool)?,
                b"type" => span.kind = scalar(self, reader, pool)?,
                b"trace_id" => span.trace_id = reader.number()?.bits(),
                b"span_id" => span.span_id = reader.number()?.bits(),
                b"parent_id" => span.parent_id = reader.number()?.bits(),
                b"start" => span.start = reader.number()?.int(),
                b"duration" => span.duration = reader.number()?.int(),
                b"error" => span.error = reader.number()?.int32(),
                b"meta" => meta(self, reader, pool, &mut span)?,
                b"metrics" => metrics(self, reader, pool, &mut span)?,
                b"meta_struct" => meta_struct(reader, &mut span)?,
                b"span_links" => span.links = encoded(reader, pool, &mut span.oversize, links::links)?,
                b"span_events" => span.events = encoded(reader, pool, &mut span.oversize, links::events)?,
                _ => reader.skip()?,
            }
        }
        Ok(Some(span))
    }
}

impl Dialect for Indexed<'_> {
    const CHECKED: bool = true;

    #[inline]
    fn text<'a, 'b: 'a>(&self, reader: &mut Reader<'b>, pool: &'a [u8]) -> Result<(Text, &'a [u8]), Fault> {
        let before = reader.clone();
        let index = reader.number()?.bits();
        let Some(&text) = usize::try_from(index).ok().and_then(|i| self.0.get(i)) else {
            *reader = before;
            return Err(Fault::NoSuchString);
        };
        Ok((text, text.of(reader.bytes(), pool)))
    }

    fn span(&self, reader: &mut Reader<'_>, pool: &mut Vec<u8>) -> Result<Option<Span>, Fault> {
        if reader.nil() {
            return Ok(None);
        }
        reader.array_of(12, Fault::NotTwelve)?;
        let mut span = Span {
            service: scalar(self, reader, pool)?,
            name: scalar(self, reader, pool)?,
            resource: scalar(self, reader, pool)?,
            trace_id: reader.number()?.bits(),
            span_id: reader.number()?.bits(),
            parent_id: reader.number()?.bits(),
            start: reader.number()?.int(),
            duration: reader.number()?.int(),
            error: reader.number()?.int32(),
            ..Span::default()
        };
        meta(self, reader, pool, &mut span)?;
        metrics(self, reader, pool, &mut span)?;
        span.kind = scalar(self, reader, pool)?;
        Ok(Some(span))
    }
}

/// Reads the table of a v0.5 payload, each string checked once, and leaves the reader before the traces.
///
/// # Errors
/// What is wrong with it; the reader stands where.
pub fn table(reader: &mut Reader<'_>, pool: &mut Vec<u8>, strings: &mut Vec<Text>) -> Result<(), Fault> {
    reader.array_of(2, Fault::NotAPair)?;
    let before = reader.clone();
    let count = reader.array()?;
    if count > MAX_STRINGS {
        *reader = before;
        return Err(Fault::TooManyStrings);
    }
    for _ in 0..count {
        strings.push(scalar(&Inline, reader, pool)?);
    }
    Ok(())
}

/// A string or nil, repaired if it is not UTF-8.
fn scalar<D: Dialect>(dialect: &D, reader: &mut Reader<'_>, pool: &mut Vec<u8>) -> Result<Text, Fault> {
    if reader.nil() {
        return Ok(Text::default());
    }
    let (text, bytes) = dialect.text(reader, pool)?;
    if D::CHECKED || is_utf8(bytes) { Ok(text) } else { Ok(repaired(bytes.to_vec(), pool)) }
}

/// `meta`. A nil value is as good as no pair.
fn meta<D: Dialect>(d: &D, reader: &mut Reader<'_>, pool: &mut Vec<u8>, span: &mut Span) -> Result<(), Fault> {
    span.meta = part(reader)?;
    for _ in 0..span.meta.pairs {
        let (_, key) = d.text(reader, pool)?;
        if reader.nil() {
            continue;
        }
        let (text, value) = d.text(reader, pool)?;
        let clean = D::CHECKED || (is_utf8(key) && is_utf8(value));
        span.lossy |= !clean;
        let slot = match key {
            b"env" => &mut span.known.env,
            b"version" => &mut span.known.version,
            b"_dd.hostname" => &mut span.known.hostname,
            b"runtime-id" => &mut span.known.runtime_id,
            b"_dd.origin" => &mut span.known.origin,
            b"http.status_code" => &mut span.known.status_code,
            _ => continue,
        };
        *slot = Some(if clean { text } else { repaired(value.to_vec(), pool) });
    }
    Ok(())
}

/// `metrics`. A nil value is as good as no pair.
fn metrics<D: Dialect>(d: &D, reader: &mut Reader<'_>, pool: &[u8], span: &mut Span) -> Result<(), Fault> {
    span.metrics = part(reader)?;
    for _ in 0..span.metrics.pairs {
        let (_, key) = d.text(reader, pool)?;
        if reader.nil() {
            continue;
        }
        let value = reader.number()?;
        match key {
            b"_sampling_priority_v1" => span.priority = Some(value.float() as i32),
            b"_dd.top_level" => span.tracer_top_level = true,
            _ => span.lossy |= !D::CHECKED && !is_utf8(key),
        }
    }
    Ok(())
}

/// `meta_struct`. A nil value is as good as no pair.
fn meta_struct(reader: &mut Reader<'_>, span: &mut Span) -> Result<(), Fault> {
    span.meta_struct = part(reader)?;
    for _ in 0..span.meta_struct.pairs {
        span.lossy |= !is_utf8(reader.text()?);
        if !reader.nil() {
            reader.text()?;
        }
    }
    Ok(())
}

fn part(reader: &mut Reader<'_>) -> Result<Part, Fault> {
    let pairs = reader.map()?;
    Ok(Part { at: reader.at() as u32, pairs })
}

/// A list that `encode` turns into fields of a span, in the pool. What is longer than a span may be is left out.
fn encoded(
    reader: &mut Reader<'_>,
    pool: &mut Vec<u8>,
    oversize: &mut bool,
    encode: fn(&mut Reader<'_>, &mut Vec<u8>, usize) -> Result<(), Fault>,
) -> Result<Text, Fault> {
    let (start, before) = (pool.len(), reader.clone());
    match encode(reader, pool, start + MAX_SPAN) {
        Ok(()) => Ok(Text::in_pool(pool, start)),
        Err(Fault::SpanTooLong) => {
            pool.truncate(start);
            *reader = before;
            *oversize = true;
            reader.skip()?;
            Ok(Text::default())
        }
        Err(fault) => Err(fault),
    }
}

fn repaired(bytes: Vec<u8>, pool: &mut Vec<u8>) -> Text {
    Text::pooled(pool, String::from_utf8_lossy(&bytes).as_bytes())
}

#[inline]
fn is_utf8(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}
