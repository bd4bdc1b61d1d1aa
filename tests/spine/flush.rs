//! When data is sent, and that a flush is a snapshot: all that the function handed over before its end, and no more.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::lab::platform::Invocation;
use crate::lab::{Outcome, Runtime};
use crate::{AT_END, LIMIT, NOTHING, ONCE, Scene, forget, isolated, work};

/// The second invocation comes later than the intervals of a millisecond. Rows: the strategy, and what is at the intake of invocations 1 and 2 when `next` comes after the first and after the
/// second. Nothing is said (`None`) of what may or may not have arrived by then.
#[test]
fn strategies() {
    isolated("flush::strategies", || {
        let (all, no) = (Some(ONCE), Some(NOTHING));
        for (strategy, after_first, after_second) in [
            ("", all, [all, all]),
            ("default", all, [all, all]),
            ("end", all, [all, all]),
            ("end,1", None, [None, all]),
            ("end,3600000", no, [no, no]),
            // The start of an invocation sends what came before, perhaps the first of its own; `next` waits for that.
            ("periodically,1", None, [all, None]),
            ("periodically,3600000", no, [no, no]),
            ("continuously,1", None, [None, None]),
            ("continuously,3600000", no, [no, no]),
        ] {
            let mut scene = Scene::new(&[("DD_SERVERLESS_FLUSH_STRATEGY", strategy)]);
            let check = |scene: &Scene, n: u32, expected: Option<[i64; 3]>| {
                if let Some(expected) = expected {
                    assert_eq!(scene.arrived(n), expected, "{strategy:?}: invocation {n}");
                }
            };
            scene.platform.init().unwrap();
            scene.invoke(1);
            check(&scene, 1, after_first);
            thread::sleep(Duration::from_millis(5));
            // Lambda may still buffer the first one's lines where `next` did not wait for its end.
            assert!(scene.platform.telemetry().drain(LIMIT));
            scene.invoke(2);
            check(&scene, 1, after_second[0]);
            check(&scene, 2, after_second[1]);
            if strategy == "continuously,1" {
                assert!(scene.intake.wait_for(LIMIT, |received| crate::arrived(received, 1) == ONCE));
            }
            scene.shutdown();
            assert_eq!([scene.arrived(1), scene.arrived(2)], [ONCE; 2], "{strategy:?}");
            assert_eq!(scene.intake.received().problems(), [""; 0]);
            scene.assert_quiet();
            forget();
        }
    });
}

/// The rate decides: the twentieth invocation of a busy function is not flushed at its end any more.
#[test]
fn the_adaptive_strategy_lets_a_busy_function_go() {
    isolated("flush::the_adaptive_strategy_lets_a_busy_function_go", || {
        let mut scene = Scene::new(&[]);
        for n in 1..=19 {
            scene.invoke(n);
            assert_eq!(scene.arrived(n), ONCE, "{n}");
        }
        let requests = scene.intake.received().requests.len();
        for n in 20..=25 {
            scene.invoke(n);
            assert_eq!(scene.arrived(n), NOTHING, "{n}");
        }
        assert_eq!(scene.intake.received().requests.len(), requests);
        scene.shutdown();
        assert!((1..=25).all(|n| scene.arrived(n) == ONCE));
    });
}

/// Sends `datagram` to DogStatsD `times` times, in bursts of 500 that begin once the socket's buffer, which holds no
/// more than that, was read: what a function with anything else to do looks like.
fn bursts(datagram: &str, times: usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for burst in 0..times.div_ceil(500) {
        for _ in 0..500.min(times - burst * 500) {
            socket.send_to(datagram.as_bytes(), "127.0.0.1:8125").unwrap();
        }
        if burst + 1 < times.div_ceil(500) {
            while queued_bytes() > 0 {
                thread::yield_now();
            }
        }
    }
}

/// What waits in the receive buffer of port 8125.
fn queued_bytes() -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let line = table.lines().find(|line| line.contains(":1FBD ")).expect("DogStatsD listens");
    let queues = line.split_whitespace().nth(4).unwrap();
    u64::from_str_radix(queues.split_once(':').unwrap().1, 16).unwrap()
}

