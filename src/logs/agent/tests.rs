//! The whole way from a delivery to payloads and events, on the test's own thread.

use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, unbounded};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::config::{RuleKind, RuleSpec};
use crate::forwarder::{FlushDone, Job};
use crate::logs::testing::{config, logs};
use crate::net::Body;

const START: &str = r#"{"time":"2022-10-12T00:00:01Z","type":"platform.start","record":{"requestId":"r"}}"#;
const DONE: &str =
    r#"{"time":"2022-10-12T00:00:03Z","type":"platform.runtimeDone","record":{"requestId":"r","status":"success"}}"#;

fn line(second: u32, text: &str) -> String {
    format!(r#"{{"time":"2022-10-12T00:00:{second:02}Z","type":"function","record":"{text}"}}"#)
}

fn ticket(id: u64, last: bool) -> FlushTicket {
    FlushTicket { id, deadline: Instant::now() + Duration::from_secs(5), ending: last, last }
}

/// Runs the agent over `messages` on this thread. Returns the logs it flushed, its events, its answers.
fn run_over(config: Config, messages: Vec<Message>) -> (Vec<Value>, Vec<Event>, Vec<FlushDone>) {
    let (inbox, inbox_rx) = unbounded();
    let (events_tx, events) = bounded(100);
    let (done_tx, done) = bounded(100);
    let (jobs_tx, jobs) = bounded::<Receiver<Job>>(1);
    let lane = Lane::new(Signal::Logs, done_tx, Box::new(move |rx| jobs_tx.send(rx).is_ok()));
    messages.into_iter().for_each(|message| inbox.send(message).unwrap());
    drop(inbox);
    run(Agent {
        config: Arc::new(config),
        tags: Arc::new(Tags::default()),
        last_request_id: None,
        inbox: inbox_rx,
        events: events_tx,
        lane,
    });
    let jobs: Vec<Job> = jobs.try_recv().map(|rx| rx.iter().collect()).unwrap_or_default();
    let logs = jobs.iter().flat_map(|job| &job.payloads).flat_map(logs).collect();
    (logs, events.iter().collect(), done.iter().collect())
}

fn telemetry(delivery: impl Into<Vec<u8>>) -> Message {
    Message::Telemetry(Body::detached(delivery.into()))
}

/// Messages with their request ids.
fn summary(logs: &[Value]) -> Vec<String> {
    let of = |log: &Value| {
        let message = &log["message"];
        format!("{}|{}", message["message"].as_str().unwrap(), message["lambda"]["request_id"].as_str().unwrap_or("-"))
    };
    logs.iter().map(of).collect()
}

#[test]
fn a_delivery_becomes_logs_in_the_order_of_their_times() {
    let delivery = format!("[{},{DONE},{START},{}]", line(2, "second"), line(2, "third"));
    let (logs, events, _) = run_over(config(), vec![telemetry(delivery), Message::Flush(ticket(1, false))]);
    assert_eq!(summary(&logs), ["START RequestId: r Version: $LATEST|r", "second|r", "third|r", "END RequestId: r|r"]);
    assert_eq!(logs[1]["message"]["timestamp"], 1_665_532_802_000_u64);
    let kinds: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::Platform(event) => match *event.kind {
                PlatformKind::Start { .. } => "start",
                PlatformKind::RuntimeDone { .. } => "done",
                _ => "another kind",
            },
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["start", "done"]);
}

#[test]
fn malformed_elements_cost_themselves() {
    let malformed = counters::get(Counter::LogsMalformed);
    let delivery = format!("[{START},{{\"type\":\"function\"}},{},garbage,{},{{\"time", line(2, "a"), line(2, "b"));
    let (logs, ..) = run_over(config(), vec![telemetry(delivery), Message::Flush(ticket(1, false))]);
    assert_eq!(summary(&logs)[1..], ["a|r", "b|r"]);
    assert!(counters::get(Counter::LogsMalformed) - malformed >= 3);
}

#[test]
fn hostile_lines_do_not_break_their_neighbours() {
    let mut delivery = format!("[{START},{},", line(2, r"a\ud800")).into_bytes();
    delivery.extend_from_slice(line(2, "FF").replace("FF", "b\u{1}").as_bytes());
    delivery.push(b',');
    let mut invalid = line(2, "XX").into_bytes();
    let at = invalid.windows(2).position(|w| w == b"XX").unwrap();
    invalid[at..at + 2].copy_from_slice(b"\xff\xc3");
    delivery.extend_from_slice(&invalid);
    delivery.extend_from_slice(format!(",{}]", line(2, "c")).as_bytes());
    let (logs, ..) = run_over(config(), vec![telemetry(delivery), Message::Flush(ticket(1, false))]);
    assert_eq!(summary(&logs)[1..], ["a\u{fffd}|r", "\u{fffd}\u{fffd}|r", "c|r"]);
}

