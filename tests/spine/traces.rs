//! Traces in every version of the protocol through the shipped binary: what is answered, what arrives, what is left out
//! and counted, and many tracers at once.

use std::ops::Range;
use std::sync::Mutex;
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use crate::lab::{Outcome, Runtime};
use crate::tracer::{Answer, Connection, VERSIONS, client_stats, encode, find, request, scene, span, v04};
use crate::{AT_END, Scene, isolated};

/// A span with something of everything that all versions have.
fn full(id: u64) -> Value {
    span(
        id,
        &json!({
            "service": "shop", "name": "web.request", "resource": "GET /", "type": "web", "parent_id": 7, "error": 1,
            "meta": {"a": "b", "http.url": "http://example.com/x?y=z"}, "metrics": {"m": 0.5, "_sampling_priority_v1": 1},
        }),
    )
}

#[test]
fn every_version_arrives() {
    isolated("traces::every_version_arrives", || {
        let mut scene = scene(&[AT_END], |_| {
            VERSIONS
                .iter()
                .zip(1..)
                .map(|(version, id)| encode(version, &json!([[full(id)], [full(id + 10)]])))
                .collect()
        });
        let answers = scene.answers(1);
        for (version, answer) in VERSIONS.iter().zip(&answers) {
            assert_eq!(answer.status, 200, "{version}: {answer:?}");
            match *version {
                "v0.3" => assert_eq!(answer.body, "OK\n"),
                _ => assert_eq!(answer.rate("shop"), Some(1.0), "{version}: {answer:?}"),
            }
        }
        let received = scene.intake.received();
        for (version, id) in VERSIONS.iter().zip(1..) {
            for id in [id, id + 10] {
                let span = find(&received, id).unwrap_or_else(|| panic!("{version}: {id} is missing"));
                let texts = [&span.service, &span.name, &span.resource, &span.kind];
                assert_eq!(texts, ["shop", "web.request", "GET /", "web"], "{version}");
                let numbers = (span.trace_id, span.parent_id, span.start, span.duration, span.error);
                assert_eq!(numbers, (id, 7, 1_700_000_000_000_000_000, 1000, 1), "{version}");
                assert_eq!((span.meta["a"].as_str(), span.metrics["m"]), ("b", 0.5), "{version}");
            }
        }
        let chunks = received.traces.iter().flat_map(|p| &p.tracers).flat_map(|tracer| &tracer.chunks);
        assert!(chunks.map(|chunk| chunk.priority).eq([1; 10]), "each has its tracer's priority");
        let ids: Vec<_> = received.traces.iter().flat_map(|p| &p.tracers).map(|t| t.runtime_id.as_str()).collect();
        assert!(ids.contains(&"process-7"), "what v0.7 tells of the process: {ids:?}");
        scene.shutdown();
        assert_eq!(received.problems(), [""; 0]);
        scene.assert_quiet();
    });
}

/// The rates are sent with a version, and not again to a tracer that has it.
#[test]
fn a_tracer_that_has_the_rates_gets_none() {
    isolated("traces::a_tracer_that_has_the_rates_gets_none", || {
        let mut scene = Scene::with(&[AT_END], |options| {
            options.runtime = Runtime::builtin(|_| {
                let mut connection = Connection::open();
                let trace = |id: u64, service: &str| {
                    let metrics = json!({"_sampling_priority_v1": 1});
                    json!([[span(id, &json!({"service": service, "metrics": metrics}))]])
                };
                let version = |answer: &Answer| answer.headers["datadog-rates-payload-version"].clone();
                let first = connection.ask(&v04(&trace(1, "a"), &["Datadog-Rates-Payload-Version: none"]));
                let known = format!("Datadog-Rates-Payload-Version: {}", version(&first));
                let second = connection.ask(&v04(&trace(2, "a"), &[&known]));
                let third = connection.ask(&v04(&trace(3, "b"), &[&known]));
                let fourth = connection.ask(&v04(&trace(4, "b"), &[]));
                assert_eq!((first.rate("a"), second.body.as_str()), (Some(1.0), "{}"));
                assert_eq!(version(&first), version(&second));
                assert_ne!(version(&first), version(&third), "there is another service");
                assert_eq!((third.rate("a"), third.rate("b")), (Some(1.0), Some(1.0)));
                assert!(!fourth.headers.contains_key("datadog-rates-payload-version"), "it did not ask: {fourth:?}");
                Outcome::Done(json!("asserted"))
            });
        });
        assert_eq!(scene.invoke(1).response, json!("asserted"));
        scene.shutdown();
        scene.assert_quiet();
    });
}

