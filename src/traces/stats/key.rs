//! What spans have in common that are counted together (spec: traces 4.8): texts and a few numbers, borrowed from a span,
//! hashed and compared as they are, and copied once when their group is new. Pure.

/// How many texts a key has. The first [`super::payload::KEY_TEXTS`] of them are in the order of
/// [`super::payload::TEXTS`]; the last is the peer tags, an encoded array, or nothing.
pub const TEXTS: usize = 9;

/// Places of texts in a key.
pub const SERVICE: usize = 0;
/// Operation.
pub const NAME: usize = 1;
/// Resource.
pub const RESOURCE: usize = 2;
/// The span's type.
pub const TYPE: usize = 3;
/// `span.kind`.
pub const KIND: usize = 4;
/// HTTP method.
pub const METHOD: usize = 5;
/// HTTP endpoint or route.
pub const ENDPOINT: usize = 6;
/// Where the service's name is from (`_dd.svc_src`).
pub const SOURCE: usize = 7;
/// Peer tags.
pub const PEERS: usize = 8;

/// What takes the place of values of which there are too many, as in the stats of Datadog's tracers.
pub const BLOCKED: &[u8] = b"tracer_blocked_value";

/// Bytes of the numbers and of the texts' lengths.
const HEAD: usize = 8 + 4 * TEXTS;

/// The numbers of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// HTTP status, 0 for none.
    pub status: u32,
    /// gRPC status.
    pub grpc: Option<u8>,
    /// Whether a synthetic test began the trace.
    pub synthetics: bool,
    /// Whether the span has no parent: 1 yes, 2 no, 0 unknown.
    pub root: u8,
}

impl Numbers {
    fn pack(self) -> u64 {
        let grpc = self.grpc.map_or(0, |status| u64::from(status) + 1);
        u64::from(self.status) | grpc << 32 | u64::from(self.synthetics) << 48 | u64::from(self.root) << 56
    }

    fn unpack(packed: u64) -> Self {
        let grpc = (packed >> 32) as u16;
        Self {
            status: packed as u32,
            grpc: grpc.checked_sub(1).map(|status| status as u8),
            synthetics: packed >> 48 & 1 == 1,
            root: (packed >> 56) as u8,
        }
    }
}

/// A key, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    head: [u8; HEAD],
    texts: [&'a [u8]; TEXTS],
}

impl<'a> Key<'a> {
    /// A key of `texts` and `numbers`.
    #[must_use]
    pub fn new(texts: [&'a [u8]; TEXTS], numbers: Numbers) -> Self {
        let mut head = [0; HEAD];
        let (first, lengths) = head.split_at_mut(8);
        first.copy_from_slice(&numbers.pack().to_le_bytes());
        for (length, text) in lengths.as_chunks_mut::<4>().0.iter_mut().zip(texts) {
            *length = (text.len() as u32).to_le_bytes();
        }
        Self { head, texts }
    }

    /// The key as [`Key::store`] wrote it. What is cut off is empty.
    #[must_use]
    pub fn load(stored: &'a [u8]) -> Self {
        let mut head = [0; HEAD];
        let (numbers, mut rest) = stored.split_at(stored.len().min(HEAD));
        head[..numbers.len()].copy_from_slice(numbers);
        let mut texts: [&[u8]; TEXTS] = [&[]; TEXTS];
        for (text, length) in texts.iter_mut().zip(head[8..].as_chunks::<4>().0) {
            let length = u32::from_le_bytes(*length) as usize;
            (*text, rest) = rest.split_at(length.min(rest.len()));
        }
        Self { head, texts }
    }

    /// Appends the key.
    pub fn store(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        for text in self.texts {
            out.extend_from_slice(text);
        }
    }

    /// How many bytes [`Key::store`] appends.
    #[must_use]
    pub fn stored_len(&self) -> usize {
        HEAD + self.texts.iter().map(|text| text.len()).sum::<usize>()
    }

    /// Whether this is the key that was stored as `stored`.
    #[must_use]
    pub fn is(&self, stored: &[u8]) -> bool {
        let Some((head, mut rest)) = stored.split_first_chunk::<HEAD>() else { return false };
        *head == self.head
            && self.texts.iter().all(|text| match rest.split_at_checked(text.len()) {
                Some((own, behind)) => {
                    rest = behind;
                    same(own, text)
                }
                None => false,
            })
    }

    /// A hash that nobody without `seed` can aim at.
    #[must_use]
    pub fn hash(&self, seed: u64) -> u64 {
        // The lengths are in the head, so that texts cannot lend each other bytes.
        let hash = absorb(seed, &self.head);
        self.texts.iter().fold(hash, |hash, text| absorb(hash, text))
    }

    /// The texts.
    #[must_use]
    pub fn texts(&self) -> [&'a [u8]; TEXTS] {
        self.texts
    }

    /// The numbers.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        Numbers::unpack(self.head.first_chunk().map_or(0, |packed| u64::from_le_bytes(*packed)))
    }

    /// The same without what has most values: resource, endpoint, peer tags.
    #[must_use]
    pub fn coarse(&self) -> Self {
        let mut texts = self.texts;
        texts[RESOURCE] = BLOCKED;
        texts[PEERS] = &[];
        if !texts[ENDPOINT].is_empty() {
            texts[ENDPOINT] = BLOCKED;
        }
        Self::new(texts, self.numbers())
    }

