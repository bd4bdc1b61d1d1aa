//! Registration, subscription, `next`, and life without a key, without telemetry, and after a crash.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

use crate::lab::platform::{Call, Telemetry};
use crate::lab::{Fault, Intake, Options, Outcome, Platform, Program, Report, Runtime, Status, TelemetryMode};
use crate::relay::Relay;
use crate::{
    AT_END, CONTEXT, LIMIT, NOTHING, ONCE, RARELY, ROUTES, Scene, arrived, forget, function, isolated, post, work,
};

const NEXT: &str = "/2020-01-01/extension/event/next";

/// Polls of the extension in `calls` that were answered with `status` (0: by an event).
fn polls(calls: &[Call], status: u16) -> usize {
    calls.iter().filter(|call| call.path == NEXT && call.status == status).count()
}

#[test]
fn registers_under_its_file_name_then_subscribes_then_polls() {
    isolated("lifecycle::registers_under_its_file_name_then_subscribes_then_polls", || {
        for name in ["datadog-agent", "another name"] {
            let path = std::env::temp_dir().join(name);
            fs::copy(Options::default().extension.unwrap().path, &path).unwrap();
            let mut scene = Scene::with(&[], |options| {
                options.extension = Some(Program::new(&path, &[]));
                options.runtime = Runtime::None;
            });
            scene.platform.init().unwrap();
            let calls = scene.platform.calls();
            let expected =
                [("POST", "/2020-01-01/extension/register"), ("PUT", "/2022-07-01/telemetry"), ("GET", NEXT)];
            assert_eq!(calls.iter().map(|c| (c.method.as_str(), c.path.as_str())).collect::<Vec<_>>(), expected);
            let (register, subscribe, next) = (&calls[0], &calls[1], &calls[2]);
            assert_eq!(register.header("lambda-extension-name"), Some(name));
            assert_eq!(register.header("lambda-extension-accept-feature"), Some("accountId"));
            assert_eq!(register.header("content-type"), Some("application/json"));
            assert_eq!(register.body, br#"{"events":["INVOKE","SHUTDOWN"]}"#);
            for call in [subscribe, next] {
                let identifier = call.header("lambda-extension-identifier");
                assert_eq!(identifier, Some("e0000000-0000-4000-8000-000000000001"), "{}", call.path);
            }
            let body: Value = serde_json::from_slice(&subscribe.body).unwrap();
            assert_eq!(
                body,
                json!({
                    "schemaVersion": "2022-12-13",
                    "types": ["platform", "function", "extension"],
                    "buffering": {"maxItems": 1000, "maxBytes": 262_144, "timeoutMs": 25},
                    "destination": {"protocol": "HTTP", "URI": "http://sandbox:8124/lambda/logs"},
                })
            );
            scene.shutdown();
            fs::remove_file(path).unwrap();
            forget();
        }
    });
}

/// Rows: a setting, and what it leaves of the telemetry types.
#[test]
fn subscribes_to_what_is_wanted() {
    isolated("lifecycle::subscribes_to_what_is_wanted", || {
        for (name, value, types) in [
            ("DD_SERVERLESS_LOGS_ENABLED", "false", json!(["platform"])),
            ("DD_LOGS_CONFIG_LAMBDA_LOGS_TYPE", "function", json!(["platform", "function"])),
        ] {
            let mut scene = Scene::with(&[(name, value)], |options| options.runtime = Runtime::None);
            scene.platform.init().unwrap();
            let body: Value = serde_json::from_slice(&scene.platform.calls()[1].body).unwrap();
            assert_eq!(body["types"], types, "{name}={value}");
            scene.shutdown();
        }
    });
}

/// What a peer on this machine can tell of the listeners: TCP ports that take connections, and UDP 8125 in the kernel's
/// table.
fn listening() -> [bool; 3] {
    let udp = fs::read_to_string("/proc/net/udp").unwrap();
    let tcp = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
    [tcp(8124), udp.contains(":1FBD "), tcp(8126)]
}

#[test]
fn every_listener_is_bound_before_the_first_next() {
    isolated("lifecycle::every_listener_is_bound_before_the_first_next", || {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (noted, api) = (seen.clone(), "127.0.0.1:9001".to_owned());
        let relay = Relay::start(api, move |piece| {
            if piece.starts_with(b"GET /2020-01-01/extension/event/next") {
                noted.lock().unwrap().push(listening());
            }
            true
        });
        let mut scene = Scene::with(&[("AWS_LAMBDA_RUNTIME_API", &relay.address)], |_| {});
        assert_eq!(scene.platform.address(), "127.0.0.1:9001");
        scene.platform.init().unwrap();
        assert_eq!(*seen.lock().unwrap(), [[true; 3]]);
        scene.invoke(1);
        scene.shutdown();
        assert_eq!(scene.arrived(1), ONCE);
    });
}

/// Rows: the settings that say where the key is, and what the one line about it must name.
#[test]
fn without_a_key_the_function_is_served_and_nothing_is_sent() {
    isolated("lifecycle::without_a_key_the_function_is_served_and_nothing_is_sent", || {
        let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:key";
        for (env, named) in [
            (vec![], "DD_API_KEY"),
            (vec![("DD_API_KEY", "  ")], "DD_API_KEY"),
            (vec![("DD_API_KEY_SECRET_ARN", arn)], "DD_API_KEY_SECRET_ARN"),
        ] {
            let intake = Intake::start();
            let own = intake.env().into_iter().filter(|(name, _)| name != "DD_API_KEY");
            let env = own.chain(env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()))).collect();
            let platform = Platform::start(Options { runtime: Runtime::builtin(function), env, ..Options::default() });
            let mut scene = Scene { intake, platform };
            scene.invoke(1);
            scene.invoke(2);
            assert!(!scene.platform.calls().iter().any(|call| call.path.ends_with("/telemetry")), "{named}");
            scene.shutdown();
            assert_eq!(scene.intake.connections(), 0, "{named}");
            let errors = scene.lines("ERROR");
            assert_eq!(errors.len(), 1, "{named}: {errors:?}");
            assert!(errors[0].starts_with("no API key: ") && errors[0].contains(named), "{errors:?}");
            assert_eq!(scene.lines("WARN"), [""; 0], "{named}");
        }
    });
}

