//! Stats against Datadog's own concentrator: the same spans go to both, and every group of every bucket is compared, with
//! its sums and sketches. What they may differ in is written at `as_ours` and `as_sent`.

#[path = "traces/tracer.rs"]
#[allow(dead_code, reason = "v0.5 is not needed here")]
mod tracer;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::time::{Duration, UNIX_EPOCH};

use libdd_trace_protobuf::pb;
use libdd_trace_stats::span_concentrator::{
    CardinalityLimitConfig, SpanConcentrator, default_stats_eligible_span_kinds,
};
use libdd_trace_utils::trace_utils::compute_top_level_span;
use prost::Message as _;
use thimble::config::apm;
use thimble::lambda::Tags;
use thimble::traces::decode::{Dialect, Inline};
use thimble::traces::msgpack::Reader;
use thimble::traces::replace::Replacer;
use thimble::traces::span::{Span, Store, Text};
use thimble::traces::stats::{Concentrator, peer};
use thimble::traces::tagging::Tagging;
use thimble::traces::{Chunk, TracerHeaders, chunk, normalize};

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_800_000_000 * SECOND + 7;
const TRACES: usize = 1_500;

/// A generator of numbers that are the same each time.
struct Dice(u64);

impl Dice {
    /// Below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'a>(&mut self, values: &[&'a str]) -> &'a str {
        values[self.roll(values.len())]
    }
}

/// Tags that decide a group, and what they may be.
const META: &[(&str, &[&str])] = &[
    ("span.kind", &["client", "server", "Producer", "CONSUMER", "internal", "", "other"]),
    ("http.method", &["GET", "POST", ""]),
    ("http.request.method", &["PUT", "GET"]),
    ("http.endpoint", &["/users/{id}", ""]),
    ("http.route", &["/users", "/orders"]),
    ("_dd.svc_src", &["m", "opt.plugin", ""]),
    ("http.status_code", &["200", "404", "500", "599", "99", "600", "OK", ""]),
    ("http.response.status_code", &["200", "503", "999", "x"]),
    ("rpc.grpc.status_code", &["0", "14", "255", "256", "nothing"]),
    ("grpc.code", &["StatusCode.NOT_FOUND", "NotFound", "ok", "DEADLINE_EXCEEDED", "Unauthenticated"]),
    ("rpc.grpc.status.code", &["ABORTED", "Canceled", ""]),
    ("grpc.status.code", &["3", "DATA_LOSS"]),
    ("_dd.base_service", &["base", "other-base", ""]),
    ("peer.service", &["users-db", "cache"]),
    ("db.name", &["users", ""]),
    ("out.host", &["db.internal", "10.1.2.3", "10.1.2.3:5432", "http://10.1.2.3", "ip-10-1-2-3.ec2.internal"]),
    ("messaging.kafka.bootstrap.servers", &["10.0.0.1:9092,10.0.0.2:9092,k", "a,b,a"]),
    ("network.destination.ip", &["fe80::1", "::1", "127.0.0.1", "[2001:db8::1]:80", "169.254.169.254"]),
    ("unrelated", &["x", "y"]),
    ("component", &["aiohttp"]),
];

const METRICS: &[(&str, &[f64])] = &[
    ("_dd.measured", &[1.0, 0.0]),
    ("_dd.top_level", &[1.0, 0.0]),
    ("_dd.partial_version", &[0.0, 3.0, -1.0]),
    ("http.status_code", &[200.0, 302.0, 404.0]),
    ("http.response.status_code", &[201.0, 700.0, 20.5]),
    ("rpc.grpc.status_code", &[5.0, 5.5]),
    ("grpc.code", &[-1.0, 12.0]),
    ("grpc.status.code", &[0.0]),
    ("unrelated", &[3.0]),
];

