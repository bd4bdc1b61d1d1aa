//! The concentrator: spans counted by what they have in common and by when they ended, for the stats of services that the
//! backend would otherwise compute from spans that were sampled (spec: traces 4.8). Pure.
//!
//! Memory is bounded by a budget of bytes. What has no room for a group of its own is counted in a coarser one, and what
//! has no room for a bin in the next bin; nothing is lost.

use super::super::names;
use super::super::sampling;
use super::super::span::{Marks, Span, Store, Text};
use super::super::tagging::Tagging;
use super::super::{Chunk, TracerHeaders};
use super::client::ClientStats;
use super::groups::{Group, Groups};
use super::key::{self, Key, Numbers};
use super::payload::{self, About, Writer};
use super::tags::{Found, Tags};
use crate::codec::sort::sort_by;
use crate::config::apm;
use crate::diag::counters::{self, Counter};
use crate::forwarder::Payload;

/// How long a bucket is, in nanoseconds.
pub const BUCKET: u64 = 10_000_000_000;

/// How many of the newest buckets a flush leaves: spans may still end in them.
const KEPT: u64 = 2;

/// The environment if nobody names one.
const UNKNOWN_ENV: &str = "unknown-env";

/// What a payload says of the spans in it: by [`payload::ABOUT`], from the environment to the container.
const FACTS: std::ops::Range<usize> = payload::ENV..payload::SERVICE;

/// Counts spans.
#[derive(Debug)]
pub struct Concentrator {
    tags: Tags,
    /// The marks that make a span count.
    counted: u8,
    names: Names,
    budget: usize,
    /// Bytes in use, roughly.
    used: usize,
    seed: u64,
    /// The state of the numbers that decide how a fraction is rounded.
    random: u64,
    /// Start of the oldest bucket that still takes spans, in nanoseconds; 0 before the first span.
    oldest: u64,
    buckets: Vec<Bucket>,
    clients: Vec<ClientStats>,
    scratch: Scratch,
}

/// What the function is called.
#[derive(Debug, Default)]
struct Names {
    env: String,
    version: String,
    service: String,
}

/// Spans of one process that ended within one bucket's time.
#[derive(Debug)]
struct Bucket {
    start: u64,
    facts: Box<[u8]>,
    groups: Groups,
    bytes: usize,
}

/// Memory that is used for one chunk or span after the other.
#[derive(Debug, Default)]
struct Scratch {
    facts: Vec<u8>,
    found: Found,
    peers: Vec<u8>,
}

/// What the spans of a chunk have in common.
struct Common {
    weight: f64,
    synthetics: bool,
    /// Start and index of the bucket of the last span.
    place: Option<(u64, usize)>,
}

/// What is counted of a span.
struct Sample {
    weight: f64,
    duration: u64,
    error: bool,
    top_level: bool,
}

impl Concentrator {
    /// A concentrator that uses about `budget` bytes. `seed` is random: with it nobody can make keys that collide.
    #[must_use]
    pub fn new(settings: &apm::Stats, tagging: &Tagging, budget: usize, seed: u64) -> Self {
        let mut made = Self {
            tags: Tags::new(settings),
            counted: Marks::TOP_LEVEL | Marks::MEASURED | if settings.by_span_kind { Marks::KIND } else { 0 },
            names: Names::default(),
            budget,
            used: 0,
            seed,
            random: seed,
            oldest: 0,
            buckets: Vec::new(),
            clients: Vec::new(),
            scratch: Scratch::default(),
        };
        made.rename(tagging);
        made
    }

    /// Takes environment, version and service from the function's tags, which may change after the start.
    pub fn rename(&mut self, tagging: &Tagging) {
        self.names = Names {
            env: tagging.env.clone(),
            version: tagging.version.clone(),
            service: tagging.service.to_lowercase(),
        };
    }

    /// The environment of the function; empty if unknown.
    #[must_use]
    pub fn env(&self) -> &str {
        &self.names.env
    }

