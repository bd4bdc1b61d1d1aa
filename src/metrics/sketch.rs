//! The Datadog agent's flavour of DDSketch (spec: metrics 3.4): exact count, sum, minimum, maximum and average, and bins
//! whose width grows by 1/64 from one to the next, so that a quantile is off by at most 0.8 %.
//!
//! Pure; runs on the thread `metrics-agent`. The parameters are fixed: the intake merges sketches bin by bin.

/// Each bin's bounds are this far apart: `1 + 2/128`.
pub const GAMMA: f64 = 1.015_625;
/// The natural logarithm of [`GAMMA`].
const GAMMA_LN: f64 = 0.015_504_186_535_965_254;
/// The key of 1.0: keys of all values from the smallest kept apart from zero are positive.
const BIAS: i32 = 1338;
/// `GAMMA^(1 - BIAS)`: smaller values count as zero.
const SMALLEST: f64 = 9.941_854_089_121_45e-10;
/// The key of everything too large.
const INFINITY: i16 = i16::MAX;
/// Bins of one sketch; beyond it the lowest are folded into their neighbour.
pub const BIN_LIMIT: usize = 4096;
/// The largest count of one bin on the wire; larger ones are spread over bins of the same key.
const BIN_WIDTH: u32 = u16::MAX as u32;

/// The key of the bin that `v` falls into.
#[must_use]
pub fn key(v: f64) -> i16 {
    if v < 0.0 {
        return -key(-v);
    }
    if v < SMALLEST {
        return 0;
    }
    let key = (v.ln() / GAMMA_LN).round_ties_even() + f64::from(BIAS);
    // A float's conversion saturates; NaN cannot come here.
    (key as i32).clamp(1, i32::from(INFINITY)) as i16
}

/// The least value of the bin `key`.
#[must_use]
pub fn lower_bound(key: i16) -> f64 {
    match key {
        0 => 0.0,
        INFINITY => f64::INFINITY,
        // Keys lie within ±32767.
        k if k < 0 => -lower_bound(k.saturating_neg()),
        k => GAMMA.powi(i32::from(k) - BIAS),
    }
}

/// A sketch of the values of one context in one bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sketch {
    /// How many values.
    pub count: u64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The average.
    pub avg: f64,
    /// The sum.
    pub sum: f64,
    /// Key and count, ascending, each key once.
    bins: Vec<(i16, u32)>,
}

impl Sketch {
    /// Adds the finite value `v`, `n` times.
    pub fn insert(&mut self, v: f64, n: u32) {
        if n == 0 {
            return;
        }
        self.note(v, v, v, v * f64::from(n), u64::from(n));
        self.add(key(v), n);
    }

    /// Adds everything in `other`.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.note(other.min, other.max, other.avg, other.sum, other.count);
        for &(key, n) in &other.bins {
            self.add(key, n);
        }
    }

    fn note(&mut self, min: f64, max: f64, avg: f64, sum: f64, n: u64) {
        if self.count == 0 {
            (self.min, self.max) = (min, max);
        } else {
            (self.min, self.max) = (self.min.min(min), self.max.max(max));
        }
        self.count = self.count.saturating_add(n);
        self.sum = (self.sum + sum).clamp(f64::MIN, f64::MAX);
        // The bounds hold by definition; stating them keeps rounding and overflow out.
        self.avg = (self.avg + (avg - self.avg) * n as f64 / self.count as f64).clamp(self.min, self.max);
    }

    fn add(&mut self, key: i16, n: u32) {
        match self.bins.binary_search_by_key(&key, |bin| bin.0) {
            Ok(at) => self.bins[at].1 = self.bins[at].1.saturating_add(n),
            Err(at) => {
                self.bins.insert(at, (key, n));
                if self.bins.len() > BIN_LIMIT {
                    self.fold_lowest();
                }
            }
        }
    }

    /// Folds the lowest bin into the next.
    fn fold_lowest(&mut self) {
        let (_, n) = self.bins.remove(0);
        self.bins[0].1 = self.bins[0].1.saturating_add(n);
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap(&self) -> usize {
        self.bins.capacity() * size_of::<(i16, u32)>()
    }

    /// Bins as they are sent: ascending, no count above 65,535, and at most [`BIN_LIMIT`] of them unless a single key
    /// fills more.
    pub fn wire_bins(&self) -> impl Iterator<Item = (i16, u32)> {
        let mut excess = self.bins.iter().map(|bin| spread(bin.1)).sum::<usize>().saturating_sub(BIN_LIMIT);
        let mut folded = 0_u32;
        let mut first = 0;
        while excess > 0 && first + 1 < self.bins.len() {
            let [low, next] = [self.bins[first].1.saturating_add(folded), self.bins[first + 1].1];
            let saved = spread(low) + spread(next) - spread(low.saturating_add(next));
            excess = excess.saturating_sub(saved);
            folded = low;
            first += 1;
        }
        self.bins[first..].iter().enumerate().flat_map(move |(i, &(key, n))| {
            let n = if i == 0 { n.saturating_add(folded) } else { n };
            let rest = (n % BIN_WIDTH != 0).then_some((key, n % BIN_WIDTH));
            let full = std::iter::repeat_n((key, BIN_WIDTH), (n / BIN_WIDTH) as usize);
            rest.into_iter().chain(full)
        })
    }

    /// The value below which the part `q` (0 to 1) of the values lies; 0 for an empty sketch.
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        let rank = (q.clamp(0.0, 1.0) * (self.count - 1) as f64).round_ties_even() as u64;
        let mut seen = 0_u64;
        for &(key, n) in &self.bins {
            let before = seen;
            seen += u64::from(n);
            if seen > rank {
                let weight = (rank - before) as f64 / f64::from(n);
                // The outermost bins have no finite bounds of their own.
                let within = |bound: f64| bound.clamp(self.min, self.max);
                let (low, high) = (within(lower_bound(key)), within(lower_bound(key.saturating_add(1))));
                return within(low * (1.0 - weight) + high * weight);
            }
        }
        self.max
    }
}

/// How many bins a count takes on the wire.
fn spread(n: u32) -> usize {
    n.div_ceil(BIN_WIDTH) as usize
}

#[cfg(test)]
mod tests;
