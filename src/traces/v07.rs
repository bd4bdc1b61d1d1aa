//! The maps around the spans of a v0.7 payload: what it says of the process, and each chunk of itself (spec: traces 4.5).
//!
//! The spans are not read here but where they are decoded; since keys come in any order, they are skipped once. Pure.

use super::msgpack::{Fault, Reader};
use super::payload::{About, Given};
use crate::codec::protobuf as pb;

/// Field numbers of the tags of a payload and of a chunk.
const PAYLOAD_TAGS: u32 = 7;
const CHUNK_TAGS: u32 = 4;

/// Field number of a chunk's mark that its tracer dropped it.
const DROPPED: u32 = 5;

/// Reads the map of a payload into `about`; where its chunks are, if it has any.
///
/// # Errors
/// What is wrong with it; the reader stands where.
pub fn payload<'a>(reader: &mut Reader<'a>, about: &mut About) -> Result<Option<Reader<'a>>, Fault> {
    let mut chunks = None;
    for _ in 0..reader.map()? {
        let slot = match reader.text()? {
            b"container_id" => &mut about.container_id,
            b"language_name" => &mut about.language,
            b"language_version" => &mut about.language_version,
            b"tracer_version" => &mut about.tracer_version,
            b"runtime_id" => &mut about.runtime_id,
            b"env" => &mut about.env,
            b"hostname" => &mut about.hostname,
            b"app_version" => &mut about.version,
            b"tags" => {
                tags(reader, PAYLOAD_TAGS, &mut about.tags)?;
                continue;
            }
            b"chunks" => {
                chunks = Some(reader.clone());
                if reader.skip().is_err() {
                    return Ok(chunks);
                }
                continue;
            }
            _ => {
                reader.skip()?;
                continue;
            }
        };
        string(reader, slot)?;
    }
    Ok(chunks)
}

/// Reads the map of a chunk into `given`, which is the default; where its spans are, if it has any.
///
/// # Errors
/// As [`payload`].
pub fn chunk<'a>(reader: &mut Reader<'a>, given: &mut Given) -> Result<Option<Reader<'a>>, Fault> {
    let mut spans = None;
    for _ in 0..reader.map()? {
        match reader.text()? {
            b"priority" => given.priority = if reader.nil() { None } else { Some(reader.number()?.int32()) },
            b"origin" => string(reader, &mut given.origin)?,
            b"tags" => tags(reader, CHUNK_TAGS, &mut given.fields)?,
            b"dropped_trace" => pb::uint(&mut given.fields, DROPPED, u64::from(reader.bool()?)),
            b"spans" => {
                spans = Some(reader.clone());
                // What is wrong with a span is found where it is decoded.
                if reader.skip().is_err() {
                    return Ok(spans);
                }
            }
            _ => reader.skip()?,
        }
    }
    Ok(spans)
}

fn string(reader: &mut Reader<'_>, slot: &mut Vec<u8>) -> Result<(), Fault> {
    slot.clear();
    if !reader.nil() {
        slot.extend_from_slice(String::from_utf8_lossy(reader.text()?).as_bytes());
    }
    Ok(())
}

/// A map of strings, as entries of `field`. A nil value is as good as no pair.
fn tags(reader: &mut Reader<'_>, field: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
    for _ in 0..reader.map()? {
        let key = reader.text()?;
        if !reader.nil() {
            let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(reader.text()?));
            pb::entry(out, field, key.as_bytes(), value.as_bytes());
        }
    }
    Ok(())
}
