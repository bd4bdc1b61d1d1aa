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
#[inline]
pub fn entry(out: &mut Vec<u8>, field: u32, key: &[u8], value: &[u8]) {
    const SHORT: usize = 0x3f;
    if key.len() <= SHORT && value.len() <= SHORT && field < 16 {
        // Nearly all entries: every number fits into one byte.
        let (k, v) = (key.len() as u8, value.len() as u8);
        out.extend_from_slice(&[(field as u8) << 3 | 2, k + v + 4, 0x0a, k]);
        out.extend_from_slice(key);
        out.extend_from_slice(&[0x12, v]);
        out.extend_from_slice(value);
        return;
    }
    let (k, v) = (key.len() as u64, value.len() as u64);
    tag(out, field, 2);
    varint(out, 2 + varint_length(k) + k + varint_length(v) + v);
    out.push(0x0a);
    varint(out, k);
    out.extend_from_slice(key);
    out.push(0x12);
    varint(out, v);
    out.extend_from_slice(value);
}

/// Appends an entry of a `map<string, double>`.
#[inline]
pub fn entry_double(out: &mut Vec<u8>, field: u32, key: &[u8], value: f64) {
    let k = key.len() as u64;
    tag(out, field, 2);
    varint(out, 1 + varint_length(k) + k + 9);
    out.push(0x0a);
    varint(out, k);
    out.extend_from_slice(key);
    out.push(0x11);
    out.extend_from_slice(&value.to_le_bytes());
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
        for (value, expected) in [(0, &[0][..]), (127, &[127]), (128, &[0x80, 1]), (300, &[0xac, 2])] {
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
    fn map_entries_carry_their_length() {
        for (key, value) in [(0, 0), (1, 2), (63, 63), (63, 64), (64, 0), (127, 128), (128, 16_384), (300, 3_000_000)] {
            let (key, value) = (vec![b'k'; key], vec![b'v'; value]);
            let (mut quick, mut plain) = (Vec::new(), Vec::new());
            entry(&mut quick, 10, &key, &value);
            for (field, bytes) in [(1, &key), (2, &value)] {
                tag(&mut plain, field, 2);
                varint(&mut plain, bytes.len() as u64);
                plain.extend_from_slice(bytes);
            }
            let mut expected = Vec::new();
            bytes(&mut expected, 10, &plain);
            assert_eq!(quick, expected, "{} {}", key.len(), value.len());
        }
        let mut out = Vec::new();
        entry_double(&mut out, 11, b"a", 1.0);
        assert_eq!(out, [0x5a, 12, 0x0a, 1, b'a', 0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
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
