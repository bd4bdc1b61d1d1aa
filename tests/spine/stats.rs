//! Stats of spans through the shipped binary: counted before anything is sampled out, passed on from tracers, sent at the
//! latest at SHUTDOWN.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::lab::intake::Received;
use crate::lab::intake::stats::StatsGroup;
use crate::tracer::{client_stats, find, scene, span, v04};
use crate::{AT_END, RARELY, isolated};

const COMPUTED: (&str, &str) = ("DD_LAMBDA_EXTENSION_COMPUTE_STATS", "true");
const DEBUG: (&str, &str) = ("DD_LOG_LEVEL", "debug");

fn groups(received: &Received) -> Vec<&StatsGroup> {
    received.stats.iter().flat_map(|stats| stats.groups()).collect()
}

/// Hits, errors and top-level hits by resource.
fn by_resource(received: &Received) -> BTreeMap<&str, [u64; 3]> {
    let mut all = BTreeMap::new();
    for group in groups(received) {
        let sums: &mut [u64; 3] = all.entry(group.key["Resource"].as_str()).or_default();
        for (sum, more) in sums.iter_mut().zip([group.hits, group.errors, group.top_level]) {
            *sum += more;
        }
    }
    all
}

/// Traces of these priorities and errors, each of a root, a measured span below it, and one that nobody counts.
fn traces(rows: &[(u64, i64, i64)]) -> Value {
    let trace = |&(id, priority, error): &(u64, i64, i64)| {
        let resource = format!("p{priority} e{error}");
        let child = |place: u64, metrics: Value| {
            let more =
                json!({"trace_id": id, "parent_id": id, "resource": resource, "metrics": metrics, "error": error});
            span(id + place, &more)
        };
        json!([
            span(id, &json!({"resource": resource, "metrics": {"_sampling_priority_v1": priority}, "error": error})),
            child(1, json!({"_dd.measured": 1})),
            child(2, json!({})),
        ])
    };
    rows.iter().map(trace).collect()
}

/// Every span counts, whatever becomes of its trace: those that are sampled out are counted, then dropped, unless they
/// failed.
#[test]
fn what_is_sampled_out_is_counted_first() {
    isolated("stats::what_is_sampled_out_is_counted_first", || {
        let env = [RARELY, COMPUTED, DEBUG, ("DD_ENV", "prod"), ("DD_VERSION", "7"), ("DD_SERVICE", "shop")];
        let mut scene = scene(&env, |n| {
            let rows = [(10, 1, 0), (20, 0, 0), (30, 0, 1), (40, -1, 1), (50, 2, 0), (60, -128, 0)];
            vec![v04(&traces(&rows.map(|(id, priority, error)| (n * 1000 + id, priority, error))), &[])]
        });
        for n in 1..=3 {
            scene.answers(n);
        }
        assert_eq!(scene.intake.received().requests_to(crate::Route::Stats).count(), 0, "nothing is due");
        scene.shutdown();
        let received = scene.intake.received();
        assert_eq!(received.problems(), [""; 0]);
        let expected = [
            ("p-1 e1", [6, 6, 3]),
            ("p-128 e0", [6, 0, 3]),
            ("p0 e0", [6, 0, 3]),
            ("p0 e1", [6, 6, 3]),
            ("p1 e0", [6, 0, 3]),
            ("p2 e0", [6, 0, 3]),
        ];
        assert_eq!(by_resource(&received), BTreeMap::from(expected));
        for group in groups(&received) {
            assert_eq!(group.sketched.iter().sum::<f64>() as u64, group.hits, "{group:?}");
            assert_eq!(group.duration, 1000 * group.hits);
        }
        for payload in &received.stats {
            assert!(payload.client_computed && payload.host.is_empty());
            for client in &payload.clients {
                let about = ["Env", "Version", "Service", "Lang"].map(|key| client.about[key].as_str());
                assert_eq!(about, ["prod", "7", "shop", "lab"]);
                assert!(!client.about.contains_key("Hostname"));
            }
        }
        let mut arrived: Vec<u64> = received.spans().map(|span| span.span_id % 1000 / 10).collect();
        arrived.sort_unstable();
        assert_eq!(arrived, [[1; 9], [3; 9], [5; 9], [6; 9]].concat());
        let rate = find(&received, 1030).unwrap().metrics.get("_dd.errors_sr");
        assert_eq!(rate, Some(&1.0), "what kept it");
        let ledger = scene.ledger();
        let counted = ["traces.sampled_out.priority", "traces.sampled_out.user", "traces.rescued.errors"];
        assert_eq!(counted.map(|name| ledger[name]), [9, 9, 9], "{ledger:?}");
        scene.assert_quiet();
    });
}

