//! The threads `forward-logs`, `forward-metrics` and `forward-traces`: one flush after the other, until the lane is
//! gone.
//!
//! A worker owns its signal's outboxes and its connections. It blocks on its channel without a timer, and on the
//! network never beyond a flush's deadline (name resolution aside, which ends by the C library's own limit).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::endpoints::{self, Target};
use super::outbox::{Outbox, Tally, Wire};
use super::{Client, FlushDone, FlushTicket, Job, Payload, retained_max};
use crate::config::{Config, Signal};
use crate::diag::counters::{Counter, add, count};

/// What a worker is made of.
pub struct Worker {
    /// Whose payloads it sends.
    pub signal: Signal,
    /// Endpoints, keys and the limit for one request.
    pub config: Arc<Config>,
    /// The client, shared by all workers.
    pub client: Client,
    /// Flushes, oldest first.
    pub jobs: Receiver<Job>,
    /// Gets one answer for each.
    pub done: Sender<FlushDone>,
}

/// Runs until every sender of jobs is gone.
pub fn run(worker: Worker) {
    let Worker { signal, config, client, jobs, done } = worker;
    let (targets, bad) = endpoints::targets(&config, signal);
    for endpoint in &bad {
        log::error!("{endpoint}");
    }
    let mut outboxes = outboxes(targets, signal, &config, &client);
    let mut line = client.line();
    serve(signal, &jobs, &done, &mut outboxes, &mut line, config.flush_timeout);
}

fn outboxes(targets: Vec<Target>, signal: Signal, config: &Config, client: &Client) -> Vec<Outbox> {
    let budget = retained_max(signal, &config.lambda);
    let outbox = |target: Target| {
        // Every signal has the primary endpoint's key; each additional endpoint has its own.
        let primary = target.key_setting == endpoints::PRIMARY_KEY;
        let key_denied = if primary { client.key_denied() } else { Arc::default() };
        Outbox::new(target, budget, key_denied)
    };
    targets.into_iter().map(outbox).collect()
}

fn serve(
    signal: Signal,
    jobs: &Receiver<Job>,
    done: &Sender<FlushDone>,
    outboxes: &mut [Outbox],
    wire: &mut dyn Wire,
    timeout: Duration,
) {
    for Job { ticket, payloads } in jobs {
        let flushed = catch_unwind(AssertUnwindSafe(|| flush(outboxes, wire, ticket, payloads, timeout)));
        let Tally { sent, kept } = flushed.unwrap_or_else(|_| {
            count(Counter::Panics);
            Tally::default()
        });
        // Nobody waits longer than the deadline, and whoever does not read by then has given up.
        let _ = done.send_deadline(FlushDone { signal, id: ticket.id, sent, kept }, ticket.deadline);
    }
}

/// One flush to every endpoint, the primary first: a slow additional endpoint takes none of its time. A primary that
/// says nothing delays the others to a later flush, but in the last one each has its share.
fn flush(
    outboxes: &mut [Outbox],
    wire: &mut dyn Wire,
    ticket: FlushTicket,
    payloads: Vec<Payload>,
    timeout: Duration,
) -> Tally {
    if outboxes.is_empty() {
        add(Counter::PayloadsRefused, payloads.len() as u64);
        return Tally::default();
    }
    for payload in payloads {
        let payload = Arc::new(payload);
        for outbox in &mut *outboxes {
            outbox.push(Arc::clone(&payload));
        }
    }
    let mut total = Tally::default();
    let count = outboxes.len();
    for (before, outbox) in outboxes.iter_mut().enumerate() {
        let ticket = share(ticket, wire.now().mono, count - before);
        let tally = outbox.flush(wire, ticket, timeout);
        total.sent += tally.sent;
        total.kept += tally.kept;
    }
    total
}

/// The ticket for the first of `endpoints` that are left; at least 1.
fn share(ticket: FlushTicket, now: Instant, endpoints: usize) -> FlushTicket {
    if !ticket.last {
        return ticket;
    }
    let endpoints = u32::try_from(endpoints).unwrap_or(u32::MAX);
    FlushTicket { deadline: now + ticket.deadline.saturating_duration_since(now) / endpoints, ..ticket }
}

#[cfg(test)]
mod tests;
