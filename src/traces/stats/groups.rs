//! The groups of one bucket, in a hash table of our own: open addressing over indices, keys side by side in one buffer, so
//! that a span whose group exists is counted without an allocation. Pure.

use super::key::Key;
use super::sketch::Sketch;

/// What is known of the spans with one key. Sums are floats because a span may stand for more than itself; they are exact
/// up to 2^53, 104 days of nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Group {
    hash: u64,
    key: (u32, u32),
    /// Spans.
    pub hits: f64,
    /// Spans that failed.
    pub errors: f64,
    /// Spans that are top level.
    pub top_level: f64,
    /// Nanoseconds.
    pub duration: f64,
    /// Durations of spans that did not fail.
    pub ok: Sketch,
    /// Durations of spans that did.
    pub error: Sketch,
}

/// The table.
#[derive(Debug, Default)]
pub struct Groups {
    groups: Vec<Group>,
    keys: Vec<u8>,
    /// One more than the index of a group, 0 for none; a power of two long, at most three quarters full.
    slots: Vec<u32>,
}

impl Groups {
    /// The index of the group with `key`.
    #[must_use]
    pub fn find(&self, hash: u64, key: &Key<'_>) -> Option<usize> {
        // The hash is seeded, so runs of taken slots are short whatever the keys are.
        let mut at = hash as usize;
        loop {
            let index = self.slots.get(at & self.slots.len().wrapping_sub(1)).copied()?.checked_sub(1)? as usize;
            if self.groups.get(index).is_some_and(|group| group.hash == hash && key.is(self.stored(group))) {
                return Some(index);
            }
            at = at.wrapping_add(1);
        }
    }

    /// What another group with `key` takes, in bytes: twice what it needs, because what grows doubles.
    #[must_use]
    pub fn cost(key: &Key<'_>) -> usize {
        2 * (size_of::<Group>() + key.stored_len() + 2 * size_of::<u32>())
    }

    /// Adds a group with `key`, which is not there yet. Its index.
    pub fn insert(&mut self, hash: u64, key: &Key<'_>) -> usize {
        if (self.groups.len() + 1) * 4 > self.slots.len() * 3 {
            self.slots = vec![0; (self.slots.len() * 2).max(8)];
            for index in 0..self.groups.len() {
                self.take_slot(self.groups[index].hash, index);
            }
        }
        let start = self.keys.len();
        key.store(&mut self.keys);
        let key = (start as u32, (self.keys.len() - start) as u32);
        let index = self.groups.len();
        self.groups.push(Group { hash, key, ..Group::default() });
        self.take_slot(hash, index);
        index
    }

    /// Puts `index` into the first free slot from where `hash` belongs.
    fn take_slot(&mut self, hash: u64, index: usize) {
        let mask = self.slots.len().wrapping_sub(1);
        // A quarter of the slots is free.
        for at in (0..self.slots.len()).map(|i| (hash as usize).wrapping_add(i) & mask) {
            if self.slots[at] == 0 {
                self.slots[at] = index as u32 + 1;
                return;
            }
        }
    }

    /// The group with this index.
    pub fn get(&mut self, index: usize) -> Option<&mut Group> {
        self.groups.get_mut(index)
    }

    /// All groups with their keys, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Key<'_>, &Group)> {
        self.groups.iter().map(|group| (Key::load(self.stored(group)), group))
    }

    fn stored(&self, group: &Group) -> &[u8] {
        let (start, length) = group.key;
        self.keys.get(start as usize..).and_then(|rest| rest.get(..length as usize)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::{Numbers, TEXTS};
    use super::*;

    fn with_key<R>(name: &str, run: impl FnOnce(&Key<'_>) -> R) -> R {
        let mut texts = [&b""[..]; TEXTS];
        texts[0] = name.as_bytes();
        run(&Key::new(texts, Numbers::default()))
    }

    #[test]
    fn groups_are_found_again() {
        // With a hash of its own for each, and with one for all.
        for mask in [u64::MAX, 0] {
            let mut groups = Groups::default();
            let names: Vec<String> = (0..300).map(|i| format!("service-{i}")).collect();
            for (i, name) in names.iter().enumerate() {
                with_key(name, |key| {
                    let hash = key.hash(1) & mask;
                    assert_eq!(groups.find(hash, key), None);
                    assert_eq!(groups.insert(hash, key), i);
                    groups.get(i).unwrap().hits = i as f64;
                });
            }
            for (i, name) in names.iter().enumerate() {
                assert_eq!(with_key(name, |key| groups.find(key.hash(1) & mask, key)), Some(i));
            }
            let all: Vec<(Vec<u8>, f64)> =
                groups.iter().map(|(key, group)| (key.texts()[0].to_vec(), group.hits)).collect();
            assert!(names.iter().enumerate().all(|(i, name)| all[i] == (name.clone().into_bytes(), i as f64)));
        }
    }
}
