//! Counts and gauges: `/api/v2/series`, JSON (spec: metrics 3.6), with the documented type numbers.

use std::io::Write as _;

use super::{Bodies, json_number, json_string, json_strings, origin};
use crate::forwarder::{Payload, Route};
use crate::metrics::aggregate::{BUCKET, SeriesPoint};
use crate::metrics::context::Context;
use crate::metrics::settings::{Base, Settings};

/// The type of a count, as the intake's documentation numbers them.
const COUNT: u32 = 1;
/// The type of a gauge.
const GAUGE: u32 = 3;
/// A tag of this form is also a resource: `dd.internal.resource:<name>:<kind>`.
const RESOURCE: &str = "dd.internal.resource:";

/// The writer.
#[derive(Debug)]
pub struct Series<'a> {
    bodies: Bodies,
    base: &'a Base,
    /// The tags of `base`, written once: the opening bracket and the strings.
    tags: Vec<u8>,
    name: String,
}

impl<'a> Series<'a> {
    /// Series with the tags of `base`.
    #[must_use]
    pub fn new(settings: &Settings, base: &'a Base) -> Self {
        let bodies = Bodies::new(Route::Series, settings.compression_level, "{\"series\":[", b",", b"]}");
        let mut tags = Vec::new();
        json_strings(&mut tags, base.metrics.iter().map(String::as_str));
        // The bracket closes behind the tags of each context.
        tags.pop();
        Self { bodies, base, tags, name: String::new() }
    }

    /// Adds a point of `context`.
    pub fn push(&mut self, context: &Context, point: SeriesPoint) {
        self.name.clear();
        self.name.push_str(context.name());
        if let Some(statistic) = point.statistic {
            self.name.push('.');
            self.name.push_str(&statistic.suffix());
        }
        let origin = origin::detail(&self.name, self.base);
        let (name, tags) = (self.name.as_str(), self.tags.as_slice());
        self.bodies.entry(|out, _| write(out, name, context, point, tags, origin));
    }

    /// The payloads.
    #[must_use]
    pub fn finish(self) -> Vec<Payload> {
        self.bodies.finish()
    }
}

fn write(out: &mut Vec<u8>, name: &str, context: &Context, point: SeriesPoint, tags: &[u8], origin: Option<u32>) {
    out.extend_from_slice(b"{\"metric\":");
    json_string(out, name);
    // Writing to a vector cannot fail, here and below.
    let _ = write!(out, ",\"points\":[{{\"timestamp\":{},\"value\":", point.timestamp);
    json_number(out, point.value);
    out.extend_from_slice(b"}],\"resources\":[");
    for (i, (kind, name)) in context.tags().filter_map(resource).enumerate() {
        out.extend_from_slice(if i > 0 { b",{\"name\":" } else { b"{\"name\":" });
        json_string(out, name);
        out.extend_from_slice(b",\"type\":");
        json_string(out, kind);
        out.push(b'}');
    }
    if point.count {
        let _ = write!(out, "],\"type\":{COUNT},\"interval\":{BUCKET},\"tags\":");
    } else {
        let _ = write!(out, "],\"type\":{GAUGE},\"tags\":");
    }
    out.extend_from_slice(tags);
    for tag in context.tags() {
        if out.last() != Some(&b'[') {
            out.push(b',');
        }
        json_string(out, tag);
    }
    match origin {
        Some(detail) => {
            let (product, lambda) = (origin::PRODUCT, origin::LAMBDA);
            let _ = write!(
                out,
                "],\"metadata\":{{\"origin\":{{\"origin_product\":{product},\"origin_sub_product\":{lambda},\
                 \"origin_product_detail\":{detail}}}}}}}"
            );
        }
        None => out.extend_from_slice(b"],\"metadata\":null}"),
    }
}

/// Kind and name of the resource that a tag names: `dd.internal.resource:<name>:<kind>`.
fn resource(tag: &str) -> Option<(&str, &str)> {
    let (name, kind) = tag.strip_prefix(RESOURCE)?.split_once(':')?;
    (!name.is_empty() && !kind.is_empty()).then_some((kind, name))
}
