//! One request's way from the tracer's bytes to the intake's: decode, normalise, tag, encode, in memory that is reused
//! from request to request and bounded whatever a request contains. Pure.
//!
//! The result comes in pieces: each is a whole `TracerPayload` field of an `AgentPayload`. A request that is longer than a
//! piece is cut between spans, so the memory needed depends on the length of a piece and not on that of the request. The
//! spans of a very long trace are looked at in windows; root, priority and top level are those of the window, except that
//! priority and origin are those of the first window that has any. Wherever a trace is cut, or loses
//! the span that says the upper half of its id, the next that goes out says it.

mod formats;
mod window;

use super::chunk::{self, Reject, UPPER_ID};
use super::decode::Dialect;
use super::msgpack::{Fault, Reader};
use super::payload::Writer;
use super::span::{Span, Store, Text};
use super::stages::Stages;
use super::tagging::Tagging;
use super::{DecodeError, Format, TracerHeaders};

/// A piece is finished when it is this long, in bytes. Requests of usual size fit into one, so that their tracer is
/// answered before anything is compressed.
pub const PIECE: usize = 1 << 20;

/// Spans of a trace that are looked at together.
const WINDOW: usize = 16_384;

/// Entries of their maps after which a window ends.
const WINDOW_ENTRIES: usize = 1 << 17;

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
    /// Dropped because they came before.
    pub duplicates: u64,
    /// Dropped because Lambda's own plumbing caused them.
    pub plumbing: u64,
    /// 1 if the request has more or fewer traces than its tracer says; not of spans.
    pub miscounted: u64,
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
    /// The stages, and what they remember of earlier requests.
    pub stages: &'a mut Stages,
    /// Nanoseconds since the epoch.
    pub now: u64,
    /// Takes the pieces that are full before the request is done.
    pub full: &'a mut dyn FnMut(Piece<'_>),
}

/// The reused memory.
#[derive(Debug, Default)]
pub struct Pipeline {
    spans: Vec<Span>,
    /// Its pool has first the repaired strings of the table, then those of the window.
    store: Store,
    strings: Vec<Text>,
    /// JSON as msgpack.
    transcoded: Vec<u8>,
    /// Traces of the request so far.
    traces: u64,
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
        self.store.clear(0);
        self.writer.begin(body.len());
        self.traces = 0;
        let outcome = self.payload(body, format, &mut request, tally);
        self.writer.end(request.tagging);
        let announced = request.headers.trace_count.filter(|_| outcome.is_ok());
        tally.miscounted += u64::from(announced.is_some_and(|count| count != self.traces));
        outcome
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
        self.store.rest(KEEP_BYTES);
        self.strings.clear();
        self.strings.shrink_to(KEEP_SPANS);
        self.transcoded.clear();
        self.transcoded.shrink_to(KEEP_BYTES);
        self.writer.rest(KEEP_BYTES);
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
        let (mut trace_id, mut reject, mut fate, mut unsent) = (None, None, None, 0);
        let mut left = reader.array()?;
        self.traces += 1;
        self.writer.trace();
        while left > 0 {
            self.spans.clear();
            self.store.clear(table);
            while left > 0 && self.has_room(table) {
                left -= 1;
                // Decoded in place: a span is too large to be moved about.
                self.spans.push(Span::default());
                let Some(span) = self.spans.last_mut() else { continue };
                if !d.span(reader, &mut self.store, span)? {
                    self.spans.pop();
                    continue;
                }
                if !request.stages.is_new(span) {
                    tally.duplicates += 1;
                    self.writer.carry(self.store.meta(span, UPPER_ID, reader.bytes()));
                    self.spans.pop();
                    continue;
                }
                unsent += 1;
                let first = *trace_id.get_or_insert(span.trace_id);
                reject = reject.or_else(|| chunk::admit(span, first).err());
                if reject.is_some() {
                    self.spans.clear();
                    self.store.clear(table);
                }
            }
            if reject.is_none() && !self.spans.is_empty() {
                self.window(reader.bytes(), request, &mut fate, left == 0, tally);
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

    /// Whether the window takes another span.
    fn has_room(&self, table: usize) -> bool {
        let Store { pairs, metrics, pool } = &self.store;
        self.spans.len() < WINDOW && pairs.len() + metrics.len() < WINDOW_ENTRIES && pool.len() < table + WINDOW_POOL
    }
}
