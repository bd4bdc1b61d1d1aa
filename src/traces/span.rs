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

    /// These of `all`, to change them.
    #[must_use]
    pub fn of_mut<T>(self, all: &mut [T]) -> &mut [T] {
        all.get_mut(self.first as usize..).and_then(|rest| rest.get_mut(..self.count as usize)).unwrap_or_default()
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

    /// The index of the pair of `span`'s meta with `key`: the last, should there be several. Looks at each; what is asked
    /// of every span belongs into [`Known`].
    #[must_use]
    pub fn find(&self, span: &Span, key: &[u8], body: &[u8]) -> Option<u32> {
        let at = span.meta.of(&self.pairs).iter().rposition(|pair| {
            pair.key.len() == key.len() && pair.key != Text::GONE && pair.key.of(body, &self.pool) == key
        })?;
        Some(span.meta.first + at as u32)
    }

    /// As [`Store::find`], and takes out the other pairs with `key`. Who changes the one that counts must ask for it so:
    /// the others would go out as they came.
    pub fn sole(&mut self, span: &Span, key: &[u8], body: &[u8]) -> Option<u32> {
        let Self { pairs, pool, .. } = self;
        let mut last = None;
        for (at, pair) in span.meta.of_mut(pairs).iter_mut().enumerate().rev() {
            if pair.key.len() != key.len() || pair.key == Text::GONE || pair.key.of(body, pool) != key {
                continue;
            }
            match last {
                None => last = Some(span.meta.first + at as u32),
                Some(_) => pair.key = Text::GONE,
            }
        }
        last
    }

    /// The value of `key` in `span`'s meta.
    #[must_use]
    pub fn meta<'a>(&'a self, span: &Span, key: &[u8], body: &'a [u8]) -> Option<&'a [u8]> {
        self.value(self.find(span, key, body)).map(|value| value.of(body, &self.pool))
    }

    /// The value of `key` in `span`'s metrics: the last, should there be several.
    #[must_use]
    pub fn metric(&self, span: &Span, key: &[u8], body: &[u8]) -> Option<f64> {
        let metrics = span.metrics.of(&self.metrics).iter();
        metrics.rev().find(|metric| metric.key.of(body, &self.pool) == key).map(|metric| metric.value)
    }

    /// Puts `value` into the pair with this index.
    pub fn replace(&mut self, pair: u32, value: &[u8]) {
        if let Some(pair) = self.pairs.get_mut(pair as usize) {
            pair.value = Text::pooled(&mut self.pool, value);
        }
    }

    /// Sets `key` in `span`'s meta. A key that is not there yet may move the span's pairs to the end of the store, so
    /// this is for the few spans that need it, and not for keys of [`Known`].
    pub fn set(&mut self, span: &mut Span, key: &[u8], value: &[u8], body: &[u8]) {
        if let Some(pair) = self.sole(span, key, body) {
            return self.replace(pair, value);
        }
        let pair = Pair { key: Text::pooled(&mut self.pool, key), value: Text::pooled(&mut self.pool, value) };
        let moved = append(&mut self.pairs, &mut span.meta, pair);
        span.known.shift(moved);
    }

    /// Sets `key` in `span`'s metrics, with the cost of [`Store::set`].
    pub fn set_metric(&mut self, span: &mut Span, key: &[u8], value: f64, body: &[u8]) {
        let Part { first, count } = span.metrics;
        let own = self.metrics.get_mut(first as usize..(first + count) as usize).unwrap_or_default();
        if let Some(metric) = own.iter_mut().rev().find(|metric| metric.key.of(body, &self.pool) == key) {
            metric.value = value;
            return;
        }
        let key = Text::pooled(&mut self.pool, key);
        append(&mut self.metrics, &mut span.metrics, Metric { key, value });
    }
}

/// Adds `entry` to `part`, which is moved to the end unless it is there already. By how many places it moved.
fn append<T: Copy>(all: &mut Vec<T>, part: &mut Part, entry: T) -> u32 {
    let (first, end) = (part.first as usize, (part.first + part.count) as usize);
    let moved = if end == all.len() { 0 } else { all.len() - first };
    if moved > 0 {
        all.extend_from_within(first..end);
    }
    all.push(entry);
    *part = Part { first: part.first + moved as u32, count: part.count + 1 };
    moved as u32
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
    /// `http.url`.
    pub url: Option<u32>,
}

