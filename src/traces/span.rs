//! A decoded span: numbers, and offsets instead of references, so that the buffer of spans outlives each body and is
//! reused without `unsafe`. Pure.

use crate::codec::protobuf::Slack;

/// Marks an offset as one into the pool.
const POOL: u32 = 1 << 31;

/// A string, as a place in the request's body or in the pool of strings that are not in the body as they go out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    at: u32,
    length: u32,
}

impl Text {
    /// The key of a pair that was taken out.
    pub const GONE: Self = Self { at: u32::MAX, length: 0 };

    /// `length` bytes at `at` in the body; bodies are shorter than 2 GiB ([`super::msgpack::Fault::TooLong`]).
    #[must_use]
    pub fn in_body(at: usize, length: usize) -> Self {
        Self { at: at as u32, length: length as u32 }
    }

    /// What was appended to `pool` since it was `start` bytes long.
    #[must_use]
    pub fn in_pool(pool: &[u8], start: usize) -> Self {
        Self { at: start as u32 | POOL, length: (pool.len() - start) as u32 }
    }

    /// Appends `text` to the pool.
    #[must_use]
    pub fn pooled(pool: &mut Vec<u8>, text: &[u8]) -> Self {
        let start = pool.len();
        pool.extend_from_slice(text);
        Self::in_pool(pool, start)
    }

    /// The bytes; empty if they are not there, which is impossible for a text made from the same body and pool.
    #[must_use]
    #[inline]
    pub fn of<'a>(self, body: &'a [u8], pool: &'a [u8]) -> &'a [u8] {
        let home = if self.at & POOL == 0 { body } else { pool };
        let at = (self.at & !POOL) as usize;
        home.get(at..at + self.length as usize).unwrap_or_default()
    }

    /// The bytes and what follows them where they are.
    #[must_use]
    #[inline]
    pub fn slack<'a>(self, body: &'a [u8], pool: &'a [u8]) -> Slack<'a> {
        let home = if self.at & POOL == 0 { body } else { pool };
        Slack::new(home.get((self.at & !POOL) as usize..).unwrap_or_default(), self.length as usize)
    }

    /// The first `length` bytes.
    #[must_use]
    pub fn cut(self, length: usize) -> Self {
        Self { at: self.at, length: self.length.min(length as u32) }
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(self) -> usize {
        self.length as usize
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.length == 0
    }
}

/// A key and a value of `meta` or `meta_struct`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// The key; [`Text::GONE`] if a stage took the pair out.
    pub key: Text,
    /// The value.
    pub value: Text,
}

/// A key and a value of `metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Metric {
    /// The key.
    pub key: Text,
    /// The value.
    pub value: f64,
}

/// A run of entries in the [`Store`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Index of the first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Part {
    /// These of `all`.
    #[must_use]
    pub fn of<T>(self, all: &[T]) -> &[T] {
        all.get(self.first as usize..).and_then(|rest| rest.get(..self.count as usize)).unwrap_or_default()
    }
}

/// What the spans of a window share: the entries of their maps, and the strings that are not in the body.
#[derive(Debug, Default)]
pub struct Store {
    /// Entries of `meta` and `meta_struct`.
    pub pairs: Vec<Pair>,
    /// Entries of `metrics`.
    pub metrics: Vec<Metric>,
    /// The pool.
    pub pool: Vec<u8>,
}

impl Store {
    /// Forgets the entries and what the pool has beyond `pool` bytes.
    pub fn clear(&mut self, pool: usize) {
        self.pairs.clear();
        self.metrics.clear();
        self.pool.truncate(pool);
    }

    /// Forgets everything and gives memory back, down to `keep` bytes for each kind.
    pub fn rest(&mut self, keep: usize) {
        self.clear(0);
        self.pairs.shrink_to(keep / size_of::<Pair>());
        self.metrics.shrink_to(keep / size_of::<Metric>());
        self.pool.shrink_to(keep);
    }

    /// The value of the pair with this index.
    #[must_use]
    pub fn value(&self, pair: Option<u32>) -> Option<Text> {
        self.pairs.get(pair? as usize).map(|pair| pair.value)
    }
}

/// The pairs of a span's meta that the stages look at, as indices into the store. The last one counts where a key occurs
/// twice; the others are taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// `env`.
    pub env: Option<u32>,
    /// `version`.
    pub version: Option<u32>,
    /// `_dd.hostname`.
    pub hostname: Option<u32>,
    /// `runtime-id`.
    pub runtime_id: Option<u32>,
    /// `_dd.origin`.
    pub origin: Option<u32>,
    /// `http.status_code`.
    pub status_code: Option<u32>,
}

/// A span. The stages change its fields, and its pairs in the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// Service.
    pub service: Text,
    /// Operation.
    pub name: Text,
    /// Resource.
    pub resource: Text,
    /// The span's type.
    pub kind: Text,
    /// Low 64 bits of the trace's id.
    pub trace_id: u64,
    /// The span's id.
    pub span_id: u64,
    /// The parent's id, 0 for none.
    pub parent_id: u64,
    /// Nanoseconds since the epoch.
    pub start: i64,
    /// Nanoseconds.
    pub duration: i64,
    /// Not zero if the operation failed.
    pub error: i32,
    /// Metric `_sampling_priority_v1`.
    pub priority: Option<i32>,
    /// Whether there is a metric `_dd.top_level`.
    pub tracer_top_level: bool,
    /// Whether the metric `_top_level` is to be set.
    pub top_level: bool,
    /// Whether a part of it alone is longer than a span may be.
    pub oversize: bool,
    /// `meta`: strings to strings.
    pub meta: Part,
    /// `metrics`: strings to numbers.
    pub metrics: Part,
    /// `meta_struct`: strings to bytes.
    pub meta_struct: Part,
    /// `span_links`, already as protobuf fields of a span.
    pub links: Text,
    /// `span_events`, already as protobuf fields of a span.
    pub events: Text,
    /// What of `meta` the stages look at.
    pub known: Known,
}
