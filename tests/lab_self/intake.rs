//! The intake: what it decodes, against payloads made by Datadog's own definitions, and how it refuses.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use libdd_trace_protobuf::pb;
use prost::Message;

use crate::lab::intake::{API_KEY, SketchPoint};
use crate::lab::{Action, Fault, Intake, Route};

const LIMIT: Duration = Duration::from_secs(5);

/// Posts `body`; the status, or `None` if the connection broke.
fn post(intake: &Intake, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<u16> {
    let config = ureq::Agent::config_builder().proxy(None).http_status_as_error(false);
    let agent = config.timeout_global(Some(LIMIT)).build().new_agent();
    let mut request = agent.post(format!("{}{path}", intake.url())).header("DD-API-KEY", API_KEY);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.send(body).ok()?;
    response.body_mut().read_to_vec().ok()?;
    Some(response.status().as_u16())
}

const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const ZSTD: (&str, &str) = ("Content-Encoding", "zstd");

#[test]
fn traces_are_decoded() {
    let span = pb::Span {
        service: "svc".into(),
        name: "aws.lambda".into(),
        resource: "résumé".into(),
        trace_id: u64::MAX,
        span_id: 2,
        parent_id: 1,
        start: 1_795_408_606_107_000_000,
        duration: 1500,
        error: 1,
        meta: HashMap::from([("k".into(), "v".into()), ("empty".into(), String::new())]),
        metrics: HashMap::from([("m".into(), -0.5)]),
        r#type: "serverless".into(),
        meta_struct: HashMap::from([("s".into(), vec![0, 255])]),
        span_links: vec![pb::SpanLink { trace_id: 3, span_id: 4, flags: 1, ..Default::default() }],
        span_events: vec![pb::SpanEvent { time_unix_nano: 9, name: "e".into(), ..Default::default() }],
    };
    let payload = pb::AgentPayload {
        target_tps: 60.0,
        tracer_payloads: vec![pb::TracerPayload {
            language_name: "python".into(),
            chunks: vec![pb::TraceChunk {
                priority: -128,
                origin: "lambda".into(),
                spans: vec![span],
                ..Default::default()
            }],
            tags: HashMap::from([("_dd.tags.function".into(), "a:b".into())]),
            env: "dev".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let intake = Intake::start();
    let body = zstd::encode_all(payload.encode_to_vec().as_slice(), 1).unwrap();
    assert_eq!(post(&intake, "/api/v0.2/traces", &[PROTOBUF, ZSTD], &body), Some(200));
    assert!(intake.wait_for(LIMIT, |r| r.spans().count() == 1));
    let received = intake.received();
    let tracer = &received.traces[0].tracers[0];
    assert_eq!((received.traces[0].target_tps, tracer.language.as_str(), tracer.env.as_str()), (60.0, "python", "dev"));
    assert_eq!((tracer.chunks[0].priority, tracer.chunks[0].origin.as_str()), (-128, "lambda"));
    assert_eq!(tracer.tags["_dd.tags.function"], "a:b");
    let span = &tracer.chunks[0].spans[0];
    assert_eq!((span.trace_id, span.span_id, span.parent_id), (u64::MAX, 2, 1));
    assert_eq!((span.start, span.duration, span.error), (1_795_408_606_107_000_000, 1500, 1));
    assert_eq!(span.meta, BTreeMap::from([("k".into(), "v".into()), ("empty".into(), String::new())]));
    assert_eq!((span.metrics["m"], span.kind.as_str(), span.resource.as_str()), (-0.5, "serverless", "résumé"));
    assert_eq!(span.meta_struct["s"], [0, 255]);
    assert_eq!((span.links[0].trace_id, span.links[0].flags, span.events[0].time), (3, 1, 9));
    assert_eq!(received.problems(), Vec::<String>::new());
}

#[test]
fn sketches_and_series_are_decoded() {
    let (k, n) = (vec![-1500, 0, 1338], vec![1, 2, 65535]);
    let point = crate::agentpayload::Dogsketch {
        ts: 10,
        cnt: 3,
        min: -1.5,
        max: 2.0,
        avg: 0.25,
        sum: 0.5,
        k: k.clone(),
        n: n.clone(),
    };
    let one = crate::agentpayload::Sketch {
        metric: "d".into(),
        tags: vec!["a:b".into()],
        dogsketches: vec![point],
        ..Default::default()
    };
    let intake = Intake::start();
    let body = crate::agentpayload::SketchPayload { sketches: vec![one] }.encode_to_vec();
    assert_eq!(post(&intake, "/api/beta/sketches", &[PROTOBUF], &body), Some(202));
    let series = br#"{"series":[{"metric":"c","points":[{"timestamp":10,"value":2.5},{"timestamp":20,"value":1}],
        "type":1,"tags":["a:b"],"resources":[]}]}"#;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, series).unwrap();
    let body = gzip.finish().unwrap();
    assert_eq!(post(&intake, "/api/v2/series", &[JSON, ("Content-Encoding", "gzip")], &body), Some(202));
    let received = intake.received();
    let expected = SketchPoint { ts: 10, cnt: 3, min: -1.5, max: 2.0, avg: 0.25, sum: 0.5, k, n };
    assert_eq!(received.sketch_points("d").collect::<Vec<_>>(), [&expected]);
    assert_eq!((received.series_sum("c"), received.series[0].kind), (3.5, 1));
}

#[test]
fn logs_are_decoded() {
    let intake = Intake::start();
    let body = br#"[{"message":{"message":"m","lambda":{"arn":"a","request_id":"r"},"timestamp":5,"status":"info"},
        "hostname":"a","service":"","ddtags":"a:b","ddsource":"lambda"}]"#;
    assert_eq!(post(&intake, "/api/v2/logs", &[JSON], body), Some(202));
    let logs = intake.received().logs;
    assert_eq!((logs[0].message(), logs[0].request_id(), logs[0].arn()), ("m", Some("r"), Some("a")));
    assert_eq!((logs[0].status(), logs[0].timestamp(), logs[0].ddtags()), (Some("info"), Some(5), "a:b"));
}

