//! The format rules one by one: each key and place with what does not belong there, and what tracers announce.

use super::*;

fn check(body: &[u8], format: Format, expected: Result<(), (&'static str, usize)>) {
    let outcome = run(body, format, &quiet(), &Tags::default());
    assert_eq!(outcome.result.map_err(|e| (e.reason, e.offset)), expected, "{format:?} {body:x?}");
}

/// A v0.4 body whose one span has `key` with `value`.
fn keyed(key: &str, value: &[u8]) -> Vec<u8> {
    let mut body = vec![0x91, 0x91, 0x83];
    for (key, value) in [("trace_id", &[1][..]), ("span_id", &[2]), (key, value)] {
        text(&mut body, key);
        body.extend_from_slice(value);
    }
    body
}

const INT: &[u8] = &[7];
const STR: &[u8] = &[0xa1, b's'];
const ARRAY: &[u8] = &[0x90];
const MAP: &[u8] = &[0x80];
const BOOL: &[u8] = &[0xc3];
const BIN: &[u8] = &[0xc4, 1, 0xff];
const NIL: &[u8] = &[0xc0];

#[test]
fn every_key_of_v04_takes_its_type_and_nil() {
    let texts = ["service", "name", "resource", "type"];
    let numbers = ["trace_id", "span_id", "parent_id", "start", "duration", "error"];
    let maps = ["meta", "metrics", "meta_struct"];
    let arrays = ["span_links", "span_events"];
    let rows = texts
        .map(|key| (key, &[STR, BIN, NIL][..], &[INT, ARRAY, MAP, BOOL][..], "expected a string"))
        .into_iter()
        .chain(numbers.map(|key| (key, &[INT, NIL][..], &[STR, BIN, ARRAY, MAP, BOOL][..], "expected a number")))
        .chain(maps.map(|key| (key, &[MAP, NIL][..], &[STR, INT, ARRAY, BOOL][..], "expected a map")))
        .chain(arrays.map(|key| (key, &[ARRAY, NIL][..], &[STR, INT, MAP, BOOL][..], "expected an array")));
    for (key, good, bad, reason) in rows {
        for value in good {
            check(&keyed(key, value), Format::V04, Ok(()));
        }
        for value in bad {
            let body = keyed(key, value);
            check(&body, Format::V04, Err((reason, body.len() - value.len())));
        }
    }
    check(&keyed("unknown", &[0x81, 0xa1, b'k', 0x91, 1]), Format::V04, Ok(()));
}

/// Rows: the inside of a map or list, and the fault with its distance from the end.
#[test]
fn what_is_inside_is_checked_too() {
    let text = "expected a string";
    for (key, value, expected) in [
        ("meta", &b"\x81\xa1k\xc0"[..], None),
        ("meta", b"\x81\xa1k\xc4\x01v", None),
        ("meta", b"\x81\xa1k\x01", Some((text, 1))),
        ("meta", b"\x81\x01\xa1v", Some((text, 3))),
        ("meta", b"\x81\xc0\xa1v", Some((text, 3))),
        ("metrics", b"\x82\xa1k\xc0\xa1l\xca\0\0\0\0", None),
        ("metrics", b"\x81\xa1k\xa11", Some(("expected a number", 2))),
        ("meta_struct", b"\x82\xa1k\xc0\xa1l\xc4\x01\xff", None),
        ("meta_struct", b"\x81\xa1k\x80", Some((text, 1))),
        ("span_links", b"\x92\xc0\x86\xa8trace_id\xc0\xadtrace_id_high\xd0\xff\xa7span_id\x01\xaaattributes\x81\xa1k\xc0\xaatracestate\xc0\xa5flags\xcb\0\0\0\0\0\0\0\0", None),
        ("span_links", b"\x91\x81\xaatracestate\x01", Some((text, 1))),
        ("span_links", b"\x91\x90", Some(("expected a map", 1))),
        ("span_links", b"\x91\x81\xaaattributes\x81\xa1k\x01", Some((text, 1))),
        ("span_events", b"\x91\x84\xaetime_unix_nano\x01\xa4name\xc0\xaaattributes\x81\xa1k\xc0\xa7unknown\x80", None),
        ("span_events", b"\x91\x81\xaaattributes\x81\xa1k\x81\xaabool_value\x01", Some(("expected a boolean", 1))),
        ("span_events", b"\x91\x81\xaaattributes\x81\xa1k\xa1v", Some(("expected a map", 2))),
        ("span_events", b"\x91\x81\xaaattributes\x81\xa1k\x82\xa4type\x04\xabarray_value\x91\x01", Some(("expected a map", 1))),
    ] {
        let body = keyed(key, value);
        check(&body, Format::V04, expected.map_or(Ok(()), |(reason, distance)| Err((reason, body.len() - distance))));
    }
}

/// Tracers of languages without integers send floats: what is behind the point is cut.
#[test]
fn a_duration_is_never_negative() {
    for (value, expected) in [
        (&[0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe][..], 0),
        (&[0xff], 0),
        (&[0xcb, 0xbf, 0xf8, 0, 0, 0, 0, 0, 0], 0),
        (&[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], 1),
        (&[0xca, 0x47, 0x80, 0, 0], 65_536),
        (&[0xc0], 0),
        (&[0xcd, 1, 0], 256),
    ] {
        let outcome = run(&keyed("duration", value), Format::V04, &quiet(), &Tags::default());
        assert_eq!(outcome.spans()[0].duration, expected, "{value:x?}");
    }
}

#[test]
fn every_place_of_v05_takes_an_index_or_its_type() {
    let table = &[0x92, 0x92, 0xa0, 0xa1, b'a', 0x91, 0x91, 0x9c][..];
    let places: [&[u8]; 12] = [&[1], &[1], &[1], &[9], &[8], &[0], &[0], &[0], &[0], &[0x80], &[0x80], &[1]];
    let body = |at: usize, value: &[u8]| {
        let mut places = places;
        places[at] = value;
        let start = table.len() + places[..at].concat().len();
        ([table, &places.concat()].concat(), start)
    };
    let (strings, numbers) = ([0, 1, 2, 11], [3, 4, 5, 6, 7, 8]);
    for (at, value, reason) in strings
        .iter()
        .flat_map(|&at| {
            [
                (at, &[2][..], "no string with this index in the table"),
                (at, &[0xff], "no string with this index in the table"),
            ]
        })
        .chain(strings.map(|at| (at, STR, "expected a number")))
        .chain(numbers.map(|at| (at, STR, "expected a number")))
        .chain([9, 10].map(|at| (at, ARRAY, "expected a map")))
    {
        let (body, start) = body(at, value);
        check(&body, Format::V05, Err((reason, start)));
    }
    for at in 0..12 {
        check(&body(at, NIL).0, Format::V05, Ok(()));
    }
    for (at, value, reason, inside) in [
        (9, &[0x81, 1, 2][..], "no string with this index in the table", 2),
        (9, &[0x81, 7, 1], "no string with this index in the table", 1),
        (9, &[0x81, 1, 0xa0], "expected a number", 2),
        (10, &[0x81, 1, 0xa0], "expected a number", 2),
        (10, &[0x81, 5, 1], "no string with this index in the table", 1),
    ] {
        let (body, start) = body(at, value);
        check(&body, Format::V05, Err((reason, start + inside)));
    }
    check(&body(9, &[0x81, 1, 0xc0]).0, Format::V05, Ok(()));
    check(&body(10, &[0x81, 1, 0xc0]).0, Format::V05, Ok(()));
}

#[test]
fn the_frame_of_v05_is_checked() {
    for (body, expected) in [
        (&[0x80][..], Err(("expected an array", 0))),
        (&[0x93, 0x90, 0x90, 0x90], Err(("expected an array of a string table and traces", 0))),
        (&[0x92, 0x80, 0x90], Err(("expected an array", 1))),
        (&[0x92, 0x91, 7, 0x90], Err(("expected a string", 2))),
        (&[0x92, 0x91, 0xc0, 0x90], Ok(())),
        (&[0x92, 0x91, 0xc4, 1, 0xff, 0x90], Ok(())),
        (&[0x92, 0x90, 0x80], Err(("expected an array", 2))),
        (&[0x92, 0x90, 0x91, 0x80], Err(("expected an array", 3))),
        (&[0x92, 0x90, 0x91, 0x91, 0xc0], Ok(())),
        (&[0x92, 0x90, 0x91, 0x91, 0x80], Err(("expected an array", 4))),
        (&[0x92, 0x90, 0x91, 0x91, 0x9b], Err(("expected a span as an array of 12 elements", 4))),
        (&[0x92, 0x90, 0x91, 0x91, 0x9d], Err(("expected a span as an array of 12 elements", 4))),
        (&[0x92, 0xc0, 0x91, 0x91, 0x9c, 0], Err(("no string with this index in the table", 5))),
    ] {
        check(body, Format::V05, expected);
    }
}

/// Rows: what the header says, and whether that is not so for a payload of two traces.
#[test]
fn a_wrong_number_of_traces_is_noticed() {
    let traces = vec![vec![plain(1, 1, 0)], vec![plain(2, 1, 0), plain(2, 2, 1)]];
    let spans = format!("[{},{}]", tracer::span_json(&traces[0][0]), tracer::span_json(&traces[1][0]));
    let bodies = [
        (v04(&traces), Format::V04),
        (v05(&traces), Format::V05),
        (tracer::v07(&v07::around(traces.clone())), Format::V07),
        (tracer::json(&traces).into_bytes(), Format::Json),
        (spans.into_bytes(), Format::JsonSpans),
    ];
    for (body, format) in &bodies {
        for (trace_count, miscounted) in [(None, 0), (Some(2), 0), (Some(0), 1), (Some(3), 1)] {
            let headers = TracerHeaders { trace_count, ..quiet() };
            let outcome = run(body, *format, &headers, &Tags::default());
            assert_eq!((outcome.result, outcome.tally.miscounted), (Ok(()), miscounted), "{format:?} {trace_count:?}");
        }
    }
    // What cannot be read is counted as that.
    let headers = TracerHeaders { trace_count: Some(1), ..quiet() };
    assert_eq!(run(&[0x91], Format::V04, &headers, &Tags::default()).tally.miscounted, 0);
}

/// A second map under the same key takes the place of the first, of which nothing is left.
#[test]
fn the_last_meta_counts() {
    let mut body = vec![0x92];
    for (id, metas) in [
        (
            1,
            &[
                &b"\x84\xa3env\xa3one\xa8http.url\xaahttp://u@h\xb0http.status_code\xa1x\xa7version\xa11"[..],
                b"\x81\xa1k\xa1v",
            ][..],
        ),
        (2, &[b"\x82\xa3env\xa3two\xa8http.url\xaahttp://u@i"]),
    ] {
        body.extend_from_slice(&[0x91, 0x80 | (3 + metas.len() as u8)]);
        for (key, value) in [("trace_id", &[id][..]), ("span_id", &[id]), ("type", b"\xa3web")] {
            text(&mut body, key);
            body.extend_from_slice(value);
        }
        for meta in metas {
            text(&mut body, "meta");
            body.extend_from_slice(meta);
        }
    }
    let outcome = run(&body, Format::V04, &quiet(), &Tags::default());
    assert_eq!(outcome.result, Ok(()));
    let span = |id, pairs| pb::Span {
        service: "unnamed-service".into(),
        name: "unnamed_operation".into(),
        resource: "unnamed_operation".into(),
        r#type: "web".into(),
        duration: 0,
        ..with_origin(with_meta(plain(id, id, 0), pairs))
    };
    let expected = [span(1, &[("k", "v")][..]), span(2, &[("env", "two"), ("http.url", "http://i")])];
    assert_eq!(outcome.spans(), expected.iter().collect::<Vec<_>>());
    let payload = &outcome.payloads[0];
    assert_eq!((payload.env.as_str(), payload.app_version.as_str()), ("two", ""));
}