/// By default the backend counts and samples: nothing is computed, nothing dropped.
#[test]
fn by_default_everything_goes_to_the_backend() {
    isolated("stats::by_default_everything_goes_to_the_backend", || {
        let mut scene =
            scene(&[AT_END], |_| vec![v04(&traces(&[(10, 1, 0), (20, 0, 0), (30, 0, 1), (40, -1, 0)]), &[])]);
        scene.answers(1);
        scene.shutdown();
        let received = scene.intake.received();
        assert_eq!(received.spans().count(), 12);
        assert!(received.spans().all(|span| span.meta["_dd.compute_stats"] == "1"));
        assert_eq!(received.requests_to(crate::Route::Stats).count(), 0);
        let priorities: Vec<_> =
            received.traces.iter().flat_map(|p| &p.tracers).flat_map(|t| &t.chunks).map(|c| c.priority).collect();
        assert_eq!(priorities, [1, 0, 0, -1]);
        scene.assert_quiet();
    });
}

/// What a tracer counted arrives with the next flush, as it is, but for what must not be known of a Lambda host, and with
/// its resource obfuscated.
#[test]
fn stats_of_tracers_are_passed_on() {
    isolated("stats::stats_of_tracers_are_passed_on", || {
        for computed in ["false", "true"] {
            let env = [AT_END, (COMPUTED.0, computed), ("DD_APM_IGNORE_RESOURCES", "^GET /ping$")];
            let mut scene = scene(&env, |_| {
                // A sketch with one duration in it: a store of one bin, counted once.
                let sketch = json!({"$bytes": [0x12, 0x0c, 0x12, 0x08, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x18, 0x02]});
                let sql =
                    json!({"Type": "sql", "Resource": "SELECT 5", "Hits": 2, "Errors": 1, "ErrorSummary": sketch});
                let ignored = json!({"Resource": "GET /ping", "Hits": 5});
                let web = json!({"Resource": "GET /", "Hits": 3, "HTTPStatusCode": 404, "PeerTags": ["a:b"]});
                [sql, ignored, web].iter().map(client_stats).collect()
            });
            let answers = scene.answers(1);
            assert!(answers.iter().all(|answer| answer.status == 202), "{answers:?}");
            let received = scene.intake.received();
            assert_eq!(by_resource(&received), BTreeMap::from([("GET /", [3, 0, 1]), ("SELECT ?", [2, 1, 1])]));
            for group in groups(&received) {
                match group.key["Type"].as_str() {
                    "sql" => assert_eq!(group.sketched, [0.0, 1.0]),
                    _ => assert_eq!(
                        (group.status, group.peer_tags.clone(), group.root),
                        (404, vec!["a:b".to_owned()], 1)
                    ),
                }
            }
            for client in received.stats.iter().flat_map(|payload| &payload.clients) {
                assert!(!client.about.contains_key("Hostname"), "{client:?}");
                assert_eq!(
                    ["Env", "Version", "RuntimeID"].map(|key| client.about[key].as_str()),
                    ["prod", "1.2", "id"]
                );
            }
            scene.shutdown();
            assert_eq!(scene.intake.received().stats.len(), received.stats.len(), "once");
            scene.assert_quiet();
            crate::forget();
        }
    });
}
