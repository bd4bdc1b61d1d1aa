//! Finds the tags by which a span is counted: one walk over its entries, each looked up in a table made of the settings.
//! Pure.

use super::super::span::{Span, Store, Text};
use super::key::{MIX, fold, same, word};
use super::{grpc, peer};
use crate::codec::sort::sort;
use crate::config::apm;

/// The keys that are always looked for, by the places below.
const FIXED: [&str; 12] = [
    "span.kind",
    "http.method",
    "http.request.method",
    "http.endpoint",
    "http.route",
    "_dd.svc_src",
    "http.status_code",
    "http.response.status_code",
    "rpc.grpc.status_code",
    "grpc.code",
    "rpc.grpc.status.code",
    "grpc.status.code",
];
const KIND: usize = 0;
const METHOD: usize = 1;
const METHOD_OTEL: usize = 2;
const ENDPOINT: usize = 3;
const ROUTE: usize = 4;
const SOURCE: usize = 5;
const STATUS: usize = 6;
const STATUS_OTEL: usize = 7;
const GRPC: std::ops::Range<usize> = 8..12;

/// Slots for each key: most tags meet an empty one.
const SPARSE: usize = 4;

/// Most keys of the settings; more are no setting.
const MAX_OWN: usize = 4096;

/// The keys.
#[derive(Debug)]
pub struct Tags {
    keys: Vec<Box<[u8]>>,
    /// For each key whether it is a peer tag.
    is_peer: Vec<bool>,
    /// A part of a key's hash, and one more than its index, 0 for none; a power of two long.
    slots: Vec<(u32, u16)>,
}

/// What was found on a span; reused from span to span.
#[derive(Debug, Default)]
pub struct Found {
    texts: [Option<Text>; FIXED.len()],
    metrics: [Option<f64>; FIXED.len()],
    /// Indices of keys and values, ascending.
    peers: Vec<(u16, Text)>,
}

/// A key's hash: its length and both its ends, which tell tags apart. The keys are the user's: nobody aims at it.
#[inline]
fn hash(key: &[u8]) -> u64 {
    let (front, back) = (&key[..key.len().min(8)], &key[key.len().saturating_sub(8)..]);
    fold(word(front) ^ MIX, word(back) ^ key.len() as u64)
}

impl Tags {
    /// The keys that `settings` ask for.
    #[must_use]
    pub fn new(settings: &apm::Stats) -> Self {
        let mut keys: Vec<(&str, bool)> = FIXED.map(|key| (key, false)).into();
        if settings.peer_tags_aggregation {
            let own = settings.peer_tags.iter().map(String::as_str).take(MAX_OWN);
            keys.extend(peer::KEYS.iter().copied().chain(own).map(|key| (key, true)));
            // As they go out.
            sort(&mut keys[FIXED.len()..]);
        }
        let slots = vec![(0, 0); (SPARSE * keys.len()).next_power_of_two()];
        let mut tags = Self { keys: Vec::new(), is_peer: Vec::new(), slots };
        keys.into_iter().for_each(|(key, is_peer)| tags.add(key.as_bytes(), is_peer));
        tags
    }

    fn add(&mut self, key: &[u8], is_peer: bool) {
        if let Some(known) = self.find(key) {
            self.is_peer[known] |= is_peer;
            return;
        }
        self.keys.push(key.into());
        self.is_peer.push(is_peer);
        let (hash, mask) = (hash(key), self.slots.len() - 1);
        let mut at = hash as usize & mask;
        while self.slots[at].1 != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = ((hash >> 32) as u32, self.keys.len() as u16);
    }

    /// The index of a key.
    #[inline]
    fn find(&self, key: &[u8]) -> Option<usize> {
        let hash = hash(key);
        let mut at = hash as usize;
        loop {
            let (part, index) = self.slots[at & (self.slots.len() - 1)];
            let index = usize::from(index.checked_sub(1)?);
            if part == (hash >> 32) as u32 && same(&self.keys[index], key) {
                return Some(index);
            }
            at = at.wrapping_add(1);
        }
    }

    /// Looks at all of a span's entries.
    pub fn collect(&self, span: &Span, body: &[u8], store: &Store, found: &mut Found) {
        found.texts.fill(None);
        found.metrics.fill(None);
        found.peers.clear();
        for pair in span.meta.of(&store.pairs) {
            let Some(index) = self.find(pair.key.of(body, &store.pool)) else { continue };
            if let Some(text) = found.texts.get_mut(index) {
                *text = Some(pair.value);
            }
            if self.is_peer[index] && !pair.value.is_empty() {
                found.peer(index as u16, pair.value);
            }
        }
        for metric in span.metrics.of(&store.metrics) {
            let Some(index) = self.find(metric.key.of(body, &store.pool)) else { continue };
            if let Some(value) = found.metrics.get_mut(index) {
                *value = Some(metric.value);
            }
        }
    }

