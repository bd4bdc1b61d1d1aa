//! The messages of `/api/v0.2/stats` (spec: traces, stats intake): groups in buckets in what one tracer says of itself, as
//! msgpack maps with the names of the fields, split where a payload is large. Pure.

use super::{gzip, wire};
use crate::forwarder::{Encoding, Payload, Route};

/// Groups after which a payload ends, as in the Go agent.
const MAX_GROUPS: u32 = 4000;
/// Bytes after which it ends, before compression.
const MAX_BYTES: usize = 3 << 20;

/// How many of a group's texts are those of a key, in its order.
pub const KEY_TEXTS: usize = 8;
/// A group's texts.
pub const TEXTS: [&str; 10] = [
    "Service",
    "Name",
    "Resource",
    "Type",
    "SpanKind",
    "HTTPMethod",
    "HTTPEndpoint",
    "srv_src",
    "DBType",
    "GRPCStatusCode",
];
/// Place of the gRPC status.
pub const GRPC: usize = 9;

/// A group's numbers.
pub const NUMBERS: [&str; 6] = ["HTTPStatusCode", "Hits", "Errors", "Duration", "TopLevelHits", "IsTraceRoot"];
/// The most that each may be: one number out of range, and the intake cannot read the payload.
pub const MOST: [u64; NUMBERS.len()] = [u32::MAX as u64, u64::MAX, u64::MAX, u64::MAX, u64::MAX, 2];
/// Place of the HTTP status.
pub const STATUS: usize = 0;

/// A group's sketches.
pub const SKETCHES: [&str; 2] = ["OkSummary", "ErrorSummary"];

/// A group's lists.
pub const LISTS: [&str; 3] = ["PeerTags", "SpanDerivedPrimaryTags", "AdditionalMetricTags"];

/// What a tracer says of itself: texts.
pub const ABOUT: [&str; 12] = [
    "Hostname",
    "Env",
    "Version",
    "Lang",
    "TracerVersion",
    "RuntimeID",
    "ContainerID",
    "Service",
    "AgentAggregation",
    "GitCommitSha",
    "ImageTag",
    "ProcessTags",
];
/// Place of the host's name, which is never that of a function's environment.
pub const HOSTNAME: usize = 0;
/// Place of the environment.
pub const ENV: usize = 1;
/// The places from the version to the container.
pub const VERSION: usize = 2;
/// Language.
pub const LANG: usize = 3;
/// Version of the tracer.
pub const TRACER_VERSION: usize = 4;
/// Id of the process.
pub const RUNTIME_ID: usize = 5;
/// Container.
pub const CONTAINER_ID: usize = 6;
/// Service.
pub const SERVICE: usize = 7;

/// What a tracer says of itself: numbers.
pub const ABOUT_NUMBERS: [&str; 2] = ["Sequence", "ProcessTagsHash"];

/// An encoded array without elements.
const EMPTY: &[u8] = &[0x90];

/// A group as it goes out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Group<'a> {
    /// By [`TEXTS`].
    pub texts: [&'a [u8]; TEXTS.len()],
    /// By [`NUMBERS`].
    pub numbers: [u64; NUMBERS.len()],
    /// By [`SKETCHES`].
    pub sketches: [&'a [u8]; SKETCHES.len()],
    /// By [`LISTS`]: encoded arrays; nothing stands for an empty one.
    pub lists: [&'a [u8]; LISTS.len()],
    /// Whether a synthetic test began the trace.
    pub synthetics: bool,
}

impl Group<'_> {
    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        wire::map(out, (TEXTS.len() + NUMBERS.len() + SKETCHES.len() + LISTS.len() + 1) as u16);
        for (name, text) in TEXTS.iter().zip(self.texts) {
            wire::text(out, name.as_bytes());
            wire::text(out, text);
        }
        for (name, number) in NUMBERS.iter().zip(self.numbers) {
            wire::text(out, name.as_bytes());
            wire::number(out, number);
        }
        for (name, sketch) in SKETCHES.iter().zip(self.sketches) {
            wire::text(out, name.as_bytes());
            wire::binary(out, sketch);
        }
        for (name, list) in LISTS.iter().zip(self.lists) {
            wire::text(out, name.as_bytes());
            out.extend_from_slice(if list.is_empty() { EMPTY } else { list });
        }
        wire::text(out, b"Synthetics");
        wire::boolean(out, self.synthetics);
    }
}

/// What a tracer says of itself, as it goes out.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    /// By [`ABOUT`].
    pub texts: [&'a [u8]; ABOUT.len()],
    /// By [`ABOUT_NUMBERS`].
    pub numbers: [u64; ABOUT_NUMBERS.len()],
    /// An encoded array; nothing stands for an empty one.
    pub tags: &'a [u8],
}

