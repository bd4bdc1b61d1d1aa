//! What the receiver answers, with an agent of a few lines behind it.

use super::*;
use std::sync::Arc;

use crate::forwarder::Client;
use crate::lambda::Tags;
use crate::traces::pipeline::{Pipeline, Request, Tally};
use crate::traces::stages::Stages;
use crossbeam_channel::unbounded;

const MSGPACK: &[(&str, &str)] = &[("content-type", "application/msgpack")];

fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Head {
    Head {
        method: method.into(),
        path: path.into(),
        query: String::new(),
        headers: headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect(),
    }
}

/// A receiver with nothing set, and nobody behind what it passes on.
fn receiver_to(to_agent: Sender<Message>) -> Receiver {
    let config = Arc::new(Config::load(&[], None).0);
    let proxy = Passthrough::new(&config, &Tags::default(), Client::new(&config), None);
    Receiver::new(to_agent, &config, proxy)
}

fn receiver() -> (Receiver, crossbeam_channel::Receiver<Message>) {
    let (to_agent, inbox) = unbounded();
    (receiver_to(to_agent), inbox)
}

fn rates() -> Arc<Rates> {
    Arc::new(Rates { body: r#"{"rate_by_service":{"service:,env:":0.5}}"#.to_owned(), version: "v2".to_owned() })
}

/// The answer to a request, if the agent does `act` with what reaches it.
fn answer(head: &Head, body: &[u8], act: impl FnOnce(Message) + Send + 'static) -> Response {
    let (receiver, inbox) = receiver();
    let agent = std::thread::spawn(move || inbox.recv().map(act).is_ok());
    let response = receiver.respond(head, Body::detached(body.to_vec()));
    drop(receiver);
    agent.join().unwrap();
    response
}

fn decode(message: Message) {
    let Message::Payload { body, format, headers, reply } = message else { panic!("{message:?}") };
    let (mut stages, tagging) = Stages::new(&Config::load(&[], None).0, &Tags::default(), 7);
    let request = Request { headers: &headers, tagging: &tagging, stages: &mut stages, now: 0, full: &mut |_| {} };
    let outcome = Pipeline::default().run(&body, format, request, &mut Tally::default());
    reply.send(outcome.map(|()| rates())).unwrap();
}

fn text(response: &Response) -> &str {
    std::str::from_utf8(&response.body).unwrap()
}

#[test]
fn heads_are_judged_before_the_body() {
    const TRACES: Option<usize> = Some(50 << 20);
    for (method, path, headers, expected) in [
        ("POST", "/v0.3/traces", MSGPACK, TRACES),
        ("POST", "/v0.4/traces", MSGPACK, TRACES),
        ("PUT", "/v0.4/traces", MSGPACK, TRACES),
        ("POST", "/v0.5/traces", MSGPACK, TRACES),
        ("PUT", "/v0.5/traces", &[], TRACES),
        ("PUT", "/v0.7/traces", MSGPACK, TRACES),
        ("POST", "/v0.2/traces", &[("content-type", "text/json")], TRACES),
        ("POST", "/v0.1/spans", &[], TRACES),
        ("PUT", "/spans", &[("content-type", "application/json")], TRACES),
        ("POST", "/v0.4/traces", &[("content-type", "application/json")], TRACES),
        ("POST", "/v0.4/traces", &[("content-type", "application/octet-stream")], TRACES),
        // As the Go agent, which does not look at the type there.
        ("POST", "/v0.5/traces", &[("content-type", "application/json")], TRACES),
        ("POST", "/v0.4/traces", &[("content-encoding", "identity")], TRACES),
        ("POST", "/v0.4/traces", &[("sec-fetch-site", "same-origin")], TRACES),
        ("POST", "/v0.6/stats", MSGPACK, Some(25 << 20)),
        ("PUT", "/v0.6/stats", &[], Some(25 << 20)),
        ("PUT", "/services", &[], Some(2 << 20)),
        ("PUT", "/v0.1/services", &[], Some(2 << 20)),
        ("PUT", "/v0.2/services", &[], Some(2 << 20)),
        ("PUT", "/v0.3/services", &[], Some(2 << 20)),
        ("POST", "/v0.4/services", MSGPACK, Some(2 << 20)),
        ("GET", "/info", &[], Some(65_536)),
        ("HEAD", "/info", &[], Some(65_536)),
        ("POST", "/info", &[], Some(65_536)),
    ] {
        let (receiver, _inbox) = receiver();
        assert_eq!(
            receiver.admit(&head(method, path, headers)).ok(),
            expected.map(Admission::Whole),
            "{method} {path} {headers:?}"
        );
    }
    for (method, path, headers, expected) in [
        ("HEAD", "/v0.4/traces", &[][..], 405),
        ("GET", "/v0.4/traces", &[], 405),
        ("DELETE", "/v0.5/traces", &[], 405),
        ("GET", "/v0.6/stats", &[], 405),
        ("GET", "/v0.3/services", &[], 405),
        ("POST", "/", &[], 404),
        // Tracers fall back.
        ("POST", "/v1.0/traces", MSGPACK, 404),
        ("POST", "/v0.4/traces/", MSGPACK, 404),
        ("POST", "/v0.1/spans", MSGPACK, 415),
        ("POST", "/spans", MSGPACK, 415),
        ("POST", "/v0.2/traces", &[("content-type", "Application/MsgPack; charset=utf-8")], 415),
        ("POST", "/v0.4/traces", &[("content-encoding", "gzip")], 415),
        ("POST", "/v0.6/stats", &[("content-encoding", "gzip")], 415),
        ("POST", "/v0.4/traces", &[("sec-fetch-site", "cross-site")], 403),
    ] {
        let (receiver, _inbox) = receiver();
        let response = receiver.admit(&head(method, path, headers)).unwrap_err();
        assert_eq!(response.status, expected, "{method} {path} {headers:?}");
        assert!(!response.body.is_empty(), "{method} {path}: says what is wrong");
        assert_eq!(response.headers.iter().any(|(n, v)| *n == "Allow" && v == "POST, PUT"), expected == 405);
        assert!(response.headers.iter().any(|(name, _)| *name == "Datadog-Agent-State"));
    }
}

/// Rows: the path, the content type, the body, the format it is read in.
#[test]
fn the_content_type_or_the_body_tells_the_format() {
    for (path, content_type, body, expected) in [
        ("/v0.4/traces", "application/msgpack", &b"[]"[..], Format::V04),
        ("/v0.4/traces", "application/msgpack; charset=utf-8", b"[]", Format::V04),
        ("/v0.4/traces", "application/json", b"\x90", Format::Json),
        ("/v0.4/traces", "Text/JSON; charset=utf-8", b"[]", Format::Json),
        ("/v0.3/traces", "application/json", b"[]", Format::Json),
        ("/v0.3/traces", "application/msgpack", b"\x90", Format::V04),
        ("/v0.3/traces", "", b" \n[]", Format::Json),
        ("/v0.4/traces", "", b"[]", Format::Json),
        ("/v0.4/traces", "", b"null", Format::Json),
        ("/v0.4/traces", "", b"\x90", Format::V04),
        ("/v0.4/traces", "", b"\xdc\0\0", Format::V04),
        ("/v0.4/traces", "application/octet-stream", b"\xdd\0\0\0\0", Format::V04),
        ("/v0.4/traces", "application/octet-stream", b"[]", Format::Json),
        ("/v0.4/traces", "nonsense", b"", Format::V04),
        ("/v0.5/traces", "application/json", b"\x92\x90\x90", Format::V05),
        ("/v0.7/traces", "", b"\x80", Format::V07),
        ("/v0.2/traces", "application/octet-stream", b"\x90", Format::Json),
        ("/v0.1/spans", "", b"[]", Format::JsonSpans),
        ("/spans", "text/json", b"[]", Format::JsonSpans),
    ] {
        let head = head("POST", path, &[("content-type", content_type)]);
        let response = answer(&head, body, move |message| match message {
            Message::Payload { format, reply, .. } if format == expected => reply.send(Ok(rates())).unwrap(),
            other => panic!("{other:?}"),
        });
        assert_eq!(response.status, 200, "{path} {content_type} {body:?}");
    }
}

#[test]
fn every_version_is_answered_in_its_own_way() {
    let span = r#"{"trace_id": 1, "span_id": 2}"#;
    let trace = format!("[[{span}]]");
    let msgpack = b"\x91\x91\x82\xa8trace_id\x01\xa7span_id\x02";
    let rates = "{\"rate_by_service\":{\"service:,env:\":0.5}}";
    for (path, body, expected) in [
        ("/spans", format!("[{span}]").as_bytes(), ("text/plain; charset=utf-8", "OK\n")),
        ("/v0.1/spans", b"[]", ("text/plain; charset=utf-8", "OK\n")),
        ("/v0.2/traces", trace.as_bytes(), ("text/plain; charset=utf-8", "OK\n")),
        ("/v0.3/traces", trace.as_bytes(), ("text/plain; charset=utf-8", "OK\n")),
        ("/v0.3/traces", msgpack, ("text/plain; charset=utf-8", "OK\n")),
        ("/v0.4/traces", trace.as_bytes(), ("application/json", rates)),
        ("/v0.4/traces", msgpack, ("application/json", rates)),
        ("/v0.5/traces", b"\x92\x90\x90", ("application/json", rates)),
        ("/v0.7/traces", b"\x81\xa6chunks\x91\x81\xa5spans\x90", ("application/json", rates)),
    ] {
        let response = answer(&head("PUT", path, &[]), body, decode);
        assert_eq!((response.status, response.content_type, text(&response)), (200, expected.0, expected.1), "{path}");
    }
    for path in ["/services", "/v0.1/services", "/v0.2/services", "/v0.3/services", "/v0.4/services"] {
        let response = answer(&head("PUT", path, &[]), b"{}", |message| panic!("{message:?}"));
        assert_eq!((response.status, text(&response)), (200, "OK\n"), "{path}");
    }
}

#[test]
fn rates_are_not_told_twice() {
    let all = "{\"rate_by_service\":{\"service:,env:\":0.5}}";
    for (known, body, version) in
        [(None, all, None), (Some(""), all, None), (Some("v1"), all, Some("v2")), (Some("v2"), "{}", Some("v2"))]
    {
        let headers: Vec<_> = known.map(|known| (RATES_VERSION, known)).into_iter().collect();
        let response = answer(&head("PUT", "/v0.4/traces", &headers), b"\x90", decode);
        assert_eq!(text(&response), body, "{known:?}");
        let told = response.headers.iter().find(|(name, _)| *name == "Datadog-Rates-Payload-Version");
        assert_eq!(told.map(|(_, version)| version.as_str()), version, "{known:?}");
    }
}

#[test]
fn answers_follow_the_agent() {
    let error = DecodeError { reason: "expected a map", offset: 3 };
    for (outcome, status, body) in [
        (
            Some(Err(error)),
            400,
            "cannot decode /v0.5/traces: expected a map at byte 3; what came before it was taken\n",
        ),
        (None, 500, "the trace agent failed on this payload\n"),
    ] {
        let head = head("POST", "/v0.5/traces", &[("datadog-meta-lang", "go")]);
        let response = answer(&head, &[0x90], |message| match message {
            Message::Payload { body, headers, reply, .. } => {
                assert_eq!((&*body, headers.lang.as_str()), (&b"\x90"[..], "go"));
                outcome.map(|outcome| reply.send(outcome));
            }
            other => panic!("{other:?}"),
        });
        assert_eq!((response.status, text(&response)), (status, body));
    }
}

#[test]
fn stats_go_to_the_agent() {
    let error = DecodeError { reason: "expected a map", offset: 0 };
    for (outcome, status) in [(Some(Ok(())), 202), (Some(Err(error)), 400), (None, 500)] {
        let headers = [("datadog-obfuscation-version", "1"), ("datadog-meta-lang", "nodejs")];
        let response = answer(&head("PUT", "/v0.6/stats", &headers), b"\x80", move |message| match message {
            Message::Stats { body, headers, reply } => {
                assert_eq!((&*body, headers.obfuscation_version, headers.lang.as_str()), (&b"\x80"[..], 1, "nodejs"));
                outcome.map(|outcome| reply.send(outcome));
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(response.status, status, "{}", text(&response));
        assert_eq!(status == 400, text(&response).contains("expected a map at byte 0"));
    }
    let nothing = answer(&head("PUT", "/v0.6/stats", &[]), b"", |message| panic!("{message:?}"));
    assert_eq!(nothing.status, 202);
}

#[test]
fn a_tracer_does_not_wait_for_ever_for_a_busy_agent() {
    let before = counters::get(Counter::TracesBusy);
    for (headers, status) in [(&[][..], 503), (&[("datadog-send-real-http-status", "1")], 429)] {
        let (to_agent, _inbox) = bounded(0);
        let receiver = receiver_to(to_agent);
        let response = receiver.respond(&head("PUT", "/v0.4/traces", headers), Body::detached(vec![0x90]));
        assert_eq!(response.status, status);
    }
    assert!(counters::get(Counter::TracesBusy) >= before + 2);
}

#[test]
fn without_an_agent_there_is_an_answer() {
    for path in ["/v0.4/traces", "/v0.6/stats"] {
        let (receiver, inbox) = receiver();
        drop(inbox);
        let head = head("POST", path, &[]);
        assert_eq!(receiver.respond(&head, Body::detached(vec![0x90])).status, 503);
    }
}

#[test]
fn no_body_is_no_traces_and_its_headers_count() {
    for path in ["/v0.1/spans", "/v0.2/traces", "/v0.3/traces", "/v0.4/traces", "/v0.5/traces", "/v0.7/traces"] {
        let head = head("POST", path, &[("datadog-client-dropped-p0-traces", "7")]);
        let response = answer(&head, b"", |message| {
            assert!(matches!(&message, Message::Payload { headers, .. } if headers.dropped_p0_traces == 7));
            decode(message);
        });
        assert_eq!(response.status, 200, "{path}");
    }
}
