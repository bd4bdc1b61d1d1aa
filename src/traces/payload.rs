//! The messages around the spans: a `TracerPayload` with its chunks, opened when the first span comes and closed when it
//! is long enough (spec: traces 4.5). Pure.

use super::TracerHeaders;
use super::chunk::UPPER_ID;
use super::pipeline::{PIECE, Piece};
use super::span::{Known, Span, Store};
use super::tagging::Tagging;
use crate::codec::protobuf::{self as pb, Buffer, Slack};

/// Field numbers: of the intake's message, of a tracer's payload, of a chunk.
const TRACER_PAYLOADS: u32 = 5;
const CHUNKS: u32 = 6;
const SPANS: u32 = 3;
const META: u32 = 10;

/// The priority of a trace of which nobody decided.
const NO_PRIORITY: i32 = -128;

/// How many bytes a request may become: so many for each of its own, and so many besides. No tracer's payload comes near;
/// a table of long strings, each used by every span, would.
const EXPANSION: u64 = 64;
const EXPANSION_BASE: u64 = 256 << 20;

/// What a request says of its process: what its payload says itself (v0.7), else the first value found in its spans, in
/// roots before others.
#[derive(Debug, Default)]
pub struct About {
    /// The container's id.
    pub container_id: Vec<u8>,
    /// The tracer's language.
    pub language: Vec<u8>,
    /// Its version.
    pub language_version: Vec<u8>,
    /// The version of the tracer.
    pub tracer_version: Vec<u8>,
    /// The environment.
    pub env: Vec<u8>,
    /// The version of the application.
    pub version: Vec<u8>,
    /// The host.
    pub hostname: Vec<u8>,
    /// The id of the process.
    pub runtime_id: Vec<u8>,
    /// The payload's tags, as protobuf fields of a payload.
    pub tags: Vec<u8>,
}

impl About {
    /// Takes what is not known yet from a chunk.
    fn learn(&mut self, spans: &[Span], root: usize, body: &[u8], store: &Store) {
        let find = |slot: &mut Vec<u8>, of: fn(&Known) -> Option<u32>| {
            if slot.is_empty() {
                let values = spans.get(root).into_iter().chain(spans).filter_map(|span| store.value(of(&span.known)));
                let mut found = values.map(|text| text.of(body, &store.pool)).filter(|value| !value.is_empty());
                slot.extend_from_slice(found.next().unwrap_or_default());
            }
        };
        find(&mut self.env, |known| known.env);
        find(&mut self.version, |known| known.version);
        find(&mut self.hostname, |known| known.hostname);
        find(&mut self.runtime_id, |known| known.runtime_id);
    }

    fn clear(&mut self) {
        let Self { container_id, language, language_version, tracer_version, env, version, hostname, runtime_id, tags } =
            self;
        for slot in [container_id, language, language_version, tracer_version, env, version, hostname, runtime_id, tags]
        {
            slot.clear();
        }
    }
}

/// What a chunk says of itself (v0.7), which counts more than what its spans say.
#[derive(Debug, Default)]
pub struct Given {
    /// The sampling priority.
    pub priority: Option<i32>,
    /// Where the trace began.
    pub origin: Vec<u8>,
    /// What else it says, as protobuf fields of a chunk.
    pub fields: Vec<u8>,
}

/// The bytes of a piece, and what of it is open.
#[derive(Debug, Default)]
pub struct Writer {
    out: Buffer,
    spans: u32,
    payload: Option<usize>,
    chunk: Option<usize>,
    about: About,
    given: Given,
    priority: Option<i32>,
    origin: Vec<u8>,
    /// What the first span of each further chunk of this trace says of its id, as an entry of its `meta`.
    carried: Vec<u8>,
    /// Whether the chunk that is open has no span yet.
    bare: bool,
    /// Bytes that this request may still become.
    room: u64,
}

impl Writer {
    /// Starts a request of `length` bytes.
    pub fn begin(&mut self, length: usize) {
        self.reset();
        self.about.clear();
        self.given = Given::default();
        self.room = EXPANSION_BASE + EXPANSION * length as u64;
    }

    /// What the payload says of its process, if it does; to be filled before the first trace.
    pub fn about(&mut self) -> &mut About {
        &mut self.about
    }

    /// Sets what the chunks from the next trace on say of themselves.
    pub fn give(&mut self, given: Given) {
        self.given = given;
        if self.given.priority == Some(NO_PRIORITY) {
            self.given.priority = None;
        }
    }

    /// Starts a trace.
    pub fn trace(&mut self) {
        self.priority = self.given.priority;
        self.origin.clone_from(&self.given.origin);
        self.carried.clear();
    }

    /// Makes the next chunks of this trace say the upper half of its id, as its tracer does on one of its spans: on their
    /// first, for that one may not be in them.
    pub fn carry(&mut self, upper_id: Option<&[u8]>) {
        if let Some(id) = upper_id.filter(|id| id.len() == 16 && self.carried.is_empty()) {
            pb::entry(&mut self.carried, META, UPPER_ID, id);
        }
    }

