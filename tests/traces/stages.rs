//! The stages together, by the settings of users: what each decides, in which order, and what must not get out.

use std::ffi::OsString;
use std::io::Read;

use proptest::prelude::*;

use super::*;

/// A process with its stages, over several requests.
struct Process {
    stages: Stages,
    tagging: thimble::traces::tagging::Tagging,
    pipeline: Pipeline,
}

impl Process {
    /// One with these settings and the function's tags.
    fn new(settings: &[(&str, &str)], function: &[(&str, &str)]) -> Self {
        let env: Vec<_> = settings.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))).collect();
        let (config, complaints) = Config::load(&env, None);
        assert_eq!(complaints.len(), 0, "{settings:?}");
        let tags = Tags { function_name: "f".into(), ..tags(function) };
        let (stages, tagging) = Stages::new(&config, &tags, 7);
        Self { stages, tagging, pipeline: Pipeline::default() }
    }

    /// The bytes of the pieces that a request becomes.
    fn bytes(&mut self, body: &[u8], headers: &TracerHeaders) -> Vec<Vec<u8>> {
        let (mut tally, mut pieces) = (Tally::default(), Vec::new());
        let Self { stages, tagging, pipeline } = self;
        let full = &mut |piece: thimble::traces::pipeline::Piece<'_>| pieces.push(piece.bytes.to_vec());
        let request = Request { headers, tagging, stages, now: NOW as u64, full };
        assert_eq!(pipeline.run(body, Format::V04, request, &mut tally), Ok(()));
        pieces.extend(pipeline.piece().map(|piece| piece.bytes.to_vec()));
        pieces
    }

    fn chunks(&mut self, body: &[u8], headers: &TracerHeaders) -> Vec<pb::TraceChunk> {
        let pieces = self.bytes(body, headers);
        let payloads =
            pieces.iter().flat_map(|bytes| pb::AgentPayload::decode(bytes.as_slice()).unwrap().tracer_payloads);
        payloads.flat_map(|payload| payload.chunks).collect()
    }

    /// The ids of the spans that go out of these traces, and their chunks' priorities.
    fn sent(&mut self, traces: &[Vec<pb::Span>]) -> (Vec<u64>, Vec<i32>) {
        let chunks = self.chunks(&v04(traces), &TracerHeaders::default());
        let ids = chunks.iter().flat_map(|chunk| &chunk.spans).map(|span| span.span_id).collect();
        (ids, chunks.iter().map(|chunk| chunk.priority).collect())
    }

    /// The groups of stats so far.
    fn stats(&mut self) -> Vec<pb::ClientGroupedStats> {
        let decode = |payload: &thimble::forwarder::Payload| {
            let mut body = Vec::new();
            flate2::read::GzDecoder::new(payload.body.as_slice()).read_to_end(&mut body).unwrap();
            rmp_serde::from_slice::<pb::StatsPayload>(&body).unwrap()
        };
        let payloads = self.stages.stats(NOW as u64, true);
        let tracers = payloads.iter().flat_map(|payload| decode(payload).stats);
        tracers.flat_map(|tracer| tracer.stats).flat_map(|bucket| bucket.stats).collect()
    }
}

/// A trace of one span with these entries of `meta`, in this order.
fn ordered(kind: &str, resource: &str, meta: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = vec![0x91, 0x91];
    mp::write_map_len(&mut out, 7).unwrap();
    for (key, value) in [("service", "svc"), ("name", "op"), ("resource", resource), ("type", kind)] {
        text(&mut out, key);
        text(&mut out, value);
    }
    for key in ["trace_id", "span_id"] {
        text(&mut out, key);
        mp::write_uint(&mut out, 9).unwrap();
    }
    text(&mut out, "meta");
    mp::write_map_len(&mut out, meta.len() as u32).unwrap();
    for entry in meta {
        for bytes in [entry.0, entry.1] {
            mp::write_str_len(&mut out, bytes.len() as u32).unwrap();
            out.extend_from_slice(bytes);
        }
    }
    out
}

fn priority(span: pb::Span, priority: f64) -> pb::Span {
    with_metric(span, "_sampling_priority_v1", priority)
}

const SINGLE: &str = "_dd.span_sampling.mechanism";
const COMPUTES: (&str, &str) = ("DD_LAMBDA_EXTENSION_COMPUTE_STATS", "true");

