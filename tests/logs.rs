//! Logs through the shipped binary in the lab: from what a function prints to what the intake decodes.

#[path = "lab/mod.rs"]
mod lab;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use lab::intake::Log;
use lab::{Intake, Options, Outcome, Platform, Route, Runtime};

const LIMIT: Duration = Duration::from_secs(10);

/// Runs one invocation of `function` and a shutdown with the settings `env`; returns the id and what arrived.
fn one_invocation(
    env: &[(&str, &str)],
    function: impl Fn(&lab::platform::Invocation) + Send + Sync + 'static,
) -> (String, lab::intake::Received) {
    let intake = Intake::start();
    let runtime = Runtime::builtin(move |invocation| {
        function(invocation);
        Outcome::Done(json!("done"))
    });
    let mut settings = intake.env();
    let url = intake.url();
    settings.extend(env.iter().map(|(name, value)| ((*name).to_owned(), value.replace("{intake}", &url))));
    let mut platform = Platform::start(Options { runtime, env: settings, ..Options::default() });
    platform.telemetry().emit("function", json!("printed by init\n"));
    platform.init().unwrap();
    let invoked = platform.invoke(&json!({}), LIMIT).unwrap();
    platform.shutdown("spindown").unwrap();
    let received = intake.received();
    assert_eq!(received.problems(), [""; 0]);
    (invoked.request_id, received)
}

/// The logs whose text has `part` in it.
fn with<'a>(logs: &'a [Log], part: &str) -> Vec<&'a Log> {
    logs.iter().filter(|log| log.message().contains(part)).collect()
}

