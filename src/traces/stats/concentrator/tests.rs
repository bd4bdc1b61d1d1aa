//! Rows of the spec: which spans count, by what, when their bucket goes out, and what happens when there is no room.

use libdd_trace_protobuf::pb;
use serde_json::{Value, json};

use super::super::super::chunk::{self, Index};
use super::super::super::decode::{Dialect, Inline};
use super::super::super::msgpack::Reader;
use super::super::super::normalize::normalize;
use super::super::super::replace::Replacer;
use super::super::client::{Rules, Source};
use super::super::payload::tests::decoded;
use super::*;
use crate::lambda::Tags as FunctionTags;

const SECOND: u64 = 1_000_000_000;
/// A time at which a bucket starts.
const T: u64 = 1_800_000_000 * SECOND;
const ROOMY: usize = 1 << 20;

fn settings() -> apm::Stats {
    apm::Stats { by_span_kind: true, peer_tags_aggregation: true, peer_tags: vec!["my.peer".into()] }
}

fn tagging(pairs: &[(&str, &str)]) -> Tagging {
    let pairs = pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    Tagging::new(&FunctionTags { pairs, ..FunctionTags::default() }, true, &mut Replacer::new(&[]).0)
}

fn concentrator(budget: usize) -> Concentrator {
    Concentrator::new(&settings(), &tagging(&[("service", "My-Shop")]), budget, 7)
}

/// A span of a second that ended at [`T`], top level, with what is in `more` over it.
fn span(more: Value) -> Value {
    let mut span = json!({
        "service": "shop", "name": "web.request", "resource": "GET /", "type": "web",
        "trace_id": 1, "span_id": 1, "parent_id": 0, "start": T - SECOND, "duration": SECOND, "error": 0,
    });
    for (key, value) in more.as_object().unwrap() {
        span[key] = value.clone();
    }
    span
}

/// As the receiver would: decodes `spans`, looks at them, and counts them.
fn add(concentrator: &mut Concentrator, spans: &[Value], env: &str, from: &TracerHeaders, now: u64) {
    let body = rmp_serde::to_vec(spans).unwrap();
    let mut reader = Reader::new(&body, 0);
    let mut store = Store::default();
    let mut decoded = Vec::new();
    for _ in 0..reader.array().unwrap() {
        let mut span = Span::default();
        assert!(Inline.span(&mut reader, &mut store, &mut span).unwrap());
        normalize(&mut span, &body, &mut store, now);
        decoded.push(span);
    }
    let mut index = Index::default();
    let root = chunk::root(&decoded, &mut index);
    let same = |a: Text, b: Text| a.of(&body, &store.pool) == b.of(&body, &store.pool);
    chunk::mark_top_level(&mut decoded, &mut index, from.client_computed_top_level, same);
    let facts = chunk::facts(&decoded, root);
    let origin = store.value(facts.origin);
    let (store, spans) = (&mut store, &mut decoded[..]);
    concentrator.add(&Chunk { body: &body, store, spans, root, env, priority: None, origin }, from, now);
}

fn count(spans: &[Value]) -> Concentrator {
    let mut made = concentrator(ROOMY);
    add(&mut made, spans, "prod", &TracerHeaders::default(), T);
    made
}

fn sent(payloads: &[Payload]) -> Vec<pb::ClientStatsPayload> {
    payloads.iter().flat_map(|payload| decoded(payload).stats).collect()
}

fn groups(mut concentrator: Concentrator) -> Vec<pb::ClientGroupedStats> {
    let stats = sent(&concentrator.flush(T, true));
    stats.into_iter().flat_map(|stats| stats.stats).flat_map(|bucket| bucket.stats).collect()
}

