//! Distributions: `/api/beta/sketches`, protobuf `datadog.agentpayload.SketchPayload` (spec: metrics 3.5).

use super::{Bodies, origin};
use crate::codec::protobuf as pb;
use crate::forwarder::{Payload, Route};
use crate::metrics::context::Context;
use crate::metrics::settings::{Base, Settings};
use crate::metrics::sketch::Sketch;

/// The writer.
#[derive(Debug)]
pub struct Sketches<'a> {
    bodies: Bodies,
    base: &'a Base,
}

impl<'a> Sketches<'a> {
    /// Sketches with the tags of `base`.
    #[must_use]
    pub fn new(settings: &Settings, base: &'a Base) -> Self {
        Self { bodies: Bodies::new(Route::Sketches, settings.compression_level, "", b"", b""), base }
    }

    /// Adds the sketch of `context` at `timestamp` (seconds since the epoch).
    pub fn push(&mut self, context: &Context, timestamp: u64, sketch: &Sketch) {
        let base = self.base;
        self.bodies.entry(|out, _| write(out, context, timestamp, sketch, base));
    }

    /// The payloads.
    #[must_use]
    pub fn finish(self) -> Vec<Payload> {
        self.bodies.finish()
    }
}

fn write(out: &mut Vec<u8>, context: &Context, timestamp: u64, sketch: &Sketch, base: &Base) {
    let entry = pb::open(out, 1);
    pb::bytes(out, 1, context.name().as_bytes());
    for tag in base.metrics.iter().map(String::as_str).chain(context.tags()) {
        pb::bytes(out, 4, tag.as_bytes());
    }
    let dogsketch = pb::open(out, 7);
    pb::uint(out, 1, timestamp);
    pb::uint(out, 2, sketch.count);
    pb::double(out, 3, sketch.min);
    pb::double(out, 4, sketch.max);
    pb::double(out, 5, sketch.avg);
    pb::double(out, 6, sketch.sum);
    let keys = pb::open(out, 7);
    sketch.wire_bins().for_each(|(key, _)| pb::varint(out, pb::zigzag(i64::from(key))));
    pb::close(out, keys);
    let counts = pb::open(out, 8);
    sketch.wire_bins().for_each(|(_, n)| pb::varint(out, u64::from(n)));
    pb::close(out, counts);
    pb::close(out, dogsketch);
    if let Some(detail) = origin::detail(context.name(), base) {
        let metadata = pb::open(out, 8);
        let origin = pb::open(out, 1);
        pb::uint(out, 4, u64::from(origin::PRODUCT));
        pb::uint(out, 5, u64::from(origin::LAMBDA));
        pb::uint(out, 6, u64::from(detail));
        pb::close(out, origin);
        pb::close(out, metadata);
    }
    pb::close(out, entry);
}
