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
    fn a_nested_message_carries_its_length() {
        let mut out = Vec::new();
        let mark = open(&mut out, 3);
        bytes(&mut out, 1, b"abc");
        close(&mut out, mark);
        assert_eq!(out, [0x1a, 0x85, 0x80, 0x80, 0, 0x0a, 3, b'a', b'b', b'c']);
    }
}