#[test]
fn which_spans_count() {
    // What a span below another of its service has; whether it counts, with and without kinds.
    for (more, by_kind, without) in [
        (json!({}), false, false),
        (json!({"parent_id": 0}), true, true),
        (json!({"service": "other"}), true, true),
        (json!({"metrics": {"_dd.measured": 1}}), true, true),
        (json!({"metrics": {"_dd.measured": 0}}), false, false),
        (json!({"metrics": {"_top_level": 1}}), true, true),
        (json!({"metrics": {"_top_level": 0}}), false, false),
        (json!({"metrics": {"_dd.top_level": 1.0}}), true, true),
        (json!({"metrics": {"_dd.top_level": 0}}), false, false),
        (json!({"meta": {"span.kind": "client"}}), true, false),
        (json!({"meta": {"span.kind": "Consumer"}}), true, false),
        (json!({"meta": {"span.kind": "PRODUCER"}}), true, false),
        (json!({"meta": {"span.kind": "server"}}), true, false),
        (json!({"meta": {"span.kind": "internal"}}), false, false),
        (json!({"meta": {"span.kind": ""}}), false, false),
        (json!({"meta": {"span.kind": "client"}, "metrics": {"_dd.partial_version": 0}}), false, false),
        (json!({"parent_id": 0, "metrics": {"_dd.partial_version": 3}}), false, false),
        (json!({"parent_id": 0, "metrics": {"_dd.partial_version": -1}}), true, true),
    ] {
        let mut inner = span(json!({"span_id": 2, "parent_id": 1, "resource": "inner"}));
        for (key, value) in more.as_object().unwrap() {
            inner[key] = value.clone();
        }
        for (by_span_kind, expected) in [(true, by_kind), (false, without)] {
            let settings = apm::Stats { by_span_kind, ..settings() };
            let mut made = Concentrator::new(&settings, &tagging(&[]), ROOMY, 7);
            add(&mut made, &[span(json!({})), inner.clone()], "", &TracerHeaders::default(), T);
            assert_eq!(groups(made).iter().any(|group| group.resource == "inner"), expected, "{more} {by_span_kind}");
        }
    }
}

#[test]
fn whose_stats_are_counted() {
    for (computed, expected) in [(false, 1), (true, 0)] {
        let headers = TracerHeaders { client_computed_stats: computed, ..TracerHeaders::default() };
        let mut made = concentrator(ROOMY);
        add(&mut made, &[span(json!({}))], "", &headers, T);
        assert_eq!(made.flush(T, true).len(), expected);
    }
}

/// What a group says, apart from sums.
fn check_key(more: Value, expected: Value) {
    let mut groups = groups(count(&[span(more.clone())]));
    assert_eq!(groups.len(), 1);
    let group = pb::ClientGroupedStats { ok_summary: vec![], error_summary: vec![], ..groups.remove(0) };
    let mut all = serde_json::to_value(pb::ClientGroupedStats {
        service: "shop".into(),
        name: "web.request".into(),
        resource: "GET /".into(),
        r#type: "web".into(),
        hits: 1,
        duration: SECOND,
        top_level_hits: 1,
        is_trace_root: 1,
        ..Default::default()
    })
    .unwrap();
    for (key, value) in expected.as_object().unwrap() {
        all[key] = value.clone();
    }
    assert_eq!(serde_json::to_value(group).unwrap(), all, "{more}");
}