#[test]
fn a_next_that_is_refused_is_asked_again() {
    isolated("lifecycle::a_next_that_is_refused_is_asked_again", || {
        let mut scene = Scene::new(&[]);
        for (n, refusals) in [(1, 5), (2, 1), (3, 3)] {
            let before = polls(&scene.platform.calls(), 500);
            scene.platform.refuse_next(500, refusals);
            scene.invoke(n);
            if n == 1 {
                // It was refused during init; later ones come when the invocation is over.
                assert_eq!(polls(&scene.platform.calls(), 500) - before, refusals);
            }
        }
        scene.invoke(4);
        let calls = scene.platform.calls();
        let refused: Vec<_> = calls.iter().filter(|call| call.path == NEXT).take(6).map(|call| call.at).collect();
        let pauses: Vec<Duration> = refused.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (pause, least) in pauses.iter().zip([10, 20, 40, 80, 160]) {
            assert!(*pause >= Duration::from_millis(least), "{pauses:?}");
        }
        scene.shutdown();
        assert_eq!((1..=4).map(|n| scene.arrived(n)).collect::<Vec<_>>(), [ONCE; 4]);
        let warnings = scene.lines("WARN");
        assert_eq!(warnings.len(), 3, "one for each time it failed, however often: {warnings:?}");
        assert!(warnings.iter().all(|line| line.starts_with("next: ")), "{warnings:?}");
    });
}

#[test]
fn a_next_whose_connection_breaks_is_asked_again() {
    isolated("lifecycle::a_next_whose_connection_breaks_is_asked_again", || {
        let left = Arc::new(AtomicUsize::new(3));
        let breaking = left.clone();
        let relay = Relay::start("127.0.0.1:9001".to_owned(), move |piece| {
            let next = piece.starts_with(b"GET /2020-01-01/extension/event/next");
            !next || breaking.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_err()
        });
        let mut scene = Scene::with(&[("AWS_LAMBDA_RUNTIME_API", &relay.address)], |_| {});
        scene.invoke(1);
        assert_eq!(left.load(Ordering::SeqCst), 0);
        left.store(2, Ordering::SeqCst);
        scene.invoke(2);
        scene.invoke(3);
        scene.shutdown();
        assert_eq!((1..=3).map(|n| scene.arrived(n)).collect::<Vec<_>>(), [ONCE; 3]);
    });
}

/// What reaches the intake without the Telemetry API: no lines, all else.
const WITHOUT_LINES: [i64; 3] = [0, 1, 1];