impl About<'_> {
    /// Appends the message up to its buckets, whose array follows.
    pub fn encode(&self, out: &mut Vec<u8>) {
        wire::map(out, (ABOUT.len() + ABOUT_NUMBERS.len() + 2) as u16);
        for (name, text) in ABOUT.iter().zip(self.texts) {
            wire::text(out, name.as_bytes());
            wire::text(out, text);
        }
        for (name, number) in ABOUT_NUMBERS.iter().zip(self.numbers) {
            wire::text(out, name.as_bytes());
            wire::number(out, number);
        }
        wire::text(out, b"Tags");
        out.extend_from_slice(if self.tags.is_empty() { EMPTY } else { self.tags });
        wire::text(out, b"Stats");
    }
}

/// Appends a bucket up to its groups, whose array follows: when it starts, how long it is, and by how much it was moved,
/// in nanoseconds.
pub fn bucket(out: &mut Vec<u8>, start: u64, duration: u64, shift: i64) {
    wire::map(out, 4);
    wire::text(out, b"Start");
    wire::number(out, start);
    wire::text(out, b"Duration");
    wire::number(out, duration);
    wire::text(out, b"AgentTimeShift");
    wire::signed(out, shift);
    wire::text(out, b"Stats");
}

/// An array that is being written.
#[derive(Clone, Copy, Debug)]
struct Array {
    mark: usize,
    count: u32,
}

/// Puts messages into payloads. What is in a message is only written when a group comes, so that none is empty.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    /// Groups in `out`.
    groups: u32,
    about: Vec<u8>,
    bucket: Vec<u8>,
    /// The tracers of the payload, the buckets of the tracer, the groups of the bucket, as far as they are open.
    open: [Option<Array>; 3],
    done: Vec<(Vec<u8>, u32)>,
}

impl Writer {
    /// What follows is from the tracer with this [`About`].
    pub fn about(&mut self, about: &[u8]) {
        self.close(1);
        self.about.clear();
        self.about.extend_from_slice(about);
    }

    /// What follows is in the bucket with this [`bucket`].
    pub fn bucket(&mut self, bucket: &[u8]) {
        self.close(2);
        self.bucket.clear();
        self.bucket.extend_from_slice(bucket);
    }

    /// An encoded [`Group`].
    pub fn group(&mut self, group: &[u8]) {
        if self.groups >= MAX_GROUPS || self.out.len() + group.len() > MAX_BYTES {
            self.end();
        }
        for level in 0..self.open.len() {
            if self.open[level].is_some() {
                continue;
            }
            match level {
                0 => start(&mut self.out),
                1 => self.out.extend_from_slice(&self.about),
                _ => self.out.extend_from_slice(&self.bucket),
            }
            if let Some(outer) = level.checked_sub(1).and_then(|outer| self.open[outer].as_mut()) {
                outer.count += 1;
            }
            self.open[level] = Some(Array { mark: wire::open(&mut self.out), count: 0 });
        }
        self.out.extend_from_slice(group);
        self.groups += 1;
        if let Some(groups) = &mut self.open[2] {
            groups.count += 1;
        }
    }

    /// Closes the arrays from `level` on.
    fn close(&mut self, level: usize) {
        for array in self.open[level..].iter_mut().filter_map(Option::take) {
            wire::close(&mut self.out, array.mark, array.count);
        }
    }

    /// Ends the payload, if there is one.
    fn end(&mut self) {
        if self.open[0].is_none() {
            return;
        }
        self.close(0);
        wire::text(&mut self.out, b"AgentVersion");
        wire::text(&mut self.out, b"");
        wire::text(&mut self.out, b"ClientComputed");
        wire::boolean(&mut self.out, true);
        wire::text(&mut self.out, b"SplitPayload");
        // The value follows when it is known.
        self.done.push((std::mem::take(&mut self.out), std::mem::take(&mut self.groups)));
    }

    /// The payloads.
    #[must_use]
    pub fn finish(mut self) -> Vec<Payload> {
        self.end();
        let split = self.done.len() > 1;
        let payload = |(mut body, items): (Vec<u8>, u32)| {
            wire::boolean(&mut body, split);
            let body = gzip::compress(&body);
            Payload { route: Route::Stats, encoding: Encoding::Gzip, body, items, headers: Vec::new(), request: None }
        };
        self.done.into_iter().map(payload).collect()
    }
}

/// The beginning of a payload, up to its tracers.
fn start(out: &mut Vec<u8>) {
    wire::map(out, 6);
    wire::text(out, b"AgentHostname");
    wire::text(out, b"");
    wire::text(out, b"AgentEnv");
    wire::text(out, b"");
    wire::text(out, b"Stats");
}

#[cfg(test)]
pub(super) mod tests;
