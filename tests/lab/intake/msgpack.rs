//! A small reader of msgpack, written apart from thimble's so that one checks the other. It knows no schema. Pure.

/// Why bytes are not what they should be.
pub type Error = String;

/// How deep values may nest.
const DEEPEST: u32 = 32;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// nil.
    Nil,
    /// A boolean.
    Bool(bool),
    /// A number of 0 or more.
    Uint(u64),
    /// A number below 0.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// An array.
    Array(Vec<Value>),
    /// A map whose keys are strings, in its order.
    Map(Vec<(String, Value)>),
}

/// Reads the one value that `bytes` are.
pub fn read(mut bytes: &[u8]) -> Result<Value, Error> {
    let value = value(&mut bytes, DEEPEST)?;
    if bytes.is_empty() { Ok(value) } else { Err(format!("{} bytes behind the value", bytes.len())) }
}

fn value(bytes: &mut &[u8], depth: u32) -> Result<Value, Error> {
    let depth = depth.checked_sub(1).ok_or("too deep")?;
    Ok(match take::<1>(bytes)?[0] {
        marker @ 0x00..=0x7f => Value::Uint(u64::from(marker)),
        marker @ 0xe0..=0xff => Value::Int(i64::from(marker as i8)),
        marker @ 0x80..=0x8f => map(bytes, usize::from(marker & 0x0f), depth)?,
        marker @ 0x90..=0x9f => array(bytes, usize::from(marker & 0x0f), depth)?,
        marker @ 0xa0..=0xbf => text(bytes, usize::from(marker & 0x1f))?,
        0xc0 => Value::Nil,
        0xc2 => Value::Bool(false),
        0xc3 => Value::Bool(true),
        marker @ 0xc4..=0xc6 => {
            let length = length(bytes, marker - 0xc4)?;
            Value::Binary(slice(bytes, length)?.to_vec())
        }
        0xca => Value::Float(f64::from(f32::from_be_bytes(take(bytes)?))),
        0xcb => Value::Float(f64::from_be_bytes(take(bytes)?)),
        marker @ 0xcc..=0xce => Value::Uint(length(bytes, marker - 0xcc)? as u64),
        0xcf => Value::Uint(u64::from_be_bytes(take(bytes)?)),
        0xd0 => signed(i64::from(i8::from_be_bytes(take(bytes)?))),
        0xd1 => signed(i64::from(i16::from_be_bytes(take(bytes)?))),
        0xd2 => signed(i64::from(i32::from_be_bytes(take(bytes)?))),
        0xd3 => signed(i64::from_be_bytes(take(bytes)?)),
        marker @ 0xd9..=0xdb => {
            let length = length(bytes, marker - 0xd9)?;
            text(bytes, length)?
        }
        marker @ 0xdc..=0xdd => {
            let length = length(bytes, marker - 0xdc + 1)?;
            array(bytes, length, depth)?
        }
        marker @ 0xde..=0xdf => {
            let length = length(bytes, marker - 0xde + 1)?;
            map(bytes, length, depth)?
        }
        marker => return Err(format!("marker {marker:#x}")),
    })
}

fn signed(value: i64) -> Value {
    u64::try_from(value).map_or(Value::Int(value), Value::Uint)
}

/// A length of 1, 2 or 4 bytes.
fn length(bytes: &mut &[u8], width: u8) -> Result<usize, Error> {
    Ok(match width {
        0 => usize::from(take::<1>(bytes)?[0]),
        1 => usize::from(u16::from_be_bytes(take(bytes)?)),
        _ => u32::from_be_bytes(take(bytes)?) as usize,
    })
}

fn text(bytes: &mut &[u8], length: usize) -> Result<Value, Error> {
    let text = slice(bytes, length)?.to_vec();
    String::from_utf8(text).map(Value::Text).map_err(|e| e.to_string())
}

fn array(bytes: &mut &[u8], length: usize, depth: u32) -> Result<Value, Error> {
    (0..length).map(|_| value(bytes, depth)).collect::<Result<_, _>>().map(Value::Array)
}

fn map(bytes: &mut &[u8], length: usize, depth: u32) -> Result<Value, Error> {
    let entry = |_| match value(bytes, depth)? {
        Value::Text(key) => Ok((key, value(bytes, depth)?)),
        other => Err(format!("a key that is no string: {other:?}")),
    };
    (0..length).map(entry).collect::<Result<_, _>>().map(Value::Map)
}

fn slice<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Error> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or("the value ends early")?;
    *bytes = rest;
    Ok(taken)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Error> {
    slice(bytes, N)?.try_into().map_err(|_| "the value ends early".to_owned())
}
