//! The lifecycle without threads or sockets: scripts of events at given milliseconds, and what must come of them.

use std::time::{Duration, Instant};

use super::flush::Policy;
use super::lifecycle::{Action, Lifecycle, SIGNALS};
use crate::config::{FlushStrategy, Signal};
use crate::forwarder::{FlushDone, FlushTicket};
use crate::lambda::event::Invoke;
use crate::lambda::telemetry::{PlatformKind, ReportMetrics, Status};

/// The wall clock at the start of each script, in milliseconds.
const EPOCH: u64 = 1_000_000;
const TIMEOUT: Duration = Duration::from_secs(30);

struct Script {
    start: Instant,
    lifecycle: Lifecycle,
    /// The tickets handed out, oldest first.
    tickets: Vec<FlushTicket>,
    /// What happened: `flush`, `last`, `pressure`, `permit`, `exit`.
    log: Vec<&'static str>,
}

impl Script {
    fn new(strategy: FlushStrategy, telemetry: bool) -> Self {
        let start = Instant::now();
        let lifecycle = Lifecycle::new(Policy::new(strategy, TIMEOUT, start), TIMEOUT, telemetry);
        Self { start, lifecycle, tickets: Vec::new(), log: Vec::new() }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Flush(signal, ticket) => {
                    if self.tickets.last().is_none_or(|t| t.id != ticket.id) {
                        self.tickets.push(ticket);
                        self.log.push(if ticket.last { "last" } else { "flush" });
                    }
                    assert!(SIGNALS.contains(&signal));
                }
                Action::Permit => self.log.push("permit"),
                Action::Exit => self.log.push("exit"),
            }
        }
    }

    /// An invocation at `ms` that may take `budget` milliseconds.
    fn invoke(&mut self, ms: u64, id: &str, budget: u64) {
        let invoke =
            Invoke { request_id: id.to_owned(), deadline_ms: EPOCH + ms + budget, invoked_function_arn: String::new() };
        let actions = self.lifecycle.on_invoke(self.at(ms), EPOCH + ms, &invoke);
        self.take(actions);
    }

    fn runtime_done(&mut self, ms: u64, id: &str) {
        let kind = PlatformKind::RuntimeDone {
            request_id: id.to_owned(),
            status: Status::Success,
            error_type: None,
            metrics: None,
            spans: Vec::new(),
        };
        let actions = self.lifecycle.on_platform(self.at(ms), &kind);
        self.take(actions);
    }

    fn report(&mut self, ms: u64, id: &str) {
        let kind = PlatformKind::Report {
            request_id: id.to_owned(),
            status: Status::Success,
            error_type: None,
            metrics: ReportMetrics::default(),
            spans: Vec::new(),
        };
        let actions = self.lifecycle.on_platform(self.at(ms), &kind);
        self.take(actions);
    }

    /// All signals answer the latest ticket; `kept` payloads stay with each.
    fn flushed(&mut self, ms: u64, kept: u32) {
        self.answered(ms, 1, kept);
    }

    /// The same for `sent` payloads of each.
    fn answered(&mut self, ms: u64, sent: u32, kept: u32) {
        let id = self.tickets.last().expect("a flush was ordered").id;
        for signal in SIGNALS {
            let done = FlushDone { signal, id, sent, kept };
            let actions = self.lifecycle.on_flush_done(self.at(ms), &done);
            self.take(actions);
        }
    }

    fn init_report(&mut self, ms: u64) {
        let (initialization_type, phase, status, duration_ms) = (None, None, None, None);
        let kind = PlatformKind::InitReport { initialization_type, phase, status, duration_ms };
        let actions = self.lifecycle.on_platform(self.at(ms), &kind);
        self.take(actions);
    }

    fn shutdown(&mut self, ms: u64, budget: u64) {
        let actions = self.lifecycle.on_shutdown(self.at(ms), self.at(ms + budget));
        self.take(actions);
    }

    fn tick(&mut self, ms: u64) {
        let actions = self.lifecycle.on_tick(self.at(ms));
        self.take(actions);
    }

    /// Milliseconds from the start to the next deadline.
    fn deadline(&self) -> Option<u128> {
        self.lifecycle.deadline().map(|d| d.duration_since(self.start).as_millis())
    }

    fn check(&mut self, expected: &[&str]) {
        assert_eq!(self.log, expected);
        self.log.clear();
    }
}

