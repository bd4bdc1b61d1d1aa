//! Trace payloads in JSON, as msgpack: one element of the outermost array after the other, in one reused buffer, so that
//! what reads msgpack reads JSON too (spec: traces 4.1).
//!
//! Knows nothing of spans but that the values of `meta_struct` are bytes, which Go writes in base64. A fault that is found
//! in the msgpack is told at its place in the JSON: rare, so that place is found by transcoding once more. Pure.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::DecodeError;

/// The longest element, in bytes of msgpack. No JSON that a receiver lets through is much more than twice as long as
/// msgpack.
pub const MAX_ELEMENT: usize = 50 << 20;

const TOO_LONG: &str = "the payload is too long";
const NOT_BASE64: &str = "expected bytes in base64";

/// Takes an element as msgpack; its errors tell the offset in that.
pub type Take<'t> = &'t mut dyn FnMut(&[u8]) -> Result<(), DecodeError>;

/// Hands each element of the array `json` to `take`, by way of `buffer`. `null` is an empty array.
///
/// # Errors
/// What is wrong with the JSON or, by `take`, with an element, and where in the JSON. Elements before that were taken.
pub fn elements(json: &[u8], buffer: &mut Vec<u8>, take: Take<'_>) -> Result<(), DecodeError> {
    let mut out = Out { bytes: std::mem::take(buffer), stop: usize::MAX, fault: None };
    let mut number = 0;
    let outcome = walk(json, &mut out, &mut |out| {
        take(&out.bytes).map_err(|e| out.fault = Some(e)).ok()?;
        number += 1;
        Some(())
    });
    let refused = outcome.map_err(|error| match out.fault {
        None => refusal(&error, json),
        Some(fault) => DecodeError { offset: place(json, &mut out, number, fault.offset), ..fault },
    });
    *buffer = out.bytes;
    buffer.clear();
    refused
}

/// Where in `json` the value begins that is at `offset` in the msgpack of the element with this number.
fn place(json: &[u8], out: &mut Out, number: usize, offset: usize) -> usize {
    let mut left = number;
    out.stop = if left == 0 { offset } else { usize::MAX };
    let stopped = walk(json, out, &mut |out| {
        // An element whose fault is behind its last value ends the walk here.
        left = left.checked_sub(1)?;
        out.stop = if left == 0 { offset } else { usize::MAX };
        Some(())
    });
    stopped.err().map_or(json.len(), |error| position(&error, json))
}

/// Called after each element; `None` ends the walk.
type After<'a> = &'a mut dyn FnMut(&mut Out) -> Option<()>;

fn walk(json: &[u8], out: &mut Out, after: After<'_>) -> Result<(), serde_json::Error> {
    let mut de = serde_json::Deserializer::from_slice(json);
    de.deserialize_any(Elements { out, after })?;
    de.end()
}

/// What was wrong with the JSON itself.
fn refusal(error: &serde_json::Error, json: &[u8]) -> DecodeError {
    let (reason, offset) = match error.classify() {
        Category::Eof => ("the payload ends inside a value", json.len()),
        // Only the outermost value may be of a wrong type here.
        Category::Data => ("expected an array", json.len() - json.trim_ascii_start().len()),
        // The one limit of the parser that is no matter of grammar.
        _ if error.to_string().starts_with("recursion") => {
            ("the JSON is nested too deeply", position(error, json).saturating_sub(1))
        }
        _ => ("not valid JSON", position(error, json).saturating_sub(1)),
    };
    DecodeError { reason, offset }
}

/// How many bytes the parser had read.
fn position(error: &serde_json::Error, json: &[u8]) -> usize {
    let mut starts = memchr::memchr_iter(b'\n', json).map(|at| at + 1);
    let start = error.line().checked_sub(2).map_or(Some(0), |line| starts.nth(line)).unwrap_or_default();
    (start + error.column()).min(json.len())
}

/// The msgpack of an element.
struct Out {
    bytes: Vec<u8>,
    /// The walk ends before the value that would be written here.
    stop: usize,
    /// Why the walk ended, if it was not for the JSON; the offset is one in `bytes`.
    fault: Option<DecodeError>,
}

