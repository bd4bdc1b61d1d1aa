//! A msgpack reader over a borrowed slice, for the span path: no allocation, no recursion, no trust in declared lengths.
//!
//! Every method leaves the position where it was when it fails, so [`Reader::at`] is the offset of the offending value.
//! Pure. Own code instead of `rmp` because this is the hot path of the trace agent: three times as fast.

use super::DecodeError;

/// What was wrong with a value. One byte, so that results travel in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The payload ends inside a value.
    Truncated,
    /// A string was expected.
    NotText,
    /// A number was expected.
    NotNumber,
    /// An array was expected.
    NotArray,
    /// A map was expected.
    NotMap,
    /// A boolean was expected.
    NotBool,
    /// `0xc1`, which msgpack never uses.
    Reserved,
    /// A v0.5 string index that the table does not have.
    NoSuchString,
    /// A v0.5 payload that is not an array of a table and traces.
    NotAPair,
    /// A v0.5 span that has not exactly twelve elements.
    NotTwelve,
    /// A v0.5 table with more strings than this agent takes.
    TooManyStrings,
    /// Bytes after the payload's end.
    Trailing,
    /// More than a span may have; never leaves the decoder.
    SpanTooLong,
    /// A payload of 2 GiB or more, which no receiver lets through.
    TooLong,
}

impl Fault {
    /// The reason in words.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Truncated => "the payload ends inside a value",
            Self::NotText => "expected a string",
            Self::NotNumber => "expected a number",
            Self::NotArray => "expected an array",
            Self::NotMap => "expected a map",
            Self::NotBool => "expected a boolean",
            Self::Reserved => "0xc1 is not msgpack",
            Self::NoSuchString => "no string with this index in the table",
            Self::NotAPair => "expected an array of a string table and traces",
            Self::NotTwelve => "expected a span as an array of 12 elements",
            Self::TooManyStrings => "too many strings in the table",
            Self::Trailing => "bytes after the end of the payload",
            Self::SpanTooLong => "the span is too long",
            Self::TooLong => "the payload is too long",
        }
    }

    /// With the place it happened at.
    #[must_use]
    pub fn at(self, offset: usize) -> DecodeError {
        DecodeError { reason: self.reason(), offset }
    }
}

/// A number of any width and kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Zero or more.
    Unsigned(u64),
    /// Less than zero.
    Signed(i64),
    /// A float of either width.
    Float(f64),
}

impl Number {
    /// As an identifier: a negative integer keeps its bits, because tracers in languages without unsigned integers send
    /// those; a float is cut.
    #[must_use]
    pub fn bits(self) -> u64 {
        match self {
            Self::Unsigned(v) => v,
            Self::Signed(v) => v as u64,
            Self::Float(v) => v as u64,
        }
    }

    /// As a signed integer, at its limits where it does not fit.
    #[must_use]
    pub fn int(self) -> i64 {
        match self {
            Self::Unsigned(v) => i64::try_from(v).unwrap_or(i64::MAX),
            Self::Signed(v) => v,
            Self::Float(v) => v as i64,
        }
    }

    /// As a 32-bit integer, at its limits where it does not fit.
    #[must_use]
    pub fn int32(self) -> i32 {
        self.int().clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
    }

    /// As a float.
    #[must_use]
    pub fn float(self) -> f64 {
        match self {
            Self::Unsigned(v) => v as f64,
            Self::Signed(v) => v as f64,
            Self::Float(v) => v,
        }
    }
}

