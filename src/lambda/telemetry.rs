//! The Telemetry API's events (spec: lambda-apis 1.5): from the bytes of a delivery to log records and typed platform
//! events.
//!
//! Pure. Owns what the records mean, not what becomes of them. Runs on the logs agent's thread. A field that is missing
//! or has an unexpected type costs that field alone, for as long as the event makes sense without it.

pub mod json;
mod split;

use self::json::{integer, members, number, string};
use crate::codec::rfc3339;

pub use self::split::{Elements, Malformed, text_of};

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

/// A platform event that the coordinator is told of.
#[derive(Clone, Debug, PartialEq)]
pub struct PlatformEvent {
    /// The event's own time in milliseconds since the epoch.
    pub time_ms: u64,
    /// What happened. Boxed as it was read: an inbox has room for many events, and writes to every place when it is made.
    pub kind: Box<PlatformKind>,
}

/// The kinds of [`PlatformEvent`].
#[derive(Clone, Debug, PartialEq)]
pub enum PlatformKind {
    /// `platform.initStart`.
    InitStart {
        /// `on-demand`, `provisioned-concurrency`, `snap-start`, `lambda-managed-instances`.
        initialization_type: Option<String>,
        /// `init`, or `invoke` when a failed init runs again inside an invocation.
        phase: Option<String>,
        /// The runtime's version, for instance `python:3.13.v12`.
        runtime_version: Option<String>,
        /// Its ARN.
        runtime_version_arn: Option<String>,
    },
    /// `platform.initReport`.
    InitReport {
        /// As in `InitStart`.
        initialization_type: Option<String>,
        /// As in `InitStart`.
        phase: Option<String>,
        /// How the phase ended; the first schema does not say.
        status: Option<Status>,
        /// How long it took.
        duration_ms: Option<f64>,
    },
    /// `platform.restoreStart`: SnapStart.
    RestoreStart {
        /// As in `InitStart`.
        runtime_version: Option<String>,
        /// As in `InitStart`.
        runtime_version_arn: Option<String>,
    },
    /// `platform.restoreReport`: SnapStart.
    RestoreReport {
        /// How it ended.
        status: Option<Status>,
        /// The error, if there was one.
        error_type: Option<String>,
        /// How long it took.
        duration_ms: Option<f64>,
    },
    /// `platform.start`.
    Start {
        /// The invocation.
        request_id: String,
        /// The function's version.
        version: Option<String>,
        /// The value of the X-Ray trace header.
        tracing: Option<String>,
    },
    /// `platform.runtimeDone`: the end of the handler.
    RuntimeDone {
        /// The invocation.
        request_id: String,
        /// How it ended.
        status: Status,
        /// The error, for instance `Runtime.ExitError`.
        error_type: Option<String>,
        /// Absent after some crashes.
        metrics: Option<RuntimeMetrics>,
        /// `responseLatency`, `responseDuration`, `runtimeOverhead`.
        spans: Vec<PhaseSpan>,
    },
    /// `platform.report`: the end of the invocation's billing.
    Report {
        /// The invocation.
        request_id: String,
        /// How it ended.
        status: Status,
        /// The error, for instance `Sandbox.Timedout`.
        error_type: Option<String>,
        /// What Lambda measured.
        metrics: ReportMetrics,
        /// As in `RuntimeDone`; Managed Instances only.
        spans: Vec<PhaseSpan>,
    },
    /// `platform.logsDropped`: Lambda dropped records before it delivered them.
    LogsDropped {
        /// Why.
        reason: Option<String>,
        /// How many.
        records: u64,
        /// How large they were.
        bytes: u64,
    },
}

/// What `platform.runtimeDone` measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RuntimeMetrics {
    /// How long the handler ran; with response streaming until the end of the stream.
    pub duration_ms: f64,
    /// The response's size.
    pub produced_bytes: Option<u64>,
}

/// What `platform.report` measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReportMetrics {
    /// How long the invocation took.
    pub duration_ms: f64,
    /// What only functions on demand have.
    pub billed: Option<BilledMetrics>,
}

