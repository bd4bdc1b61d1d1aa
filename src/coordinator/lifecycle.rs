//! The life of the environment as a state machine: invocations, flushes, the permit to poll `next`, SHUTDOWN.
//!
//! Pure: events and times in, actions out. It decides, `coordinator::run` acts. No state is waited for without a
//! deadline: [`Lifecycle::deadline`] is always the next moment at which silence means something.

use std::time::{Duration, Instant};

use super::deadline::{
    self, ANSWER_MARGIN, BUFFERED, DEADLINE_MARGIN, EXIT_MARGIN, GUARD, HOLD, HOLD_IN_TROUBLE, REPORT_WAIT,
};
use super::flush::{Decision, Policy};
use crate::config::Signal;
use crate::forwarder::{FlushDone, FlushTicket};
use crate::lambda::event::Invoke;
use crate::lambda::telemetry::PlatformKind;

/// Every signal, in the order in which they are told to flush.
pub const SIGNALS: [Signal; 3] = [Signal::Logs, Signal::Traces, Signal::Metrics];

/// What the state machine wants done.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// Tell the aggregator of this signal to flush; its [`FlushDone`] comes back as an input.
    Flush(Signal, FlushTicket),
    /// Let the `next` thread poll again.
    Permit,
    /// Save the execution context and end the process.
    Exit,
}

/// The lifecycle, from registration to SHUTDOWN.
#[derive(Debug)]
pub struct Lifecycle {
    policy: Policy,
    flush_timeout: Duration,
    /// Whether the Telemetry API tells the end of invocations.
    telemetry: bool,
    invocation: Option<Invocation>,
    /// An invocation whose end was told before it began here: telemetry and `next` are in no order.
    early_end: Option<String>,
    /// Whether the report of the init has come: Lambda tells nothing more of it.
    init_reported: bool,
    /// Whether the `next` thread waits for a permit.
    next_waits: bool,
    flush: Option<Flush>,
    tickets: u64,
    /// Whether the last flush left something unsent.
    trouble: bool,
    /// What the last flush with something to send took; `None` before the first.
    cost: Option<Duration>,
    shutdown: Option<Shutdown>,
}

/// The latest invocation; it stays after its end for what still arrives about it.
#[derive(Debug)]
struct Invocation {
    request_id: String,
    began: Instant,
    deadline: Instant,
    decision: Decision,
    done: bool,
    reported: bool,
    /// Whether the flush before the deadline strikes is done.
    guarded: bool,
    /// When to flush because the invocation has run for so long.
    long: Instant,
}

/// The flush whose answers are awaited.
#[derive(Debug)]
struct Flush {
    id: u64,
    started: Instant,
    deadline: Instant,
    waiting: Vec<Signal>,
    /// Whether there was something to send.
    worked: bool,
    kept: bool,
    then: Then,
}

/// What the end of a flush leads to. The order is that of importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Then {
    Nothing,
    Permit,
    Exit,
}

#[derive(Debug)]
struct Shutdown {
    deadline: Instant,
    /// Before this Lambda may still hold telemetry back.
    settled: Instant,
    /// Until when telemetry is waited for; `None` once the last flush has begun.
    drain: Option<Instant>,
}

impl Lifecycle {
    /// The state after registration. `telemetry` tells whether the Telemetry API delivers.
    #[must_use]
    pub fn new(policy: Policy, flush_timeout: Duration, telemetry: bool) -> Self {
        Self {
            policy,
            flush_timeout,
            telemetry,
            invocation: None,
            early_end: None,
            init_reported: false,
            next_waits: false,
            flush: None,
            tickets: 0,
            trouble: false,
            cost: None,
            shutdown: None,
        }
    }