#[test]
fn strategy_end_holds_next_until_the_flush_is_done() {
    let mut s = Script::new(FlushStrategy::End, true);
    s.invoke(0, "a", 3000);
    s.check(&[]);
    s.runtime_done(100, "a");
    s.check(&["flush"]);
    s.flushed(120, 0);
    s.check(&["permit"]);
    assert_eq!(s.deadline(), None, "an idle agent has no timer");
}

#[test]
fn a_runtime_done_of_another_invocation_means_nothing() {
    let mut s = Script::new(FlushStrategy::End, true);
    s.invoke(0, "b", 3000);
    s.runtime_done(1, "a");
    s.check(&[]);
    s.runtime_done(2, "b");
    s.runtime_done(3, "b");
    s.check(&["flush"]);
}

#[test]
fn a_runtime_done_that_overtakes_its_invocation_ends_it() {
    let mut s = Script::new(FlushStrategy::End, true);
    s.runtime_done(0, "a");
    s.check(&[]);
    s.invoke(1, "a", 60_000);
    s.check(&["flush"]);
    s.flushed(10, 0);
    s.check(&["permit"]);
    assert_eq!(s.deadline(), None);
    // It is forgotten then.
    s.invoke(20, "b", 60_000);
    s.check(&[]);

    for strategy in [FlushStrategy::Periodically, FlushStrategy::Continuously] {
        let mut s = Script::new(strategy(Duration::from_secs(60)), true);
        s.runtime_done(0, "a");
        s.invoke(1, "a", 60_000);
        s.check(&["permit"]);
        assert_eq!(s.deadline(), None);
    }
}

#[test]
fn a_slow_intake_holds_an_invocation_for_a_bounded_time() {
    let mut s = Script::new(FlushStrategy::End, true);
    s.invoke(0, "a", 60_000);
    s.runtime_done(100, "a");
    assert_eq!(s.deadline(), Some(5_100));
    s.tick(5_100);
    s.check(&["flush", "permit"]);
    // While the intake is in trouble the next one is held for less.
    s.invoke(10_000, "b", 60_000);
    s.runtime_done(10_100, "b");
    assert_eq!(s.deadline(), Some(11_100));
    s.flushed(10_200, 0);
    s.check(&["flush", "permit"]);
    s.invoke(20_000, "c", 60_000);
    s.runtime_done(20_100, "c");
    assert_eq!(s.deadline(), Some(25_100));
}

#[test]
fn a_flush_never_holds_past_the_functions_deadline() {
    let mut s = Script::new(FlushStrategy::End, true);
    s.invoke(0, "a", 1_000);
    s.runtime_done(500, "a");
    assert_eq!(s.deadline(), Some(980));
}

#[test]
fn data_is_flushed_before_the_deadline_strikes() {
    let mut s = Script::new(FlushStrategy::End, true);
    s.invoke(0, "a", 3_000);
    assert_eq!(s.deadline(), Some(2_000));
    s.tick(2_000);
    s.flushed(2_910, 0);
    s.check(&["flush", "permit"]);
    // The end came after all: what was written since goes out, and `next` is not permitted twice.
    s.runtime_done(2_950, "a");
    s.flushed(2_960, 0);
    s.check(&["flush"]);
}

/// Rows: how long the last flush took (`None` if there was nothing to send), and how long before the deadline the next is.
#[test]
fn the_guard_is_learned_from_flushes() {
    for (took, guard) in [(None, 1_000), (Some(0), 100), (Some(50), 100), (Some(300), 600), (Some(3_000), 1_000)] {
        let mut s = Script::new(FlushStrategy::End, true);
        s.invoke(0, "a", 10_000);
        s.runtime_done(0, "a");
        match took {
            Some(ms) => s.flushed(ms, 0),
            None => s.answered(9, 0, 0),
        }
        s.check(&["flush", "permit"]);
        s.invoke(10_000, "b", 10_000);
        assert_eq!(s.deadline(), Some(20_000 - guard), "{took:?}");
    }
}

