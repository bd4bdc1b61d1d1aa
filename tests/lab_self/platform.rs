//! The platform against the scripted extension.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::extension::{RECORD, program, record};
use crate::lab::platform::telemetry::Subscription;
use crate::lab::platform::{Invocation, Outcome, Shutdown};
use crate::lab::time::rfc3339;
use crate::lab::{Options, Platform, Report, Runtime, Status, TelemetryMode, isolated_in};

const LIMIT: Duration = Duration::from_secs(5);

fn options(script: &str, handler: impl Fn(&Invocation) -> Outcome + Send + Sync + 'static) -> Options {
    Options {
        extension: Some(program()),
        runtime: Runtime::builtin(handler),
        env: vec![("LAB_SCRIPT".into(), script.into())],
        ..Options::default()
    }
}

fn isolated(name: &str, body: impl FnOnce()) {
    isolated_in(&crate::sandbox(), &format!("platform::{name}"), || {
        let _ = std::fs::remove_file(RECORD); // of another test, where there is one `/tmp` for all
        body();
    });
}

/// The types of `events`, without the extension's own lines.
fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|e| e["type"].as_str()).filter(|t| *t != "extension").collect()
}

/// Whether `event` is a line of the extension that ends with `text`; the test harness writes before it.
fn is_line(event: &Value, text: &str) -> bool {
    event["type"] == "extension" && event["record"].as_str().is_some_and(|line| line.ends_with(text))
}

fn echo(invocation: &Invocation) -> Outcome {
    invocation.print("a line");
    Outcome::Done(invocation.payload.clone())
}

#[test]
fn a_life_from_init_to_shutdown() {
    isolated("a_life_from_init_to_shutdown", || {
        let mut platform = Platform::start(Options { freeze: true, ..options("", echo) });
        let init = platform.init().unwrap();
        assert!(init.registered < init.extension && init.extension.unwrap() <= init.total);
        let cold = platform.invoke(&json!({"n": 1}), LIMIT).unwrap();
        assert_eq!((cold.status, &cold.response), (Status::Success, &json!({"n": 1})));
        let warm = platform.invoke(&json!({"n": 2}), LIMIT).unwrap();
        assert_ne!(cold.request_id, warm.request_id);
        platform.thaw();
        assert!(platform.telemetry().drain(LIMIT));
        let shutdown = platform.shutdown("spindown").unwrap();
        assert!(shutdown.told && !shutdown.killed);
        assert_eq!(shutdown.exit.unwrap().code, Some(0));

        let history = platform.telemetry().history();
        let one = ["platform.start", "function", "platform.runtimeDone", "platform.report"];
        let mut expected = vec!["platform.initStart", "platform.telemetrySubscription"];
        expected.extend(["platform.initRuntimeDone", "platform.extension", "platform.initReport"]);
        expected.extend(one.iter().chain(&one));
        let mut seen = kinds(&history);
        // The runtime starts once the extension has registered; what either does then is in no order.
        seen[1..5].sort_unstable();
        expected[1..5].sort_unstable();
        assert_eq!(seen, expected);

        let got = record();
        assert_eq!(got[0]["accountId"], "123456789012");
        let delivered: Vec<Value> = got.iter().filter(|e| e["type"].is_string()).cloned().collect();
        // What the frozen environment held back came with the thaw; nothing came twice.
        assert_eq!(kinds(&delivered), kinds(&history));
        assert!(delivered.iter().any(|e| is_line(e, "extension ready\n")));
        let polled: Vec<_> = got.iter().filter_map(|e| e["eventType"].as_str()).collect();
        assert_eq!(polled, ["INVOKE", "INVOKE", "SHUTDOWN"]);
        assert_eq!(got.last().unwrap()["shutdownReason"], "spindown");
    });
}

