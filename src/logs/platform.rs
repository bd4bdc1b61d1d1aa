//! The text of Lambda's own lines, as users and their parsers know them from Datadog (spec: logs 6.2).
//!
//! Pure. Runs on the logs agent's thread.

use std::fmt::Write as _;

use super::entry::Level;
use crate::lambda::telemetry::{PlatformKind, ReportMetrics, RuntimeMetrics, Status};

/// Writes the line of `event` to `out` and returns its level; `None` if the event has no line. `runtime_ms` is how long
/// the handler of the event's invocation ran, 0 if that is not known.
pub fn write_line(event: &PlatformKind, runtime_ms: f64, out: &mut String) -> Option<Level> {
    // Writing to a string cannot fail.
    let level = match event {
        PlatformKind::InitStart { runtime_version, runtime_version_arn, .. } => {
            let or_unknown = |text: &Option<String>| text.clone().filter(|t| !t.is_empty()).unwrap_or("?".to_owned());
            let (version, arn) = (or_unknown(runtime_version), or_unknown(runtime_version_arn));
            let _ = write!(out, "INIT_START Runtime Version: {version} Runtime Version ARN: {arn}");
            Level::Info
        }
        PlatformKind::Start { request_id, version, .. } => {
            let version = version.as_deref().unwrap_or("$LATEST");
            let _ = write!(out, "START RequestId: {request_id} Version: {version}");
            Level::Info
        }
        PlatformKind::RuntimeDone { request_id, status, error_type, metrics, .. } => {
            let _ = write!(out, "END RequestId: {request_id}");
            end_suffix(*status, error_type.as_deref(), *metrics, out)
        }
        PlatformKind::Report { request_id, status, error_type, metrics, .. } => {
            let _ = write!(out, "REPORT RequestId: {request_id} ");
            report(*status, error_type.as_deref(), metrics, runtime_ms, out)
        }
        PlatformKind::InitReport { .. }
        | PlatformKind::RestoreStart { .. }
        | PlatformKind::RestoreReport { .. }
        | PlatformKind::LogsDropped { .. } => return None,
    };
    Some(level)
}

fn end_suffix(status: Status, error: Option<&str>, metrics: Option<RuntimeMetrics>, out: &mut String) -> Level {
    let Some(metrics) = metrics else { return Level::Info };
    match status {
        Status::Success | Status::Failure => return Level::Info,
        Status::Timeout => timed_out(metrics.duration_ms, out),
        Status::Error => {
            let _ = write!(out, " Task failed: {:?}", error.unwrap_or_default());
        }
    }
    Level::Error
}

fn report(status: Status, error: Option<&str>, metrics: &ReportMetrics, runtime_ms: f64, out: &mut String) -> Level {
    let duration = metrics.duration_ms;
    let Some(billed) = &metrics.billed else {
        let _ = write!(out, "Runtime Duration: {duration:.2} ms");
        match (status, error) {
            (Status::Success | Status::Failure, _) => return Level::Info,
            (Status::Timeout, _) => timed_out(duration, out),
            (Status::Error, None) => out.push_str(" Task failed with an unknown error"),
            (Status::Error, Some(error)) => {
                let _ = write!(out, " Task failed: {error}");
            }
        }
        return Level::Error;
    };
    let post = if runtime_ms > 0.0 { duration - runtime_ms } else { 0.0 };
    let _ = write!(
        out,
        "Duration: {duration:.2} ms Runtime Duration: {runtime_ms:.2} ms Post Runtime Duration: {post:.2} ms \
         Billed Duration: {:.0} ms Memory Size: {} MB Max Memory Used: {} MB",
        billed.billed_duration_ms, billed.memory_size_mb, billed.max_memory_used_mb
    );
    if let Some(init) = billed.init_duration_ms {
        let _ = write!(out, " Init Duration: {init:.2} ms");
    }
    Level::Info
}

fn timed_out(duration_ms: f64, out: &mut String) {
    let _ = write!(out, " Task timed out after {:.2} seconds", duration_ms / 1000.0);
}
