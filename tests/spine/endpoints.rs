//! Additional endpoints of traces: each gets traces and stats with its own key, and none suffers from another.

use serde_json::json;

use crate::lab::intake::{API_KEY, Received};
use crate::lab::{Action, Fault, Intake, Route};
use crate::tracer::{client_stats, scene, span, v04};
use crate::{AT_END, LIMIT, RARELY, Scene, forget, isolated};

const OTHER_KEY: &str = "fedcba9876543210fedcba9876543210";

/// A function that sends a span and a group of stats in each invocation, both with its number.
fn with_additional(url: &str) -> Scene {
    let endpoints = json!({ url: [OTHER_KEY] }).to_string();
    let env = [AT_END, ("DD_APM_ADDITIONAL_ENDPOINTS", endpoints.as_str()), ("DD_LOG_LEVEL", "debug")];
    scene(&env, |n| {
        let stats = client_stats(&json!({"Resource": format!("r{n}"), "Hits": n}));
        vec![v04(&json!([[span(n, &json!({}))]]), &[]), stats]
    })
}

/// The spans that arrived, and the stats as resource and hits.
fn arrived(received: &Received) -> (Vec<u64>, Vec<(String, u64)>) {
    let mut spans: Vec<u64> = received.spans().map(|span| span.span_id).collect();
    let groups = received.stats.iter().flat_map(|stats| stats.groups());
    let mut stats: Vec<_> = groups.map(|group| (group.key["Resource"].clone(), group.hits)).collect();
    spans.sort_unstable();
    stats.sort_unstable();
    (spans, stats)
}

fn all(invocations: u64) -> (Vec<u64>, Vec<(String, u64)>) {
    ((1..=invocations).collect(), (1..=invocations).map(|n| (format!("r{n}"), n)).collect())
}

#[test]
fn traces_and_stats_reach_both() {
    isolated("endpoints::traces_and_stats_reach_both", || {
        let other = Intake::start();
        let mut scene = with_additional(&other.url());
        for n in 1..=2 {
            scene.answers(n);
        }
        scene.shutdown();
        for (intake, key) in [(&scene.intake, API_KEY), (&other, OTHER_KEY)] {
            let received = intake.received();
            assert_eq!(received.problems(), [""; 0]);
            assert_eq!(arrived(&received), all(2));
            let apm = received.requests.iter().filter(|r| matches!(r.route, Route::Traces | Route::Stats));
            assert!(apm.into_iter().all(|request| request.header("dd-api-key") == Some(key)));
        }
        scene.assert_quiet();
    });
}

/// Rows: how one of the two fails, and for how long. The other gets everything, once and with its flush; what fails is
/// tried again, and once it works it has everything too.
#[test]
fn a_failing_endpoint_costs_the_other_nothing() {
    isolated("endpoints::a_failing_endpoint_costs_the_other_nothing", || {
        let faults: [Fault; 4] =
            [Action::Status(500).into(), Action::Reset.into(), Action::Drop.into(), Action::Status(429).into()];
        for fault in faults {
            for primary_fails in [false, true] {
                let other = Intake::start();
                let mut scene = with_additional(&other.url());
                {
                    let failing = if primary_fails { &scene.intake } else { &other };
                    failing.fault(Route::Traces, None, fault.clone());
                    failing.fault(Route::Stats, None, fault.clone());
                }
                for n in 1..=3 {
                    scene.answers(n);
                    let (good, bad) = if primary_fails { (&other, &scene.intake) } else { (&scene.intake, &other) };
                    assert_eq!(arrived(&good.received()), all(n.into()), "{fault:?} {primary_fails}");
                    assert_eq!(arrived(&bad.received()), all(0), "{fault:?} {primary_fails}");
                }
                if primary_fails {
                    scene.intake.heal()
                } else {
                    other.heal()
                }
                scene.answers(4);
                scene.shutdown();
                for intake in [&scene.intake, &other] {
                    assert_eq!(arrived(&intake.received()), all(4), "{fault:?} {primary_fails}");
                }
                let ledger = scene.ledger();
                assert!(ledger["forwarder.retried"] > 0, "{ledger:?}");
                assert!(ledger.keys().all(|name| !name.contains("dropped")), "{ledger:?}");
                forget();
            }
        }
    });
}

/// Rows: nobody listens there, or somebody who never answers. What it did not get is counted, and that it failed is said.
#[test]
fn a_dead_endpoint_is_counted() {
    isolated("endpoints::a_dead_endpoint_is_counted", || {
        for hangs in [false, true] {
            let (other, url) = dead(hangs);
            let mut scene = with_additional(&url);
            for n in 1..=3 {
                scene.answers(n);
                assert_eq!(arrived(&scene.intake.received()), all(n.into()), "{hangs}");
            }
            scene.shutdown();
            assert_eq!(arrived(&scene.intake.received()), all(3), "{hangs}");
            let ledger = scene.ledger();
            // Of each invocation a payload of spans and one of stats.
            assert_eq!(ledger["forwarder.dropped.shutdown"], 6, "{hangs}: {ledger:?}");
            let warnings = scene.lines("WARN");
            assert_eq!(warnings.len(), 1, "{hangs}: {warnings:?}");
            drop(other);
            forget();
        }
    });
}

/// The first thing that is ever sent there is sent at SHUTDOWN: what the extension computes until the very end, such as
/// stats, reaches the other all the same.
#[test]
fn a_dead_endpoint_does_not_take_the_end() {
    isolated("endpoints::a_dead_endpoint_does_not_take_the_end", || {
        for hangs in [false, true] {
            let (other, url) = dead(hangs);
            let endpoints = json!({ url.as_str(): [OTHER_KEY] }).to_string();
            let env = [
                RARELY,
                ("DD_APM_ADDITIONAL_ENDPOINTS", endpoints.as_str()),
                ("DD_LAMBDA_EXTENSION_COMPUTE_STATS", "true"),
                ("DD_LOG_LEVEL", "debug"),
            ];
            let mut scene = scene(&env, |n| vec![v04(&json!([[span(n, &json!({}))]]), &[])]);
            scene.answers(1);
            scene.shutdown();
            let received = scene.intake.received();
            assert_eq!(arrived(&received), (vec![1], vec![("r".to_owned(), 1)]), "{hangs}");
            let ledger = scene.ledger();
            assert_eq!(ledger["forwarder.dropped.shutdown"], 2, "{hangs}: {ledger:?}");
            drop(other);
            forget();
        }
    });
}

/// An intake that never answers, or one of which only the address is used, at which nobody listens.
fn dead(hangs: bool) -> (Intake, String) {
    let intake = Intake::start();
    for route in [Route::Traces, Route::Stats] {
        intake.fault(route, None, Fault::slow(LIMIT * 4));
    }
    let url = if hangs { intake.url() } else { "http://127.0.0.1:9".to_owned() };
    (intake, url)
}
