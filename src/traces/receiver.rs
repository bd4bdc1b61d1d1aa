//! What 127.0.0.1:8126 serves (spec: traces 4.1): the tracers' endpoints. Runs on connection threads; keeps nothing.
//!
//! Routes of later versions of the protocol answer 404, on which tracers fall back to one that `/info` lists.

use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::passthrough::{self, Passthrough};
use super::{DecodeError, Format, Message, TracerHeaders};
use crate::diag::counters::{self, Counter};
use crate::net::{Admission, Body, Head, Response, Rest, Service};

/// Longest request body, in bytes.
pub const MAX_BODY: usize = 50 << 20;

/// Longest body of a request that carries nothing, in bytes.
const MAX_EMPTY: usize = 64 << 10;

/// How long a request waits for room in the trace agent's inbox. Tracers wait for two seconds.
const INBOX_WAIT: Duration = Duration::from_secs(1);

/// How long a request waits to learn whether it could be decoded. It is the agent's by then, so after this it is accepted.
const REPLY_WAIT: Duration = Duration::from_secs(5);

/// What `/info` says: what is served, and that tracers must not drop spans themselves, so that stats can be computed from
/// all of them.
const INFO: &str = r#"{"endpoints":["/v0.4/traces","/v0.5/traces","/info"],"client_drop_p0s":false}"#;

/// No sampling rates: every trace is wanted.
const ACCEPTED: &str = r#"{"rate_by_service":{}}"#;

/// The service behind the port.
pub struct Receiver {
    /// The trace agent's inbox.
    pub to_agent: Sender<Message>,
    /// What goes on to other intakes.
    pub proxy: Passthrough,
}

/// What a path is for.
#[derive(Clone, Copy)]
enum Endpoint {
    Traces(Format),
    Info,
}

fn endpoint(path: &str) -> Option<Endpoint> {
    match path {
        "/v0.4/traces" => Some(Endpoint::Traces(Format::V04)),
        "/v0.5/traces" => Some(Endpoint::Traces(Format::V05)),
        "/info" => Some(Endpoint::Info),
        _ => None,
    }
}

impl Service for Receiver {
    fn admit(&self, head: &Head) -> Result<Admission, Response> {
        if let Some(route) = passthrough::route(&head.path) {
            return self.proxy.admit(head, route);
        }
        match endpoint(&head.path) {
            None => {
                Err(Response::text(404, format!("no such endpoint: {}; GET /info lists what there is\n", head.path)))
            }
            Some(Endpoint::Info) => Ok(Admission::Whole(MAX_EMPTY)),
            Some(Endpoint::Traces(_)) if !matches!(head.method.as_str(), "POST" | "PUT") => {
                let mut response =
                    Response::text(405, format!("{} is not allowed on {}: POST or PUT\n", head.method, head.path));
                response.headers.push(("Allow", "POST, PUT".to_owned()));
                Err(response)
            }
            Some(Endpoint::Traces(_)) => readable(head).map(|()| Admission::Whole(MAX_BODY)),
        }
    }

    fn respond(&self, head: &Head, body: Body) -> Response {
        if passthrough::route(&head.path).is_some() {
            return self.proxy.respond(&body);
        }
        match endpoint(&head.path) {
            None => Response::text(404, "no such endpoint\n"),
            Some(Endpoint::Info) => Response::json(200, INFO),
            // Some tracers send nothing at all for no traces; what their headers count is sent all the same.
            Some(Endpoint::Traces(format)) if body.is_empty() => {
                self.traces(head, Body::detached(nothing(format).to_vec()), format)
            }
            Some(Endpoint::Traces(format)) => self.traces(head, body, format),
        }
    }

    fn relay(&self, head: &Head, start: Body, rest: Option<&mut Rest<'_>>) -> Response {
        match passthrough::route(&head.path) {
            Some(route) => self.proxy.relay(head, route, start, rest, &self.to_agent),
            None => Response::text(404, "no such endpoint\n"),
        }
    }
}

/// The body without traces.
fn nothing(format: Format) -> &'static [u8] {
    match format {
        Format::V04 => &[0x90],
        Format::V05 => &[0x92, 0x90, 0x90],
    }
}

