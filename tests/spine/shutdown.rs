//! The end of an environment: every reason and moment of it, and every mood of the intake. The process ends by itself
//! with 0 before its time is up, and what could be sent was.

use std::time::Duration;

use serde_json::json;

use crate::lab::intake::API_KEY;
use crate::lab::{Action, Fault, Outcome, Route, Runtime, Status, sys};
use crate::{
    AT_END, CONTEXT, LIMIT, NOTHING, ONCE, RARELY, Scene, arrived, assert_clean, forget, function, isolated, post, work,
};

const SIGINT: i32 = 2;

/// Nothing has been invoked: what the init printed may still be with Lambda.
#[test]
fn before_any_invocation_the_lines_of_the_init_arrive() {
    isolated("shutdown::before_any_invocation_the_lines_of_the_init_arrive", || {
        for reason in ["spindown", "timeout", "failure", "SandboxTerminated"] {
            let mut scene = Scene::new(&[]);
            scene.platform.telemetry().emit("function", json!("printed by init\n"));
            scene.platform.init().unwrap();
            scene.platform.telemetry().emit("function", json!("printed after init\n"));
            assert_clean(scene.platform.shutdown(reason));
            let received = scene.intake.received();
            for line in ["INIT_START ", "printed by init\n", "printed after init\n"] {
                let found = received.logs.iter().filter(|log| log.message().starts_with(line)).count();
                assert_eq!(found, 1, "{reason}: {line}");
            }
            scene.assert_quiet();
            forget();
        }
    });
}

/// Rows: the reason Lambda gives. The report comes after `next`, and its line must not be lost.
#[test]
fn after_an_invocation_everything_arrives() {
    isolated("shutdown::after_an_invocation_everything_arrives", || {
        for reason in ["spindown", "timeout", "failure"] {
            let mut scene = Scene::new(&[RARELY]);
            let id = scene.invoke(1).request_id;
            assert_eq!(scene.arrived(1), NOTHING);
            assert_clean(scene.platform.shutdown(reason));
            assert_eq!(scene.arrived(1), ONCE, "{reason}");
            let report = format!("REPORT RequestId: {id}");
            let received = scene.intake.received();
            assert_eq!(received.logs.iter().filter(|log| log.message().starts_with(&report)).count(), 1, "{reason}");
            scene.assert_quiet();
            forget();
        }
    });
}

#[test]
fn a_crash_and_a_timeout_lose_nothing() {
    isolated("shutdown::a_crash_and_a_timeout_lose_nothing", || {
        let mut scene = Scene::new(&[]);
        for (n, then) in [(1, "crash"), (2, "hang"), (3, "crash")] {
            let limit = if then == "hang" { Duration::from_millis(500) } else { LIMIT };
            let invoked = scene.platform.invoke(&json!({"n": n, "then": then}), limit).unwrap();
            assert_clean(invoked.shutdown);
            assert_eq!(scene.arrived(n), ONCE, "{then}");
        }
    });
}

/// Rows: the signals that come, one after the other. Nobody sends SHUTDOWN.
#[test]
fn signals_mean_shutdown() {
    isolated("shutdown::signals_mean_shutdown", || {
        for signals in [&[sys::SIGTERM][..], &[SIGINT], &[sys::SIGTERM, sys::SIGTERM], &[sys::SIGTERM, SIGINT]] {
            for env in [RARELY, AT_END] {
                let mut scene = Scene::new(&[env]);
                scene.invoke(1);
                signals.iter().for_each(|signal| scene.platform.signal_extension(*signal));
                let exit = scene.platform.wait_for_exit(LIMIT).expect("it ends");
                assert_eq!((exit.code, exit.signal), (Some(0), None), "{signals:?}");
                assert_eq!(scene.arrived(1), ONCE, "{signals:?}");
                assert!(std::fs::exists(CONTEXT).unwrap(), "{signals:?}");
                forget();
            }
        }
    });
}

/// As soon as `next` is polled a signal is no surprise any more.
#[test]
fn a_signal_right_after_the_first_next_means_shutdown() {
    isolated("shutdown::a_signal_right_after_the_first_next_means_shutdown", || {
        for key in [API_KEY, ""] {
            for _ in 0..5 {
                let mut scene = Scene::new(&[("DD_API_KEY", key)]);
                scene.platform.init().unwrap();
                scene.platform.signal_extension(sys::SIGTERM);
                let exit = scene.platform.wait_for_exit(LIMIT).expect("it ends");
                assert_eq!((exit.code, exit.signal), (Some(0), None));
                forget();
            }
        }
    });
}

/// A signal in the middle of the invocation's flush, which the intake answers late: the flush is not cut off.
#[test]
fn a_signal_during_a_flush_waits_for_it() {
    isolated("shutdown::a_signal_during_a_flush_waits_for_it", || {
        let mut scene = Scene::new(&[AT_END]);
        scene.fault(Fault::slow(Duration::from_millis(700)));
        scene.platform.init().unwrap();
        let pid = scene.platform.extension_pid().unwrap();
        // One thread of the test watches for the flush to reach the intake, the other one waits for `next`.
        std::thread::scope(|scope| {
            let intake = &scene.intake;
            scope.spawn(move || {
                // Connections come with the flush, requests are recorded when they are answered.
                while intake.connections() == 0 {
                    std::thread::yield_now();
                }
                sys::signal_group(pid, sys::SIGTERM);
                sys::signal_group(pid, sys::SIGTERM);
            });
            // The environment is gone before `next` comes: an error for the invocation, as in Lambda.
            assert!(scene.platform.invoke(&json!({"n": 1}), LIMIT).is_err());
        });
        assert_eq!(scene.arrived(1), ONCE);
    });
}

