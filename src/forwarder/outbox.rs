//! What one endpoint still has to get, and the rules of a flush to it: order, retry budget, probes, pauses.
//!
//! Each endpoint has an [`Outbox`] of its own, so that one that is down keeps nothing from the others; they share the
//! payloads' bytes. Sockets and clocks are behind [`Wire`]: every rule here is tested without them. A worker's thread
//! runs it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::endpoints::Target;
use super::notice::Notices;
use super::outcome::{Cause, Failure, Outcome, Progress};
use super::{FlushTicket, Payload};
use crate::codec::sort::sort_by;
use crate::diag::counters::{Counter, add, count};

/// Failed attempts at an endpoint in one flush; what is left after them is kept untried.
const ATTEMPTS: u32 = 3;
/// Flushes in which the intake took other payloads but not this one, until it is given up as not acceptable.
const STRIKES: u8 = 5;
/// An attempt that ran into its time limit, in a flush that followed a failed one, is followed by a pause of this many
/// times what it cost: an intake that swallows connections costs at most a tenth of the time, however often a flush
/// comes.
const PAUSE_FACTOR: u32 = 10;
/// The longest such pause: how late a recovery may be noticed.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Bytes that a kept payload takes beside its body: its headers and our records.
const OVERHEAD: usize = 256;

/// A point in time by both clocks: the monotonic one may stand still while the environment is frozen, the wall clock
/// may be set.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Monotonic.
    pub mono: Instant,
    /// Milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

impl Stamp {
    /// The time that passed since `earlier`, by the clock that saw more of it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let wall = Duration::from_millis(self.wall_ms.saturating_sub(earlier.wall_ms));
        self.mono.saturating_duration_since(earlier.mono).max(wall)
    }
}

/// The conditions of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Limit for all of it.
    pub timeout: Duration,
    /// Do not use a connection from the pool.
    pub fresh: bool,
}

/// The way to the intakes, and the clocks.
pub trait Wire {
    /// The time.
    fn now(&self) -> Stamp;

    /// Sends `payload` once.
    fn post(&mut self, target: &Target, payload: &Payload, attempt: Attempt) -> Outcome;

    /// Called after a panic inside `post`: nothing that it left behind may be used again.
    fn reset(&mut self);
}

/// What a flush to an endpoint came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Payloads acknowledged.
    pub sent: u32,
    /// Payloads kept for the next flush.
    pub kept: u32,
}

/// A payload on its way to one endpoint.
struct Held {
    /// The order of arrival.
    number: u64,
    payload: Arc<Payload>,
    tried: bool,
    /// The last attempt may have reached the intake although it failed.
    ambiguous: bool,
    /// The intake was reached in this flush and did not take it.
    spurned: bool,
    strikes: u8,
}

