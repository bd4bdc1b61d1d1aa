//! The worker's loop: answers, independence of endpoints, panics. Sockets are in `tests/forwarder/`.

use super::super::endpoints::tests::{payload, target};
use super::super::outbox::{Attempt, Stamp};
use super::super::outcome::{Outcome, of_status};
use super::super::{Encoding, Intake, Request, Route};
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
        let ticket = FlushTicket { id, deadline: Instant::now() + Duration::from_secs(60), ending: false, last: false };
        tx.send(Job { ticket, payloads: vec![payload(Route::Logs, Encoding::Zstd); payloads] }).unwrap();
    }
    rx
}

fn answers(wire: &mut Hosts, hosts: &[&str], ids: &[u64], payloads: usize) -> Vec<(u64, u32, u32)> {
    let (tx, rx) = crossbeam_channel::bounded(ids.len());
    let mut outboxes = Outboxes { own: made(hosts), proxied: Vec::new(), open: &|_| made(&["profiles"]) };
    serve(Signal::Logs, &jobs(ids, payloads), &tx, &mut outboxes, wire, Duration::from_secs(5));
    drop(tx);
    rx.iter().map(|done| (done.id, done.sent, done.kept)).collect()
}

fn made(hosts: &[&str]) -> Vec<Outbox> {
    hosts.iter().map(|host| Outbox::new(target(host), 10_000, Arc::default())).collect()
}

