//! Rates that keep a number of traces per second, shared fairly among signatures: what the priority and the error sampler
//! have in common (spec: traces 4.6). Counts and divides; decides about no trace. Pure; time is an argument, because
//! between two invocations it stands still for this process and goes on for everybody else.

use std::time::Duration;

use crate::codec::sort::sort_by;

/// How long a count goes on.
const BUCKET: Duration = Duration::from_secs(5);

/// How many counts are kept; the highest is what a rate is made for, so that a burst is remembered for half a minute.
const BUCKETS: usize = 6;

/// A rate grows by no more than this from one bucket to the next, as with the Go agent.
const GROWTH: f64 = 1.2;

type Counts = [f32; BUCKETS];

/// A signature, its counts and the rate made of them.
#[derive(Clone, Copy, Debug)]
struct Seen {
    signature: u32,
    counts: Counts,
    /// `None` until the first bucket has ended.
    rate: Option<f64>,
}

/// Bytes that a signature takes.
pub const SIGNATURE: usize = size_of::<Seen>();

/// The counts of all signatures.
#[derive(Debug)]
pub struct Pace {
    /// Traces per second.
    target: f64,
    /// Sorted by signature.
    seen: Vec<Seen>,
    /// All traces, also those of signatures that have no place.
    all: Counts,
    /// The number of the present bucket since the epoch.
    bucket: u64,
    /// The lowest of the rates.
    lowest: f64,
}

impl Pace {
    /// Aims at `target` traces per second, all signatures together.
    #[must_use]
    pub fn new(target: f64) -> Self {
        let target = target.max(0.0);
        Self { target, seen: Vec::new(), all: Counts::default(), bucket: 0, lowest: 1.0 }
    }

    /// Goes on to `now`, in nanoseconds since the epoch. Whether a bucket ended, and with it the rates changed.
    pub fn advance(&mut self, now: u64) -> bool {
        let bucket = now / BUCKET.as_nanos() as u64;
        let passed = bucket.abs_diff(self.bucket);
        // A clock that is put back a little does not undo a bucket; one that is put back far starts anew, as after a
        // long sleep.
        if passed == 0 || bucket < self.bucket && passed <= BUCKETS as u64 {
            return false;
        }
        let (before, steps) = (self.bucket, passed.min(BUCKETS as u64 + 1) as usize);
        self.bucket = bucket;
        let expire = |counts: &mut Counts| rotate(counts, slot(before), steps, slot(bucket));
        expire(&mut self.all);
        let tps: Vec<f64> = self.seen.iter_mut().map(|seen| expire(&mut seen.counts)).collect();
        self.make_rates(&tps, passed);
        true
    }

    /// Makes the rates from the traces per second of each signature, in their order. A sleep over several buckets lets a
    /// rate grow by as many steps as a process that was awake would have made.
    fn make_rates(&mut self, tps: &[f64], passed: u64) {
        let growth = GROWTH.powi(passed.min(1_000) as i32);
        let share = share(self.target, &mut tps.to_vec());
        let mut each = tps.iter();
        self.lowest = 1.0;
        self.seen.retain_mut(|seen| {
            let tps = each.next().copied().unwrap_or_default();
            let mut rate = if share < tps { share / tps } else { 1.0 };
            if let Some(before) = seen.rate.filter(|before| *before > 0.0) {
                rate = rate.min(before * growth);
            }
            seen.rate = Some(rate);
            self.lowest = self.lowest.min(rate);
            // Without traffic and without a limit there is nothing to remember.
            rate < 1.0 || tps > 0.0
        });
    }

    /// Counts `weight` traces of `signature`.
    pub fn count(&mut self, signature: u32, weight: f32) {
        self.count_others(weight);
        let at = self.seen.binary_search_by_key(&signature, |seen| seen.signature).unwrap_or_else(|at| {
            self.seen.insert(at, Seen { signature, counts: Counts::default(), rate: None });
            at
        });
        if let Some(seen) = self.seen.get_mut(at) {
            seen.counts[slot(self.bucket)] += weight;
        }
    }