fn span(dice: &mut Dice, parent_id: u64, span_id: u64, origin: &str) -> pb::Span {
    // Around the limits of buckets, of durations from nothing to hours.
    let duration = match dice.roll(4) {
        0 => dice.roll(3) as u64,
        1 => 1_000 * dice.roll(1_000) as u64,
        2 => 1_000_000 * dice.roll(5_000) as u64,
        _ => SECOND * dice.roll(10_000) as u64,
    };
    let end = NOW - SECOND * dice.roll(60) as u64;
    let long = "SELECT ".repeat(1_000);
    let resource = if dice.roll(100) == 0 { long.as_str() } else { dice.pick(&["GET /users", "SELECT ?", "émeu"]) };
    let mut span = pb::Span {
        service: dice.pick(&["shop", "users"]).into(),
        name: dice.pick(&["web.request", "db.query"]).into(),
        resource: resource.into(),
        r#type: dice.pick(&["web", "sql", ""]).into(),
        trace_id: 1,
        span_id,
        parent_id,
        start: (end - duration) as i64,
        duration: duration as i64,
        error: i32::from(dice.roll(4) == 0),
        ..pb::Span::default()
    };
    for (key, values) in META {
        if dice.roll(8) == 0 || (*key == "span.kind" && dice.roll(3) > 0) {
            span.meta.insert((*key).into(), dice.pick(values).into());
        }
    }
    for (key, values) in METRICS {
        if dice.roll(12) == 0 {
            span.metrics.insert((*key).into(), values[dice.roll(values.len())]);
        }
    }
    if !origin.is_empty() {
        span.meta.insert("_dd.origin".into(), origin.into());
    }
    span
}

fn trace(dice: &mut Dice) -> Vec<pb::Span> {
    let origin = dice.pick(&["", "", "synthetics", "synthetics-browser", "rum"]);
    // A function's trace goes on one that began elsewhere, or begins here.
    let parent = [0, 99][dice.roll(2)];
    let mut spans = vec![span(dice, parent, 1, origin)];
    for id in 2..2 + dice.roll(4) as u64 {
        let parent = 1 + dice.roll(id as usize - 1) as u64;
        spans.push(span(dice, parent, id, origin));
    }
    spans
}

