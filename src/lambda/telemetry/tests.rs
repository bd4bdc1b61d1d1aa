use super::*;
use proptest::prelude::*;

/// What the one element `json` is read as, its time being 1970-01-01T00:00:00.005Z unless it says otherwise.
fn read(json: &str) -> Result<Element<'_>, Malformed> {
    Elements::new(json).next().unwrap().and_then(|parts| Element::read(parts, 5))
}

fn platform_event(kind: &str, record: &str) -> Result<PlatformKind, Malformed> {
    let json = format!(r#"{{"time":"2022-10-12T00:00:00.001Z","type":"platform.{kind}","record":{record}}}"#);
    let Element { time_ms, kind } = read(&json)?;
    assert_eq!(time_ms, 1_665_532_800_001);
    match kind {
        Kind::Platform(kind) => Ok(kind),
        other => panic!("{other:?}"),
    }
}

#[test]
fn elements() {
    let ok = |time_ms, kind| Ok(Element { time_ms, kind });
    for (json, expected) in [
        (r#"{"time":"1970-01-01T00:00:01Z","type":"function","record":"x\n"}"#, ok(1000, Kind::Function(r#""x\n""#))),
        (r#"{"record":{"a": 1},"type":"function"}"#, ok(5, Kind::Function(r#"{"a": 1}"#))),
        (r#"{"time":7,"type":"extension","record":null}"#, ok(5, Kind::Extension("null"))),
        (r#"{"time":"yesterday","type":"ext\u0065nsion","record":1.50}"#, ok(5, Kind::Extension("1.50"))),
        (r#"{"type":"platform.initRuntimeDone","record":{"status":"success","phase":"init"}}"#, ok(5, Kind::Ignored)),
        (r#"{"type":"platform.restoreRuntimeDone","record":{"status":"success"}}"#, ok(5, Kind::Ignored)),
        (r#"{"type":"platform.extension","record":{"name":"x","state":"Ready"}}"#, ok(5, Kind::Ignored)),
        (r#"{"type":"platform.telemetrySubscription","record":{"name":"x"}}"#, ok(5, Kind::Ignored)),
        (r#"{"type":"platform.fault","record":"RequestId: 1 Process exited"}"#, ok(5, Kind::Ignored)),
        (r#"{"type":"platform.end","record":{"requestId":"1"}}"#, ok(5, Kind::Ignored)),
        (r#"{"type":"platform.tomorrow"}"#, ok(5, Kind::Ignored)),
        (r#"{"type":"tomorrow","record":1}"#, ok(5, Kind::Ignored)),
        (r#"{"type":"function"}"#, Err(Malformed)),
        (r#"{"type":3,"record":"x"}"#, Err(Malformed)),
        (r#"{"record":"x"}"#, Err(Malformed)),
        (r#"{"type":"platform.start","record":"x"}"#, Err(Malformed)),
        (r#"{"type":"platform.start"}"#, Err(Malformed)),
        (r#"{"type":"platform.start","record":{"requestId":7}}"#, Err(Malformed)),
        (r#"{"type":"platform.runtimeDone","record":{"status":"success"}}"#, Err(Malformed)),
        (r#"{"type":"platform.report","record":{}}"#, Err(Malformed)),
    ] {
        assert_eq!(read(json), expected, "{json}");
    }
}

#[test]
fn platform_events_of_a_phase() {
    let some = |text: &str| Some(text.to_owned());
    for (kind, record, expected) in [
        (
            "initStart",
            r#"{"initializationType":"lambda-managed-instances","runtimeVersion":"","runtimeVersionArn":"arn:x",
                "functionName":"f","functionVersion":"$LATEST","instanceMaxMemory":536870912,"phase":"init"}"#,
            PlatformKind::InitStart {
                initialization_type: some("lambda-managed-instances"),
                phase: some("init"),
                runtime_version: some(""),
                runtime_version_arn: some("arn:x"),
            },
        ),
        (
            "initReport",
            r#"{"initializationType":"on-demand","metrics":{"durationMs":354.953},"phase":"invoke","status":"error"}"#,
            PlatformKind::InitReport {
                initialization_type: some("on-demand"),
                phase: some("invoke"),
                status: Some(Status::Error),
                duration_ms: Some(354.953),
            },
        ),
        (
            "restoreStart",
            r#"{"functionName":"f","runtimeVersion":"java:21"}"#,
            PlatformKind::RestoreStart { runtime_version: some("java:21"), runtime_version_arn: None },
        ),
        (
            "restoreReport",
            r#"{"status":"failure","errorType":"Runtime.ExitError","metrics":{"durationMs":7}}"#,
            PlatformKind::RestoreReport {
                status: Some(Status::Failure),
                error_type: some("Runtime.ExitError"),
                duration_ms: Some(7.0),
            },
        ),
        (
            "logsDropped",
            r#"{"droppedBytes":12345,"droppedRecords":123,"reason":"Some logs were dropped"}"#,
            PlatformKind::LogsDropped { reason: some("Some logs were dropped"), records: 123, bytes: 12345 },
        ),
    ] {
        assert_eq!(platform_event(kind, record), Ok(expected), "{record}");
    }
}

#[test]
fn platform_events_of_an_invocation() {
    let some = |text: &str| Some(text.to_owned());
    let request_id = "r".to_owned();
    let span = PhaseSpan { name: "responseLatency".to_owned(), start_ms: 1000, duration_ms: 1.891 };
    for (kind, record, expected) in [
        (
            "start",
            r#"{"requestId":"r","version":"$LATEST","functionArn":"arn","tracing":{"type":"X","value":"Root=1"}}"#,
            PlatformKind::Start { request_id: "r".to_owned(), version: some("$LATEST"), tracing: some("Root=1") },
        ),
        (
            "start",
            r#"{"requestId":"r","tracing":null}"#,
            PlatformKind::Start { request_id: "r".to_owned(), version: None, tracing: None },
        ),
        (
            "runtimeDone",
            r#"{"requestId":"r","status":"success","metrics":{"durationMs":1.5,"producedBytes":12},
                "spans":[{"name":"responseLatency","start":"1970-01-01T00:00:01Z","durationMs":1.891},{"name":1},2]}"#,
            PlatformKind::RuntimeDone {
                request_id: "r".to_owned(),
                status: Status::Success,
                error_type: None,
                metrics: Some(RuntimeMetrics { duration_ms: 1.5, produced_bytes: Some(12) }),
                spans: vec![span.clone()],
            },
        ),
        (
            "runtimeDone",
            r#"{"requestId":"r","status":"tomorrow","errorType":"Runtime.ExitError","metrics":[],"spans":{}}"#,
            PlatformKind::RuntimeDone {
                request_id: "r".to_owned(),
                status: Status::Failure,
                error_type: some("Runtime.ExitError"),
                metrics: None,
                spans: vec![],
            },
        ),
        (
            "report",
            r#"{"requestId":"r","status":"timeout","errorType":"Sandbox.Timedout","metrics":{"durationMs":3000.5,
                "billedDurationMs":3001,"memorySizeMB":128,"maxMemoryUsedMB":50,"initDurationMs":1.5,
                "restoreDurationMs":2.5,"billedRestoreDurationMs":3}}"#,
            PlatformKind::Report {
                request_id: "r".to_owned(),
                status: Status::Timeout,
                error_type: some("Sandbox.Timedout"),
                metrics: ReportMetrics {
                    duration_ms: 3000.5,
                    billed: Some(BilledMetrics {
                        billed_duration_ms: 3001.0,
                        memory_size_mb: 128,
                        max_memory_used_mb: 50,
                        init_duration_ms: Some(1.5),
                        restore_duration_ms: Some(2.5),
                        billed_restore_duration_ms: Some(3.0),
                    }),
                },
                spans: vec![],
            },
        ),
        (
            "report",
            r#"{"requestId":"r","status":"success","metrics":{"durationMs":2.146},
                "spans":[{"name":"responseLatency","start":"1970-01-01T00:00:01Z","durationMs":1.891}]}"#,
            PlatformKind::Report {
                request_id,
                status: Status::Success,
                error_type: None,
                metrics: ReportMetrics { duration_ms: 2.146, billed: None },
                spans: vec![span],
            },
        ),
    ] {
        assert_eq!(platform_event(kind, record), Ok(expected), "{record}");
    }
}

proptest! {
    #[test]
    fn any_record_is_survived(
        kind in "(function|extension|platform\\.(initStart|initReport|restoreStart|restoreReport|start|runtimeDone|report|logsDropped))",
        record in r#"(\{"(requestId|status|metrics|spans|tracing)":("x"|1|null|\[\{\}\]|\{"durationMs":[0-9e.-]{1,4}\})\}|.{0,20})"#,
    ) {
        let json = format!(r#"{{"type":"{kind}","record":{record}}}"#);
        for parts in Elements::new(&json).flatten() {
            let _ = Element::read(parts, 0);
        }
    }
}
