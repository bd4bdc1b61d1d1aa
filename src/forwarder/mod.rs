//! The way out: the only code that opens connections to Datadog.
//!
//! One client for every signal, built at the first flush; one worker thread per signal, started at its first payload.
//! Aggregators hand over finished payloads through a [`Lane`]; a payload that could not be sent stays with the worker,
//! within a byte budget, for the next flush.
//!
//! [`worker`] runs on the threads `forward-*` and gives each endpoint an outbox with the rules of retrying; `client`
//! owns connections and timeouts, `tls` their algorithms, `endpoints` URLs and headers, `intakes` those of requests that
//! are passed on, `outcome` the meaning of answers, `notice` what the user is told. A flush answers once, within its
//! deadline, whatever the intakes do.
//!
//! A request whose client waits for the intake's own answer does not go through a worker: [`Relay`] sends it on the
//! thread of the client's connection.

mod client;
mod early;
mod endpoints;
mod intakes;
mod notice;
mod outbox;
mod outcome;
mod relay;
mod tls;
pub mod worker;

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError};

pub use client::Client;
pub use relay::{Answer, Relay, RelayError, Upload};

use crate::config::{LambdaEnv, Signal};
use crate::diag::counters::{Counter, add};

/// A connection that was idle for longer is not used again: the environment was probably frozen meanwhile, and what
/// lies between us and the intake may have forgotten it without a word.
const STALE_AFTER: Duration = Duration::from_secs(20);

/// Bytes that an endpoint's outbox keeps between flushes. The bodies are compressed, about ten to one, and
/// shared by the endpoints of a signal: the limits hold minutes of an outage for a busy function, together 36 MiB.
/// In small functions they shrink with its memory, to 11 % of it altogether.
fn retained_max(signal: Signal, lambda: &LambdaEnv) -> usize {
    const MIB: usize = 1024 * 1024;
    let (limit, part) = match signal {
        Signal::Logs => (8 * MIB, 32),
        Signal::Metrics => (4 * MIB, 64),
        Signal::Traces => (24 * MIB, 16),
    };
    lambda.share(limit, part)
}

/// Bytes that an endpoint's outbox keeps of requests that are passed on: a few profiles, or hours of the rest.
fn proxied_max(lambda: &LambdaEnv) -> usize {
    lambda.share(4 << 20, 64)
}

/// Which intake a payload is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// `/api/v2/logs`, JSON.
    Logs,
    /// `/api/v2/series`, JSON.
    Series,
    /// `/api/beta/sketches`, protobuf.
    Sketches,
    /// `/intake/`, JSON: DogStatsD events.
    Events,
    /// `/api/v1/check_run`, JSON.
    ServiceChecks,
    /// `/api/v0.2/traces`, protobuf.
    Traces,
    /// `/api/v0.2/stats`, msgpack.
    Stats,
    /// A tracer's request, which [`Payload::request`] describes.
    Proxied(Intake),
}

/// Where a tracer's request goes that is passed on as it is (spec: config 2.9). The addresses are in `intakes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Intake {
    /// Profiles.
    Profiles,
    /// Snapshots of the first version of the debugger: logs.
    DebuggerLogs,
    /// The debugger's data and diagnostics.
    Debugger,
    /// Symbols for the debugger.
    Symbols,
    /// Statistics of data streams.
    DataStreams,
    /// Telemetry of tracers.
    Telemetry,
    /// Spans of LLM Observability.
    LlmSpans,
    /// Its evaluations.
    LlmEvaluations,
    /// The event platform; [`Request::subdomain`] says which part of it.
    Events,
    /// Tracers' flares.
    Flares,
    /// Remote configuration.
    Settings,
    /// OpenLineage events.
    Lineage,
}

/// A tracer's request that is passed on, without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where to.
    pub intake: Intake,
    /// For [`Intake::Events`] the first labels of the host, checked; empty for the others.
    pub subdomain: String,
    /// What follows the intake's address: a path if the intake leaves that to the client, and a query with its question
    /// mark if there is one.
    pub target: String,
    /// Names and values, in order; a name may come several times. None of them concerns the connection.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Request {
    /// Whether no line of its head is too long to be sent.
    #[must_use]
    pub fn fits(&self) -> bool {
        let lines = self.headers.iter().map(|(name, value)| name.len() + value.len());
        lines.chain([self.target.len()]).all(|length| length <= client::LINE_MAX)
    }
}

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// zstd.
    Zstd,
    /// gzip.
    Gzip,
}