    /// Counts `weight` traces of signatures that have no place.
    pub fn count_others(&mut self, weight: f32) {
        self.all[slot(self.bucket)] += weight;
    }

    /// Whether `signature` has a place.
    #[must_use]
    pub fn has(&self, signature: u32) -> bool {
        self.find(signature).is_some()
    }

    /// How many signatures have a place.
    #[must_use]
    pub fn signatures(&self) -> usize {
        self.seen.len()
    }

    /// The rate of `signature`, 0 to 1; `None` before the first bucket with it has ended.
    #[must_use]
    pub fn rate(&self, signature: u32) -> Option<f64> {
        self.find(signature).and_then(|seen| seen.rate)
    }

    /// The rate of signatures that have none: made for all traffic, and no higher than the lowest that there is.
    #[must_use]
    pub fn default_rate(&self) -> f64 {
        let tps = per_second(highest(&self.all));
        let rate = if self.target < tps { self.target / tps } else { f64::from(u8::from(self.target > 0.0)) };
        if self.lowest > 0.0 { rate.min(self.lowest) } else { rate }
    }

    fn find(&self, signature: u32) -> Option<&Seen> {
        let at = self.seen.binary_search_by_key(&signature, |seen| seen.signature).ok()?;
        self.seen.get(at)
    }
}

fn slot(bucket: u64) -> usize {
    (bucket % BUCKETS as u64) as usize
}

fn highest(counts: &Counts) -> f32 {
    counts.iter().copied().fold(0.0, f32::max)
}

fn per_second(count: f32) -> f64 {
    f64::from(count) / BUCKET.as_secs_f64()
}

/// Empties what is older than the window after `steps` buckets from `before`, and the bucket that begins at `now`. What
/// that last one held still counts once. The highest rate per second in the window.
fn rotate(counts: &mut Counts, before: usize, steps: usize, now: usize) -> f64 {
    for step in 1..steps {
        counts[(before + step) % BUCKETS] = 0.0;
    }
    let tps = per_second(highest(counts));
    counts[now] = 0.0;
    tps
}

