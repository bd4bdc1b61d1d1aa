//! v0.7: what the payload and its chunks say of themselves.

use proptest::prelude::*;

use super::*;
use generated::{distinct, traces, word};
use tracer::v07;

/// A payload that says nothing of itself.
pub fn around(traces: Vec<Vec<pb::Span>>) -> pb::TracerPayload {
    let chunk = |spans| pb::TraceChunk { priority: -128, spans, ..Default::default() };
    pb::TracerPayload { chunks: traces.into_iter().map(chunk).collect(), ..Default::default() }
}

prop_compose! {
    fn chunk()(
        spans in traces().prop_map(|mut traces| traces.pop().unwrap_or_else(|| vec![plain(1, 1, 0)])),
        priority in -2..3_i32, origin in word(), dropped_trace: bool,
        tags in prop::collection::hash_map(word(), word(), 0..3),
    ) -> pb::TraceChunk {
        pb::TraceChunk { priority, origin, spans, tags, dropped_trace }
    }
}

prop_compose! {
    fn payload()(
        texts in prop::collection::vec("[a-z0-9]{1,9}", 8..=8), env in "[a-z][a-z0-9]{0,9}",
        chunks in prop::collection::vec(chunk(), 1..4), tags in prop::collection::hash_map(word(), word(), 0..3),
    ) -> pb::TracerPayload {
        let text = |i: usize| texts[i].clone();
        let mut chunks = chunks;
        distinct(chunks.iter_mut().map(|chunk| &mut chunk.spans));
        pb::TracerPayload {
            container_id: text(0), language_name: text(1), language_version: text(2), tracer_version: text(3),
            runtime_id: text(4), hostname: text(5), app_version: text(6), env, chunks, tags, ..Default::default()
        }
    }
}

proptest! {
    #[test]
    fn v07_arrives_as_sent(sent in payload()) {
        let headers = TracerHeaders { lang: "other".into(), container_id: "other".into(), ..quiet() };
        let outcome = run_untouched(&v07(&sent), Format::V07, &headers);
        prop_assert_eq!(outcome.result, Ok(()));
        let mut expected = sent;
        for chunk in &mut expected.chunks {
            // What the chunk does not say, its spans do; they do not here.
            chunk.spans = std::mem::take(&mut chunk.spans).into_iter().map(with_origin).collect();
        }
        prop_assert_eq!(&outcome.payloads[..], &[expected][..]);
    }
}

#[test]
fn what_the_payload_does_not_say_others_do() {
    let span =
        with_meta(plain(1, 1, 0), &[("env", "Dev 1"), ("version", "7"), ("runtime-id", "r"), ("_dd.hostname", "h")]);
    let headers = TracerHeaders {
        lang: "go".into(),
        lang_version: "1.25".into(),
        tracer_version: "2.0".into(),
        container_id: "c".into(),
        ..quiet()
    };
    let said = pb::TracerPayload {
        language_name: "rust".into(),
        env: "Staging!".into(),
        tags: HashMap::from([("_dd.tags.function".into(), "none".into()), ("a".into(), "b".into())]),
        ..around(vec![vec![span.clone()]])
    };
    for (sent, function, expected) in [
        (around(vec![vec![span.clone()]]), tags(&[]), ["go", "1.25", "2.0", "c", "dev_1", "7", "r", "h"]),
        (said.clone(), tags(&[]), ["rust", "1.25", "2.0", "c", "staging", "7", "r", "h"]),
        (said, tags(&[("env", "prod"), ("version", "9")]), ["rust", "1.25", "2.0", "c", "prod", "9", "r", "h"]),
    ] {
        let outcome = run(&v07(&sent), Format::V07, &headers, &function);
        let p = &outcome.payloads[0];
        let got = [
            &p.language_name,
            &p.language_version,
            &p.tracer_version,
            &p.container_id,
            &p.env,
            &p.app_version,
            &p.runtime_id,
            &p.hostname,
        ];
        assert_eq!(got, expected);
        if function.pairs.is_empty() {
            assert_eq!(p.tags, sent.tags);
        } else {
            // The function's tags join those, and are its own.
            assert_eq!((p.tags["_dd.tags.function"].as_str(), p.tags["a"].as_str()), ("env:prod,version:9", "b"));
        }
    }
}

