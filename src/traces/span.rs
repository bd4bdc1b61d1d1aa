//! A decoded span: numbers, and offsets instead of references, so that the buffer of spans outlives each body and is
//! reused without `unsafe`. Pure.

/// Marks an offset as one into the pool.
const POOL: u32 = 1 << 31;

/// A string, as a place in the request's body or in the pool of strings that are not in the body as they go out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    at: u32,
    length: u32,
}

impl Text {
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

/// A map in the body: where its first pair is and how many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Offset of the first pair in the body.
    pub at: u32,
    /// Pairs.
    pub pairs: u32,
}

/// The values of a span's meta that the stages look at. The last one wins where a key occurs twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// `env`.
    pub env: Option<Text>,
    /// `version`.
    pub version: Option<Text>,
    /// `_dd.hostname`.
    pub hostname: Option<Text>,
    /// `runtime-id`.
    pub runtime_id: Option<Text>,
    /// `_dd.origin`.
    pub origin: Option<Text>,
    /// `http.status_code`.
    pub status_code: Option<Text>,
}

/// A span. The stages change its fields; what they change in its meta they write down as [`Edit`]s.
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
    /// Whether a key or value in `meta`, `metrics` or `meta_struct` is not UTF-8 and must be repaired on its way out.
    pub lossy: bool,
    /// Whether links and events alone are longer than a span may be.
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

/// A change of a span's meta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Index of the span in its chunk.
    pub span: u32,
    /// The key.
    pub key: &'static str,
    /// The new value; `None` takes the key out.
    pub value: Option<Text>,
}