impl Out {
    /// A header of the type `short` if `length` is below its `limit`, else of the type `long`.
    fn header(&mut self, length: usize, limit: usize, short: u8, long: u8) {
        if length < limit {
            self.bytes.push(short | length as u8);
        } else {
            self.bytes.push(long);
            self.bytes.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }

    fn number(&mut self, marker: u8, bits: u64) {
        self.bytes.push(marker);
        self.bytes.extend_from_slice(&bits.to_be_bytes());
    }

    fn string(&mut self, text: &str) {
        self.header(text.len(), 32, 0xa0, 0xdb);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// The header of an array or map whose length comes later, and where it is to be put.
    fn open(&mut self, marker: u8) -> usize {
        self.header(usize::MAX, 0, 0, marker);
        self.bytes.len()
    }

    fn close(&mut self, mark: usize, length: u32) {
        if let Some(place) = self.bytes.get_mut(mark - 4..mark) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
}

/// The outermost array.
struct Elements<'a> {
    out: &'a mut Out,
    after: After<'a>,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { out, after } = self;
        out.bytes.clear();
        while seq.next_element_seed(Value { out, place: Place::Plain })?.is_some() {
            after(out).ok_or_else(|| A::Error::custom(""))?;
            out.bytes.clear();
        }
        Ok(())
    }
}

/// Where a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Plain,
    /// It is a `meta_struct`.
    Struct,
    /// It is a value in that.
    Bytes,
}

/// Any value, onto the end of the msgpack.
struct Value<'a> {
    out: &'a mut Out,
    place: Place,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, de: D) -> Result<(), D::Error> {
        let offset = self.out.bytes.len();
        if offset >= self.out.stop {
            return Err(D::Error::custom(""));
        }
        if offset > MAX_ELEMENT {
            self.out.fault = Some(DecodeError { reason: TOO_LONG, offset });
            return Err(D::Error::custom(""));
        }
        de.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.out.bytes.push(0xc0);
        Ok(())
    }

    fn visit_bool<E>(self, v: bool) -> Result<(), E> {
        self.out.bytes.push(0xc2 | u8::from(v));
        Ok(())
    }

    fn visit_u64<E>(self, v: u64) -> Result<(), E> {
        match u8::try_from(v) {
            Ok(small @ 0..=0x7f) => self.out.bytes.push(small),
            _ => self.out.number(0xcf, v),
        }
        Ok(())
    }

    fn visit_i64<E>(self, v: i64) -> Result<(), E> {
        match i8::try_from(v) {
            Ok(small @ -32..=-1) => self.out.bytes.push(small as u8),
            _ => self.out.number(0xd3, v as u64),
        }
        Ok(())
    }

    fn visit_f64<E>(self, v: f64) -> Result<(), E> {
        self.out.number(0xcb, v.to_bits());
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<(), E> {
        if self.place != Place::Bytes {
            self.out.string(v);
            return Ok(());
        }
        let offset = self.out.bytes.len();
        let mark = self.out.open(0xc6);
        if base64(v.as_bytes(), &mut self.out.bytes).is_none() {
            self.out.fault = Some(DecodeError { reason: NOT_BASE64, offset });
            return Err(E::custom(""));
        }
        self.out.close(mark, (self.out.bytes.len() - mark) as u32);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mark = self.out.open(0xdd);
        let mut length = 0;
        while seq.next_element_seed(Value { out: self.out, place: Place::Plain })?.is_some() {
            length += 1;
        }
        self.out.close(mark, length);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mark = self.out.open(0xdf);
        let mut length = 0;
        while let Some(is_struct) = map.next_key_seed(Key(self.out))? {
            let place = match self.place {
                Place::Struct => Place::Bytes,
                _ if is_struct => Place::Struct,
                _ => Place::Plain,
            };
            map.next_value_seed(Value { out: self.out, place })?;
            length += 1;
        }
        self.out.close(mark, length);
        Ok(())
    }
}

/// A key; whether it is `meta_struct`.
struct Key<'a>(&'a mut Out);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: serde::Deserializer<'de>>(self, de: D) -> Result<bool, D::Error> {
        de.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, v: &str) -> Result<bool, E> {
        self.0.string(v);
        Ok(v == "meta_struct")
    }
}

/// Appends what `text` says in base64 (RFC 4648, padded; line ends are ignored, as Go does).
fn base64(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (mut bits, mut digits, mut padding) = (0_u32, 0_usize, 0);
    for &byte in text {
        let digit = match byte {
            b'\r' | b'\n' => continue,
            b'=' => {
                padding += 1;
                continue;
            }
            _ if padding > 0 => return None,
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        digits += 1;
        if digits % 4 == 0 {
            out.extend_from_slice(&bits.to_be_bytes()[1..]);
        }
    }
    match (digits % 4, padding) {
        (0, 0) => {}
        (2, 2) => out.push((bits >> 4) as u8),
        (3, 1) => out.extend_from_slice(&((bits >> 2) as u16).to_be_bytes()),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests;
