//! Every rule of the samplers as a row, and simulations of tracers that follow the rates.

use super::*;
use crate::config::apm::{Probabilistic, Sampling};
use crate::traces::span::{Metric, Pair, Part, Text};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_700_000_000 * SECOND;

/// What a test says of a span.
#[derive(Clone, Copy)]
struct Row<'a> {
    service: &'a str,
    resource: &'a str,
    error: i32,
    top_level: bool,
    meta: &'a [(&'a str, &'a str)],
    metrics: &'a [(&'a str, f64)],
}

const PLAIN: Row<'_> = Row { service: "shop", resource: "GET /", error: 0, top_level: true, meta: &[], metrics: &[] };
const FAILED: Row<'_> = Row { error: 1, ..PLAIN };
const CHILD: Row<'_> = Row { top_level: false, ..PLAIN };

/// A trace whose first span is the root.
struct Trace {
    store: Store,
    spans: Vec<Span>,
    priority: Option<i32>,
    env: &'static str,
}

impl Trace {
    fn new(trace_id: u64, priority: Option<i32>, rows: &[Row<'_>]) -> Self {
        let mut store = Store::default();
        let mut spans = Vec::new();
        for (i, row) in (1..).zip(rows) {
            let text = |store: &mut Store, text: &str| Text::pooled(&mut store.pool, text.as_bytes());
            let (service, resource) = (text(&mut store, row.service), text(&mut store, row.resource));
            let (first_pair, first_metric) = (store.pairs.len() as u32, store.metrics.len() as u32);
            for (key, value) in row.meta {
                let pair = Pair { key: text(&mut store, key), value: text(&mut store, value) };
                store.pairs.push(pair);
            }
            for (key, value) in row.metrics {
                let metric = Metric { key: text(&mut store, key), value: *value };
                store.metrics.push(metric);
            }
            let mut span = Span {
                service,
                resource,
                name: text(&mut store, "op"),
                trace_id,
                span_id: i,
                parent_id: i - 1,
                error: row.error,
                top_level: row.top_level,
                meta: Part { first: first_pair, count: row.meta.len() as u32 },
                metrics: Part { first: first_metric, count: row.metrics.len() as u32 },
                ..Span::default()
            };
            span.known.env = store.find(&span, b"env", &[]);
            span.known.status_code = store.find(&span, b"http.status_code", &[]);
            spans.push(span);
        }
        Self { store, spans, priority, env: "prod" }
    }

    fn decide(&mut self, samplers: &mut Samplers, client_dropped: f64, now: u64) -> Verdict {
        let Self { store, spans, env, priority } = self;
        let mut chunk = Chunk { body: &[], store, spans, root: 0, env, priority: *priority, origin: None };
        let verdict = samplers.decide(&mut chunk, client_dropped, now);
        let verdict = rescue_singles(&mut chunk, verdict);
        self.priority = chunk.priority;
        verdict
    }

    fn metric(&self, span: usize, key: &str) -> Option<f64> {
        self.store.metric(&self.spans[span], key.as_bytes(), &[])
    }

    fn meta(&self, key: &str) -> Option<&str> {
        self.store.meta(&self.spans[0], key.as_bytes(), &[]).map(|value| std::str::from_utf8(value).unwrap())
    }
}

fn off() -> Sampling {
    Sampling { error_tps: Some(0.0), ..Sampling::default() }
}

fn usual() -> Sampling {
    Sampling { error_tps: Some(10.0), ..off() }
}

fn hashed(percentage: f32) -> Sampling {
    Sampling { probabilistic: Probabilistic { enabled: true, percentage, seed: 22, full_trace_id: false }, ..off() }
}

#[test]
fn priorities() {
    use Verdict::{DropByPriority, DropByUser, Error, Keep, SingleSpans};
    let single = Row { metrics: &[("_dd.span_sampling.mechanism", 8.0)], ..CHILD };
    let all = Sampling { error_sampler: true, ..off() };
    for (drops, settings, priority, rows, expected) in [
        // Where the backend decides, all goes out.
        (false, usual(), None, &[PLAIN][..], Keep),
        (false, usual(), Some(2), &[PLAIN], Keep),
        (false, usual(), Some(1), &[PLAIN], Keep),
        (false, usual(), Some(0), &[PLAIN], Keep),
        (false, usual(), Some(-1), &[PLAIN], Keep),
        // Where stats were computed, what is sampled out does not.
        (true, usual(), None, &[PLAIN], Keep),
        (true, usual(), Some(-128), &[PLAIN], Keep),
        (true, usual(), Some(2), &[PLAIN], Keep),
        (true, usual(), Some(3), &[PLAIN], Keep),
        (true, usual(), Some(1), &[PLAIN], Keep),
        (true, usual(), Some(0), &[PLAIN], DropByPriority),
        (true, usual(), Some(-1), &[PLAIN], DropByUser),
        (true, usual(), Some(-2), &[PLAIN], DropByUser),
        // An error anywhere rescues what the tracer, not what the user dropped.
        (true, usual(), Some(0), &[FAILED], Error),
        (true, usual(), Some(0), &[PLAIN, CHILD, FAILED], Error),
        (true, usual(), Some(-1), &[FAILED], DropByUser),
        (true, usual(), Some(1), &[FAILED], Keep),
        (true, off(), Some(0), &[FAILED], DropByPriority),
        (true, all.clone(), Some(0), &[FAILED], Error),
        (true, all.clone(), Some(0), &[PLAIN], DropByPriority),
        (true, all, Some(-1), &[FAILED], DropByUser),
        // Spans that a rule of the tracer chose.
        (true, usual(), Some(0), &[PLAIN, single], SingleSpans),
        (true, usual(), Some(-1), &[PLAIN, single], SingleSpans),
        (true, usual(), Some(1), &[PLAIN, single], Keep),
        (false, usual(), Some(0), &[PLAIN, single], Keep),
    ] {
        let mut trace = Trace::new(7, priority, rows);
        let verdict = trace.decide(&mut Samplers::new(&settings, drops, 1), 0.0, START);
        assert_eq!(verdict, expected, "{drops} {settings:?} {priority:?} {}", rows.len());
        let rate = (expected == Error).then_some(1.0);
        assert_eq!(trace.metric(0, "_dd.errors_sr"), rate, "{drops} {priority:?}");
        assert_eq!(trace.priority, if expected == SingleSpans { Some(2) } else { priority });
        assert_eq!(verdict.counter().is_none(), verdict == Keep);
    }
    let trace = Trace::new(7, Some(0), &[PLAIN, single]);
    let chosen: Vec<bool> = trace.spans.iter().map(|span| is_single(span, &[], &trace.store)).collect();
    assert_eq!(chosen, [false, true]);
}

#[test]
fn errors_are_kept_at_a_rate() {
    let mut samplers = Samplers::new(&usual(), true, 1);
    let mut random = 1_u64;
    let (mut kept, mut last) = (0, None);
    // 100 a second of one kind, for two minutes; the first bucket knows no rate yet.
    for i in 0..12_000_u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut trace = Trace::new(random | 1, Some(0), &[FAILED]);
        let verdict = trace.decide(&mut samplers, 0.0, START + i * SECOND / 100);
        if i >= 6_000 {
            kept += u32::from(verdict == Verdict::Error);
            last = trace.metric(0, "_dd.errors_sr").or(last);
        }
    }
    assert!((540..660).contains(&kept), "{kept} of 6000 in a minute, of which 600 are wanted");
    assert!((last.unwrap() - 0.1).abs() < 0.01, "{last:?}");
    // The successor's keeps all.
    let mut samplers = Samplers::new(&Sampling { error_sampler: true, ..usual() }, true, 1);
    for i in 0..2_000 {
        let sampled = Row { metrics: &[("_sample_rate", 0.001)], ..FAILED };
        let mut trace = Trace::new(i + 1, Some(0), &[sampled]);
        assert_eq!(trace.decide(&mut samplers, 0.0, START + i * SECOND / 1_000), Verdict::Error);
        assert_eq!(trace.metric(0, "_dd.errors_sr"), Some(1.0));
    }
}