/// Rows: what the subscription is answered with, and how the one line about it begins.
#[test]
fn without_telemetry_next_is_not_held_and_the_next_invoke_sends() {
    isolated("lifecycle::without_telemetry_next_is_not_held_and_the_next_invoke_sends", || {
        for (telemetry, level, line) in [
            (TelemetryMode::Refused(400), "ERROR", "telemetry subscription: the runtime API answered 400"),
            (TelemetryMode::Refused(500), "ERROR", "telemetry subscription: the runtime API answered 500"),
            (TelemetryMode::NotSupported, "INFO", "this platform has no Telemetry API"),
        ] {
            let mut scene = Scene::with(&[AT_END], |options| {
                options.telemetry = telemetry;
                options.account_id = None;
            });
            scene.invoke(1);
            scene.invoke(2);
            let arrives = |received: &_| arrived(received, 1) == WITHOUT_LINES;
            assert!(scene.intake.wait_for(LIMIT, arrives), "{telemetry:?}: by the next INVOKE");
            // `next` comes although the intake answers nothing.
            let answered = scene.intake.received().requests.len();
            scene.fault(Fault::slow(LIMIT));
            scene.invoke(3);
            scene.invoke(4);
            scene.intake.heal();
            let lines = scene.lines(level);
            assert!(lines.len() == 1 && lines[0].starts_with(line), "{telemetry:?}: {lines:?}");
            assert_eq!(scene.lines("WARN"), [""; 0], "{telemetry:?}");
            assert!(scene.intake.received().requests.len() <= answered + 2, "{telemetry:?}");
            scene.platform.shutdown("spindown");
            forget();
        }
    });
}

/// Rows: who tells of the end, and the setting that allows it to.
#[test]
fn without_telemetry_a_library_tells_the_end() {
    isolated("lifecycle::without_telemetry_a_library_tells_the_end", || {
        for (path, local) in [("/lambda/end-invocation", "false"), ("/lambda/flush", "true")] {
            let mut scene = Scene::with(&[AT_END, ("DD_LOCAL_TEST", local)], |options| {
                options.telemetry = TelemetryMode::NotSupported;
                options.runtime = Runtime::builtin(move |invocation| {
                    work(invocation);
                    Outcome::Done(json!(post(path)))
                });
            });
            let invoked = scene.invoke(1);
            assert_eq!(invoked.response, 200);
            assert!(scene.intake.wait_for(LIMIT, |received| arrived(received, 1) == WITHOUT_LINES), "{path}");
            scene.shutdown();
            assert_eq!(scene.arrived(1), WITHOUT_LINES, "{path}");
            forget();
        }
    });
}

#[test]
fn without_telemetry_shutdown_sends_what_is_left() {
    isolated("lifecycle::without_telemetry_shutdown_sends_what_is_left", || {
        let mut scene = Scene::with(&[AT_END], |options| options.telemetry = TelemetryMode::NotSupported);
        scene.invoke(1);
        scene.shutdown();
        assert_eq!(scene.arrived(1), WITHOUT_LINES);
    });
}

/// Telemetry overtakes `next`, as it may where the processor is scarce: the end of an invocation comes before its start.
#[test]
fn an_end_that_is_told_early_is_no_reason_to_wait() {
    isolated("lifecycle::an_end_that_is_told_early_is_no_reason_to_wait", || {
        let telemetry: Arc<OnceLock<Telemetry>> = Arc::default();
        let watched = telemetry.clone();
        let relay = Relay::start("127.0.0.1:9001".to_owned(), move |piece| {
            if piece.windows(8).any(|part| part == b"\"INVOKE\"") && piece.starts_with(b"HTTP/1.1 200") {
                let told = || watched.get().is_none_or(|t| t.deliveries().iter().any(|d| !d.done.is_empty()));
                while !told() {
                    std::thread::yield_now();
                }
            }
            true
        });
        let mut scene = Scene::with(&[AT_END, ("AWS_LAMBDA_RUNTIME_API", &relay.address)], |_| {});
        let _ = telemetry.set(scene.platform.telemetry().clone());
        let invoked = scene.invoke(1);
        assert_eq!(scene.arrived(1), ONCE);
        assert!(invoked.extension.unwrap() < LIMIT / 2, "{invoked:?}");
        scene.shutdown();
        scene.assert_quiet();
    });
}

/// Lambda never tells the end, although it delivers: the flush before the deadline lets `next` go.
#[test]
fn an_end_that_is_never_told_does_not_hold_next() {
    isolated("lifecycle::an_end_that_is_never_told_does_not_hold_next", || {
        let mut scene = Scene::with(&[AT_END], |options| {
            options.runtime_done = false;
            options.report = Report::Never;
        });
        for n in 1..=2 {
            let invoked = scene.platform.invoke(&json!({ "n": n }), Duration::from_secs(1)).unwrap();
            assert_eq!(invoked.status, Status::Success, "{n}");
        }
        scene.shutdown();
        assert_eq!([scene.arrived(1), scene.arrived(2)], [ONCE; 2]);
    });
}