#[test]
fn shutdown_during_a_flush_waits_for_it() {
    isolated("shutdown::shutdown_during_a_flush_waits_for_it", || {
        let strategy = ("DD_SERVERLESS_FLUSH_STRATEGY", "continuously,1");
        let mut scene = Scene::new(&[strategy]);
        scene.invoke(1);
        scene.fault(Fault::slow(Duration::from_millis(500)));
        // This one's start sends the first one's data, and nothing waits for that.
        scene.invoke(2);
        scene.shutdown();
        assert_eq!([scene.arrived(1), scene.arrived(2)], [ONCE; 2]);
        scene.assert_quiet();
    });
}

/// More flushes than a worker has room for wait for an intake that is slow: the last one waits for them.
#[test]
fn flushes_that_queue_up_are_all_sent() {
    isolated("shutdown::flushes_that_queue_up_are_all_sent", || {
        let mut scene = Scene::with(&[RARELY, ("DD_LOCAL_TEST", "true")], |options| {
            options.runtime = Runtime::builtin(|invocation| {
                work(invocation);
                Outcome::Done(json!(post("/lambda/flush")))
            });
        });
        scene.fault(Fault::slow(Duration::from_millis(250)));
        for n in 1..=5 {
            assert_eq!(scene.invoke(n).response, 200);
            assert!(scene.platform.telemetry().drain(LIMIT));
        }
        scene.shutdown();
        assert_eq!((1..=5).map(|n| scene.arrived(n)).collect::<Vec<_>>(), [ONCE; 5]);
    });
}

/// Rows: what the intake does with everything.
#[test]
fn whatever_the_intake_does_the_process_ends() {
    isolated("shutdown::whatever_the_intake_does_the_process_ends", || {
        let faults: [Fault; 6] = [
            Action::Status(500).into(),
            Action::Status(403).into(),
            Action::RetryAfter(429, 60).into(),
            Action::Drop.into(),
            Action::Reset.into(),
            Action::HalfAnswer.into(),
        ];
        for fault in faults {
            for env in [RARELY, AT_END] {
                let mut scene = Scene::new(&[env]);
                scene.fault(fault.clone());
                scene.invoke(1);
                scene.shutdown();
                assert!(std::fs::exists(CONTEXT).unwrap(), "{fault:?}");
                forget();
            }
        }
    });
}

#[test]
fn a_closed_port_ends_nothing_else() {
    isolated("shutdown::a_closed_port_ends_nothing_else", || {
        let closed = "http://127.0.0.1:9";
        let mut scene = Scene::new(&[("DD_DD_URL", closed), ("DD_LOGS_CONFIG_LOGS_DD_URL", closed), AT_END]);
        scene.invoke(1);
        scene.shutdown();
        assert_eq!(scene.arrived(1), [0, 0, 1]);
        assert_eq!(scene.lines("WARN").len(), 2, "one for each endpoint: {:?}", scene.lines("WARN"));
    });
}

/// One route never answers; the others get everything, and the process ends before it is killed.
#[test]
fn a_hanging_intake_costs_its_own_signal() {
    isolated("shutdown::a_hanging_intake_costs_its_own_signal", || {
        let mut scene = Scene::new(&[RARELY]);
        scene.intake.fault(Route::Logs, None, Fault::slow(LIMIT * 2));
        scene.invoke(1);
        scene.shutdown();
        assert_eq!(scene.arrived(1), [0, 1, 1]);
    });
}

/// The last flush finds the worker still in an earlier one's request, which hangs.
#[test]
fn a_flush_that_hangs_does_not_outlive_the_deadline() {
    isolated("shutdown::a_flush_that_hangs_does_not_outlive_the_deadline", || {
        let mut scene = Scene::new(&[("DD_SERVERLESS_FLUSH_STRATEGY", "continuously,1")]);
        scene.invoke(1);
        scene.fault(Fault::slow(LIMIT * 2));
        scene.invoke(2);
        scene.shutdown();
    });
}

/// The time after which Lambda kills is in the event; a shorter one than usual counts too.
#[test]
fn the_deadline_is_that_of_the_event() {
    isolated("shutdown::the_deadline_is_that_of_the_event", || {
        let mut scene = Scene::with(&[RARELY], |options| {
            options.shutdown_budget = Duration::from_millis(900);
            options.runtime = Runtime::builtin(|invocation| {
                work(invocation);
                Outcome::Done(json!("done"))
            });
        });
        scene.fault(Fault::slow(LIMIT * 2));
        scene.invoke(1);
        scene.shutdown();
    });
}

/// A function that times out has handed over everything by then; the intake has it before Lambda ends anything.
#[test]
fn a_timeout_finds_the_data_at_the_intake() {
    isolated("shutdown::a_timeout_finds_the_data_at_the_intake", || {
        for env in [AT_END, RARELY] {
            let mut scene = Scene::with(&[env, ("DD_LOCAL_TEST", "true")], |options| {
                options.runtime = Runtime::builtin(|invocation| {
                    let outcome = function(invocation);
                    post("/lambda/flush");
                    outcome
                });
                // No time for anything at SHUTDOWN.
                options.shutdown_budget = Duration::ZERO;
                options.runtime_grace = Duration::ZERO;
            });
            // A flush that took long makes the next one early enough.
            scene.fault(Fault::slow(Duration::from_millis(300)));
            scene.invoke(1);
            let limit = Duration::from_millis(2500);
            let invoked = scene.platform.invoke(&json!({"n": 2, "then": "hang"}), limit).unwrap();
            assert_eq!(invoked.status, Status::Timeout, "{env:?}");
            assert_eq!(arrived(&scene.intake.received(), 2), ONCE, "{env:?}");
            forget();
        }
    });
}