/// Whether the trace agent can read such a body.
fn readable(head: &Head) -> Result<(), Response> {
    let content_type = head.header("content-type").unwrap_or_default();
    if content_type.to_ascii_lowercase().contains("json") {
        return Err(Response::text(
            415,
            format!("content type {content_type} is not supported: send application/msgpack\n"),
        ));
    }
    match head.header("content-encoding").unwrap_or("identity") {
        "" | "identity" => Ok(()),
        other => {
            Err(Response::text(415, format!("content encoding {other} is not supported: send the body as it is\n")))
        }
    }
}

impl Receiver {
    fn traces(&self, head: &Head, body: Body, format: Format) -> Response {
        let (reply, outcome) = bounded(1);
        let headers = Box::new(TracerHeaders::of(head));
        if self.to_agent.send_timeout(Message::Payload { body, format, headers, reply }, INBOX_WAIT).is_err() {
            counters::count(Counter::TracesBusy);
            return Response::text(503, "the trace agent is busy, or ended\n");
        }
        match outcome.recv_timeout(REPLY_WAIT) {
            Ok(Ok(rates)) => Response::json(200, rates.body.clone()),
            Err(RecvTimeoutError::Timeout) => Response::json(200, ACCEPTED),
            Ok(Err(e)) => refusal(&head.path, e),
            Err(RecvTimeoutError::Disconnected) => {
                counters::count(Counter::TracesLost);
                Response::text(500, "the trace agent failed on this payload\n")
            }
        }
    }
}

