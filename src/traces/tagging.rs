//! The function's tags on spans and payloads (spec: traces 4.4, tags 9.2), encoded once and appended as bytes.
//!
//! A tag overwrites what the tracer wrote under its key; the few keys that could be are told by one look at a bitmap.
//! Pure.

use super::names;
use super::replace::Replacer;
use crate::codec::protobuf as pb;
use crate::lambda::Tags;

/// Field numbers of the intake's messages.
const SPAN_META: u32 = 10;
const PAYLOAD_TAGS: u32 = 7;

/// Asks the backend to compute stats from the span.
const COMPUTE_STATS: &str = "_dd.compute_stats";

/// What all spans get.
#[derive(Debug)]
pub struct Tagging {
    /// For spans whose tracer computes stats.
    plain: Overlay,
    /// For spans whose stats the backend must compute.
    counted: Overlay,
    /// The name that the service `aws.lambda` gets; empty for none.
    pub service: String,
    /// The tags of a payload, as protobuf fields.
    pub payload_tags: Vec<u8>,
    /// The environment as a tag; empty if unknown.
    pub env: String,
    /// The version; empty if unknown.
    pub version: String,
}

impl Tagging {
    /// Encodes `tags` as `replacer` leaves them. Where stats are computed here (`computes_stats`) nobody else has to.
    #[must_use]
    pub fn new(tags: &Tags, computes_stats: bool, replacer: &mut Replacer) -> Self {
        let lambda = [("_dd.origin", "lambda"), ("origin", "lambda")];
        let mut own = tags.pairs.clone();
        replacer.pairs(&mut own);
        let pairs = || own.iter().map(|(k, v)| (k.as_str(), v.as_str())).chain(lambda);
        let mut payload_tags = Vec::new();
        if !tags.joined.is_empty() {
            pb::entry(&mut payload_tags, PAYLOAD_TAGS, b"_dd.tags.function", tags.joined.as_bytes());
        }
        let mut env = Vec::new();
        names::tag(tags.get("env").unwrap_or_default(), &mut env);
        Self {
            plain: Overlay::new(pairs(), false),
            counted: Overlay::new(pairs(), !computes_stats),
            service: tags.get("service").unwrap_or_default().to_owned(),
            payload_tags,
            // The characters of a tag are those of a string.
            env: String::from_utf8(env).unwrap_or_default(),
            version: tags.get("version").unwrap_or_default().to_owned(),
        }
    }

    /// What goes on the spans of a tracer that does or does not compute stats itself.
    #[must_use]
    pub fn overlay(&self, tracer_computes_stats: bool) -> &Overlay {
        if tracer_computes_stats { &self.plain } else { &self.counted }
    }
}

/// Tags that overwrite a span's meta.
#[derive(Debug)]
pub struct Overlay {
    keys: Vec<Box<[u8]>>,
    /// One bit for each length of a key, modulo 64.
    lengths: u64,
    /// One bit for each hash of a key.
    seen: [u64; 4],
    /// The tags as entries of a span's meta.
    pub bytes: Vec<u8>,
}

impl Overlay {
    /// `count` is whether the backend must compute the stats. Whatever a tracer says of that, it is decided here: stats
    /// are counted once.
    fn new<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>, count: bool) -> Self {
        let mut overlay = Self { keys: Vec::new(), lengths: 0, seen: [0; 4], bytes: Vec::new() };
        overlay.cover(COMPUTE_STATS);
        for (key, value) in pairs.chain(count.then_some((COMPUTE_STATS, "1"))) {
            overlay.cover(key);
            pb::entry(&mut overlay.bytes, SPAN_META, key.as_bytes(), value.as_bytes());
        }
        overlay
    }

    fn cover(&mut self, key: &str) {
        let hash = hash(key.as_bytes());
        self.lengths |= 1 << (key.len() & 63);
        self.seen[hash >> 6] |= 1 << (hash & 63);
        self.keys.push(key.as_bytes().into());
    }

    /// Whether a tag has this key.
    #[must_use]
    #[inline]
    pub fn covers(&self, key: &[u8]) -> bool {
        if self.lengths >> (key.len() & 63) & 1 == 0 {
            return false;
        }
        let hash = hash(key);
        self.seen[hash >> 6] >> (hash & 63) & 1 == 1 && self.has(key)
    }

    #[cold]
    fn has(&self, key: &[u8]) -> bool {
        self.keys.iter().any(|k| **k == *key)
    }
}

/// Eight bits of a key: its length and its first and last byte tell tags apart.
#[inline]
fn hash(key: &[u8]) -> usize {
    let (Some(&first), Some(&last)) = (key.first(), key.last()) else { return 0 };
    (key.len() ^ usize::from(first) << 3 ^ usize::from(last) << 1) & 0xff
}

#[cfg(test)]
mod tests {
    use super::*;
    use libdd_trace_protobuf::pb as oracle;
    use prost::Message as _;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        Tags {
            pairs: pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
            joined: pairs.iter().map(|(k, v)| format!("{k}:{v}")).collect::<Vec<_>>().join(","),
            ..Tags::default()
        }
    }

    fn of(tags: &Tags) -> Tagging {
        Tagging::new(tags, false, &mut Replacer::new(&[]).0)
    }

    #[test]
    fn spans_get_every_tag_and_the_origin() {
        let tagging = of(&tags(&[("functionname", "f"), ("env", "Prod"), ("service", "shop"), ("version", "1.0")]));
        for (computes, expected) in [(true, None), (false, Some("1"))] {
            let overlay = tagging.overlay(computes);
            let span = oracle::Span::decode(overlay.bytes.as_slice()).unwrap();
            let get = |key: &str| span.meta.get(key).map(String::as_str);
            assert_eq!(get("functionname"), Some("f"));
            assert_eq!(get("env"), Some("Prod"));
            assert_eq!(get("origin"), Some("lambda"));
            assert_eq!(get("_dd.origin"), Some("lambda"));
            assert_eq!(get("_dd.compute_stats"), expected);
            for (key, covered) in [
                ("env", true),
                ("origin", true),
                ("_dd.compute_stats", true),
                ("", false),
                ("enw", false),
                ("http.url", false),
            ] {
                assert_eq!(overlay.covers(key.as_bytes()), covered, "{key}");
            }
        }
        assert_eq!((tagging.env.as_str(), tagging.version.as_str(), tagging.service.as_str()), ("prod", "1.0", "shop"));
        let payload = oracle::TracerPayload::decode(tagging.payload_tags.as_slice()).unwrap();
        assert_eq!(payload.tags["_dd.tags.function"], "functionname:f,env:Prod,service:shop,version:1.0");
    }

    #[test]
    fn nothing_is_known_yet() {
        let tagging = of(&Tags::default());
        assert!(tagging.payload_tags.is_empty() && tagging.service.is_empty() && tagging.env.is_empty());
    }
}
