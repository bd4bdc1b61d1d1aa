//! The rules of a flush, against a scripted intake and clocks that only move when told.

use super::super::endpoints::tests::{payload, target};
use super::super::outcome::of_status;
use super::super::{Encoding, Route};
use super::*;

/// What the scripted intake does with a request.
#[derive(Clone, Copy)]
enum Does {
    Answer(u16),
    AnswerWith(u16, &'static str),
    /// Refuses the connection.
    Down,
    /// Takes the request and closes.
    Cut,
    /// Says nothing until the time is up.
    Silent,
    Panic,
}
use Does::{Answer, AnswerWith, Cut, Down, Panic, Silent};

/// An intake that decides by the request's number and body.
struct Intake<F> {
    does: F,
    now: Stamp,
    /// First byte of the body and whether a fresh connection was asked for, for each request.
    seen: Vec<(u8, bool)>,
    resets: usize,
}

impl<F: FnMut(usize, u8) -> Does> Wire for Intake<F> {
    fn now(&self) -> Stamp {
        self.now
    }

    fn post(&mut self, _: &Target, payload: &Payload, attempt: Attempt) -> Outcome {
        let name = payload.body[0];
        self.seen.push((name, attempt.fresh));
        let failed = |cause, progress| Outcome::Failed(Failure { cause, retry_after: None, progress });
        match (self.does)(self.seen.len() - 1, name) {
            Answer(status) => of_status(status, None),
            AnswerWith(status, retry_after) => of_status(status, Some(retry_after)),
            Down => failed(Cause::Transport("refused".to_owned()), Progress::Unconnected),
            Cut => failed(Cause::Transport("closed".to_owned()), Progress::Sent),
            Silent => {
                self.pass(attempt.timeout);
                failed(Cause::Timeout("receive response".to_owned()), Progress::Sent)
            }
            Panic => panic!("scripted"),
        }
    }

    fn reset(&mut self) {
        self.resets += 1;
    }
}

impl<F> Intake<F> {
    fn new(does: F) -> Self {
        Self { does, now: Stamp { mono: Instant::now(), wall_ms: 1_700_000_000_000 }, seen: Vec::new(), resets: 0 }
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.wall_ms += u64::try_from(time.as_millis()).unwrap();
    }