    /// When to call [`Lifecycle::on_tick`] if nothing else happens; `None` while nothing is waited for.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let flush = self.flush.as_ref().map(|f| f.deadline);
        let drain = self.shutdown.as_ref().and_then(|s| s.drain);
        let invocation = self.running().map(|i| if i.guarded { i.long } else { self.guard(i).min(i.long) });
        [flush, drain, invocation].into_iter().flatten().min()
    }

    /// Whether SHUTDOWN has begun.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.shutdown.is_some()
    }

    /// `next` returned an invocation.
    pub fn on_invoke(&mut self, now: Instant, wall_ms: u64, invoke: &Invoke) -> Vec<Action> {
        let deadline = deadline::instant(invoke.deadline_ms, now, wall_ms);
        let decision = self.policy.on_invoke(now);
        self.next_waits = true;
        if let Some(flush) = self.flush.as_mut() {
            // Whoever waited for it was let go, or there would be no new invocation.
            flush.then = Then::Nothing;
        }
        self.invocation = Some(Invocation {
            request_id: invoke.request_id.clone(),
            began: now,
            deadline,
            decision,
            done: false,
            reported: false,
            guarded: false,
            long: now + self.policy.long_invocation(),
        });
        let mut actions = self.begin(now, decision);
        if self.early_end.take().is_some_and(|id| id == invoke.request_id) {
            actions.extend(self.on_end(now));
        }
        actions
    }

    /// What the beginning of an invocation asks for.
    fn begin(&mut self, now: Instant, decision: Decision) -> Vec<Action> {
        match decision {
            Decision::AtEnd if self.telemetry => Vec::new(),
            Decision::AtStart => self.flush_now(now, Then::Permit),
            // Without telemetry nobody may tell of the end: what the last invocation left goes out beside this one.
            Decision::AtEnd | Decision::Beside => {
                let mut actions = self.flush_beside(now);
                self.permit(&mut actions);
                actions
            }
            Decision::Later => {
                let mut actions = Vec::new();
                self.permit(&mut actions);
                actions
            }
        }
    }

    /// The Telemetry API told of a platform event.
    pub fn on_platform(&mut self, now: Instant, kind: &PlatformKind) -> Vec<Action> {
        match kind {
            PlatformKind::RuntimeDone { request_id, .. } => {
                if self.is_current(request_id) {
                    return self.on_end(now);
                }
                self.early_end = Some(request_id.clone());
                Vec::new()
            }
            PlatformKind::Report { request_id, .. } if self.is_current(request_id) => self.on_report(now),
            PlatformKind::InitReport { .. } => {
                self.init_reported = true;
                if self.invocation.is_none() { self.on_last_report(now) } else { Vec::new() }
            }
            _ => Vec::new(),
        }
    }

    /// A library told the end of its handler. Means something only where the Telemetry API does not.
    pub fn on_invocation_ended(&mut self, now: Instant) -> Vec<Action> {
        if self.telemetry { Vec::new() } else { self.on_end(now) }
    }

    /// A library asked for a flush and may.
    pub fn on_flush_requested(&mut self, now: Instant) -> Vec<Action> {
        if self.shutdown.is_some() { Vec::new() } else { self.flush_now(now, Then::Nothing) }
    }

    /// The aggregator of `signal` holds more than half of what it may.
    pub fn on_pressure(&mut self, now: Instant, signal: Signal) -> Vec<Action> {
        if self.shutdown.is_some() {
            return Vec::new();
        }
        let ticket = self.ticket(now + self.flush_timeout, false);
        vec![Action::Flush(signal, ticket)]
    }

    /// Telemetry will not tell anything any more: its receiver is gone.
    pub fn on_telemetry_lost(&mut self) -> Vec<Action> {
        self.telemetry = false;
        let mut actions = Vec::new();
        if self.flush.as_ref().is_none_or(|f| f.then == Then::Nothing) {
            self.permit(&mut actions);
        }
        actions
    }

    /// A worker, or the lane to it, has answered a ticket.
    pub fn on_flush_done(&mut self, now: Instant, done: &FlushDone) -> Vec<Action> {
        let Some(flush) = self.flush.as_mut().filter(|f| f.id == done.id) else { return Vec::new() };
        flush.waiting.retain(|s| *s != done.signal);
        flush.worked |= done.sent > 0 || done.kept > 0;
        flush.kept |= done.kept > 0;
        if flush.waiting.is_empty() { self.end_flush(now, false) } else { Vec::new() }
    }

    /// SHUTDOWN came, or a signal that means the same. A second one changes nothing.
    pub fn on_shutdown(&mut self, now: Instant, deadline: Instant) -> Vec<Action> {
        if self.shutdown.is_some() {
            return Vec::new();
        }
        if !self.telemetry {
            self.shutdown = Some(Shutdown { deadline, settled: now, drain: None });
            return self.flush_last(now);
        }
        let reported = self.invocation.as_ref().map_or(self.init_reported, |i| i.reported);
        let latest = deadline::before(deadline, EXIT_MARGIN, now);
        let settled = latest.min(now + BUFFERED);
        let drain = if reported { settled } else { latest.min(now + REPORT_WAIT) };
        self.shutdown = Some(Shutdown { deadline, settled, drain: Some(drain) });
        // What is here already need not wait.
        self.flush = None;
        self.flush_now(now, Then::Nothing)
    }

    /// A moment named by [`Lifecycle::deadline`] has come.
    pub fn on_tick(&mut self, now: Instant) -> Vec<Action> {
        if self.shutdown.as_ref().is_some_and(|s| s.drain.is_some_and(|at| at <= now)) {
            return self.flush_last(now);
        }
        let mut actions = Vec::new();
        if self.flush.as_ref().is_some_and(|f| f.deadline <= now) {
            actions = self.end_flush(now, true);
        }
        let again = self.policy.long_invocation();
        let guard = self.running().filter(|i| !i.guarded).map(|i| self.guard(i));
        let Some(invocation) = self.invocation.as_mut().filter(|i| !i.done && self.shutdown.is_none()) else {
            return actions;
        };
        if invocation.long <= now {
            invocation.long = now + again;
            actions.extend(self.flush_beside(now));
        } else if guard.is_some_and(|at| at <= now) {
            invocation.guarded = true;
            actions.extend(self.flush_now(now, Then::Permit));
        }
        actions
    }

    /// The invocation whose end is not known yet.
    fn running(&self) -> Option<&Invocation> {
        self.invocation.as_ref().filter(|i| !i.done && self.shutdown.is_none())
    }

    fn is_current(&self, request_id: &str) -> bool {
        self.invocation.as_ref().is_some_and(|i| i.request_id == request_id)
    }

    fn on_end(&mut self, now: Instant) -> Vec<Action> {
        let Some(invocation) = self.invocation.as_mut().filter(|i| !i.done) else { return Vec::new() };
        invocation.done = true;
        if self.shutdown.is_some() {
            return Vec::new();
        }
        match invocation.decision {
            Decision::AtEnd => self.flush_now(now, Then::Permit),
            // A flush before the deadline took `next` along; what came since must not wait for the next invocation.
            _ if invocation.guarded && !self.next_waits => self.flush_beside(now),
            _ => Vec::new(),
        }
    }

    fn on_report(&mut self, now: Instant) -> Vec<Action> {
        if let Some(invocation) = self.invocation.as_mut() {
            invocation.reported = true;
        }
        self.on_last_report(now)
    }

    /// Nothing is owed any more but what Lambda buffers.
    fn on_last_report(&mut self, now: Instant) -> Vec<Action> {
        let Some(shutdown) = self.shutdown.as_mut().filter(|s| s.drain.is_some()) else { return Vec::new() };
        shutdown.drain = Some(shutdown.settled);
        if shutdown.settled <= now { self.flush_last(now) } else { Vec::new() }
    }

    /// When to flush before the deadline of `invocation` strikes: late enough to have most of the data, early enough to be
    /// done by then. Nothing says how early that is before a flush was made, and the first makes the connections: as early
    /// as it gets. An invocation that has little time gets half of it, so that one whose end is never told does not hold
    /// `next`.
    fn guard(&self, invocation: &Invocation) -> Instant {
        let guard = self.cost.map_or(GUARD.1, |cost| (cost * 2).clamp(GUARD.0, GUARD.1));
        let half = invocation.deadline.saturating_duration_since(invocation.began) / 2;
        deadline::before(invocation.deadline, guard.min(half), invocation.began)
    }

    /// Flushes every signal; the answers are awaited for as long as an invocation may be held.
    fn flush_now(&mut self, now: Instant, then: Then) -> Vec<Action> {
        let hold = if self.trouble { HOLD_IN_TROUBLE } else { HOLD };
        let mut until = now + hold.min(self.flush_timeout);
        if let Some(invocation) = self.invocation.as_ref().filter(|i| i.deadline > now) {
            until = until.min(deadline::before(invocation.deadline, DEADLINE_MARGIN, now));
        }
        if let Some(shutdown) = &self.shutdown {
            until = deadline::before(shutdown.deadline, EXIT_MARGIN, now);
        }
        self.begin_flush(now, until, then, false)
    }

    /// Flushes every signal, nothing waits. Not while an earlier flush is on its way.
    fn flush_beside(&mut self, now: Instant) -> Vec<Action> {
        if self.flush.is_some() {
            Vec::new()
        } else {
            self.begin_flush(now, now + self.flush_timeout, Then::Nothing, false)
        }
    }

    /// The flush after which the process ends.
    fn flush_last(&mut self, now: Instant) -> Vec<Action> {
        let Some(shutdown) = self.shutdown.as_mut() else { return Vec::new() };
        shutdown.drain = None;
        let until = deadline::before(shutdown.deadline, EXIT_MARGIN, now);
        self.begin_flush(now, until, Then::Exit, true)
    }

    fn begin_flush(&mut self, now: Instant, deadline: Instant, then: Then, last: bool) -> Vec<Action> {
        // Who waits for an unfinished flush waits for this one instead: it has all that the other has.
        let then = self.flush.take().map_or(then, |f| f.then.max(then));
        let ticket = self.ticket(deadline, last);
        let deadline = match &self.shutdown {
            Some(shutdown) if last => deadline::before(shutdown.deadline, ANSWER_MARGIN, now),
            _ => deadline,
        };
        self.flush = Some(Flush {
            id: ticket.id,
            started: now,
            deadline,
            waiting: SIGNALS.to_vec(),
            worked: false,
            kept: false,
            then,
        });
        SIGNALS.iter().map(|signal| Action::Flush(*signal, ticket)).collect()
    }

    fn end_flush(&mut self, now: Instant, gave_up: bool) -> Vec<Action> {
        let Some(flush) = self.flush.take() else { return Vec::new() };
        if flush.worked || gave_up {
            self.cost = Some(now.saturating_duration_since(flush.started));
        }
        self.trouble = gave_up || flush.kept;
        let mut actions = Vec::new();
        match flush.then {
            Then::Nothing => {}
            Then::Permit => self.permit(&mut actions),
            Then::Exit => actions.push(Action::Exit),
        }
        actions
    }

    fn permit(&mut self, actions: &mut Vec<Action>) {
        if std::mem::take(&mut self.next_waits) && self.shutdown.is_none() {
            actions.push(Action::Permit);
        }
    }

    fn ticket(&mut self, deadline: Instant, last: bool) -> FlushTicket {
        self.tickets += 1;
        FlushTicket { id: self.tickets, deadline, ending: self.shutdown.is_some(), last }
    }
}
