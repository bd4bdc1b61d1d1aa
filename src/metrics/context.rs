//! Contexts: what makes two samples the same metric, namely type, name and set of tags.
//!
//! Pure; runs on the thread `metrics-agent`. A sample finds its context by its bytes as they were sent: one copy, one
//! hash, one comparison, no splitting and no sorting. Only bytes never seen before are taken apart, so that the same
//! tags in another order end in the same context.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use super::Kind;
use super::dogstatsd::parser::Metric;
use super::settings::{Base, Settings};
use crate::codec::sort::sort;

/// Tags that tell an agent something about the sender and are not for the intake.
const INSTRUCTIONS: [&str; 3] = ["dd.internal.entity_id:", "dd.internal.card:", "dd.internal.jmx_check_name:"];
/// What a table entry costs beside the bytes it owns: bucket, control byte, allocation headers.
const ENTRY: usize = 64;
/// The id that stands for "this name is blocked".
const BLOCKED: u32 = u32::MAX;

/// A metric as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Type, name, a bar, tags.
    key: Rc<str>,
    name_len: usize,
    /// The type.
    pub kind: Kind,
}

impl Context {
    /// The name, with its namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.key[1..=self.name_len]
    }

    /// The sample's own tags: sorted, each once, none of those that every metric carries.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tag_text().split(',').filter(|tag| !tag.is_empty())
    }

    fn tag_text(&self) -> &str {
        &self.key[self.name_len + 2..]
    }
}

/// What a sample belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The context with this number.
    Context(u32),
    /// None: its name is on the blocklist.
    Blocked,
    /// None: it would be a new one and there is no room.
    Full,
}

/// All contexts since the last flush, numbered from 0.
#[derive(Debug, Default)]
pub struct Contexts {
    raw: HashMap<Box<[u8]>, u32, BuildHasherDefault<Fold>>,
    known: HashMap<Rc<str>, u32, BuildHasherDefault<Fold>>,
    list: Vec<Context>,
    scratch: Vec<u8>,
    bytes: usize,
}

impl Contexts {
    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The context `id`, which [`Contexts::find`] or [`Contexts::adopt`] gave.
    #[must_use]
    pub fn get(&self, id: u32) -> &Context {
        &self.list[id as usize]
    }

    /// Finds the context of a sample, or makes it if `room` says so.
    pub fn find(&mut self, metric: &Metric<'_>, room: bool, settings: &Settings, base: &Base) -> Found {
        self.scratch.clear();
        self.scratch.push(letter(metric.kind));
        self.scratch.extend_from_slice(metric.name);
        // A name has no bar in it: nothing else can look the same.
        self.scratch.push(b'|');
        self.scratch.extend_from_slice(metric.tags);
        match self.raw.get(self.scratch.as_slice()) {
            Some(&BLOCKED) => Found::Blocked,
            Some(&id) => Found::Context(id),
            None => self.add(metric, room, settings, base),
        }
    }

    #[cold]
    fn add(&mut self, metric: &Metric<'_>, room: bool, settings: &Settings, base: &Base) -> Found {
        let blocked = settings.blocks(metric.name);
        if !room {
            return if blocked { Found::Blocked } else { Found::Full };
        }
        let id = if blocked {
            BLOCKED
        } else {
            let tags = String::from_utf8_lossy(metric.tags);
            self.intern(metric.kind, &settings.full_name(metric.name), tags.split(','), base)
        };
        self.bytes += self.scratch.len() + ENTRY;
        self.raw.insert(self.scratch.as_slice().into(), id);
        if blocked { Found::Blocked } else { Found::Context(id) }
    }

    /// Takes over a context of another table, whose tags are compared with `base` anew.
    pub fn adopt(&mut self, context: &Context, base: &Base) -> u32 {
        self.intern(context.kind, context.name(), context.tags(), base)
    }

    fn intern<'a>(&mut self, kind: Kind, name: &str, tags: impl Iterator<Item = &'a str>, base: &Base) -> u32 {
        let mut tags: Vec<&str> = tags
            .filter(|tag| !tag.is_empty() && !INSTRUCTIONS.iter().any(|prefix| tag.starts_with(prefix)))
            .filter(|tag| !base.metrics.iter().any(|known| known == tag))
            .collect();
        sort(&mut tags);
        tags.dedup();
        let key = format!("{}{name}|{}", char::from(letter(kind)), tags.join(","));
        if let Some(&id) = self.known.get(key.as_str()) {
            return id;
        }
        // Bounded by the budget long before numbers run out.
        let id = self.list.len() as u32;
        let key: Rc<str> = key.into();
        self.bytes += key.len() + ENTRY + size_of::<Context>();
        self.list.push(Context { key: key.clone(), name_len: name.len(), kind });
        self.known.insert(key, id);
        id
    }
}