    /// The key of everything that has no group of its own.
    #[must_use]
    pub fn blocked() -> Self {
        let mut texts = [BLOCKED; TEXTS];
        texts[PEERS] = &[];
        Self::new(texts, Numbers::default())
    }
}

/// A large odd number without pattern (the fraction of the golden ratio).
pub(super) const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Both halves of a product: every bit of the result depends on every bit of the factors.
#[inline]
pub(super) fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Whether two strings are the same: without a call if they are short, as most are.
#[inline]
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match (a.first_chunk::<8>(), b.first_chunk::<8>(), a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a), Some(b), Some(c), Some(d)) if a != b || c != d => false,
        (Some(_), ..) if a.len() > 16 => a == b,
        (Some(_), ..) => true,
        _ => word(a) == word(b),
    }
}

/// Mixes `text` into `hash`, sixteen bytes at a time.
#[inline]
fn absorb(mut hash: u64, text: &[u8]) -> u64 {
    let (blocks, rest) = text.as_chunks::<16>();
    for block in blocks {
        hash = fold(word(&block[..8]) ^ MIX, word(&block[8..]) ^ hash);
    }
    if rest.is_empty() {
        return hash;
    }
    let (low, high) = rest.split_at(rest.len().min(8));
    fold(word(low) ^ MIX, word(high) ^ hash)
}

/// At most eight bytes as a number, two looks whatever their length; different for different bytes of one length.
#[inline]
pub(super) fn word(bytes: &[u8]) -> u64 {
    if let Some(all) = bytes.first_chunk() {
        return u64::from_le_bytes(*all);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last));
    }
    let byte = |at: usize| u64::from(bytes.get(at).copied().unwrap_or(0));
    byte(0) << 16 | byte(1) << 8 | byte(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORDS: [&[u8]; 8] = [b"", b"a", b"b", b"ab", b"shop", b"web.request", b"GET /users/{id}/orders", b"\0"];

    fn key(picks: &[usize], numbers: Numbers) -> Key<'static> {
        let mut texts = [&b""[..]; TEXTS];
        for (text, &pick) in texts.iter_mut().zip(picks) {
            *text = WORDS[pick % WORDS.len()];
        }
        Key::new(texts, numbers)
    }

    fn numbers() -> impl Strategy<Value = Numbers> {
        (any::<u32>(), any::<Option<u8>>(), any::<bool>(), 0..3_u8)
            .prop_map(|(status, grpc, synthetics, root)| Numbers { status, grpc, synthetics, root })
    }

    fn picks() -> impl Strategy<Value = Vec<usize>> {
        prop::collection::vec(0..WORDS.len(), TEXTS)
    }

    proptest! {
        #[test]
        fn keys_are_stored_found_and_told_apart(a in picks(), b in picks(), m in numbers(), n in numbers()) {
            let (first, second) = (key(&a, m), key(&b, n));
            let mut stored = Vec::new();
            first.store(&mut stored);
            prop_assert_eq!(stored.len(), first.stored_len());
            let loaded = Key::load(&stored);
            prop_assert_eq!((loaded.texts(), loaded.numbers()), (first.texts(), m));
            prop_assert!(first.is(&stored));
            let same = first.texts() == second.texts() && m == n;
            prop_assert_eq!(second.is(&stored), same);
            prop_assert_eq!(first.hash(7) == second.hash(7), same);
            prop_assert_eq!(loaded.hash(7), first.hash(7));
            prop_assert_ne!(first.hash(7), first.hash(8));
        }

        #[test]
        fn any_bytes_are_loaded(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let key = Key::load(&bytes);
            prop_assert!(key.texts().iter().map(|text| text.len()).sum::<usize>() <= bytes.len());
        }
    }

    #[test]
    fn strings_that_differ_in_one_byte() {
        for length in 0..40 {
            let text = vec![7; length];
            assert!(same(&text, &text.clone()) && !same(&text, &vec![7; length + 1]));
            for at in 0..length {
                let mut other = text.clone();
                other[at] = 8;
                assert!(!same(&text, &other), "{at} of {length}");
            }
        }
    }

    #[test]
    fn texts_do_not_lend_each_other_bytes() {
        let text = |a: &'static [u8], b: &'static [u8]| {
            let mut texts = [&b""[..]; TEXTS];
            (texts[0], texts[1]) = (a, b);
            Key::new(texts, Numbers::default())
        };
        let mut stored = Vec::new();
        text(b"ab", b"c").store(&mut stored);
        assert!(!text(b"a", b"bc").is(&stored));
        assert_ne!(text(b"ab", b"c").hash(1), text(b"a", b"bc").hash(1));
    }

    #[test]
    fn coarser_keys() {
        let fine = key(&[4, 5, 6, 3, 1, 1, 6, 1, 2], Numbers { status: 200, ..Numbers::default() });
        let coarse = fine.coarse();
        assert_eq!(coarse.texts(), [WORDS[4], WORDS[5], BLOCKED, WORDS[3], WORDS[1], WORDS[1], BLOCKED, WORDS[1], b""]);
        assert_eq!(coarse.numbers(), fine.numbers());
        assert_eq!(key(&[4], Numbers::default()).coarse().texts()[ENDPOINT], b"", "none stays none");
        assert_eq!(Key::blocked().texts()[..PEERS], [BLOCKED; PEERS]);
    }
}