#[test]
fn a_rate_of_errors_combines_with_what_was_sampled_before() {
    // 1 is among a thousandth of all ids, `u64::MAX / 2` is not.
    let kept = |trace_id: u64, before| {
        let row = Row { metrics: &[("_sample_rate", before)], ..FAILED };
        let mut trace = Trace::new(trace_id, Some(0), &[row]);
        trace.decide(&mut Samplers::new(&usual(), true, 1), 0.0, START) == Verdict::Error
    };
    let ids = 1..2_000_u64;
    for (before, expected) in [(0.5, 1_000), (0.1, 200), (1.0, 1_999), (7.0, 1_999), (f64::NAN, 1_999)] {
        let count = ids.clone().filter(|id| kept(*id, before)).count() as i64;
        assert!((count - expected).abs() < 50, "{before}: {count}");
    }
}

#[test]
fn kinds_of_errors() {
    let mut hashes = Vec::new();
    let mut kind = |env, rows: &[Row<'_>]| {
        let mut trace = Trace { env, ..Trace::new(7, Some(0), rows) };
        let Trace { store, spans, .. } = &mut trace;
        let chunk = Chunk { body: &[], store, spans, root: 0, env, priority: None, origin: None };
        signature::trace(&chunk, &mut hashes)
    };
    let base = kind("prod", &[FAILED, CHILD]);
    for (env, rows, same) in [
        ("prod", &[FAILED, CHILD][..], true),
        // A set: how often a span occurs does not matter, nor does the resource of one that is not the root.
        ("prod", &[FAILED, CHILD, CHILD], true),
        ("prod", &[FAILED, Row { resource: "GET /x", ..CHILD }], true),
        ("dev", &[FAILED, CHILD], false),
        ("prod", &[Row { resource: "GET /x", ..FAILED }, CHILD], false),
        ("prod", &[Row { service: "cart", ..FAILED }, CHILD], false),
        ("prod", &[FAILED, Row { service: "cart", ..CHILD }], false),
        ("prod", &[FAILED, Row { error: 1, ..CHILD }], false),
        ("prod", &[FAILED, Row { meta: &[("error.type", "KeyError")], ..CHILD }], false),
        ("prod", &[FAILED, Row { meta: &[("http.status_code", "500")], ..CHILD }], false),
    ] {
        assert_eq!(kind(env, rows) == base, same, "{env} {}", rows.len());
    }
}

