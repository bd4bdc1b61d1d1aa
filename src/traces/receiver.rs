//! What 127.0.0.1:8126 serves (spec: traces 4.1): the tracers' endpoints. Runs on connection threads; keeps nothing.
//!
//! Routes of later versions of the protocol answer 404, on which tracers fall back to one that `/info` lists.

use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::{DecodeError, Format, Message, TracerHeaders};
use crate::diag::counters::{self, Counter};
use crate::net::{Body, Head, Response, Service};

/// Longest request body, in bytes.
pub const MAX_BODY: usize = 50 << 20;

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
#[derive(Clone, Debug)]
pub struct Receiver {
    /// The trace agent's inbox.
    pub to_agent: Sender<Message>,
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
    fn admit(&self, head: &Head) -> Result<usize, Response> {
        match endpoint(&head.path) {
            None => {
                Err(Response::text(404, format!("no such endpoint: {}; GET /info lists what there is\n", head.path)))
            }
            Some(Endpoint::Info) => Ok(MAX_BODY),
            Some(Endpoint::Traces(_)) if !matches!(head.method.as_str(), "POST" | "PUT") => {
                let mut response =
                    Response::text(405, format!("{} is not allowed on {}: POST or PUT\n", head.method, head.path));
                response.headers.push(("Allow", "POST, PUT".to_owned()));
                Err(response)
            }
            Some(Endpoint::Traces(_)) => readable(head).map(|()| MAX_BODY),
        }
    }

    fn respond(&self, head: &Head, body: Body) -> Response {
        match endpoint(&head.path) {
            None => Response::text(404, "no such endpoint\n"),
            Some(Endpoint::Info) => Response::json(200, INFO),
            Some(Endpoint::Traces(_)) if body.is_empty() => Response::json(200, ACCEPTED),
            Some(Endpoint::Traces(format)) => self.traces(head, body, format),
        }
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
            Ok(Ok(())) | Err(RecvTimeoutError::Timeout) => Response::json(200, ACCEPTED),
            Ok(Err(e)) => refusal(&head.path, e),
            Err(RecvTimeoutError::Disconnected) => {
                counters::count(Counter::TracesBusy);
                Response::text(503, "the trace agent ended\n")
            }
        }
    }
}

fn refusal(path: &str, error: DecodeError) -> Response {
    let DecodeError { reason, offset } = error;
    crate::diag::debug!("traces: a request to {path} could not be decoded: {reason} at byte {offset}");
    Response::text(400, format!("cannot decode {path}: {reason} at byte {offset}; the traces before it were taken\n"))
}
