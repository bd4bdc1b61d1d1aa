//! Intakes in trouble, and connections that slept: nothing is lost that could be kept, nothing arrives twice, and no
//! invocation pays for it beyond a bound.

use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::lab::{Action, Fault, Intake, Options, Outcome, Platform, Runtime, Status, proc};
use crate::relay::Relay;
use crate::{AT_END, LIMIT, NOTHING, ONCE, ROUTES, Scene, forget, function, isolated};

/// Rows: what every request of one flush meets.
#[test]
fn a_flush_that_fails_keeps_its_payloads() {
    isolated("outage::a_flush_that_fails_keeps_its_payloads", || {
        for action in [Action::Status(500), Action::Status(429), Action::Status(503), Action::Drop, Action::Reset] {
            let mut scene = Scene::new(&[AT_END]);
            scene.invoke(1);
            scene.fault(action.clone());
            scene.invoke(2);
            assert_eq!(scene.arrived(2), NOTHING, "{action:?}");
            scene.intake.heal();
            scene.invoke(3);
            assert_eq!((1..=3).map(|n| scene.arrived(n)).collect::<Vec<_>>(), [ONCE; 3], "{action:?}");
            scene.shutdown();
            assert_eq!((1..=3).map(|n| scene.arrived(n)).collect::<Vec<_>>(), [ONCE; 3], "{action:?}");
            assert_eq!(scene.lines("ERROR"), [""; 0], "{action:?}");
            forget();
        }
    });
}

/// `Retry-After` holds for flushes, not for the last one, which has nothing to wait for.
#[test]
fn retry_after_is_honoured_until_the_end() {
    isolated("outage::retry_after_is_honoured_until_the_end", || {
        let mut scene = Scene::new(&[AT_END]);
        scene.fault(Action::RetryAfter(503, 3600));
        scene.invoke(1);
        scene.intake.heal();
        let asked = scene.intake.received().requests.len();
        assert_eq!(asked, ROUTES.len(), "one request each says it all");
        scene.invoke(2);
        assert_eq!(scene.intake.received().requests.len(), asked);
        scene.shutdown();
        assert_eq!([scene.arrived(1), scene.arrived(2)], [ONCE; 2]);
    });
}

#[test]
fn an_intake_that_is_down_costs_a_handful_of_requests() {
    isolated("outage::an_intake_that_is_down_costs_a_handful_of_requests", || {
        for action in [Action::Status(500), Action::Drop] {
            let mut scene = Scene::new(&[AT_END]);
            scene.fault(action.clone());
            let mut before = 0;
            for n in 1..=15 {
                scene.invoke(n);
                let requests = scene.intake.received().requests.len();
                // For each signal one that fails and a second try with another payload, three at first.
                let most = if n == 1 { 9 } else { 6 };
                assert!(requests - before <= most, "{action:?}: {} requests in flush {n}", requests - before);
                before = requests;
            }
            let warnings = scene.lines("WARN");
            assert_eq!(warnings.len(), 3, "one for each signal: {warnings:?}");
            scene.intake.heal();
            scene.invoke(16);
            assert!((1..=16).all(|n| scene.arrived(n) == ONCE), "{action:?}");
            scene.shutdown();
            assert!((1..=16).all(|n| scene.arrived(n) == ONCE), "{action:?}");
            forget();
        }
    });
}

/// Lines that no compression makes small, while nothing is accepted: memory stays within its budget, the newest stay.
#[test]
fn an_outage_does_not_eat_the_memory() {
    isolated("outage::an_outage_does_not_eat_the_memory", || {
        let mut scene = Scene::with(&[AT_END], |options| {
            options.runtime = Runtime::builtin(|invocation| {
                let mut state = invocation.payload["n"].as_u64().unwrap_or_default() + 0x9e37_79b9;
                for _ in 0..100 {
                    let mut line = String::with_capacity(10_000);
                    while line.len() < 10_000 {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        line.push_str(&format!("{state:016x}"));
                    }
                    invocation.print(&line);
                }
                function(invocation)
            });
        });
        scene.fault(Action::Status(500));
        for n in 1..=40 {
            scene.invoke(n);
        }
        let memory = proc::memory(scene.platform.extension_pid().unwrap()).unwrap();
        // 8 MiB of compressed logs wait; what was printed is five times that when compressed.
        assert!(memory.peak_kb < 48 * 1024, "{memory:?}");
        scene.intake.heal();
        scene.invoke(41);
        assert_eq!([scene.arrived(40), scene.arrived(41)], [ONCE; 2]);
        assert_eq!(scene.arrived(1)[0], 0, "the oldest had to go");
        let warnings = scene.lines("WARN");
        assert_eq!(warnings.iter().filter(|line| line.contains("is dropped: more than")).count(), 1, "{warnings:?}");
        scene.shutdown();
    });
}