#[test]
fn many_kinds_of_errors_share_a_hundred_rates() {
    let mut samplers = Samplers::new(&usual(), true, 1);
    for i in 0..5_000 {
        let resource = format!("GET /{i}");
        let mut trace = Trace::new(i + 1, Some(0), &[Row { resource: &resource, ..FAILED }]);
        trace.decide(&mut samplers, 0.0, START);
    }
    let shown = format!("{:?}", samplers.errors);
    assert_eq!(shown.matches("Seen {").count(), 200);
}

#[test]
fn rare_spans() {
    let settings = Sampling { rare_sampler: true, ..off() };
    let mut samplers = Samplers::new(&settings, true, 1);
    let other = Row { resource: "GET /x", ..PLAIN };
    let measured = Row { resource: "SELECT 1", top_level: false, metrics: &[("_dd.measured", 1.0)], ..PLAIN };
    let inner = Row { resource: "inner", ..CHILD };
    let minute = 60 * SECOND;
    for (minutes, priority, rows, expected, marked) in [
        (0, 0, &[PLAIN][..], Verdict::Rare, Some(0)),
        (0, 0, &[PLAIN], Verdict::DropByPriority, None),
        (1, 0, &[PLAIN, other], Verdict::Rare, Some(1)),
        (1, 0, &[PLAIN, measured], Verdict::Rare, Some(1)),
        (1, 0, &[PLAIN, inner], Verdict::DropByPriority, None),
        // Rescuing the trace with the other one renewed this one.
        (6, 0, &[PLAIN], Verdict::DropByPriority, None),
        (7, 0, &[PLAIN], Verdict::Rare, Some(0)),
        // What is kept anyway is not rare, and takes nothing from what is.
        (20, 1, &[other], Verdict::Keep, None),
        (21, 0, &[other], Verdict::DropByPriority, None),
        (40, -1, &[other], Verdict::DropByUser, None),
        (40, 0, &[other], Verdict::Rare, Some(0)),
        (40, 0, &[Row { error: 1, ..other }], Verdict::Rare, Some(0)),
        (40, 0, &[Row { service: "cart", ..other }], Verdict::Rare, Some(0)),
    ] {
        let mut trace = Trace::new(7, Some(priority), rows);
        let verdict = trace.decide(&mut samplers, 0.0, START + minutes * minute);
        assert_eq!(verdict, expected, "{minutes} {priority} {}", rows.len());
        let found = (0..rows.len()).find(|&i| trace.metric(i, "_dd.rare") == Some(1.0));
        assert_eq!(found, marked, "{minutes} {priority} {}", rows.len());
    }
    let mut off = Samplers::new(&off(), true, 1);
    assert_eq!(Trace::new(7, Some(0), &[PLAIN]).decide(&mut off, 0.0, START), Verdict::DropByPriority);
}

