//! Stats that a tracer computed (`/v0.6/stats`; spec: traces 4.7): read, put right as spans would be, and written as they
//! go out, in two walks over the body without a tree between them. Pure.

use std::borrow::Cow;

use super::super::msgpack::{Fault, Number, Reader};
use super::super::{DecodeError, TracerHeaders, names};
use super::payload::{self, About, Group, Writer};
use super::wire;

/// How far back a bucket may start, how buckets are aligned, and so where an older one is moved to: the window of the Go
/// agent, in nanoseconds.
const WINDOW: u64 = 18_000_000_000;
const ALIGNMENT: u64 = 2_000_000_000;

/// Longest service and name, in bytes.
const MAX_NAME: usize = 100;

/// How many bytes go out for each that came in, and so many besides. Stats of a tracer become little longer; a body of
/// empty groups would become 300 times as long.
const EXPANSION: usize = 8;
const EXPANSION_BASE: usize = 64 << 10;

/// What is done to a group beyond putting it right.
pub trait Rules {
    /// Whether groups with this resource are kept.
    fn allows(&mut self, resource: &[u8]) -> bool;

    /// The resource of a group of this type, of this database, without what must not leave, if it has to change.
    fn obfuscate(&mut self, kind: &[u8], database: &[u8], resource: &[u8]) -> Option<Vec<u8>>;

    /// What the user's rules make of a resource, if they change it.
    fn resource(&mut self, resource: &[u8]) -> Option<Vec<u8>>;

    /// What the user's rules make of an HTTP status.
    fn status(&mut self, status: u32) -> u32;
}

/// What a part of [`ClientStats`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    About,
    Bucket,
    Group,
}

/// Stats of a tracer as they go out.
#[derive(Debug, Default)]
pub struct ClientStats {
    bytes: Vec<u8>,
    /// Each part with where it ends.
    parts: Vec<(Part, u32)>,
}

/// Where and what the stats come from.
pub struct Source<'a> {
    /// What the tracer says of itself in the request.
    pub headers: &'a TracerHeaders,
    /// The environment if it names none; empty if unknown.
    pub env: &'a str,
    /// Nanoseconds since the epoch.
    pub now: u64,
    /// What is done to groups.
    pub rules: &'a mut dyn Rules,
}

impl ClientStats {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// Where it is not what it should be.
    pub fn read(body: &[u8], source: &mut Source<'_>) -> Result<Self, DecodeError> {
        let mut stats = Self::default();
        let mut reader = Reader::new(body, 0);
        let outcome = stats.payload(&mut reader, source);
        outcome.map(|()| stats).map_err(|fault| reader.fault(fault))
    }

