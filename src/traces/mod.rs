//! Traces: from the tracers' payloads to the trace intake.
//!
//! `receiver` answers on connection threads of the thread `traces`; `agent` is the thread `trace-agent`, which decodes,
//! processes, encodes and compresses. The rest is pure.

use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::forwarder::FlushTicket;
use crate::lambda::Tags;
use crate::net::Body;

/// The encodings of trace payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// msgpack: an array of traces, each an array of span maps.
    V04,
    /// msgpack: a string table and spans as arrays of indices into it.
    V05,
}

/// What a tracer says of itself in its request headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracerHeaders {
    /// `Datadog-Meta-Lang`.
    pub lang: String,
    /// `Datadog-Meta-Lang-Version`.
    pub lang_version: String,
    /// `Datadog-Meta-Lang-Interpreter`.
    pub interpreter: String,
    /// `Datadog-Meta-Lang-Interpreter-Vendor`.
    pub interpreter_vendor: String,
    /// `Datadog-Meta-Tracer-Version`.
    pub tracer_version: String,
    /// `Datadog-Container-Id`.
    pub container_id: String,
    /// `Datadog-Client-Computed-Top-Level`.
    pub client_computed_top_level: bool,
    /// `Datadog-Client-Computed-Stats`.
    pub client_computed_stats: bool,
    /// `Datadog-Client-Dropped-P0-Traces`.
    pub dropped_p0_traces: u64,
    /// `Datadog-Client-Dropped-P0-Spans`.
    pub dropped_p0_spans: u64,
}

/// Why a payload was refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// What is wrong.
    pub reason: &'static str,
    /// The byte at which it is.
    pub offset: usize,
}

/// What the trace agent receives.
#[derive(Debug)]
pub enum Message {
    /// A payload from a tracer; the connection waits for the reply.
    Payload {
        /// The request's body.
        body: Body,
        /// How it is encoded.
        format: Format,
        /// What the tracer says of itself.
        headers: Box<TracerHeaders>,
        /// Gets the outcome once the spans are encoded and owned by the agent.
        reply: Sender<Result<(), DecodeError>>,
    },
    /// The function's tags, when they change after the start.
    Tags(Arc<Tags>),
    /// Send what has arrived so far.
    Flush(FlushTicket),
}
