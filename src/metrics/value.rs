//! What a context holds in one bucket: one small state for each type of sample.
//!
//! Pure; runs on the thread `metrics-agent`.

use std::collections::HashSet;

use super::Kind;
use super::dogstatsd::batch::Sample;
use super::histogram::Histogram;
use super::sketch::Sketch;

/// The greatest weight of one value: a smaller sample rate than one in a million counts as that.
const MAX_WEIGHT: f64 = 1e6;
/// What an entry of a set costs beside its bytes.
const MEMBER: usize = 48;

/// The members of a set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Set {
    members: HashSet<Box<[u8]>>,
    /// Whether a sample came since the last point.
    fresh: bool,
}

impl Set {
    /// How many different members, if that may have changed since it was last asked for.
    pub fn take(&mut self) -> Option<usize> {
        std::mem::take(&mut self.fresh).then_some(self.members.len())
    }
}

/// An aggregate.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// The sum.
    Count(f64),
    /// The last value.
    Gauge(f64),
    /// The members.
    Set(Set),
    /// The samples.
    Histogram(Box<Histogram>),
    /// The sketch.
    Sketch(Box<Sketch>),
}

impl Value {
    /// The state before the first sample.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Count => Self::Count(0.0),
            Kind::Gauge => Self::Gauge(0.0),
            Kind::Set => Self::Set(Set::default()),
            Kind::Histogram => Self::Histogram(Box::default()),
            Kind::Distribution => Self::Sketch(Box::default()),
        }
    }

    /// Whether a sample never makes it larger.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        matches!(self, Self::Count(_) | Self::Gauge(_))
    }

    /// Adds a sample and says by how many bytes it grew.
    pub fn add(&mut self, sample: &Sample<'_>) -> usize {
        let before = self.heap();
        match self {
            Self::Count(sum) => {
                for v in sample.values {
                    *sum = (*sum + v / sample.metric.rate).clamp(f64::MIN, f64::MAX);
                }
            }
            Self::Gauge(last) => *last = sample.values.last().copied().unwrap_or(*last),
            Self::Set(set) => {
                set.fresh = true;
                if !set.members.contains(sample.metric.member) {
                    set.members.insert(sample.metric.member.into());
                    return sample.metric.member.len() + MEMBER;
                }
                return 0;
            }
            Self::Histogram(histogram) => {
                let weight = weight(sample.metric.rate);
                sample.values.iter().for_each(|&v| histogram.insert(v, weight));
            }
            Self::Sketch(sketch) => {
                let weight = weight(sample.metric.rate);
                sample.values.iter().for_each(|&v| sketch.insert(v, weight));
            }
        }
        self.heap().saturating_sub(before)
    }

    /// Adds what came later in a context that turned out to be the same. Two values of different types stay apart: the
    /// type is part of a context, so that does not happen.
    pub fn merge(&mut self, later: Self) {
        match (self, later) {
            (Self::Count(sum), Self::Count(more)) => *sum = (*sum + more).clamp(f64::MIN, f64::MAX),
            (Self::Gauge(last), Self::Gauge(later)) => *last = later,
            (Self::Set(set), Self::Set(more)) => {
                set.fresh |= more.fresh;
                set.members.extend(more.members);
            }
            (Self::Histogram(histogram), Self::Histogram(more)) => histogram.merge(*more),
            (Self::Sketch(sketch), Self::Sketch(more)) => sketch.merge(&more),
            _ => debug_assert!(false, "the type is part of the context"),
        }
    }

    /// Bytes on the heap, except a set's, which are told as they come.
    fn heap(&self) -> usize {
        match self {
            Self::Count(_) | Self::Gauge(_) | Self::Set(_) => 0,
            Self::Histogram(histogram) => histogram.heap(),
            Self::Sketch(sketch) => sketch.heap(),
        }
    }

    /// Bytes in all.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Count(_) | Self::Gauge(_) => 0,
                Self::Set(set) => set.members.iter().map(|member| member.len() + MEMBER).sum(),
                Self::Histogram(histogram) => size_of::<Histogram>() + histogram.heap(),
                Self::Sketch(sketch) => size_of::<Sketch>() + sketch.heap(),
            }
    }
}

/// How many samples one stands for that was sent with this rate, to the nearest whole number, at least 1.
fn weight(rate: f64) -> u32 {
    (1.0 / rate).round().clamp(1.0, MAX_WEIGHT) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::dogstatsd::parser::parse;

    fn fold(lines: &[&str]) -> Value {
        let mut value: Option<Value> = None;
        for line in lines {
            let mut values = Vec::new();
            let metric = parse(line.as_bytes(), &mut values).unwrap();
            value.get_or_insert_with(|| Value::new(metric.kind)).add(&Sample { metric, values: &values, received: 1 });
        }
        value.unwrap()
    }

    #[test]
    fn weights() {
        for (rate, expected) in
            [(1.0, 1), (0.5, 2), (0.1, 10), (1.0 / 3.0, 3), (0.3, 3), (2.0, 1), (1e-9, 1_000_000), (1e-300, 1_000_000)]
        {
            assert_eq!(weight(rate), expected, "{rate}");
        }
    }

    #[test]
    fn counts_are_scaled_by_the_rate_and_summed() {
        for (lines, expected) in [
            (&["a:1|c", "a:2:3|c"][..], 6.0),
            (&["a:5|c|@0.5"], 10.0),
            (&["a:1|c|@0.1", "a:-1|c"], 9.0),
            (&["a:3|c|@2"], 1.5),
            (&["a:1e308|c|@0.001", "a:-1e308|c|@0.001"], 0.0),
        ] {
            assert_eq!(fold(lines), Value::Count(expected), "{lines:?}");
        }
    }

    #[test]
    fn gauges_keep_the_last() {
        assert_eq!(fold(&["a:1|g", "a:2:3|g|@0.5"]), Value::Gauge(3.0));
    }

    #[test]
    fn sets_count_members_once() {
        let Value::Set(mut set) = fold(&["a:x|s", "a:y|s|@0.1", "a:x|s"]) else { panic!() };
        assert_eq!((set.take(), set.take()), (Some(2), None));
    }

    #[test]
    fn distributions_and_histograms_weigh_by_the_rate() {
        let Value::Sketch(sketch) = fold(&["a:1:3|d|@0.1"]) else { panic!() };
        assert_eq!((sketch.count, sketch.sum), (20, 40.0));
        let Value::Histogram(mut histogram) = fold(&["a:1:3|ms|@0.1"]) else { panic!() };
        let wanted = [super::super::histogram::Statistic::Count];
        assert_eq!(histogram.statistics(&wanted).map(|(_, v)| v).collect::<Vec<_>>(), [20.0]);
    }
}