/// A delivery as AWS's emulator makes them for Managed Instances.
const EMULATOR: &str = r#"[
    {"time":"2026-11-23T04:39:08.457Z","type":"platform.initStart","record":{"initializationType":"lambda-managed-instances",
        "runtimeVersion":"","runtimeVersionArn":"","functionName":"my-func","functionVersion":"$LATEST","instanceId":"$LATEST",
        "instanceMaxMemory":536870912,"phase":"init"}},
    {"time":"2026-11-23T04:39:08.458Z","type":"platform.telemetrySubscription","record":{"name":"trivial-ext",
        "state":"Subscribed","types":["platform","function","extension"]}},
    {"time":"2026-11-23T04:39:08.459Z","type":"extension","record":"extension stdout line"},
    {"time":"2026-11-23T04:39:08.460Z","type":"platform.initRuntimeDone","record":{
        "initializationType":"lambda-managed-instances","status":"success","phase":"init"}},
    {"time":"2026-11-23T04:39:08.461Z","type":"platform.extension","record":{"name":"trivial-ext","state":"Ready",
        "events":["SHUTDOWN"]}},
    {"time":"2026-11-23T04:39:08.462Z","type":"platform.initReport","record":{
        "initializationType":"lambda-managed-instances","metrics":{"durationMs":354.953},"phase":"init","status":"success"}},
    {"time":"2026-11-23T04:39:08.463Z","type":"platform.start","record":{"requestId":"r","version":"$LATEST",
        "functionArn":"arn:aws:lambda:us-east-1:1:function:f","tracing":{"type":"X-Amzn-Trace-Id","value":"Root=1"}}},
    {"time":"2026-11-23T04:39:08.464Z","type":"function","record":"stdout line from function {\"hello\": \"world\"}"},
    {"time":"2026-11-23T04:39:08.465Z","type":"platform.report","record":{"requestId":"r","status":"success",
        "metrics":{"durationMs":2.146},"tracing":{"type":"X-Amzn-Trace-Id","value":"Root=1"},"spans":[
        {"name":"responseLatency","start":"2026-11-23T04:39:08.464Z","durationMs":1.891},
        {"name":"responseDuration","start":"2026-11-23T04:39:08.465Z","durationMs":0.085}]}},
    {"time":"2026-11-23T04:39:08.466Z","type":"platform.report","record":{"requestId":"e","status":"error",
        "errorType":"Runtime.Unknown","metrics":{"durationMs":1}}},
    {"time":"2026-11-23T04:39:08.467Z","type":"platform.report","record":{"requestId":"t","status":"timeout",
        "errorType":"Sandbox.Timedout","metrics":{"durationMs":3000}}}
]"#;

#[test]
fn what_the_emulator_delivers() {
    for (kind, own, line_id) in [("on-demand", "r", "r"), ("lambda-managed-instances", "r", "-")] {
        let mut config = config();
        config.lambda.initialization_type = kind.to_owned();
        let (logs, events, _) = run_over(config, vec![telemetry(EMULATOR), Message::Flush(ticket(1, false))]);
        let mut expected = vec![
            format!("INIT_START Runtime Version: ? Runtime Version ARN: ?|{line_id}"),
            format!("extension stdout line|{line_id}"),
            format!("START RequestId: r Version: $LATEST|{own}"),
            format!("stdout line from function {{\"hello\": \"world\"}}|{line_id}"),
            "REPORT RequestId: r Runtime Duration: 2.15 ms|r".to_owned(),
            "REPORT RequestId: e Runtime Duration: 1.00 ms Task failed: Runtime.Unknown|e".to_owned(),
            "REPORT RequestId: t Runtime Duration: 3000.00 ms Task timed out after 3.00 seconds|t".to_owned(),
        ];
        if kind == "on-demand" {
            // The lines of the init follow the START they waited for.
            expected[..3].rotate_left(2);
        }
        assert_eq!(summary(&logs), expected);
        assert_eq!(events.len(), 6);
    }
}

