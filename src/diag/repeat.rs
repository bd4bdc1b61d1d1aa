//! When to tell again of something that keeps happening.
//!
//! Our own lines come back as logs of the function and are paid for: a line for every flush of a client that sends
//! rubbish would be a flood (pain: row 13). Pure; every site owns its own.

/// How often something happened, and when that is worth a line: at first, and whenever it has become ten times as much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repeat {
    total: u64,
    told: u64,
}

impl Repeat {
    /// Adds `n` and returns the total if it should be told.
    pub fn add(&mut self, n: u64) -> Option<u64> {
        self.total = self.total.saturating_add(n);
        if self.total == 0 || (self.told > 0 && self.total / 10 < self.told) {
            return None;
        }
        self.told = self.total;
        Some(self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::Repeat;

    #[test]
    fn each_power_of_ten_is_told() {
        for (steps, expected) in [
            (&[0, 0][..], &[][..]),
            (&[0, 3, 1, 25, 1, 270, 1], &[3, 30, 300]),
            (&[1; 120], &[1, 10, 100]),
            (&[u64::MAX, 1], &[u64::MAX]),
        ] {
            let mut repeat = Repeat::default();
            let told: Vec<u64> = steps.iter().filter_map(|&n| repeat.add(n)).collect();
            assert_eq!(told, expected, "{steps:?}");
        }
    }
}
