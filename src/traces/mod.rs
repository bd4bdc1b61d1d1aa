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
pub mod dedup;
pub mod encode;
pub mod filter;
pub mod headers;
pub mod links;
pub mod msgpack;
pub mod names;
pub mod normalize;
pub mod obfuscate;
pub mod passthrough;
pub mod payload;
pub mod pipeline;
pub mod plumbing;
pub mod receiver;
pub mod replace;
pub mod sampling;
pub mod span;
pub mod stats;
pub mod tagging;

use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::forwarder::{FlushTicket, Payload};
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
    /// `Datadog-Obfuscation-Version`: the generation of the rules by which the tracer obfuscated the resources of its
    /// stats; 0 if it did not.
    pub obfuscation_version: u64,
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

/// The sampling rates that tracers are told, as the answer's body, and their version
/// (`Datadog-Rates-Payload-Version`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates {
    /// `{"rate_by_service":{"service:x,env:y":1.0,…}}`.
    pub body: String,
    /// Changes whenever a rate does.
    pub version: String,
}

/// A chunk of a trace in the stages: the spans of one window.
pub struct Chunk<'a> {
    /// The request's body, which most texts point into.
    pub body: &'a [u8],
    /// The entries of the spans' maps, and the other texts.
    pub store: &'a mut span::Store,
    /// The spans; at least one.
    pub spans: &'a mut [span::Span],
    /// The index of the root.
    pub root: usize,
    /// The environment that the payload goes out with; empty if unknown.
    pub env: &'a str,
    /// The sampling priority, if somebody decided.
    pub priority: Option<i32>,
    /// Where the trace began, as its tracer says.
    pub origin: Option<span::Text>,
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
        /// Gets the outcome once the spans are encoded and owned by the agent: the rates for the tracer.
        reply: Sender<Result<Arc<Rates>, DecodeError>>,
    },
    /// Stats that a tracer computed (`/v0.6/stats`); the connection waits for the reply.
    Stats {
        /// The request's body.
        body: Body,
        /// What the tracer says of itself.
        headers: Box<TracerHeaders>,
        /// Gets the outcome once the stats are owned by the agent.
        reply: Sender<Result<(), DecodeError>>,
    },
    /// A proxied request that goes out with the next flush; the connection waits for the reply.
    Proxied {
        /// What goes out.
        payload: Payload,
        /// Whether there was room for it.
        reply: Sender<bool>,
    },
    /// The function's tags, when they change after the start.
    Tags(Arc<Tags>),
    /// Send what has arrived so far.
    Flush(FlushTicket),
}