#[test]
fn keys() {
    let meta = |meta: Value| json!({"meta": meta});
    let long = "r".repeat(6000);
    for (more, expected) in [
        (json!({}), json!({})),
        (
            json!({"service": "a", "name": "b", "resource": "c", "type": "d"}),
            json!({"Service": "a", "Name": "b", "Resource": "c", "Type": "d"}),
        ),
        (json!({"resource": long}), json!({"Resource": long[..5000]})),
        (json!({"error": 1}), json!({"Errors": 1})),
        (json!({"parent_id": 5}), json!({"IsTraceRoot": 2})),
        (json!({"duration": 0}), json!({"Duration": 0})),
        (meta(json!({"span.kind": "Server"})), json!({"SpanKind": "Server"})),
        (meta(json!({"http.method": "GET"})), json!({"HTTPMethod": "GET"})),
        (meta(json!({"http.request.method": "PUT"})), json!({"HTTPMethod": "PUT"})),
        (meta(json!({"http.method": "", "http.request.method": "PUT"})), json!({"HTTPMethod": "PUT"})),
        (meta(json!({"http.method": "GET", "http.request.method": "PUT"})), json!({"HTTPMethod": "GET"})),
        (meta(json!({"http.endpoint": "/e"})), json!({"HTTPEndpoint": "/e"})),
        (meta(json!({"http.route": "/r"})), json!({"HTTPEndpoint": "/r"})),
        (meta(json!({"http.route": "/r", "http.endpoint": "/e"})), json!({"HTTPEndpoint": "/e"})),
        (meta(json!({"http.route": "/r", "http.endpoint": ""})), json!({"HTTPEndpoint": "/r"})),
        (meta(json!({"_dd.svc_src": "m"})), json!({"srv_src": "m"})),
        (meta(json!({"http.status_code": "404"})), json!({"HTTPStatusCode": 404})),
        (meta(json!({"http.status_code": "0404"})), json!({"HTTPStatusCode": 404})),
        (meta(json!({"http.status_code": "OK"})), json!({})),
        (meta(json!({"http.response.status_code": "503"})), json!({"HTTPStatusCode": 503})),
        (meta(json!({"http.response.status_code": "999"})), json!({})),
        (json!({"metrics": {"http.status_code": 201}}), json!({"HTTPStatusCode": 201})),
        (
            json!({"metrics": {"http.status_code": 201}, "meta": {"http.status_code": "404"}}),
            json!({"HTTPStatusCode": 201}),
        ),
        (json!({"metrics": {"http.response.status_code": 201}}), json!({"HTTPStatusCode": 201})),
        (json!({"metrics": {"http.response.status_code": 20.5}}), json!({})),
        (meta(json!({"rpc.grpc.status_code": "5"})), json!({"GRPCStatusCode": "5"})),
        (meta(json!({"grpc.code": "StatusCode.NOT_FOUND"})), json!({"GRPCStatusCode": "5"})),
        (meta(json!({"rpc.grpc.status.code": "x", "grpc.status.code": "OK"})), json!({"GRPCStatusCode": "0"})),
        (json!({"metrics": {"grpc.status.code": 13}}), json!({"GRPCStatusCode": "13"})),
        (json!({"metrics": {"grpc.code": 13}, "meta": {"grpc.status.code": "2"}}), json!({"GRPCStatusCode": "2"})),
        (json!({"metrics": {"grpc.code": 13.5, "grpc.status.code": 1}}), json!({"GRPCStatusCode": "1"})),
        (meta(json!({"_dd.origin": "synthetics-browser"})), json!({"Synthetics": true})),
        (meta(json!({"_dd.origin": "lambda"})), json!({})),
    ] {
        check_key(more, expected);
    }
}

#[test]
fn peer_tags() {
    let meta = json!({"peer.service": "db", "_dd.base_service": "base", "db.name": "orders", "my.peer": "own",
        "out.host": "10.0.0.1:5432", "http.host": "", "unrelated": "x"});
    let all = [
        "_dd.base_service:base",
        "db.name:orders",
        "my.peer:own",
        "out.host:blocked-ip-address:5432",
        "peer.service:db",
    ];
    for (kind, aggregation, expected) in [
        ("client", true, &all[..]),
        ("Producer", true, &all),
        ("consumer", true, &all),
        ("server", true, &[]),
        ("other", true, &[]),
        ("internal", true, &all[..1]),
        ("", true, &all[..1]),
        ("client", false, &[]),
        ("internal", false, &[]),
    ] {
        let mut meta = meta.clone();
        meta["span.kind"] = kind.into();
        let settings = apm::Stats { peer_tags_aggregation: aggregation, ..settings() };
        let mut made = Concentrator::new(&settings, &tagging(&[]), ROOMY, 7);
        add(&mut made, &[span(json!({"meta": meta}))], "", &TracerHeaders::default(), T);
        assert_eq!(groups(made)[0].peer_tags, expected, "{kind} {aggregation}");
    }
    // A key that is always looked for can be a peer tag too.
    let settings = apm::Stats { peer_tags: vec!["http.method".into(), "db.name".into()], ..settings() };
    let mut made = Concentrator::new(&settings, &tagging(&[]), ROOMY, 7);
    let meta = json!({"span.kind": "client", "http.method": "GET", "db.name": "x"});
    add(&mut made, &[span(json!({"meta": meta}))], "", &TracerHeaders::default(), T);
    let group = groups(made).remove(0);
    assert_eq!(
        (group.peer_tags, group.http_method),
        (vec!["http.method:GET".into(), "db.name:x".into()], "GET".into())
    );
}