fn letter(kind: Kind) -> u8 {
    match kind {
        Kind::Count => b'c',
        Kind::Gauge => b'g',
        Kind::Distribution => b'd',
        Kind::Histogram => b'h',
        Kind::Set => b's',
    }
}

/// A hash of eight bytes at a time by folded multiplication. Its only enemy would be the function itself, whose samples
/// it would slow down; equality is always compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fold(u64);

impl Fold {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        // Both halves: the upper one carries what every bit of the input did.
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            // The chunks are eight bytes long.
            self.mix(u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
        let rest = words.remainder().iter().fold(1_u64, |word, &byte| word << 8 | u64::from(byte));
        self.mix(rest);
    }

    fn write_u8(&mut self, v: u8) {
        self.mix(u64::from(v));
    }

    fn write_u32(&mut self, v: u32) {
        self.mix(u64::from(v));
    }

    fn write_usize(&mut self, v: usize) {
        self.mix(v as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::dogstatsd::parser::parse;

    fn find(contexts: &mut Contexts, line: &str) -> Found {
        let settings = Settings { namespace: "ns.".into(), blocklist: vec!["no".into()], ..Settings::default() };
        let base = Base { metrics: vec!["env:dev".into()], ..Base::default() };
        contexts.find(&parse(line.as_bytes(), &mut Vec::new()).unwrap(), true, &settings, &base)
    }

    #[test]
    fn what_is_the_same_context() {
        let mut contexts = Contexts::default();
        let first = find(&mut contexts, "a:1|c|#x:1,y:2");
        assert_eq!(first, Found::Context(0));
        for same in [
            "a:5|c|#x:1,y:2",
            "a:5|c|@0.1|#y:2,x:1",
            "a:5|c|#y:2,x:1,,x:1,",
            "a:5|c|#env:dev,y:2,x:1",
            "a:5|c|#x:1,dd.internal.entity_id:pod,y:2,dd.internal.card:low,dd.internal.jmx_check_name:j",
            "a:5|c|#x:1,y:2|T1700000000",
        ] {
            assert_eq!(find(&mut contexts, same), first, "{same}");
        }
        for (i, other) in [
            "a:1|g|#x:1,y:2",
            "a:1|d|#x:1,y:2",
            "a:1|s|#x:1,y:2",
            "a:1|ms|#x:1,y:2",
            "a:1|c|#x:1",
            "a:1|c",
            "b:1|c|#x:1,y:2",
            "a:1|c|#X:1,y:2",
            "a:1|c|#host:x",
        ]
        .iter()
        .enumerate()
        {
            assert_eq!(find(&mut contexts, other), Found::Context(i as u32 + 1), "{other}");
        }
        assert_eq!(find(&mut contexts, "a:1|h|#x:1,y:2"), Found::Context(4), "ms and h are one type");
        let context = contexts.get(0);
        assert_eq!((context.name(), context.tags().collect::<Vec<_>>()), ("ns.a", vec!["x:1", "y:2"]));
        assert_eq!(contexts.get(6).tags().count(), 0);
    }

    #[test]
    fn blocked_and_full() {
        let mut contexts = Contexts::default();
        for _ in 0..2 {
            assert_eq!(find(&mut contexts, "no:1|c"), Found::Blocked);
        }
        let (settings, base) = (Settings::default(), Base::default());
        let metric = parse(b"a:1|c", &mut Vec::new()).unwrap();
        assert_eq!(contexts.find(&metric, false, &settings, &base), Found::Full);
        assert_eq!(contexts.find(&metric, true, &settings, &base), Found::Context(0));
        assert_eq!(contexts.find(&metric, false, &settings, &base), Found::Context(0));
    }

    #[test]
    fn bytes_are_counted() {
        let mut contexts = Contexts::default();
        let mut before = 0;
        for i in 0..100 {
            find(&mut contexts, &format!("metric.{i}:1|c|#x:{i}"));
            assert!(contexts.bytes() >= before + 2 * "cmetric.1|x:1".len());
            before = contexts.bytes();
        }
        find(&mut contexts, "metric.1:1|c|#x:1");
        assert_eq!(contexts.bytes(), before);
    }

    #[test]
    fn the_hash_tells_lengths_and_tails_apart() {
        let hash = |bytes: &[u8]| {
            let mut fold = Fold::default();
            fold.write(bytes);
            fold.finish()
        };
        let texts: [&[u8]; 8] = [b"", b"\0", b"\0\0", b"a", b"a\0", b"aaaaaaaa", b"aaaaaaaaa", b"aaaaaaaaaaaaaaaa"];
        for (i, a) in texts.iter().enumerate() {
            for b in &texts[..i] {
                assert_ne!(hash(a), hash(b), "{a:?} {b:?}");
            }
        }
    }
}