/// The last burst is sent right before the handler's end, and is in that invocation's flush.
#[test]
fn fifty_thousand_samples_of_one_invocation_are_in_its_flush() {
    isolated("flush::fifty_thousand_samples_of_one_invocation_are_in_its_flush", || {
        let mut scene = Scene::with(&[AT_END], |options| {
            options.runtime = Runtime::builtin(|invocation| {
                bursts("many.counted:1|c|#team:a", 25_000);
                bursts("many.measured:2|d|#team:a", 25_000);
                work(invocation);
                Outcome::Done(json!("done"))
            });
        });
        scene.invoke(1);
        let received = scene.intake.received();
        assert_eq!(received.series_sum("many.counted"), 25_000.0);
        let points: Vec<_> = received.sketch_points("many.measured").map(|p| (p.cnt, p.sum)).collect();
        assert_eq!(points.iter().map(|p| p.0).sum::<i64>(), 25_000);
        assert_eq!(points.iter().map(|p| p.1).sum::<f64>(), 50_000.0);
        assert_eq!(scene.arrived(1), ONCE);
        scene.shutdown();
        scene.assert_quiet();
    });
}

/// What is handed over right before the end, in every way there is, many times over.
#[test]
fn the_last_words_of_a_handler_are_in_its_flush() {
    isolated("flush::the_last_words_of_a_handler_are_in_its_flush", || {
        let mut scene = Scene::with(&[AT_END], |options| {
            options.runtime = Runtime::builtin(|invocation| {
                let n = &invocation.payload["n"];
                (0..200).for_each(|_| invocation.print(&format!("last line of {n}")));
                bursts(&format!("last.{n}:1|d"), 400);
                work(invocation);
                Outcome::Done(json!("done"))
            });
        });
        for n in 1..=20 {
            scene.invoke(n);
            let received = scene.intake.received();
            let line = format!("last line of {n}\n");
            assert_eq!(received.logs.iter().filter(|log| log.message() == line).count(), 200, "{n}");
            assert_eq!(received.sketch_points(&format!("last.{n}")).map(|p| p.cnt).sum::<i64>(), 400, "{n}");
            assert_eq!(scene.arrived(n), ONCE, "{n}");
            if n == 19 {
                // From the twentieth on the adaptive strategy would not flush here; this one does.
                assert_eq!(received.problems(), [""; 0]);
            }
        }
        scene.shutdown();
        scene.assert_quiet();
    });
}

/// A thread of the function goes on sending after the handler's end: the flush takes what there is and does not wait for
/// quiet.
#[test]
fn traffic_that_goes_on_holds_nobody() {
    isolated("flush::traffic_that_goes_on_holds_nobody", || {
        let stop = Arc::new(AtomicBool::new(false));
        let (going, stopped) = (Arc::new(AtomicBool::new(false)), stop.clone());
        let sending = going.clone();
        let mut scene = Scene::with(&[AT_END], |options| {
            options.runtime = Runtime::builtin(move |invocation: &Invocation| {
                if !sending.swap(true, Ordering::SeqCst) {
                    let stopped = stopped.clone();
                    thread::spawn(move || {
                        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                        while !stopped.load(Ordering::Relaxed) {
                            // Without a listener, at the end, this fails.
                            let _ = socket.send_to(b"noise:1|c", "127.0.0.1:8125");
                        }
                    });
                }
                invocation.print("in the noise");
                Outcome::Done(json!("done"))
            });
        });
        for n in 1..=3 {
            scene.invoke(n);
            let received = scene.intake.received();
            assert_eq!(received.logs.iter().filter(|log| log.message() == "in the noise\n").count(), n as usize);
            assert!(received.series_sum("noise") > 0.0, "the flush was done, not given up on");
        }
        scene.shutdown();
        stop.store(true, Ordering::Relaxed);
        assert!(going.load(Ordering::SeqCst));
    });
}