#[test]
fn rare_spans_are_limited_and_so_are_their_kinds() {
    let mut samplers = Samplers::new(&Sampling { rare_sampler: true, ..off() }, true, 1);
    let mut rescued = |count: u64, offset: u64, services: u64, now: u64| {
        (0..count)
            .filter(|i| {
                let (resource, service) = (format!("GET /{}", i + offset), format!("s{}", i % services));
                let row = Row { resource: &resource, service: &service, ..PLAIN };
                Trace::new(7, Some(0), &[row]).decide(&mut samplers, 0.0, now) == Verdict::Rare
            })
            .count()
    };
    assert_eq!(rescued(1_000, 0, 1, START), 50, "at once");
    assert_eq!(rescued(1_000, 0, 1, START + 2 * SECOND), 10, "two seconds later");
    // 10 a second for 200 seconds: half of them, until the kinds of one service are all known.
    let of_one: usize = (0..200).map(|second| rescued(10, second * 10, 1, START + (10 + second) * SECOND)).sum();
    assert!((190..=400).contains(&of_one), "{of_one}");
    let of_many: usize = (0..290).map(|second| rescued(5, second * 5, 500, START + (300 + second) * SECOND)).sum();
    assert!(of_many > 1_000, "{of_many}");
}

#[test]
fn the_memory_of_rare_kinds_is_bounded() {
    let mut samplers = Samplers::new(&Sampling { rare_sampler: true, ..off() }, true, 1);
    for i in 0..20_000 {
        let (resource, service) = (format!("GET /{i}"), format!("s{}", i % 1_000));
        let row = Row { resource: &resource, service: &service, ..PLAIN };
        Trace::new(7, Some(1), &[row]).decide(&mut samplers, 0.0, START);
    }
    let shown = |samplers: &Samplers| format!("{:?}", samplers.rare).matches("Seen {").count();
    assert_eq!(shown(&samplers), 4_096);
    // After the cooldown there is room again.
    let mut trace = Trace::new(7, Some(0), &[Row { service: "new", ..PLAIN }]);
    assert_eq!(trace.decide(&mut samplers, 0.0, START + SECOND), Verdict::DropByPriority);
    assert_eq!(trace.decide(&mut samplers, 0.0, START + 301 * SECOND), Verdict::Rare);
    assert_eq!(shown(&samplers), 1);
}

