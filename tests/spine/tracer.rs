//! What a tracer does: spans in every version of the protocol, requests on one connection, and the answers to them. And
//! a function that makes such requests in each invocation.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::lab::intake::{Received, Span};
use crate::lab::{Outcome, Runtime, msgpack};
use crate::{LIMIT, Scene};

/// A root span with this id, changed as `more` says.
pub fn span(id: u64, more: &Value) -> Value {
    let mut span = json!({
        "service": "s", "name": "op", "resource": "r", "trace_id": id, "span_id": id, "parent_id": 0,
        "start": 1_700_000_000_000_000_000_u64, "duration": 1000, "error": 0, "meta": {}, "metrics": {}, "type": "custom",
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        span[key] = value.clone();
    }
    span
}

/// A request to the trace receiver that leaves the connection open.
pub fn request(target: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let more: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{more}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Traces, an array of arrays of spans, in v0.4.
pub fn v04(traces: &Value, headers: &[&str]) -> Vec<u8> {
    let headers = [&["Content-Type: application/msgpack", "Datadog-Meta-Lang: lab"], headers].concat();
    request("/v0.4/traces", &headers, &msgpack::encode(traces))
}

/// The versions of the protocol in which [`encode`] writes.
pub const VERSIONS: [&str; 5] = ["v0.3", "v0.4", "v0.5", "v0.7", "json"];

/// The same in any of [`VERSIONS`].
pub fn encode(version: &str, traces: &Value) -> Vec<u8> {
    let binary = "Content-Type: application/msgpack";
    match version {
        "v0.3" => request("/v0.3/traces", &[binary], &msgpack::encode(traces)),
        "v0.4" => v04(traces, &[]),
        "v0.5" => request("/v0.5/traces", &[binary], &msgpack::encode(&v05(traces))),
        "v0.7" => request("/v0.7/traces", &[binary], &msgpack::encode(&v07(traces))),
        _ => request("/v0.4/traces", &["Content-Type: application/json"], traces.to_string().as_bytes()),
    }
}

fn v05(traces: &Value) -> Value {
    let mut strings = vec![json!("")];
    let mut index = |text: &str| {
        let known = strings.iter().position(|known| known == text).unwrap_or(strings.len());
        if known == strings.len() {
            strings.push(json!(text));
        }
        json!(known)
    };
    let mut all = Vec::new();
    for trace in traces.as_array().unwrap() {
        let mut spans = Vec::new();
        for span in trace.as_array().unwrap() {
            let mut text = |key: &str| index(span[key].as_str().unwrap_or_default());
            let mut fields = vec![text("service"), text("name"), text("resource")];
            let kind = text("type");
            for key in ["trace_id", "span_id", "parent_id", "start", "duration", "error"] {
                fields.push(span[key].clone());
            }
            let entries = |map: &Value| map.as_object().cloned().unwrap_or_default();
            let pairs: Vec<Value> = entries(&span["meta"])
                .iter()
                .flat_map(|(key, value)| [index(key), index(value.as_str().unwrap())])
                .collect();
            fields.push(json!({ "$pairs": pairs }));
            let pairs: Vec<Value> =
                entries(&span["metrics"]).iter().flat_map(|(key, value)| [index(key), value.clone()]).collect();
            fields.push(json!({ "$pairs": pairs }));
            fields.push(kind);
            spans.push(Value::Array(fields));
        }
        all.push(Value::Array(spans));
    }
    json!([strings, all])
}

fn v07(traces: &Value) -> Value {
    let chunk = |trace: &Value| {
        let priority = trace[0]["metrics"]["_sampling_priority_v1"].as_i64().unwrap_or(-128);
        json!({"priority": priority, "origin": "", "spans": trace, "tags": {}, "dropped_trace": false})
    };
    let chunks: Vec<Value> = traces.as_array().unwrap().iter().map(chunk).collect();
    json!({
        "container_id": "", "language_name": "lab", "language_version": "1", "tracer_version": "2",
        "runtime_id": "process-7", "chunks": chunks, "tags": {}, "env": "", "hostname": "", "app_version": "",
    })
}

/// Stats that a tracer computed: one group in one bucket, changed as `more` says.
pub fn client_stats(more: &Value) -> Vec<u8> {
    let empty = json!({"$bytes": []});
    let mut group = json!({
        "Service": "s", "Name": "op", "Resource": "r", "HTTPStatusCode": 0, "Type": "web", "DBType": "", "Hits": 1,
        "Errors": 0, "Duration": 1000, "OkSummary": empty, "ErrorSummary": empty, "Synthetics": false,
        "TopLevelHits": 1, "SpanKind": "server", "PeerTags": [], "IsTraceRoot": 1,
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        group[key] = value.clone();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let bucket = json!({"Start": now / 10 * 10 * 1_000_000_000, "Duration": 10_000_000_000_u64, "Stats": [group]});
    let payload = json!({
        "Hostname": "a-host", "Env": "prod", "Version": "1.2", "Lang": "lab", "TracerVersion": "3", "RuntimeID": "id",
        "Sequence": 1, "AgentAggregation": "", "Service": "s", "ContainerID": "", "Stats": [bucket],
    });
    request("/v0.6/stats", &["Content-Type: application/msgpack"], &msgpack::encode(&payload))
}

/// What was answered to a request.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status; 0 for none.
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The rate that is told for `service` in no environment.
    pub fn rate(&self, service: &str) -> Option<f64> {
        self.json()["rate_by_service"][format!("service:{service},env:")].as_f64()
    }
}

/// A connection of a tracer, which makes one request after the other.
pub struct Connection(TcpStream);

impl Connection {
    /// A new one.
    pub fn open() -> Self {
        let stream = TcpStream::connect(("127.0.0.1", 8126)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self(stream)
    }

    /// Sends `request` and reads the answer.
    pub fn ask(&mut self, request: &[u8]) -> Answer {
        // The answer to a request that is refused may come, and the connection go, before all of it is written.
        let _ = self.0.write_all(request);
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.read(&mut bytes) {
                return Answer::default();
            }
        };
        let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
        let mut lines = text.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let headers: BTreeMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        while bytes.len() < head + length && self.read(&mut bytes) {}
        let body = String::from_utf8_lossy(&bytes[head..]).into_owned();
        Answer { status: status.unwrap_or_default(), headers, body }
    }

    fn read(&mut self, bytes: &mut Vec<u8>) -> bool {
        let mut some = [0; 4096];
        let length = self.0.read(&mut some).unwrap_or(0);
        bytes.extend_from_slice(&some[..length]);
        length > 0
    }
}

/// A function that in invocation `n` makes the requests of `requests(n)` on one connection, and returns the answers.
pub fn scene(env: &[(&str, &str)], requests: impl Fn(u64) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Scene {
    Scene::with(env, |options| {
        options.runtime = Runtime::builtin(move |invocation| {
            let mut connection = Connection::open();
            let n = invocation.payload["n"].as_u64().unwrap_or_default();
            let answers: Vec<Value> = requests(n)
                .iter()
                .map(|request| {
                    let Answer { status, headers, body } = connection.ask(request);
                    json!([status, headers, body])
                })
                .collect();
            Outcome::Done(json!(answers))
        });
    })
}

impl Scene {
    /// The answers to the requests of invocation `n`.
    pub fn answers(&mut self, n: u32) -> Vec<Answer> {
        let response = self.invoke(n).response;
        let answer = |answer: &Value| Answer {
            status: answer[0].as_u64().unwrap() as u16,
            headers: serde_json::from_value(answer[1].clone()).unwrap(),
            body: answer[2].as_str().unwrap().to_owned(),
        };
        response.as_array().expect("answers").iter().map(answer).collect()
    }

    /// What was counted, as the last line at SHUTDOWN says; only with `DD_LOG_LEVEL=debug`.
    pub fn ledger(&self) -> BTreeMap<String, u64> {
        const MARK: &str = "what became of everything: ";
        let lines = self.lines("DEBUG");
        let line = lines.iter().find_map(|line| line.strip_prefix(MARK)).expect("a ledger");
        let entry = |entry: &str| {
            let (name, count) = entry.split_once('=').unwrap();
            (name.to_owned(), count.parse().unwrap())
        };
        line.split(' ').map(entry).collect()
    }
}

/// The span with this id, which is there once or not at all.
pub fn find(received: &Received, id: u64) -> Option<&Span> {
    let mut found = received.spans().filter(|span| span.span_id == id);
    let first = found.next();
    assert!(found.next().is_none(), "span {id} arrived more than once");
    first
}