    /// How many groups there are.
    #[must_use]
    pub fn groups(&self) -> u32 {
        self.parts.iter().filter(|part| part.0 == Part::Group).count() as u32
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap(&self) -> usize {
        self.bytes.capacity() + self.parts.capacity() * size_of::<(Part, u32)>()
    }

    /// Puts them into payloads.
    pub fn write(&self, writer: &mut Writer) {
        let mut start = 0;
        for &(part, end) in &self.parts {
            let bytes = self.bytes.get(start..end as usize).unwrap_or_default();
            start = end as usize;
            match part {
                Part::About => writer.about(bytes),
                Part::Bucket => writer.bucket(bytes),
                Part::Group => writer.group(bytes),
            }
        }
    }

    /// The message: first what it says of the tracer, wherever that stands, then the buckets.
    fn payload(&mut self, reader: &mut Reader<'_>, source: &mut Source<'_>) -> Result<(), Fault> {
        let mut texts: [Cow<'_, [u8]>; payload::ABOUT.len()] = Default::default();
        let (mut numbers, mut tags, mut buckets) = ([0; payload::ABOUT_NUMBERS.len()], Vec::new(), None);
        for _ in 0..reader.map()? {
            let name = reader.text()?;
            if let Some(at) = place(&payload::ABOUT, name) {
                texts[at] = text(reader)?;
            } else if let Some(at) = place(&payload::ABOUT_NUMBERS, name) {
                numbers[at] = reader.unsigned()?;
            } else if name == b"Tags" {
                list(reader, &mut tags)?;
            } else {
                if name == b"Stats" {
                    buckets = Some(reader.clone());
                }
                reader.skip()?;
            }
        }
        let Source { headers, env, .. } = source;
        let defaults = [
            (payload::ENV, *env),
            (payload::LANG, &headers.lang),
            (payload::TRACER_VERSION, &headers.tracer_version),
            (payload::CONTAINER_ID, &headers.container_id),
        ];
        for (at, default) in defaults {
            if texts[at].is_empty() {
                texts[at] = Cow::Owned(default.as_bytes().to_vec());
            }
        }
        texts[payload::HOSTNAME] = Cow::Borrowed(b"");
        texts[payload::ENV] = tag(&texts[payload::ENV], usize::MAX).into();
        let about = About { texts: texts.each_ref().map(|text| &**text), numbers, tags: &tags };
        about.encode(&mut self.bytes);
        self.end(Part::About);
        if let Some(mut buckets) = buckets {
            let limit = self.bytes.len() + EXPANSION_BASE + EXPANSION.saturating_mul(reader.bytes().len());
            let outcome = self.buckets(&mut buckets, limit, source);
            if outcome.is_err() {
                *reader = buckets;
            }
            return outcome;
        }
        Ok(())
    }

    fn buckets(&mut self, reader: &mut Reader<'_>, limit: usize, source: &mut Source<'_>) -> Result<(), Fault> {
        for _ in 0..reader.array()? {
            let (mut start, mut duration, mut groups) = (0, 0, None);
            for _ in 0..reader.map()? {
                match reader.text()? {
                    b"Start" => start = count(reader)?,
                    b"Duration" => duration = count(reader)?,
                    b"Stats" => {
                        groups = Some(reader.clone());
                        reader.skip()?;
                    }
                    _ => reader.skip()?,
                }
            }
            let moved = within(start, source.now);
            payload::bucket(&mut self.bytes, moved, duration, moved.wrapping_sub(start) as i64);
            self.end(Part::Bucket);
            if self.bytes.len() > limit {
                return Err(Fault::TooLong);
            }
            if let Some(mut groups) = groups {
                for _ in 0..groups.array()? {
                    if let Err(fault) = self.group(&mut groups, limit, source) {
                        *reader = groups;
                        return Err(fault);
                    }
                }
            }
        }
        Ok(())
    }

    fn group(&mut self, reader: &mut Reader<'_>, limit: usize, source: &mut Source<'_>) -> Result<(), Fault> {
        let mut texts: [Cow<'_, [u8]>; payload::TEXTS.len()] = Default::default();
        let mut lists: [Vec<u8>; payload::LISTS.len()] = Default::default();
        let mut group = Group::default();
        for _ in 0..reader.map()? {
            let name = reader.text()?;
            if let Some(at) = place(&payload::TEXTS, name) {
                texts[at] = text(reader)?;
            } else if let Some(at) = place(&payload::NUMBERS, name) {
                group.numbers[at] = count(reader)?.min(payload::MOST[at]);
            } else if let Some(at) = place(&payload::SKETCHES, name) {
                group.sketches[at] = if reader.nil() { b"" } else { reader.text()? };
            } else if let Some(at) = place(&payload::LISTS, name) {
                list(reader, &mut lists[at])?;
            } else if name == b"Synthetics" {
                group.synthetics = reader.bool()?;
            } else {
                reader.skip()?;
            }
        }
        if !put_right(&mut texts, &mut group.numbers[payload::STATUS], source) {
            return Ok(());
        }
        group.texts = texts.each_ref().map(|text| &**text);
        group.lists = lists.each_ref().map(Vec::as_slice);
        group.encode(&mut self.bytes);
        self.end(Part::Group);
        if self.bytes.len() > limit { Err(Fault::TooLong) } else { Ok(()) }
    }

    fn end(&mut self, part: Part) {
        self.parts.push((part, self.bytes.len() as u32));
    }
}

/// What is true of every span of the agent made true of a group; `false` if the group is not wanted.
fn put_right(texts: &mut [Cow<'_, [u8]>; payload::TEXTS.len()], status: &mut u64, source: &mut Source<'_>) -> bool {
    let [service, name, resource, kind, .., database, _] = texts;
    let mut made = tag(service, MAX_NAME);
    if made.is_empty() {
        made.extend_from_slice(b"unnamed-service");
    }
    *service = made.into();
    let mut made = Vec::new();
    names::operation(names::cut(name, MAX_NAME), &mut made);
    if made.is_empty() {
        made.extend_from_slice(b"unnamed_operation");
    }
    *name = made.into();
    if resource.is_empty() {
        *resource = name.clone();
    } else if resource.len() > names::MAX_RESOURCE {
        *resource = names::cut(resource, names::MAX_RESOURCE).to_vec().into();
    }
    if !source.rules.allows(resource) {
        return false;
    }
    if source.headers.obfuscation_version == 0
        && let Some(made) = source.rules.obfuscate(kind, database, resource)
    {
        *resource = made.into();
    }
    if let Some(made) = source.rules.resource(resource) {
        *resource = made.into();
    }
    if let Ok(code) = u32::try_from(*status) {
        *status = source.rules.status(code).into();
    }
    true
}

/// Where a bucket goes that starts at `start`: an old one into the oldest of the window, one from the future into the
/// present one.
fn within(start: u64, now: u64) -> u64 {
    let align = |time: u64| time - time % ALIGNMENT;
    let oldest = align(now.saturating_sub(WINDOW));
    if start > now { align(now) } else { start.max(oldest) }
}

/// The first `limit` bytes of `text` as a tag.
fn tag(text: &[u8], limit: usize) -> Vec<u8> {
    let mut out = Vec::new();
    names::tag(&String::from_utf8_lossy(names::cut(text, limit)), &mut out);
    out
}

fn place(names: &[&str], name: &[u8]) -> Option<usize> {
    names.iter().position(|known| known.as_bytes() == name)
}

/// A number of 0 or more; what is less is 0.
fn count(reader: &mut Reader<'_>) -> Result<u64, Fault> {
    Ok(match reader.number()? {
        Number::Unsigned(value) => value,
        Number::Signed(_) => 0,
        Number::Float(value) => value as u64,
    })
}

/// A string, repaired if it is not UTF-8; nil is empty.
fn text<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, [u8]>, Fault> {
    if reader.nil() {
        return Ok(Cow::Borrowed(b""));
    }
    let bytes = reader.text()?;
    Ok(match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(_) => Cow::Borrowed(bytes),
        Cow::Owned(repaired) => Cow::Owned(repaired.into_bytes()),
    })
}

/// An array of strings, encoded again; nothing for an empty one.
fn list(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    out.clear();
    let count = reader.array()?;
    if count > 0 {
        let mark = wire::open(out);
        for _ in 0..count {
            wire::text(out, &text(reader)?);
        }
        wire::close(out, mark, count);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