#[test]
fn filters_see_what_the_tracer_sent() {
    let function = [("service", "shop"), ("functionname", "f"), ("env", "prod")];
    let mut root = with_meta(plain(9, 1, 0), &[("team", "x"), ("functionname", "mine")]);
    root.service = "aws.lambda".into();
    for (setting, value, kept) in [
        ("REJECT", "service:aws.lambda", false),
        ("REJECT", "service:shop", true),
        ("REQUIRE", "service:shop", false),
        ("REQUIRE", "service:aws.lambda", true),
        ("REJECT", "functionname:f", true),
        ("REJECT", "functionname:mine", false),
        ("REQUIRE", "env", false),
        ("REJECT", "origin:lambda", true),
        ("REGEX_REJECT", "team:^x$", false),
        ("REGEX_REQUIRE", "team:y", false),
    ] {
        let mut process = Process::new(&[(&["DD_APM_FILTER_TAGS_", setting].concat(), value)], &function);
        let sent = process.chunks(&v04(&[vec![root.clone(), plain(9, 2, 1)]]), &quiet());
        assert_eq!(sent.len(), usize::from(kept), "{setting} {value}");
        for chunk in sent {
            assert_eq!(chunk.spans[0].service, "shop");
            assert_eq!(chunk.spans[0].meta["functionname"], "f");
        }
    }
    // What the rules make of a tag is not what filters see, but what goes out.
    let rules = r#"[{"name":"team","pattern":"x","repl":"y"}]"#;
    let settings = [("DD_APM_REPLACE_TAGS", rules), ("DD_APM_FILTER_TAGS_REJECT", "team:y")];
    let sent = Process::new(&settings, &[]).chunks(&v04(&[vec![root]]), &quiet());
    assert_eq!(sent[0].spans[0].meta["team"], "y");
}

#[test]
fn plumbing_goes_before_the_root_is_chosen() {
    let dns = |id, parent| pb::Span { name: "dns.lookup".into(), ..with_meta(plain(9, id, parent), &[("drop", "1")]) };
    let mut process = Process::new(&[("DD_APM_FILTER_TAGS_REJECT", "drop"), COMPUTES], &[]);
    let rest = priority(plain(9, 2, 1), 2.0);
    assert_eq!(process.sent(&[vec![rest, dns(1, 0)]]), (vec![2], vec![2]));
    assert_eq!(process.stats().iter().map(|group| group.hits).collect::<Vec<_>>(), [1]);
    // Nothing is left: nothing is sent, and nothing counted.
    let mut process = Process::new(&[COMPUTES], &[]);
    assert!(process.bytes(&v04(&[vec![dns(1, 0), dns(2, 1)]]), &TracerHeaders::default()).is_empty());
    assert!(process.stats().is_empty());
}

