//! Aggregation: samples into buckets of ten seconds, buckets into points (the rules are in the module documentation of
//! `metrics`).
//!
//! Pure; runs on the thread `metrics-agent`. Time comes with the samples and with the flush. Memory is bounded by bytes:
//! over the budget only counts and gauges that exist already take samples.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

use super::context::{Context, Contexts, Fold, Found};
use super::dogstatsd::batch::Sample;
use super::histogram::Statistic;
use super::settings::{Base, Settings};
use super::sketch::Sketch;
use super::value::Value;

/// Seconds in a bucket; also the `interval` of counts.
pub const BUCKET: u64 = 10;
/// Flushed buckets whose used seconds are remembered for late samples.
const REMEMBERED: usize = 64;
/// What an entry in a bucket costs beside its value.
const ENTRY: usize = 32;
/// What a bucket costs.
const BUCKET_BYTES: usize = 256;

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in its bucket.
    Accepted,
    /// Its name is on the blocklist.
    Blocked,
    /// There was no room.
    Overflow,
}

/// A count or a gauge to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeriesPoint {
    /// What follows the metric's name, if anything.
    pub statistic: Option<Statistic>,
    /// Whether it is a count; else a gauge.
    pub count: bool,
    /// Seconds since the epoch.
    pub timestamp: u64,
    /// The value, finite.
    pub value: f64,
}

/// A point to send.
#[derive(Debug)]
pub enum Point<'a> {
    /// Of a series.
    Series(SeriesPoint),
    /// Of a distribution.
    Sketch {
        /// Seconds since the epoch.
        timestamp: u64,
        /// The sketch, not empty.
        sketch: &'a Sketch,
    },
}

#[derive(Debug, Default)]
struct Bucket {
    values: HashMap<u32, Value, BuildHasherDefault<Fold>>,
    /// How many of its seconds series have used.
    used: u64,
}

/// Everything received and not yet sent.
#[derive(Debug, Default)]
pub struct Aggregator {
    contexts: Contexts,
    buckets: BTreeMap<u64, Bucket>,
    /// Bytes of `buckets`.
    bytes: usize,
    budget: usize,
}

impl Aggregator {
    /// An empty one that holds about `budget` bytes.
    #[must_use]
    pub fn new(budget: usize) -> Self {
        Self { budget, ..Self::default() }
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes + self.contexts.bytes()
    }

    /// Adds a sample.
    pub fn add(&mut self, sample: &Sample<'_>, settings: &Settings, base: &Base) -> Outcome {
        let room = self.bytes() < self.budget;
        let id = match self.contexts.find(&sample.metric, room, settings, base) {
            Found::Context(id) => id,
            Found::Blocked => return Outcome::Blocked,
            Found::Full => return Outcome::Overflow,
        };
        let Some(bucket) = self.bucket(sample, room) else { return Outcome::Overflow };
        let grown = match bucket.values.get_mut(&id) {
            Some(value) if room || value.is_fixed() => value.add(sample),
            None if room => {
                let value = bucket.values.entry(id).or_insert_with(|| Value::new(sample.metric.kind));
                value.add(sample);
                value.bytes() + ENTRY
            }
            _ => return Outcome::Overflow,
        };
        self.bytes += grown;
        Outcome::Accepted
    }

    /// The bucket a sample belongs to: that of its timestamp, or the present one if it has none, lies in the future, or
    /// names a bucket all of whose seconds are used.
    fn bucket(&mut self, sample: &Sample<'_>, room: bool) -> Option<&mut Bucket> {
        let present = floor(sample.received);
        let wanted = match sample.metric.timestamp {
            0 => present,
            t if t >= sample.received => present,
            t => floor(t),
        };
        let exhausted = self.buckets.get(&wanted).is_some_and(|bucket| bucket.used >= BUCKET);
        let start = if exhausted { present } else { wanted };
        if room && !self.buckets.contains_key(&start) {
            self.bytes += BUCKET_BYTES;
            return Some(self.buckets.entry(start).or_default());
        }
        self.buckets.get_mut(&start)
    }

    /// Passes every point to `emit` and forgets what is sent. `now` is in seconds; `last` says that no flush follows.
    pub fn flush(
        &mut self,
        now: u64,
        last: bool,
        settings: &Settings,
        base: &Base,
        emit: &mut dyn FnMut(&Context, Point<'_>),
    ) {
        for (&start, bucket) in &mut self.buckets {
            let ended = last || now >= start + BUCKET;
            let second = match bucket.used {
                used if used + 1 < BUCKET => Some(start + used),
                used if ended => Some(start + used.min(BUCKET - 1)),
                _ => None,
            };
            let mut series = false;
            let mut emit = |context: &Context, point: Point<'_>| {
                series |= matches!(point, Point::Series(_));
                emit(context, point);
            };
            bucket.values.retain(|&id, value| {
                let waits = points(self.contexts.get(id), value, start, second, settings, &mut emit);
                waits || (!ended && matches!(value, Value::Set(_)))
            });
            bucket.used += u64::from(series);
        }
        self.forget();
        self.rebuild(base);
    }

    /// Drops the oldest buckets that hold nothing and are too many to be remembered.
    fn forget(&mut self) {
        let mut surplus = self.buckets.len().saturating_sub(REMEMBERED);
        self.buckets.retain(|_, bucket| {
            let drop = surplus > 0 && bucket.values.is_empty();
            surplus -= usize::from(drop);
            !drop
        });
    }

    /// Keeps only the contexts that still hold something, compares their tags with `base`, and counts the bytes anew.
    /// Needed after a flush and whenever the function's tags change.
    pub fn rebuild(&mut self, base: &Base) {
        let old = std::mem::take(&mut self.contexts);
        self.bytes = 0;
        for bucket in self.buckets.values_mut() {
            let values = std::mem::take(&mut bucket.values);
            for (id, value) in values {
                match bucket.values.entry(self.contexts.adopt(old.get(id), base)) {
                    std::collections::hash_map::Entry::Occupied(mut same) => same.get_mut().merge(value),
                    std::collections::hash_map::Entry::Vacant(entry) => {
                        entry.insert(value);
                    }
                }
            }
            self.bytes += BUCKET_BYTES + bucket.values.values().map(|value| value.bytes() + ENTRY).sum::<usize>();
        }
    }
}

/// Emits the points of one value; `true` if it waits because no `second` is left for its series.
fn points(
    context: &Context,
    value: &mut Value,
    start: u64,
    second: Option<u64>,
    settings: &Settings,
    emit: &mut dyn FnMut(&Context, Point<'_>),
) -> bool {
    if let Value::Sketch(sketch) = value {
        emit(context, Point::Sketch { timestamp: start, sketch });
        return false;
    }
    let Some(timestamp) = second else { return true };
    let mut series = |statistic, count, value| {
        emit(context, Point::Series(SeriesPoint { statistic, count, timestamp, value }));
    };
    match value {
        Value::Count(sum) => series(None, true, *sum),
        Value::Gauge(last) => series(None, false, *last),
        Value::Set(set) => {
            if let Some(members) = set.take() {
                series(None, false, members as f64);
            }
        }
        Value::Histogram(histogram) => {
            for (statistic, value) in histogram.statistics(&settings.statistics) {
                series(Some(statistic), statistic == Statistic::Count, value);
            }
        }
        Value::Sketch(_) => {}
    }
    false
}

fn floor(seconds: u64) -> u64 {
    seconds - seconds % BUCKET
}

#[cfg(test)]
mod tests {}