impl Known {
    /// Follows the span's pairs that moved by so many places.
    fn shift(&mut self, places: u32) {
        let Self { env, version, hostname, runtime_id, origin, status_code, url } = self;
        for index in [env, version, hostname, runtime_id, origin, status_code, url].into_iter().flatten() {
            *index += places;
        }
    }
}

/// What only stats ask of a span's entries, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    /// A metric `_top_level` or `_dd.top_level` is 1.
    pub const TOP_LEVEL: u8 = 1;
    /// The metric `_dd.measured` is 1.
    pub const MEASURED: u8 = 2;
    /// `span.kind` is one of those at the border of a service: client, server, producer, consumer.
    pub const KIND: u8 = 4;
    /// The metric `_dd.partial_version` is 0 or more: the span is not finished.
    pub const PARTIAL: u8 = 8;

    /// Sets `bit` if `on`.
    #[inline]
    pub fn add(&mut self, bit: u8, on: bool) {
        self.0 |= if on { bit } else { 0 };
    }

    /// Sets or clears [`Marks::KIND`] by a value of `span.kind`.
    pub fn kind(&mut self, kind: &[u8]) {
        self.0 &= !Self::KIND;
        let kinds = [b"client".as_slice(), b"server", b"producer", b"consumer"];
        self.add(Self::KIND, kinds.iter().any(|known| known.eq_ignore_ascii_case(kind)));
    }

    /// Whether one of `bits` is set.
    #[must_use]
    #[inline]
    pub fn any(self, bits: u8) -> bool {
        self.0 & bits != 0
    }
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
    /// Whether there is a `tcp.remote.host` or a `dns.address` in `meta`.
    pub network: bool,
    /// Whether there is an `_inferred_span.tag_source` in `meta`.
    pub inferred: bool,
    /// Whether the metric `_top_level` is to be set.
    pub top_level: bool,
    /// Whether a value of `meta` may be the number of a credit card, by its length and first bytes.
    pub digits: bool,
    /// What only stats ask.
    pub marks: Marks,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_key_that_occurs_again_the_last_stays() {
        let body = b"aabac";
        let pair = |key, value| Pair { key: Text::in_body(key, 1), value: Text::in_body(value, 1) };
        let mut store = Store { pairs: vec![pair(0, 4), pair(0, 4), pair(2, 4), pair(1, 2)], ..Store::default() };
        let span = Span { meta: Part { first: 1, count: 3 }, ..Span::default() };
        assert_eq!((store.sole(&span, b"a", body), store.sole(&span, b"x", body)), (Some(3), None));
        let left: Vec<_> = store.pairs.iter().map(|pair| pair.key.of(body, &[])).collect();
        assert_eq!(left, [b"a".as_slice(), b"", b"b", b"a"], "the pair of another span is not touched");
    }

    #[test]
    fn pairs_and_metrics_are_found_replaced_and_added() {
        let body = b"envprodab";
        let text = Text::in_body;
        let mut store = Store::default();
        let span = |store: &mut Store| {
            let first = store.pairs.len() as u32;
            store.pairs.push(Pair { key: text(7, 1), value: text(8, 1) });
            store.pairs.push(Pair { key: text(0, 3), value: text(3, 4) });
            let known = Known { env: Some(first + 1), ..Known::default() };
            Span { meta: Part { first, count: 2 }, known, ..Span::default() }
        };
        let (mut first, mut second) = (span(&mut store), span(&mut store));
        for span in [&mut first, &mut second] {
            store.set(span, b"sql.query", b"SELECT ?", body);
            store.set(span, b"a", b"changed", body);
            store.set_metric(span, b"rate", 0.5, body);
            store.set_metric(span, b"other", 2.0, body);
            store.set_metric(span, b"rate", 1.0, body);
        }
        for span in [&first, &second] {
            for (key, value) in
                [("a", Some("changed")), ("env", Some("prod")), ("sql.query", Some("SELECT ?")), ("b", None)]
            {
                let got = store.meta(span, key.as_bytes(), body).map(|v| std::str::from_utf8(v).unwrap());
                assert_eq!(got, value, "{key}");
            }
            assert_eq!(store.value(span.known.env).map(|v| v.of(body, &store.pool)), Some(&b"prod"[..]));
            assert_eq!((span.meta.count, span.metrics.count), (3, 2));
            assert_eq!(
                [b"rate".as_slice(), b"other", b"none"].map(|k| store.metric(span, k, body)),
                [Some(1.0), Some(2.0), None]
            );
        }
    }
}
