//! Histograms (`h`, `ms`): a handful of statistics of the samples since the last point, computed here and sent as series.
//!
//! Pure; runs on the thread `metrics-agent`. The samples themselves are kept and the statistics exact, until there are
//! 2,048 of them; then a sketch takes over, so that memory is bounded and only median and percentiles are off, by less
//! than one percent.

use super::sketch::Sketch;
use crate::codec::sort::sort_by;

/// Samples kept as they are.
const EXACT: usize = 2048;

/// A statistic of a histogram, named as in `DD_HISTOGRAM_AGGREGATES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// `max`.
    Max,
    /// `min`.
    Min,
    /// `median`.
    Median,
    /// `avg`.
    Avg,
    /// `sum`.
    Sum,
    /// `count`: the only one that is no gauge.
    Count,
    /// `<n>percentile`.
    Percentile(u8),
}

impl Statistic {
    /// The statistic that the user calls `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "max" => Self::Max,
            "min" => Self::Min,
            "median" => Self::Median,
            "avg" => Self::Avg,
            "sum" => Self::Sum,
            "count" => Self::Count,
            _ => return None,
        })
    }

    /// What follows the metric's name and a dot.
    #[must_use]
    pub fn suffix(self) -> String {
        match self {
            Self::Max => "max".to_owned(),
            Self::Min => "min".to_owned(),
            Self::Median => "median".to_owned(),
            Self::Avg => "avg".to_owned(),
            Self::Sum => "sum".to_owned(),
            Self::Count => "count".to_owned(),
            Self::Percentile(n) => format!("{n}percentile"),
        }
    }
}

/// The samples of one context in one bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    samples: Vec<(f64, u32)>,
    sketch: Option<Box<Sketch>>,
}

impl Histogram {
    /// Adds the finite value `v` with the weight `n`, at least 1.
    pub fn insert(&mut self, v: f64, n: u32) {
        self.note(v, v, v * f64::from(n), u64::from(n));
        match &mut self.sketch {
            Some(sketch) => sketch.insert(v, n),
            None => {
                self.samples.push((v, n));
                if self.samples.len() >= EXACT {
                    self.approximate();
                }
            }
        }
    }

    /// Adds everything in `other`.
    pub fn merge(&mut self, other: Self) {
        if other.count == 0 {
            return;
        }
        self.note(other.min, other.max, other.sum, other.count);
        self.samples.extend(other.samples);
        if self.sketch.is_some() || other.sketch.is_some() || self.samples.len() >= EXACT {
            let sketch = self.approximate();
            if let Some(more) = other.sketch {
                sketch.merge(&more);
            }
        }
    }

    fn note(&mut self, min: f64, max: f64, sum: f64, n: u64) {
        if self.count == 0 {
            (self.min, self.max) = (min, max);
        } else {
            (self.min, self.max) = (self.min.min(min), self.max.max(max));
        }
        self.count = self.count.saturating_add(n);
        self.sum = (self.sum + sum).clamp(f64::MIN, f64::MAX);
    }

