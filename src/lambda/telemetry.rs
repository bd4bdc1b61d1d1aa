//! The Telemetry API's events (spec: lambda-apis 1.5): from the bytes of a delivery to typed platform events.
//!
//! Pure. Runs on the logs agent's thread.

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
    /// What happened.
    pub kind: PlatformKind,
}

/// The kinds of [`PlatformEvent`].
#[derive(Clone, Debug, PartialEq)]
pub enum PlatformKind {
    /// `platform.start`.
    Start {
        /// The invocation.
        request_id: String,
    },
    /// `platform.runtimeDone`: the end of the handler.
    RuntimeDone {
        /// The invocation.
        request_id: String,
        /// How it ended.
        status: Status,
    },
    /// `platform.report`: the end of the invocation's billing.
    Report {
        /// The invocation.
        request_id: String,
        /// How it ended.
        status: Status,
    },
}