    /// Counts the spans of a chunk, before a sampler may drop it, unless its tracer does that. `now` is in nanoseconds
    /// since the epoch.
    pub fn add(&mut self, chunk: &Chunk<'_>, from: &TracerHeaders, now: u64) {
        if from.client_computed_stats {
            return;
        }
        let mut common = None;
        for span in &*chunk.spans {
            if (span.top_level || span.marks.any(self.counted)) && !span.marks.any(Marks::PARTIAL) {
                if common.is_none() {
                    self.scratch.facts(chunk, from, &self.names);
                    if self.oldest == 0 {
                        self.oldest = align(now).saturating_sub(BUCKET);
                    }
                }
                let common = common.get_or_insert_with(|| Common::of(chunk));
                self.span(span, chunk.body, chunk.store, common, now);
            }
        }
    }

    /// Counts a span.
    fn span(&mut self, span: &Span, body: &[u8], store: &Store, common: &mut Common, now: u64) {
        let duration = u64::try_from(span.duration).unwrap_or(0);
        let end = u64::try_from(span.start).unwrap_or(0).saturating_add(duration);
        // What ends after now is of a clock that is wrong: its bucket would not go out before then.
        let start = align(end.min(now)).max(self.oldest);
        let Scratch { facts, found, peers } = &mut self.scratch;
        self.tags.collect(span, body, store, found);
        let kind = found.kind(body, store);
        peers.clear();
        self.tags.peers(found, kind, body, store, peers);
        let get = |text: Text| text.of(body, &store.pool);
        let mut texts = [&b""[..]; key::TEXTS];
        texts[key::SERVICE] = get(span.service);
        texts[key::NAME] = get(span.name);
        texts[key::RESOURCE] = names::cut(get(span.resource), names::MAX_RESOURCE);
        texts[key::TYPE] = get(span.kind);
        texts[key::KIND] = kind;
        texts[key::METHOD] = found.method(body, store);
        texts[key::ENDPOINT] = found.endpoint(body, store);
        texts[key::SOURCE] = found.source(body, store);
        texts[key::PEERS] = peers;
        let numbers = Numbers {
            status: found.status(body, store),
            grpc: found.grpc(body, store),
            synthetics: common.synthetics,
            root: if span.parent_id == 0 { 1 } else { 2 },
        };
        let sample = Sample {
            weight: common.weight,
            duration,
            error: span.error != 0,
            top_level: span.top_level || span.marks.any(Marks::TOP_LEVEL),
        };
        let at = match common.place {
            Some((known, at)) if known == start => at,
            _ => bucket(&mut self.buckets, start, facts, &mut self.used, self.budget),
        };
        common.place = Some((start, at));
        let key = Key::new(texts, numbers);
        if let Some(bucket) = self.buckets.get_mut(at) {
            let before = bucket.bytes;
            bucket.count(&key, &sample, self.seed, self.used, self.budget);
            self.used += bucket.bytes - before;
        }
    }

    /// Takes over what a tracer counted, until the next flush. `false`, and a count of what is lost, if there is no room.
    pub fn hold(&mut self, stats: ClientStats) -> bool {
        if self.used.saturating_add(stats.heap()) > self.budget {
            counters::add(Counter::StatsOverflow, u64::from(stats.groups()));
            return false;
        }
        self.used += stats.heap();
        self.clients.push(stats);
        true
    }

