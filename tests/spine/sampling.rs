//! Sampling through the shipped binary: the rates that tracers are told, and who keeps what they sampled out.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::intake::Received;
use crate::lab::platform::Invocation;
use crate::lab::{Outcome, Runtime};
use crate::tracer::{Answer, Connection, find, scene, span, v04};
use crate::{AT_END, LIMIT, Scene, isolated};

const COMPUTED: (&str, &str) = ("DD_LAMBDA_EXTENSION_COMPUTE_STATS", "true");

/// A trace of one span with this priority.
fn trace(id: u64, priority: i64) -> Value {
    json!([span(id, &json!({"metrics": {"_sampling_priority_v1": priority}}))])
}

fn priority(received: &Received, id: u64) -> Option<i64> {
    let mut chunks = received.traces.iter().flat_map(|payload| &payload.tracers).flat_map(|tracer| &tracer.chunks);
    chunks.find(|chunk| chunk.spans.iter().any(|span| span.span_id == id)).map(|chunk| chunk.priority)
}

/// A burst of traces, and then one at a time until the rate of the service is below 1, for no longer than [`LIMIT`]: rates
/// are made every five seconds. All of it must reach the intake within the time of a flush, however fast this machine asks.
fn until_limited(invocation: &Invocation, connection: &mut Connection) -> Answer {
    let begun = Instant::now();
    let mut traces = (1..).map(|id| trace(id, 1));
    let mut count = 200;
    loop {
        let some: Vec<Value> = traces.by_ref().take(std::mem::replace(&mut count, 1)).collect();
        let answer = connection.ask(&v04(&json!(some), &["Datadog-Rates-Payload-Version: 0"]));
        if answer.rate("s").is_some_and(|rate| rate < 1.0) || begun.elapsed() > LIMIT {
            return answer;
        }
        invocation.busy(Duration::from_millis(10));
    }
}

#[test]
fn a_target_is_told_to_tracers() {
    isolated("sampling::a_target_is_told_to_tracers", || {
        let mut scene = Scene::with(&[AT_END, ("DD_APM_TARGET_TPS", "2")], |options| {
            options.runtime = Runtime::builtin(|invocation| {
                let mut connection = Connection::open();
                let answer = until_limited(invocation, &mut connection);
                let (rate, default) = (answer.rate("s").unwrap(), answer.rate("").unwrap());
                assert!(rate > 0.0 && rate < 1.0 && default > 0.0 && default <= rate, "{answer:?}");
                // A tracer that does what it is told says so; one that does not is marked.
                let told = json!({"_sampling_priority_v1": 1, "_dd.agent_psr": 0.25});
                let traces = json!([trace(1 << 40, 1), [span(1 << 41, &json!({"metrics": told}))]]);
                connection.ask(&v04(&traces, &[]));
                Outcome::Done(json!("asserted"))
            });
        });
        assert_eq!(scene.invoke(1).response, json!("asserted"));
        scene.shutdown();
        let received = scene.intake.received();
        let silent = find(&received, 1 << 40).unwrap();
        assert!(silent.metrics["_sampling_priority_rate_v1"] < 1.0, "{silent:?}");
        let told = find(&received, 1 << 41).unwrap();
        assert!(!told.metrics.contains_key("_sampling_priority_rate_v1"), "{told:?}");
        scene.assert_quiet();
    });
}

/// Chosen by their ids, whatever tracers decided, except what users did. By default the backend is told; with stats
/// computed here the others are dropped.
#[test]
fn a_share_is_chosen_by_ids() {
    isolated("sampling::a_share_is_chosen_by_ids", || {
        const TRACES: u64 = 1000;
        for computed in ["false", "true"] {
            let env = [
                AT_END,
                ("DD_APM_PROBABILISTIC_SAMPLER_ENABLED", "true"),
                ("DD_APM_PROBABILISTIC_SAMPLER_SAMPLING_PERCENTAGE", "40"),
                (COMPUTED.0, computed),
            ];
            let mut scene = scene(&env, |_| {
                let undecided = (1..=TRACES).map(|id| trace(id.wrapping_mul(0x9e37_79b9_7f4a_7c15), (id % 2) as i64));
                let decided = [(1 << 20, -1), (1 << 21, 2)].map(|(id, priority)| trace(id, priority));
                vec![v04(&undecided.chain(decided).collect(), &[])]
            });
            scene.answers(1);
            scene.shutdown();
            let received = scene.intake.received();
            let with = |expected: i64| {
                let mut chunks = received.traces.iter().flat_map(|p| &p.tracers).flat_map(|tracer| &tracer.chunks);
                (&mut chunks).filter(|chunk| chunk.priority == expected).count() as u64
            };
            let kept = with(1);
            assert!((TRACES * 3 / 10..TRACES / 2).contains(&kept), "{kept} of {TRACES}");
            let drops = computed == "true";
            assert_eq!(with(0), if drops { 0 } else { TRACES - kept });
            assert_eq!(priority(&received, 1 << 20), (!drops).then_some(-1));
            assert_eq!(priority(&received, 1 << 21), Some(2));
            let hits: u64 = received.stats.iter().flat_map(|stats| stats.groups()).map(|group| group.hits).sum();
            assert_eq!(hits, if drops { TRACES + 2 } else { 0 });
            scene.assert_quiet();
            crate::forget();
        }
    });
}

/// Of each kind of span one is kept; and a span that a rule of its tracer chose is kept alone.
#[test]
fn what_is_rare_or_chosen_is_kept() {
    isolated("sampling::what_is_rare_or_chosen_is_kept", || {
        let env = [AT_END, COMPUTED, ("DD_APM_ENABLE_RARE_SAMPLER", "true"), ("DD_LOG_LEVEL", "debug")];
        let mut scene = scene(&env, |_| {
            let sampled_out = |id: u64, resource: &str, more: Value| {
                let mut metrics = json!({"_sampling_priority_v1": 0});
                more.as_object().into_iter().flatten().for_each(|(key, value)| metrics[key] = value.clone());
                span(id, &json!({"resource": resource, "metrics": metrics}))
            };
            let chosen =
                span(11, &json!({"trace_id": 10, "parent_id": 10, "metrics": {"_dd.span_sampling.mechanism": 8}}));
            let traces = json!([
                [sampled_out(1, "a", json!({}))],
                [sampled_out(2, "a", json!({}))],
                [sampled_out(3, "b", json!({}))],
                [sampled_out(10, "a", json!({})), chosen],
            ]);
            vec![v04(&traces, &[])]
        });
        scene.answers(1);
        scene.shutdown();
        let received = scene.intake.received();
        let arrived: Vec<u64> = received.spans().map(|span| span.span_id).collect();
        assert_eq!(arrived, [1, 3, 11]);
        let rare = [1, 3].map(|id| find(&received, id).unwrap().metrics.get("_dd.rare").copied());
        assert_eq!(rare, [Some(1.0); 2]);
        assert_eq!(priority(&received, 11), Some(2), "so that the backend keeps it");
        let ledger = scene.ledger();
        let counted = ["traces.rescued.rare", "traces.rescued.single_spans", "traces.sampled_out.priority"];
        assert_eq!(counted.map(|name| ledger[name]), [2, 1, 2], "{ledger:?}");
        scene.assert_quiet();
    });
}