/// The part of `platform.report` that Managed Instances do not have.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BilledMetrics {
    /// The duration that is billed.
    pub billed_duration_ms: f64,
    /// The function's memory.
    pub memory_size_mb: u64,
    /// The most it used.
    pub max_memory_used_mb: u64,
    /// The init phase, for the invocation it belongs to.
    pub init_duration_ms: Option<f64>,
    /// SnapStart's restore phase.
    pub restore_duration_ms: Option<f64>,
    /// The part of it that is billed.
    pub billed_restore_duration_ms: Option<f64>,
}

/// A phase of an invocation.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseSpan {
    /// Its name.
    pub name: String,
    /// When it started, in milliseconds since the epoch.
    pub start_ms: u64,
    /// How long it took.
    pub duration_ms: f64,
}

/// One element of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Element<'a> {
    /// The element's time in milliseconds since the epoch.
    pub time_ms: u64,
    /// What it is.
    pub kind: Kind<'a>,
}

/// The kinds of [`Element`].
#[derive(Clone, Debug, PartialEq)]
pub enum Kind<'a> {
    /// A line of the function: its record as valid JSON text, any value.
    Function(&'a str),
    /// A line of an extension.
    Extension(&'a str),
    /// A platform event that somebody needs. Rare and large, unlike the others.
    Platform(Box<PlatformKind>),
    /// An event that nobody needs, or of a type this version does not know.
    Ignored,
}

impl<'a> Element<'a> {
    /// Reads an element from its parts as [`Elements`] finds them. `fallback_ms` is its time if it tells none.
    ///
    /// # Errors
    /// [`Malformed`] if it has no type, no record, or is a platform event without its request id.
    pub fn read(parts: [Option<&'a str>; 3], fallback_ms: u64) -> Result<Self, Malformed> {
        let [time, kind, record] = parts;
        let time_ms = time.and_then(string).and_then(|text| epoch_ms(&text)).unwrap_or(fallback_ms);
        let name = kind.and_then(string).ok_or(Malformed)?;
        let kind = match &*name {
            "function" => Kind::Function(record.ok_or(Malformed)?),
            "extension" => Kind::Extension(record.ok_or(Malformed)?),
            name => match name.strip_prefix("platform.") {
                Some(name) => platform(name, record.unwrap_or_default())?,
                None => Kind::Ignored,
            },
        };
        Ok(Self { time_ms, kind })
    }
}

/// Reads the record of `platform.{name}`.
fn platform<'a>(name: &str, record: &str) -> Result<Kind<'a>, Malformed> {
    let kind = match name {
        "initStart" => {
            let [kind, phase, version, arn] =
                texts(record, ["initializationType", "phase", "runtimeVersion", "runtimeVersionArn"])?;
            let (runtime_version, runtime_version_arn) = (version, arn);
            PlatformKind::InitStart { initialization_type: kind, phase, runtime_version, runtime_version_arn }
        }
        "initReport" => {
            let [kind, phase, status] = texts(record, ["initializationType", "phase", "status"])?;
            let status = status.as_deref().and_then(status_of);
            PlatformKind::InitReport { initialization_type: kind, phase, status, duration_ms: duration(record) }
        }
        "restoreStart" => {
            let [runtime_version, runtime_version_arn] = texts(record, ["runtimeVersion", "runtimeVersionArn"])?;
            PlatformKind::RestoreStart { runtime_version, runtime_version_arn }
        }
        "restoreReport" => {
            let [status, error_type] = texts(record, ["status", "errorType"])?;
            let status = status.as_deref().and_then(status_of);
            PlatformKind::RestoreReport { status, error_type, duration_ms: duration(record) }
        }
        "start" => start(record)?,
        "runtimeDone" => runtime_done(record)?,
        "report" => report(record)?,
        "logsDropped" => {
            let [reason, records, bytes] =
                members(record, ["reason", "droppedRecords", "droppedBytes"]).ok_or(Malformed)?;
            let count = |raw: Option<&str>| raw.and_then(integer).unwrap_or(0);
            PlatformKind::LogsDropped { reason: owned(reason), records: count(records), bytes: count(bytes) }
        }
        _ => return Ok(Kind::Ignored),
    };
    Ok(Kind::Platform(Box::new(kind)))
}

fn start(record: &str) -> Result<PlatformKind, Malformed> {
    let [id, version, tracing] = members(record, ["requestId", "version", "tracing"]).ok_or(Malformed)?;
    let tracing = tracing.and_then(|t| members(t, ["value"])).and_then(|[value]| owned(value));
    Ok(PlatformKind::Start { request_id: owned(id).ok_or(Malformed)?, version: owned(version), tracing })
}

fn runtime_done(record: &str) -> Result<PlatformKind, Malformed> {
    let names = ["requestId", "status", "errorType", "metrics", "spans"];
    let [id, status, error_type, metrics, spans] = members(record, names).ok_or(Malformed)?;
    let metrics = metrics.and_then(|m| members(m, ["durationMs", "producedBytes"])).map(|[duration, produced]| {
        let produced_bytes = produced.and_then(integer);
        RuntimeMetrics { duration_ms: duration.and_then(number).unwrap_or(0.0), produced_bytes }
    });
    Ok(PlatformKind::RuntimeDone {
        request_id: owned(id).ok_or(Malformed)?,
        status: invocation_status(status),
        error_type: owned(error_type),
        metrics,
        spans: phase_spans(spans),
    })
}

fn report(record: &str) -> Result<PlatformKind, Malformed> {
    let names = ["requestId", "status", "errorType", "metrics", "spans"];
    let [id, status, error_type, metrics, spans] = members(record, names).ok_or(Malformed)?;
    Ok(PlatformKind::Report {
        request_id: owned(id).ok_or(Malformed)?,
        status: invocation_status(status),
        error_type: owned(error_type),
        metrics: metrics.and_then(report_metrics).unwrap_or_default(),
        spans: phase_spans(spans),
    })
}

fn report_metrics(metrics: &str) -> Option<ReportMetrics> {
    let names = [
        "durationMs",
        "billedDurationMs",
        "memorySizeMB",
        "maxMemoryUsedMB",
        "initDurationMs",
        "restoreDurationMs",
        "billedRestoreDurationMs",
    ];
    let [duration, billed, memory, used, init, restore, billed_restore] = members(metrics, names)?;
    let billed = billed.and_then(number).map(|billed_duration_ms| BilledMetrics {
        billed_duration_ms,
        memory_size_mb: memory.and_then(integer).unwrap_or(0),
        max_memory_used_mb: used.and_then(integer).unwrap_or(0),
        init_duration_ms: init.and_then(number),
        restore_duration_ms: restore.and_then(number),
        billed_restore_duration_ms: billed_restore.and_then(number),
    });
    Some(ReportMetrics { duration_ms: duration.and_then(number).unwrap_or(0.0), billed })
}

/// The well-formed ones of the array `spans`.
fn phase_spans(spans: Option<&str>) -> Vec<PhaseSpan> {
    let raw: Vec<&serde_json::value::RawValue> =
        spans.and_then(|spans| serde_json::from_str(spans).ok()).unwrap_or_default();
    let read = |raw: &str| {
        let [name, start, duration] = members(raw, ["name", "start", "durationMs"])?;
        let start_ms = epoch_ms(&string(start?)?)?;
        Some(PhaseSpan { name: owned(name)?, start_ms, duration_ms: number(duration?)? })
    };
    raw.into_iter().filter_map(|raw| read(raw.get())).collect()
}

/// The strings among these members of an object.
fn texts<const N: usize>(record: &str, names: [&str; N]) -> Result<[Option<String>; N], Malformed> {
    Ok(members(record, names).ok_or(Malformed)?.map(owned))
}

fn owned(raw: Option<&str>) -> Option<String> {
    raw.and_then(string).map(|text| text.into_owned())
}

/// `metrics.durationMs`.
fn duration(record: &str) -> Option<f64> {
    let [metrics] = members(record, ["metrics"])?;
    let [duration] = members(metrics?, ["durationMs"])?;
    number(duration?)
}

fn status_of(text: &str) -> Option<Status> {
    Some(match text {
        "success" => Status::Success,
        "error" => Status::Error,
        "failure" => Status::Failure,
        "timeout" => Status::Timeout,
        _ => return None,
    })
}

/// An invocation's status; one that this version does not know is no success.
fn invocation_status(raw: Option<&str>) -> Status {
    raw.and_then(string).and_then(|text| status_of(&text)).unwrap_or(Status::Failure)
}

/// Milliseconds since the epoch of a time as the Telemetry API writes it.
fn epoch_ms(text: &str) -> Option<u64> {
    rfc3339::parse(text).map(|ns| ns / 1_000_000)
}

#[cfg(test)]
mod tests;