/// What each signature may have of `target`, if those that need less leave the rest to the others.
fn share(mut target: f64, seen: &mut [f64]) -> f64 {
    sort_by(seen, |a, b| a.total_cmp(b).is_lt());
    let mut left = seen.len();
    let mut share = target / left.max(1) as f64;
    for &tps in &*seen {
        if tps >= share || left == 1 {
            break;
        }
        left -= 1;
        target -= tps;
        share = target / left as f64;
    }
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    /// The beginning of a bucket.
    const START: u64 = 1_700_000_000 * SECOND;

    #[test]
    fn what_is_not_needed_goes_to_the_others() {
        for (target, seen, expected) in [
            (10.0, &[][..], 10.0),
            (10.0, &[3.0], 10.0),
            (10.0, &[30.0], 10.0),
            (10.0, &[30.0, 30.0], 5.0),
            (10.0, &[1.0, 30.0], 9.0),
            (10.0, &[30.0, 1.0, 30.0], 4.5),
            (10.0, &[1.0, 1.0], 9.0),
            (0.0, &[1.0, 1.0], 0.0),
        ] {
            assert_eq!(share(target, &mut seen.to_vec()), expected, "{target} {seen:?}");
        }
    }

    #[test]
    fn the_window_is_six_buckets_wide() {
        // Counts are of the buckets 0 to 5, of which 5 is the present one.
        for (steps, tps, left) in [
            (1, 20.0, [0.0, 50.0, 10.0, 10.0, 10.0, 10.0]),
            (2, 10.0, [0.0, 0.0, 10.0, 10.0, 10.0, 10.0]),
            (5, 2.0, [0.0, 0.0, 0.0, 0.0, 0.0, 10.0]),
            (6, 2.0, [0.0; 6]),
            (7, 0.0, [0.0; 6]),
        ] {
            let mut counts = [100.0, 50.0, 10.0, 10.0, 10.0, 10.0];
            let expected = if steps == 2 { 50.0 / 5.0 } else { tps };
            assert_eq!(rotate(&mut counts, 5, steps, (5 + steps) % BUCKETS), expected, "{steps}");
            assert_eq!(counts, left, "{steps}");
        }
    }

    /// Counts so many traces of each signature in a bucket, one bucket after the other.
    fn run(pace: &mut Pace, now: &mut u64, buckets: usize, traces: &[(u32, f32)]) {
        for _ in 0..buckets {
            pace.advance(*now);
            for &(signature, weight) in traces {
                pace.count(signature, weight);
            }
            *now += 5 * SECOND;
        }
        pace.advance(*now);
    }

    #[test]
    fn rates_share_the_target() {
        for (target, traces, expected, default) in [
            (10.0, &[(1, 10.0)][..], &[Some(1.0)][..], 1.0),
            (10.0, &[(1, 100.0)], &[Some(0.5)], 0.5),
            (10.0, &[(1, 100.0), (2, 5.0)], &[Some(0.45), Some(1.0)], 0.45),
            (10.0, &[(1, 100.0), (2, 50.0)], &[Some(0.25), Some(0.5)], 0.25),
            (0.0, &[(1, 100.0)], &[Some(0.0)], 0.0),
        ] {
            let (mut pace, mut now) = (Pace::new(target), START);
            run(&mut pace, &mut now, 2, traces);
            for (&(signature, _), expected) in traces.iter().zip(expected) {
                assert_eq!(pace.rate(signature), *expected, "{target} {traces:?}");
            }
            assert!((pace.default_rate() - default).abs() < 1e-9, "{target} {traces:?}: {}", pace.default_rate());
            assert_eq!(pace.rate(99), None);
        }
    }

    #[test]
    fn a_rate_grows_slowly_and_falls_at_once() {
        let (mut pace, mut now) = (Pace::new(10.0), START);
        run(&mut pace, &mut now, 1, &[(1, 5_000.0)]);
        assert_eq!(pace.rate(1), Some(0.01));
        // The burst stays in the window for six buckets, then each lets the rate grow by a fifth.
        run(&mut pace, &mut now, 5, &[(1, 5.0)]);
        assert_eq!(pace.rate(1), Some(0.01));
        run(&mut pace, &mut now, 1, &[(1, 5.0)]);
        assert!((pace.rate(1).unwrap() - 0.012).abs() < 1e-9);
        run(&mut pace, &mut now, 1, &[(1, 50_000.0)]);
        assert_eq!(pace.rate(1), Some(0.001));
    }

    #[test]
    fn a_sleep_is_many_buckets() {
        for (seconds, expected) in [(5, Some(0.01)), (30, Some(0.01)), (35, Some(0.01 * 1.2_f64.powi(6))), (600, None)]
        {
            let (mut pace, mut now) = (Pace::new(10.0), START);
            run(&mut pace, &mut now, 1, &[(1, 5_000.0)]);
            pace.advance(now + (seconds - 5) * SECOND);
            let (rate, expected_rate) = (pace.rate(1).unwrap_or(1.0), expected.unwrap_or(1.0));
            assert!((rate - expected_rate).abs() < 1e-9, "{seconds}: {rate}");
            assert_eq!(pace.signatures(), usize::from(expected.is_some()), "{seconds}");
        }
    }

    #[test]
    fn clocks_that_are_put_back() {
        for (back, ended) in [(1, false), (29, false), (3_600, true)] {
            let (mut pace, mut now) = (Pace::new(10.0), START);
            run(&mut pace, &mut now, 2, &[(1, 100.0)]);
            assert_eq!(pace.advance(now - back * SECOND), ended, "{back}");
            pace.count(1, 100.0);
            assert!(pace.rate(1).is_none_or(|rate| rate == 0.5), "{back}");
            assert!(pace.default_rate() > 0.0);
        }
    }
}
