//! The span path against Datadog's own message types: what tracers send goes in as msgpack written by `rmp`, what comes
//! out is decoded by `prost` into `libdd-trace-protobuf` and compared as a whole.

#[path = "traces/connection.rs"]
mod connection;
#[path = "traces/generated.rs"]
mod generated;
#[path = "traces/json.rs"]
mod json;
#[path = "traces/passed_on.rs"]
mod passed_on;
#[path = "traces/rules.rs"]
mod rules;
#[path = "traces/stages.rs"]
mod stages;
#[path = "traces/tracer.rs"]
mod tracer;
#[path = "traces/v07.rs"]
mod v07;

use std::collections::HashMap;

use libdd_trace_protobuf::pb;
use prost::Message as _;
use rmp::encode as mp;
use thimble::config::Config;
use thimble::lambda::Tags;
use thimble::traces::pipeline::{PIECE, Pipeline, Request, Tally};
use thimble::traces::stages::Stages;
use thimble::traces::{DecodeError, Format, TracerHeaders};
use tracer::{text, v04, v05};

const NOW: i64 = 1_800_000_000_000_000_000;

/// What a request became.
struct Outcome {
    result: Result<(), DecodeError>,
    tally: Tally,
    payloads: Vec<pb::TracerPayload>,
    longest_piece: usize,
}

impl Outcome {
    fn spans(&self) -> Vec<&pb::Span> {
        self.payloads.iter().flat_map(|p| &p.chunks).flat_map(|c| &c.spans).collect()
    }
}

fn tags(pairs: &[(&str, &str)]) -> Tags {
    let pairs: Vec<(String, String)> = pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    let joined = pairs.iter().map(|(k, v)| format!("{k}:{v}")).collect::<Vec<_>>().join(",");
    Tags { pairs, joined, ..Tags::default() }
}

/// A tracer that computes everything itself: the spans go out as they are, but for the origin.
fn quiet() -> TracerHeaders {
    TracerHeaders { client_computed_stats: true, client_computed_top_level: true, ..TracerHeaders::default() }
}

/// With what is set by default.
fn run(body: &[u8], format: Format, headers: &TracerHeaders, tags: &Tags) -> Outcome {
    run_with(&[], body, format, headers, tags)
}

/// Without what is done to values that look like secrets: as generated ones may.
fn run_untouched(body: &[u8], format: Format, headers: &TracerHeaders) -> Outcome {
    run_with(&[("DD_APM_OBFUSCATION_CREDIT_CARDS_ENABLED", "false")], body, format, headers, &Tags::default())
}

fn run_with(env: &[(&str, &str)], body: &[u8], format: Format, headers: &TracerHeaders, tags: &Tags) -> Outcome {
    let (mut pipeline, mut tally, mut pieces) = (Pipeline::default(), Tally::default(), Vec::new());
    let env: Vec<_> = env.iter().map(|&(name, value)| (name.into(), value.into())).collect();
    let (mut stages, tagging) = Stages::new(&Config::load(&env, None).0, tags, 7);
    let full = &mut |piece: thimble::traces::pipeline::Piece<'_>| pieces.push((piece.bytes.to_vec(), piece.spans));
    let request = Request { headers, tagging: &tagging, stages: &mut stages, now: NOW as u64, full };
    let result = pipeline.run(body, format, request, &mut tally);
    pieces.extend(pipeline.piece().map(|piece| (piece.bytes.to_vec(), piece.spans)));
    let mut payloads = Vec::new();
    for (bytes, spans) in &pieces {
        let payload = pb::AgentPayload::decode(bytes.as_slice()).expect("a piece is a part of an AgentPayload");
        assert_eq!(payload.tracer_payloads.len(), 1);
        let inside: usize = payload.tracer_payloads[0].chunks.iter().map(|c| c.spans.len()).sum();
        assert_eq!(inside, *spans as usize);
        payloads.extend(payload.tracer_payloads);
    }
    let longest_piece = pieces.iter().map(|(bytes, _)| bytes.len()).max().unwrap_or(0);
    Outcome { result, tally, payloads, longest_piece }
}

// ---- rules