/// Runs `count` with a trace as the trace agent sees it after normalisation.
fn with_chunk<R>(trace: &[pb::Span], count: impl FnOnce(&Chunk<'_>) -> R) -> R {
    let body = tracer::v04(&[trace.to_vec()]);
    let mut reader = Reader::new(&body, 0);
    let (mut store, mut spans) = (Store::default(), Vec::new());
    assert_eq!(reader.array().unwrap(), 1);
    for _ in 0..reader.array().unwrap() {
        let mut span = Span::default();
        assert!(Inline.span(&mut reader, &mut store, &mut span).unwrap());
        normalize::normalize(&mut span, &body, &mut store, NOW);
        spans.push(span);
    }
    let mut index = chunk::Index::default();
    let root = chunk::root(&spans, &mut index);
    let same = |a: Text, b: Text| a.of(&body, &store.pool) == b.of(&body, &store.pool);
    chunk::mark_top_level(&mut spans, &mut index, false, same);
    let origin = store.value(chunk::facts(&spans, root).origin);
    let (store, spans) = (&mut store, &mut spans[..]);
    count(&Chunk { body: &body, store, spans, root, env: "prod", priority: Some(1), origin })
}

/// A trace as Datadog's concentrator gets it, after what its agent does before.
fn as_sent(trace: &[pb::Span]) -> Vec<pb::Span> {
    let mut trace = trace.to_vec();
    compute_top_level_span(&mut trace);
    for span in &mut trace {
        // Normalisation takes out what is no status.
        let is_status = |text: &String| text.parse().is_ok_and(|status: u32| (100..600).contains(&status));
        if span.meta.get("http.status_code").is_some_and(|status| !is_status(status)) {
            span.meta.remove("http.status_code");
        }
    }
    trace
}

/// A group of Datadog's concentrator as the Go agent's would be, which ours follows where the two differ.
fn as_ours(mut group: pb::ClientGroupedStats) -> pb::ClientGroupedStats {
    // Resources are cut in the agent, before; the concentrator does it only when it obfuscates.
    group.resource.truncate(5000);
    // A peer tag without a value says nothing.
    group.peer_tags.retain(|tag| tag.contains(':'));
    group
}

/// What a group is counted by.
fn key(group: &pb::ClientGroupedStats) -> String {
    let nothing = pb::ClientGroupedStats {
        hits: 0,
        errors: 0,
        duration: 0,
        top_level_hits: 0,
        ok_summary: vec![],
        error_summary: vec![],
        ..group.clone()
    };
    format!("{nothing:?}")
}

/// Hits, errors, duration, top-level hits, and the bins of both sketches.
type Sums = ([u64; 4], [BTreeMap<i64, u64>; 2]);

/// The bins of a sketch that count anything, zero as the lowest of all.
fn bins(sketch: &[u8]) -> BTreeMap<i64, u64> {
    let sketch = libdd_ddsketch::pb::DdSketch::decode(sketch).unwrap();
    let store = sketch.positive_values.unwrap();
    let first = i64::from(store.contiguous_bin_index_offset);
    let run = (first..).zip(store.contiguous_bin_counts).chain([(i64::MIN, sketch.zero_count)]);
    run.filter(|bin| bin.1 > 0.0).map(|(bin, count)| (bin, count as u64)).collect()
}

/// All groups by bucket and key. Those of Datadog's concentrator may be one for us ([`as_ours`]), so they are added up.
fn sums(buckets: Vec<pb::ClientStatsBucket>) -> BTreeMap<(u64, String), Sums> {
    let mut all: BTreeMap<_, Sums> = BTreeMap::new();
    for bucket in buckets {
        assert_eq!((bucket.duration, bucket.agent_time_shift), (10 * SECOND, 0));
        for group in bucket.stats.into_iter().map(as_ours) {
            let (sums, sketches) = all.entry((bucket.start, key(&group))).or_default();
            for (sum, value) in sums.iter_mut().zip([group.hits, group.errors, group.duration, group.top_level_hits]) {
                *sum += value;
            }
            for (sketch, bytes) in sketches.iter_mut().zip([&group.ok_summary, &group.error_summary]) {
                bins(bytes).into_iter().for_each(|(bin, count)| *sketch.entry(bin).or_default() += count);
            }
        }
    }
    all
}

fn ours(peers: bool, kinds: bool) -> Concentrator {
    let settings =
        apm::Stats { by_span_kind: kinds, peer_tags_aggregation: peers, peer_tags: vec!["my.own".to_owned()] };
    Concentrator::new(&settings, &Tagging::new(&Tags::default(), true, &mut Replacer::new(&[]).0), 64 << 20, 0x5eed)
}

fn theirs(peers: bool, kinds: bool) -> SpanConcentrator {
    let unlimited = usize::MAX >> 1;
    let limits = CardinalityLimitConfig {
        whole_key_limit: unlimited,
        resource_limit: unlimited,
        http_endpoint_limit: unlimited,
        peer_tags_limit: unlimited,
        additional_tags_limit: unlimited,
    };
    let kinds = if kinds { default_stats_eligible_span_kinds() } else { vec![] };
    let peers = if peers { peer::KEYS.iter().map(|&key| key.to_owned()).collect() } else { vec![] };
    let now = UNIX_EPOCH + Duration::from_nanos(NOW);
    SpanConcentrator::new(Duration::from_secs(10), now, kinds, peers, Some(limits), vec![])
}

fn received(concentrator: &mut Concentrator, now: u64, force: bool) -> Vec<pb::ClientStatsBucket> {
    let mut buckets = Vec::new();
    for payload in concentrator.flush(now, force) {
        let mut body = Vec::new();
        flate2::read::GzDecoder::new(payload.body.as_slice()).read_to_end(&mut body).unwrap();
        let decoded: pb::StatsPayload = rmp_serde::from_slice(&body).unwrap();
        assert_eq!(decoded.stats.len(), 1, "one tracer");
        buckets.extend(decoded.stats.into_iter().flat_map(|stats| stats.stats));
    }
    buckets
}

#[test]
fn the_same_spans_give_the_same_stats() {
    for (peers, kinds) in [(true, true), (true, false), (false, true)] {
        let (mut ours, mut theirs) = (ours(peers, kinds), theirs(peers, kinds));
        let mut dice = Dice(1);
        let mut spans = 0;
        // Both take spans for the two newest buckets after a flush.
        let earlier = NOW + 30 * SECOND;
        let at = |now| UNIX_EPOCH + Duration::from_nanos(now);
        theirs.flush(at(NOW - 30 * SECOND), false);
        ours.flush(NOW - 30 * SECOND, false);
        for _ in 0..TRACES {
            let trace = trace(&mut dice);
            spans += trace.len();
            as_sent(&trace).iter().for_each(|span| theirs.add_span(span));
            with_chunk(&trace, |chunk| ours.add(chunk, &TracerHeaders::default(), NOW));
        }
        assert!(spans >= 2_000, "{spans}");
        let mut groups = 0;
        for (now, force) in [(NOW, false), (NOW + 10 * SECOND, false), (earlier, true)] {
            let expected = sums(theirs.flush(at(now), force).all_buckets());
            let got = sums(received(&mut ours, now, force));
            groups += got.len();
            let differing: Vec<_> = expected.iter().filter(|(key, sums)| got.get(key) != Some(sums)).take(3).collect();
            assert!(differing.is_empty(), "{now} {differing:#?}");
            assert_eq!(got.len(), expected.len());
        }
        assert!(groups > 1_000, "{groups}");
    }
}

#[test]
fn quantiles_are_as_accurate_as_promised() {
    let mut ours = ours(true, true);
    let durations: Vec<u64> = (0..2_000_u64).map(|i| 1_000 + i * i * 977).collect();
    for &duration in &durations {
        let (start, duration) = ((NOW - duration) as i64, duration as i64);
        let span = pb::Span { trace_id: 1, span_id: 1, start, duration, name: "n".into(), ..pb::Span::default() };
        with_chunk(&[span], |chunk| ours.add(chunk, &TracerHeaders::default(), NOW));
    }
    let stats = received(&mut ours, NOW, true).remove(0).stats.remove(0);
    let sketch = libdd_ddsketch::DDSketch::from_encoded(&stats.ok_summary).unwrap();
    for q in [1, 25, 50, 75, 90, 99] {
        let rank = durations.len() * q / 100;
        let mut seen = 0.0;
        let bins = sketch.ordered_bins();
        let reached = bins.iter().find(|bin| {
            seen += bin.1;
            seen > rank as f64
        });
        let value = reached.unwrap().0;
        let exact = durations[rank] as f64;
        assert!((value / exact - 1.0).abs() < 0.008, "{q}: {value} for {exact}");
    }
}

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts what this thread allocates.
struct Counting;

// SAFETY: everything is the system's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_span_whose_group_exists_allocates_nothing() {
    let mut ours = ours(true, true);
    let mut dice = Dice(2);
    for _ in 0..200 {
        let trace = trace(&mut dice);
        with_chunk(&trace, |chunk| {
            let headers = TracerHeaders::default();
            ours.add(chunk, &headers, NOW);
            let before = ALLOCATIONS.get();
            for _ in 0..3 {
                ours.add(chunk, &headers, NOW);
            }
            assert_eq!(ALLOCATIONS.get(), before);
        });
    }
}

