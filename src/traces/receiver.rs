//! What 127.0.0.1:8126 serves (spec: traces 4.1): the tracers' endpoints, as `routes` lists them. Runs on connection
//! threads; keeps nothing but the document of `/info`.
//!
//! Routes of later versions of the protocol answer 404, on which tracers fall back to one that `/info` lists.

mod info;
mod routes;

use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use self::info::Info;
use self::routes::{Endpoint, Version};
use super::passthrough::{self, Passthrough};
use super::{DecodeError, Format, Message, Rates, TracerHeaders};
use crate::config::Config;
use crate::diag::counters::{self, Counter};
use crate::net::{Admission, Body, Head, Response, Rest, Service};

/// Longest request body, in bytes.
pub const MAX_BODY: usize = 50 << 20;

/// Longest body of stats, in bytes: the Go agent's limit for all. A tracer with thousands of resources sends megabytes.
const MAX_STATS: usize = 25 << 20;

/// Longest list of services, in bytes.
const MAX_SERVICES: usize = 2 << 20;

/// Longest body of a request that carries nothing, in bytes.
const MAX_EMPTY: usize = 64 << 10;

/// How long a request waits for room in the trace agent's inbox. Tracers wait for two seconds.
const INBOX_WAIT: Duration = Duration::from_secs(1);

/// How long a request waits to learn whether it could be decoded. It is the agent's by then, so after this it is accepted.
const REPLY_WAIT: Duration = Duration::from_secs(5);

/// No sampling rates: every trace is wanted.
const ACCEPTED: &str = r#"{"rate_by_service":{}}"#;

/// What a tracer has of the rates, and gets.
const RATES_VERSION: &str = "datadog-rates-payload-version";

/// The service behind the port.
pub struct Receiver {
    to_agent: Sender<Message>,
    info: Info,
    /// What goes on to other intakes.
    proxy: Passthrough,
}

impl Service for Receiver {
    fn admit(&self, head: &Head) -> Result<Admission, Response> {
        let admission = match passthrough::route(&head.path) {
            Some(route) => self.proxy.admit(head, route),
            None => admit(head).map(Admission::Whole),
        };
        admission.map_err(|response| self.stamped(response))
    }

    fn respond(&self, head: &Head, body: Body) -> Response {
        if passthrough::route(&head.path).is_some() {
            return self.stamped(self.proxy.respond(&body));
        }
        let response = match routes::find(&head.path).map(|route| route.endpoint) {
            None => Response::text(404, "no such endpoint\n"),
            Some(Endpoint::Info) => Response::json(200, self.info.document.as_str()),
            Some(Endpoint::Services) => Response::text(200, "OK\n"),
            // Some tracers send nothing at all for nothing.
            Some(Endpoint::Stats) if body.is_empty() => Response::text(202, "nothing to take\n"),
            Some(Endpoint::Stats) => self.stats(head, body),
            Some(Endpoint::Traces(version)) => self.traces(head, body, version),
        };
        self.stamped(response)
    }

    fn relay(&self, head: &Head, start: Body, rest: Option<&mut Rest<'_>>) -> Response {
        let response = match passthrough::route(&head.path) {
            Some(route) => self.proxy.relay(head, route, start, rest, &self.to_agent),
            None => Response::text(404, "no such endpoint\n"),
        };
        self.stamped(response)
    }
}

/// Judges a request by its head.
fn admit(head: &Head) -> Result<usize, Response> {
    let Some(route) = routes::find(&head.path) else {
        return Err(Response::text(404, format!("no such endpoint: {}; GET /info lists what there is\n", head.path)));
    };
    if !(route.methods.is_empty() || route.methods.contains(&head.method.as_str())) {
        let allowed = route.methods.join(", ");
        let text = format!("{} is not allowed on {}: {allowed}\n", head.method, head.path);
        return Err(Response { headers: vec![("Allow", allowed)], ..Response::text(405, text) });
    }
    match route.endpoint {
        Endpoint::Traces(version) => {
            // What a page of another origin makes a browser send is nobody's trace.
            if head.header("sec-fetch-site") == Some("cross-site") {
                return Err(Response::text(403, "requests from other sites are not taken\n"));
            }
            if matches!(version, Version::V01 | Version::V02) && media_type(head) == "application/msgpack" {
                return Err(Response::text(
                    415,
                    "this version of the protocol has no msgpack: send application/json\n",
                ));
            }
            unencoded(head)?;
        }
        Endpoint::Stats => unencoded(head)?,
        Endpoint::Services | Endpoint::Info => {}
    }
    Ok(route.endpoint.limit())
}