/// A position in a payload.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from `at` on; past the end everything is [`Fault::Truncated`].
    #[must_use]
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// The offset of the next value, or of the one that failed.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The whole payload.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether everything was read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// `fault` at the present position.
    #[must_use]
    pub fn fault(&self, fault: Fault) -> DecodeError {
        fault.at(self.at)
    }

    // `peek`, `take` and `text` run for every string of a span; optimised for size they would be calls.
    #[inline(always)]
    fn peek(&self) -> Result<u8, Fault> {
        self.bytes.get(self.at).copied().ok_or(Fault::Truncated)
    }

    /// The `N` bytes after the marker.
    #[inline]
    fn operand<const N: usize>(&self) -> Result<[u8; N], Fault> {
        let start = self.at + 1;
        self.bytes.get(start..start + N).and_then(|b| b.try_into().ok()).ok_or(Fault::Truncated)
    }

    #[inline]
    fn operand8(&self) -> Result<usize, Fault> {
        self.operand::<1>().map(|b| usize::from(b[0]))
    }

    #[inline]
    fn operand16(&self) -> Result<usize, Fault> {
        self.operand().map(|b| usize::from(u16::from_be_bytes(b)))
    }

    #[inline]
    fn operand32(&self) -> Result<usize, Fault> {
        self.operand().map(|b| u32::from_be_bytes(b) as usize)
    }

    /// The `length` bytes behind a header of `header` bytes, and the position behind them.
    #[inline(always)]
    fn take(&mut self, header: usize, length: usize) -> Result<&'a [u8], Fault> {
        let start = self.at + header;
        // `length` is below 2^32 and `start` below the length of a slice: no overflow on 64 bits.
        let bytes = self.bytes.get(start..start + length).ok_or(Fault::Truncated)?;
        self.at = start + length;
        Ok(bytes)
    }

    /// Skips a nil, if there is one.
    #[inline]
    pub fn nil(&mut self) -> bool {
        if self.bytes.get(self.at) != Some(&0xc0) {
            return false;
        }
        self.at += 1;
        true
    }

    /// A `str` or `bin` of any width, as bytes.
    ///
    /// # Errors
    /// [`Fault::NotText`] or [`Fault::Truncated`].
    #[inline(always)]
    pub fn text(&mut self) -> Result<&'a [u8], Fault> {
        let (header, length) = match self.peek()? {
            m @ 0xa0..=0xbf => (1, usize::from(m & 0x1f)),
            0xd9 | 0xc4 => (2, self.operand8()?),
            0xda | 0xc5 => (3, self.operand16()?),
            0xdb | 0xc6 => (5, self.operand32()?),
            _ => return Err(Fault::NotText),
        };
        self.take(header, length)
    }

    /// The number of elements of an array; nil is an empty one.
    ///
    /// # Errors
    /// [`Fault::NotArray`] or [`Fault::Truncated`].
    #[inline]
    pub fn array(&mut self) -> Result<u32, Fault> {
        let (header, count) = match self.peek()? {
            m @ 0x90..=0x9f => (1, usize::from(m & 0x0f)),
            0xdc => (3, self.operand16()?),
            0xdd => (5, self.operand32()?),
            0xc0 => (1, 0),
            _ => return Err(Fault::NotArray),
        };
        self.at += header;
        Ok(count as u32)
    }

    /// The header of an array of exactly `count` elements.
    ///
    /// # Errors
    /// `fault` if there is another number of them, [`Fault::NotArray`] or [`Fault::Truncated`].
    pub fn array_of(&mut self, count: u32, fault: Fault) -> Result<(), Fault> {
        let start = self.at;
        if self.array()? == count {
            return Ok(());
        }
        self.at = start;
        Err(fault)
    }

    /// The number of pairs of a map; nil is an empty one.
    ///
    /// # Errors
    /// [`Fault::NotMap`] or [`Fault::Truncated`].
    #[inline]
    pub fn map(&mut self) -> Result<u32, Fault> {
        let (header, count) = match self.peek()? {
            m @ 0x80..=0x8f => (1, usize::from(m & 0x0f)),
            0xde => (3, self.operand16()?),
            0xdf => (5, self.operand32()?),
            0xc0 => (1, 0),
            _ => return Err(Fault::NotMap),
        };
        self.at += header;
        Ok(count as u32)
    }

    /// A number of any width and kind; nil is zero.
    ///
    /// # Errors
    /// [`Fault::NotNumber`] or [`Fault::Truncated`].
    #[inline]
    pub fn number(&mut self) -> Result<Number, Fault> {
        let signed = |v: i64| if v < 0 { Number::Signed(v) } else { Number::Unsigned(v as u64) };
        let (length, number) = match self.peek()? {
            m @ 0x00..=0x7f => (1, Number::Unsigned(u64::from(m))),
            0xcf => (9, Number::Unsigned(u64::from_be_bytes(self.operand()?))),
            0xcb => (9, Number::Float(f64::from_be_bytes(self.operand()?))),
            0xcc => (2, Number::Unsigned(u64::from(u8::from_be_bytes(self.operand()?)))),
            0xcd => (3, Number::Unsigned(u64::from(u16::from_be_bytes(self.operand()?)))),
            0xce => (5, Number::Unsigned(u64::from(u32::from_be_bytes(self.operand()?)))),
            m @ 0xe0..=0xff => (1, Number::Signed(i64::from(m as i8))),
            0xd0 => (2, signed(i64::from(i8::from_be_bytes(self.operand()?)))),
            0xd1 => (3, signed(i64::from(i16::from_be_bytes(self.operand()?)))),
            0xd2 => (5, signed(i64::from(i32::from_be_bytes(self.operand()?)))),
            0xd3 => (9, signed(i64::from_be_bytes(self.operand()?))),
            0xca => (5, Number::Float(f64::from(f32::from_be_bytes(self.operand()?)))),
            0xc0 => (1, Number::Unsigned(0)),
            _ => return Err(Fault::NotNumber),
        };
        self.at += length;
        Ok(number)
    }

    /// A number as [`Number::bits`]; quick for the unsigned ones.
    ///
    /// # Errors
    /// As [`Reader::number`].
    #[inline]
    pub fn unsigned(&mut self) -> Result<u64, Fault> {
        let (length, number) = match self.peek()? {
            m @ 0x00..=0x7f => (1, u64::from(m)),
            0xcc => (2, u64::from(u8::from_be_bytes(self.operand()?))),
            0xcd => (3, u64::from(u16::from_be_bytes(self.operand()?))),
            0xce => (5, u64::from(u32::from_be_bytes(self.operand()?))),
            0xcf => (9, u64::from_be_bytes(self.operand()?)),
            _ => return self.number().map(Number::bits),
        };
        self.at += length;
        Ok(number)
    }

    /// A boolean; nil is false.
    ///
    /// # Errors
    /// [`Fault::NotBool`] or [`Fault::Truncated`].
    pub fn bool(&mut self) -> Result<bool, Fault> {
        let value = match self.peek()? {
            0xc0 | 0xc2 => false,
            0xc3 => true,
            _ => return Err(Fault::NotBool),
        };
        self.at += 1;
        Ok(value)
    }

    /// Whether the next value is an array.
    #[must_use]
    pub fn sees_array(&self) -> bool {
        matches!(self.peek(), Ok(0x90..=0x9f | 0xdc | 0xdd))
    }

    /// Skips one value with all that is in it, in one loop however deep it nests.
    ///
    /// # Errors
    /// [`Fault::Truncated`] or [`Fault::Reserved`].
    pub fn skip(&mut self) -> Result<(), Fault> {
        let start = self.at;
        self.skip_values().inspect_err(|_| self.at = start)
    }

    fn skip_values(&mut self) -> Result<(), Fault> {
        // Each value takes at least a byte, so the loop ends with the payload whatever the headers declare.
        let mut left: u64 = 1;
        while left > 0 {
            left -= 1;
            let (header, length) = match self.peek()? {
                0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (1, 0),
                m @ 0xa0..=0xbf => (1, usize::from(m & 0x1f)),
                0xcc | 0xd0 => (2, 0),
                0xcd | 0xd1 => (3, 0),
                0xca | 0xce | 0xd2 => (5, 0),
                0xcb | 0xcf | 0xd3 => (9, 0),
                0xd9 | 0xc4 => (2, self.operand8()?),
                0xda | 0xc5 => (3, self.operand16()?),
                0xdb | 0xc6 => (5, self.operand32()?),
                m @ 0xd4..=0xd8 => (2, 1 << (m - 0xd4)),
                0xc7 => (3, self.operand8()?),
                0xc8 => (4, self.operand16()?),
                0xc9 => (6, self.operand32()?),
                0x90..=0x9f | 0xdc | 0xdd => {
                    left += u64::from(self.array()?);
                    continue;
                }
                0x80..=0x8f | 0xde | 0xdf => {
                    left += 2 * u64::from(self.map()?);
                    continue;
                }
                0xc1 => return Err(Fault::Reserved),
            };
            self.take(header, length)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_of_every_width() {
        let check = |bytes: &[u8], expected| {
            let mut reader = Reader::new(bytes, 0);
            assert_eq!(reader.number(), Ok(expected), "{bytes:x?}");
            assert_eq!(Reader::new(bytes, 0).unsigned(), Ok(expected.bits()), "{bytes:x?}");
            assert!(reader.is_done(), "{bytes:x?}");
            for cut in 0..bytes.len() {
                assert_eq!(Reader::new(&bytes[..cut], 0).number(), Err(Fault::Truncated), "{bytes:x?} cut at {cut}");
            }
        };
        check(&[0x00], Number::Unsigned(0));
        check(&[0x7f], Number::Unsigned(127));
        check(&[0xff], Number::Signed(-1));
        check(&[0xe0], Number::Signed(-32));
        check(&[0xcc, 200], Number::Unsigned(200));
        check(&[0xcd, 1, 0], Number::Unsigned(256));
        check(&[0xce, 1, 0, 0, 0], Number::Unsigned(1 << 24));
        check(&[0xcf, 255, 255, 255, 255, 255, 255, 255, 255], Number::Unsigned(u64::MAX));
        check(&[0xd0, 0x80], Number::Signed(-128));
        check(&[0xd0, 5], Number::Unsigned(5));
        check(&[0xd1, 0xff, 0], Number::Signed(-256));
        check(&[0xd2, 0x80, 0, 0, 0], Number::Signed(i64::from(i32::MIN)));
        check(&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], Number::Signed(i64::MIN));
        check(&[0xca, 0x3f, 0xc0, 0, 0], Number::Float(1.5));
        check(&[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], Number::Float(1.5));
        check(&[0xc0], Number::Unsigned(0));
        for bytes in [&[0xc2][..], &[0xa1, b'1'], &[0x90], &[0x80], &[0xc1]] {
            assert_eq!(Reader::new(bytes, 0).number(), Err(Fault::NotNumber), "{bytes:x?}");
        }
    }

    #[test]
    fn numbers_as_what_a_field_needs() {
        for (number, bits, int, int32, float) in [
            (Number::Unsigned(7), 7, 7, 7, 7.0),
            (Number::Unsigned(u64::MAX), u64::MAX, i64::MAX, i32::MAX, u64::MAX as f64),
            (Number::Signed(-1), u64::MAX, -1, -1, -1.0),
            (Number::Signed(i64::MIN), 1 << 63, i64::MIN, i32::MIN, i64::MIN as f64),
            (Number::Float(2.9), 2, 2, 2, 2.9),
            (Number::Float(-2.9), 0, -2, -2, -2.9),
            (Number::Float(f64::INFINITY), u64::MAX, i64::MAX, i32::MAX, f64::INFINITY),
        ] {
            let got = (number.bits(), number.int(), number.int32(), number.float());
            assert_eq!(got, (bits, int, int32, float), "{number:?}");
        }
        assert_eq!(Number::Float(f64::NAN).int(), 0);
    }

    #[test]
    fn strings_of_every_header() {
        for header in [
            &[0xa2][..],
            &[0xd9, 2],
            &[0xda, 0, 2],
            &[0xdb, 0, 0, 0, 2],
            &[0xc4, 2],
            &[0xc5, 0, 2],
            &[0xc6, 0, 0, 0, 2],
        ] {
            let mut bytes = header.to_vec();
            bytes.extend_from_slice(b"ab");
            let mut reader = Reader::new(&bytes, 0);
            assert_eq!(reader.text(), Ok(&b"ab"[..]), "{header:x?}");
            assert!(reader.is_done());
            for cut in 0..bytes.len() {
                let mut reader = Reader::new(&bytes[..cut], 0);
                assert_eq!(reader.text(), Err(Fault::Truncated), "{header:x?} cut at {cut}");
                assert_eq!(reader.at(), 0);
            }
        }
        assert_eq!(Reader::new(&[0xdb, 255, 255, 255, 255], 0).text(), Err(Fault::Truncated));
        assert_eq!(Reader::new(&[0xc0], 0).text(), Err(Fault::NotText));
    }

    #[test]
    fn containers() {
        for (bytes, array, map) in [
            (&[0x92][..], Ok(2), Err(Fault::NotMap)),
            (&[0xdc, 1, 0], Ok(256), Err(Fault::NotMap)),
            (&[0xdd, 255, 255, 255, 255], Ok(u32::MAX), Err(Fault::NotMap)),
            (&[0x83], Err(Fault::NotArray), Ok(3)),
            (&[0xde, 0, 9], Err(Fault::NotArray), Ok(9)),
            (&[0xdf, 0, 1, 0, 0], Err(Fault::NotArray), Ok(65536)),
            (&[0xc0], Ok(0), Ok(0)),
            (&[0xdd, 0], Err(Fault::Truncated), Err(Fault::NotMap)),
        ] {
            assert_eq!(Reader::new(bytes, 0).array(), array, "{bytes:x?}");
            assert_eq!(Reader::new(bytes, 0).map(), map, "{bytes:x?}");
        }
    }

    #[test]
    fn skipping_needs_no_stack_and_trusts_no_length() {
        let mut deep = vec![0x91; 1 << 20];
        deep.push(0xc0);
        let mut reader = Reader::new(&deep, 0);
        assert_eq!(reader.skip(), Ok(()));
        assert!(reader.is_done());
        let hostile: Vec<u8> = [0xdd, 255, 255, 255, 255].repeat(1000);
        let mut reader = Reader::new(&hostile, 0);
        assert_eq!(reader.skip(), Err(Fault::Truncated));
        assert_eq!(reader.at(), 0);
        assert_eq!(Reader::new(&[0xc1], 0).skip(), Err(Fault::Reserved));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes, 0);
            while !reader.is_done() {
                let before = reader.at();
                let _ = Reader::new(&bytes, before).text();
                let _ = Reader::new(&bytes, before).number();
                if reader.skip().is_err() {
                    prop_assert_eq!(reader.at(), before);
                    break;
                }
                prop_assert!(reader.at() > before);
            }
        }
    }
}