fn plain(trace_id: u64, span_id: u64, parent_id: u64) -> pb::Span {
    pb::Span {
        service: "svc".into(),
        name: "op".into(),
        resource: "res".into(),
        trace_id,
        span_id,
        parent_id,
        start: NOW,
        duration: 1,
        ..Default::default()
    }
}

fn with_meta(mut span: pb::Span, pairs: &[(&str, &str)]) -> pb::Span {
    span.meta.extend(pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())));
    span
}

fn with_origin(mut span: pb::Span) -> pb::Span {
    for key in ["origin", "_dd.origin"] {
        span.meta.insert(key.to_owned(), "lambda".to_owned());
    }
    span
}

fn with_metric(mut span: pb::Span, key: &str, value: f64) -> pb::Span {
    span.metrics.insert(key.to_owned(), value);
    span
}

#[test]
fn every_truncation_is_an_error() {
    let traces = [vec![with_meta(plain(1, 2, 0), &[("a", "b"), ("env", "x")]), plain(1, 3, 2)]];
    for (body, format) in [(v04(&traces), Format::V04), (v05(&traces), Format::V05)] {
        for cut in 1..body.len() {
            let outcome = run(&body[..cut], format, &quiet(), &Tags::default());
            assert!(outcome.result.is_err_and(|e| e.offset <= cut), "{format:?} cut at {cut}");
        }
        let longer = [&body[..], &[0xc0]].concat();
        let expected = DecodeError { reason: "bytes after the end of the payload", offset: body.len() };
        assert_eq!(run(&longer, format, &quiet(), &Tags::default()).result, Err(expected), "{format:?}");
    }
}

#[test]
fn errors_say_what_and_where() {
    for (body, format, reason, offset) in [
        (&b"{}"[..], Format::V04, "expected an array", 0),
        (&[0x91, 0x91, 0x81, 0xa4, b'n', b'a', b'm', b'e', 7], Format::V04, "expected a string", 8),
        (&[0x91, 0x91, 0x81, 0xa5, b's', b't', b'a', b'r', b't', 0xa0], Format::V04, "expected a number", 9),
        (&[0x91, 0x91, 0x81, 0xa4, b'm', b'e', b't', b'a', 0x81, 0xa1, b'k', 1], Format::V04, "expected a string", 11),
        (&[0x91, 0x91, 0x81, 0xa1, b'x', 0xc1], Format::V04, "0xc1 is not msgpack", 5),
        (&[0x90], Format::V05, "expected an array of a string table and traces", 0),
        (&[0x92, 0x90, 0x91, 0x91, 0x93], Format::V05, "expected a span as an array of 12 elements", 4),
        (&[0x92, 0x91, 0xa0, 0x91, 0x91, 0x9c, 0, 1], Format::V05, "no string with this index in the table", 7),
        (&[0x92, 0xdd, 0xff, 0xff, 0xff, 0xff], Format::V05, "too many strings in the table", 1),
    ] {
        let outcome = run(body, format, &quiet(), &Tags::default());
        assert_eq!(outcome.result, Err(DecodeError { reason, offset }), "{body:x?}");
    }
}

#[test]
fn nothing_is_a_payload_too() {
    for (body, format) in [
        (&[][..], Format::V04),
        (&[], Format::V05),
        (&[0x90], Format::V04),
        (&[0xc0], Format::V04),
        (&[0x91, 0x90], Format::V04),
        (&[0x92, 0xc0, 0x91, 0xc0], Format::V04),
        (&[0x91, 0x91, 0xc0], Format::V04),
        (&[0x92, 0x90, 0x90], Format::V05),
        (&[0x92, 0xc0, 0xc0], Format::V05),
    ] {
        let outcome = run(body, format, &quiet(), &Tags::default());
        assert_eq!(outcome.result, Ok(()), "{body:x?}");
        assert!(outcome.payloads.is_empty(), "{body:x?}");
    }
}

