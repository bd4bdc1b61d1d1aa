//! Rows for the texts of every event, for attribution and for lines that wait (spec: logs 6.2 to 6.4).

use super::*;
use crate::lambda::telemetry::{Elements, text_of};
use crate::logs::testing;

/// One emitted log: its message, request id (`-` for null) and status.
type Row = (String, String, &'static str);

fn row(entry: &Entry<'_>) -> Row {
    let mut buffer = String::new();
    let text = entry.text.decode(&mut buffer).to_owned();
    (text, entry.request_id.unwrap_or("-").to_owned(), entry.level.as_str())
}

/// Maps `(type, record)` pairs and then ends, if `last`.
fn map(mapper: &mut Mapper, events: &[(&str, &str)], last: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for (kind, record) in events {
        let json = format!(r#"{{"time":"1970-01-01T00:00:01Z","type":"{kind}","record":{record}}}"#);
        let text = text_of(json.as_bytes());
        let parts = Elements::new(&text).next().unwrap().unwrap();
        mapper.map(&Element::read(parts, 0).unwrap(), |entry| {
            assert_eq!(entry.time_ms, 1000);
            rows.push(row(entry));
        });
    }
    if last {
        mapper.finish(|entry| rows.push(row(entry)));
    }
    rows
}

fn check(events: &[(&str, &str)], expected: &[(&str, &str, &str)]) {
    check_with(&mut Mapper::new(&testing::config(), None), events, expected);
}

fn check_with(mapper: &mut Mapper, events: &[(&str, &str)], expected: &[(&str, &str, &str)]) {
    let rows = map(mapper, events, true);
    let rows: Vec<_> = rows.iter().map(|(text, id, level)| (text.as_str(), id.as_str(), *level)).collect();
    assert_eq!(rows, expected, "{events:?}");
}

const START: (&str, &str) = ("platform.start", r#"{"requestId":"r","version":"7"}"#);
const START_LINE: (&str, &str, &str) = ("START RequestId: r Version: 7", "r", "info");
const DONE: (&str, &str) =
    ("platform.runtimeDone", r#"{"requestId":"r","status":"success","metrics":{"durationMs":10.004}}"#);
const DONE_LINE: (&str, &str, &str) = ("END RequestId: r", "r", "info");

#[test]
fn platform_lines() {
    for (event, line, id, level) in [
        (
            ("platform.initStart", r#"{"runtimeVersion":"python:3.13","runtimeVersionArn":"arn:x"}"#),
            "INIT_START Runtime Version: python:3.13 Runtime Version ARN: arn:x",
            "-",
            "info",
        ),
        (
            ("platform.initStart", r#"{"runtimeVersion":""}"#),
            "INIT_START Runtime Version: ? Runtime Version ARN: ?",
            "-",
            "info",
        ),
        (START, "START RequestId: r Version: 7", "r", "info"),
        (("platform.start", r#"{"requestId":"r"}"#), "START RequestId: r Version: $LATEST", "r", "info"),
        (DONE, "END RequestId: r", "r", "info"),
        (
            ("platform.runtimeDone", r#"{"requestId":"r","status":"timeout","metrics":{"durationMs":3004}}"#),
            "END RequestId: r Task timed out after 3.00 seconds",
            "r",
            "error",
        ),
        (
            ("platform.runtimeDone", r#"{"requestId":"r","status":"error","errorType":"A\"B","metrics":{}}"#),
            r#"END RequestId: r Task failed: "A\"B""#,
            "r",
            "error",
        ),
        (
            ("platform.runtimeDone", r#"{"requestId":"r","status":"error","metrics":{"durationMs":1}}"#),
            r#"END RequestId: r Task failed: """#,
            "r",
            "error",
        ),
        (
            ("platform.runtimeDone", r#"{"requestId":"r","status":"error","errorType":"X"}"#),
            "END RequestId: r",
            "r",
            "info",
        ),
        (
            ("platform.runtimeDone", r#"{"requestId":"r","status":"failure","metrics":{"durationMs":1}}"#),
            "END RequestId: r",
            "r",
            "info",
        ),
        (
            ("platform.report", r#"{"requestId":"r","status":"success","metrics":{"durationMs":2.146}}"#),
            "REPORT RequestId: r Runtime Duration: 2.15 ms",
            "r",
            "info",
        ),
        (
            ("platform.report", r#"{"requestId":"r","status":"timeout","metrics":{"durationMs":3000}}"#),
            "REPORT RequestId: r Runtime Duration: 3000.00 ms Task timed out after 3.00 seconds",
            "r",
            "error",
        ),
        (
            ("platform.report", r#"{"requestId":"r","status":"error","errorType":"E","metrics":{"durationMs":1}}"#),
            "REPORT RequestId: r Runtime Duration: 1.00 ms Task failed: E",
            "r",
            "error",
        ),
        (
            ("platform.report", r#"{"requestId":"r","status":"error","metrics":{"durationMs":1}}"#),
            "REPORT RequestId: r Runtime Duration: 1.00 ms Task failed with an unknown error",
            "r",
            "error",
        ),
    ] {
        check(&[event], &[(line, id, level)]);
    }
}

#[test]
fn events_without_a_line() {
    for kind in [
        "initReport",
        "initRuntimeDone",
        "restoreStart",
        "restoreReport",
        "restoreRuntimeDone",
        "extension",
        "telemetrySubscription",
        "logsDropped",
        "fault",
        "tomorrow",
    ] {
        check(&[(&format!("platform.{kind}"), r#"{"status":"success"}"#)], &[]);
    }
}

#[test]
fn reports_know_how_long_the_handler_ran() {
    let report = r#"{"requestId":"r","status":"timeout","metrics":{"durationMs":12.5,"billedDurationMs":13,
        "memorySizeMB":128,"maxMemoryUsedMB":74,"initDurationMs":100.126,"restoreDurationMs":5}}"#;
    let tail = "Billed Duration: 13 ms Memory Size: 128 MB Max Memory Used: 74 MB Init Duration: 100.13 ms";
    for (before, times) in [
        (DONE, "Runtime Duration: 10.00 ms Post Runtime Duration: 2.50 ms"),
        (
            ("platform.runtimeDone", r#"{"requestId":"other","status":"success","metrics":{"durationMs":10}}"#),
            "Runtime Duration: 0.00 ms Post Runtime Duration: 0.00 ms",
        ),
        (
            ("platform.runtimeDone", r#"{"requestId":"r","status":"failure"}"#),
            "Runtime Duration: 0.00 ms Post Runtime Duration: 0.00 ms",
        ),
    ] {
        let rows = map(&mut Mapper::new(&testing::config(), None), &[before, ("platform.report", report)], true);
        let line = format!("REPORT RequestId: r Duration: 12.50 ms {times} {tail}");
        assert_eq!(rows[1], (line, "r".to_owned(), "info"));
    }
}

#[test]
fn records() {
    for (event, expected) in [
        (("function", r#""text\n""#), ("text\n", "r", "info")),
        (("function", r#"{"level":"error","n":1.50}"#), (r#"{"level":"error","n":1.50}"#, "r", "error")),
        (("function", r#"{"requestId":"own"}"#), (r#"{"requestId":"own"}"#, "own", "info")),
        (("function", r#"{"AWSRequestId":"own"}"#), (r#"{"AWSRequestId":"own"}"#, "own", "info")),
        (("function", "1.50"), ("1.50", "r", "info")),
        (("function", "[1, 2]"), ("[1,2]", "r", "info")),
        (("function", "true"), ("true", "r", "info")),
        (("function", "null"), ("null", "r", "info")),
        (("extension", r#""text""#), ("text", "r", "info")),
        (("extension", r#"{"status":"DEBUG"}"#), (r#"{"status":"DEBUG"}"#, "r", "debug")),
    ] {
        check(&[START, event], &[START_LINE, expected]);
    }
}

#[test]
fn lines_before_start_wait_for_it() {
    check(
        &[
            ("platform.initStart", "{}"),
            ("function", "\"init\""),
            ("extension", "\"ext\""),
            START,
            ("function", "\"a\""),
        ],
        &[
            START_LINE,
            ("INIT_START Runtime Version: ? Runtime Version ARN: ?", "r", "info"),
            ("init", "r", "info"),
            ("ext", "r", "info"),
            ("a", "r", "info"),
        ],
    );
    // A line that knows its own invocation says nothing of the others.
    check(
        &[("function", "\"init\""), ("function", r#"{"requestId":"own"}"#), START],
        &[(r#"{"requestId":"own"}"#, "own", "info"), START_LINE, ("init", "r", "info")],
    );
    // START was lost.
    check(&[("function", "\"a\""), DONE], &[DONE_LINE, ("a", "r", "info")]);
    // There is never an invocation.
    check(&[("function", "\"init\"")], &[("init", "-", "info")]);
}

#[test]
fn lines_behind_end_belong_to_it() {
    let next = ("platform.start", r#"{"requestId":"r2"}"#);
    let next_line = ("START RequestId: r2 Version: $LATEST", "r2", "info");
    check(
        &[START, DONE, ("function", "\"late\""), ("extension", "\"ext\""), next, ("function", "\"b\"")],
        &[START_LINE, DONE_LINE, ("late", "r", "info"), ("ext", "r", "info"), next_line, ("b", "r2", "info")],
    );
    // The end of another invocation does not change the present one.
    let other = ("platform.runtimeDone", r#"{"requestId":"r0","status":"success"}"#);
    check(
        &[START, other, ("function", "\"a\"")],
        &[START_LINE, ("END RequestId: r0", "r0", "info"), ("a", "r", "info")],
    );
}

#[test]
fn an_init_starts_anew() {
    let report = ("platform.report", r#"{"requestId":"r","status":"success","metrics":{"durationMs":1}}"#);
    let report_line = ("REPORT RequestId: r Runtime Duration: 1.00 ms", "r", "info");
    let init = ("platform.initStart", "{}");
    let init_line = |id| ("INIT_START Runtime Version: ? Runtime Version ARN: ?", id, "info");
    let next = ("platform.start", r#"{"requestId":"r2"}"#);
    let next_line = ("START RequestId: r2 Version: $LATEST", "r2", "info");
    check(
        &[START, DONE, init, ("function", "\"init\""), report, next],
        &[START_LINE, DONE_LINE, report_line, next_line, init_line("r2"), ("init", "r2", "info")],
    );
    // Init once more inside an invocation.
    check(&[START, init, ("function", "\"a\"")], &[START_LINE, init_line("r"), ("a", "r", "info")]);
    // A sandbox that was reset: what the crashed invocation still had to say.
    let mut restored = Mapper::new(&testing::config(), Some("r".to_owned()));
    check_with(
        &mut restored,
        &[("function", "\"crash\""), init, ("function", "\"init\""), next],
        &[("crash", "r", "info"), next_line, init_line("r2"), ("init", "r2", "info")],
    );
}

#[test]
fn managed_instances_infer_nothing() {
    let mut config = testing::config();
    config.lambda.initialization_type = "lambda-managed-instances".to_owned();
    check_with(
        &mut Mapper::new(&config, Some("r0".to_owned())),
        &[("platform.initStart", "{}"), START, ("function", "\"a\""), ("function", r#"{"requestId":"r2"}"#)],
        &[
            ("INIT_START Runtime Version: ? Runtime Version ARN: ?", "-", "info"),
            START_LINE,
            ("a", "-", "info"),
            (r#"{"requestId":"r2"}"#, "r2", "info"),
        ],
    );
}

#[test]
fn only_wanted_types_become_logs() {
    let events = [("function", "\"f\""), START, ("extension", "\"e\"")];
    for (types, expected) in [
        (&["function"][..], &[("f", "r", "info")][..]),
        (&["extension"], &[("e", "r", "info")]),
        (&["platform"], &[START_LINE]),
        (&["platform", "function", "extension"], &[START_LINE, ("f", "r", "info"), ("e", "r", "info")]),
        (&[], &[]),
    ] {
        let mut config = testing::config();
        config.logs_types = types.iter().map(|t| (*t).to_owned()).collect();
        check_with(&mut Mapper::new(&config, None), &events, expected);
    }
}

#[test]
fn waiting_lines_are_bounded() {
    let mut mapper = Mapper::new(&testing::config(), None);
    let line = format!("\"{}\"", "x".repeat(10_000));
    let sent = map(&mut mapper, &[("function", line.as_str()); 150], false);
    assert!(sent.len() > 40 && sent.iter().all(|(_, id, _)| id == "-"), "{}", sent.len());
    assert!(mapper.orphans.bytes <= ORPHAN_BUDGET);
    let rest = map(&mut mapper, &[START], true);
    assert_eq!(sent.len() + rest.len(), 151);
    assert!(rest.iter().all(|(_, id, _)| id == "r"));
    assert_eq!(mapper.orphans.bytes, 0);
}

#[test]
fn lines_of_a_durable_execution_name_it() {
    let record = r#"{"executionArn":"arn:x/durable-execution/order/1a","m":1}"#;
    for (kind, record, wait, expected) in [
        ("function", record, false, Some(("order", "1a"))),
        ("function", record, true, Some(("order", "1a"))),
        ("function", r#"{"executionArn":"arn:x"}"#, false, None),
        ("function", r#"{"executionArn":7}"#, false, None),
        ("extension", record, false, None),
    ] {
        let mut mapper = Mapper::new(&testing::config(), Some("r".to_owned()).filter(|_| !wait));
        let mut seen = Vec::new();
        let text = format!(r#"{{"type":"{kind}","record":{record}}}"#);
        let element = Element::read(Elements::new(&text).next().unwrap().unwrap(), 0).unwrap();
        let mut see = |entry: &Entry<'_>| seen.push(entry.durable.map(|d| (d.name.to_owned(), d.id.to_owned())));
        mapper.map(&element, &mut see);
        mapper.finish(&mut see);
        assert_eq!(seen, [expected.map(|(name, id)| (name.to_owned(), id.to_owned()))], "{kind} {record}");
    }
}

#[test]
fn tags_of_waiting_lines_are_kept() {
    let mut mapper = Mapper::new(&testing::config(), None);
    map(&mut mapper, &[("function", r#"{"ddtags":"a:1","level":"warn"}"#)], false);
    let mut seen = Vec::new();
    mapper.finish(|entry| seen.push((entry.tags.to_owned(), entry.level.as_str())));
    assert_eq!(seen, [("a:1".to_owned(), "warn")]);
}