/// Of a tag that occurs twice the intake takes the last, but the bytes of both would be sent.
#[test]
fn nothing_hidden_is_in_the_bytes_that_go_out() {
    let rules = r#"[{"name":"*","pattern":"SECRET","repl":"?"},{"name":"http.useragent","pattern":".*","repl":"?"}]"#;
    let plain = [("DD_APM_OBFUSCATION_REMOVE_STACK_TRACES", "true")];
    for (settings, kind, tag, value, secret) in [
        (&plain[..], "web", "http.url", "http://SECRET:pw@a.com/", "SECRET"),
        (&plain, "http", "http.url", "http://u:SECRET@a.com/", "SECRET"),
        (&plain, "sql", "sql.query", "SELECT 'SECRET'", "SECRET"),
        (&plain, "sql", "db.statement", "SELECT 'SECRET'", "SECRET"),
        (&plain, "cassandra", "db.query.text", "SELECT 'SECRET'", "SECRET"),
        (&plain, "redis", "redis.raw_command", "SET k SECRET", "SECRET"),
        (&plain, "valkey", "valkey.raw_command", "SET k SECRET", "SECRET"),
        (&plain, "memcached", "memcached.command", "set k 0 0 6\r\nSECRET", "SECRET"),
        (&plain, "mongodb", "mongodb.query", r#"{"a":"SECRET"}"#, "SECRET"),
        (&plain, "elasticsearch", "elasticsearch.body", r#"{"a":"SECRET"}"#, "SECRET"),
        (&plain, "opensearch", "opensearch.body", r#"{"a":"SECRET"}"#, "SECRET"),
        (&plain, "", "card", "4111111111111111", "4111111111111111"),
        (&plain, "", "error.stack", "SECRET", "SECRET"),
        (&plain, "", "exception.stacktrace", "SECRET", "SECRET"),
        (&[("DD_APM_REPLACE_TAGS", rules)], "", "any", "a SECRET", "SECRET"),
        (&[("DD_APM_REPLACE_TAGS", rules)], "", "http.useragent", "mine", "mine"),
    ] {
        let resource = if matches!(kind, "sql" | "cassandra" | "redis" | "valkey") { value } else { "GET /" };
        let (tag, value) = (tag.as_bytes(), value.as_bytes());
        let mut broken = value.to_vec();
        broken.push(0xff);
        for meta in [
            &[(tag, value)][..],
            &[(tag, value), (b"a", b"b"), (tag, value)],
            &[(tag, value), (tag, b""), (tag, value), (tag, b"last")],
            &[(tag, &broken), (tag, value)],
        ] {
            let mut process = Process::new(settings, &[]);
            let pieces = process.bytes(&ordered(kind, resource, meta), &quiet());
            let found = pieces[0].windows(secret.len()).any(|window| window == secret.as_bytes());
            // A number with something else in it is no number of a card.
            let is_no_card = tag == b"card" && meta.iter().any(|(_, value)| *value == broken);
            assert_eq!(found, is_no_card, "{}", String::from_utf8_lossy(&pieces[0]));
            assert!(pb::AgentPayload::decode(pieces[0].as_slice()).is_ok());
        }
    }
}

#[test]
fn tags_of_the_function_are_replaced_once_and_not_searched_for_cards() {
    let rules = r#"[{"name":"*","pattern":"a","repl":"aa"},{"name":"env","pattern":"^p","repl":"q"}]"#;
    let function = [("env", "prod"), ("team", "a"), ("order", "4111111111111111")];
    let mut process = Process::new(&[("DD_APM_REPLACE_TAGS", rules)], &function);
    for id in 1..3 {
        let span = with_meta(plain(id, id, 0), &[("own", "a"), ("order", "4111111111111112"), ("team", "b")]);
        let meta = &process.chunks(&v04(&[vec![span]]), &quiet())[0].spans[0].meta;
        let get = |key: &str| meta[key].as_str();
        assert_eq!([get("own"), get("team"), get("env"), get("order")], ["aa", "aa", "qrod", "4111111111111111"]);
    }
}

#[test]
fn causes_of_an_invocation_name_its_service() {
    let inferred =
        |pairs: &[(&str, &str)]| with_meta(with_meta(plain(9, 1, 0), &[("_inferred_span.tag_source", "self")]), pairs);
    for (settings, span, expected) in [
        (&[("DD_SERVICE", "Shop")][..], inferred(&[]), Some("Shop")),
        (&[("DD_SERVICE", "Shop")], inferred(&[("_dd.base_service", "own")]), Some("own")),
        (&[], inferred(&[]), Some("f")),
        (&[("DD_SERVICE", "Shop")], plain(9, 1, 0), None),
    ] {
        let chunks = Process::new(settings, &[("service", "shop")]).chunks(&v04(&[vec![span]]), &quiet());
        assert_eq!(chunks[0].spans[0].meta.get("_dd.base_service").map(String::as_str), expected);
    }
}

#[test]
fn stats_are_counted_by_one_party() {
    for (here, by_tracer, asked, counted) in
        [(false, false, Some("1"), 0), (false, true, None, 0), (true, false, None, 1), (true, true, None, 0)]
    {
        let settings = [("DD_LAMBDA_EXTENSION_COMPUTE_STATS", if here { "true" } else { "false" })];
        let mut process = Process::new(&settings, &[]);
        let headers = TracerHeaders { client_computed_stats: by_tracer, ..TracerHeaders::default() };
        // Whatever the tracer asks the backend for.
        for (id, claim) in [(1, None), (2, Some("1")), (3, Some("0"))] {
            let claim: Vec<_> = claim.map(|claim| ("_dd.compute_stats", claim)).into_iter().collect();
            let chunks = process.chunks(&v04(&[vec![with_meta(plain(9, id, 0), &claim)]]), &headers);
            let said = chunks[0].spans[0].meta.get("_dd.compute_stats").map(String::as_str);
            assert_eq!(said, asked, "here: {here}, by the tracer: {by_tracer}, {claim:?}");
        }
        assert_eq!(process.stats().iter().map(|group| group.hits).sum::<u64>(), 3 * counted);
    }
}

#[test]
fn what_is_sampled_out_is_counted_before() {
    let single = |span| with_metric(span, SINGLE, 8.0);
    for (priorities, extra, expected) in [
        // By priority: kept ids and the priorities of their chunks.
        (&[None][..], false, (&[1, 2][..], &[-128][..])),
        (&[Some(-128.0)], false, (&[1, 2], &[-128])),
        (&[Some(2.0)], false, (&[1, 2], &[2])),
        (&[Some(0.0)], false, (&[], &[])),
        (&[Some(-1.0)], false, (&[], &[])),
        (&[Some(0.0)], true, (&[2], &[2])),
        (&[Some(-1.0)], true, (&[2], &[2])),
    ] {
        for &p in priorities {
            let mut process = Process::new(&[COMPUTES], &[]);
            let root = p.map_or(plain(9, 1, 0), |p| priority(plain(9, 1, 0), p));
            let child = with_metric(plain(9, 2, 1), "_dd.measured", 1.0);
            let child = if extra { single(child) } else { child };
            let sent = process.sent(&[vec![root, child]]);
            assert_eq!((&sent.0[..], &sent.1[..]), expected, "{p:?} {extra}");
            assert_eq!(process.stats().iter().map(|group| group.hits).sum::<u64>(), 2);
        }
    }
    // Where the backend counts it gets all.
    for p in [0.0, -1.0] {
        let sent = Process::new(&[], &[]).sent(&[vec![priority(plain(9, 1, 0), p), plain(9, 2, 1)]]);
        assert_eq!(sent, (vec![1, 2], vec![p as i32]));
    }
}

/// A trace of three windows: its spans, but for those that `change` makes otherwise.
fn long(change: impl Fn(u64, pb::Span) -> pb::Span) -> Vec<Vec<pb::Span>> {
    vec![(1..=40_000).map(|id| change(id, plain(9, id, id - 1))).collect()]
}

#[test]
fn the_first_window_decides_for_the_later_ones() {
    let on_root = |p: f64| move |id, span| if id == 1 { priority(span, p) } else { span };
    // Later spans say otherwise: nobody asks them.
    let mixed = long(|id, span| match id {
        1 => priority(span, 1.0),
        20_000 | 40_000 => with_meta(priority(span, -1.0), &[("drop", "1"), ("_dd.origin", "rum")]),
        _ => span,
    });
    for settings in [&[][..], &[COMPUTES], &[COMPUTES, ("DD_APM_FILTER_TAGS_REJECT", "drop")]] {
        let (ids, priorities) = Process::new(settings, &[]).sent(&mixed);
        assert_eq!(ids.len(), 40_000);
        assert!(priorities.len() >= 3 && priorities.iter().all(|&p| p == 1), "{priorities:?}");
    }
    // A filter drops all of it.
    let marked = long(|id, span| if id == 1 { with_meta(span, &[("drop", "1")]) } else { span });
    assert_eq!(Process::new(&[("DD_APM_FILTER_TAGS_REJECT", "drop")], &[]).sent(&marked), (vec![], vec![]));
    // So does the sampler, after each span was counted once.
    let measured = |id, span| with_metric(on_root(0.0)(id, span), "_dd.measured", 1.0);
    let mut process = Process::new(&[COMPUTES], &[]);
    assert_eq!(process.sent(&long(measured)), (vec![], vec![]));
    assert_eq!(process.stats().iter().map(|group| group.hits).sum::<u64>(), 40_000);
    // But what the tracer chose stays, wherever it is.
    let chosen = [3, 20_000, 40_000];
    let single = |id, span| {
        if chosen.contains(&id) { with_metric(on_root(0.0)(id, span), SINGLE, 8.0) } else { on_root(0.0)(id, span) }
    };
    assert_eq!(Process::new(&[COMPUTES], &[]).sent(&long(single)), (chosen.to_vec(), vec![2; 3]));
    let late = |id, span| if id == 40_000 { with_metric(span, SINGLE, 8.0) } else { on_root(-1.0)(id, span) };
    assert_eq!(Process::new(&[COMPUTES], &[]).sent(&long(late)), (vec![40_000], vec![2]));
    // The probabilistic sampler makes one priority for all.
    let sampler =
        [("DD_APM_PROBABILISTIC_SAMPLER_ENABLED", "true"), ("DD_APM_PROBABILISTIC_SAMPLER_SAMPLING_PERCENTAGE", "100")];
    let (ids, priorities) =
        Process::new(&sampler, &[]).sent(&long(|id, span| if id > 30_000 { priority(span, 0.0) } else { span }));
    assert!(ids.len() == 40_000 && priorities.iter().all(|&p| p == 1), "{priorities:?}");
}

/// The upper half of a trace's id stands on one of its spans, for all. Whatever is cut or dropped, the first that goes out
/// says it, and only that.
#[test]
fn no_part_of_a_trace_loses_half_of_its_id() {
    const ID: &str = "67a0000000000042";
    let with_id = |span| with_meta(span, &[("_dd.p.tid", ID)]);
    let check = |settings: &[(&str, &str)], traces: &[Vec<pb::Span>], least: usize| {
        let chunks = Process::new(settings, &[]).chunks(&v04(traces), &TracerHeaders::default());
        assert!(chunks.len() >= least, "{} chunks", chunks.len());
        for chunk in chunks {
            let bearers = chunk.spans.iter().map(|span| span.meta.get("_dd.p.tid").map(String::as_str));
            let mut expected = vec![None; chunk.spans.len()];
            if chunk.spans[0].trace_id == 9 {
                expected[0] = Some(ID);
            }
            assert_eq!(bearers.collect::<Vec<_>>(), expected);
        }
    };
    let other = || vec![plain(5, 1, 0)];
    // Nothing is cut.
    check(&[], &[vec![with_id(plain(9, 1, 0)), plain(9, 2, 1)], other()], 2);
    // Windows.
    check(&[], &[long(|id, span| if id == 1 { with_id(span) } else { span }).remove(0), other()], 4);
    // Pieces.
    let pad = "y".repeat(2_000);
    let padded = |id| with_meta(plain(9, id, id - 1), &[("pad", &pad)]);
    let trace: Vec<_> = (1..=1_500).map(|id| if id == 1 { with_id(padded(id)) } else { padded(id) }).collect();
    check(&[], &[trace, other()], 4);
    // The bearer is plumbing, too long, or not chosen.
    let placeholder = pb::Span { resource: "dd-tracer-serverless-span".into(), ..with_id(plain(9, 1, 0)) };
    check(&[], &[vec![placeholder, plain(9, 2, 1), plain(9, 3, 1)], other()], 2);
    let huge = pb::Span { resource: "z".repeat(8_100_000), ..with_id(plain(9, 1, 0)) };
    let huge = with_meta(huge, &[("pad", &"z".repeat(8_100_000))]);
    check(&[], &[vec![huge, plain(9, 2, 1), plain(9, 3, 1)], other()], 2);
    let root = priority(with_id(plain(9, 1, 0)), 0.0);
    let single = |id| with_metric(plain(9, id, 1), SINGLE, 8.0);
    check(&[COMPUTES], &[vec![root, plain(9, 2, 1), single(3), single(4)], other()], 2);
    let chosen = with_metric(priority(with_id(plain(9, 1, 0)), 0.0), SINGLE, 8.0);
    check(&[COMPUTES], &[vec![chosen, single(4)], other()], 2);
    // It came before.
    let mut process = Process::new(&[], &[]);
    process.sent(&[vec![with_id(plain(9, 1, 0))]]);
    let chunks = process.chunks(&v04(&[vec![with_id(plain(9, 1, 0)), plain(9, 2, 1)]]), &TracerHeaders::default());
    assert_eq!((chunks[0].spans.len(), chunks[0].spans[0].meta["_dd.p.tid"].as_str()), (1, ID));
    // What is no half of an id is not repeated.
    let wrong = |id, span| if id == 1 { with_meta(span, &[("_dd.p.tid", "7")]) } else { span };
    let chunks = Process::new(&[], &[]).chunks(&v04(&long(wrong)), &TracerHeaders::default());
    assert!(chunks[1..].iter().all(|chunk| !chunk.spans[0].meta.contains_key("_dd.p.tid")));
}

#[test]
fn resources_are_cut_between_characters() {
    for (resource, length) in [("x".repeat(5_000), 5_000), ("x".repeat(5_001), 5_000), ("x".repeat(4_999) + "é", 4_999)]
    {
        let chunks = Process::new(&[], &[]).chunks(&ordered("web", &resource, &[]), &quiet());
        assert_eq!(chunks[0].spans[0].resource, resource[..length]);
    }
}

#[test]
fn a_weight_that_is_none_spoils_no_sums() {
    for (rate, hits) in [(0.5, 2), (f64::NAN, 1), (f64::INFINITY, 1), (-1.0, 1), (0.0, 1), (5e-324, 1_000_000_000)] {
        let mut process = Process::new(&[COMPUTES], &[]);
        let root = pb::Span { duration: 0, ..with_metric(plain(9, 1, 0), "_sample_rate", rate) };
        process.sent(&[vec![root]]);
        let groups = process.stats();
        assert_eq!((groups[0].hits, groups[0].duration), (hits, 0), "{rate}");
    }
}

#[test]
fn times_of_all_kinds() {
    for (start, duration) in [
        (i64::MAX, i64::MAX),
        (i64::MAX, 0),
        (i64::MAX, 1),
        (0, i64::MAX),
        (i64::MIN, i64::MIN),
        (NOW, -1),
        (NOW, i64::MAX),
        (NOW + 400_000_000_000_000_000, 5),
        (-1, 0),
    ] {
        let mut process = Process::new(&[COMPUTES], &[]);
        let span = pb::Span { start, duration, ..plain(9, 1, 0) };
        assert_eq!(process.sent(&[vec![span]]).0, [1]);
        assert_eq!(process.stats().iter().map(|group| group.hits).collect::<Vec<_>>(), [1], "{start} {duration}");
    }
}

/// Keys and types that a stage looks for.
fn noticed() -> impl Strategy<Value = String> {
    const KEYS: [&str; 20] = [
        "http.url",
        "sql.query",
        "db.statement",
        "db.type",
        "db.system",
        "redis.raw_command",
        "mongodb.query",
        "elasticsearch.body",
        "memcached.command",
        "error.stack",
        "env",
        "version",
        "span.kind",
        "_dd.origin",
        "http.status_code",
        "_dd.base_service",
        "_inferred_span.tag_source",
        "_dd.p.tid",
        "card",
        "tcp.remote.host",
    ];
    prop_oneof![8 => prop::sample::select(&KEYS[..]).prop_map(str::to_owned), 1 => "\\PC{0,8}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Any bytes under keys that matter, with every stage on: what goes out is valid, and obfuscated or not there.
    #[test]
    fn any_tags_with_every_stage_on(
        kind in prop::sample::select(&["sql", "web", "redis", "mongodb", "elasticsearch", "memcached", "cassandra", ""][..]),
        resource in "\\PC{0,40}|SELECT '[a-z\"]{0,9}|[0-9]{12,16}",
        meta in prop::collection::vec((noticed(), prop_oneof![
            2 => "\\PC{0,30}".prop_map(String::into_bytes),
            1 => "[0-9 -]{12,19}".prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 0..40),
        ]), 0..14),
    ) {
        let rules = r#"[{"name":"*","pattern":"[aeiou]+","repl":"$0$0"},{"name":"http.url","pattern":"h","repl":""}]"#;
        let mut process = Process::new(&[
            COMPUTES, ("DD_APM_REPLACE_TAGS", rules), ("DD_APM_ENABLE_RARE_SAMPLER", "true"),
            ("DD_APM_OBFUSCATION_HTTP_REMOVE_QUERY_STRING", "true"), ("DD_APM_IGNORE_RESOURCES", "^zzz"),
            ("DD_APM_OBFUSCATION_REMOVE_STACK_TRACES", "true"), ("DD_APM_TARGET_TPS", "1"),
        ], &[("env", "prod"), ("service", "shop")]);
        let meta: Vec<_> = meta.iter().map(|(key, value)| (key.as_bytes(), value.as_slice())).collect();
        let body = ordered(kind, &resource, &meta);
        for chunk in process.chunks(&body, &TracerHeaders::default()) {
            let span = &chunk.spans[0];
            prop_assert_eq!(span.meta["env"].as_str(), "prood");
            prop_assert!(kind != "sql" || span.meta["sql.query"].len() <= 2 * span.resource.len() + 25_000);
            prop_assert!(span.meta.get("error.stack").is_none_or(|stack| stack == "?"));
        }
        process.stats();
    }
}