    /// The finished buckets (all of them if `force`) and the stats of tracers, as payloads. `now` is in nanoseconds since
    /// the epoch.
    pub fn flush(&mut self, now: u64, force: bool) -> Vec<Payload> {
        let due = |start| force || start <= now.saturating_sub(KEPT * BUCKET);
        self.oldest = align(now).saturating_sub(if force { 0 } else { (KEPT - 1) * BUCKET });
        let mut buckets: Vec<Bucket> = self.buckets.extract_if(.., |bucket| due(bucket.start)).collect();
        sort_by(&mut buckets, |a, b| (&a.facts, a.start) < (&b.facts, b.start));
        let mut writer = Writer::default();
        let (mut facts, mut buffer): (&[u8], Vec<u8>) = (&[], Vec::new());
        for bucket in &buckets {
            if *bucket.facts != *facts {
                facts = &bucket.facts;
                buffer.clear();
                self.about(facts).encode(&mut buffer);
                writer.about(&buffer);
            }
            buffer.clear();
            payload::bucket(&mut buffer, bucket.start, BUCKET, 0);
            writer.bucket(&buffer);
            for (key, group) in bucket.groups.iter() {
                buffer.clear();
                encode(&key, group, &mut self.random, &mut buffer);
                writer.group(&buffer);
            }
        }
        for stats in std::mem::take(&mut self.clients) {
            stats.write(&mut writer);
        }
        self.scratch = Scratch::default();
        self.used = self.buckets.iter().map(|bucket| bucket.bytes).sum();
        writer.finish()
    }

    /// What stands before the buckets with `facts`.
    fn about<'a>(&'a self, mut facts: &'a [u8]) -> About<'a> {
        let mut about = About::default();
        for text in &mut about.texts[FACTS] {
            let Some((length, rest)) = facts.split_first_chunk() else { break };
            (*text, facts) = rest.split_at((u32::from_le_bytes(*length) as usize).min(rest.len()));
        }
        about.texts[payload::SERVICE] = self.names.service.as_bytes();
        about
    }
}

/// The start of the bucket that `time` is in.
fn align(time: u64) -> u64 {
    time - time % BUCKET
}

/// The index of the bucket that starts then and has these facts; a new one if there is room for it. A process whose
/// buckets have no more room is counted with another's: its spans are there, its id is not.
fn bucket(buckets: &mut Vec<Bucket>, start: u64, facts: &[u8], used: &mut usize, budget: usize) -> usize {
    if let Some(at) = buckets.iter().rposition(|bucket| bucket.start == start && *bucket.facts == *facts) {
        return at;
    }
    let bytes = 2 * size_of::<Bucket>() + facts.len();
    if !buckets.is_empty() && *used + bytes > budget {
        return buckets.iter().rposition(|bucket| bucket.start == start).unwrap_or(buckets.len() - 1);
    }
    *used += bytes;
    buckets.push(Bucket { start, facts: facts.into(), groups: Groups::default(), bytes });
    buckets.len() - 1
}

impl Bucket {
    /// Counts a span in the group with `key`, or in a coarser one if there is no room for that.
    fn count(&mut self, key: &Key<'_>, sample: &Sample, seed: u64, used: usize, budget: usize) {
        let (at, own) = match self.find_or_insert(key, seed, budget.saturating_sub(used)) {
            Some(at) => (at, true),
            None => {
                // An eighth more for what is coarser, and one group in any case.
                let room = (budget + budget / 8).saturating_sub(used);
                let coarse = self.find_or_insert(&key.coarse(), seed, room);
                let at = coarse.or_else(|| self.find_or_insert(&Key::blocked(), seed, usize::MAX));
                (at.unwrap_or(0), false)
            }
        };
        let Some(group) = self.groups.get(at) else { return };
        let before = group.ok.heap() + group.error.heap();
        let exact = group.add(sample, used < budget);
        self.bytes += group.ok.heap() + group.error.heap() - before;
        if !(own && exact) {
            counters::count(Counter::StatsCollapsed);
        }
    }

    /// The index of the group with `key`; a new one if it takes no more than `room` bytes.
    fn find_or_insert(&mut self, key: &Key<'_>, seed: u64, room: usize) -> Option<usize> {
        let hash = key.hash(seed);
        self.groups.find(hash, key).or_else(|| {
            let cost = Groups::cost(key);
            (cost <= room).then(|| {
                self.bytes += cost;
                self.groups.insert(hash, key)
            })
        })
    }
}