impl Held {
    /// The memory it takes.
    fn cost(&self) -> usize {
        let headers = self.payload.request.iter().flat_map(|request| &request.headers);
        OVERHEAD + self.payload.body.capacity() + headers.map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// What one endpoint still has to get.
pub struct Outbox {
    target: Target,
    /// Bytes that may be kept between flushes.
    budget: usize,
    /// To be tried in this flush; between flushes, all of them, oldest first.
    queue: VecDeque<Held>,
    /// Not to be tried again in this flush.
    aside: Vec<Held>,
    numbers: u64,
    /// Flushes in a row that got nothing through.
    failed_flushes: u32,
    /// The key was refused the last time.
    denied: bool,
    /// When the endpoint was last used.
    used: Option<Stamp>,
    /// No attempt before this much time has passed since then.
    pause: Option<(Stamp, Duration)>,
    notices: Notices,
}

/// The state of one flush.
struct Run {
    last: bool,
    /// Failures allowed.
    allowed: u32,
    failures: u32,
    denials: u32,
    /// The endpoint was in trouble: one attempt decides whether the others follow.
    probing: bool,
    /// The intake took or refused a payload: it works.
    works: bool,
    newest_next: bool,
    tally: Tally,
    trouble: Option<Cause>,
}

impl Outbox {
    /// An empty outbox for `target` that keeps at most `budget` bytes between flushes. `key_denied` is shared by all that
    /// send with the same key: its refusal is said once.
    #[must_use]
    pub fn new(target: Target, budget: usize, key_denied: Arc<AtomicBool>) -> Self {
        Self {
            target,
            budget,
            queue: VecDeque::new(),
            aside: Vec::new(),
            numbers: 0,
            failed_flushes: 0,
            denied: false,
            used: None,
            pause: None,
            notices: Notices::new(key_denied),
        }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes over `payload` for the next flush.
    pub fn push(&mut self, payload: Arc<Payload>) {
        self.numbers += 1;
        let number = self.numbers;
        self.queue.push_back(Held { number, payload, tried: false, ambiguous: false, spurned: false, strikes: 0 });
    }

    /// Tries to send everything: what was kept first, oldest first; in the last flush newest first, each once.
    pub fn flush(&mut self, wire: &mut dyn Wire, ticket: FlushTicket, flush_timeout: Duration) -> Tally {
        self.settle();
        let probing = self.failed_flushes > 0 || self.denied;
        let mut run = Run {
            last: ticket.last,
            allowed: if probing { 1 } else { ATTEMPTS },
            failures: 0,
            denials: 0,
            probing,
            works: false,
            newest_next: ticket.last,
            tally: Tally::default(),
            trouble: None,
        };
        while let Some(attempt) = self.next_attempt(wire.now(), ticket, flush_timeout) {
            let from = if run.newest_next { self.queue.pop_back() } else { self.queue.pop_front() };
            let Some(held) = from else { break };
            if !self.attempt(wire, attempt, held, &mut run) {
                break;
            }
        }
        self.conclude(&run);
        run.tally.kept = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        if run.last {
            self.abandon();
        }
        run.tally
    }

    /// The conditions of the next attempt; `None` if there must not be one.
    fn next_attempt(&mut self, now: Stamp, ticket: FlushTicket, flush_timeout: Duration) -> Option<Attempt> {
        // At the end nothing is left to wait for: a single probe is tried all the same.
        if self.pause.is_some_and(|(since, wait)| !ticket.last && now.since(since) < wait) {
            return None;
        }
        let left = ticket.deadline.saturating_duration_since(now.mono);
        if left.is_zero() {
            return None;
        }
        let fresh = self.used.is_none_or(|used| now.since(used) > super::STALE_AFTER);
        Some(Attempt { timeout: left.min(flush_timeout), fresh })
    }

    /// Sends one payload and decides about it; whether to go on.
    fn attempt(&mut self, wire: &mut dyn Wire, attempt: Attempt, mut held: Held, run: &mut Run) -> bool {
        if held.tried {
            count(Counter::PayloadsRetried);
        }
        if held.ambiguous {
            count(Counter::PayloadsAmbiguous);
        }
        held.tried = true;
        let before = wire.now();
        // A bug in the client must cost this payload only.
        let outcome = catch_unwind(AssertUnwindSafe(|| wire.post(&self.target, &held.payload, attempt)));
        let now = wire.now();
        self.used = Some(now);
        let outcome = outcome.unwrap_or_else(|_| {
            count(Counter::Panics);
            wire.reset();
            Outcome::Refused(Cause::Transport("internal error".to_owned()))
        });
        match outcome {
            Outcome::Sent => {
                count(Counter::PayloadsSent);
                run.tally.sent += 1;
                self.works(run);
                true
            }
            Outcome::Refused(cause) => {
                count(Counter::PayloadsRefused);
                self.works(run);
                self.notices.refused(&self.target, &cause);
                true
            }
            Outcome::Denied(status) => self.on_denied(status, run),
            Outcome::Failed(failure) => self.on_failed(failure, held, now, now.since(before), run),
        }
    }

    /// The intake took or refused a payload for what it is: whatever was wrong before is over.
    fn works(&mut self, run: &mut Run) {
        run.works = true;
        run.newest_next = run.last;
        run.allowed = ATTEMPTS;
        if run.last {
            run.failures = 0;
        }
        self.pause = None;
        self.denied = false;
    }

    /// A refused key. What is sent with it cannot succeed, but a gateway may refuse single payloads in the same way:
    /// the rest is given up only after several.
    fn on_denied(&mut self, status: u16, run: &mut Run) -> bool {
        count(Counter::PayloadsRefused);
        run.denials += 1;
        self.denied = true;
        self.notices.denied(&self.target, status);
        if run.denials < run.allowed {
            return true;
        }
        add(Counter::PayloadsRefused, self.queue.len() as u64);
        self.queue.clear();
        false
    }

    fn on_failed(&mut self, failure: Failure, mut held: Held, now: Stamp, took: Duration, run: &mut Run) -> bool {
        crate::diag::debug!("{}: {}", self.target.host, failure.cause);
        run.failures += 1;
        held.ambiguous = failure.progress == Progress::Sent;
        let timeout = matches!(failure.cause, Cause::Timeout(_));
        let reached = failure.progress != Progress::Unconnected && !timeout;
        held.spurned = reached;
        run.trouble = Some(failure.cause);
        // One payload that the intake chokes on must not hide that the others would pass.
        let second_chance = run.probing && !run.works && run.failures == 1 && reached && !self.queue.is_empty();
        if run.last || second_chance {
            self.aside.push(held);
        } else {
            self.queue.push_back(held);
        }
        if let Some(wait) = failure.retry_after.filter(|wait| !wait.is_zero()) {
            self.pause = Some((now, wait));
            return false;
        }
        if timeout && self.failed_flushes > 0 {
            self.pause = Some((now, (took * PAUSE_FACTOR).min(PAUSE_MAX)));
        }
        if second_chance {
            run.newest_next = true;
            run.allowed = 2;
        }
        run.failures < run.allowed
    }

    /// What the flush means for the next one.
    fn conclude(&mut self, run: &Run) {
        if run.works {
            self.strike();
            if run.denials == 0 {
                self.notices.recovered(&self.target, self.failed_flushes);
            }
            self.failed_flushes = 0;
        } else if let Some(cause) = &run.trouble {
            self.failed_flushes = self.failed_flushes.saturating_add(1);
            // One request that was in flight through a freeze is nothing to speak of.
            if run.failures >= run.allowed || self.failed_flushes > 1 {
                self.notices.failing(&self.target, cause);
            }
        }
        self.settle();
        self.trim();
    }

    /// Gives up payloads that the intake did not take again and again while it took others.
    fn strike(&mut self) {
        for held in self.queue.iter_mut().chain(&mut self.aside).filter(|held| held.spurned) {
            held.strikes += 1;
        }
        let before = self.queue.len() + self.aside.len();
        self.queue.retain(|held| held.strikes < STRIKES);
        self.aside.retain(|held| held.strikes < STRIKES);
        let given_up = before - self.queue.len() - self.aside.len();
        if given_up > 0 {
            add(Counter::PayloadsRefused, given_up as u64);
            let cause = Cause::Transport(format!("it failed in {STRIKES} flushes that others passed"));
            self.notices.refused(&self.target, &cause);
        }
    }

    /// Puts everything back in the order of arrival.
    fn settle(&mut self) {
        self.queue.extend(self.aside.drain(..));
        sort_by(self.queue.make_contiguous(), |a, b| a.number < b.number);
        for held in &mut self.queue {
            held.spurned = false;
        }
    }

    /// Drops the oldest payloads beyond the budget.
    fn trim(&mut self) {
        let mut bytes: usize = self.queue.iter().map(Held::cost).sum();
        let mut dropped = 0;
        while bytes > self.budget
            && let Some(held) = self.queue.pop_front()
        {
            bytes -= held.cost();
            dropped += 1;
        }
        if dropped > 0 {
            add(Counter::PayloadsOverflow, dropped);
            self.notices.overflow(&self.target, self.budget);
        }
    }

    /// After the last flush there is no other.
    fn abandon(&mut self) {
        add(Counter::PayloadsUnsent, self.queue.len() as u64);
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests;
