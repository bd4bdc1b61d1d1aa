//! Spans that a tracer sends twice: the keys of the last [`MEMORY`] spans, over requests (spec: traces 4.2). Refuses to
//! judge anything but ids. Pure; runs on the thread that decodes.

/// How many spans are remembered.
pub const MEMORY: usize = 100;

/// Bits of a hash. So many chains that most hold nothing and almost none holds two: a branch that is always taken is
/// what makes this fast.
const BITS: u32 = 11;

/// The end of a chain. Any value that is no slot of the ring.
const NONE: u8 = u8::MAX;

/// A remembered span.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    trace_id: u64,
    span_id: u64,
}

/// The ring of keys, and chains through it from the newest key of a hash to the oldest.
///
/// A key that is overwritten is the oldest of all, so it is the last of its chain: what still points to its slot points to
/// a key that is newer, and by that a walk knows the end. Nothing is ever unlinked.
#[derive(Debug)]
pub struct Dedup {
    ring: [Entry; MEMORY],
    /// For each slot, the next older one with the same hash.
    older: [u8; MEMORY],
    /// For each slot, its hash.
    hashes: [u16; MEMORY],
    /// For each hash, the newest slot.
    newest: [u8; 1 << BITS],
    /// The slot that is written next: the oldest.
    next: u8,
    /// Masks that a tracer cannot foresee.
    masks: [u64; 2],
}

impl Dedup {
    /// Remembers nothing yet. `seed` is a random number, so that no choice of ids makes the chains long; the longest
    /// possible is the ring.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            ring: [Entry::default(); MEMORY],
            older: [NONE; MEMORY],
            hashes: [0; MEMORY],
            newest: [NONE; 1 << BITS],
            next: 0,
            masks: [seed, seed.rotate_left(32)],
        }
    }

    /// Remembers nothing any more.
    pub fn forget(&mut self) {
        *self = Self::new(self.masks[0]);
    }

    /// Whether the span is not among the last [`MEMORY`] new ones, which it then is.
    #[inline]
    pub fn is_new(&mut self, trace_id: u64, span_id: u64) -> bool {
        let hash = self.hash(trace_id, span_id);
        let first = self.newest[usize::from(hash)];
        if first != NONE && self.has(first, trace_id, span_id) {
            return false;
        }
        let slot = usize::from(self.next);
        let forgotten = &mut self.newest[usize::from(self.hashes[slot])];
        if *forgotten == self.next {
            // It was alone: without this, every chain would hold something in the end.
            *forgotten = NONE;
        }
        self.ring[slot] = Entry { trace_id, span_id };
        self.hashes[slot] = hash;
        self.older[slot] = self.newest[usize::from(hash)];
        self.newest[usize::from(hash)] = self.next;
        self.next = if slot + 1 == MEMORY { 0 } else { self.next + 1 };
        true
    }

    /// The hash of a key: the product of both masked ids, its halves folded.
    #[inline]
    fn hash(&self, trace_id: u64, span_id: u64) -> u16 {
        let [a, b] = self.masks;
        let product = u128::from(trace_id ^ a) * u128::from(span_id ^ b);
        (product as u64 ^ (product >> 64) as u64) as u16 & ((1 << BITS) - 1)
    }

    /// Whether a key is in the chain from `slot` on.
    fn has(&self, mut slot: u8, trace_id: u64, span_id: u64) -> bool {
        let mut age = self.age(slot);
        loop {
            let Some(entry) = self.ring.get(usize::from(slot)) else { return false };
            if entry.span_id == span_id && entry.trace_id == trace_id {
                return true;
            }
            slot = self.older[usize::from(slot)];
            if slot == NONE || self.age(slot) <= age {
                return false;
            }
            age = self.age(slot);
        }
    }

    /// How many spans were remembered after the one in `slot`.
    fn age(&self, slot: u8) -> usize {
        (usize::from(self.next) + MEMORY - 1 - usize::from(slot)) % MEMORY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// The rule, word for word.
    #[derive(Default)]
    struct Model(VecDeque<(u64, u64)>);

    impl Model {
        fn is_new(&mut self, key: (u64, u64)) -> bool {
            if self.0.contains(&key) {
                return false;
            }
            if self.0.len() == MEMORY {
                self.0.pop_front();
            }
            self.0.push_back(key);
            true
        }
    }

    #[track_caller]
    fn check(seed: u64, keys: impl IntoIterator<Item = (u64, u64)>) {
        let (mut dedup, mut model) = (Dedup::new(seed), Model::default());
        for (i, key) in keys.into_iter().enumerate() {
            assert_eq!(dedup.is_new(key.0, key.1), model.is_new(key), "{i}: {key:?}");
        }
    }

    #[test]
    fn a_span_counts_once_until_a_hundred_others_came() {
        let mut dedup = Dedup::new(7);
        for (trace_id, span_id, new) in [(1, 1, true), (1, 1, false), (1, 2, true), (2, 1, true), (1, 1, false)] {
            assert_eq!(dedup.is_new(trace_id, span_id), new, "{trace_id} {span_id}");
        }
        // 97 more fill the memory; the next takes the place of the first.
        for id in 0..97 {
            assert!(dedup.is_new(9, id));
        }
        assert!(!dedup.is_new(1, 1), "seeing it again does not renew it");
        assert!(dedup.is_new(9, 97));
        assert!(dedup.is_new(1, 1));
    }

    #[test]
    fn ids_that_are_all_alike() {
        for seed in [0, 1, u64::MAX, 0x9e37_79b9_7f4a_7c15] {
            check(seed, (0..1_000).map(|i| (0, i % 120)));
            check(seed, (0..1_000).map(|i| (i % 101, 0)));
            check(seed, (0..1_000).map(|i| (i << 56, i << 56)));
            check(seed, (0..1_000).map(|i| (seed, i % 99)));
            check(seed, (0..1_000).map(|i| (i % 150, seed.rotate_left(32))));
        }
    }

    /// The chains of usual and of unusual ids stay short.
    #[test]
    fn no_chain_is_long() {
        let patterns: [fn(u64) -> (u64, u64); 5] = [
            |i| (1, i),
            |i| (i, i),
            |i| (i << 40, i << 48),
            |i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15), !i),
            |i| (u64::MAX, i << 56),
        ];
        for pattern in patterns {
            let mut chains = 0;
            for i in 1..=64_u64 {
                let mut dedup = Dedup::new(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                for i in 1..=MEMORY as u64 {
                    let (trace_id, span_id) = pattern(i);
                    assert!(dedup.is_new(trace_id, span_id));
                }
                chains += dedup.newest.iter().filter(|&&slot| slot != NONE).count();
            }
            // Thrown at random, 100 keys make 97 or 98.
            assert!(chains > 64 * 85, "{chains}");
        }
    }

    proptest! {
        #[test]
        fn is_the_rule(seed: u64, keys in prop::collection::vec((0_u64..12, 0_u64..14), 0..2_000)) {
            check(seed, keys);
        }

        #[test]
        fn is_the_rule_when_all_share_a_chain(keys in prop::collection::vec(0_u64..130, 0..2_000)) {
            // Without a seed a product with 0 is 0: all share one chain.
            check(0, keys.into_iter().map(|key| (0, key)));
        }
    }
}
