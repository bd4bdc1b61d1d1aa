//! Datadog's tracer for Rust, `datadog-opentelemetry`, under AWS's runtime client for Rust.

use serde_json::{Value, json};

use crate::lab::TelemetryMode;
use crate::session::{Language, Session};
use crate::{passed, spans, stats, wire};

fn rust<'a>(name: &str, env: &'a [(&'a str, &'a str)], events: &'a [Value]) -> Session<'a> {
    let name = format!("rust::{name}");
    Session { language: Language::Rust, name, env, telemetry: TelemetryMode::Real, events, tapped: true }
}

/// What the tracer makes of what it is given: tags of its own, and a type for spans that have none.
const TRACER: spans::Rules = spans::Rules {
    changed: &[("kind", "", "custom")],
    removed: &[],
    added: &[
        "_dd.base_service",
        "_dd.measured",
        "_dd.p.dm",
        "_dd.p.tid",
        "_dd.span_events.has_exception",
        "_dd.sdk.otlp_export",
        "_sampling_priority_v1",
        "deployment.environment.name",
        "error.message",
        "error.stack",
        "error.type",
        "language",
        "otel.scope.name",
        "otel.status_code",
        "otel.status_description",
        "otel.trace_id",
        "process_id",
        "runtime-id",
        "span.kind",
        "telemetry.sdk.language",
        "telemetry.sdk.name",
        "telemetry.sdk.version",
    ],
};

#[test]
fn spans_arrive_as_the_tracer_made_them() {
    let rules = r#"[{"resource": "order 8", "sample_rate": 0}, {"resource": "order 9", "sample_rate": 1}]"#;
    let events = [json!({"order": 7, "many": 1200}), json!({"order": 8}), json!({"order": 9})];
    rust("spans_arrive_as_the_tracer_made_them", &[("DD_TRACE_SAMPLING_RULES", rules)], &events).run(|ran| {
        assert_eq!(ran.made.len(), 1212);
        let wrong = spans::differences(&ran.made, &ran.received, TRACER);
        assert!(wrong.is_empty(), "{wrong:#?}");
        let wrong = spans::differences(&wire::spans(&ran.sent), &ran.received, spans::Rules::default());
        assert!(wrong.is_empty(), "{wrong:#?}");
        let failed = ran.received.spans().find(|span| span.name == "shop.check").expect("it was made");
        let error = ["error.type", "error.message", "error.stack"].map(|key| failed.meta.get(key).map(String::as_str));
        assert_eq!((failed.error, error), (1, [Some("OutOfStock"), Some("no stock"), Some("at main.rs:1")]));
        // Ids of 128 bits: the upper half is that of the first.
        let pay = ran.received.spans().find(|span| span.name == "shop.pay").expect("it was made");
        assert_ne!(pay.links[0].trace_id_high, 0);
        assert_eq!(pay.links[0].trace_id, pay.trace_id);
        let tracers: Vec<_> = ran.received.traces.iter().flat_map(|payload| &payload.tracers).collect();
        let chunks: Vec<_> = tracers.iter().flat_map(|tracer| &tracer.chunks).collect();
        let mut priorities: Vec<_> = chunks.iter().map(|chunk| chunk.priority).collect();
        priorities.dedup(); // a long trace goes in several
        assert_eq!(priorities, [1, -1, 2]);
        for tracer in tracers {
            assert_eq!((tracer.language.as_str(), tracer.tracer_version.as_str()), ("rust", "0.6.0"));
        }
    });
}

#[test]
fn what_the_tracer_decides_by_what_the_agent_says_of_itself() {
    // Both are what it does unless told otherwise.
    let env = [("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "true"), ("DD_TRACE_STATS_COMPUTATION_ENABLED", "true")];
    let events = [json!({"order": 7})];
    rust("what_the_tracer_decides_by_what_the_agent_says_of_itself", &env, &events).run(|ran| {
        let wrong = passed::differences(&ran.sent, &ran.received);
        assert!(wrong.is_empty(), "{wrong:#?}");
        let targets = passed::targets(&ran.sent);
        for target in ["/info", "/v0.4/traces", "/telemetry/proxy/api/v2/apmtelemetry"] {
            assert!(targets.contains(&target), "{target}: {targets:?}");
        }
        // It must not leave out spans that the agent's own stats would count, so it counts none itself.
        assert!(!targets.contains(&"/v0.6/stats"), "{targets:?}");
        let stats = |(name, _): &(String, String)| name == "datadog-client-computed-stats";
        assert!(!ran.sent.iter().flat_map(|request| &request.headers).any(stats));
        assert!(ran.received.spans().all(|span| span.meta.get("_dd.compute_stats").is_some_and(|v| v == "1")));
    });
}

#[test]
fn stats_of_what_the_tracer_made() {
    let rules = r#"[{"resource": "order 8", "sample_rate": 0}]"#;
    let env = [("DD_LAMBDA_EXTENSION_COMPUTE_STATS", "true"), ("DD_TRACE_SAMPLING_RULES", rules)];
    let events = [json!({"order": 7}), json!({"order": 8}), json!({"order": 7})];
    rust("stats_of_what_the_tracer_made", &env, &events).run(|ran| {
        // Counted, whether they are wanted or not.
        let counted = stats::counted(&ran.received);
        let expected = [
            (("payments", "shop.pay", "POST /pay", "client"), (3, 0)),
            (("shop", "shop.order", "order 7", "internal"), (2, 0)),
            (("shop", "shop.order", "order 8", "internal"), (1, 0)),
        ];
        let key = |(service, name, resource, kind): (&str, &str, &str, &str)| {
            [service, name, resource, kind].map(str::to_owned)
        };
        assert_eq!(counted, expected.map(|(group, count)| (key(group), count)).into());
        assert!(ran.received.spans().all(|span| span.resource != "order 8"));
        assert_eq!(ran.received.spans().count(), 8);
        assert!(ran.received.spans().all(|span| !span.meta.contains_key("_dd.compute_stats")));
    });
}