#[test]
fn what_is_counted_of_a_group() {
    let inner = |error: i32, top: i32| {
        span(json!({"parent_id": 1, "span_id": 2, "error": error, "duration": 2 * SECOND,
            "metrics": {"_dd.measured": 1, "_dd.top_level": top}}))
    };
    let headers = TracerHeaders::default();
    for (rate, expected) in [
        (json!({}), (4, 2, 8 * SECOND, 1)),
        (json!({"_sample_rate": 0.5}), (8, 4, 16 * SECOND, 2)),
        (json!({"_sample_rate": 0.0}), (4, 2, 8 * SECOND, 1)),
        (json!({"_sample_rate": 1.5}), (4, 2, 8 * SECOND, 1)),
    ] {
        let mut made = concentrator(ROOMY);
        let root = span(json!({"resource": "root", "metrics": rate}));
        add(&mut made, &[root, inner(0, 0), inner(1, 1), inner(1, 0), inner(0, 0)], "", &headers, T);
        let groups = groups(made);
        let group = groups.iter().find(|group| group.resource != "root").unwrap();
        assert_eq!((group.hits, group.errors, group.duration, group.top_level_hits), expected);
        assert_eq!(
            (group.ok_summary.len(), group.ok_summary == group.error_summary),
            (group.error_summary.len(), true)
        );
    }
    // Fractions are rounded by chance: many of them add up.
    let mut hits = 0;
    for _ in 0..20 {
        let mut made = concentrator(ROOMY);
        for i in 0..50 {
            let resource = i.to_string();
            let root = span(json!({"resource": resource, "metrics": {"_sample_rate": 0.4}}));
            add(&mut made, &[root], "", &headers, T);
        }
        hits += groups(made).iter().map(|group| group.hits).sum::<u64>();
    }
    assert!((2_300..2_700).contains(&hits), "{hits}");
}

#[test]
fn buckets_and_when_they_go_out() {
    let ended = |end: u64| span(json!({"start": end - SECOND}));
    let starts = |payloads: &[Payload]| -> Vec<(u64, u64)> {
        let buckets = sent(payloads).into_iter().flat_map(|stats| stats.stats);
        buckets.map(|bucket| (bucket.start, bucket.stats.iter().map(|group| group.hits).sum())).collect()
    };
    let headers = TracerHeaders::default();
    let mut made = concentrator(ROOMY);
    let now = T + 25 * SECOND;
    for end in [T - 40 * SECOND, T + 5 * SECOND, T + 12 * SECOND, T + 20 * SECOND, T + 24 * SECOND, T + 90 * SECOND] {
        add(&mut made, &[ended(end)], "", &headers, now);
    }
    // The present bucket and the one before are open; what is older than these was put into the older.
    assert_eq!(starts(&made.flush(now, false)), []);
    assert_eq!(starts(&made.flush(T + 29 * SECOND, false)), []);
    assert_eq!(starts(&made.flush(T + 30 * SECOND, false)), [(T + 10 * SECOND, 3)]);
    // What comes late for a bucket that is gone.
    add(&mut made, &[ended(T + 12 * SECOND)], "", &headers, T + 31 * SECOND);
    assert_eq!(starts(&made.flush(T + 31 * SECOND, true)), [(T + 20 * SECOND, 4)]);
    assert_eq!(starts(&made.flush(T + 31 * SECOND, true)), []);
    // After a forced flush only the present bucket takes spans.
    add(&mut made, &[ended(T + 12 * SECOND)], "", &headers, T + 32 * SECOND);
    assert_eq!(starts(&made.flush(T + 32 * SECOND, true)), [(T + 30 * SECOND, 1)]);
    assert_eq!(made.used, 0);
}

#[test]
fn one_payload_for_each_process() {
    let python = TracerHeaders { lang: "python".into(), tracer_version: "2".into(), ..TracerHeaders::default() };
    let node = TracerHeaders { lang: "nodejs".into(), container_id: "c".into(), ..TracerHeaders::default() };
    let with = |meta: Value, end| span(json!({"meta": meta, "start": end - SECOND}));
    let mut made = concentrator(ROOMY);
    let id = |id: &str| json!({"runtime-id": id, "version": "7"});
    add(&mut made, &[with(id("a"), T)], "prod", &python, T);
    add(&mut made, &[with(id("b"), T)], "prod", &python, T);
    add(&mut made, &[with(json!({}), T)], "", &node, T);
    // Again the first, a bucket later; the id is on another span than the root.
    let inner = span(json!({"span_id": 2, "parent_id": 1, "meta": id("a")}));
    add(&mut made, &[with(json!({}), T + 10 * SECOND), inner], "prod", &python, T + 10 * SECOND);
    let mut got = sent(&made.flush(T, true));
    got.sort_by(|a, b| (&a.env, &a.runtime_id).cmp(&(&b.env, &b.runtime_id)));
    let facts: Vec<_> = got
        .iter()
        .map(|s| [&s.env, &s.version, &s.lang, &s.tracer_version, &s.runtime_id, &s.container_id].map(String::as_str))
        .collect();
    assert_eq!(
        facts,
        [
            ["prod", "7", "python", "2", "a", ""],
            ["prod", "7", "python", "2", "b", ""],
            ["unknown-env", "", "nodejs", "", "", "c"],
        ]
    );
    assert_eq!(got.iter().map(|stats| stats.stats.len()).collect::<Vec<_>>(), [2, 1, 1]);
    assert!(got.iter().all(|s| s.service == "my-shop" && s.hostname.is_empty() && s.sequence == 0));

    // The function's own version and environment go before those of spans.
    made.rename(&tagging(&[("env", "Stage"), ("version", "9")]));
    assert_eq!(made.env(), "stage");
    add(&mut made, &[with(id("a"), T + 10 * SECOND)], "", &python, T + 10 * SECOND);
    let got = sent(&made.flush(T, true)).remove(0);
    assert_eq!((got.env.as_str(), got.version.as_str(), got.service.as_str()), ("stage", "9", ""));
}