/// Rows: what the handler does, the limit, the status, the error type, and the reason of the shutdown if it is one.
#[test]
fn invocations_that_fail() {
    isolated("invocations_that_fail", || {
        let handler = |invocation: &Invocation| match invocation.payload.as_str() {
            Some("raise") => Outcome::Error("ValueError", "no".into()),
            Some("crash") => Outcome::Crash,
            Some("panic") => panic!("on purpose"),
            Some("hang") => {
                invocation.busy(Duration::from_secs(60));
                Outcome::Done(Value::Null)
            }
            _ => Outcome::Done(json!("fine")),
        };
        let mut platform = Platform::start(options("", handler));
        let rows = [
            ("raise", Status::Error, Some("ValueError"), None),
            ("crash", Status::Failure, Some("Runtime.ExitError"), Some("failure")),
            ("fine", Status::Success, None, None),
            ("panic", Status::Failure, Some("Runtime.ExitError"), Some("failure")),
            ("hang", Status::Timeout, Some("Sandbox.Timedout"), Some("timeout")),
            ("fine", Status::Success, None, None),
        ];
        let mut restarted = true;
        for (payload, status, error, reason) in rows {
            let limit = if payload == "hang" { Duration::from_millis(300) } else { LIMIT };
            let result = platform.invoke(&json!(payload), limit).unwrap();
            assert_eq!((result.status, result.error_type.as_deref()), (status, error), "{payload}");
            assert_eq!(result.init.is_some(), restarted, "{payload}: init comes first after an end");
            assert_eq!(result.shutdown.is_some(), reason.is_some(), "{payload}");
            if let Some(reason) = reason {
                assert_eq!(record().last().unwrap()["shutdownReason"], *reason, "{payload}");
            }
            restarted = reason.is_some();
        }
        let history = platform.telemetry().history();
        let starts: Vec<_> = history.iter().filter(|e| e["type"] == "platform.initStart").collect();
        assert_eq!(starts[0]["record"]["phase"], "init");
        assert_eq!(starts[1]["record"]["phase"], "invoke");
        let done: Vec<_> = history.iter().filter(|e| e["type"] == "platform.runtimeDone").collect();
        assert_eq!(done[1]["record"]["errorType"], "Runtime.ExitError");
        assert!(done[1]["record"].get("metrics").is_none());
    });
}

#[test]
fn an_extension_that_stays_is_killed() {
    isolated("an_extension_that_stays_is_killed", || {
        let budget = Duration::from_millis(200);
        let mut platform = Platform::start(Options { shutdown_budget: budget, ..options("stubborn", echo) });
        platform.init().unwrap();
        let Shutdown { told, exit, killed, .. } = platform.shutdown("spindown").unwrap();
        assert!(told && killed && exit.is_none());
    });
}

#[test]
fn an_extension_that_exits_is_noticed() {
    isolated("an_extension_that_exits_is_noticed", || {
        let mut platform = Platform::start(options("exits", echo));
        for _ in 0..2 {
            let error = platform.invoke(&Value::Null, LIMIT).unwrap_err();
            assert!(error.contains("Some(7)"), "{error}");
        }
    });
}

#[test]
fn next_can_be_refused() {
    isolated("next_can_be_refused", || {
        let mut platform = Platform::start(options("", echo));
        platform.refuse_next(500, 3);
        platform.init().unwrap();
        let polls = platform.calls().into_iter().filter(|c| c.path.ends_with("extension/event/next"));
        assert_eq!(polls.map(|c| c.status).collect::<Vec<_>>(), [500, 500, 500, 0]);
    });
}

#[test]
fn a_platform_without_telemetry() {
    isolated("a_platform_without_telemetry", || {
        let base = options("", echo);
        let options =
            Options { telemetry: TelemetryMode::NotSupported, report: Report::Never, runtime_done: false, ..base };
        let mut platform = Platform::start(options);
        platform.invoke(&Value::Null, LIMIT).unwrap();
        platform.shutdown("spindown");
        assert!(record().iter().all(|e| e["type"].is_null()), "nothing is delivered");
    });
}