#[test]
fn what_tracers_leave_out_or_send_otherwise() {
    let mut body = vec![0x91, 0x91];
    mp::write_map_len(&mut body, 13).unwrap();
    for (key, value) in [
        ("trace_id", &[0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..]),
        ("span_id", &[0xce, 0, 1, 0, 0]),
        ("start", &[0xcb, 0x43, 0xb9, 0x00, 0, 0, 0, 0, 0]),
        ("duration", &[0xd0, 0xff]),
        ("error", &[0xcc, 1]),
        ("service", &[0xc4, 1, b's']),
        ("name", &[0xd9, 1, b'n']),
        ("resource", &[0xc0]),
        ("parent_id", &[0xc0]),
        ("type", &[0xc0]),
        ("meta", &[0x82, 0xa1, b'k', 0xc0, 0xda, 0, 1, b'l', 0xdb, 0, 0, 0, 1, b'v']),
        ("metrics", &[0x84, 0xa1, b'i', 7, 0xa1, b'n', 0xc0, 0xa1, b'f', 0xca, 0x3f, 0xc0, 0, 0, 0xa1, b's', 0xff]),
        ("unknown", &[0x81, 0x92, 1, 2, 0xd6, 1, 0, 0, 0, 0]),
    ] {
        text(&mut body, key);
        body.extend_from_slice(value);
    }
    let outcome = run(&body, Format::V04, &quiet(), &Tags::default());
    assert_eq!(outcome.result, Ok(()));
    let mut expected = with_origin(with_meta(plain(u64::MAX, 65536, 0), &[("l", "v")]));
    (expected.service, expected.name, expected.resource) = ("s".into(), "n".into(), "n".into());
    (expected.start, expected.duration, expected.error) = (1_801_439_850_948_198_400, 0, 1);
    for (key, value) in [("i", 7.0), ("f", 1.5), ("s", -1.0)] {
        expected = with_metric(expected, key, value);
    }
    assert_eq!(outcome.spans(), [&expected]);
}

/// Rows: start, duration and error as sent, and as they arrive.
#[test]
fn numbers_that_do_not_fit_stop_at_the_limit() {
    let u64_max: &[u8] = &[0xcf, 255, 255, 255, 255, 255, 255, 255, 255];
    let u32_max: &[u8] = &[0xce, 255, 255, 255, 255];
    let i64_min: &[u8] = &[0xd3, 128, 0, 0, 0, 0, 0, 0, 0];
    let nan: &[u8] = &[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0];
    for (sent, expected) in [
        ([u64_max, &[1], u64_max], (i64::MAX, 0, i32::MAX)),
        ([&[0], u64_max, u32_max], (NOW, i64::MAX, i32::MAX)),
        ([i64_min, i64_min, i64_min], (NOW, 0, i32::MIN)),
        ([nan, nan, nan], (NOW, 0, 0)),
        ([&[0xc0], &[0xc0], &[0xc0]], (NOW, 0, 0)),
    ] {
        let [start, duration, error] = sent;
        let mut body = vec![0x91, 0x91, 0x85];
        let fields = [("trace_id", &[1][..]), ("span_id", &[2]), ("start", start), ("duration", duration)];
        for (key, value) in fields.into_iter().chain([("error", error)]) {
            text(&mut body, key);
            body.extend_from_slice(value);
        }
        let indexed =
            [&[0x92, 0x91, 0xa0, 0x91, 0x91, 0x9c, 0, 0, 0, 1, 2, 0], start, duration, error, &[0x80, 0x80, 0]];
        for (body, format) in [(body, Format::V04), (indexed.concat(), Format::V05)] {
            let outcome = run(&body, format, &quiet(), &Tags::default());
            assert_eq!(outcome.result, Ok(()), "{sent:x?}");
            let span = outcome.spans()[0];
            assert_eq!((span.start, span.duration, span.error), expected, "{format:?} {sent:x?}");
        }
    }
}

/// Nothing of this is for the agent to judge.
#[test]
fn what_looks_odd_is_passed_on() {
    let pairs = [("_dd.p.tid", "6920d9c600000000"), ("", "empty key"), ("empty", "")];
    let trace = vec![with_meta(plain(1, 1, 0), &pairs), plain(1, 2, 1), plain(1, 3, 3), plain(1, 4, 9)];
    for (body, format) in
        [(v04(std::slice::from_ref(&trace)), Format::V04), (v05(std::slice::from_ref(&trace)), Format::V05)]
    {
        let outcome = run(&body, format, &quiet(), &Tags::default());
        let expected: Vec<_> = trace.iter().cloned().map(with_origin).collect();
        assert_eq!(outcome.spans(), expected.iter().collect::<Vec<_>>(), "{format:?}");
    }
}

