//! The worker's loop: answers, independence of endpoints, panics. Sockets are in `tests/forwarder/`.

use super::super::endpoints::tests::{payload, target};
use super::super::outbox::{Attempt, Stamp};
use super::super::outcome::{Outcome, of_status};
use super::super::{Encoding, Route};
use super::*;

/// Answers by host.
struct Hosts {
    panics: bool,
    seen: Vec<String>,
}

impl Wire for Hosts {
    fn now(&self) -> Stamp {
        assert!(!self.panics, "scripted");
        Stamp { mono: Instant::now(), wall_ms: 0 }
    }

    fn post(&mut self, target: &Target, _: &Payload, _: Attempt) -> Outcome {
        self.seen.push(target.host.clone());
        of_status(if target.host == "dead" { 503 } else { 202 }, None)
    }

    fn reset(&mut self) {}
}

fn jobs(ids: &[u64], payloads: usize) -> Receiver<Job> {
    let (tx, rx) = crossbeam_channel::bounded(ids.len());
    for &id in ids {
        let ticket = FlushTicket { id, deadline: Instant::now() + Duration::from_secs(60), last: false };
        tx.send(Job { ticket, payloads: vec![payload(Route::Logs, Encoding::Zstd); payloads] }).unwrap();
    }
    rx
}

fn answers(wire: &mut Hosts, hosts: &[&str], ids: &[u64], payloads: usize) -> Vec<(u64, u32, u32)> {
    let (tx, rx) = crossbeam_channel::bounded(ids.len());
    let mut outboxes: Vec<_> = hosts.iter().map(|host| Outbox::new(target(host), 10_000, Arc::default())).collect();
    serve(Signal::Logs, &jobs(ids, payloads), &tx, &mut outboxes, wire, Duration::from_secs(5));
    drop(tx);
    rx.iter().map(|done| (done.id, done.sent, done.kept)).collect()
}

fn hosts() -> Hosts {
    Hosts { panics: false, seen: Vec::new() }
}

#[test]
fn each_flush_is_answered_once() {
    assert_eq!(answers(&mut hosts(), &["a"], &[1, 2, 7], 2), [(1, 2, 0), (2, 2, 0), (7, 2, 0)]);
    assert_eq!(answers(&mut hosts(), &["a"], &[1], 0), [(1, 0, 0)]);
    assert_eq!(answers(&mut hosts(), &[], &[1, 2], 2), [(1, 0, 0), (2, 0, 0)]);
}

#[test]
fn a_panic_is_answered_too() {
    let before = crate::diag::counters::get(Counter::Panics);
    assert_eq!(answers(&mut Hosts { panics: true, seen: Vec::new() }, &["a"], &[1, 2], 1), [(1, 0, 0), (2, 0, 0)]);
    assert!(crate::diag::counters::get(Counter::Panics) >= before + 2);
}

#[test]
fn endpoints_are_independent() {
    let mut wire = hosts();
    assert_eq!(answers(&mut wire, &["a", "dead", "b"], &[1, 2], 1), [(1, 2, 1), (2, 2, 2)]);
    assert_eq!(wire.seen, ["a", "dead", "dead", "dead", "b", "a", "dead", "dead", "b"]);
    let mut wire = hosts();
    assert_eq!(answers(&mut wire, &["dead", "b"], &[1, 2], 1), [(1, 1, 1), (2, 1, 2)]);
}

#[test]
fn in_the_last_flush_each_endpoint_has_its_share_of_the_time() {
    let now = Instant::now();
    let ticket = |last| FlushTicket { id: 1, deadline: now + Duration::from_secs(6), last };
    for (last, elapsed, endpoints, expected) in
        [(false, 0, 3, 6), (true, 0, 3, 2), (true, 2, 2, 4), (true, 4, 1, 6), (true, 0, 1, 6), (true, 9, 2, 9)]
    {
        let shared = share(ticket(last), now + Duration::from_secs(elapsed), endpoints);
        assert_eq!(shared.deadline, now + Duration::from_secs(expected), "{last} {elapsed} {endpoints}");
    }
}
