//! Span links and span events of v0.4, from msgpack straight to protobuf: they are rare, so one walk does all and strings
//! are repaired on the way (spec: traces 4.1, 4.5). Pure.

use super::msgpack::{Fault, Reader};
use crate::codec::protobuf as pb;

/// Field numbers of a span.
const SPAN_LINKS: u32 = 14;
const SPAN_EVENTS: u32 = 15;

/// The types of an attribute's value, in the tracers' and the intake's numbering.
const BOOL: i32 = 1;
const INT: i32 = 2;
const DOUBLE: i32 = 3;
const ARRAY: i32 = 4;

/// Transcodes a list of span links.
///
/// # Errors
/// What is wrong with it; [`Fault::SpanTooLong`] once `out` is longer than `limit`.
pub fn links(reader: &mut Reader<'_>, out: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
    each(reader, out, limit, SPAN_LINKS, link)
}

/// Transcodes a list of span events.
///
/// # Errors
/// As [`links`].
pub fn events(reader: &mut Reader<'_>, out: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
    each(reader, out, limit, SPAN_EVENTS, event)
}

/// Appends `events`, which [`events`] wrote, with `?` for each value of an attribute that is a secret by `is_secret`, which
/// gets key and value. Whether there was one.
pub fn hide(events: &[u8], is_secret: &dyn Fn(&[u8], &[u8]) -> bool, out: &mut Vec<u8>) -> bool {
    let mut found = false;
    for event in Fields(events) {
        let mark = pb::open(out, SPAN_EVENTS);
        for field in Fields(event.payload) {
            if field.number != 3 {
                out.extend_from_slice(field.whole);
                continue;
            }
            let entry = pb::open(out, 3);
            let mut key = &[][..];
            for part in Fields(field.payload) {
                if part.number == 2 {
                    let value = pb::open(out, 2);
                    found |= hide_value(part.payload, &|value| is_secret(key, value), out);
                    pb::close(out, value);
                } else {
                    key = part.payload;
                    out.extend_from_slice(part.whole);
                }
            }
            pb::close(out, entry);
        }
        pb::close(out, mark);
    }
    found
}

type Element = fn(&mut Reader<'_>, &mut Vec<u8>, usize) -> Result<(), Fault>;

fn each(reader: &mut Reader<'_>, out: &mut Vec<u8>, limit: usize, field: u32, element: Element) -> Result<(), Fault> {
    for _ in 0..reader.array()? {
        if reader.nil() {
            continue;
        }
        within(out, limit)?;
        let mark = pb::open(out, field);
        element(reader, out, limit)?;
        pb::close(out, mark);
    }
    Ok(())
}

fn link(reader: &mut Reader<'_>, out: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
    for _ in 0..reader.map()? {
        match reader.text()? {
            b"trace_id" => pb::uint(out, 1, reader.unsigned()?),
            b"trace_id_high" => pb::uint(out, 2, reader.unsigned()?),
            b"span_id" => pb::uint(out, 3, reader.unsigned()?),
            b"attributes" => {
                for _ in 0..reader.map()? {
                    within(out, limit)?;
                    let key = reader.text()?;
                    if !reader.nil() {
                        let value = reader.text()?;
                        pb::entry(out, 4, utf8(key).as_bytes(), utf8(value).as_bytes());
                    }
                }
            }
            b"tracestate" => string(reader, out, 5)?,
            // 32 bits; bit 31 says that the rest is set.
            b"flags" => pb::uint(out, 6, reader.unsigned()? & 0xffff_ffff),
            _ => reader.skip()?,
        }
    }
    Ok(())
}

fn event(reader: &mut Reader<'_>, out: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
    for _ in 0..reader.map()? {
        match reader.text()? {
            b"time_unix_nano" => {
                let time = reader.unsigned()?;
                pb::tag(out, 1, 1);
                out.extend_from_slice(&time.to_le_bytes());
            }
            b"name" => string(reader, out, 2)?,
            b"attributes" => {
                for _ in 0..reader.map()? {
                    within(out, limit)?;
                    let key = reader.text()?;
                    if reader.nil() {
                        continue;
                    }
                    let entry = pb::open(out, 3);
                    pb::bytes(out, 1, utf8(key).as_bytes());
                    let value = pb::open(out, 2);
                    attribute(reader, out, limit)?;
                    pb::close(out, value);
                    pb::close(out, entry);
                }
            }
            _ => reader.skip()?,
        }
    }
    Ok(())
}

/// A typed value. Only the member that its type names goes out, whatever else is in the map.
fn attribute(reader: &mut Reader<'_>, out: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
    let value = scalar(reader)?;
    let Some(mut values) = value.array.clone().filter(|_| value.kind == ARRAY) else {
        value.write(out);
        return Ok(());
    };
    pb::int(out, 1, i64::from(ARRAY));
    let list = pb::open(out, 6);
    // On an error the position is the one inside the list.
    array(&mut values, out, limit).inspect_err(|_| *reader = values)?;
    pb::close(out, list);
    Ok(())
}

/// The values of an array: tracers send either the list itself or a map with the key `values`.
fn array(reader: &mut Reader<'_>, out: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
    for _ in 0..elements(reader)? {
        within(out, limit)?;
        let element = scalar(reader)?;
        let mark = pb::open(out, 1);
        element.write(out);
        pb::close(out, mark);
    }
    Ok(())
}

/// The members of a typed value.
#[derive(Default)]
struct Value<'a> {
    kind: i32,
    string: &'a [u8],
    bool: bool,
    int: i64,
    double: f64,
    array: Option<Reader<'a>>,
}