fn refusal(path: &str, error: DecodeError) -> Response {
    let DecodeError { reason, offset } = error;
    crate::diag::debug!("traces: a request to {path} could not be decoded: {reason} at byte {offset}");
    Response::text(400, format!("cannot decode {path}: {reason} at byte {offset}; the traces before it were taken\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use super::super::Rates;
    use crate::config::Config;
    use crate::forwarder::Client;
    use crate::lambda::Tags;
    use crate::traces::pipeline::{Pipeline, Request, Tally};
    use crate::traces::tagging::Tagging;
    use crossbeam_channel::unbounded;

    fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Head {
        Head {
            method: method.into(),
            path: path.into(),
            query: String::new(),
            headers: headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect(),
        }
    }

    fn proxy() -> Passthrough {
        let config = Arc::new(Config::load(&[], None).0);
        Passthrough::new(&config, &Tags::default(), Client::new(&config), None)
    }

    fn receiver() -> (Receiver, crossbeam_channel::Receiver<Message>) {
        let (to_agent, inbox) = unbounded();
        (Receiver { to_agent, proxy: proxy() }, inbox)
    }

    fn rates() -> Arc<Rates> {
        Arc::new(Rates { body: ACCEPTED.to_owned(), version: String::new() })
    }

    #[test]
    fn heads_are_judged_before_the_body() {
        let msgpack = &[("content-type", "application/msgpack")][..];
        for (method, path, headers, expected) in [
            ("POST", "/v0.4/traces", msgpack, None),
            ("PUT", "/v0.4/traces", msgpack, None),
            ("POST", "/v0.5/traces", msgpack, None),
            ("PUT", "/v0.5/traces", &[], None),
            ("POST", "/v0.4/traces", &[("content-type", "application/octet-stream")], None),
            ("POST", "/v0.4/traces", &[("content-type", "application/msgpack; charset=utf-8")], None),
            ("POST", "/v0.4/traces", &[("content-type", "")], None),
            ("GET", "/info", &[], None),
            ("HEAD", "/info", &[], None),
            ("POST", "/info", &[], None),
            ("HEAD", "/v0.4/traces", &[], Some(405)),
            ("GET", "/v0.4/traces", &[], Some(405)),
            ("DELETE", "/v0.5/traces", &[], Some(405)),
            ("POST", "/", &[], Some(404)),
            ("POST", "/v0.3/traces", msgpack, Some(404)),
            ("POST", "/v0.7/traces", msgpack, Some(404)),
            ("POST", "/v0.4/traces/", msgpack, Some(404)),
            ("POST", "/v0.6/stats", msgpack, Some(404)),
            ("POST", "/v0.4/traces", &[("content-type", "application/json")], Some(415)),
            ("POST", "/v0.4/traces", &[("content-type", "Text/JSON; charset=utf-8")], Some(415)),
            ("POST", "/v0.4/traces", &[("content-encoding", "gzip")], Some(415)),
            ("POST", "/v0.4/traces", &[("content-encoding", "identity")], None),
        ] {
            let (receiver, _inbox) = receiver();
            match (receiver.admit(&head(method, path, headers)), expected) {
                (Ok(limit), None) => {
                    assert_eq!(limit, Admission::Whole(if path == "/info" { 65_536 } else { 52_428_800 }));
                }
                (Err(response), Some(status)) => {
                    assert_eq!(response.status, status, "{method} {path}");
                    assert!(!response.body.is_empty(), "{method} {path}: says what is wrong");
                }
                (got, _) => panic!("{method} {path} {headers:?}: {got:?}"),
            }
        }
    }

    #[test]
    fn info_lists_what_is_served() {
        let (receiver, _inbox) = receiver();
        let response = receiver.respond(&head("GET", "/info", &[]), Body::detached(Vec::new()));
        assert_eq!((response.status, response.content_type), (200, "application/json"));
        let info: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(info["client_drop_p0s"], false);
        assert_eq!(info["endpoints"], serde_json::json!(["/v0.4/traces", "/v0.5/traces", "/info"]));
        for path in info["endpoints"].as_array().unwrap() {
            assert!(endpoint(path.as_str().unwrap()).is_some(), "{path}");
        }
    }

    #[test]
    fn answers_follow_the_agent() {
        let error = DecodeError { reason: "expected a map", offset: 3 };
        for (outcome, status, body) in [
            (Some(Ok(rates())), 200, r#"{"rate_by_service":{}}"#),
            (
                Some(Err(error)),
                400,
                "cannot decode /v0.5/traces: expected a map at byte 3; the traces before it were taken\n",
            ),
            (None, 500, "the trace agent failed on this payload\n"),
        ] {
            let (receiver, inbox) = receiver();
            let agent = std::thread::spawn(move || match inbox.recv() {
                Ok(Message::Payload { body, format, headers, reply }) => {
                    assert_eq!((&*body, format, headers.lang.as_str()), (&b"\x90"[..], Format::V05, "go"));
                    outcome.map(|outcome| reply.send(outcome));
                }
                other => panic!("{other:?}"),
            });
            let head = head("POST", "/v0.5/traces", &[("datadog-meta-lang", "go")]);
            let response = receiver.respond(&head, Body::detached(vec![0x90]));
            agent.join().unwrap();
            assert_eq!((response.status, std::str::from_utf8(&response.body)), (status, Ok(body)));
        }
    }

    #[test]
    fn a_tracer_does_not_wait_for_ever_for_a_busy_agent() {
        let before = counters::get(Counter::TracesBusy);
        let (to_agent, _inbox) = bounded(0);
        let response = Receiver { to_agent, proxy: proxy() }
            .respond(&head("PUT", "/v0.4/traces", &[]), Body::detached(vec![0x90]));
        assert_eq!(response.status, 503);
        assert!(counters::get(Counter::TracesBusy) > before);
    }

    #[test]
    fn without_an_agent_there_is_an_answer() {
        let (receiver, inbox) = receiver();
        drop(inbox);
        let head = head("POST", "/v0.4/traces", &[]);
        assert_eq!(receiver.respond(&head, Body::detached(vec![0x90])).status, 503);
    }

    #[test]
    fn no_body_is_no_traces_and_its_headers_count() {
        for (path, format) in [("/v0.4/traces", Format::V04), ("/v0.5/traces", Format::V05)] {
            let (receiver, inbox) = receiver();
            let agent = std::thread::spawn(move || match inbox.recv() {
                Ok(Message::Payload { body, format: got, headers, reply }) => {
                    assert_eq!((got, headers.dropped_p0_traces), (format, 7));
                    let request = Request {
                        headers: &headers,
                        tagging: &Tagging::new(&Tags::default()),
                        now: 0,
                        full: &mut |_| {},
                    };
                    let outcome = Pipeline::default().run(&body, got, request, &mut Tally::default());
                    reply.send(outcome.map(|()| rates())).unwrap();
                }
                other => panic!("{other:?}"),
            });
            let head = head("POST", path, &[("datadog-client-dropped-p0-traces", "7")]);
            let response = receiver.respond(&head, Body::detached(Vec::new()));
            agent.join().unwrap();
            assert_eq!((response.status, response.content_type), (200, "application/json"), "{path}");
        }
    }
}
