//! Stats of spans as the intake received them (spec: traces, stats intake). Pure.

use std::collections::BTreeMap;

use super::msgpack::{Error, Value, read};
use super::protobuf;

/// A body of `/api/v0.2/stats`.
#[derive(Clone, Debug, Default)]
pub struct StatsPayload {
    /// The agent's host; empty from Lambda.
    pub host: String,
    /// The agent's environment.
    pub env: String,
    /// One for each process.
    pub clients: Vec<ClientStats>,
    /// Whether the backend must not count the same spans again.
    pub client_computed: bool,
    /// Whether other payloads belong to this one.
    pub split: bool,
}

/// What one process counted.
#[derive(Clone, Debug, Default)]
pub struct ClientStats {
    /// `Env`, `Version`, `Lang`, `TracerVersion`, `RuntimeID`, `ContainerID`, `Service`, ... that are not empty.
    pub about: BTreeMap<String, String>,
    /// By time.
    pub buckets: Vec<StatsBucket>,
}

/// What ended within some seconds.
#[derive(Clone, Debug, Default)]
pub struct StatsBucket {
    /// Nanoseconds since the epoch.
    pub start: u64,
    /// Nanoseconds.
    pub duration: u64,
    /// By how many nanoseconds the agent moved it.
    pub shift: i64,
    /// Spans by what they have in common.
    pub groups: Vec<StatsGroup>,
}

/// Spans that have the same key.
#[derive(Clone, Debug, Default)]
pub struct StatsGroup {
    /// `Service`, `Name`, `Resource`, `Type`, `SpanKind`, ... that are not empty.
    pub key: BTreeMap<String, String>,
    /// `key:value`.
    pub peer_tags: Vec<String>,
    /// HTTP status, 0 for none.
    pub status: u64,
    /// Whether a synthetic test began the trace.
    pub synthetics: bool,
    /// 1 for spans without a parent, 2 for others.
    pub root: u64,
    /// How many spans.
    pub hits: u64,
    /// How many of them failed.
    pub errors: u64,
    /// How many of them are top level.
    pub top_level: u64,
    /// Nanoseconds of all of them.
    pub duration: u64,
    /// How many durations the sketch of spans that did not fail has, and the one of those that did.
    pub sketched: [f64; 2],
}

impl StatsPayload {
    /// All groups of all buckets.
    pub fn groups(&self) -> impl Iterator<Item = &StatsGroup> {
        self.clients.iter().flat_map(|client| &client.buckets).flat_map(|bucket| &bucket.groups)
    }
}

/// Decodes a body of `/api/v0.2/stats`.
pub fn decode(body: &[u8]) -> Result<StatsPayload, Error> {
    let mut out = StatsPayload::default();
    for (name, value) in map(read(body)?)? {
        match name.as_str() {
            "AgentHostname" => out.host = text(value)?,
            "AgentEnv" => out.env = text(value)?,
            "Stats" => out.clients = list(value, client)?,
            "AgentVersion" => drop(text(value)?),
            "ClientComputed" => out.client_computed = boolean(&value)?,
            "SplitPayload" => out.split = boolean(&value)?,
            _ => return Err(format!("{name} is no field of a payload")),
        }
    }
    Ok(out)
}

fn client(value: Value) -> Result<ClientStats, Error> {
    let mut out = ClientStats::default();
    for (name, value) in map(value)? {
        match (name.as_str(), value) {
            ("Stats", value) => out.buckets = list(value, bucket)?,
            ("Sequence" | "ProcessTagsHash", value) => drop(number(&value)?),
            ("Tags", value) => drop(list(value, text)?),
            (_, value) => keep(&mut out.about, name, text(value)?),
        }
    }
    Ok(out)
}

fn bucket(value: Value) -> Result<StatsBucket, Error> {
    let mut out = StatsBucket::default();
    for (name, value) in map(value)? {
        match (name.as_str(), value) {
            ("Start", value) => out.start = number(&value)?,
            ("Duration", value) => out.duration = number(&value)?,
            ("AgentTimeShift", Value::Int(shift)) => out.shift = shift,
            ("AgentTimeShift", value) => out.shift = i64::try_from(number(&value)?).map_err(|e| e.to_string())?,
            ("Stats", value) => out.groups = list(value, group)?,
            _ => return Err(format!("{name} is no field of a bucket")),
        }
    }
    Ok(out)
}

fn group(value: Value) -> Result<StatsGroup, Error> {
    let mut out = StatsGroup::default();
    for (name, value) in map(value)? {
        match name.as_str() {
            "HTTPStatusCode" => out.status = number(&value)?,
            "Hits" => out.hits = number(&value)?,
            "Errors" => out.errors = number(&value)?,
            "Duration" => out.duration = number(&value)?,
            "TopLevelHits" => out.top_level = number(&value)?,
            "IsTraceRoot" => out.root = number(&value)?,
            "Synthetics" => out.synthetics = boolean(&value)?,
            "OkSummary" => out.sketched[0] = sketched(&value)?,
            "ErrorSummary" => out.sketched[1] = sketched(&value)?,
            "PeerTags" => out.peer_tags = list(value, text)?,
            "SpanDerivedPrimaryTags" | "AdditionalMetricTags" => drop(list(value, text)?),
            _ => keep(&mut out.key, name, text(value)?),
        }
    }
    Ok(out)
}

/// How many durations are in a sketch.
fn sketched(value: &Value) -> Result<f64, Error> {
    let Value::Binary(bytes) = value else { return Err(format!("bytes expected: {value:?}")) };
    let mut sum = 0.0;
    protobuf::read(bytes, |number, field| {
        match (number, field) {
            (2, store) => protobuf::read(store.bytes()?, |number, field| {
                if number == 2 {
                    let counts = field.bytes()?.as_chunks::<8>().0.iter();
                    sum += counts.map(|count| f64::from_le_bytes(*count)).sum::<f64>();
                }
                Ok(())
            })?,
            (4, zero) => sum += zero.double()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(sum)
}

fn keep(all: &mut BTreeMap<String, String>, name: String, text: String) {
    if !text.is_empty() {
        all.insert(name, text);
    }
}

fn map(value: Value) -> Result<Vec<(String, Value)>, Error> {
    if let Value::Map(entries) = value { Ok(entries) } else { Err(format!("a map expected: {value:?}")) }
}

fn list<T>(value: Value, item: fn(Value) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    match value {
        Value::Array(items) => items.into_iter().map(item).collect(),
        Value::Nil => Ok(Vec::new()),
        other => Err(format!("an array expected: {other:?}")),
    }
}

fn text(value: Value) -> Result<String, Error> {
    if let Value::Text(text) = value { Ok(text) } else { Err(format!("a string expected: {value:?}")) }
}

fn number(value: &Value) -> Result<u64, Error> {
    if let Value::Uint(number) = value { Ok(*number) } else { Err(format!("a number expected: {value:?}")) }
}

fn boolean(value: &Value) -> Result<bool, Error> {
    if let Value::Bool(value) = value { Ok(*value) } else { Err(format!("a boolean expected: {value:?}")) }
}
