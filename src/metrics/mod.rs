//! Metrics: DogStatsD in, series, sketches, events and service checks out.
//!
//! `dogstatsd` is the thread `dogstatsd` (the socket and the parser), `agent` the thread `metrics-agent` (aggregation
//! and payloads); the rest is pure.
//!
//! **What a sample becomes.** A context is type, name and set of tags; the order in which tags are sent does not matter.
//! Inside a bucket of ten seconds of one context:
//!
//! | type | becomes |
//! | --- | --- |
//! | `c` | one count: the sum, each value divided by its sample rate |
//! | `g` | one gauge: the last value |
//! | `s` | one gauge: how many different members |
//! | `h`, `ms` | gauges `.max`, `.median`, `.avg`, `.95percentile` (as configured) and a count `.count` |
//! | `d` | one sketch with the Datadog agent's parameters |
//!
//! Counts are sent as counts, never as rates, `.count` included: a sum over time is then right whatever the time between
//! two flushes is, which in a function is arbitrary. `interval` says 10 seconds on them, so that `as_rate` works.
//!
//! **A bucket that is flushed twice.** A flush sends the open bucket too, because what comes after it may be a freeze of
//! any length. The intake adds sketches of the same context and time, but of two points of a series with the same time
//! it keeps one. So the n-th flush of a bucket stamps its series n seconds into the bucket: the points lie side by side,
//! sums stay right, and no point leaves its bucket. Nine such seconds may be used while the bucket is open; when they
//! are used up (a tenth flush within ten seconds) counts and gauges wait in the bucket, and the tenth second sends them
//! with the first flush after its end, or with the flush at SHUTDOWN. Sets keep their members until their bucket ends,
//! so a later point counts all of them; a histogram's point describes the samples since the point before. A sample that
//! carries a timestamp of a bucket whose ten seconds are all used is counted in the present one.
//!
//! **Tags.** The function's tags (minus the excluded keys), `DD_DOGSTATSD_TAGS`, then the sample's own, exact duplicates
//! once. A sample's `host:` stays an ordinary tag; `dd.internal.entity_id:`, `dd.internal.card:` and
//! `dd.internal.jmx_check_name:` are instructions to an agent and are removed; `dd.internal.resource:<name>:<kind>`
//! becomes a resource of the series beside the tag.

pub mod agent;
pub mod aggregate;
pub mod context;
pub mod dogstatsd;
pub mod histogram;
pub mod payload;
pub mod settings;
pub mod sketch;
pub mod value;

use std::sync::Arc;

use crate::forwarder::FlushTicket;
use crate::lambda::Tags;

pub use self::dogstatsd::batch::Batch;

/// The types of samples; `ms` is a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `c`.
    Count,
    /// `g`.
    Gauge,
    /// `d`.
    Distribution,
    /// `h` and `ms`.
    Histogram,
    /// `s`.
    Set,
}

/// What the metrics agent receives.
#[derive(Debug)]
pub enum Message {
    /// What the socket's reader read.
    Samples(Batch),
    /// The function's tags, when they change after the start.
    Tags(Arc<Tags>),
    /// Send what has arrived so far. Comes through the reader, behind what lay in the socket.
    Flush(FlushTicket),
}
