//! The start-up order: the only place that makes channels and spawns threads.

use std::ffi::OsStr;
use std::process::ExitCode;

/// Runs the extension until SHUTDOWN.
#[must_use]
pub fn run(_argv0: Option<&OsStr>) -> ExitCode {
    ExitCode::SUCCESS
}
