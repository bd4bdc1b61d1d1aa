//! The thread `coordinator` (main): the one place that knows where in its life the environment is.
//!
//! It receives every event of the agent, asks the pure state machine in `lifecycle` what to do, and does it: tell
//! aggregators to flush, let `next` poll again, save the execution context, end. It never blocks on another component:
//! whatever it sends, it sends with `try_send`.

mod deadline;
mod flush;
mod lifecycle;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, select};

use self::flush::Policy;
use self::lifecycle::{Action, Lifecycle};
use crate::config::{Config, Signal};
use crate::diag::counters::{self, Counter, count};
use crate::forwarder::{FlushDone, FlushTicket};
use crate::lambda::context::{self, ExecutionContext};
use crate::lambda::event::{Event, Invoke, Registration};
use crate::lambda::tags::{Tags, account_in};
use crate::lambda::telemetry::PlatformEvent;
use crate::sys::clock;
use crate::{logs, metrics, traces};

/// The ways to the aggregators. `None` where the component is off.
#[derive(Debug)]
pub struct Aggregators {
    /// To the logs agent.
    pub logs: Option<Sender<logs::Message>>,
    /// To the metrics agent, for everything but flushes while DogStatsD listens.
    pub metrics: Option<Sender<metrics::Message>>,
    /// To the DogStatsD thread, which passes a flush on behind the datagrams that came before it.
    pub dogstatsd: Option<metrics::dogstatsd::Handle>,
    /// To the trace agent.
    pub traces: Option<Sender<traces::Message>>,
}

impl Aggregators {
    /// Passes the ticket on; `false` if nobody will answer it.
    fn flush(&self, signal: Signal, ticket: FlushTicket) -> bool {
        match signal {
            Signal::Logs => offer(self.logs.as_ref(), logs::Message::Flush(ticket)),
            Signal::Traces => offer(self.traces.as_ref(), traces::Message::Flush(ticket)),
            Signal::Metrics => match &self.dogstatsd {
                Some(dogstatsd) => dogstatsd.flush(ticket),
                None => offer(self.metrics.as_ref(), metrics::Message::Flush(ticket)),
            },
        }
    }

    fn set_tags(&self, tags: &Arc<Tags>) {
        offer(self.logs.as_ref(), logs::Message::Tags(Arc::clone(tags)));
        offer(self.metrics.as_ref(), metrics::Message::Tags(Arc::clone(tags)));
        offer(self.traces.as_ref(), traces::Message::Tags(Arc::clone(tags)));
    }
}

fn offer<T>(to: Option<&Sender<T>>, message: T) -> bool {
    let Some(to) = to else { return false };
    let sent = to.try_send(message).is_ok();
    if !sent {
        count(Counter::InboxFull);
    }
    sent
}

/// Everything the coordinator is given.
#[derive(Debug)]
pub struct Coordinator {
    /// The settings.
    pub config: Arc<Config>,
    /// What register answered.
    pub registration: Registration,
    /// The tags built from it.
    pub tags: Arc<Tags>,
    /// Whether the Telemetry API delivers.
    pub telemetry: bool,
    /// The inbox.
    pub events: Receiver<Event>,
    /// Answers of workers and lanes to flush tickets.
    pub flushes: Receiver<FlushDone>,
    /// Lets the `next` thread poll again.
    pub permits: Sender<()>,
    /// The aggregators.
    pub aggregators: Aggregators,
    /// The execution context, restored or fresh.
    pub context: ExecutionContext,
    /// Where the execution context is saved.
    pub context_path: PathBuf,
}

/// Runs the lifecycle until SHUTDOWN is done.
pub fn run(mut coordinator: Coordinator) {
    let config = &coordinator.config;
    let policy = Policy::new(config.flush_strategy, config.flush_timeout, Instant::now());
    let mut lifecycle = Lifecycle::new(policy, config.flush_timeout, coordinator.telemetry);
    loop {
        let mut actions = VecDeque::from(coordinator.wait(&mut lifecycle));
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Flush(signal, ticket) => {
                    if !coordinator.aggregators.flush(signal, ticket) {
                        // Nobody else will answer.
                        let done = FlushDone { signal, id: ticket.id, sent: 0, kept: 0 };
                        actions.extend(lifecycle.on_flush_done(Instant::now(), &done));
                    }
                }
                // A full channel means that the thread has its permit already.
                Action::Permit => drop(coordinator.permits.try_send(())),
                Action::Exit => {
                    coordinator.save_context();
                    crate::diag::debug!("what became of everything: {}", counters::ledger());
                    return;
                }
            }
        }
    }
}

