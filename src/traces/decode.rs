//! Spans out of trace payloads: v0.4 (maps with the strings in place) and v0.5 (arrays of indices into a table of
//! strings). Checks everything and keeps numbers and offsets; encodes nothing but the rare span links and events.
//!
//! Tolerant where tracers differ: any integer or float where a number is expected, `bin` for `str`, nil for the default,
//! unknown keys skipped, strings that are not UTF-8 repaired as the Go agent does. Pure.

use super::msgpack::{Fault, Reader};
use super::obfuscate::cards;
use super::span::{Known, Marks, Metric, Pair, Part, Span, Store, Text};
use super::{MAX_SPAN, links};

/// Most strings that a v0.5 table may have; 8 bytes of memory each. A body of 50 MiB whose spans use this many different
/// strings would have 12 bytes left for each of them.
pub const MAX_STRINGS: u32 = 1 << 22;

/// Most entries of a map of a span: an entry takes at least six bytes on its way out.
const MAX_ENTRIES: u32 = (MAX_SPAN / 6) as u32;

/// How a payload writes strings and spans.
pub trait Dialect {
    /// Whether strings were checked for UTF-8 before the spans are read.
    const CHECKED: bool;

    /// The next string.
    ///
    /// # Errors
    /// What is wrong with it.
    fn text(&self, reader: &mut Reader<'_>) -> Result<Text, Fault>;

    /// The next string; `None` for nil.
    ///
    /// # Errors
    /// What is wrong with it.
    fn text_or_nil(&self, reader: &mut Reader<'_>) -> Result<Option<Text>, Fault>;

    /// Fills `span`, which is the default, with the next span; `false` if there is a nil in its place.
    ///
    /// # Errors
    /// What is wrong with it; the reader stands where.
    fn span(&self, reader: &mut Reader<'_>, store: &mut Store, span: &mut Span) -> Result<bool, Fault>;
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
    fn text(&self, reader: &mut Reader<'_>) -> Result<Text, Fault> {
        let length = reader.text()?.len();
        Ok(Text::in_body(reader.at() - length, length))
    }

    #[inline]
    fn text_or_nil(&self, reader: &mut Reader<'_>) -> Result<Option<Text>, Fault> {
        // The string first: the position of the next value must not wait for the look at a nil.
        match self.text(reader) {
            Err(Fault::NotText) if reader.nil() => Ok(None),
            text => text.map(Some),
        }
    }

    fn span(&self, reader: &mut Reader<'_>, store: &mut Store, span: &mut Span) -> Result<bool, Fault> {
        if reader.nil() {
            return Ok(false);
        }
        for _ in 0..reader.map()? {
            match reader.text()? {
                b"service" => span.service = scalar(self, reader, &mut store.pool)?,
                b"name" => span.name = scalar(self, reader, &mut store.pool)?,
                b"resource" => span.resource = scalar(self, reader, &mut store.pool)?,
                b"type" => span.kind = scalar(self, reader, &mut store.pool)?,
                b"trace_id" => span.trace_id = reader.unsigned()?,
                b"span_id" => span.span_id = reader.unsigned()?,
                b"parent_id" => span.parent_id = reader.unsigned()?,
                b"start" => span.start = reader.number()?.int(),
                b"duration" => span.duration = reader.number()?.int(),
                b"error" => span.error = reader.number()?.int32(),
                b"meta" => meta(self, reader, store, span)?,
                b"metrics" => metrics(self, reader, store, span)?,
                b"meta_struct" => meta_struct(reader, store, span)?,
                b"span_links" => span.links = encoded(reader, store, &mut span.oversize, links::links)?,
                b"span_events" => span.events = encoded(reader, store, &mut span.oversize, links::events)?,
                _ => reader.skip()?,
            }
        }
        Ok(true)
    }
}

impl Dialect for Indexed<'_> {
    const CHECKED: bool = true;

    #[inline]
    fn text(&self, reader: &mut Reader<'_>) -> Result<Text, Fault> {
        let before = reader.clone();
        let index = reader.unsigned()?;
        let text = usize::try_from(index).ok().and_then(|i| self.0.get(i)).copied();
        text.ok_or(Fault::NoSuchString).inspect_err(|_| *reader = before)
    }

    #[inline]
    fn text_or_nil(&self, reader: &mut Reader<'_>) -> Result<Option<Text>, Fault> {
        if reader.nil() { Ok(None) } else { self.text(reader).map(Some) }
    }

    fn span(&self, reader: &mut Reader<'_>, store: &mut Store, span: &mut Span) -> Result<bool, Fault> {
        if reader.nil() {
            return Ok(false);
        }
        reader.array_of(12, Fault::NotTwelve)?;
        span.service = scalar(self, reader, &mut store.pool)?;
        span.name = scalar(self, reader, &mut store.pool)?;
        span.resource = scalar(self, reader, &mut store.pool)?;
        span.trace_id = reader.unsigned()?;
        span.span_id = reader.unsigned()?;
        span.parent_id = reader.unsigned()?;
        span.start = reader.number()?.int();
        span.duration = reader.number()?.int();
        span.error = reader.number()?.int32();
        meta(self, reader, store, span)?;
        metrics(self, reader, store, span)?;
        span.kind = scalar(self, reader, &mut store.pool)?;
        Ok(true)
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
    let Some(text) = dialect.text_or_nil(reader)? else { return Ok(Text::default()) };
    Ok(if D::CHECKED { text } else { repaired(text, reader.bytes(), pool) })
}

/// `text` as it is if it is UTF-8, else a repaired copy.
fn repaired(text: Text, body: &[u8], pool: &mut Vec<u8>) -> Text {
    let bytes = text.of(body, &[]);
    if bytes.is_ascii() || std::str::from_utf8(bytes).is_ok() {
        return text;
    }
    Text::pooled(pool, String::from_utf8_lossy(bytes).as_bytes())
}

/// `meta`. A nil value is as good as no pair.
fn meta<D: Dialect>(d: &D, reader: &mut Reader<'_>, store: &mut Store, span: &mut Span) -> Result<(), Fault> {
    let Some(count) = entries(reader, span)? else { return Ok(()) };
    if span.meta.count > 0 {
        // A second map under the same key: the last counts, and nothing of the first.
        (span.known, span.inferred, span.network, span.digits) = (Known::default(), false, false, false);
        span.marks.kind(b"");
    }
    let (start, first) = (reader.at(), store.pairs.len());
    for _ in 0..count {
        let key = d.text(reader)?;
        let Some(value) = d.text_or_nil(reader)? else { continue };
        let at = store.pairs.len() as u32;
        store.pairs.push(Pair { key, value });
        span.digits |= cards::possible(value.of(reader.bytes(), &store.pool));
        let slot = match key.of(reader.bytes(), &store.pool) {
            b"env" => &mut span.known.env,
            b"version" => &mut span.known.version,
            b"_dd.hostname" => &mut span.known.hostname,
            b"runtime-id" => &mut span.known.runtime_id,
            b"_dd.origin" => &mut span.known.origin,
            b"http.status_code" => &mut span.known.status_code,
            b"http.url" => &mut span.known.url,
            b"_inferred_span.tag_source" => {
                span.inferred = true;
                continue;
            }
            b"tcp.remote.host" | b"dns.address" => {
                span.network = true;
                continue;
            }
            b"span.kind" => {
                span.marks.kind(value.of(reader.bytes(), &store.pool));
                continue;
            }
            _ => continue,
        };
        if let Some(pair) = slot.replace(at).and_then(|earlier| store.pairs.get_mut(earlier as usize)) {
            pair.key = Text::GONE;
        }
    }
    span.meta = part(first, store.pairs.len());
    let bytes = reader.bytes().get(start..reader.at()).unwrap_or_default();
    if !D::CHECKED && !is_plain(bytes, count) {
        let Store { pairs, pool, .. } = store;
        for Pair { key, value } in pairs.iter_mut().skip(first).filter(|pair| pair.key != Text::GONE) {
            *key = repaired(*key, reader.bytes(), pool);
            *value = repaired(*value, reader.bytes(), pool);
        }
    }
    Ok(())
}

/// Whether the keys and values of a map of strings are ASCII, told without looking at them one by one: then the only
/// bytes above 0x7f are the markers, two of each pair. Strings of more than 127 bytes have such bytes in their length and
/// are not told.
fn is_plain(map: &[u8], pairs: u32) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (blocks, rest) = map.as_chunks::<32>();
    let mut high = rest.iter().filter(|byte| !byte.is_ascii()).count() as u64;
    // Eight counters in a word, added up before one of them can overflow.
    for blocks in blocks.chunks(63) {
        let mut counters = 0;
        for block in blocks {
            // Always four; written out, because optimised for size the loop stays a loop.
            if let ([a, b, c, d], _) = block.as_chunks::<8>() {
                let high = |word: &[u8; 8]| u64::from_ne_bytes(*word) >> 7 & ONES;
                counters += high(a) + high(b) + high(c) + high(d);
            }
        }
        let sums = (counters & 0x00ff_00ff_00ff_00ff) + (counters >> 8 & 0x00ff_00ff_00ff_00ff);
        high += sums.wrapping_mul(0x0001_0001_0001_0001) >> 48;
    }
    high == 2 * u64::from(pairs)
}

/// `metrics`. A nil value is as good as no entry.
fn metrics<D: Dialect>(d: &D, reader: &mut Reader<'_>, store: &mut Store, span: &mut Span) -> Result<(), Fault> {
    let Some(count) = entries(reader, span)? else { return Ok(()) };
    let first = store.metrics.len();
    for _ in 0..count {
        let key = d.text(reader)?;
        if reader.nil() {
            continue;
        }
        let value = reader.number()?.float();
        match key.of(reader.bytes(), &store.pool) {
            b"_sampling_priority_v1" => span.priority = Some(value as i32),
            b"_dd.top_level" => {
                span.tracer_top_level = true;
                span.marks.add(Marks::TOP_LEVEL, value == 1.0);
            }
            b"_top_level" => span.marks.add(Marks::TOP_LEVEL, value == 1.0),
            b"_dd.measured" => span.marks.add(Marks::MEASURED, value == 1.0),
            b"_dd.partial_version" => span.marks.add(Marks::PARTIAL, value >= 0.0),
            _ => {}
        }
        let key = if D::CHECKED { key } else { repaired(key, reader.bytes(), &mut store.pool) };
        store.metrics.push(Metric { key, value });
    }
    span.metrics = part(first, store.metrics.len());
    Ok(())
}

/// `meta_struct`. A nil value is as good as no pair.
fn meta_struct(reader: &mut Reader<'_>, store: &mut Store, span: &mut Span) -> Result<(), Fault> {
    let Some(count) = entries(reader, span)? else { return Ok(()) };
    let first = store.pairs.len();
    for _ in 0..count {
        let key = repaired(Inline.text(reader)?, reader.bytes(), &mut store.pool);
        if !reader.nil() {
            let value = Inline.text(reader)?;
            store.pairs.push(Pair { key, value });
        }
    }
    span.meta_struct = part(first, store.pairs.len());
    Ok(())
}

/// The number of entries of a map; `None` if they are more than a span may have: then the map is skipped.
fn entries(reader: &mut Reader<'_>, span: &mut Span) -> Result<Option<u32>, Fault> {
    let before = reader.clone();
    let count = reader.map()?;
    if count <= MAX_ENTRIES {
        return Ok(Some(count));
    }
    *reader = before;
    span.oversize = true;
    reader.skip()?;
    Ok(None)
}

fn part(first: usize, end: usize) -> Part {
    Part { first: first as u32, count: (end - first) as u32 }
}

/// A list that `encode` turns into fields of a span, in the pool. What is longer than a span may be is left out.
fn encoded(
    reader: &mut Reader<'_>,
    store: &mut Store,
    oversize: &mut bool,
    encode: fn(&mut Reader<'_>, &mut Vec<u8>, usize) -> Result<(), Fault>,
) -> Result<Text, Fault> {
    let (start, before) = (store.pool.len(), reader.clone());
    match encode(reader, &mut store.pool, start + MAX_SPAN) {
        Ok(()) => Ok(Text::in_pool(&store.pool, start)),
        Err(Fault::SpanTooLong) => {
            store.pool.truncate(start);
            *reader = before;
            *oversize = true;
            reader.skip()?;
            Ok(Text::default())
        }
        Err(fault) => Err(fault),
    }
}