/// What is wrong with one request is said in its answer, and costs the other requests of the connection nothing.
#[test]
fn a_bad_request_costs_itself() {
    isolated("traces::a_bad_request_costs_itself", || {
        let binary = "Content-Type: application/msgpack";
        let mut scene = scene(&[AT_END, ("DD_LOG_LEVEL", "debug")], move |_| {
            let good = |id| v04(&json!([[span(id, &json!({}))]]), &[]);
            let bad = [
                request("/v0.4/traces", &[binary], b"\x91\x91\x82\xa1a"),
                request("/v0.4/traces", &["Content-Type: application/json"], b"[[{\"trace_id\": tru]]"),
                request("/v0.5/traces", &[binary], b"\x92\x91\xa0\x91\x91\x9c\xcd\x01\x00"),
                request("/v0.4/traces", &[binary, "Content-Encoding: gzip"], b"\x1f\x8b"),
                request("/v0.2/traces", &[binary], b"\x90"),
                request("/v0.9/traces", &[binary], b"\x90"),
            ];
            let mut all: Vec<_> = bad.into_iter().zip(1..).flat_map(|(bad, id)| [bad, good(id)]).collect();
            all.push(format!("POST /v0.4/traces HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 60 << 20).into());
            all
        });
        let answers = scene.answers(1);
        let expected = [
            (400, "cannot decode /v0.4/traces: the payload ends inside a value at byte 5"),
            (400, "cannot decode /v0.4/traces: "),
            (400, "cannot decode /v0.5/traces: "),
            (415, "content encoding gzip is not supported"),
            (415, "this version of the protocol has no msgpack"),
            (404, "no such endpoint: /v0.9/traces"),
        ];
        for (pair, (status, text)) in answers.chunks(2).zip(expected) {
            let [bad, good] = pair else { panic!("{pair:?}") };
            assert_eq!(bad.status, status, "{bad:?}");
            assert!(bad.body.starts_with(text), "{text}: {bad:?}");
            assert!(status != 400 || bad.body.contains(" at byte "), "{bad:?}");
            assert_eq!(good.status, 200, "after {bad:?}");
        }
        assert_eq!(answers.last().map(|answer| answer.status), Some(413), "{answers:?}");
        scene.shutdown();
        let received = scene.intake.received();
        let arrived: Vec<u64> = received.spans().map(|span| span.span_id).collect();
        assert_eq!(arrived, [1, 2, 3, 4, 5, 6]);
        let ledger = scene.ledger();
        assert_eq!(
            (ledger["traces.spans"], ledger["traces.malformed"], ledger["net.too_large"]),
            (6, 3, 1),
            "{ledger:?}"
        );
    });
}

/// Who computes stats: the tracer, the extension or the backend, which a mark on every span asks to.
#[test]
fn stats_are_computed_once() {
    isolated("traces::stats_are_computed_once", || {
        for (extension, tracer, backend) in
            [("false", false, true), ("false", true, false), ("true", false, false), ("true", true, false)]
        {
            let env = [AT_END, ("DD_LAMBDA_EXTENSION_COMPUTE_STATS", extension)];
            let mut scene = scene(&env, move |_| {
                let headers: &[&str] = if tracer { &["Datadog-Client-Computed-Stats: true"] } else { &[] };
                vec![v04(&json!([[span(1, &json!({}))]]), headers)]
            });
            scene.answers(1);
            scene.shutdown();
            let received = scene.intake.received();
            let mark = find(&received, 1).unwrap().meta.get("_dd.compute_stats").cloned();
            assert_eq!(mark, backend.then(|| "1".to_owned()), "{extension} {tracer}");
            let hits: u64 = received.stats.iter().flat_map(|stats| stats.groups()).map(|group| group.hits).sum();
            assert_eq!(hits, u64::from(extension == "true" && !tracer), "{extension} {tracer}");
            scene.assert_quiet();
            crate::forget();
        }
    });
}

/// What nobody asked for goes, and the last line names each kind with how many there were.
#[test]
fn what_is_left_out_is_counted() {
    isolated("traces::what_is_left_out_is_counted", || {
        let env = [
            AT_END,
            ("DD_LOG_LEVEL", "debug"),
            ("DD_SERVICE", "shop"),
            ("DD_APM_IGNORE_RESOURCES", "^GET /ping$"),
            ("DD_APM_FILTER_TAGS_REJECT", "noise:yes"),
        ];
        let mut scene = scene(&env, |_| {
            let api = std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap_or_default();
            assert_eq!(api, "", "the test's own environment is not the function's");
            let plumbing = json!([
                span(10, &json!({"service": "aws.lambda", "name": "aws.lambda"})),
                span(
                    11,
                    &json!({"trace_id": 10, "parent_id": 10, "meta": {"http.url": "http://127.0.0.1:8124/lambda/hello"}})
                ),
                span(12, &json!({"trace_id": 10, "parent_id": 10, "name": "dns.lookup"})),
                span(13, &json!({"trace_id": 10, "parent_id": 10, "resource": "dd-tracer-serverless-span"})),
                span(
                    14,
                    &json!({"trace_id": 10, "parent_id": 10,
                    "meta": {"tcp.remote.host": "127.0.0.1"}, "metrics": {"tcp.remote.port": 9001}})
                ),
                span(15, &json!({"trace_id": 10, "parent_id": 10, "meta": {"http.url": "http://127.0.0.1:8080/"}})),
            ]);
            let traces = json!([
                plumbing,
                [span(20, &json!({}))],
                [span(20, &json!({}))],
                [span(30, &json!({"trace_id": 0}))],
                [span(31, &json!({"span_id": 0}))],
                [span(32, &json!({})), span(33, &json!({}))],
                [span(40, &json!({"resource": "GET /ping"})), span(41, &json!({"trace_id": 40, "parent_id": 40}))],
                [span(50, &json!({"meta": {"noise": "yes"}}))],
            ]);
            // The same again, as a tracer sends what it believes was not taken.
            vec![v04(&traces, &[]), encode("v0.5", &json!([[span(20, &json!({}))]]))]
        });
        let answers = scene.answers(1);
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        scene.shutdown();
        let received = scene.intake.received();
        let arrived: Vec<u64> = received.spans().map(|span| span.span_id).collect();
        assert_eq!(arrived, [10, 15, 20]);
        let lambda = find(&received, 10).unwrap();
        assert_eq!((lambda.service.as_str(), lambda.name.as_str()), ("shop", "aws.lambda"));
        let ledger = scene.ledger();
        let dropped: Vec<_> = ledger.iter().filter(|(name, _)| name.contains("dropped")).collect();
        let expected = [
            ("traces.dropped.duplicate", 2),
            ("traces.dropped.filtered", 1),
            ("traces.dropped.foreign_span", 2),
            ("traces.dropped.ignored_resource", 2),
            ("traces.dropped.plumbing", 4),
            ("traces.dropped.span_id_zero", 1),
            ("traces.dropped.trace_id_zero", 1),
        ];
        let expected: Vec<_> = expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        assert_eq!(dropped, expected.iter().map(|(name, count)| (name, count)).collect::<Vec<_>>());
        assert_eq!(ledger["traces.spans"], 3);
        scene.assert_quiet();
    });
}

/// Twenty tracers on connections of their own send everything that a tracer sends, during invocations and between them,
/// while one flush follows the other.
#[test]
fn many_tracers_at_once_lose_nothing() {
    isolated("traces::many_tracers_at_once_lose_nothing", || {
        const TRACERS: u64 = 20;
        const ROUNDS: u64 = 10;
        const INVOCATIONS: u32 = 6;
        let env = [
            AT_END,
            ("DD_APM_PROFILING_DD_URL", "{intake}/api/v2/profile"),
            ("DD_APM_TELEMETRY_DD_URL", "{intake}"),
            ("DD_LOG_LEVEL", "debug"),
        ];
        let mut scene = Scene::with(&env, |options| {
            let running: Mutex<Vec<JoinHandle<Vec<Answer>>>> = Mutex::default();
            options.runtime = Runtime::builtin(move |invocation| {
                let n = invocation.payload["n"].as_u64().unwrap();
                let mut running = running.lock().unwrap();
                running.extend((0..TRACERS).map(|tracer| {
                    let ids = ((n * TRACERS + tracer) * ROUNDS)..((n * TRACERS + tracer + 1) * ROUNDS);
                    thread::spawn(move || everything(ids))
                }));
                // After every other invocation the function's libraries go on sending.
                let ended = if n.is_multiple_of(2) { std::mem::take(&mut *running) } else { Vec::new() };
                let refused =
                    ended.into_iter().flat_map(|tracer| tracer.join().unwrap()).find(|answer| answer.status / 100 != 2);
                Outcome::Done(json!(format!("{refused:?}")))
            });
        });
        for n in 1..=INVOCATIONS {
            assert_eq!(scene.invoke(n).response, json!("None"), "invocation {n}");
        }
        scene.shutdown();
        let received = scene.intake.received();
        assert_eq!(received.problems(), [""; 0]);
        let rounds = u64::from(INVOCATIONS) * TRACERS * ROUNDS;
        let mut ids: Vec<u64> = received.spans().map(|span| span.span_id).collect();
        ids.sort_unstable();
        let first = TRACERS * ROUNDS * VERSIONS.len() as u64;
        assert!(ids.into_iter().eq(first..first + rounds * VERSIONS.len() as u64), "each span is there, and once");
        let hits: u64 = received.stats.iter().flat_map(|stats| stats.groups()).map(|group| group.hits).sum();
        assert_eq!(hits, rounds, "what tracers counted");
        let proxied = |path: &str| received.proxied().filter(|request| request.path == path).count() as u64;
        assert_eq!([proxied("/api/v2/profile"), proxied("/api/v2/apmtelemetry")], [rounds; 2]);
        let ledger = scene.ledger();
        let lost: Vec<_> = ledger.keys().filter(|name| name.contains("dropped") || name.contains("busy")).collect();
        assert_eq!(lost, [""; 0], "{ledger:?}");
        scene.assert_quiet();
    });
}

/// For each number of `numbers` a request of each kind, on one connection.
fn everything(numbers: Range<u64>) -> Vec<Answer> {
    let mut connection = Connection::open();
    let mut answers = Vec::new();
    for number in numbers {
        for (version, place) in VERSIONS.iter().zip(0..) {
            let id = number * VERSIONS.len() as u64 + place;
            answers.push(connection.ask(&encode(version, &json!([[full(id)]]))));
        }
        answers.push(connection.ask(&client_stats(&json!({"Service": format!("counted {number}"), "Hits": 1}))));
        let profile = "Content-Type: multipart/form-data; boundary=b";
        answers.push(connection.ask(&request("/profiling/v1/input", &[profile], &number.to_le_bytes())));
        answers.push(connection.ask(&request("/telemetry/proxy/api/v2/apmtelemetry", &[], b"{}")));
    }
    answers
}