    /// Moves the samples into the sketch.
    fn approximate(&mut self) -> &mut Sketch {
        let sketch = self.sketch.get_or_insert_default();
        for (v, n) in std::mem::take(&mut self.samples) {
            sketch.insert(v, n);
        }
        sketch
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap(&self) -> usize {
        let sketch = self.sketch.as_ref().map_or(0, |sketch| size_of::<Sketch>() + sketch.heap());
        self.samples.capacity() * size_of::<(f64, u32)>() + sketch
    }

    /// Computes `wanted`, in order. Empty if there was no sample.
    pub fn statistics<'a>(&'a mut self, wanted: &'a [Statistic]) -> impl Iterator<Item = (Statistic, f64)> + 'a {
        sort_by(&mut self.samples, |a, b| a.0.total_cmp(&b.0).is_lt());
        let this = &*self;
        let wanted = if this.count == 0 { &[] } else { wanted };
        wanted.iter().map(move |&statistic| (statistic, this.compute(statistic)))
    }

    fn compute(&self, statistic: Statistic) -> f64 {
        match statistic {
            Statistic::Max => self.max,
            Statistic::Min => self.min,
            Statistic::Median => self.percentile(50),
            Statistic::Avg => self.sum / self.count as f64,
            Statistic::Sum => self.sum,
            Statistic::Count => self.count as f64,
            Statistic::Percentile(n) => self.percentile(n),
        }
    }

    /// The sample at the agent's rank `(n * count - 1) / 100`; the samples are sorted.
    fn percentile(&self, n: u8) -> f64 {
        if let Some(sketch) = &self.sketch {
            return sketch.quantile(f64::from(n) / 100.0);
        }
        let rank = (u128::from(n) * u128::from(self.count)).saturating_sub(1) / 100;
        let mut seen = 0_u128;
        for &(v, weight) in &self.samples {
            seen += u128::from(weight);
            if seen > rank {
                return v;
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Statistic; 8] = [
        Statistic::Max,
        Statistic::Min,
        Statistic::Median,
        Statistic::Avg,
        Statistic::Sum,
        Statistic::Count,
        Statistic::Percentile(95),
        Statistic::Percentile(0),
    ];

    fn check(samples: &[(f64, u32)], expected: &[f64]) {
        let mut histogram = Histogram::default();
        samples.iter().for_each(|&(v, n)| histogram.insert(v, n));
        let got: Vec<f64> = histogram.statistics(&ALL).map(|(_, v)| v).collect();
        assert_eq!(got, expected, "{samples:?}");
    }

    #[test]
    fn statistics_are_those_of_the_agent() {
        check(&[], &[]);
        check(&[(5.0, 1)], &[5.0, 5.0, 5.0, 5.0, 5.0, 1.0, 5.0, 5.0]);
        check(&[(3.0, 1), (1.0, 1), (2.0, 1)], &[3.0, 1.0, 2.0, 2.0, 6.0, 3.0, 3.0, 1.0]);
        check(&[(4.0, 1), (3.0, 1), (2.0, 1), (1.0, 1)], &[4.0, 1.0, 2.0, 2.5, 10.0, 4.0, 4.0, 1.0]);
        check(&[(1.0, 10), (2.0, 90)], &[2.0, 1.0, 2.0, 1.9, 190.0, 100.0, 2.0, 1.0]);
        let hundred: Vec<_> = (1..=100).map(|i| (f64::from(i), 1)).collect();
        check(&hundred, &[100.0, 1.0, 50.0, 50.5, 5050.0, 100.0, 95.0, 1.0]);
    }

    #[test]
    fn names() {
        for name in ["max", "min", "median", "avg", "sum", "count"] {
            assert_eq!(Statistic::named(name).unwrap().suffix(), name);
        }
        assert_eq!(Statistic::named("mode"), None);
        assert_eq!(Statistic::Percentile(95).suffix(), "95percentile");
    }

    #[test]
    fn many_samples_take_bounded_memory_and_stay_near() {
        let mut histogram = Histogram::default();
        for i in 1..=100_000 {
            histogram.insert(f64::from(i), 1);
        }
        assert!(histogram.heap() < 64 * 1024, "{}", histogram.heap());
        let got: Vec<f64> = histogram.statistics(&ALL[..7]).map(|(_, v)| v).collect();
        let expected = [100_000.0, 1.0, 50_000.0, 50_000.5, 5_000_050_000.0, 100_000.0, 95_000.0];
        for (got, expected) in got.iter().zip(expected) {
            assert!((got / expected - 1.0).abs() < 0.016, "{got} {expected}");
        }
    }

    proptest! {
        #[test]
        fn merging_is_inserting(
            a in proptest::collection::vec((-1e6..1e6_f64, 1..5_u32), 0..60),
            b in proptest::collection::vec((-1e6..1e6_f64, 1..5_u32), 0..60),
        ) {
            let fill = |samples: &[(f64, u32)]| {
                let mut histogram = Histogram::default();
                samples.iter().for_each(|&(v, n)| histogram.insert(v, n));
                histogram
            };
            let mut merged = fill(&a);
            merged.merge(fill(&b));
            let mut whole = fill(&[a, b].concat());
            let (merged, whole): (Vec<_>, Vec<_>) = (merged.statistics(&ALL).collect(), whole.statistics(&ALL).collect());
            prop_assert_eq!(merged.len(), whole.len());
            for (m, w) in merged.iter().zip(&whole) {
                prop_assert!((m.1 - w.1).abs() <= 1e-3, "{:?} {:?}", m, w);
            }
        }
    }
}