/// Posts `body` to the extension as a delivery of telemetry.
fn deliver(body: &[u8]) {
    let mut stream = TcpStream::connect("127.0.0.1:8124").unwrap();
    let head = format!(
        "POST /lambda/logs HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn every_line_arrives_once_with_its_invocation() {
    lab::isolated("every_line_arrives_once_with_its_invocation", || {
        let (id, received) = one_invocation(&[("DD_SERVICE", "Shop"), ("DD_TAGS", "team:a")], |invocation| {
            (0..2500).for_each(|i| invocation.print(&format!("line {i}.")));
            invocation.print("quoted \"text\" \\ ünï 😀");
            invocation.print_json(json!({"level": "error", "n": 1.5, "ddtags": "own:tag"}));
            invocation.print_json(json!(7));
        });
        let logs = &received.logs;
        let expected = [
            "INIT_START Runtime Version: ".to_owned(),
            "printed by init\n".to_owned(),
            format!("START RequestId: {id} Version: $LATEST"),
            "line 0.\n".to_owned(),
            "line 2499.\n".to_owned(),
            "quoted \"text\" \\ ünï 😀\n".to_owned(),
            r#""level":"error""#.to_owned(),
            format!("END RequestId: {id}"),
            format!("REPORT RequestId: {id} Duration: "),
        ];
        for part in expected {
            let found = with(logs, &part);
            assert_eq!(found.len(), 1, "{part}");
            assert_eq!(found[0].request_id(), Some(id.as_str()), "{part}");
            assert_eq!(found[0].json["service"], "shop");
            assert!(found[0].ddtags().contains("team:a"));
        }
        assert_eq!(with(logs, "line ").len(), 2500);
        let object = with(logs, r#""level":"error""#)[0];
        assert_eq!((object.status(), object.message()), (Some("error"), r#"{"level":"error","n":1.5}"#));
        assert!(object.ddtags().ends_with(",own:tag"), "{}", object.ddtags());
        assert_eq!(logs.iter().filter(|log| log.message() == "7").count(), 1);
        let encoded = |request: &lab::intake::Request| request.header("content-encoding") == Some("zstd");
        assert!(received.requests_to(Route::Logs).all(encoded));
    });
}

#[test]
fn rules_filter_and_mask() {
    lab::isolated("rules_filter_and_mask", || {
        let rules = json!([
            {"type": "exclude_at_match", "name": "no platform", "pattern": "^(START|END|REPORT|INIT_START) "},
            {"type": "exclude_at_match", "name": "broken", "pattern": "(?=x)"},
            {"type": "mask_sequences", "name": "cards", "pattern": "(\\d{4})\\d{8}", "replace_placeholder": "$1*"},
        ]);
        let rules = rules.to_string();
        let (_, received) = one_invocation(&[("DD_LOGS_CONFIG_PROCESSING_RULES", &rules)], |invocation| {
            invocation.print("card 123456789012");
        });
        let logs = &received.logs;
        assert_eq!(with(logs, "card ")[0].message(), "card 1234*\n");
        assert_eq!(with(logs, "START ").len() + with(logs, "REPORT ").len(), 0);
    });
}

#[test]
fn a_hostile_delivery_costs_itself() {
    lab::isolated("a_hostile_delivery_costs_itself", || {
        let (id, received) = one_invocation(&[], |_| {
            let event =
                |record: &str| format!(r#"{{"time":"2026-11-23T04:39:08.457Z","type":"function","record":{record}}}"#);
            deliver(format!("[{},garbage,{}", event("\"before\""), &event("\"cut\"")[..50]).as_bytes());
            deliver(format!("[{},{}]", event(r#""half \ud800""#), event("\"unclosed")).as_bytes());
            deliver(b"not json");
            deliver(b"");
            deliver(&[0xff; 1000]);
            deliver("[{\"time\":".repeat(10_000).as_bytes());
            deliver(format!("[{}]", event("\"after\"")).as_bytes());
        });
        let logs = &received.logs;
        for text in ["before", "half \u{fffd}", "after"] {
            let found: Vec<_> = logs.iter().filter(|log| log.message() == text).collect();
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(found[0].request_id(), Some(id.as_str()));
        }
        assert_eq!(with(logs, "END RequestId").len(), 1);
    });
}

#[test]
fn a_line_over_the_limit_is_cut() {
    lab::isolated("a_line_over_the_limit_is_cut", || {
        let (_, received) = one_invocation(&[], |_| {
            let record = "x".repeat(1_200_000);
            let event = format!(r#"{{"time":"2026-11-23T04:39:08.457Z","type":"function","record":"{record}"}}"#);
            deliver(format!("[{event}]").as_bytes());
        });
        let cut = received.logs.iter().find(|log| log.message().ends_with("x...TRUNCATED...")).unwrap();
        assert!(cut.json.to_string().len() <= 1_000_000);
        assert_eq!(with(&received.logs, "END RequestId").len(), 1);
    });
}

#[test]
fn a_pipelines_worker_gets_plain_json_at_its_root() {
    lab::isolated("a_pipelines_worker_gets_plain_json_at_its_root", || {
        let settings = [
            ("DD_OBSERVABILITY_PIPELINES_WORKER_LOGS_ENABLED", "true"),
            ("DD_OBSERVABILITY_PIPELINES_WORKER_LOGS_URL", "{intake}/"),
        ];
        let (_, received) = one_invocation(&settings, |invocation| invocation.print("hello"));
        assert_eq!(with(&received.logs, "hello").len(), 1);
        for request in received.requests_to(Route::Logs) {
            assert_eq!(request.path, "/");
            assert_eq!((request.header("content-encoding"), request.header("dd-protocol")), (None, None));
        }
    });
}

#[test]
fn without_logs_the_invocation_still_ends() {
    lab::isolated("without_logs_the_invocation_still_ends", || {
        let (_, received) = one_invocation(&[("DD_SERVERLESS_LOGS_ENABLED", "false")], |invocation| {
            invocation.print("hello");
            invocation.statsd("seen:1|c");
        });
        assert_eq!(received.logs.len(), 0);
        let sum: Value = received.series_sum("seen").into();
        assert_eq!(sum, 1.0);
    });
}