#[test]
fn bad_requests_are_refused() {
    let intake = Intake::start();
    type Row = (&'static str, Vec<(&'static str, &'static str)>, &'static [u8], &'static str);
    let rows: [Row; 6] = [
        ("/api/v2/logs", vec![PROTOBUF], b"[]", "Content-Type"),
        ("/api/v2/logs", vec![JSON], b"{", "not a JSON array"),
        ("/api/v2/logs", vec![JSON, ZSTD], b"[]", "not zstd"),
        ("/api/v2/logs", vec![JSON, ("Content-Encoding", "br")], b"[]", "Content-Encoding"),
        ("/api/v0.2/traces", vec![PROTOBUF], &[0x2a, 0x7f, 1], "ends early"),
        ("/api/v2/series", vec![JSON], br#"{"series":[{}]}"#, "not a series"),
    ];
    for (index, (path, headers, body, problem)) in rows.into_iter().enumerate() {
        assert_eq!(post(&intake, path, &headers, body), Some(400), "{problem}");
        let problems = intake.received().problems();
        assert_eq!(problems.len(), index + 1);
        assert!(problems[index].contains(problem), "{problems:?}");
    }
    let received = intake.received();
    assert!(received.logs.is_empty() && received.traces.is_empty() && received.series.is_empty());
}

#[test]
fn faults() {
    let intake = Intake::start();
    let send = || post(&intake, "/api/v2/logs", &[JSON], br#"[{"message":"m","ddsource":"lambda"}]"#);
    let rows: [(Fault, Option<u16>, usize); 7] = [
        (Action::Status(503).into(), Some(503), 0),
        (Action::Status(403).into(), Some(403), 0),
        (Action::RetryAfter(429, 1).into(), Some(429), 0),
        (Action::Drop.into(), None, 0),
        (Action::Reset.into(), None, 0),
        (Action::HalfAnswer.into(), None, 1),
        (Fault::slow(Duration::from_millis(1)), Some(202), 1),
    ];
    for (fault, status, logs) in rows {
        let before = intake.received().logs.len();
        intake.fault(Route::Logs, Some(1), fault.clone());
        assert_eq!(send(), status, "{fault:?}");
        assert_eq!(intake.received().logs.len() - before, logs, "{fault:?}");
        assert_eq!(send(), Some(202), "{fault:?} is over");
    }
    intake.fault(Route::Logs, None, Action::Status(500));
    assert_eq!((send(), send()), (Some(500), Some(500)));
    assert_eq!(
        post(&intake, "/api/v2/series", &[JSON], br#"{"series":[]}"#),
        Some(202),
        "another route is not concerned"
    );
    intake.heal();
    assert_eq!(send(), Some(202));
}

#[test]
fn stats_are_decoded() {
    let sketch = |durations: &[f64]| {
        let mut sketch = libdd_ddsketch::DDSketch::default();
        durations.iter().for_each(|&duration| sketch.add(duration).unwrap());
        sketch.encode_to_vec()
    };
    let group = pb::ClientGroupedStats {
        service: "shop".into(),
        resource: "résumé".into(),
        http_status_code: 404,
        hits: 4,
        errors: 1,
        duration: 1 << 40,
        ok_summary: sketch(&[0.0, 5.0, 9e9]),
        error_summary: sketch(&[7.0]),
        synthetics: true,
        top_level_hits: 2,
        peer_tags: vec!["a:b".into(), "c:d".into()],
        is_trace_root: 2,
        ..Default::default()
    };
    let bucket = pb::ClientStatsBucket { start: 10, duration: 300, stats: vec![group], agent_time_shift: -70_000 };
    let client =
        pb::ClientStatsPayload { env: "e".into(), lang: "go".into(), stats: vec![bucket], ..Default::default() };
    let payload = pb::StatsPayload { client_computed: true, stats: vec![client; 20], ..Default::default() };
    let body = rmp_serde::to_vec_named(&payload).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &body).unwrap();
    let (msgpack, encoding) = (("Content-Type", "application/msgpack"), ("Content-Encoding", "gzip"));

    let intake = Intake::start();
    assert_eq!(post(&intake, "/api/v0.2/stats", &[msgpack, encoding], &gzip.finish().unwrap()), Some(202));
    let got = intake.received().stats.remove(0);
    assert_eq!((got.client_computed, got.split, got.clients.len(), got.groups().count()), (true, false, 20, 20));
    let client = &got.clients[19];
    assert_eq!((client.about["Env"].as_str(), client.about["Lang"].as_str(), client.about.len()), ("e", "go", 2));
    let bucket = &client.buckets[0];
    assert_eq!((bucket.start, bucket.duration, bucket.shift), (10, 300, -70_000));
    let group = &bucket.groups[0];
    assert_eq!((group.key["Service"].as_str(), group.key["Resource"].as_str(), group.key.len()), ("shop", "résumé", 2));
    assert_eq!((group.hits, group.errors, group.duration, group.top_level), (4, 1, 1 << 40, 2));
    assert_eq!((group.status, group.root, group.synthetics, group.sketched), (404, 2, true, [3.0, 1.0]));
    assert_eq!(group.peer_tags, ["a:b", "c:d"]);

    for (body, problem) in [(&body[..body.len() - 1], "ends early"), (b"\x90", "a map"), (b"\x81\xa1x\x01", "no field")]
    {
        assert_eq!(post(&intake, "/api/v0.2/stats", &[msgpack], body), Some(400));
        let problems = intake.received().problems();
        assert!(problems.last().is_some_and(|last| last.contains(problem)), "{problems:?}");
    }
}
