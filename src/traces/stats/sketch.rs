//! The sketch of durations in stats (spec: traces 4.8): DDSketch with the parameters of Datadog's backend, which merges
//! sketches bin by bin. Relative accuracy 1/129; a run of at most 2,048 bins, below which values count in the lowest. Pure.

use crate::codec::protobuf as pb;

/// Each bin's bounds are this far apart.
pub const GAMMA: f64 = 1.015_625;
/// One divided by the natural logarithm of [`GAMMA`].
const MULTIPLIER: f64 = 1.0 / 0.015_504_186_535_965_254;
/// What is added to the logarithm: the bin of 1 ns is 1338.
pub const OFFSET: f64 = 1338.5;
/// The longest run of bins.
const RUN: u16 = 2048;

/// Counts of durations. Kept as the few bins that have any, sent as a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sketch {
    /// Bin and count, ascending, each bin once.
    bins: Vec<(u16, u32)>,
    /// Durations of nothing.
    zero: u32,
}

/// The bin of a duration in nanoseconds, which is not 0. At most 4,200.
fn bin(duration: u64) -> u16 {
    ((duration as f64).ln() * MULTIPLIER + OFFSET) as u16
}

impl Sketch {
    /// Counts a duration in nanoseconds. If the sketch may not `grow`, one without a bin of its own counts in the bin
    /// next to it. Whether it has a bin of its own.
    pub fn add(&mut self, duration: u64, grow: bool) -> bool {
        if duration == 0 {
            self.zero = self.zero.saturating_add(1);
            return true;
        }
        // What is too low for the run belongs into its lowest bin.
        let lowest = self.bins.last().map_or(0, |highest| highest.0.saturating_sub(RUN - 1));
        let bin = bin(duration).max(lowest);
        // Durations of a group are alike: most have a bin already.
        let at = match self.bins.binary_search_by_key(&bin, |bin| bin.0) {
            Ok(at) => at,
            Err(at) if grow || self.bins.is_empty() => {
                self.bins.insert(at, (bin, 0));
                self.fold();
                // The bins that were folded were below.
                return self.bins.iter_mut().rfind(|own| own.0 == bin).is_some_and(|own| {
                    own.1 = own.1.saturating_add(1);
                    true
                });
            }
            Err(at) => {
                let at = at.min(self.bins.len() - 1);
                self.bins[at].1 = self.bins[at].1.saturating_add(1);
                return false;
            }
        };
        self.bins[at].1 = self.bins[at].1.saturating_add(1);
        true
    }

    /// Puts what is too low for the run into its lowest bin.
    fn fold(&mut self) {
        let Some(lowest) = self.bins.last().and_then(|highest| highest.0.checked_sub(RUN - 1)) else { return };
        let below = self.bins.partition_point(|bin| bin.0 < lowest);
        if below == 0 {
            return;
        }
        let folded = self.bins.drain(..below).fold(0, |sum: u32, bin| sum.saturating_add(bin.1));
        match self.bins.first_mut() {
            Some(first) if first.0 == lowest => first.1 = first.1.saturating_add(folded),
            _ => self.bins.insert(0, (lowest, folded)),
        }
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap(&self) -> usize {
        self.bins.capacity() * size_of::<(u16, u32)>()
    }

    /// Appends the message `DDSketch`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mapping = pb::open(out, 1);
        pb::double(out, 1, GAMMA);
        pb::double(out, 2, OFFSET);
        pb::close(out, mapping);
        let store = pb::open(out, 2);
        if let (Some(&(first, _)), Some(&(last, _))) = (self.bins.first(), self.bins.last()) {
            pb::tag(out, 2, 2);
            pb::varint(out, 8 * u64::from(last - first + 1));
            let mut bins = self.bins.iter().peekable();
            for bin in first..=last {
                let count = bins.next_if(|next| next.0 == bin).map_or(0, |found| found.1);
                out.extend_from_slice(&f64::from(count).to_le_bytes());
            }
            pb::uint(out, 3, pb::zigzag(i64::from(first)));
        }
        pb::close(out, store);
        let negative = pb::open(out, 3);
        pb::close(out, negative);
        pb::double(out, 4, f64::from(self.zero));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libdd_ddsketch::{DDSketch, pb as oracle};
    use proptest::prelude::*;
    use prost::Message as _;

    fn ours(durations: &[u64], grow: bool) -> oracle::DdSketch {
        let mut sketch = Sketch::default();
        for &duration in durations {
            sketch.add(duration, grow);
        }
        let mut bytes = Vec::new();
        sketch.encode(&mut bytes);
        oracle::DdSketch::decode(bytes.as_slice()).unwrap()
    }

    fn theirs(durations: &[u64]) -> oracle::DdSketch {
        let mut sketch = DDSketch::default();
        for &duration in durations {
            sketch.add(duration as f64).unwrap();
        }
        sketch.into_pb()
    }

    #[test]
    fn as_datadogs_own() {
        const HOUR: u64 = 3_600_000_000_000;
        for durations in [
            &[][..],
            &[0],
            &[1],
            &[u64::MAX],
            &[i64::MAX as u64, 0, 0],
            &[1_000_000, 1_000_001, 2_000_000, 999],
            // A run that is too long, from above and from below.
            &[1, 2, 3, 1_000_000 * HOUR, 5],
            &[1_000_000 * HOUR, 3, 2, 1, HOUR],
            &[1, 1_000 * HOUR, 2, 1_000_000 * HOUR],
        ] {
            assert_eq!(ours(durations, true), theirs(durations), "{durations:?}");
        }
    }

    #[test]
    fn what_may_not_grow_counts_in_the_next_bin() {
        let mut sketch = Sketch::default();
        for (duration, grow, own) in [
            (1_000, false, true),
            (2_000, true, true),
            (500, false, false),
            (1_400, false, false),
            (9_000, false, false),
            (0, false, true),
            (2_000, false, true),
        ] {
            let heap = sketch.heap();
            assert_eq!(sketch.add(duration, grow), own, "{duration}");
            assert!(grow || heap == 0 || sketch.heap() == heap);
        }
        assert_eq!(sketch.bins.iter().map(|bin| bin.1).collect::<Vec<_>>(), [2, 4]);
    }

    proptest! {
        #[test]
        fn any_durations(durations in prop::collection::vec(prop_oneof![any::<u64>(), 0..10_000_000_u64], 0..60)) {
            prop_assert_eq!(ours(&durations, true), theirs(&durations));
            let count: f64 = ours(&durations, false).positive_values.unwrap().contiguous_bin_counts.iter().sum();
            prop_assert_eq!(count as usize, durations.iter().filter(|&&duration| duration > 0).count());
        }
    }
}