impl Coordinator {
    /// Waits for an event, an answer or the next deadline, and asks what to do about it.
    fn wait(&mut self, lifecycle: &mut Lifecycle) -> Vec<Action> {
        let deadline = lifecycle.deadline().map_or_else(crossbeam_channel::never, crossbeam_channel::at);
        select! {
            recv(self.events) -> event => match event {
                Ok(event) => self.on_event(lifecycle, event),
                // Every thread that could tell something is gone, the `next` thread among them.
                Err(_) => vec![Action::Exit],
            },
            recv(self.flushes) -> done => match done {
                Ok(done) => lifecycle.on_flush_done(Instant::now(), &done),
                Err(_) => vec![Action::Exit],
            },
            recv(deadline) -> _ => lifecycle.on_tick(Instant::now()),
        }
    }

    fn on_event(&mut self, lifecycle: &mut Lifecycle, event: Event) -> Vec<Action> {
        let now = Instant::now();
        match event {
            Event::Invoke(invoke) => {
                self.note_invocation(&invoke);
                lifecycle.on_invoke(now, clock::wall_ms(), &invoke)
            }
            Event::Shutdown { reason, deadline_ms } => {
                crate::diag::debug!("SHUTDOWN, reason {reason:?}");
                lifecycle.on_shutdown(now, deadline::instant(deadline_ms, now, clock::wall_ms()))
            }
            Event::Terminate => lifecycle.on_shutdown(now, now + deadline::SHUTDOWN_PHASE),
            Event::Platform(PlatformEvent { kind, .. }) => lifecycle.on_platform(now, &kind),
            Event::InvocationEnded => lifecycle.on_invocation_ended(now),
            Event::FlushRequested if self.config.local_test => lifecycle.on_flush_requested(now),
            Event::Pressure(signal) => lifecycle.on_pressure(now, signal),
            Event::Died(component) => self.on_death(lifecycle, component),
            Event::FlushRequested | Event::Registered { .. } | Event::RegisterFailed(_) => Vec::new(),
        }
    }

    /// Keeps the execution context, and completes the tags where only the invocation tells the account.
    fn note_invocation(&mut self, invoke: &Invoke) {
        self.context.begin(&invoke.request_id, &invoke.invoked_function_arn, clock::wall_ns());
        if self.tags.function_arn.is_empty()
            && let Some(account) = account_in(&invoke.invoked_function_arn)
        {
            account.clone_into(&mut self.registration.account_id);
            self.tags = Arc::new(Tags::new(&self.config, &self.registration));
            self.aggregators.set_tags(&self.tags);
        }
    }

    /// A component's thread has ended: its data is lost, the function goes on.
    fn on_death(&mut self, lifecycle: &mut Lifecycle, component: &'static str) -> Vec<Action> {
        if lifecycle.is_ending() {
            return Vec::new();
        }
        log::error!("the component {component} ended unexpectedly and is off until the next start; please report this");
        match component {
            "logs-agent" => self.aggregators.logs = None,
            "metrics-agent" => (self.aggregators.metrics, self.aggregators.dogstatsd) = (None, None),
            "dogstatsd" => self.aggregators.dogstatsd = None,
            "trace-agent" => self.aggregators.traces = None,
            _ => {}
        }
        match component {
            "logs-agent" | "daemon" => lifecycle.on_telemetry_lost(),
            // Nobody will tell of a SHUTDOWN: save what there is.
            "next" => lifecycle.on_shutdown(Instant::now(), Instant::now() + deadline::SHUTDOWN_PHASE),
            _ => Vec::new(),
        }
    }

    fn save_context(&self) {
        if let Err(error) = context::save(&self.context, &self.context_path) {
            crate::diag::debug!("cannot save the execution context to {}: {error}", self.context_path.display());
        }
    }
}