#[test]
fn rules_see_every_line() {
    let mut config = config();
    let rule = |kind, pattern: &str, placeholder: &str| RuleSpec {
        kind,
        name: "n".to_owned(),
        pattern: pattern.to_owned(),
        placeholder: placeholder.to_owned(),
    };
    config.logs_rules = vec![
        rule(RuleKind::ExcludeAtMatch, "^(START|END) RequestId", ""),
        rule(RuleKind::ExcludeAtMatch, "(", ""),
        rule(RuleKind::MaskSequences, "\"card\":\"(\\d)\\d+", "\"card\":\"$1*"),
        rule(RuleKind::ExcludeAtMatch, "noise\n", ""),
    ];
    let object = r#"{"time":"2022-10-12T00:00:02Z","type":"function","record":{"card":"1234"}}"#;
    let delivery = format!("[{START},{},{object},{},{DONE}]", line(2, r#"a \"q\""#), line(2, r"noise\n"));
    let excluded = counters::get(Counter::LogsExcluded);
    let (logs, events, _) = run_over(config, vec![telemetry(delivery), Message::Flush(ticket(1, false))]);
    assert_eq!(summary(&logs), [r#"a "q"|r"#, r#"{"card":"1*"}|r"#]);
    assert_eq!(events.len(), 2);
    assert!(counters::get(Counter::LogsExcluded) - excluded >= 3);
}

#[test]
fn without_logs_only_events_are_relayed() {
    let mut config = config();
    config.logs_enabled = false;
    let delivery = format!("[{START},{},{DONE}]", line(2, "a"));
    let (logs, events, done) = run_over(config, vec![telemetry(delivery), Message::Flush(ticket(1, true))]);
    assert_eq!((logs.len(), events.len()), (0, 2));
    assert_eq!(done, [FlushDone { signal: Signal::Logs, id: 1, sent: 0, kept: 0 }]);
}

#[test]
fn the_last_flush_takes_waiting_lines() {
    let first = vec![telemetry(format!("[{}]", line(1, "init"))), Message::Flush(ticket(1, false))];
    let (logs, _, done) = run_over(config(), first);
    assert_eq!((logs.len(), done.len()), (0, 1));
    let (logs, ..) =
        run_over(config(), vec![telemetry(format!("[{}]", line(1, "init"))), Message::Flush(ticket(1, true))]);
    assert_eq!(summary(&logs), ["init|-"]);
}

#[test]
fn what_a_busy_worker_gives_back_goes_with_a_later_flush() {
    // The worker's channel has room for two jobs; nobody takes them out while the agent runs.
    let mut messages = vec![telemetry(format!("[{START}]"))];
    for i in 1..=4 {
        messages.push(telemetry(format!("[{}]", line(2, &i.to_string()))));
        messages.push(Message::Flush(ticket(i, false)));
    }
    let (logs, _, done) = run_over(config(), messages);
    assert_eq!(summary(&logs)[1..], ["1|r", "2|r"]);
    let kept: Vec<_> = done.iter().map(|d| (d.id, d.kept)).collect();
    assert_eq!(kept, [(3, 1), (4, 2)]);
}

#[test]
fn a_full_inbox_of_the_coordinator_is_counted() {
    let full = counters::get(Counter::InboxFull);
    let (_, events, _) = run_over(config(), vec![telemetry(format!("[{}{START}]", format!("{START},").repeat(149)))]);
    assert_eq!(events.len(), 100);
    assert!(counters::get(Counter::InboxFull) - full >= 50);
}

#[test]
fn tags_change_with_a_message() {
    let tags = Tags { joined: "k:v".to_owned(), ..Tags::default() };
    let messages =
        vec![Message::Tags(Arc::new(tags)), telemetry(format!("[{START}]")), Message::Flush(ticket(1, false))];
    assert_eq!(run_over(config(), messages).0[0]["ddtags"], "k:v");
}

#[test]
fn records_dropped_by_the_platform_are_counted() {
    let before = counters::get(Counter::LogsDroppedByPlatform);
    let event = r#"{"type":"platform.logsDropped","record":{"droppedRecords":7,"droppedBytes":9,"reason":"x"}}"#;
    let (logs, events, _) = run_over(config(), vec![telemetry(event), Message::Flush(ticket(1, true))]);
    assert_eq!((logs.len(), events.len()), (0, 1));
    assert!(counters::get(Counter::LogsDroppedByPlatform) - before >= 7);
}

#[test]
fn panics_are_caught_and_counted() {
    let before = counters::get(Counter::Panics);
    let mut said = Said::default();
    let mut after = false;
    said.guard(|| panic!("on purpose"));
    said.guard(|| after = true);
    assert!(after && said.panicked);
    assert!(counters::get(Counter::Panics) > before);
}

proptest! {
    #[test]
    fn any_delivery_yields_valid_payloads(delivery in prop::collection::vec(any::<u8>(), 0..300)) {
        run_over(config(), vec![telemetry(delivery), Message::Flush(ticket(1, true))]);
    }

    #[test]
    fn any_record_yields_valid_payloads(
        records in prop::collection::vec(
            r#"("([a-z{}\[\],:]|\\"|\\n|\\ud8[0-9]{2}|\\\\)*"|\{"(ddtags|message|level|requestId)" ?: ?("x\\ud800"|\{"ddtags":"a:1" , "b":1\}|1)\}|[0-9]|null|x)"#,
            0..10,
        ),
    ) {
        let mut valid = 0;
        let mut delivery = "[".to_owned();
        for record in &records {
            valid += usize::from(record != "x");
            delivery += &format!(r#"{{"time":"2022-10-12T00:00:02Z","type":"function","record":{record}}},"#);
        }
        let (logs, ..) = run_over(config(), vec![telemetry(delivery), Message::Flush(ticket(1, true))]);
        prop_assert_eq!(logs.len(), valid);
    }
}
