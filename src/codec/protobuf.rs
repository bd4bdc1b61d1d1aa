//! A protobuf writer on a `Vec<u8>`: varints, tags, strings, packed fields, and nested messages whose length is put in
//! afterwards. Pure; used by the metric and trace encoders.

/// Appends a base-128 varint.
pub fn varint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push((v as u8) | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

/// Maps signed to unsigned so that small magnitudes stay small (`sint32`, `sint64`).
#[must_use]
pub fn zigzag(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)) as u64
}

/// Appends a field's tag: `field` number with `wire` type (0 varint, 1 fixed64, 2 length-delimited, 5 fixed32).
pub fn tag(out: &mut Vec<u8>, field: u32, wire: u8) {
    varint(out, u64::from(field) << 3 | u64::from(wire));
}

/// Appends a varint field; zero is the default and is left out.
pub fn uint(out: &mut Vec<u8>, field: u32, v: u64) {
    if v != 0 {
        tag(out, field, 0);
        varint(out, v);
    }
}

/// Appends an `int32`/`int64` field (negative values take ten bytes); zero is left out.
pub fn int(out: &mut Vec<u8>, field: u32, v: i64) {
    uint(out, field, v as u64);
}

/// Appends a `double` field; positive zero is the default and is left out.
pub fn double(out: &mut Vec<u8>, field: u32, v: f64) {
    if v.to_bits() != 0 {
        tag(out, field, 1);
        out.extend_from_slice(&v.to_le_bytes());
    }
}

/// Appends a `string` or `bytes` field; an empty one is left out.
pub fn bytes(out: &mut Vec<u8>, field: u32, v: &[u8]) {
    if !v.is_empty() {
        tag(out, field, 2);
        varint(out, v.len() as u64);
        out.extend_from_slice(v);
    }
}

/// Appends an entry of a `map<string, string>` or `map<string, bytes>`; an empty key or value is written as it is.
pub fn entry(out: &mut Vec<u8>, field: u32, key: &[u8], value: &[u8]) {
    let (k, v) = (key.len() as u64, value.len() as u64);
    tag(out, field, 2);
    varint(out, 2 + varint_length(k) + k + varint_length(v) + v);
    bytes_or_empty(out, 1, key);
    bytes_or_empty(out, 2, value);
}

fn bytes_or_empty(out: &mut Vec<u8>, field: u32, v: &[u8]) {
    tag(out, field, 2);
    varint(out, v.len() as u64);
    out.extend_from_slice(v);
}

/// A string, and what follows it in its buffer: where enough follows, a copy of fixed length replaces the call that a
/// copy of unknown length is, and which is most of the time of a short copy.
#[derive(Clone, Copy, Debug)]
pub struct Slack<'a> {
    tail: &'a [u8],
    length: usize,
}

/// Length of the fixed copies, and so what is a short string: the most that is copied without a call when the code is
/// optimised for size.
const SHORT: usize = 64;

/// The longest entry of two short strings, or one and a double, with what the fixed copies write behind it.
const ROOM: usize = 4 + SHORT + 2 + SHORT;

impl<'a> Slack<'a> {
    /// The first `length` bytes of `tail`; all of it if it is shorter.
    #[must_use]
    #[inline(always)]
    pub fn new(tail: &'a [u8], length: usize) -> Self {
        Self { tail, length: length.min(tail.len()) }
    }

    /// All of `bytes`.
    #[must_use]
    pub fn whole(bytes: &'a [u8]) -> Self {
        Self { tail: bytes, length: bytes.len() }
    }

    /// The string alone.
    #[must_use]
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        // In range by construction.
        self.tail.get(..self.length).unwrap_or_default()
    }

    #[inline]
    fn short(self) -> Option<&'a [u8; SHORT]> {
        if self.length <= SHORT { self.tail.first_chunk() } else { None }
    }
}

/// A buffer for many short fields: it is kept longer than its content, so that each field needs one look at its length
/// instead of one for each part. Field numbers are below 16.
#[derive(Debug, Default)]
pub struct Buffer {
    /// The content, and behind it what fixed copies left.
    bytes: Vec<u8>,
    at: usize,
}