/// Rows: the traces of two requests, and the ids of the spans that are taken of both.
#[test]
fn a_span_that_comes_twice_goes_out_once() {
    let partial = || with_metric(plain(1, 1, 0), "_dd.partial_version", 1.0);
    for (first, second, expected) in [
        (vec![vec![plain(1, 1, 0), plain(1, 2, 1), plain(1, 2, 9)]], vec![], vec![1, 2]),
        (vec![vec![plain(1, 1, 0)], vec![plain(1, 1, 0), plain(1, 2, 1)]], vec![], vec![1, 2]),
        (vec![vec![plain(1, 1, 0)]], vec![vec![plain(1, 1, 0)]], vec![1]),
        (vec![vec![plain(1, 1, 0)]], vec![vec![plain(2, 1, 0)]], vec![1, 1]),
        (vec![vec![partial()]], vec![vec![plain(1, 1, 0)]], vec![1, 1]),
    ] {
        let (mut pipeline, mut tally, mut ids) = (Pipeline::default(), Tally::default(), Vec::new());
        let (mut stages, tagging) = Stages::new(&Config::load(&[], None).0, &Tags::default(), 7);
        for traces in [&first, &second] {
            let request = Request {
                headers: &quiet(),
                tagging: &tagging,
                stages: &mut stages,
                now: NOW as u64,
                full: &mut |_| panic!("this fits into one piece"),
            };
            assert_eq!(pipeline.run(&v04(traces), Format::V04, request, &mut tally), Ok(()));
            let payload = pipeline.piece().map(|piece| pb::AgentPayload::decode(piece.bytes).expect("a payload"));
            let chunks = payload.into_iter().flat_map(|p| p.tracer_payloads).flat_map(|p| p.chunks);
            ids.extend(chunks.flat_map(|chunk| chunk.spans).map(|span| span.span_id));
        }
        let sent: usize = first.iter().chain(&second).map(Vec::len).sum();
        assert_eq!(ids, expected);
        let (accepted, duplicates) = (ids.len() as u64, (sent - ids.len()) as u64);
        assert_eq!(tally, Tally { accepted, duplicates, ..Tally::default() });
    }
}

/// Rows: a resource, and how many of its bytes go out.
#[test]
fn a_long_resource_is_cut() {
    for (resource, expected) in [
        ("r".repeat(5_000), 5_000),
        ("r".repeat(5_001), 5_000),
        ("r".repeat(9_000_000), 5_000),
        (format!("{}é", "r".repeat(4_999)), 4_999),
        (format!("{}é", "r".repeat(4_998)), 5_000),
    ] {
        let traces = [vec![pb::Span { resource: resource.clone(), ..plain(1, 1, 0) }]];
        for (body, format) in [(v04(&traces), Format::V04), (v05(&traces), Format::V05)] {
            let outcome = run(&body, format, &quiet(), &Tags::default());
            assert_eq!((outcome.result, outcome.tally), (Ok(()), Tally { accepted: 1, ..Tally::default() }));
            assert_eq!(outcome.spans()[0].resource, resource[..expected], "{format:?} {}", resource.len());
        }
    }
}

#[test]
fn values_nested_a_million_deep_are_skipped() {
    let mut deep = vec![0x91; 1_000_000];
    deep.push(0xc0);
    let array = [&[0x82, 0xa4][..], b"type", &[4, 0xab], b"array_value", &deep].concat();
    let event = [&[0x91, 0x81, 0xaa][..], b"attributes", &[0x81, 0xa1, b'a'], &array].concat();
    for (key, value, taken) in [("unknown", deep, true), ("span_events", event, false)] {
        let mut body = vec![0x91, 0x91, 0x83];
        for (key, value) in [("trace_id", &[1][..]), ("span_id", &[2]), (key, &value)] {
            text(&mut body, key);
            body.extend_from_slice(value);
        }
        assert_eq!(run(&body, Format::V04, &quiet(), &Tags::default()).result.is_ok(), taken, "{key}");
    }
}

