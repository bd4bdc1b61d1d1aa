//! JSON: the same spans as in msgpack.

use proptest::prelude::*;

use super::*;
use generated::traces;
use serde_json::json;
use tracer::{json as body, span_json};

/// What JSON can say exactly and `serde_json` reads so.
fn rounded(span: &mut pb::Span) {
    let round = |v: &mut f64| *v = (*v * 4.0).round() / 4.0;
    span.metrics.values_mut().for_each(round);
    for value in span.span_events.iter_mut().flat_map(|event| event.attributes.values_mut()) {
        round(&mut value.double_value);
        let array = value.array_value.iter_mut().flat_map(|array| &mut array.values);
        array.for_each(|value| round(&mut value.double_value));
    }
}

proptest! {
    #[test]
    fn json_arrives_as_sent(mut traces in traces()) {
        traces.iter_mut().flatten().for_each(rounded);
        let outcome = run_untouched(body(&traces).as_bytes(), Format::Json, &quiet());
        prop_assert_eq!(outcome.result, Ok(()));
        let sent: Vec<pb::Span> = traces.into_iter().flatten().map(with_origin).collect();
        prop_assert_eq!(outcome.spans(), sent.iter().collect::<Vec<_>>());
    }
}

#[test]
fn spans_are_put_together_by_trace() {
    let spans = [plain(5, 1, 0), plain(3, 2, 0), plain(5, 3, 1), plain(3, 4, 2), plain(5, 5, 1)];
    let list = json!(spans.iter().map(span_json).collect::<Vec<_>>()).to_string();
    let outcome = run(list.as_bytes(), Format::JsonSpans, &quiet(), &Tags::default());
    assert_eq!(outcome.result, Ok(()));
    let ids: Vec<Vec<u64>> =
        outcome.payloads[0].chunks.iter().map(|chunk| chunk.spans.iter().map(|span| span.span_id).collect()).collect();
    assert_eq!(ids, [vec![2, 4], vec![1, 3, 5]]);
    // What came before a fault is taken.
    let broken = list.replace("\"span_id\":5", "\"span_id\":[]");
    let outcome = run(broken.as_bytes(), Format::JsonSpans, &quiet(), &Tags::default());
    let offset = broken.find("[]").unwrap_or(0);
    assert_eq!(
        outcome.result,
        Err(DecodeError { reason: "expected a number", offset: broken[1..].find("\"span_id\":[]").unwrap() + 11 })
    );
    assert!(offset > 0 && outcome.tally.accepted == 4);
}

#[test]
fn nothing_is_a_payload_too() {
    for nothing in ["", "null", "[]", "[null]", "[[]]", "[[null]]", " [ ]\n"] {
        let outcome = run(nothing.as_bytes(), Format::Json, &quiet(), &Tags::default());
        assert_eq!((outcome.result, outcome.payloads.len()), (Ok(()), 0), "{nothing}");
    }
    for nothing in ["", "null", "[]", "[null, null]"] {
        let outcome = run(nothing.as_bytes(), Format::JsonSpans, &quiet(), &Tags::default());
        assert_eq!((outcome.result, outcome.payloads.len()), (Ok(()), 0), "{nothing}");
    }
}

/// Rows: a body, why it is refused, the text at that place, and the spans that were taken before it.
#[test]
fn errors_are_told_where_they_are_in_the_json() {
    let good = r#"[{"trace_id": 1, "span_id": 2, "meta": {"a": "b"}}]"#;
    let with = |member: &str| format!("[ {good},\n [{{\"trace_id\": 3, {member}, \"span_id\": 4}}] ]");
    for (body, reason, place, taken) in [
        ("{}".to_owned(), "expected an array", "{}", 0),
        ("[{}]".to_owned(), "expected an array", "{}]", 0),
        ("[[[]]]".to_owned(), "expected a map", "[]]]", 0),
        (format!("[{good}"), "the payload ends inside a value", "", 1),
        (format!("[{good}, [{{\"a\""), "the payload ends inside a value", "", 1),
        (format!("[{good}, oops]"), "not valid JSON", "oops", 1),
        (format!("[{good}] more"), "not valid JSON", "more", 1),
        (with("\"name\": 7"), "expected a string", "7,", 1),
        (with("\"start\": \"now\""), "expected a number", "\"now\"", 1),
        (with("\"span_id\": {}"), "expected a number", "{},", 1),
        (with("\"meta\": []"), "expected a map", "[],", 1),
        (with("\"meta\": {\"k\": true}"), "expected a string", "true", 1),
        (with("\"metrics\": {\"k\": false}"), "expected a number", "false", 1),
        (with("\"meta_struct\": {\"k\": 1}"), "expected a string", "1}", 1),
        (with("\"meta_struct\": {\"ok\": \"AQID\", \"k\": \"A B\"}"), "expected bytes in base64", "\"A B\"", 1),
        (with("\"span_links\": {}"), "expected an array", "{},", 1),
        (with("\"span_links\": [{\"flags\": \"1\"}]"), "expected a number", "\"1\"", 1),
        (with("\"span_events\": [{\"name\": 1}]"), "expected a string", "1}", 1),
    ] {
        let outcome = run(body.as_bytes(), Format::Json, &quiet(), &Tags::default());
        let Err(error) = outcome.result else { panic!("{body} was taken") };
        assert_eq!((error.reason, outcome.tally.accepted), (reason, taken), "{body}");
        assert!(body[error.offset..].starts_with(place), "{body}: at {:?}", &body[error.offset..]);
        assert_eq!(body[error.offset..].is_empty(), place.is_empty(), "{body}");
    }
}

#[test]
fn a_thread_of_the_agent_has_stack_enough() {
    let deep = |levels: usize| {
        format!("[[{{\"trace_id\":1,\"span_id\":2,\"unknown\":{}{}}}]]", "[".repeat(levels), "]".repeat(levels))
    };
    let small = std::thread::Builder::new().stack_size(512 << 10);
    let decoded = small.spawn(move || {
        let outcomes =
            [100, 200, 100_000].map(|levels| run(deep(levels).as_bytes(), Format::Json, &quiet(), &Tags::default()));
        outcomes.map(|outcome| outcome.result.map_err(|e| (e.reason, e.offset)))
    });
    let nested = Err(("the JSON is nested too deeply", 162));
    assert_eq!(decoded.unwrap().join().unwrap(), [Ok(()), nested, nested]);
}
