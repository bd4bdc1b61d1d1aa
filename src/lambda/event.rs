//! What can happen to the agent: the closed set of events in the coordinator's inbox.
//!
//! Every thread that learns something about the lifecycle sends one of these, with `try_send` if somebody waits for that
//! thread; only the coordinator receives them.

use super::telemetry::PlatformEvent;
use crate::config::Signal;

/// Why Lambda ends the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownReason {
    /// Idle for long enough.
    Spindown,
    /// The function did not end before its deadline.
    Timeout,
    /// The runtime failed or exited.
    Failure,
    /// A reason this version does not know, or a signal.
    Other,
}

/// An invocation as `next` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoke {
    /// The invocation's id.
    pub request_id: String,
    /// When Lambda ends it, in milliseconds since the epoch.
    pub deadline_ms: u64,
    /// The ARN as invoked, with its qualifier if there was one.
    pub invoked_function_arn: String,
}

/// What the reply to register says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registration {
    /// The function's name.
    pub function_name: String,
    /// The function's version.
    pub function_version: String,
    /// The account; empty where the platform does not tell (AWS's emulator).
    pub account_id: String,
}

/// One entry of the coordinator's inbox.
#[derive(Debug)]
pub enum Event {
    /// Registration succeeded and `next` is polled.
    Registered {
        /// What the reply said.
        registration: Registration,
        /// Whether the Telemetry API will deliver events.
        telemetry: bool,
    },
    /// Registration is impossible: there is nobody to serve.
    RegisterFailed(String),
    /// `next` returned an invocation; the `next` thread waits for a permit to poll again.
    Invoke(Invoke),
    /// `next` returned SHUTDOWN.
    Shutdown {
        /// Why.
        reason: ShutdownReason,
        /// When Lambda kills the process, in milliseconds since the epoch.
        deadline_ms: u64,
    },
    /// A platform event from the Telemetry API; the logs delivered with it are already with the logs agent.
    Platform(PlatformEvent),
    /// A library asked for a flush (`/lambda/flush`) and may act on it (`DD_LOCAL_TEST`).
    FlushRequested,
    /// A library told the end of its handler (`/lambda/end-invocation`).
    InvocationEnded,
    /// An aggregator holds more than half of what it may: send now.
    Pressure(Signal),
    /// SIGTERM or SIGINT.
    Terminate,
    /// The thread of a component ended; the component is off from now on.
    Died(&'static str),
}