impl Buffer {
    /// The content.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        // In range by construction.
        self.bytes.get(..self.at).unwrap_or_default()
    }

    /// The length of the content.
    #[must_use]
    pub fn len(&self) -> usize {
        self.at
    }

    /// Whether there is no content.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// Cuts the content to `length`.
    pub fn truncate(&mut self, length: usize) {
        self.at = self.at.min(length);
    }

    /// Forgets the content and gives memory back, down to `keep` bytes.
    pub fn rest(&mut self, keep: usize) {
        self.at = 0;
        self.bytes.truncate(keep);
        self.bytes.shrink_to(keep);
    }

    /// As [`open`].
    pub fn open(&mut self, field: u32) -> usize {
        self.encoded(&[(field as u8) << 3 | 2, 0, 0, 0, 0]);
        self.at
    }

    /// As [`close`].
    pub fn close(&mut self, mark: usize) {
        if let Some(content) = self.bytes.get_mut(..self.at) {
            close(content, mark);
        }
    }

    /// Room for a field, with what is in the buffer behind the content.
    #[inline]
    fn room(&mut self) -> Option<&mut [u8; ROOM]> {
        if self.bytes.len() - self.at < ROOM {
            self.grow(ROOM);
        }
        self.bytes.get_mut(self.at..)?.first_chunk_mut()
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, room: usize) {
        /// Grown by this much more than needed, so that nearly no field has to.
        const STEP: usize = 16 << 10;
        self.bytes.resize(self.at + room + STEP, 0);
    }

    /// As [`entry`].
    #[inline(always)] // for every tag of every span; optimised for size it would be a call
    pub fn entry(&mut self, field: u32, key: Slack<'_>, value: Slack<'_>) {
        let (k, v) = (key.length, value.length);
        if let (Some(key), Some(value)) = (key.short(), value.short())
            && k + v < 0x80 - 4
            && let Some(room) = self.room()
        {
            room[..4].copy_from_slice(&[(field as u8) << 3 | 2, (k + v) as u8 + 4, 0x0a, k as u8]);
            room[4..4 + SHORT].copy_from_slice(key);
            room[4 + k..6 + k].copy_from_slice(&[0x12, v as u8]);
            room[6 + k..6 + k + SHORT].copy_from_slice(value);
            self.at += 6 + k + v;
        } else {
            self.long_entry(field, key.bytes(), value.bytes());
        }
    }

    #[cold]
    #[inline(never)]
    fn long_entry(&mut self, field: u32, key: &[u8], value: &[u8]) {
        let (k, v) = (key.len() as u64, value.len() as u64);
        self.number(field, 2, 2 + varint_length(k) + k + varint_length(v) + v);
        self.string(1, key);
        self.string(2, value);
    }

    /// An entry of a `map<string, double>`.
    #[inline]
    pub fn entry_double(&mut self, field: u32, key: Slack<'_>, value: f64) {
        let k = key.length;
        if let Some(key) = key.short()
            && let Some(room) = self.room()
        {
            room[..4].copy_from_slice(&[(field as u8) << 3 | 2, k as u8 + 11, 0x0a, k as u8]);
            room[4..4 + SHORT].copy_from_slice(key);
            room[4 + k] = 0x11;
            room[5 + k..13 + k].copy_from_slice(&value.to_le_bytes());
            self.at += 13 + k;
        } else {
            self.number(field, 2, 1 + varint_length(k as u64) + k as u64 + 9);
            self.string(1, key.bytes());
            self.encoded(&[0x11]);
            self.encoded(&value.to_le_bytes());
        }
    }

    /// As [`bytes`].
    #[inline]
    pub fn bytes(&mut self, field: u32, value: Slack<'_>) {
        let length = value.length;
        if length == 0 {
            return;
        }
        if let Some(value) = value.short()
            && let Some(room) = self.room()
        {
            room[..2].copy_from_slice(&[(field as u8) << 3 | 2, length as u8]);
            room[2..2 + SHORT].copy_from_slice(value);
            self.at += 2 + length;
        } else {
            self.string(field, value.bytes());
        }
    }

    /// As [`uint`].
    #[inline]
    pub fn uint(&mut self, field: u32, v: u64) {
        if v != 0 {
            self.number(field, 0, v);
        }
    }

    /// A field's tag and a varint.
    fn number(&mut self, field: u32, wire: u8, mut v: u64) {
        let Some(room) = self.room() else { return };
        room[0] = (field as u8) << 3 | wire;
        let mut length = 1;
        for byte in &mut room[1..11] {
            length += 1;
            *byte = v as u8 | 0x80;
            v >>= 7;
            if v == 0 {
                *byte &= 0x7f;
                break;
            }
        }
        self.at += length;
    }

    /// A string or bytes, also if empty.
    fn string(&mut self, field: u32, value: &[u8]) {
        self.number(field, 2, value.len() as u64);
        self.encoded(value);
    }

    /// Fields that are encoded already.
    pub fn encoded(&mut self, fields: &[u8]) {
        if self.bytes.len() - self.at < fields.len() {
            self.grow(fields.len());
        }
        if let Some(room) = self.bytes.get_mut(self.at..self.at + fields.len()) {
            let ((from, from_rest), (to, to_rest)) = (fields.as_chunks::<SHORT>(), room.as_chunks_mut::<SHORT>());
            for (to, from) in to.iter_mut().zip(from) {
                *to = *from;
            }
            to_rest.copy_from_slice(from_rest);
            self.at += fields.len();
        }
    }
}