/// An intake that never answers holds `next` for a bounded time, less than the function's own.
#[test]
fn an_intake_that_hangs_does_not_hold_next() {
    isolated("outage::an_intake_that_hangs_does_not_hold_next", || {
        let mut scene = Scene::new(&[AT_END]);
        scene.fault(Fault::slow(LIMIT * 4));
        // Where there is much time, a bound of our own ends the wait.
        scene.invoke(1);
        // Where there is little, the function's deadline does: it is not reached.
        for n in 2..=4 {
            let invoked = scene.platform.invoke(&json!({ "n": n }), Duration::from_millis(400)).unwrap();
            assert_eq!(invoked.status, Status::Success, "{n}");
        }
        assert_eq!(scene.intake.received().requests.len(), 0);
        scene.shutdown();
    });
}

/// Rows: an intake that takes its time, and one that has the payload once its answer has begun, whatever becomes of the
/// rest.
#[test]
fn an_answer_that_is_slow_or_breaks_off_is_an_answer() {
    isolated("outage::an_answer_that_is_slow_or_breaks_off_is_an_answer", || {
        for fault in [Fault::slow(Duration::from_millis(300)), Action::HalfAnswer.into()] {
            let mut scene = Scene::new(&[AT_END]);
            scene.fault(fault.clone());
            for n in 1..=3 {
                scene.invoke(n);
                assert_eq!(scene.arrived(n), ONCE, "{fault:?}: {n}");
            }
            scene.shutdown();
            assert!((1..=3).all(|n| scene.arrived(n) == ONCE), "{fault:?}");
            scene.assert_quiet();
            forget();
        }
    });
}

/// Rows: a status that says that the payload can never be taken. It is dropped, at once and for good.
#[test]
fn what_an_intake_refuses_is_dropped() {
    isolated("outage::what_an_intake_refuses_is_dropped", || {
        for status in [400, 404, 413] {
            let mut scene = Scene::new(&[AT_END, ("DD_LOG_LEVEL", "debug")]);
            scene.fault(Action::Status(status));
            scene.invoke(1);
            scene.invoke(2);
            let requests = scene.intake.received().requests.len();
            assert_eq!(requests, 2 * ROUTES.len(), "{status}: each is tried once");
            scene.intake.heal();
            scene.invoke(3);
            scene.shutdown();
            assert_eq!((1..=3).map(|n| scene.arrived(n)).collect::<Vec<_>>(), [NOTHING, NOTHING, ONCE], "{status}");
            let warnings = scene.lines("WARN");
            assert_eq!(warnings.len(), 3, "{status}: {warnings:?}");
            let said = format!("refused a payload, which is dropped: status {status}");
            assert!(warnings.iter().all(|line| line.contains(&said)), "{warnings:?}");
            assert_eq!(scene.lines("ERROR"), [""; 0]);
            let debug = scene.lines("DEBUG");
            let ledger = debug.iter().find(|line| line.starts_with("what became of everything: ")).expect("a ledger");
            assert!(ledger.split(' ').any(|part| part == "forwarder.dropped.refused=6"), "{ledger}");
            forget();
        }
    });
}