/// A process as runtime: its lines become events, all of them before `platform.runtimeDone`.
#[test]
fn a_process_as_runtime() {
    isolated("a_process_as_runtime", || {
        let curl = r#"
            import http.client, os, sys
            host = os.environ["AWS_LAMBDA_RUNTIME_API"]
            print("init line", flush=True)
            while True:
                c = http.client.HTTPConnection(host)
                c.request("GET", "/2018-06-01/runtime/invocation/next")
                r = c.getresponse(); body = r.read()
                id = r.getheader("Lambda-Runtime-Aws-Request-Id")
                print("out"); print("err", file=sys.stderr); sys.stdout.flush()
                c.request("POST", f"/2018-06-01/runtime/invocation/{id}/response", body)
                c.getresponse().read()
        "#;
        let script = curl.lines().map(|l| l.strip_prefix("            ").unwrap_or(l)).collect::<Vec<_>>().join("\n");
        let python = crate::lab::platform::Program::new("/usr/bin/env", &["python3", "-c", &script]);
        let path = ("PATH".to_owned(), std::env::var("PATH").unwrap());
        let function_env = vec![path];
        if std::process::Command::new("python3").arg("--version").output().is_err() {
            println!("no python3 here");
            return;
        }
        let mut platform = Platform::start(Options {
            runtime: Runtime::Process(python),
            function_env,
            freeze: true,
            ..options("", echo)
        });
        for _ in 0..2 {
            assert_eq!(platform.invoke(&json!([1]), LIMIT).unwrap().response, json!([1]));
        }
        platform.shutdown("spindown");
        let history = platform.telemetry().history();
        let mut between = Vec::new();
        for event in history.iter().skip_while(|e| e["type"] != "platform.start") {
            match event["type"].as_str().unwrap() {
                "function" => between.push(event["record"].as_str().unwrap().trim().to_owned()),
                "platform.runtimeDone" => {
                    between.sort();
                    assert_eq!(std::mem::take(&mut between), ["err", "out"]);
                }
                _ => {}
            }
        }
    });
}

#[test]
fn subscriptions_are_checked() {
    let body = |schema: &str, types: &str, uri: &str, items: u32| {
        format!(
            r#"{{"schemaVersion":"{schema}","types":{types},"destination":{{"protocol":"HTTP","URI":"{uri}"}},
                "buffering":{{"maxItems":{items},"maxBytes":262144,"timeoutMs":25}}}}"#
        )
    };
    let uri = "http://sandbox:8124/lambda/logs";
    let rows = [
        (body("2022-07-01", r#"["platform","function"]"#, uri, 1000), ""),
        (body("2020-01-01", r#"["platform"]"#, uri, 1000), "unknown schemaVersion"),
        (body("2022-07-01", r#"["platform","other"]"#, uri, 1000), "types"),
        (body("2022-07-01", "[]", uri, 1000), "types"),
        (body("2022-07-01", r#"["platform"]"#, "http://127.0.0.1:8124/", 1000), "host"),
        (body("2022-07-01", r#"["platform"]"#, "http://sandbox/", 1000), "no port"),
        (body("2022-07-01", r#"["platform"]"#, uri, 10), "maxItems"),
        ("{".to_owned(), "not JSON"),
    ];
    for (body, problem) in rows {
        match Subscription::parse(body.as_bytes()) {
            Ok(subscription) => {
                assert_eq!(problem, "");
                assert_eq!((subscription.port, subscription.path.as_str()), (8124, "/lambda/logs"));
            }
            Err(e) => assert!(!problem.is_empty() && e.contains(problem), "{body}: {e}"),
        }
    }
}

#[test]
fn times_are_written_as_lambda_does() {
    let rows = [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
        (1_795_408_606_107, "2026-11-23T04:36:46.107Z"),
    ];
    for (ms, expected) in rows {
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(ms)), expected);
    }
}