/// How many bytes [`varint`] needs for `v`.
#[must_use]
pub fn varint_length(v: u64) -> u64 {
    u64::from((64 - (v | 1).leading_zeros()).div_ceil(7))
}

/// How many bytes [`open`] reserves for the length of a nested message: a padded varint of up to 2^28 - 1.
pub const LENGTH_BYTES: usize = 4;

/// Starts a length-delimited field and returns the mark that [`close`] needs.
pub fn open(out: &mut Vec<u8>, field: u32) -> usize {
    tag(out, field, 2);
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    out.len()
}

/// Ends the field that [`open`] started: writes its length as a padded varint, which every decoder reads.
pub fn close(out: &mut [u8], mark: usize) {
    let length = out.len() - mark;
    debug_assert!(length < 1 << 28, "a nested message is bounded by the body limit");
    for (i, byte) in out[mark - LENGTH_BYTES..mark].iter_mut().enumerate() {
        let more = if i + 1 < LENGTH_BYTES { 0x80 } else { 0 };
        *byte = (length >> (7 * i)) as u8 & 0x7f | more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_and_zigzag() {
        for (value, expected) in [
            (0, &[0][..]),
            (127, &[127]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (u64::MAX, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ] {
            let mut out = Vec::new();
            varint(&mut out, value);
            assert_eq!(out, expected, "{value}");
        }
        for (value, expected) in [(0, 0), (-1, 1), (1, 2), (-2, 3), (i64::MIN, u64::MAX)] {
            assert_eq!(zigzag(value), expected, "{value}");
        }
    }

    #[test]
    fn lengths_of_varints() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                varint(&mut out, value);
                assert_eq!(varint_length(value), out.len() as u64, "{value}");
            }
        }
    }

    #[test]
    fn fields_are_the_same_with_and_without_haste() {
        for (k, v) in
            [(0, 0), (1, 2), (63, 61), (63, 60), (64, 0), (0, 64), (64, 64), (0, 65), (127, 128), (300, 3_000_000)]
        {
            let (key, value) = (vec![b'k'; k], vec![b'v'; v]);
            let mut inside = Vec::new();
            for (field, string) in [(1, &key), (2, &value)] {
                tag(&mut inside, field, 2);
                varint(&mut inside, string.len() as u64);
                inside.extend_from_slice(string);
            }
            let mut expected = b"before".to_vec();
            bytes(&mut expected, 10, &inside);
            bytes(&mut expected, 3, &key);
            inside.truncate(inside.len() - v - 1 - varint_length(v as u64) as usize);
            inside.extend_from_slice(&[0x11, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f]);
            bytes(&mut expected, 11, &inside);
            uint(&mut expected, 4, v as u64);
            uint(&mut expected, 5, u64::MAX - k as u64);
            expected.extend_from_slice(b"after");

            // With nothing behind the strings, and with something.
            for behind in [0, 64] {
                let (key, value) = ([&*key, &vec![b'!'; behind]].concat(), [&*value, &vec![b'!'; behind]].concat());
                let (key, value) = (Slack::new(&key, k), Slack::new(&value, v));
                let mut fields = Buffer::default();
                fields.encoded(b"before");
                fields.entry(10, key, value);
                fields.bytes(3, key);
                fields.entry_double(11, key, 1.5);
                fields.uint(4, v as u64);
                fields.uint(5, u64::MAX - k as u64);
                fields.encoded(b"after");
                assert_eq!(fields.content(), expected, "{k} {v} {behind}");
            }
        }
    }

    #[test]
    fn a_nested_message_carries_its_length() {
        let mut out = Vec::new();
        let mark = open(&mut out, 3);
        bytes(&mut out, 1, b"abc");
        close(&mut out, mark);
        assert_eq!(out, [0x1a, 0x85, 0x80, 0x80, 0, 0x0a, 3, b'a', b'b', b'c']);
    }
}
