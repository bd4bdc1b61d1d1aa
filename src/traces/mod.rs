//! Traces: from the tracers' payloads to the trace intake.
//!
//! `receiver` answers on connection threads of the thread `traces`; `agent` is the thread `trace-agent`, which decodes,
//! processes, encodes and compresses. The rest is pure:
//!
//! | file | what |
//! | --- | --- |
//! | `msgpack` | a reader over the body |
//! | `span`, `decode`, `links` | spans as numbers and offsets into the body; first walk: everything is checked |
//! | `normalize`, `names`, `chunk`, `tagging` | the stages: functions over spans and chunks |
//! | `encode` | second walk: msgpack to protobuf, once |
//! | `pipeline` | all of that for one request, in reused memory |
//! | `batch` | finished pieces, compressed as they come, within a byte budget |

pub mod agent;
pub mod batch;
pub mod chunk;
pub mod decode;
pub mod encode;
pub mod headers;
pub mod links;
pub mod msgpack;
pub mod names;
pub mod normalize;
pub mod payload;
pub mod pipeline;
pub mod receiver;
pub mod span;
pub mod tagging;

use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::forwarder::FlushTicket;
use crate::lambda::Tags;
use crate::net::Body;

/// Longest span as it goes out, in bytes. One longer makes a payload that the intake refuses whole.
pub const MAX_SPAN: usize = 8_000_000;

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