    /// Appends the peer tags as an encoded array, if there are any: all of a span that calls something, for others the
    /// service that its own took the place of.
    pub fn peers(&self, found: &Found, kind: &[u8], body: &[u8], store: &Store, out: &mut Vec<u8>) {
        let calls = [b"client".as_slice(), b"producer", b"consumer"].iter().any(|k| k.eq_ignore_ascii_case(kind));
        let internal = kind.is_empty() || kind.eq_ignore_ascii_case(b"internal");
        let start = out.len();
        let mut count: u16 = 0;
        for (index, value) in &found.peers {
            let key = &*self.keys[usize::from(*index)];
            let is_base = key == peer::BASE_SERVICE.as_bytes();
            if !(calls || internal && is_base) {
                continue;
            }
            if count == 0 {
                out.extend_from_slice(&[0xdc, 0, 0]);
            }
            count += 1;
            // A string whose length is written afterwards.
            out.extend_from_slice(&[0xdb, 0, 0, 0, 0]);
            let text = out.len();
            out.extend_from_slice(key);
            out.push(b':');
            let value = value.of(body, &store.pool);
            if calls {
                peer::quantise(value, out)
            } else {
                out.extend_from_slice(value)
            }
            let length = (out.len() - text) as u32;
            out[text - 4..text].copy_from_slice(&length.to_be_bytes());
        }
        if let Some(header) = out.get_mut(start + 1..start + 3) {
            header.copy_from_slice(&count.to_be_bytes());
        }
    }
}

impl Found {
    /// Puts a peer tag in its place; of two with one key the last counts.
    fn peer(&mut self, index: u16, value: Text) {
        let at = self.peers.iter().rposition(|peer| peer.0 <= index).map_or(0, |before| before + 1);
        match at.checked_sub(1).and_then(|before| self.peers.get_mut(before)) {
            Some(same) if same.0 == index => same.1 = value,
            _ => self.peers.insert(at, (index, value)),
        }
    }

    /// The first of these tags that is not empty.
    #[inline]
    fn first<'a>(&self, places: [usize; 2], body: &'a [u8], store: &'a Store) -> &'a [u8] {
        for text in places.map(|place| self.texts[place]).into_iter().flatten() {
            if !text.is_empty() {
                return text.of(body, &store.pool);
            }
        }
        b""
    }

    /// `span.kind`.
    #[must_use]
    pub fn kind<'a>(&self, body: &'a [u8], store: &'a Store) -> &'a [u8] {
        self.first([KIND, KIND], body, store)
    }

    /// The HTTP method.
    #[must_use]
    pub fn method<'a>(&self, body: &'a [u8], store: &'a Store) -> &'a [u8] {
        self.first([METHOD, METHOD_OTEL], body, store)
    }

    /// The HTTP endpoint, or the route.
    #[must_use]
    pub fn endpoint<'a>(&self, body: &'a [u8], store: &'a Store) -> &'a [u8] {
        self.first([ENDPOINT, ROUTE], body, store)
    }

    /// Where the name of the service is from.
    #[must_use]
    pub fn source<'a>(&self, body: &'a [u8], store: &'a Store) -> &'a [u8] {
        self.first([SOURCE, SOURCE], body, store)
    }

    /// The HTTP status, 0 for none: as a number before as text, Datadog's name before OpenTelemetry's, and of the latter
    /// only what is a status.
    #[must_use]
    pub fn status(&self, body: &[u8], store: &Store) -> u32 {
        let parsed = |text: Text| std::str::from_utf8(text.of(body, &store.pool)).ok()?.parse::<u32>().ok();
        if let Some(value) = self.metrics[STATUS] {
            return value as u32;
        }
        if let Some(text) = self.texts[STATUS] {
            return parsed(text).unwrap_or(0);
        }
        let known = |status: &u32| (100..600).contains(status);
        let number = self.metrics[STATUS_OTEL].filter(|value| value.fract() == 0.0).map(|value| value as u32);
        number.filter(known).or_else(|| self.texts[STATUS_OTEL].and_then(parsed).filter(known)).unwrap_or(0)
    }

    /// The gRPC status: the first that can be read, text before numbers.
    #[must_use]
    pub fn grpc(&self, body: &[u8], store: &Store) -> Option<u8> {
        let texts = self.texts[GRPC].iter().flatten();
        let text = texts.map(|text| text.of(body, &store.pool)).find_map(grpc::status);
        text.or_else(|| self.metrics[GRPC].iter().flatten().copied().find_map(grpc::numeric))
    }
}
