//! Trace payloads as the intake received them (spec: traces 4.5). Pure.

use std::collections::BTreeMap;

use super::protobuf::{Error, Value, read};

/// A body of `/api/v0.2/traces`.
#[derive(Clone, Debug, Default)]
pub struct AgentPayload {
    /// The agent's host; empty from Lambda.
    pub host: String,
    /// The agent's environment.
    pub env: String,
    /// One for each tracer.
    pub tracers: Vec<TracerPayload>,
    /// Tags of all of it.
    pub tags: BTreeMap<String, String>,
    /// The agent's version.
    pub agent_version: String,
    /// Traces a second the agent aims at.
    pub target_tps: f64,
    /// Traces with errors a second the agent aims at.
    pub error_tps: f64,
}

/// What one tracer sent.
#[derive(Clone, Debug, Default)]
pub struct TracerPayload {
    /// Container of the tracer.
    pub container_id: String,
    /// `python`.
    pub language: String,
    /// Version of the language.
    pub language_version: String,
    /// Version of the tracer.
    pub tracer_version: String,
    /// Id of the process.
    pub runtime_id: String,
    /// Traces, or parts of them.
    pub chunks: Vec<Chunk>,
    /// Tags of all of it.
    pub tags: BTreeMap<String, String>,
    /// Environment.
    pub env: String,
    /// Host.
    pub hostname: String,
    /// Version of the function.
    pub app_version: String,
}

/// Spans of one trace.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    /// Sampling priority; -128 for none.
    pub priority: i64,
    /// `lambda`.
    pub origin: String,
    /// The spans.
    pub spans: Vec<Span>,
    /// Tags of all of them.
    pub tags: BTreeMap<String, String>,
    /// Whether a sampler dropped it.
    pub dropped: bool,
}

/// A span.
#[derive(Clone, Debug, Default)]
pub struct Span {
    /// Service.
    pub service: String,
    /// Operation.
    pub name: String,
    /// Resource.
    pub resource: String,
    /// Lower half of the trace's id.
    pub trace_id: u64,
    /// Its own id.
    pub span_id: u64,
    /// Its parent's id; 0 for a root.
    pub parent_id: u64,
    /// Nanoseconds since the epoch.
    pub start: i64,
    /// Nanoseconds.
    pub duration: i64,
    /// 1 if it failed.
    pub error: i64,
    /// Tags with text.
    pub meta: BTreeMap<String, String>,
    /// Tags with numbers.
    pub metrics: BTreeMap<String, f64>,
    /// `web`, `serverless`.
    pub kind: String,
    /// Tags with bytes.
    pub meta_struct: BTreeMap<String, Vec<u8>>,
    /// Links to other spans.
    pub links: Vec<SpanLink>,
    /// Events within it.
    pub events: Vec<SpanEvent>,
}

/// A link to another span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanLink {
    /// Lower half of the trace's id.
    pub trace_id: u64,
    /// Upper half of the trace's id.
    pub trace_id_high: u64,
    /// The span's id.
    pub span_id: u64,
    /// Tags.
    pub attributes: BTreeMap<String, String>,
    /// W3C trace state.
    pub tracestate: String,
    /// W3C flags.
    pub flags: u64,
}

/// An event within a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanEvent {
    /// Nanoseconds since the epoch.
    pub time: u64,
    /// Its name.
    pub name: String,
    /// Values of any type, still encoded.
    pub attributes: BTreeMap<String, Vec<u8>>,
}

/// Decodes a body of `/api/v0.2/traces`.
pub fn decode(body: &[u8]) -> Result<AgentPayload, Error> {
    let mut out = AgentPayload::default();
    read(body, |number, field| {
        match number {
            1 => out.host = field.string()?,
            2 => out.env = field.string()?,
            5 => out.tracers.push(tracer_payload(field)?),
            6 => field.entry_into(&mut out.tags, Value::string)?,
            7 => out.agent_version = field.string()?,
            8 => out.target_tps = field.double()?,
            9 => out.error_tps = field.double()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(out)
}

fn tracer_payload(message: Value<'_>) -> Result<TracerPayload, Error> {
    let mut out = TracerPayload::default();
    read(message.bytes()?, |number, field| {
        match number {
            1 => out.container_id = field.string()?,
            2 => out.language = field.string()?,
            3 => out.language_version = field.string()?,
            4 => out.tracer_version = field.string()?,
            5 => out.runtime_id = field.string()?,
            6 => out.chunks.push(chunk(field)?),
            7 => field.entry_into(&mut out.tags, Value::string)?,
            8 => out.env = field.string()?,
            9 => out.hostname = field.string()?,
            10 => out.app_version = field.string()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(out)
}

fn chunk(message: Value<'_>) -> Result<Chunk, Error> {
    let mut out = Chunk::default();
    read(message.bytes()?, |number, field| {
        match number {
            1 => out.priority = field.int()?,
            2 => out.origin = field.string()?,
            3 => out.spans.push(span(field)?),
            4 => field.entry_into(&mut out.tags, Value::string)?,
            5 => out.dropped = field.uint()? != 0,
            _ => {}
        }
        Ok(())
    })?;
    Ok(out)
}

fn span(message: Value<'_>) -> Result<Span, Error> {
    let mut out = Span::default();
    read(message.bytes()?, |number, field| {
        match number {
            1 => out.service = field.string()?,
            2 => out.name = field.string()?,
            3 => out.resource = field.string()?,
            4 => out.trace_id = field.uint()?,
            5 => out.span_id = field.uint()?,
            6 => out.parent_id = field.uint()?,
            7 => out.start = field.int()?,
            8 => out.duration = field.int()?,
            9 => out.error = field.int()?,
            10 => field.entry_into(&mut out.meta, Value::string)?,
            11 => field.entry_into(&mut out.metrics, Value::double)?,
            12 => out.kind = field.string()?,
            13 => field.entry_into(&mut out.meta_struct, |v| v.bytes().map(<[u8]>::to_vec))?,
            14 => out.links.push(link(field)?),
            15 => out.events.push(event(field)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(out)
}

fn link(message: Value<'_>) -> Result<SpanLink, Error> {
    let mut out = SpanLink::default();
    read(message.bytes()?, |number, field| {
        match number {
            1 => out.trace_id = field.uint()?,
            2 => out.trace_id_high = field.uint()?,
            3 => out.span_id = field.uint()?,
            4 => field.entry_into(&mut out.attributes, Value::string)?,
            5 => out.tracestate = field.string()?,
            6 => out.flags = field.uint()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(out)
}

fn event(message: Value<'_>) -> Result<SpanEvent, Error> {
    let mut out = SpanEvent::default();
    read(message.bytes()?, |number, field| {
        match number {
            1 => out.time = field.uint()?,
            2 => out.name = field.string()?,
            3 => field.entry_into(&mut out.attributes, |v| v.bytes().map(<[u8]>::to_vec))?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(out)
}