    /// Sets what the chunks of this trace say from now on, unless they said it themselves or an earlier window did: what
    /// the parts of a trace go out with must not differ.
    pub fn facts(&mut self, priority: Option<i32>, origin: Option<&[u8]>) {
        self.priority = self.priority.or(priority);
        if self.origin.is_empty() {
            self.origin.extend_from_slice(origin.unwrap_or_default());
        }
    }

    /// The priority that the chunks of this trace go out with, if anybody decided.
    #[must_use]
    pub fn priority(&self) -> Option<i32> {
        self.priority
    }

    /// Where the trace began, as its chunks go out with; empty if unknown.
    #[must_use]
    pub fn origin(&self) -> &[u8] {
        &self.origin
    }

    /// Sets the sampling priority, whatever the chunk or its spans say.
    pub fn decided(&mut self, priority: Option<i32>) {
        self.priority = priority;
    }

    /// The environment that goes out: the function's, else what is known of the process.
    #[must_use]
    pub fn env<'a>(&'a self, tagging: &'a Tagging) -> &'a [u8] {
        if tagging.env.is_empty() { &self.about.env } else { tagging.env.as_bytes() }
    }

    /// Takes what is not known yet of the process from a chunk.
    pub fn learn(&mut self, spans: &[Span], root: usize, body: &[u8], store: &Store) {
        self.about.learn(spans, root, body, store);
    }

    /// Appends a span, unless `encode` says that it is too long. Returns whether it did. `encode` gets, for the first span
    /// of a chunk, what that has to say as [`Writer::carry`] has it.
    pub fn span(&mut self, from: &TracerHeaders, encode: impl FnOnce(&mut Buffer, &[u8]) -> bool) -> bool {
        self.open(from);
        let start = self.out.len();
        let mark = self.out.open(SPANS);
        let complete = encode(&mut self.out, if self.bare { &self.carried } else { &[] });
        let length = (self.out.len() - start) as u64;
        if !complete || length > self.room {
            self.out.truncate(start);
            return false;
        }
        self.out.close(mark);
        self.room -= length;
        self.spans += 1;
        self.bare = false;
        true
    }

    /// Whether the piece is as long as it should get.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.out.len() >= PIECE
    }

    /// Finishes the piece and hands it to `full`; the next span opens another, with a chunk of the same trace.
    pub fn flush(&mut self, tagging: &Tagging, full: &mut dyn FnMut(Piece<'_>)) {
        self.end(tagging);
        if let Some(piece) = self.piece() {
            full(piece);
        }
        self.reset();
    }

    /// Finishes the chunk.
    pub fn end_chunk(&mut self) {
        if let Some(mark) = self.chunk.take() {
            self.out.close(mark);
        }
    }

    /// Finishes the payload.
    pub fn end(&mut self, tagging: &Tagging) {
        self.end_chunk();
        let Some(mark) = self.payload.take() else { return };
        let out = &mut self.out;
        let env = if tagging.env.is_empty() { &self.about.env } else { tagging.env.as_bytes() };
        let version = if tagging.version.is_empty() { &self.about.version } else { tagging.version.as_bytes() };
        out.bytes(5, Slack::whole(&self.about.runtime_id));
        out.encoded(&self.about.tags);
        out.encoded(&tagging.payload_tags);
        out.bytes(8, Slack::whole(env));
        out.bytes(9, Slack::whole(&self.about.hostname));
        out.bytes(10, Slack::whole(version));
        out.close(mark);
    }

    /// The finished piece.
    #[must_use]
    pub fn piece(&self) -> Option<Piece<'_>> {
        (self.spans > 0 && self.payload.is_none()).then_some(Piece { bytes: self.out.content(), spans: self.spans })
    }

    /// Gives memory back, down to `keep` bytes.
    pub fn rest(&mut self, keep: usize) {
        self.reset();
        self.out.rest(keep);
    }

    fn reset(&mut self) {
        self.out.truncate(0);
        self.spans = 0;
        self.payload = None;
        self.chunk = None;
    }

    fn open(&mut self, from: &TracerHeaders) {
        if self.payload.is_none() {
            self.payload = Some(self.out.open(TRACER_PAYLOADS));
            let About { container_id, language, language_version, tracer_version, .. } = &self.about;
            for (field, sent, header) in [
                (1, container_id, &from.container_id),
                (2, language, &from.lang),
                (3, language_version, &from.lang_version),
                (4, tracer_version, &from.tracer_version),
            ] {
                self.out.bytes(field, Slack::whole(if sent.is_empty() { header.as_bytes() } else { sent }));
            }
        }
        if self.chunk.is_none() {
            self.chunk = Some(self.out.open(CHUNKS));
            self.bare = true;
            self.out.uint(1, i64::from(self.priority.unwrap_or(NO_PRIORITY)) as u64);
            self.out.bytes(2, Slack::whole(&self.origin));
            self.out.encoded(&self.given.fields);
        }
    }
}