impl Group {
    /// Counts a span; whether its duration is in a bin of its own. The sketches count spans and not what they stand for,
    /// as in the Go agent.
    fn add(&mut self, sample: &Sample, grow: bool) -> bool {
        self.hits += sample.weight;
        self.duration += sample.duration as f64 * sample.weight;
        self.top_level += if sample.top_level { sample.weight } else { 0.0 };
        if sample.error {
            self.errors += sample.weight;
            return self.error.add(sample.duration, grow);
        }
        self.ok.add(sample.duration, grow)
    }
}

impl Common {
    fn of(chunk: &Chunk<'_>) -> Self {
        let origin = chunk.origin.map_or(&b""[..], |origin| origin.of(chunk.body, &chunk.store.pool));
        let root = chunk.spans.get(chunk.root);
        // A tracer that keeps one trace of ten says 0.1, and each of its spans stands for ten.
        let weight = root.map_or(1.0, |root| sampling::global_weight(root, chunk.body, chunk.store));
        Self { weight, synthetics: origin.starts_with(b"synthetics"), place: None }
    }
}

impl Scratch {
    /// Notes the facts of a chunk, each with its length.
    fn facts(&mut self, chunk: &Chunk<'_>, from: &TracerHeaders, names: &Names) {
        let Chunk { body, store, spans, .. } = chunk;
        let known = |of: fn(&Span) -> Option<u32>| {
            let spans = spans.get(chunk.root).into_iter().chain(&**spans);
            let mut values = spans.filter_map(|span| store.value(of(span))).map(|text| text.of(body, &store.pool));
            values.find(|value| !value.is_empty()).unwrap_or_default()
        };
        let env = [chunk.env, &names.env].into_iter().find(|env| !env.is_empty()).unwrap_or(UNKNOWN_ENV);
        let version =
            if names.version.is_empty() { known(|span| span.known.version) } else { names.version.as_bytes() };
        let runtime_id = known(|span| span.known.runtime_id);
        self.facts.clear();
        for fact in [
            env.as_bytes(),
            version,
            from.lang.as_bytes(),
            from.tracer_version.as_bytes(),
            runtime_id,
            from.container_id.as_bytes(),
        ] {
            self.facts.extend_from_slice(&(fact.len() as u32).to_le_bytes());
            self.facts.extend_from_slice(fact);
        }
    }
}

/// Appends a group as it goes out.
fn encode(key: &Key<'_>, group: &Group, random: &mut u64, out: &mut Vec<u8>) {
    let (numbers, texts) = (key.numbers(), key.texts());
    let mut message = payload::Group { synthetics: numbers.synthetics, ..payload::Group::default() };
    let (own, _) = message.texts.split_at_mut(payload::KEY_TEXTS);
    own.copy_from_slice(&texts[..payload::KEY_TEXTS]);
    let grpc = numbers.grpc.map(|status| status.to_string()).unwrap_or_default();
    message.texts[payload::GRPC] = grpc.as_bytes();
    let mut whole = |value| round(value, random);
    message.numbers = [
        u64::from(numbers.status),
        whole(group.hits),
        whole(group.errors),
        whole(group.duration),
        whole(group.top_level),
        u64::from(numbers.root),
    ];
    message.lists[0] = texts[key::PEERS];
    let mut sketches = Vec::new();
    group.ok.encode(&mut sketches);
    let ok = sketches.len();
    group.error.encode(&mut sketches);
    message.sketches = sketches.split_at(ok).into();
    message.encode(out);
}

/// `value` as a whole number, up or down by chance, so that many of them add up to what they were.
fn round(value: f64, random: &mut u64) -> u64 {
    let whole = value as u64;
    let rest = value - value.floor();
    if rest == 0.0 {
        return whole;
    }
    // xorshift64; a state of 0 would stay 0.
    *random = (*random).max(1);
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    whole + u64::from(((*random >> 11) as f64) < rest * (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests;