#[test]
fn text_that_is_not_utf8_is_repaired() {
    let good = with_meta(
        with_metric(plain(1, 2, 0), "metric?", 3.0),
        &[("key??", "value??"), ("env", "prod??"), ("fine", "é")],
    );
    let damage = |mut body: Vec<u8>| {
        body.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xff);
        body
    };
    let expected = |mut text: String| {
        text = text.replace('?', "\u{fffd}");
        text
    };
    for (body, format) in [(v04(&[vec![good.clone()]]), Format::V04), (v05(&[vec![good.clone()]]), Format::V05)] {
        let outcome = run(&damage(body), format, &quiet(), &Tags::default());
        let mut span = with_origin(good.clone());
        span.meta = span.meta.into_iter().map(|(k, v)| (expected(k), expected(v))).collect();
        span.metrics = span.metrics.into_iter().map(|(k, v)| (expected(k), v)).collect();
        span.meta.insert("env".into(), "prod".into());
        assert_eq!(outcome.spans(), [&span], "{format:?}");
    }
}

#[test]
fn traces_that_do_not_hold_together_are_dropped_alone() {
    let good = |trace| vec![plain(trace, 1, 0), plain(trace, 2, 1)];
    for (bad, expected) in [
        (vec![plain(0, 1, 0)], Tally { trace_id_zero: 1, ..Tally::default() }),
        (vec![plain(5, 1, 0), plain(5, 0, 1)], Tally { span_id_zero: 2, ..Tally::default() }),
        (vec![plain(5, 1, 0), plain(6, 2, 1), plain(5, 0, 0)], Tally { foreign: 3, ..Tally::default() }),
        (vec![plain(5, 1, 0), plain(0, 2, 1)], Tally { trace_id_zero: 2, ..Tally::default() }),
    ] {
        let traces = [good(7), bad, good(8)];
        for (body, format) in [(v04(&traces), Format::V04), (v05(&traces), Format::V05)] {
            let outcome = run(&body, format, &quiet(), &Tags::default());
            assert_eq!((outcome.result, outcome.tally), (Ok(()), Tally { accepted: 4, ..expected }));
            assert_eq!(outcome.payloads[0].chunks.len(), 2);
        }
    }
}

#[test]
fn chunks_tell_priority_and_origin() {
    let priority = |span, priority| with_metric(span, "_sampling_priority_v1", priority);
    for (trace, expected) in [
        (vec![plain(1, 1, 0)], (-128, "")),
        (vec![priority(plain(1, 1, 0), 2.0), priority(plain(1, 2, 1), -1.0)], (2, "")),
        (vec![plain(1, 1, 0), priority(plain(1, 2, 1), -1.0)], (-1, "")),
        (vec![with_meta(priority(plain(1, 1, 0), 0.0), &[("_dd.origin", "rum")])], (0, "rum")),
        (vec![plain(1, 1, 0), with_meta(plain(1, 2, 1), &[("_dd.origin", "rum")])], (-128, "")),
    ] {
        let outcome = run(&v04(&[trace]), Format::V04, &quiet(), &Tags::default());
        let chunk = &outcome.payloads[0].chunks[0];
        assert_eq!((chunk.priority, chunk.origin.as_str()), expected);
        // The spans themselves come from the function.
        assert!(chunk.spans.iter().all(|s| s.meta["_dd.origin"] == "lambda" && s.meta["origin"] == "lambda"));
    }
}

#[test]
fn top_level_spans_are_marked() {
    let mut other = plain(1, 2, 1);
    other.service = "db".into();
    let trace =
        vec![with_metric(plain(1, 1, 0), "_top_level", 0.0), other, with_metric(plain(1, 3, 1), "_dd.top_level", 1.0)];
    for (by_tracer, expected) in [(false, [Some(1.0), Some(1.0), None]), (true, [Some(0.0), None, Some(1.0)])] {
        let headers = TracerHeaders { client_computed_top_level: by_tracer, ..quiet() };
        let outcome = run(&v04(std::slice::from_ref(&trace)), Format::V04, &headers, &Tags::default());
        let marks: Vec<_> = outcome.spans().iter().map(|s| s.metrics.get("_top_level").copied()).collect();
        assert_eq!(marks, expected, "by tracer: {by_tracer}");
    }
}