/// A body ready to be sent to every endpoint of its route.
#[derive(Clone, Debug)]
pub struct Payload {
    /// Where to.
    pub route: Route,
    /// How the body is encoded.
    pub encoding: Encoding,
    /// The bytes.
    pub body: Vec<u8>,
    /// Logs, samples or spans inside, for the counters.
    pub items: u32,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// What is sent for [`Route::Proxied`]; nothing for the others.
    pub request: Option<Box<Request>>,
}

/// An order to send what has been received so far.
#[derive(Clone, Copy, Debug)]
pub struct FlushTicket {
    /// Numbers the flushes of this process.
    pub id: u64,
    /// After this nobody waits for the flush any more; a worker starts no attempt after it.
    pub deadline: Instant,
    /// SHUTDOWN has begun: no endpoint may take the time in which another gets what it still has to get. Before the last
    /// flush only primary endpoints are sent to.
    pub ending: bool,
    /// The flush at SHUTDOWN: open buckets and held logs go too, one attempt for each payload, newest first.
    pub last: bool,
}

/// A worker's (or a lane's) answer to a ticket. A payload counts once for each endpoint it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushDone {
    /// Whose.
    pub signal: Signal,
    /// The ticket's number.
    pub id: u64,
    /// Payloads acknowledged by their intake.
    pub sent: u32,
    /// Payloads kept for the next flush.
    pub kept: u32,
}

/// What a worker receives.
#[derive(Debug)]
pub struct Job {
    /// The order this is part of.
    pub ticket: FlushTicket,
    /// Payloads, oldest first.
    pub payloads: Vec<Payload>,
}

/// Starts a worker thread on the channel's other end; `false` if that failed.
pub type StartWorker = Box<dyn FnOnce(Receiver<Job>) -> bool + Send>;

/// An aggregator's end of the way to its worker.
pub struct Lane {
    signal: Signal,
    done: Sender<FlushDone>,
    state: LaneState,
}

enum LaneState {
    /// Nothing was ever sent: no thread, no client.
    Unused(StartWorker),
    Running(Sender<Job>),
    Broken,
}

impl Lane {
    /// A lane whose worker is started by `start` when the first payload comes.
    #[must_use]
    pub fn new(signal: Signal, done: Sender<FlushDone>, start: StartWorker) -> Self {
        Self { signal, done, state: LaneState::Unused(start) }
    }

    /// Hands `payloads` to the worker as part of `ticket`. The worker, or the lane itself if there is nothing to do or
    /// the worker is still busy with earlier flushes, answers the ticket with exactly one [`FlushDone`]. Does not wait,
    /// except in the last flush, until its deadline: once that is answered the process ends, and with it the worker.
    ///
    /// # Errors
    /// Gives the payloads back if the worker is busy or cannot be started; the aggregator keeps them within its budget.
    pub fn flush(&mut self, ticket: FlushTicket, payloads: Vec<Payload>) -> Result<(), Vec<Payload>> {
        if matches!(self.state, LaneState::Unused(_)) && !payloads.is_empty() {
            self.start();
        }
        let rest = match &self.state {
            LaneState::Running(jobs) => {
                let job = Job { ticket, payloads };
                let refused = if ticket.last {
                    jobs.send_deadline(job, ticket.deadline).err().map(SendTimeoutError::into_inner)
                } else {
                    jobs.try_send(job).err().map(TrySendError::into_inner)
                };
                match refused {
                    None => return Ok(()),
                    Some(job) => job.payloads,
                }
            }
            LaneState::Unused(_) | LaneState::Broken => payloads,
        };
        if ticket.last {
            // There is no later flush that could take them.
            add(Counter::PayloadsUnsent, rest.len() as u64);
        }
        let kept = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let _ = self.done.try_send(FlushDone { signal: self.signal, id: ticket.id, sent: 0, kept });
        if rest.is_empty() { Ok(()) } else { Err(rest) }
    }

    fn start(&mut self) {
        // Two jobs may wait: the one of a flush that was given up on, and the present one.
        let (tx, rx) = crossbeam_channel::bounded(2);
        if let LaneState::Unused(start) = std::mem::replace(&mut self.state, LaneState::Broken)
            && start(rx)
        {
            self.state = LaneState::Running(tx);
        }
    }
}

#[cfg(test)]
mod tests;
