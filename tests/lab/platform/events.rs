//! The Telemetry API's events in the shapes Lambda gives them (spec: lambda-apis 1.5). Pure.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::super::time::{ms, rfc3339};
use super::options::Options;

/// How an invocation or a phase ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As it should.
    Success,
    /// The function reported an error.
    Error,
    /// The runtime crashed or exited.
    Failure,
    /// The deadline passed.
    Timeout,
}

impl Status {
    /// As the events spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Failure => "failure",
            Self::Timeout => "timeout",
        }
    }
}

/// An event with its time.
pub fn envelope(at: SystemTime, kind: &str, record: &Value) -> Value {
    json!({"time": rfc3339(at), "type": kind, "record": record})
}

/// Which kind of subscription an event belongs to.
pub fn category(kind: &str) -> &str {
    kind.split('.').next().unwrap_or(kind)
}

pub fn init_start(options: &Options, phase: &str) -> Value {
    json!({
        "initializationType": options.initialization_type,
        "phase": phase,
        "runtimeVersion": "python:3.11.v42",
        "runtimeVersionArn": format!("arn:aws:lambda:{}::runtime:0000lab", options.region),
        "functionName": options.function_name,
        "functionVersion": options.function_version,
    })
}

pub fn init_done(options: &Options, phase: &str, status: Status) -> Value {
    json!({"initializationType": options.initialization_type, "phase": phase, "status": status.as_str()})
}

pub fn init_report(options: &Options, phase: &str, status: Status, took: Duration) -> Value {
    let mut record = init_done(options, phase, status);
    record["metrics"] = json!({"durationMs": round(ms(took))});
    record
}

pub fn extension_ready(name: &str, events: &[String]) -> Value {
    json!({"name": name, "state": "Ready", "events": events})
}

pub fn subscribed(name: &str, types: &[String]) -> Value {
    json!({"name": name, "state": "Subscribed", "types": types})
}

pub fn start(request_id: &str, version: &str, trace: &str) -> Value {
    json!({"requestId": request_id, "version": version, "tracing": tracing(trace)})
}

/// What is known of an invocation once its runtime is done.
pub struct Done<'a> {
    pub request_id: &'a str,
    pub trace: &'a str,
    pub status: Status,
    pub error_type: Option<&'a str>,
    pub started: SystemTime,
    /// From the start to the response, and to the runtime's `next` or its end.
    pub response: Duration,
    pub runtime: Duration,
    /// Bytes of the response.
    pub produced: usize,
}

impl Done<'_> {
    pub fn runtime_done(&self) -> Value {
        let mut record = json!({
            "requestId": self.request_id,
            "status": self.status.as_str(),
            "metrics": {"durationMs": round(ms(self.runtime)), "producedBytes": self.produced},
            "tracing": tracing(self.trace),
        });
        if self.status == Status::Failure {
            // A runtime that crashed has no measurements.
            record.as_object_mut().map(|r| r.remove("metrics"));
        }
        self.finish(&mut record);
        record
    }

    pub fn report(&self, options: &Options, duration: Duration, memory_mb: u64, init: Option<Duration>) -> Value {
        let mut record = json!({
            "requestId": self.request_id,
            "status": self.status.as_str(),
            "metrics": {
                "durationMs": round(ms(duration)),
                "billedDurationMs": (duration + init.unwrap_or_default()).as_millis() as u64 + 1,
                "memorySizeMB": options.memory_mb,
                "maxMemoryUsedMB": memory_mb,
            },
            "tracing": tracing(self.trace),
        });
        if let Some(init) = init {
            record["metrics"]["initDurationMs"] = json!(round(ms(init)));
        }
        self.finish(&mut record);
        record
    }

    fn finish(&self, record: &mut Value) {
        if let Some(error) = self.error_type {
            record["errorType"] = json!(error);
        }
        if matches!(self.status, Status::Success | Status::Error) {
            let span = |name: &str, after: Duration, took: Duration| json!({"name": name, "start": rfc3339(self.started + after), "durationMs": round(ms(took))});
            record["spans"] = json!([
                span("responseLatency", Duration::ZERO, self.response),
                span("responseDuration", self.response, Duration::ZERO),
                span("runtimeOverhead", self.response, self.runtime.saturating_sub(self.response)),
            ]);
        }
    }
}

pub fn logs_dropped(records: usize, bytes: usize) -> Value {
    let reason = "Consumer seems to have fallen behind as it has not acknowledged receipt of logs.";
    json!({"reason": reason, "droppedRecords": records, "droppedBytes": bytes})
}

fn tracing(trace: &str) -> Value {
    json!({"type": "X-Amzn-Trace-Id", "value": trace})
}

/// Lambda's durations have three digits after the point.
fn round(ms: f64) -> f64 {
    (ms * 1000.0).round() / 1000.0
}