#[test]
fn the_function_tags_every_span() {
    let tags = tags(&[("env", "Prod"), ("service", "shop"), ("version", "2"), ("functionname", "f")]);
    let mut lambda =
        with_meta(plain(1, 1, 0), &[("env", "dev!"), ("functionname", "mine"), ("kept", "yes"), ("_dd.origin", "rum")]);
    lambda.service = "aws.lambda".into();
    for stats in [false, true] {
        let headers = TracerHeaders { client_computed_stats: stats, ..quiet() };
        let outcome = run(&v04(&[vec![lambda.clone(), plain(1, 2, 1)]]), Format::V04, &headers, &tags);
        let spans = outcome.spans();
        assert_eq!((spans[0].service.as_str(), spans[1].service.as_str()), ("shop", "svc"));
        for span in &spans {
            for (key, value) in [("env", "Prod"), ("functionname", "f"), ("origin", "lambda"), ("_dd.origin", "lambda")]
            {
                assert_eq!(span.meta[key], value, "{key}");
            }
            assert_eq!(span.meta.get("_dd.compute_stats").map(String::as_str), (!stats).then_some("1"));
        }
        assert_eq!(spans[0].meta["kept"], "yes");
        let payload = &outcome.payloads[0];
        assert_eq!((payload.env.as_str(), payload.app_version.as_str()), ("prod", "2"));
        assert_eq!(payload.tags["_dd.tags.function"], "env:Prod,service:shop,version:2,functionname:f");
        assert_eq!(payload.chunks[0].origin, "rum");
    }
}

#[test]
fn payloads_tell_the_process() {
    let headers = TracerHeaders {
        lang: "python".into(),
        lang_version: "3.12".into(),
        tracer_version: "4.0".into(),
        container_id: "c".into(),
        ..quiet()
    };
    let with = |id, parent, pairs| with_meta(plain(1, id, parent), pairs);
    for (traces, expected) in [
        (vec![vec![with(1, 0, &[])]], ["", "", "", ""]),
        (
            vec![vec![with(1, 0, &[("env", "Dev 1"), ("version", "v"), ("_dd.hostname", "h"), ("runtime-id", "r")])]],
            ["dev_1", "v", "h", "r"],
        ),
        // The root first, then any span, then the next trace.
        (vec![vec![with(2, 1, &[("env", "b")]), with(1, 0, &[("env", "a")])]], ["a", "", "", ""]),
        (vec![vec![with(2, 1, &[("env", "b")]), with(1, 0, &[("env", "")])]], ["b", "", "", ""]),
        (
            vec![vec![with(1, 0, &[("version", "1")])], vec![with(3, 0, &[("version", "2"), ("runtime-id", "r")])]],
            ["", "1", "", "r"],
        ),
    ] {
        let outcome = run(&v04(&traces), Format::V04, &headers, &Tags::default());
        let p = &outcome.payloads[0];
        assert_eq!([&p.env, &p.app_version, &p.hostname, &p.runtime_id], expected);
        assert_eq!(
            [&p.language_name, &p.language_version, &p.tracer_version, &p.container_id],
            ["python", "3.12", "4.0", "c"]
        );
    }
}

// ---- bounds

#[test]
fn long_requests_come_in_pieces() {
    let long = "y".repeat(2_000);
    let span =
        |id, parent| with_meta(plain(9, id, parent), &[("pad", &long), ("_dd.origin", "rum"), ("runtime-id", "r")]);
    let mut trace: Vec<_> = (1..2_000).map(|i| span(i, i - 1)).collect();
    trace[0] = with_metric(trace[0].clone(), "_sampling_priority_v1", 2.0);
    let outcome = run(&v04(&[trace.clone(), vec![plain(1, 1, 0)]]), Format::V04, &quiet(), &Tags::default());
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(outcome.spans().len(), 2_000);
    assert!(outcome.payloads.len() >= 4 && outcome.longest_piece < PIECE + 3_000, "{}", outcome.longest_piece);
    for payload in &outcome.payloads {
        assert_eq!((payload.chunks[0].priority, payload.chunks[0].origin.as_str()), (2, "rum"));
        assert_eq!(payload.runtime_id, "r");
    }
    assert_eq!(outcome.payloads.last().unwrap().chunks.last().unwrap().priority, -128);
}

