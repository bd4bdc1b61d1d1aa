//! One request's way from the tracer's bytes to the intake's: decode, normalise, tag, encode, in memory that is reused
//! from request to request and bounded whatever a request contains. Pure.
//!
//! The result comes in pieces: each is a whole `TracerPayload` field of an `AgentPayload`. A request that is longer than a
//! piece is cut between spans, so the memory needed depends on the length of a piece and not on that of the request. The
//! spans of a very long trace are looked at in windows; root, priority and top level are those of the window, except that
//! priority and origin carry over to windows without.

use super::chunk::{self, Index, Reject};
use super::decode::{self, Dialect, Indexed, Inline};
use super::msgpack::{Fault, Reader};
use super::normalize::{self, Texts};
use super::payload::{About, Writer};
use super::span::{Edit, Span, Text};
use super::tagging::Tagging;
use super::{DecodeError, Format, TracerHeaders, encode};

/// A piece is finished when it is this long, in bytes. Requests of usual size fit into one, so that their tracer is
/// answered before anything is compressed.
pub const PIECE: usize = 4 << 20;

/// Spans of a trace that are looked at together.
const WINDOW: usize = 16_384;

/// Bytes of strings outside the body after which a window ends.
const WINDOW_POOL: usize = 4 << 20;

/// What [`Pipeline::rest`] keeps of the memory.
const KEEP_BYTES: usize = 256 << 10;
const KEEP_SPANS: usize = 512;

/// What became of the spans of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Encoded.
    pub accepted: u64,
    /// Dropped because a span of their trace has no trace id.
    pub trace_id_zero: u64,
    /// Dropped because a span of their trace has no id.
    pub span_id_zero: u64,
    /// Dropped because their trace has spans of another.
    pub foreign: u64,
    /// Dropped because they are longer than the intake takes.
    pub too_large: u64,
}

/// A finished `TracerPayload` field.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// How many spans are in it.
    pub spans: u32,
}

/// What is the same for all spans of a request.
pub struct Request<'a> {
    /// What the tracer says of itself.
    pub headers: &'a TracerHeaders,
    /// What goes on every span.
    pub tagging: &'a Tagging,
    /// Nanoseconds since the epoch.
    pub now: u64,
    /// Takes the pieces that are full before the request is done.
    pub full: &'a mut dyn FnMut(Piece<'_>),
}

/// The reused memory.
#[derive(Debug, Default)]
pub struct Pipeline {
    spans: Vec<Span>,
    edits: Vec<Edit>,
    index: Index,
    /// Strings that are not in the body: first the repaired ones of the table, then those of the window.
    pool: Vec<u8>,
    strings: Vec<Text>,
    writer: Writer,
}

impl Pipeline {
    /// Encodes all traces of `body`. What is left of the last piece is then with [`Pipeline::piece`].
    ///
    /// # Errors
    /// Where the body is not what `format` says. The traces before that place are encoded all the same.
    pub fn run(
        &mut self,
        body: &[u8],
        format: Format,
        mut request: Request<'_>,
        tally: &mut Tally,
    ) -> Result<(), DecodeError> {
        self.pool.clear();
        self.writer.begin(body.len());
        let mut reader = Reader::new(body, 0);
        let outcome = self.payload(&mut reader, format, &mut request, tally);
        self.writer.end(request.tagging);
        outcome.map_err(|fault| reader.fault(fault))
    }