    /// The bodies' names since the last call.
    fn asked(&mut self) -> String {
        self.seen.drain(..).map(|(name, _)| char::from(name)).collect()
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn outbox() -> Outbox {
    Outbox::new(target("https://intake.test"), 10 * (OVERHEAD + 10), Arc::default())
}

fn push(outbox: &mut Outbox, names: &str) {
    for name in names.bytes() {
        let body = vec![name; 10];
        outbox.push(Arc::new(Payload { body, ..payload(Route::Logs, Encoding::Zstd) }));
    }
}

/// A flush of 10 s with a limit of 5 s for each request.
fn flush<F: FnMut(usize, u8) -> Does>(outbox: &mut Outbox, intake: &mut Intake<F>, last: bool) -> (u32, u32) {
    let ticket = FlushTicket { id: 1, deadline: intake.now.mono + 10 * SECOND, ending: last, last };
    let Tally { sent, kept } = outbox.flush(intake, ticket, 5 * SECOND);
    (sent, kept)
}

/// One flush of `names` from a fresh outbox: the requests it makes, what is sent and kept.
fn check(names: &str, does: impl FnMut(usize, u8) -> Does, last: bool, expected: (&str, u32, u32)) {
    let mut outbox = outbox();
    let mut intake = Intake::new(does);
    push(&mut outbox, names);
    let (sent, kept) = flush(&mut outbox, &mut intake, last);
    assert_eq!((intake.asked().as_str(), sent, kept), expected, "{names}, last: {last}");
}

#[test]
fn one_payload() {
    for (does, asked, sent, kept) in [
        (Answer(200), "a", 1, 0),
        (Answer(202), "a", 1, 0),
        (Answer(400), "a", 0, 0),
        (Answer(403), "a", 0, 0),
        (Answer(404), "a", 0, 0),
        (Answer(413), "a", 0, 0),
        (Answer(408), "aaa", 0, 1),
        (Answer(429), "aaa", 0, 1),
        (AnswerWith(429, "0"), "aaa", 0, 1),
        (AnswerWith(429, "5"), "a", 0, 1),
        (Answer(500), "aaa", 0, 1),
        (Answer(503), "aaa", 0, 1),
        (AnswerWith(503, "5"), "a", 0, 1),
        (Answer(302), "aaa", 0, 1),
        (Down, "aaa", 0, 1),
        (Cut, "aaa", 0, 1),
        // 5 s each, and the flush ends after 10.
        (Silent, "aa", 0, 1),
        (Panic, "a", 0, 0),
    ] {
        check("a", |_, _| does, false, (asked, sent, kept));
    }
}

#[test]
fn several_payloads() {
    check("abc", |_, _| Answer(202), false, ("abc", 3, 0));
    // The budget is for the endpoint, not for each payload.
    check("abcde", |_, _| Answer(500), false, ("abc", 0, 5));
    check("abcde", |_, _| Down, false, ("abc", 0, 5));
    check("ab", |n, _| if n < 2 { Answer(500) } else { Answer(202) }, false, ("abab", 2, 0));
    check("abc", |n, _| if n == 0 { Cut } else { Answer(202) }, false, ("abca", 3, 0));
    // A payload the intake chokes on does not stop the others.
    check("abc", |_, name| if name == b'a' { Answer(500) } else { Answer(202) }, false, ("abcaa", 2, 1));
    check("abc", |_, name| if name == b'b' { Answer(413) } else { Answer(202) }, false, ("abc", 2, 0));
    // A bad key costs three requests, then one a flush.
    check("abcde", |_, _| Answer(403), false, ("abc", 0, 0));
    check("abc", |_, name| if name == b'b' { Answer(403) } else { Answer(202) }, false, ("abc", 2, 0));
    check("abc", |n, _| if n == 1 { AnswerWith(429, "9") } else { Answer(202) }, false, ("ab", 1, 2));
}

#[test]
fn a_panic_costs_its_payload_only() {
    let mut outbox = outbox();
    let mut intake = Intake::new(|_, name| if name == b'b' { Panic } else { Answer(202) });
    push(&mut outbox, "abc");
    assert_eq!(flush(&mut outbox, &mut intake, false), (2, 0));
    assert_eq!((intake.asked().as_str(), intake.resets), ("abc", 1));
}

#[test]
fn the_last_flush() {
    check("abc", |_, _| Answer(202), true, ("cba", 3, 0));
    check("abc", |_, name| if name == b'b' { Answer(500) } else { Answer(202) }, true, ("cba", 2, 1));
    check("abcde", |_, _| Down, true, ("edc", 0, 5));
    // Failures in a row count: there is no next flush.
    check("abcdefg", |n, _| if n % 2 == 0 { Cut } else { Answer(202) }, true, ("gfedcba", 3, 4));
    check("a", |_, _| Answer(500), true, ("a", 0, 1));
}

#[test]
fn what_was_kept_goes_first() {
    let mut outbox = outbox();
    let mut down = true;
    let mut intake = Intake::new(|_, _| if std::mem::take(&mut down) { AnswerWith(503, "1") } else { Answer(202) });
    push(&mut outbox, "ab");
    assert_eq!(flush(&mut outbox, &mut intake, false), (0, 2));
    intake.pass(SECOND);
    push(&mut outbox, "cd");
    assert_eq!(flush(&mut outbox, &mut intake, false), (4, 0));
    assert_eq!(intake.asked(), "aabcd");
}

#[test]
fn an_outage_costs_a_request_or_two_a_flush() {
    for (does, probes) in [(Down, 1), (Answer(503), 2), (Cut, 2), (Answer(403), 1)] {
        let mut outbox = outbox();
        let mut intake = Intake::new(|_, _| does);
        push(&mut outbox, "abcd");
        flush(&mut outbox, &mut intake, false);
        assert_eq!(intake.asked(), "abc");
        for _ in 0..100 {
            push(&mut outbox, "efg");
            flush(&mut outbox, &mut intake, false);
            assert_eq!(intake.asked().len(), probes);
        }
    }
}

#[test]
fn a_probe_that_succeeds_lets_the_rest_follow() {
    let mut outbox = outbox();
    let mut requests = 0;
    let mut intake = Intake::new(|_, _| {
        requests += 1;
        if requests <= 3 { Down } else { Answer(202) }
    });
    push(&mut outbox, "abcd");
    assert_eq!(flush(&mut outbox, &mut intake, false), (0, 4));
    push(&mut outbox, "ef");
    assert_eq!(flush(&mut outbox, &mut intake, false), (6, 0));
    assert_eq!(intake.asked(), "abcabcdef");
}

#[test]
fn a_poisonous_payload_is_given_up() {
    let mut outbox = outbox();
    let mut intake = Intake::new(|_, name| if name == b'x' { Answer(500) } else { Answer(202) });
    push(&mut outbox, "x");
    assert_eq!(flush(&mut outbox, &mut intake, false), (0, 1));
    assert_eq!(intake.asked(), "xxx");
    // The probe fails, the newest payload shows that the intake works.
    push(&mut outbox, "ab");
    assert_eq!(flush(&mut outbox, &mut intake, false), (2, 1));
    assert_eq!(intake.asked(), "xba");
    for kept in [1, 1, 1, 0, 0] {
        push(&mut outbox, "c");
        assert_eq!(flush(&mut outbox, &mut intake, false), (1, kept));
    }
    // Without another payload that passes nothing is given up: the intake may be down.
    push(&mut outbox, "x");
    for _ in 0..20 {
        assert_eq!(flush(&mut outbox, &mut intake, false), (0, 1));
    }
}

#[test]
fn retry_after_is_honoured() {
    let mut outbox = outbox();
    let mut intake = Intake::new(|n, _| if n == 0 { AnswerWith(429, "30") } else { Answer(202) });
    push(&mut outbox, "a");
    assert_eq!(flush(&mut outbox, &mut intake, false), (0, 1));
    intake.pass(29 * SECOND);
    assert_eq!(flush(&mut outbox, &mut intake, false), (0, 1));
    intake.pass(SECOND);
    assert_eq!(flush(&mut outbox, &mut intake, false), (1, 0));
    assert_eq!(intake.asked(), "aa");

    // The wall clock counts what the monotonic one slept through.
    let mut intake = Intake::new(|n, _| if n == 0 { AnswerWith(429, "30") } else { Answer(202) });
    push(&mut outbox, "a");
    assert_eq!(flush(&mut outbox, &mut intake, false), (0, 1));
    intake.now.wall_ms += 30_000;
    assert_eq!(flush(&mut outbox, &mut intake, false), (1, 0));

    // At the end there is nothing to wait for.
    let mut intake = Intake::new(|_, _| AnswerWith(429, "30"));
    push(&mut outbox, "ab");
    assert_eq!(flush(&mut outbox, &mut intake, false), (0, 2));
    assert_eq!(flush(&mut outbox, &mut intake, true), (0, 2));
    assert_eq!(intake.asked(), "ab");
}

#[test]
fn an_intake_that_swallows_connections_costs_a_tenth_of_the_time() {
    let mut outbox = outbox();
    let mut intake = Intake::new(|_, _| Silent);
    let start = intake.now;
    push(&mut outbox, "ab");
    for _ in 0..3600 {
        flush(&mut outbox, &mut intake, false);
        intake.pass(SECOND);
    }
    let lost = 5 * u32::try_from(intake.seen.len()).unwrap();
    let passed = intake.now.since(start);
    assert!(lost * SECOND < passed / 9, "{lost} s of {passed:?}");
    assert!(lost * SECOND > passed / 20, "recovery must be noticed: {lost} s of {passed:?}");
}

#[test]
fn no_attempt_starts_after_the_deadline() {
    let mut outbox = outbox();
    let mut intake = Intake::new(|_, _| Answer(202));
    push(&mut outbox, "ab");
    let past = FlushTicket { id: 1, deadline: intake.now.mono, ending: false, last: false };
    assert_eq!(outbox.flush(&mut intake, past, SECOND), Tally { sent: 0, kept: 2 });
    assert_eq!(intake.asked(), "");
    // That is no failure of the intake.
    assert_eq!(flush(&mut outbox, &mut intake, false), (2, 0));
}

#[test]
fn attempts_are_limited_by_the_deadline_and_the_setting() {
    struct Limits(Stamp, Vec<Duration>);
    impl Wire for Limits {
        fn now(&self) -> Stamp {
            self.0
        }
        fn post(&mut self, _: &Target, _: &Payload, attempt: Attempt) -> Outcome {
            self.1.push(attempt.timeout);
            self.0.mono += 3 * SECOND;
            Outcome::Sent
        }
        fn reset(&mut self) {}
    }
    let mut wire = Limits(Stamp { mono: Instant::now(), wall_ms: 0 }, Vec::new());
    let mut outbox = outbox();
    push(&mut outbox, "abcde");
    let ticket = FlushTicket { id: 1, deadline: wire.0.mono + 10 * SECOND, ending: false, last: false };
    assert_eq!(outbox.flush(&mut wire, ticket, 5 * SECOND), Tally { sent: 4, kept: 1 });
    assert_eq!(wire.1, [5 * SECOND, 5 * SECOND, 4 * SECOND, SECOND]);
}

#[test]
fn connections_that_slept_are_not_used() {
    let mut outbox = outbox();
    let mut intake = Intake::new(|_, _| Answer(202));
    for (mono, wall, fresh) in
        [(0, 0, true), (1, 1, false), (20, 20, false), (21, 21, true), (0, 21, true), (21, 0, true), (0, 0, false)]
    {
        intake.now.mono += mono * SECOND;
        intake.now.wall_ms += wall * 1000;
        push(&mut outbox, "a");
        flush(&mut outbox, &mut intake, false);
        assert_eq!(intake.seen.pop(), Some((b'a', fresh)), "{mono} {wall}");
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let mut outbox = outbox();
    let mut intake = Intake::new(|_, _| AnswerWith(503, "1"));
    push(&mut outbox, "abcdefghijklmno");
    assert_eq!(flush(&mut outbox, &mut intake, false), (0, 10));
    intake.asked();
    intake.pass(SECOND);
    let mut intake = Intake { does: |_, _| Answer(202), now: intake.now, seen: Vec::new(), resets: 0 };
    assert_eq!(flush(&mut outbox, &mut intake, false), (10, 0));
    assert_eq!(intake.asked(), "fghijklmno");

    // One that is too large by itself is not kept, but it is tried.
    outbox.push(Arc::new(Payload { body: vec![b'z'; 10 * (OVERHEAD + 10)], ..payload(Route::Logs, Encoding::Zstd) }));
    let mut intake = Intake::new(|_, _| Answer(500));
    assert_eq!(flush(&mut outbox, &mut intake, false), (0, 0));
    assert_eq!(intake.asked(), "zzz");
}

#[test]
fn nothing_is_left_after_the_last_flush() {
    let mut outbox = outbox();
    let mut intake = Intake::new(|_, _| Down);
    push(&mut outbox, "ab");
    assert_eq!(flush(&mut outbox, &mut intake, true), (0, 2));
    assert_eq!(flush(&mut outbox, &mut intake, true), (0, 0));
}