#[test]
fn very_long_traces_are_looked_at_in_windows() {
    let mut trace: Vec<_> = (1..=40_000).map(|i| plain(9, i, i - 1)).collect();
    trace[0] = with_meta(with_metric(trace[0].clone(), "_sampling_priority_v1", 2.0), &[("_dd.origin", "rum")]);
    let outcome = run(&v04(&[trace.clone()]), Format::V04, &quiet(), &Tags::default());
    assert_eq!(outcome.spans().len(), 40_000);
    let chunks = || outcome.payloads.iter().flat_map(|p| &p.chunks);
    assert!(chunks().count() >= 3 && chunks().all(|c| c.priority == 2 && c.origin == "rum"));
    // What was sent before a span that does not belong stays sent; the rest of its trace is dropped.
    trace[39_999].trace_id = 8;
    let outcome = run(&v04(&[trace]), Format::V04, &quiet(), &Tags::default());
    assert_eq!(outcome.tally.accepted + outcome.tally.foreign, 40_000);
    assert!(outcome.tally.foreign > 0 && outcome.tally.foreign <= 16_384);
}

#[test]
fn spans_that_the_intake_refuses_are_dropped_alone() {
    let long = "z".repeat(8_100_000);
    let events = vec![pb::SpanEvent { name: long.clone(), ..Default::default() }; 2];
    let links = vec![pb::SpanLink { tracestate: long.clone(), ..Default::default() }];
    let crowd = (0..1_400_000_u32).map(|i| (format!("{i:x}"), String::new())).collect();
    for bad in [
        with_meta(plain(1, 2, 1), &[("k", &long)]),
        pb::Span { span_events: events, ..plain(1, 2, 1) },
        pb::Span { span_links: links, ..plain(1, 2, 1) },
        pb::Span { meta_struct: HashMap::from([("k".to_owned(), long.clone().into_bytes())]), ..plain(1, 2, 1) },
        pb::Span { meta: crowd, ..plain(1, 2, 1) },
    ] {
        let outcome = run(&v04(&[vec![plain(1, 1, 0), bad, plain(1, 3, 1)]]), Format::V04, &quiet(), &Tags::default());
        assert_eq!((outcome.result, outcome.tally), (Ok(()), Tally { accepted: 2, too_large: 1, ..Tally::default() }));
    }
}

#[test]
fn a_table_cannot_multiply_a_request_without_end() {
    // One string of a megabyte, used by each of ten thousand spans: ten gigabytes.
    let mut body = vec![0x92, 0x92, 0xa1, b'k', 0xdb, 0, 0x10, 0, 0];
    body.resize(body.len() + (1 << 20), b'v');
    mp::write_array_len(&mut body, 1).unwrap();
    mp::write_array_len(&mut body, 10_000).unwrap();
    for id in 1..=10_000_u16 {
        let [high, low] = id.to_be_bytes();
        body.extend_from_slice(&[0x9c, 0, 0, 0, 1, 0xcd, high, low, 0, 1, 1, 0, 0x81, 0, 1, 0x80, 0]);
    }
    let (mut pipeline, mut tally, mut produced) = (Pipeline::default(), Tally::default(), 0);
    let (mut stages, tagging) = Stages::new(&Config::load(&[], None).0, &Tags::default(), 7);
    let full = &mut |piece: thimble::traces::pipeline::Piece<'_>| produced += piece.bytes.len();
    let request = Request { headers: &quiet(), tagging: &tagging, stages: &mut stages, now: NOW as u64, full };
    assert_eq!(pipeline.run(&body, Format::V05, request, &mut tally), Ok(()));
    assert!(produced < 400 << 20, "{produced}");
    assert_eq!(tally.accepted + tally.too_large, 10_000);
    assert!(tally.too_large > 9_000);
}