/// Nanoseconds that this thread has run.
fn on_cpu() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    schedstat.split(' ').next().unwrap().parse().unwrap()
}

/// Nanoseconds for a span that counts, in a group that exists. Not asserted: `cargo test --release -- --ignored
/// --nocapture` prints it.
#[test]
#[ignore = "measures"]
fn cost_of_a_span() {
    let tags = ["http.method", "http.route", "http.status_code", "peer.service", "db.name", "out.host"];
    for kind in ["server", "client", "internal"] {
        let mut meta: HashMap<String, String> =
            (0..18).map(|i| (format!("some.tag.{i}"), format!("value {i}"))).collect();
        meta.extend(tags.map(|tag| (tag.to_owned(), "200".to_owned())));
        meta.insert("span.kind".into(), kind.into());
        let one = |span_id| pb::Span {
            service: "shop".into(),
            name: "web.request".into(),
            resource: "GET /users/{id}/orders".into(),
            r#type: "web".into(),
            trace_id: 1,
            span_id,
            start: (NOW - SECOND) as i64,
            duration: 1_000_000 + span_id as i64,
            meta: meta.clone(),
            metrics: HashMap::from([("_dd.measured".into(), if kind == "internal" { 0.0 } else { 1.0 })]),
            parent_id: u64::from(kind == "internal"),
            ..pb::Span::default()
        };
        let trace: Vec<_> = (1..=2_000).map(one).collect();
        with_chunk(&trace, |chunk| {
            let (mut ours, headers) = (ours(true, true), TracerHeaders::default());
            ours.add(chunk, &headers, NOW);
            let before = on_cpu();
            (0..500).for_each(|_| ours.add(chunk, &headers, NOW));
            println!("{kind}: {:.1} ns a span", (on_cpu() - before) as f64 / 1_000_000.0);
        });
    }
}