/// Whether a body comes as it is.
fn unencoded(head: &Head) -> Result<(), Response> {
    match head.header("content-encoding").unwrap_or_default() {
        "" | "identity" => Ok(()),
        other => {
            Err(Response::text(415, format!("content encoding {other} is not supported: send the body as it is\n")))
        }
    }
}

/// The content type without its parameters, in lower case.
fn media_type(head: &Head) -> String {
    let value = head.header("content-type").unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// How a body is encoded. Where its type does not tell, its first byte does: no byte begins an array in both.
fn format(version: Version, head: &Head, body: &[u8]) -> Format {
    match version {
        Version::V01 => Format::JsonSpans,
        Version::V02 => Format::Json,
        Version::V05 => Format::V05,
        Version::V07 => Format::V07,
        Version::V03 | Version::V04 => match media_type(head).as_str() {
            "application/msgpack" => Format::V04,
            "application/json" | "text/json" => Format::Json,
            _ if matches!(body.trim_ascii_start().first(), Some(b'[' | b'n')) => Format::Json,
            _ => Format::V04,
        },
    }
}

impl Receiver {
    /// A service that hands on to the trace agent or to `proxy`, and describes itself by `config`.
    #[must_use]
    pub fn new(to_agent: Sender<Message>, config: &Config, proxy: Passthrough) -> Self {
        Self { to_agent, info: Info::new(config), proxy }
    }

    /// `response` with the state of `/info`, by which tracers notice that it changed.
    fn stamped(&self, mut response: Response) -> Response {
        response.headers.push(("Datadog-Agent-State", self.info.state.clone()));
        response
    }

    fn traces(&self, head: &Head, body: Body, version: Version) -> Response {
        let format = format(version, head, &body);
        let headers = Box::new(TracerHeaders::of(head));
        let outcome = self.ask(head, |reply| Message::Payload { body, format, headers, reply });
        match outcome {
            Err(response) => response,
            Ok(_) if matches!(version, Version::V01 | Version::V02 | Version::V03) => Response::text(200, "OK\n"),
            Ok(rates) => rated(head, rates.as_deref()),
        }
    }

    fn stats(&self, head: &Head, body: Body) -> Response {
        let headers = Box::new(TracerHeaders::of(head));
        match self.ask(head, |reply| Message::Stats { body, headers, reply }) {
            Err(response) => response,
            Ok(_) => Response::text(202, "the stats were taken\n"),
        }
    }

    /// Sends a message and waits for its outcome; `None` if that takes too long, `Err` if nothing was taken.
    fn ask<T>(
        &self,
        head: &Head,
        message: impl FnOnce(Sender<Result<T, DecodeError>>) -> Message,
    ) -> Result<Option<T>, Response> {
        let (reply, outcome) = bounded(1);
        if self.to_agent.send_timeout(message(reply), INBOX_WAIT).is_err() {
            return Err(busy(head));
        }
        match outcome.recv_timeout(REPLY_WAIT) {
            Ok(Ok(taken)) => Ok(Some(taken)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Ok(Err(e)) => Err(refusal(&head.path, e)),
            Err(RecvTimeoutError::Disconnected) => {
                counters::count(Counter::TracesLost);
                Err(Response::text(500, "the trace agent failed on this payload\n"))
            }
        }
    }
}

/// The answer if there is no room: tracers that say so understand 429. The Go agent tells all others that everything is
/// well, which it is not.
fn busy(head: &Head) -> Response {
    counters::count(Counter::TracesBusy);
    let status = if head.header("datadog-send-real-http-status").unwrap_or_default().is_empty() { 503 } else { 429 };
    Response::text(status, "the trace agent is busy, or ended\n")
}

/// The answer with the sampling rates, or without them if the tracer has them.
fn rated(head: &Head, rates: Option<&Rates>) -> Response {
    let Some(Rates { body, version }) = rates else { return Response::json(200, ACCEPTED) };
    let Some(known) = head.header(RATES_VERSION).filter(|v| !v.is_empty()) else {
        return Response::json(200, body.as_str());
    };
    let body = if known == version { "{}" } else { body };
    Response { headers: vec![("Datadog-Rates-Payload-Version", version.clone())], ..Response::json(200, body) }
}

fn refusal(path: &str, error: DecodeError) -> Response {
    let DecodeError { reason, offset } = error;
    crate::diag::debug!("traces: a request to {path} could not be decoded: {reason} at byte {offset}");
    Response::text(400, format!("cannot decode {path}: {reason} at byte {offset}; what came before it was taken\n"))
}

#[cfg(test)]
mod tests;