/// Register does not tell the account; the first INVOKE does, in its ARN.
#[test]
fn the_arn_of_the_first_invocation_completes_the_tags() {
    isolated("lifecycle::the_arn_of_the_first_invocation_completes_the_tags", || {
        for telemetry in [TelemetryMode::Real, TelemetryMode::NotSupported] {
            let mut scene = Scene::with(&[RARELY], |options| {
                options.telemetry = telemetry;
                options.account_id = None;
            });
            scene.invoke(1);
            scene.invoke(2);
            scene.shutdown();
            let received = scene.intake.received();
            let tracers = received.traces.iter().flat_map(|payload| &payload.tracers);
            // The first one's spans are encoded as they come, which may be before the INVOKE does.
            let second = tracers.filter(|t| t.chunks.iter().any(|c| c.spans.iter().any(|s| s.resource == "op 2.")));
            let function_tags: Vec<_> = second.map(|tracer| tracer.tags["_dd.tags.function"].clone()).collect();
            assert_eq!((function_tags.len(), received.sketches.len()), (1, 2), "{telemetry:?}");
            let arn = "function_arn:arn:aws:lambda:eu-central-1:123456789012:function:lab-function";
            for tag in [arn, "account_id:123456789012", "aws_account:123456789012"] {
                assert!(function_tags[0].split(',').any(|t| t == tag), "{telemetry:?}: {tag}: {function_tags:?}");
                assert!(received.sketches.iter().all(|s| s.tags.iter().any(|t| t == tag)), "{telemetry:?}: {tag}");
                assert!(received.logs.iter().all(|log| log.ddtags().contains(tag)), "{telemetry:?}: {tag}");
            }
            forget();
        }
    });
}

/// With telemetry neither of the two decides anything.
#[test]
fn with_telemetry_a_library_does_not_order_a_flush() {
    isolated("lifecycle::with_telemetry_a_library_does_not_order_a_flush", || {
        let told = Arc::new(AtomicBool::new(false));
        let tells = told.clone();
        let mut scene = Scene::with(&[RARELY], |options| {
            options.runtime = Runtime::builtin(move |invocation| {
                work(invocation);
                tells.store(post("/lambda/flush") == 200 && post("/lambda/end-invocation") == 200, Ordering::SeqCst);
                Outcome::Done(Value::Null)
            });
        });
        scene.invoke(1);
        scene.invoke(2);
        assert!(told.load(Ordering::SeqCst));
        assert_eq!((scene.arrived(1), scene.intake.connections()), (NOTHING, 0));
        scene.shutdown();
        assert_eq!([scene.arrived(1), scene.arrived(2)], [ONCE; 2]);
    });
}

#[test]
fn the_context_outlives_a_restart_and_only_that() {
    isolated("lifecycle::the_context_outlives_a_restart_and_only_that", || {
        let mut scene = Scene::new(&[]);
        let first = scene.invoke(1);
        let saved = || -> Option<Value> { serde_json::from_slice(&fs::read(PathBuf::from(CONTEXT)).ok()?).ok() };
        assert_eq!(saved(), None, "there is none while it runs");
        let crashed = scene.platform.invoke(&json!({"n": 2, "then": "crash"}), LIMIT).unwrap();
        crate::assert_clean(crashed.shutdown);
        let context = saved().expect("SHUTDOWN saves it");
        assert_eq!(context["LastRequestID"], *crashed.request_id);
        assert_eq!(context["ColdstartRequestID"], *first.request_id);
        assert_eq!(context["ARN"], "arn:aws:lambda:eu-central-1:123456789012:function:lab-function");

        // What the crash leaves behind comes when the environment starts again, before its init.
        scene.platform.telemetry().emit("function", json!("the aftermath\n"));
        let again = scene.invoke(3);
        assert!(again.init.is_some());
        assert_eq!(saved(), None, "it is deleted once it is restored");
        scene.shutdown();
        assert_eq!(saved().unwrap()["LastRequestID"], *again.request_id);

        let received = scene.intake.received();
        let aftermath: Vec<_> = received.logs.iter().filter(|log| log.message() == "the aftermath\n").collect();
        assert_eq!(aftermath.len(), 1);
        assert_eq!(aftermath[0].request_id(), Some(crashed.request_id.as_str()));
        assert_eq!((1..=3).map(|n| scene.arrived(n)).collect::<Vec<_>>(), [ONCE; 3]);
        let inits = received.logs.iter().filter(|log| log.message().starts_with("INIT_START "));
        let ids: Vec<_> = inits.map(|log| log.request_id()).collect();
        assert_eq!(ids, [Some(first.request_id.as_str()), Some(again.request_id.as_str())]);
        assert_eq!(received.requests_to(ROUTES[0]).filter(|request| request.status >= 300).count(), 0);
    });
}
