//! A small reader of the protobuf wire format, written apart from thimble's writer so that one checks the other. It
//! knows no schema. Pure.

use std::collections::BTreeMap;

/// Why bytes are not what they should be.
pub type Error = String;

/// A field's value as the wire has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: text, bytes, a nested message or packed numbers.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

/// Calls `field` with the number and value of each field of `message`.
pub fn read<'a>(
    mut message: &'a [u8],
    mut field: impl FnMut(u64, Value<'a>) -> Result<(), Error>,
) -> Result<(), Error> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut message)?),
            1 => Value::Fixed64(u64::from_le_bytes(take_array(&mut message)?)),
            2 => {
                let length = usize::try_from(varint(&mut message)?).map_err(|e| e.to_string())?;
                Value::Bytes(take(&mut message, length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(take_array(&mut message)?)),
            wire => return Err(format!("wire type {wire} in field {}", tag >> 3)),
        };
        field(tag >> 3, value)?;
    }
    Ok(())
}

/// Takes a base-128 varint off the front of `bytes`.
fn varint(bytes: &mut &[u8]) -> Result<u64, Error> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = take_array(bytes)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("a varint of more than ten bytes".into())
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Error> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or("the message ends early")?;
    *bytes = rest;
    Ok(taken)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Error> {
    take(bytes, N)?.try_into().map_err(|_| "the message ends early".into())
}

impl<'a> Value<'a> {
    /// The value as an unsigned number.
    pub fn uint(self) -> Result<u64, Error> {
        match self {
            Self::Varint(v) | Self::Fixed64(v) => Ok(v),
            Self::Fixed32(v) => Ok(u64::from(v)),
            Self::Bytes(_) => Err("bytes where a number belongs".into()),
        }
    }

    /// The value as an `int32` or `int64`.
    pub fn int(self) -> Result<i64, Error> {
        self.uint().map(|v| v as i64)
    }

    /// The value as a `double`.
    pub fn double(self) -> Result<f64, Error> {
        match self {
            Self::Fixed64(v) => Ok(f64::from_bits(v)),
            other => Err(format!("{other:?} where a double belongs")),
        }
    }

    /// The value's bytes.
    pub fn bytes(self) -> Result<&'a [u8], Error> {
        match self {
            Self::Bytes(v) => Ok(v),
            other => Err(format!("{other:?} where bytes belong")),
        }
    }

    /// The value as a string, which proto3 wants to be UTF-8.
    pub fn string(self) -> Result<String, Error> {
        std::str::from_utf8(self.bytes()?).map(str::to_owned).map_err(|e| e.to_string())
    }

    /// Appends the value, packed or single, to `out`.
    pub fn varints_into<T>(self, out: &mut Vec<T>, convert: impl Fn(u64) -> T) -> Result<(), Error> {
        match self {
            Self::Bytes(mut packed) => {
                while !packed.is_empty() {
                    out.push(convert(varint(&mut packed)?));
                }
                Ok(())
            }
            single => single.uint().map(|v| out.push(convert(v))),
        }
    }

    /// Puts the value, an entry of a map, into `out`.
    pub fn entry_into<T: Default>(
        self,
        out: &mut BTreeMap<String, T>,
        convert: impl Fn(Value<'a>) -> Result<T, Error>,
    ) -> Result<(), Error> {
        let (mut key, mut value) = (String::new(), T::default());
        read(self.bytes()?, |number, field| {
            match number {
                1 => key = field.string()?,
                2 => value = convert(field)?,
                _ => {}
            }
            Ok(())
        })?;
        out.insert(key, value);
        Ok(())
    }
}

/// Undoes the mapping of `sint32` and `sint64`.
pub fn unzigzag(v: u64) -> i64 {
    (v >> 1) as i64 ^ -((v & 1) as i64)
}