/// Rows: the chunk's priority and origin, those of its spans, and what goes out.
#[test]
fn a_chunk_counts_more_than_its_spans() {
    for (chunk, span, expected) in [
        ((2, "a"), (Some(1.0), Some("b")), (2, "a")),
        ((0, ""), (Some(1.0), Some("b")), (0, "b")),
        ((-128, "a"), (Some(1.0), None), (1, "a")),
        ((-128, ""), (None, None), (-128, "")),
    ] {
        let mut root = plain(1, 1, 0);
        if let Some(priority) = span.0 {
            root = with_metric(root, "_sampling_priority_v1", priority);
        }
        if let Some(origin) = span.1 {
            root = with_meta(root, &[("_dd.origin", origin)]);
        }
        let mut sent = around(vec![vec![root], vec![plain(2, 2, 0)]]);
        (sent.chunks[0].priority, sent.chunks[0].origin) = (chunk.0, chunk.1.to_owned());
        sent.chunks[0].tags.insert("k".into(), "v".into());
        let outcome = run(&v07(&sent), Format::V07, &quiet(), &Tags::default());
        let chunks = &outcome.payloads[0].chunks;
        assert_eq!((chunks[0].priority, chunks[0].origin.as_str()), expected, "{chunk:?} {span:?}");
        // Nothing of it is the next one's.
        assert_eq!((chunks[1].priority, chunks[1].origin.as_str(), chunks[1].tags.len()), (-128, "", 0));
    }
}

#[test]
fn keys_come_in_any_order_and_not_at_all() {
    let spans = b"\x91\x82\xa8trace_id\x01\xa7span_id\x02";
    let chunk = [&b"\x84\xa5spans"[..], spans, b"\xa7unknown\x91\x01\xa8priority\x02\xa6origin\xc0"].concat();
    let body =
        [&b"\x84\xa6chunks\x91"[..], &chunk, b"\xa3new\x80\xa3env\xa4prod\xa4tags\x82\xa1a\xc0\xa1b\xa1c"].concat();
    let outcome = run(&body, Format::V07, &quiet(), &Tags::default());
    assert_eq!(outcome.result, Ok(()));
    let p = &outcome.payloads[0];
    assert_eq!((p.env.as_str(), p.tags.len(), p.chunks[0].priority, p.chunks[0].spans.len()), ("prod", 1, 2, 1));
    for nothing in [
        &b""[..],
        b"\x80",
        b"\xc0",
        b"\x81\xa6chunks\xc0",
        b"\x81\xa6chunks\x92\x80\xc0",
        b"\x81\xa6chunks\x91\x81\xa5spans\xc0",
    ] {
        let outcome = run(nothing, Format::V07, &quiet(), &Tags::default());
        assert_eq!((outcome.result, outcome.payloads.len()), (Ok(()), 0), "{nothing:x?}");
    }
}

/// Rows: a body, why it is refused, where, and the spans that were taken before that.
#[test]
fn errors_are_told_where_they_are() {
    let good = b"\x81\xa5spans\x91\x82\xa8trace_id\x01\xa7span_id\x02";
    let after_good = |rest: &[u8]| [&b"\x81\xa6chunks\x92"[..], good, rest].concat();
    let start = 9 + good.len();
    for (body, reason, offset, taken) in [
        (b"\x90".to_vec(), "expected a map", 0, 0),
        (b"\x81\xa3env\x01".to_vec(), "expected a string", 5, 0),
        (b"\x81\xa4tags\x91\x01".to_vec(), "expected a map", 6, 0),
        (b"\x81\xa4tags\x81\xa1k\x01".to_vec(), "expected a string", 9, 0),
        (b"\x81\xa6chunks\x80".to_vec(), "expected an array", 8, 0),
        (after_good(b"\x81\xa8priority\xa1x"), "expected a number", start + 10, 1),
        (after_good(b"\x81\xaddropped_trace\x01"), "expected a boolean", start + 15, 1),
        (after_good(b"\x81\xa5spans\x91\x81\xa4name\x05"), "expected a string", start + 14, 1),
        (after_good(b"\x81\xa5spans\x91\x81\xa4nam"), "the payload ends inside a value", start + 9, 1),
        (after_good(b"\x81\xa5spans\x91\x81\xa1x\xc1"), "0xc1 is not msgpack", start + 11, 1),
        ([&after_good(b"\x80")[..], b"\x01"].concat(), "bytes after the end of the payload", start + 1, 1),
    ] {
        let outcome = run(&body, Format::V07, &quiet(), &Tags::default());
        assert_eq!(outcome.result, Err(DecodeError { reason, offset }), "{body:x?}");
        assert_eq!(outcome.tally.accepted, taken, "{body:x?}");
    }
}