#[test]
fn the_hash_of_an_id() {
    // FNV-1a, computed apart: seed 22 and 0 over the 16 bytes of an id.
    let keeps = |seed, full_trace_id, percentage, trace_id, meta: &[(&str, &str)]| {
        let settings = Probabilistic { enabled: true, percentage, seed, full_trace_id };
        let mut trace = Trace::new(trace_id, None, &[Row { meta, ..PLAIN }]);
        let Trace { store, spans, .. } = &mut trace;
        let mut chunk = Chunk { body: &[], store, spans, root: 0, env: "", priority: None, origin: None };
        Hashed::new(&settings).unwrap().keeps(&mut chunk)
    };
    let bucket = |seed: u32, id: u128| {
        let mut hash = 2_166_136_261_u32;
        for byte in seed.to_le_bytes().into_iter().chain(id.to_be_bytes()) {
            hash ^= u32::from(byte);
            hash = hash.wrapping_mul(16_777_619);
        }
        hash & 0x3fff
    };
    let tid: &[(&str, &str)] = &[("_dd.p.tid", "68c8a5b500000000")];
    let upper = 0x68c8_a5b5_0000_0000_u128 << 64;
    let otel: &[(&str, &str)] = &[("otel.trace_id", "0123456789abcdef0123456789abcdef"), tid[0]];
    for seed in [0, 22, u32::MAX] {
        for id in [1_u64, 0x1234_5678_9abc_def0, u64::MAX] {
            let low = u128::from(id);
            for (full, meta, hashed) in [
                (false, &[][..], low << 64),
                (false, tid, low << 64),
                (false, otel, low << 64),
                (true, &[], low),
                (true, tid, upper | low),
                (true, &[("_dd.p.tid", "nonsense")], low),
                (true, &[("_dd.p.tid", "+1")], low),
                (true, &[("_dd.p.tid", "")], low),
                (true, otel, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
                (true, &[("otel.trace_id", "xyz"), tid[0]], upper | low),
            ] {
                let bucket = bucket(seed, hashed) as f32;
                // The least share of whole buckets that has it, and the greatest that has not.
                assert!(keeps(seed, full, (bucket + 1.5) / 163.84, id, meta), "{seed} {full} {id} {meta:?}");
                assert!(
                    !keeps(seed, full, (bucket + 0.5).min(16_383.0) / 163.84, id, meta),
                    "{seed} {full} {id} {meta:?}"
                );
            }
        }
    }
    for (percentage, expected) in [(0.0, false), (-5.0, false), (f32::NAN, false), (100.0, true), (250.0, true)] {
        assert!((1..500).all(|id| keeps(22, false, percentage, id, &[]) == expected), "{percentage}");
    }
}

#[test]
fn the_probabilistic_sampler_takes_the_tracers_place() {
    use Verdict::{DropByHash, DropByUser, Error, Keep, Rare, SingleSpans};
    let (none, all) = (hashed(0.0), hashed(100.0));
    let errors = Sampling { error_tps: Some(10.0), ..none.clone() };
    let rare = Sampling { rare_sampler: true, ..none.clone() };
    let single = Row { metrics: &[("_dd.span_sampling.mechanism", 8.0)], ..CHILD };
    // After the verdict the priority, and whether the root names the sampler.
    for (drops, settings, priority, rows, expected, after, named) in [
        (true, &all, None, &[PLAIN][..], Keep, Some(1), true),
        (true, &all, Some(-128), &[PLAIN], Keep, Some(1), true),
        (true, &all, Some(0), &[PLAIN], Keep, Some(1), true),
        (true, &all, Some(1), &[PLAIN], Keep, Some(1), true),
        (true, &all, Some(2), &[PLAIN], Keep, Some(2), false),
        (true, &all, Some(-1), &[PLAIN], DropByUser, Some(-1), false),
        (true, &none, None, &[PLAIN], DropByHash, Some(0), false),
        (true, &none, Some(0), &[PLAIN], DropByHash, Some(0), false),
        (true, &none, Some(1), &[PLAIN], DropByHash, Some(0), false),
        (true, &none, Some(2), &[PLAIN], Keep, Some(2), false),
        (true, &none, Some(1), &[FAILED], DropByHash, Some(0), false),
        (true, &errors, Some(1), &[FAILED], Error, Some(1), false),
        (true, &rare, Some(0), &[PLAIN], Rare, Some(1), false),
        (true, &none, Some(1), &[PLAIN, single], SingleSpans, Some(2), false),
        // Where the backend drops, the priority tells it which.
        (false, &all, Some(0), &[PLAIN], Keep, Some(1), true),
        (false, &none, Some(1), &[PLAIN], Keep, Some(0), false),
        (false, &errors, Some(1), &[FAILED], Keep, Some(1), false),
        (false, &none, Some(-1), &[PLAIN], Keep, Some(-1), false),
        (false, &none, Some(1), &[PLAIN, single], Keep, Some(0), false),
    ] {
        let mut trace = Trace::new(7, priority, rows);
        let verdict = trace.decide(&mut Samplers::new(settings, drops, 1), 0.0, START);
        let about = format!("{drops} {settings:?} {priority:?} {}", rows.len());
        assert_eq!((verdict, trace.priority), (expected, after), "{about}");
        assert_eq!(trace.metric(0, "_dd.prob_sr"), named.then_some(1.0), "{about}");
        assert_eq!(trace.meta("_dd.p.dm"), named.then_some("-9"), "{about}");
    }
    // A tracer's decision maker gives way.
    let mut trace = Trace::new(7, Some(1), &[Row { meta: &[("_dd.p.dm", "-1")], ..PLAIN }]);
    trace.decide(&mut Samplers::new(&hashed(100.0), false, 1), 0.0, START);
    assert_eq!(trace.meta("_dd.p.dm"), Some("-9"));
}

#[test]
fn services_without_a_target_are_all_kept() {
    let mut samplers = Samplers::new(&usual(), false, 0xab);
    let tell = |samplers: &mut Samplers, service, priority, meta| {
        Trace::new(7, priority, &[Row { service, meta, ..PLAIN }]).decide(samplers, 0.0, START);
        samplers.rates().clone()
    };
    let first = samplers.rates().clone();
    assert_eq!(first.body, r#"{"rate_by_service":{"service:,env:":1.0}}"#);
    assert_eq!(first.version, "ab-1");
    // Who decides by a rule or the user's word asks for no rate.
    for priority in [None, Some(-1), Some(2)] {
        assert!(Arc::ptr_eq(&first, &tell(&mut samplers, "shop", priority, &[])));
    }
    let env: &[_] = &[("env", "prod")];
    let second = tell(&mut samplers, "shop", Some(1), env);
    assert_eq!(second.body, r#"{"rate_by_service":{"service:shop,env:prod":1.0,"service:,env:":1.0}}"#);
    assert_eq!(second.version, "ab-2");
    for _ in 0..3 {
        assert!(Arc::ptr_eq(&second, &tell(&mut samplers, "shop", Some(0), env)));
    }
    // A tracer that names no environment asks without.
    let third = tell(&mut samplers, "shop", Some(1), &[]);
    let body = r#"{"rate_by_service":{"service:shop,env:prod":1.0,"service:shop,env:":1.0,"service:,env:":1.0}}"#;
    assert_eq!(third.body, body);
    assert!(Arc::ptr_eq(&third, &tell(&mut samplers, "shop", Some(1), env)));
    // Any name is a string.
    let body = tell(&mut samplers, "a\"b\\c\u{1}", Some(1), env).body.clone();
    let read: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(read["rate_by_service"]["service:a\"b\\c\u{1},env:prod"], 1.0);
}

#[test]
fn too_many_services_share_the_default() {
    for target_tps in [None, Some(10.0)] {
        let mut samplers = Samplers::new(&Sampling { target_tps, ..off() }, false, 1);
        for round in 0..2 {
            for i in 0..5_000 {
                let service = format!("service-{i}");
                let mut trace = Trace::new(7, Some(1), &[Row { service: &service, ..PLAIN }]);
                trace.decide(&mut samplers, 0.0, START + round * 5 * SECOND);
            }
        }
        let body = &samplers.rates().body;
        let count = body.matches("service:service-").count();
        assert!((300..2_000).contains(&count), "{count}");
        assert!(body.len() < 128 << 10, "{}", body.len());
        assert!(body.contains(r#""service:,env:":"#));
    }
}

#[test]
fn roots_say_the_rate_if_their_tracer_does_not() {
    let settings = Sampling { target_tps: Some(10.0), ..off() };
    let mut samplers = Samplers::new(&settings, false, 1);
    for _ in 0..100 {
        Trace::new(7, Some(1), &[PLAIN]).decide(&mut samplers, 0.0, START);
    }
    let now = START + 5 * SECOND;
    let told = |samplers: &mut Samplers, priority, metrics, parent_id| {
        let mut trace = Trace::new(7, Some(priority), &[Row { metrics, ..PLAIN }]);
        trace.spans[0].parent_id = parent_id;
        trace.decide(samplers, 0.0, now);
        trace.metric(0, "_sampling_priority_rate_v1")
    };
    for (priority, metrics, parent_id, expected) in [
        (1, &[][..], 0, Some(0.5)),
        (0, &[], 0, None),
        (2, &[], 0, None),
        (1, &[], 9, None),
        (1, &[("_dd.agent_psr", 0.2)], 0, None),
        (1, &[("_dd.rule_psr", 0.2)], 0, None),
        (1, &[("_sampling_priority_rate_v1", 0.2)], 0, Some(0.2)),
    ] {
        assert_eq!(told(&mut samplers, priority, metrics, parent_id), expected, "{priority} {metrics:?} {parent_id}");
    }
    // Without a limit there is nothing to say.
    assert_eq!(told(&mut Samplers::new(&off(), false, 1), 1, &[], 0), None);
}

#[test]
fn traces_that_were_dropped_before_count() {
    for (metrics, client_dropped, expected) in [
        (&[][..], 0.0, 1.0),
        (&[], 3.0, 4.0),
        (&[("_sample_rate", 0.5)], 0.0, 2.0),
        (&[("_dd1.sr.rapre", 0.25)], 0.0, 4.0),
        (&[("_sample_rate", 0.5), ("_dd1.sr.rapre", 0.25)], 2.0, 10.0),
        (&[("_sample_rate", 0.0)], 0.0, 1.0),
        (&[("_sample_rate", -1.0)], 0.0, 1.0),
        (&[("_sample_rate", 2.0)], 0.0, 1.0),
        (&[("_sample_rate", f64::NAN)], f64::NAN, 1.0),
        (&[], f64::INFINITY, 1.0),
        (&[], -3.0, 1.0),
        (&[("_sample_rate", 1e-300)], 1e300, 1e9),
    ] {
        let trace = Trace::new(7, None, &[Row { metrics, ..PLAIN }]);
        assert_eq!(weight(&trace.spans[0], client_dropped, &[], &trace.store), expected, "{metrics:?}");
    }
}

/// Tracers of two services that follow the rates they are told; how many traces per second they keep in the end.
fn simulate(target: f64, busy: u64, quiet: u64, seconds: u64, seed: u64) -> (f64, String) {
    let settings = Sampling { target_tps: Some(target), ..off() };
    let mut samplers = Samplers::new(&settings, true, seed);
    let (mut random, mut kept, half) = (seed | 1, 0_u64, seconds / 2);
    for second in 0..seconds {
        let told: serde_json::Value = serde_json::from_str(&samplers.rates().body).unwrap();
        for (service, count) in [("busy", busy), ("quiet", quiet)] {
            let rates = &told["rate_by_service"];
            let rate = rates[format!("service:{service},env:prod")].as_f64();
            let rate = rate.or(rates["service:,env:"].as_f64()).unwrap();
            for i in 0..count {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let is_kept = (random >> 11) as f64 / (1_u64 << 53) as f64 <= rate;
                let row = Row { service, meta: &[("env", "prod")], ..PLAIN };
                let mut trace = Trace::new(random | 1, Some(i32::from(is_kept)), &[row]);
                let verdict = trace.decide(&mut samplers, 0.0, START + second * SECOND + i * SECOND / count);
                assert_eq!(verdict.is_drop(), !is_kept);
                kept += u64::from(is_kept && second >= half);
            }
        }
    }
    (kept as f64 / (seconds - half) as f64, samplers.rates().body.clone())
}

#[test]
fn simulations_repeat() {
    assert_eq!(simulate(10.0, 40, 3, 30, 5), simulate(10.0, 40, 3, 30, 5));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn kept_traces_converge_to_the_target(target in 2_u32..40, busy in 50_u64..150, quiet in 1_u64..10, seed: u64) {
        let target = f64::from(target);
        let (kept, body) = simulate(target, busy, quiet, 60, seed);
        // A quiet service keeps all of what it has below its share; the noise is that of some hundred throws.
        prop_assert!((kept - target).abs() <= 0.15 * target + 1.0, "{kept} instead of {target}: {body}");
    }

    #[test]
    fn any_time_and_weight_gives_rates(
        steps in prop::collection::vec((0_u64..40, any::<f64>(), 0_u8..6, any::<bool>()), 1..200)
    ) {
        let settings = Sampling { target_tps: Some(5.0), rare_sampler: true, ..usual() };
        let mut samplers = Samplers::new(&settings, true, 1);
        let services = ["a", "b", "c", "d", "e", "f"];
        let mut now = START;
        for (exponent, dropped, service, back) in steps {
            now = if back { now.saturating_sub(1 << exponent) } else { now.saturating_add(1 << exponent) };
            let row = Row { service: services[usize::from(service)], error: i32::from(back), ..PLAIN };
            let mut trace = Trace::new(now | 1, Some(i32::from(!back)), &[row]);
            trace.decide(&mut samplers, dropped, now);
            let told: serde_json::Value = serde_json::from_str(&samplers.rates().body).unwrap();
            for (key, rate) in told["rate_by_service"].as_object().unwrap() {
                prop_assert!(rate.as_f64().is_some_and(|rate| (0.0..=1.0).contains(&rate)), "{key} {rate}");
            }
        }
    }
}