#[test]
fn nothing_is_lost_when_there_is_no_room() {
    const SPANS: u64 = 5000;
    let collapsed = counters::get(Counter::StatsCollapsed);
    for budget in [0, 2_000, 100_000] {
        let mut made = concentrator(budget);
        for i in 0..SPANS {
            let duration = 1_000 + i * i * 1_000;
            let resource = format!("GET /{i}");
            let meta = json!({"span.kind": "client", "http.route": resource, "db.name": i.to_string(),
                "runtime-id": (i / 100).to_string()});
            let (service, start) = (format!("s{}", i % 40), T - duration);
            let one =
                json!({"service": service, "resource": resource, "duration": duration, "start": start, "meta": meta});
            add(&mut made, &[span(one)], "prod", &TracerHeaders::default(), T);
        }
        assert!(made.used <= budget + budget / 8 + 40_000, "{} of {budget}", made.used);
        let stats = sent(&made.flush(T, true));
        let all: Vec<_> = stats.iter().flat_map(|s| &s.stats).flat_map(|b| &b.stats).collect();
        assert_eq!(all.iter().map(|group| group.hits).sum::<u64>(), SPANS);
        assert_eq!(
            all.iter().map(|group| group.duration).sum::<u64>(),
            (0..SPANS).map(|i| 1_000 + i * i * 1_000).sum::<u64>()
        );
        let coarse = all.iter().filter(|group| group.resource == "tracer_blocked_value");
        assert!(coarse.clone().all(|group| group.peer_tags.is_empty() && group.http_endpoint == group.resource));
        assert!(coarse.count() > 0);
        assert!(budget < 100_000 || all.iter().any(|group| group.resource == "GET /1"), "first come, first served");
    }
    assert!(counters::get(Counter::StatsCollapsed) > collapsed);
}

/// Rules that change nothing.
struct NoRules;

impl Rules for NoRules {
    fn allows(&mut self, _: &[u8]) -> bool {
        true
    }

    fn obfuscate(&mut self, _: &[u8], _: &[u8], _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn resource(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn status(&mut self, status: u32) -> u32 {
        status
    }
}

#[test]
fn stats_of_tracers_go_out_with_the_next_flush() {
    let bucket = pb::ClientStatsBucket { stats: vec![Default::default(); 3], start: T, ..Default::default() };
    let body = pb::ClientStatsPayload { runtime_id: "id".into(), stats: vec![bucket], ..Default::default() };
    let body = rmp_serde::to_vec_named(&body).unwrap();
    let read = || {
        let headers = &TracerHeaders::default();
        ClientStats::read(&body, &mut Source { headers, env: "", now: T, rules: &mut NoRules }).unwrap()
    };
    let mut made = concentrator(ROOMY);
    add(&mut made, &[span(json!({}))], "prod", &TracerHeaders::default(), T);
    assert!(made.hold(read()));
    let payloads = made.flush(T, false);
    assert_eq!(payloads.len(), 1);
    assert_eq!(sent(&payloads)[0].runtime_id, "id", "the concentrator's own bucket is still open");
    assert!(made.hold(read()));
    assert_eq!(sent(&made.flush(T, true)).len(), 2);

    let dropped = counters::get(Counter::StatsOverflow);
    let mut small = concentrator(read().heap());
    assert!(small.hold(read()) && !small.hold(read()));
    assert_eq!(counters::get(Counter::StatsOverflow), dropped + 3);
}
