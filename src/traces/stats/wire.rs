//! Writes msgpack: what the messages of stats need. Pure.

/// A map of `count` entries.
pub fn map(out: &mut Vec<u8>, count: u16) {
    out.push(0xde);
    out.extend_from_slice(&count.to_be_bytes());
}

/// An array whose length is not known yet; [`close`] takes what this returns.
pub fn open(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0xdd, 0, 0, 0, 0]);
    out.len()
}

/// Writes the length of the array that [`open`] began.
pub fn close(out: &mut [u8], mark: usize, count: u32) {
    if let Some(length) = mark.checked_sub(4).and_then(|start| out.get_mut(start..mark)) {
        length.copy_from_slice(&count.to_be_bytes());
    }
}

/// A string.
pub fn text(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        length @ 0..=31 => out.push(0xa0 | length as u8),
        length => wide(out, [0xd9, 0xda, 0xdb], length),
    }
    out.extend_from_slice(text);
}

/// Bytes.
pub fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    wide(out, [0xc4, 0xc5, 0xc6], bytes.len());
    out.extend_from_slice(bytes);
}

/// The header of a value of `length` bytes, in the least of three widths.
fn wide(out: &mut Vec<u8>, markers: [u8; 3], length: usize) {
    let bytes = (length as u32).to_be_bytes();
    let (marker, from) = match length {
        0..=0xff => (markers[0], 3),
        0x100..=0xffff => (markers[1], 2),
        _ => (markers[2], 0),
    };
    out.push(marker);
    out.extend_from_slice(&bytes[from..]);
}

/// A number.
pub fn number(out: &mut Vec<u8>, number: u64) {
    let bytes = number.to_be_bytes();
    let (marker, from) = match number {
        0..=0x7f => return out.push(number as u8),
        0x80..=0xff => (0xcc, 7),
        0x100..=0xffff => (0xcd, 6),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        _ => (0xcf, 0),
    };
    out.push(marker);
    out.extend_from_slice(&bytes[from..]);
}

/// A number that may be negative.
pub fn signed(out: &mut Vec<u8>, value: i64) {
    match u64::try_from(value) {
        Ok(value) => number(out, value),
        Err(_) => {
            out.push(0xd3);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

/// A boolean.
pub fn boolean(out: &mut Vec<u8>, value: bool) {
    out.push(0xc2 | u8::from(value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmp::decode as mp;

    #[test]
    fn numbers() {
        let edges = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, i64::MAX as u64];
        for value in edges.into_iter().chain([u64::MAX]) {
            let mut out = Vec::new();
            number(&mut out, value);
            assert_eq!(mp::read_int::<u64, _>(&mut out.as_slice()).unwrap(), value);
        }
        for value in edges.into_iter().map(|value| value as i64).flat_map(|value| [value, -value]).chain([i64::MIN]) {
            let mut out = Vec::new();
            signed(&mut out, value);
            assert_eq!(mp::read_int::<i64, _>(&mut out.as_slice()).unwrap(), value);
        }
    }

    #[test]
    fn strings_and_containers() {
        for length in [0, 1, 31, 32, 255, 256, 65535, 65536] {
            let mut out = Vec::new();
            text(&mut out, &vec![b'x'; length]);
            assert_eq!(mp::read_str_len(&mut out.as_slice()).unwrap() as usize, length);
            let mut out = Vec::new();
            binary(&mut out, &vec![1; length]);
            let mut rest = out.as_slice();
            assert_eq!((mp::read_bin_len(&mut rest).unwrap() as usize, rest.len()), (length, length));
        }
        let mut out = Vec::new();
        let mark = open(&mut out);
        boolean(&mut out, true);
        boolean(&mut out, false);
        close(&mut out, mark, 2);
        map(&mut out, 3);
        let mut rest = out.as_slice();
        assert_eq!(mp::read_array_len(&mut rest).unwrap(), 2);
        assert!(mp::read_bool(&mut rest).unwrap() && !mp::read_bool(&mut rest).unwrap());
        assert_eq!(mp::read_map_len(&mut rest).unwrap(), 3);
    }
}