/// A request to `intake`.
fn proxied(intake: Intake) -> Payload {
    let request = Request { intake, subdomain: String::new(), target: String::new(), headers: Vec::new() };
    Payload { request: Some(Box::new(request)), ..payload(Route::Proxied(intake), Encoding::Identity) }
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

/// What each flush asks of whom, when the intakes' hosts are made as `open` says.
fn check_proxied(own: &[&str], open: &[&str], last: bool, flushes: &[(Vec<Payload>, &str)]) {
    let mut wire = hosts();
    let opened = std::cell::Cell::new(0);
    let open = |_: &Request| {
        opened.set(opened.get() + 1);
        made(open)
    };
    let mut outboxes = Outboxes { own: made(own), proxied: Vec::new(), open: &open };
    for (payloads, expected) in flushes {
        let ticket = FlushTicket { id: 1, deadline: Instant::now() + Duration::from_secs(60), ending: last, last };
        flush(&mut outboxes, &mut wire, ticket, payloads.clone(), Duration::from_secs(5));
        assert_eq!(std::mem::take(&mut wire.seen).join(" "), *expected);
    }
    assert_eq!(opened.get(), outboxes.proxied.len(), "once for each intake, and only for those used");
}

#[test]
fn requests_that_are_passed_on_go_to_their_own_endpoints_and_last() {
    let traces = || payload(Route::Traces, Encoding::Zstd);
    let profile = || proxied(Intake::Profiles);
    check_proxied(&["a"], &["p", "q"], false, &[(vec![traces()], "a"), (vec![profile(), traces()], "a p q")]);
    check_proxied(&["a"], &["p"], true, &[(vec![profile(), proxied(Intake::Symbols), traces()], "a p p")]);
    // One that fails keeps nothing from the others, and gets its own again.
    check_proxied(
        &["a"],
        &["dead", "q"],
        false,
        &[
            (vec![profile(), traces()], "a dead dead dead q"),
            (vec![profile()], "dead dead q"),
            (vec![traces()], "a dead dead"),
        ],
    );
    check_proxied(&["dead"], &["p"], false, &[(vec![profile(), traces()], "dead dead dead p"), (vec![], "dead")]);
    // Without endpoints it is dropped.
    let before = crate::diag::counters::get(Counter::PayloadsRefused);
    check_proxied(&["a"], &[], false, &[(vec![profile(), traces()], "a"), (vec![], "")]);
    assert!(crate::diag::counters::get(Counter::PayloadsRefused) > before);
}

/// Answers every request in no time, and keeps how long each might have taken.
struct Shares(Instant, Vec<(String, Duration)>);

impl Wire for Shares {
    fn now(&self) -> Stamp {
        Stamp { mono: self.0, wall_ms: 0 }
    }

    fn post(&mut self, target: &Target, _: &Payload, attempt: Attempt) -> Outcome {
        self.1.push((target.host.clone(), attempt.timeout));
        of_status(202, None)
    }

    fn reset(&mut self) {}
}

/// Who is sent to with how many seconds in which of the flushes at the end: the first, or the last.
#[test]
fn at_the_end_each_endpoint_has_its_share_of_the_time() {
    let traces = || payload(Route::Traces, Encoding::Zstd);
    let intakes = [Intake::Profiles, Intake::Symbols, Intake::Telemetry, Intake::Debugger];
    for (own, payloads, first, last) in [
        (&["a"][..], vec![traces()], &[("a", 12)][..], &[][..]),
        (&["a", "b"], vec![traces()], &[("a", 6)], &[("b", 12)]),
        (&["a", "b", "c"], vec![traces()], &[("a", 4)], &[("b", 6), ("c", 12)]),
        (
            &["a", "b"],
            [traces()].into_iter().chain(intakes.map(proxied)).collect(),
            &[("a", 4)],
            &[("b", 6), ("p", 3), ("p", 4), ("p", 6), ("p", 12)],
        ),
        // Nothing for the primary: its time is nobody else's.
        (&["a"], vec![proxied(Intake::Profiles)], &[], &[("p", 12)]),
    ] {
        let mut wire = Shares(Instant::now(), Vec::new());
        let mut outboxes = Outboxes { own: made(own), proxied: Vec::new(), open: &|_| made(&["p"]) };
        for (payloads, expected, is_last) in [(payloads, first, false), (Vec::new(), last, true)] {
            let deadline = wire.0 + Duration::from_secs(12);
            let ticket = FlushTicket { id: 1, deadline, ending: true, last: is_last };
            let tally = flush(&mut outboxes, &mut wire, ticket, payloads, Duration::from_secs(60));
            let shares = std::mem::take(&mut wire.1);
            let shares: Vec<_> = shares.iter().map(|(host, share)| (host.as_str(), share.as_secs())).collect();
            assert_eq!(shares, expected, "{own:?} {is_last}");
            let kept = if is_last { 0 } else { last.len() };
            assert_eq!((tally.sent as usize, tally.kept as usize), (expected.len(), kept), "{own:?} {is_last}");
        }
    }
}

/// All at once in the last flush.
#[test]
fn the_signals_own_payloads_keep_their_share_beside_those_that_are_passed_on() {
    let mut wire = Shares(Instant::now(), Vec::new());
    let mut outboxes = Outboxes { own: made(&["a", "b"]), proxied: Vec::new(), open: &|_| made(&["p"]) };
    let ticket = FlushTicket { id: 1, deadline: wire.0 + Duration::from_secs(12), ending: true, last: true };
    let intakes = [Intake::Profiles, Intake::Symbols, Intake::Telemetry, Intake::Debugger];
    let payloads = [payload(Route::Traces, Encoding::Zstd)].into_iter().chain(intakes.map(proxied)).collect();
    flush(&mut outboxes, &mut wire, ticket, payloads, Duration::from_secs(60));
    let shares: Vec<_> = wire.1.iter().map(|(host, share)| (host.as_str(), share.as_secs())).collect();
    assert_eq!(shares, [("a", 4), ("b", 6), ("p", 3), ("p", 4), ("p", 6), ("p", 12)]);
}

#[test]
fn a_share_is_what_is_left_among_who_is_left() {
    let now = Instant::now();
    let ticket = |ending| FlushTicket { id: 1, deadline: now + Duration::from_secs(6), ending, last: ending };
    for (ending, elapsed, endpoints, expected) in
        [(false, 0, 3, 6), (true, 0, 3, 2), (true, 2, 2, 4), (true, 4, 1, 6), (true, 0, 1, 6), (true, 9, 2, 9)]
    {
        let shared = share(ticket(ending), now + Duration::from_secs(elapsed), endpoints);
        assert_eq!(shared.deadline, now + Duration::from_secs(expected), "{ending} {elapsed} {endpoints}");
    }
}