impl Value<'_> {
    /// The type and its member; a type that is not one of a scalar is taken for a string.
    fn write(&self, out: &mut Vec<u8>) {
        if matches!(self.kind, BOOL | INT | DOUBLE) {
            pb::int(out, 1, i64::from(self.kind));
        }
        match self.kind {
            BOOL => pb::uint(out, 3, u64::from(self.bool)),
            INT => pb::int(out, 4, self.int),
            DOUBLE => pb::double(out, 5, self.double),
            _ => pb::bytes(out, 2, utf8(self.string).as_bytes()),
        }
    }
}

fn scalar<'a>(reader: &mut Reader<'a>) -> Result<Value<'a>, Fault> {
    let mut value = Value::default();
    for _ in 0..reader.map()? {
        match reader.text()? {
            b"type" => value.kind = reader.number()?.int32(),
            b"string_value" => value.string = if reader.nil() { b"" } else { reader.text()? },
            b"bool_value" => value.bool = reader.bool()?,
            b"int_value" => value.int = reader.number()?.int(),
            b"double_value" => value.double = reader.number()?.float(),
            b"array_value" => {
                value.array = Some(reader.clone());
                reader.skip()?;
            }
            _ => reader.skip()?,
        }
    }
    Ok(value)
}

fn elements(reader: &mut Reader<'_>) -> Result<u32, Fault> {
    if reader.sees_array() {
        return reader.array();
    }
    for _ in 0..reader.map()? {
        if reader.text()? == b"values" {
            return reader.array();
        }
        reader.skip()?;
    }
    Ok(0)
}

fn string(reader: &mut Reader<'_>, out: &mut Vec<u8>, field: u32) -> Result<(), Fault> {
    if !reader.nil() {
        pb::bytes(out, field, utf8(reader.text()?).as_bytes());
    }
    Ok(())
}

fn utf8(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn within(out: &[u8], limit: usize) -> Result<(), Fault> {
    if out.len() > limit { Err(Fault::SpanTooLong) } else { Ok(()) }
}

/// A value with its members, or the values of an array.
fn hide_value(value: &[u8], is_secret: &dyn Fn(&[u8]) -> bool, out: &mut Vec<u8>) -> bool {
    let mut found = false;
    let mut digits = [0; 20];
    for field in Fields(value) {
        let text = match field.number {
            2 => field.payload,
            4 => decimal(field.varint.cast_signed().unsigned_abs(), &mut digits),
            // Of a number with a fraction, or a larger one, the digits are not those of a card.
            5 => match f64::from_le_bytes(field.payload.try_into().unwrap_or_default()).abs() {
                double if double.fract() == 0.0 && double < 1e17 => decimal(double as u64, &mut digits),
                _ => continue,
            },
            6 => {
                out.extend_from_slice(value.get(..value.len() - field.whole.len()).unwrap_or_default());
                let list = pb::open(out, 6);
                for element in Fields(field.payload) {
                    let mark = pb::open(out, 1);
                    found |= hide_value(element.payload, is_secret, out);
                    pb::close(out, mark);
                }
                pb::close(out, list);
                return found;
            }
            _ => continue,
        };
        if is_secret(text) {
            // The type of a string is 0, which is left out.
            pb::bytes(out, 2, b"?");
            return true;
        }
    }
    out.extend_from_slice(value);
    false
}

/// The decimal digits of `number`.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    digits.get(start..).unwrap_or_default()
}

/// The fields of a message of ours.
struct Fields<'a>(&'a [u8]);

struct Field<'a> {
    number: u64,
    varint: u64,
    payload: &'a [u8],
    /// With its tag.
    whole: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let start = self.0;
        let tag = self.varint()?;
        let (varint, length) = match tag & 7 {
            0 => (self.varint()?, 0),
            1 => (0, 8),
            _ => (0, usize::try_from(self.varint()?).ok()?),
        };
        let payload = self.0.get(..length)?;
        self.0 = self.0.get(length..)?;
        let whole = start.get(..start.len() - self.0.len())?;
        Some(Field { number: tag >> 3, varint, payload, whole })
    }
}

impl Fields<'_> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for place in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << place;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}