#[test]
fn a_refused_key_is_said_once() {
    isolated("outage::a_refused_key_is_said_once", || {
        for status in [401, 403] {
            let mut scene = Scene::new(&[AT_END]);
            scene.fault(Action::Status(status));
            for n in 1..=5 {
                scene.invoke(n);
            }
            scene.shutdown();
            let errors = scene.lines("ERROR");
            assert_eq!(errors.len(), 1, "{status}: {errors:?}");
            assert!(errors[0].contains("DD_API_KEY") && errors[0].contains("DD_SITE"), "{errors:?}");
            assert_eq!(scene.lines("WARN"), [""; 0], "{status}");
            forget();
        }
    });
}

/// Frozen between invocations, as in Lambda: connections are kept where they live.
#[test]
fn freeze_and_thaw_lose_nothing() {
    isolated("outage::freeze_and_thaw_lose_nothing", || {
        let mut scene = Scene::with(&[AT_END], |options| options.freeze = true);
        for n in 1..=6 {
            scene.invoke(n);
            assert_eq!(scene.arrived(n), ONCE, "{n}");
        }
        scene.shutdown();
        assert_eq!((1..=6).map(|n| scene.arrived(n)).collect::<Vec<_>>(), [ONCE; 6]);
        assert_eq!(scene.intake.connections(), ROUTES.len(), "one for each signal");
        scene.assert_quiet();
    });
}

/// While the environment sleeps, the other side of every connection goes away.
#[test]
fn connections_that_died_in_their_sleep_cost_nothing() {
    isolated("outage::connections_that_died_in_their_sleep_cost_nothing", || {
        let intake = Intake::start();
        let peer = intake.url().trim_start_matches("http://").to_owned();
        let relay = Relay::start(peer, |_| true);
        let url = format!("http://{}", relay.address);
        let mut env = intake.env();
        env.retain(|(name, _)| name == "DD_API_KEY");
        for name in ["DD_DD_URL", "DD_APM_DD_URL", "DD_LOGS_CONFIG_LOGS_DD_URL"] {
            env.push((name.to_owned(), url.clone()));
        }
        env.push((AT_END.0.to_owned(), AT_END.1.to_owned()));
        let runtime = Runtime::builtin(function);
        let platform = Platform::start(Options { runtime, env, freeze: true, ..Options::default() });
        let mut scene = Scene { intake, platform };
        for n in 1..=4 {
            scene.invoke(n);
            assert_eq!(scene.arrived(n), ONCE, "{n}");
            relay.cut();
        }
        scene.shutdown();
        assert_eq!((1..=4).map(|n| scene.arrived(n)).collect::<Vec<_>>(), [ONCE; 4]);
        assert!(relay.connections() >= 4 * ROUTES.len());
        scene.assert_quiet();
    });
}

/// With `continuously` the environment is frozen in the middle of an upload and goes on when it is thawed.
#[test]
fn a_freeze_in_the_middle_of_an_upload() {
    isolated("outage::a_freeze_in_the_middle_of_an_upload", || {
        let strategy = ("DD_SERVERLESS_FLUSH_STRATEGY", "continuously,1");
        let mut scene = Scene::with(&[strategy], |options| options.freeze = true);
        scene.fault(Fault::slow(Duration::from_millis(50)));
        let begun = SystemTime::now();
        for n in 1..=6 {
            scene.invoke(n);
        }
        scene.shutdown();
        assert_eq!((1..=6).map(|n| scene.arrived(n)).collect::<Vec<_>>(), [ONCE; 6]);
        assert!(scene.intake.received().requests.iter().all(|request| request.wall >= begun));
        scene.assert_quiet();
    });
}

/// The function's error is no business of the flush.
#[test]
fn a_failing_function_is_flushed_like_any_other() {
    isolated("outage::a_failing_function_is_flushed_like_any_other", || {
        let mut scene = Scene::with(&[AT_END], |options| {
            options.runtime = Runtime::builtin(|invocation| {
                function(invocation);
                Outcome::Error("ValueError", "no".to_owned())
            });
        });
        let invoked = scene.platform.invoke(&json!({"n": 1}), LIMIT).unwrap();
        assert_eq!(invoked.status, Status::Error);
        assert_eq!(scene.arrived(1), ONCE);
        scene.shutdown();
    });
}