    /// The piece that is not full, finished; `None` if it has no spans.
    #[must_use]
    pub fn piece(&self) -> Option<Piece<'_>> {
        self.writer.piece()
    }

    /// Gives back the memory that only large requests need.
    pub fn rest(&mut self) {
        self.spans.clear();
        self.spans.shrink_to(KEEP_SPANS);
        self.index.clear();
        self.index.shrink(KEEP_SPANS);
        self.edits.clear();
        self.edits.shrink_to(KEEP_SPANS);
        self.strings.clear();
        self.strings.shrink_to(KEEP_SPANS);
        self.pool.clear();
        self.pool.shrink_to(KEEP_BYTES);
        self.writer.rest(KEEP_BYTES);
    }

    fn payload(
        &mut self,
        reader: &mut Reader<'_>,
        format: Format,
        request: &mut Request<'_>,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        if reader.bytes().len() > i32::MAX as usize {
            return Err(Fault::TooLong);
        }
        if reader.is_done() {
            return Ok(());
        }
        match format {
            Format::V04 => self.traces(&Inline, reader, request, tally)?,
            Format::V05 => {
                let mut strings = std::mem::take(&mut self.strings);
                strings.clear();
                let outcome = decode::table(reader, &mut self.pool, &mut strings)
                    .and_then(|()| self.traces(&Indexed(&strings), reader, request, tally));
                self.strings = strings;
                outcome?;
            }
        }
        if reader.is_done() { Ok(()) } else { Err(Fault::Trailing) }
    }

    fn traces<D: Dialect>(
        &mut self,
        d: &D,
        reader: &mut Reader<'_>,
        request: &mut Request<'_>,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let table = self.pool.len();
        for _ in 0..reader.array()? {
            self.trace(d, reader, table, request, tally)?;
        }
        Ok(())
    }

    /// One trace, window by window. Once a span does not belong, the rest of the trace is only checked and counted.
    fn trace<D: Dialect>(
        &mut self,
        d: &D,
        reader: &mut Reader<'_>,
        table: usize,
        request: &mut Request<'_>,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let (mut trace_id, mut reject, mut unsent) = (None, None, 0);
        let mut left = reader.array()?;
        self.writer.trace();
        while left > 0 {
            self.spans.clear();
            self.pool.truncate(table);
            while left > 0 && self.spans.len() < WINDOW && self.pool.len() < table + WINDOW_POOL {
                left -= 1;
                let Some(span) = d.span(reader, &mut self.pool)? else { continue };
                unsent += 1;
                let first = *trace_id.get_or_insert(span.trace_id);
                reject = reject.or_else(|| chunk::admit(&span, first).err());
                if reject.is_none() {
                    self.spans.push(span);
                } else {
                    self.pool.truncate(table);
                }
            }
            if reject.is_none() && !self.spans.is_empty() {
                self.window(d, reader.bytes(), request, tally)?;
                unsent = 0;
            }
        }
        match reject {
            None => {}
            Some(Reject::TraceIdZero) => tally.trace_id_zero += unsent,
            Some(Reject::SpanIdZero) => tally.span_id_zero += unsent,
            Some(Reject::ForeignSpan) => tally.foreign += unsent,
        }
        Ok(())
    }

    /// The stages, in their order, over the spans of a window.
    fn window<D: Dialect>(
        &mut self,
        d: &D,
        body: &[u8],
        request: &mut Request<'_>,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        self.edits.clear();
        self.index.clear();
        let mut texts = Texts { body, pool: &mut self.pool };
        for (at, span) in (0..).zip(&mut self.spans) {
            normalize::normalize(span, at, &mut texts, &mut self.edits, request.now);
        }
        let pool = self.pool.as_slice();
        let root = chunk::root(&self.spans, &mut self.index);
        let same = |a: Text, b: Text| a.of(body, pool) == b.of(body, pool);
        chunk::mark_top_level(&mut self.spans, &mut self.index, request.headers.client_computed_top_level, same);
        self.writer.about(|about: &mut About| about.learn(&self.spans, root, body, pool));
        let facts = chunk::facts(&self.spans, root);
        self.writer.facts(facts.priority, facts.origin.map(|origin| origin.of(body, pool)));

        let overlay = request.tagging.overlay(request.headers.client_computed_stats);
        let mut edits = self.edits.as_slice();
        for (at, span) in (0..).zip(&self.spans) {
            let own = edits.iter().take_while(|edit| edit.span == at).count();
            let cx = encode::Context { body, pool, overlay, service: &request.tagging.service, edits: &edits[..own] };
            edits = &edits[own..];
            let taken = self.writer.span(request.headers, |out| match span.oversize {
                true => Err(Fault::SpanTooLong),
                false => encode::span(d, span, &cx, out),
            })?;
            *(if taken { &mut tally.accepted } else { &mut tally.too_large }) += 1;
            if self.writer.is_full() {
                self.writer.flush(request.tagging, request.full);
            }
        }
        self.writer.end_chunk();
        Ok(())
    }
}