/// Rows: what an invocation whose end is never told has left, and when `next` is let go.
#[test]
fn an_invocation_shorter_than_the_guard_is_guarded_from_its_middle_on() {
    for (budget, guard) in [(3_000, 2_000), (300, 150), (150, 75), (50, 25), (0, 0)] {
        let mut s = Script::new(FlushStrategy::End, true);
        s.invoke(0, "a", budget);
        assert_eq!(s.deadline(), Some(guard), "{budget}");
        s.tick(u64::try_from(guard).unwrap());
        s.flushed(u64::try_from(guard).unwrap(), 0);
        s.check(&["flush", "permit"]);
    }
}

#[test]
fn a_late_answer_does_not_permit_the_next_invocation() {
    let mut s = Script::new(FlushStrategy::End, true);
    s.invoke(0, "a", 3_000);
    s.tick(2_900);
    s.flushed(2_901, 0);
    s.runtime_done(2_950, "a");
    s.check(&["flush", "permit", "flush"]);
    s.invoke(3_000, "b", 3_000);
    s.flushed(3_010, 0);
    s.check(&[]);
    s.runtime_done(3_100, "b");
    s.flushed(3_110, 0);
    s.check(&["flush", "permit"]);
}

#[test]
fn strategies_at_the_start_and_beside() {
    let second = Duration::from_secs(1);
    let mut s = Script::new(FlushStrategy::Periodically(second), true);
    s.invoke(500, "a", 3_000);
    s.check(&["permit"]);
    s.runtime_done(600, "a");
    s.check(&[]);
    s.invoke(1_500, "b", 3_000);
    s.check(&["flush"]);
    s.flushed(1_510, 0);
    s.check(&["permit"]);

    let mut s = Script::new(FlushStrategy::Continuously(second), true);
    s.invoke(1_500, "a", 3_000);
    s.check(&["flush", "permit"]);
    // The first flush is still on its way: no second one piles up.
    s.runtime_done(1_600, "a");
    s.invoke(3_000, "b", 3_000);
    s.check(&["permit"]);
}

#[test]
fn a_long_invocation_is_flushed_in_between() {
    let mut s = Script::new(FlushStrategy::Adaptive, true);
    s.invoke(0, "a", 900_000);
    assert_eq!(s.deadline(), Some(60_000));
    s.tick(60_000);
    s.flushed(60_010, 0);
    s.check(&["flush"]);
    assert_eq!(s.deadline(), Some(120_000));
}

#[test]
fn without_telemetry_next_is_never_held() {
    let mut s = Script::new(FlushStrategy::End, false);
    s.invoke(0, "a", 3_000);
    s.check(&["flush", "permit"]);
    s.flushed(1, 0);
    let actions = s.lifecycle.on_invocation_ended(s.at(10));
    s.take(actions);
    s.flushed(20, 0);
    s.check(&["flush"]);
}

#[test]
fn telemetry_that_is_lost_lets_next_go() {
    let mut s = Script::new(FlushStrategy::End, true);
    s.invoke(0, "a", 3_000);
    let actions = s.lifecycle.on_telemetry_lost();
    s.take(actions);
    s.check(&["permit"]);
}

#[test]
fn with_telemetry_a_library_does_not_decide_the_end() {
    let mut s = Script::new(FlushStrategy::End, true);
    s.invoke(0, "a", 3_000);
    let actions = s.lifecycle.on_invocation_ended(s.at(10));
    s.take(actions);
    s.check(&[]);
}

#[test]
fn pressure_flushes_one_signal_and_nobody_waits() {
    let mut s = Script::new(FlushStrategy::End, true);
    s.invoke(0, "a", 3_000);
    let actions = s.lifecycle.on_pressure(s.at(10), Signal::Traces);
    assert!(matches!(actions[..], [Action::Flush(Signal::Traces, FlushTicket { last: false, .. })]));
    s.take(actions);
    s.flushed(20, 0);
    s.check(&["flush"]);
    s.runtime_done(30, "a");
    s.flushed(40, 0);
    s.check(&["flush", "permit"]);
}

