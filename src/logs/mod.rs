//! Logs: from Telemetry API records to batches for the intake.
//!
//! Everything but `agent` is pure. `agent::run` is the thread `logs-agent`: it owns the mapping state (the current
//! request id, logs that wait for one), the rules and the open batch, and relays platform events to the coordinator
//! once the records delivered with them are in the batch.

pub mod agent;
pub mod batch;
pub mod entry;
mod escape;
pub mod frame;
pub mod mapper;
mod platform;
mod record;
pub mod rules;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use crate::forwarder::FlushTicket;
use crate::lambda::Tags;
use crate::net::Body;

/// What the logs agent receives.
#[derive(Debug)]
pub enum Message {
    /// A delivery of the Telemetry API: a JSON array of events, not yet looked at.
    Telemetry(Body),
    /// The function's tags, when they change after the start.
    Tags(Arc<Tags>),
    /// Send what has arrived so far.
    Flush(FlushTicket),
}
