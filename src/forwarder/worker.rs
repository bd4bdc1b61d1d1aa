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
use super::{Client, FlushDone, FlushTicket, Intake, Job, Payload, Request, intakes, proxied_max, retained_max};
use crate::config::{Config, Signal};
use crate::diag::counters::{Counter, count};

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
    let budget = retained_max(signal, &config.lambda);
    let own = targets.into_iter().map(|target| outbox(target, budget, &client)).collect();
    let open = |request: &Request| {
        let (targets, bad) = intakes::targets(&config, request);
        for endpoint in &bad {
            log::error!("{endpoint}");
        }
        let budget = proxied_max(&config.lambda);
        targets.into_iter().map(|target| outbox(target, budget, &client)).collect()
    };
    let mut outboxes = Outboxes { own, proxied: Vec::new(), open: &open };
    let mut line = client.line();
    serve(signal, &jobs, &done, &mut outboxes, &mut line, config.flush_timeout);
}

fn outbox(target: Target, budget: usize, client: &Client) -> Outbox {
    // Every signal has the primary endpoint's key; each additional endpoint has its own.
    let primary = target.key_setting == endpoints::PRIMARY_KEY;
    let key_denied = if primary { client.key_denied() } else { Arc::default() };
    Outbox::new(target, budget, key_denied)
}

/// Every endpoint that a worker sends to.
struct Outboxes<'a> {
    /// Those of its signal, the primary first.
    own: Vec<Outbox>,
    /// Those of requests that are passed on, by intake, in the order in which each had its first one.
    proxied: Vec<(Intake, Vec<Outbox>)>,
    /// Makes those of an intake.
    open: &'a dyn Fn(&Request) -> Vec<Outbox>,
}

impl Outboxes<'_> {
    /// Hands `payload` to every endpoint it is for.
    fn push(&mut self, payload: Payload) {
        let outboxes = match &payload.request {
            None => &mut self.own,
            Some(request) => {
                let intake = request.intake;
                let known = self.proxied.iter().position(|(of, _)| *of == intake);
                let at = known.unwrap_or_else(|| {
                    self.proxied.push((intake, (self.open)(request)));
                    self.proxied.len() - 1
                });
                &mut self.proxied[at].1
            }
        };
        if outboxes.is_empty() {
            count(Counter::PayloadsRefused);
        }
        let payload = Arc::new(payload);
        for outbox in outboxes {
            outbox.push(Arc::clone(&payload));
        }
    }
}

fn serve(
    signal: Signal,
    jobs: &Receiver<Job>,
    done: &Sender<FlushDone>,
    outboxes: &mut Outboxes<'_>,
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

/// One flush to every endpoint that has something to get, the primary first: a slow additional endpoint takes none of its
/// time. A primary that says nothing delays the others to a later flush, but at the end each has its share. Requests that
/// are passed on come last, and all of them together have one share beside the signal's own endpoints.
fn flush(
    outboxes: &mut Outboxes<'_>,
    wire: &mut dyn Wire,
    ticket: FlushTicket,
    payloads: Vec<Payload>,
    timeout: Duration,
) -> Tally {
    for payload in payloads {
        outboxes.push(payload);
    }
    let waiting = |outbox: &Outbox| !outbox.is_empty();
    let mut proxied: Vec<&mut Outbox> =
        outboxes.proxied.iter_mut().flat_map(|(_, outboxes)| outboxes).filter(|outbox| waiting(outbox)).collect();
    let mut primary = outboxes.own.first().is_some_and(waiting);
    let mut own: Vec<&mut Outbox> = outboxes.own.iter_mut().filter(|outbox| waiting(outbox)).collect();
    let others = usize::from(!proxied.is_empty());
    let mut total = Tally::default();
    for (outboxes, others) in [(&mut own, others), (&mut proxied, 0)] {
        let count = outboxes.len();
        for (before, outbox) in outboxes.iter_mut().enumerate() {
            let now = wire.now().mono;
            let waits = ticket.ending && !ticket.last && !primary;
            // A ticket whose time is up keeps everything, and says how much that is.
            let own = if waits { FlushTicket { deadline: now, ..ticket } } else { ticket };
            let tally = outbox.flush(wire, share(own, now, count - before + others), timeout);
            total.sent += tally.sent;
            total.kept += tally.kept;
            primary = false;
        }
    }
    total
}

/// The ticket for the first of `endpoints` that are left; at least 1.
fn share(ticket: FlushTicket, now: Instant, endpoints: usize) -> FlushTicket {
    if !ticket.ending {
        return ticket;
    }
    let endpoints = u32::try_from(endpoints).unwrap_or(u32::MAX);
    FlushTicket { deadline: now + ticket.deadline.saturating_duration_since(now) / endpoints, ..ticket }
}

#[cfg(test)]
mod tests;