/// Rows: when the init's report comes, and when the wait for telemetry ends.
#[test]
fn shutdown_before_any_invocation() {
    for (report, end) in [(Some(10), 1_050), (Some(1_010), 1_050), (Some(1_100), 1_100), (None, 1_300)] {
        let mut s = Script::new(FlushStrategy::End, true);
        if report.is_some_and(|ms| ms < 1_000) {
            s.init_report(10);
        }
        s.shutdown(1_000, 2_000);
        s.check(&["flush"]);
        if let Some(ms) = report.filter(|ms| *ms > 1_000) {
            assert_eq!(s.deadline(), Some(1_300));
            s.init_report(ms);
        }
        if report != Some(end) {
            s.check(&[]);
            assert_eq!(s.deadline(), Some(u128::from(end)));
            s.tick(end);
        }
        s.check(&["last"]);
        s.flushed(end + 10, 0);
        s.check(&["exit"]);
    }
}

#[test]
fn shutdown_without_telemetry_waits_for_none() {
    let mut s = Script::new(FlushStrategy::End, false);
    s.shutdown(0, 2_000);
    s.check(&["last"]);
    s.flushed(10, 0);
    s.check(&["exit"]);
}

#[test]
fn shutdown_waits_for_the_report_but_not_for_long() {
    for report in [Some(60), None] {
        let mut s = Script::new(FlushStrategy::End, true);
        s.invoke(0, "a", 3_000);
        s.runtime_done(10, "a");
        s.flushed(20, 0);
        s.check(&["flush", "permit"]);
        s.shutdown(1_000, 2_000);
        s.check(&["flush"]);
        assert_eq!(s.deadline(), Some(1_300));
        match report {
            Some(ms) => s.report(1_000 + ms, "a"),
            None => s.tick(1_300),
        }
        s.check(&["last"]);
        s.flushed(1_310, 0);
        s.check(&["exit"]);
    }
}

#[test]
fn a_report_that_came_before_is_not_waited_for() {
    let mut s = Script::new(FlushStrategy::End, true);
    s.invoke(0, "a", 3_000);
    s.runtime_done(10, "a");
    s.report(11, "a");
    s.flushed(20, 0);
    s.shutdown(1_000, 2_000);
    // Only for what Lambda buffers.
    assert_eq!(s.deadline(), Some(1_050));
    s.tick(1_050);
    s.check(&["flush", "permit", "flush", "last"]);
}

#[test]
fn shutdown_during_a_flush_and_a_second_signal() {
    let mut s = Script::new(FlushStrategy::End, true);
    s.invoke(0, "a", 3_000);
    s.runtime_done(10, "a");
    s.report(11, "a");
    s.shutdown(12, 2_000);
    s.shutdown(13, 2_000);
    s.tick(62);
    s.check(&["flush", "flush", "last"]);
    s.flushed(70, 0);
    s.check(&["exit"]);
}

#[test]
fn shutdown_ends_before_its_deadline_whatever_the_intake_does() {
    let mut s = Script::new(FlushStrategy::End, false);
    s.shutdown(0, 2_000);
    let last = s.tickets.last().unwrap();
    assert!(last.ending && last.last && last.deadline == s.at(1_850));
    // What could not be sent by then is still counted.
    assert_eq!(s.deadline(), Some(1_940));
    s.tick(1_940);
    s.check(&["last", "exit"]);

    // No time at all: nothing is waited for.
    let mut s = Script::new(FlushStrategy::End, true);
    s.invoke(0, "a", 3_000);
    s.shutdown(10, 0);
    s.check(&["flush"]);
    s.tick(10);
    s.tick(10);
    s.check(&["last", "exit"]);
}

#[test]
fn a_library_may_ask_for_a_flush() {
    let mut s = Script::new(FlushStrategy::Periodically(Duration::from_secs(10)), true);
    s.invoke(0, "a", 3_000);
    let actions = s.lifecycle.on_flush_requested(s.at(5));
    s.take(actions);
    s.flushed(6, 0);
    s.check(&["permit", "flush"]);
}
