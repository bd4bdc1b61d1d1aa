//! What must hold for any input, target by target; a check that fails panics.

// Each target uses its own.
#![allow(dead_code)]

use libdd_trace_protobuf::pb;
use prost::Message as _;
use thimble::config::Config;
use thimble::config::apm::{HttpObfuscation, SqlObfuscation};
use thimble::lambda::Tags;
use thimble::traces::obfuscate::http;
use thimble::traces::obfuscate::sql::{Dialect, Sql};
use thimble::traces::pipeline::{Pipeline, Request, Tally};
use thimble::traces::stages::Stages;
use thimble::traces::{DecodeError, Format, TracerHeaders, json as transcode, msgpack};

/// Most bytes that come out for each byte of a request, and besides: what `traces::payload` promises.
const EXPANSION: usize = 64;
const EXPANSION_BASE: usize = 256 << 20;

type Check = fn(&[u8]);

/// Every target by its name, which is that of its corpus.
pub const ALL: &[(&str, Check)] =
    &[("v04", v04), ("v05", v05), ("v07", v07), ("json", json), ("sql", sql), ("url", url)];

/// A body of v0.4.
pub fn v04(data: &[u8]) {
    decoded(data, Format::V04);
}

/// A body of v0.5.
pub fn v05(data: &[u8]) {
    decoded(data, Format::V05);
}

/// A body of v0.7.
pub fn v07(data: &[u8]) {
    decoded(data, Format::V07);
}

/// A body in JSON, as traces and as spans; its msgpack is msgpack.
pub fn json(data: &[u8]) {
    let mut transcoded = 0;
    let outcome = transcode::elements(data, &mut Vec::new(), &mut |element| {
        let mut reader = msgpack::Reader::new(element, 0);
        assert_eq!(reader.skip(), Ok(()));
        assert!(reader.is_done(), "more than one value");
        transcoded += element.len();
        Ok(())
    });
    assert!(transcoded <= data.len() * 9 / 4 + 5, "{} bytes became {transcoded}", data.len());
    if let Err(error) = outcome {
        assert!(error.offset <= data.len());
    }
    decoded(data, Format::Json);
    decoded(data, Format::JsonSpans);
}

/// A statement, under the options that its first byte chooses.
pub fn sql(data: &[u8]) {
    let Some((&choice, statement)) = data.split_first() else { return };
    let on = |bit: u8| choice >> bit & 1 == 1;
    let options = SqlObfuscation {
        table_names: on(0),
        replace_digits: on(1),
        keep_sql_alias: on(2),
        dollar_quoted_func: on(3),
        keep_null: on(4),
        keep_boolean: on(5),
    };
    let mut sql = Sql::new();
    for dialect in [b"".as_slice(), b"mysql", b"postgresql", b"mssql", b"oracle"].map(Dialect::of) {
        let mut out = b"before".to_vec();
        let made = sql.obfuscate(statement, dialect, &options, &mut out);
        let obfuscated = out.strip_prefix(b"before").expect("the output is appended");
        assert_eq!(made, !obfuscated.is_empty(), "nothing is nothing");
        assert!(obfuscated.len() <= 2 * statement.len(), "{} bytes became {}", statement.len(), obfuscated.len());
        assert!(std::str::from_utf8(statement).is_err() || std::str::from_utf8(obfuscated).is_ok());
        assert!(sql.tables().len() <= 4096);
        // Nothing of one statement is in the next.
        let mut again = Vec::new();
        assert_eq!(Sql::new().obfuscate(statement, dialect, &options, &mut again), made);
        assert_eq!(again, obfuscated);
    }
}

/// A URL, under the options that its first byte chooses.
pub fn url(data: &[u8]) {
    let Some((&choice, url)) = data.split_first() else { return };
    let settings = HttpObfuscation { remove_query_string: choice & 1 == 1, remove_paths_with_digits: choice & 2 == 2 };
    let mut out = b"before".to_vec();
    http::url(url, settings, &mut out);
    let hidden = out.strip_prefix(b"before").expect("the output is appended");
    assert!(hidden.len() <= 3 * url.len() + 1, "{} bytes became {}", url.len(), hidden.len());
    if http::is_plain(url, settings) {
        assert_eq!(hidden, url, "what is called plain changes");
    }
    if settings.remove_query_string {
        let (path, query) = hidden.split_at(hidden.iter().position(|byte| *byte == b'?').unwrap_or(hidden.len()));
        let shown = query.strip_prefix(b"?").unwrap_or_default();
        let shown = &shown[..shown.iter().position(|byte| *byte == b'#').unwrap_or(shown.len())];
        assert!(path.contains(&b'#') || shown.is_empty() || settings.remove_paths_with_digits, "a query is shown");
    }
}

/// What a request became.
#[derive(PartialEq, Debug)]
struct Outcome {
    result: Result<(), DecodeError>,
    tally: Tally,
    pieces: Vec<Vec<u8>>,
}

fn decoded(body: &[u8], format: Format) {
    let mut pipeline = Pipeline::default();
    let first = run(&mut pipeline, body, format);
    assert_eq!(run(&mut pipeline, body, format), first, "what a request leaves behind is seen by the next");
    pipeline.rest();
    assert_eq!(run(&mut pipeline, body, format), first, "rest forgets too little or too much");

    let mut spans = 0;
    for piece in &first.pieces {
        let payload = pb::AgentPayload::decode(piece.as_slice()).expect("a piece is a part of an AgentPayload");
        for chunk in payload.tracer_payloads.iter().flat_map(|p| &p.chunks) {
            assert!(!chunk.spans.is_empty());
            let trace_id = chunk.spans[0].trace_id;
            for span in &chunk.spans {
                assert!(span.trace_id == trace_id && trace_id != 0 && span.span_id != 0);
                assert!(span.start >= 0 && span.duration >= 0);
                assert!(!span.name.is_empty() && !span.service.is_empty() && !span.resource.is_empty());
                assert_eq!(span.meta.get("_dd.origin").map(String::as_str), Some("lambda"));
                assert_eq!(span.meta.get("env").map(String::as_str), Some("prod"));
            }
            spans += chunk.spans.len() as u64;
        }
    }
    assert_eq!(spans, first.tally.accepted);
    let produced: usize = first.pieces.iter().map(Vec::len).sum();
    assert!(produced <= EXPANSION_BASE + EXPANSION * body.len());
    if let Err(error) = first.result {
        assert!(error.offset <= body.len(), "{error:?}");
    }
}

fn run(pipeline: &mut Pipeline, body: &[u8], format: Format) -> Outcome {
    let tags = Tags { pairs: vec![("env".into(), "prod".into())], joined: "env:prod".into(), ..Tags::default() };
    let headers = TracerHeaders { trace_count: Some(1), ..TracerHeaders::default() };
    let (mut stages, tagging) = Stages::new(&Config::load(&[], None).0, &tags, 7);
    let (mut tally, mut pieces) = (Tally::default(), Vec::new());
    let request = Request {
        headers: &headers,
        tagging: &tagging,
        stages: &mut stages,
        now: 1_800_000_000_000_000_000,
        full: &mut |piece| pieces.push(piece.bytes.to_vec()),
    };
    let result = pipeline.run(body, format, request, &mut tally);
    pieces.extend(pipeline.piece().map(|piece| piece.bytes.to_vec()));
    Outcome { result, tally, pieces }
}
