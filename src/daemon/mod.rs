//! The HTTP daemon on 8124: what Lambda and the libraries tell the extension.
//!
//! Routes only: it owns no state, and what a request means is decided by whoever gets the message. Runs on connection
//! threads of the thread `daemon`.

use std::time::Duration;

use crossbeam_channel::Sender;

use crate::diag::counters::{Counter, count};
use crate::lambda::Event;
use crate::logs;
use crate::net::{Admission, Body, Head, Response, Service};

/// Lambda buffers 256 KiB of telemetry; one record may add to that, escaped.
const MAX_TELEMETRY: usize = 8 * 1024 * 1024;
/// Lambda's limit for a payload is 6 MB, 20 MB for a streamed response.
const MAX_PAYLOAD: usize = 20 * 1024 * 1024;
/// Requests that carry nothing.
const MAX_EMPTY: usize = 64 * 1024;
/// How long a delivery may wait for the logs agent before Lambda is asked to deliver it again.
const HANDOVER: Duration = Duration::from_secs(2);

/// The daemon's routes and the channels behind them.
#[derive(Debug)]
pub struct Daemon {
    /// The coordinator's inbox.
    pub events: Sender<Event>,
    /// The logs agent, which takes Telemetry API deliveries.
    pub logs: Sender<logs::Message>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Hello,
    Flush,
    TraceContext,
    Logs,
    StartInvocation,
    EndInvocation,
}

impl Endpoint {
    fn find(path: &str) -> Option<Self> {
        Some(match path {
            "/lambda/hello" => Self::Hello,
            "/lambda/flush" => Self::Flush,
            "/trace-context" => Self::TraceContext,
            "/lambda/logs" => Self::Logs,
            "/lambda/start-invocation" => Self::StartInvocation,
            "/lambda/end-invocation" => Self::EndInvocation,
            _ => return None,
        })
    }

    fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Hello => &["GET", "HEAD"],
            // Python and Node post, Go gets (spec: clients 11.2).
            Self::Flush | Self::TraceContext => &["GET", "HEAD", "POST"],
            Self::Logs | Self::StartInvocation | Self::EndInvocation => &["POST"],
        }
    }

    fn max_body(self) -> usize {
        match self {
            Self::Hello | Self::Flush | Self::TraceContext => MAX_EMPTY,
            Self::Logs => MAX_TELEMETRY,
            Self::StartInvocation | Self::EndInvocation => MAX_PAYLOAD,
        }
    }
}

impl Service for Daemon {
    fn admit(&self, head: &Head) -> Result<Admission, Response> {
        let Some(endpoint) = Endpoint::find(&head.path) else {
            return Err(Response::text(404, format!("no such endpoint: {}\n", head.path)));
        };
        if endpoint.methods().contains(&head.method.as_str()) {
            return Ok(Admission::Whole(endpoint.max_body()));
        }
        let allow = endpoint.methods().join(", ");
        let mut response = Response::text(405, format!("{} does not take {}; use {allow}\n", head.path, head.method));
        response.headers.push(("Allow", allow));
        Err(response)
    }

    fn respond(&self, head: &Head, body: Body) -> Response {
        match Endpoint::find(&head.path) {
            Some(Endpoint::Hello | Endpoint::TraceContext | Endpoint::StartInvocation) => Response::json(200, "{}"),
            Some(Endpoint::Flush) => self.tell(Event::FlushRequested),
            Some(Endpoint::EndInvocation) => self.tell(Event::InvocationEnded),
            Some(Endpoint::Logs) => self.deliver(body),
            None => Response::text(404, "no such endpoint\n"),
        }
    }
}

impl Daemon {
    fn tell(&self, event: Event) -> Response {
        if self.events.try_send(event).is_err() {
            count(Counter::InboxFull);
            return Response::text(503, "the agent is busy\n");
        }
        Response::json(200, "{}")
    }

    /// Answers once the delivery is in the logs agent's channel; otherwise Lambda delivers it again.
    fn deliver(&self, body: Body) -> Response {
        match self.logs.send_timeout(logs::Message::Telemetry(body), HANDOVER) {
            Ok(()) => Response::text(200, ""),
            Err(_) => {
                count(Counter::LogsBusy);
                Response::text(503, "the logs agent is busy; deliver again\n")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::counters::get;
    use crossbeam_channel::bounded;

    fn head(method: &str, path: &str) -> Head {
        Head { method: method.to_owned(), path: path.to_owned(), query: String::new(), headers: Vec::new() }
    }

    #[test]
    fn routes_methods_and_limits() {
        let (events, _events) = bounded(8);
        let (logs, _logs) = bounded(8);
        let daemon = Daemon { events, logs };
        for (method, path, expected) in [
            ("GET", "/lambda/hello", Ok(MAX_EMPTY)),
            ("POST", "/lambda/hello", Err(405)),
            ("GET", "/lambda/flush", Ok(MAX_EMPTY)),
            ("POST", "/lambda/flush", Ok(MAX_EMPTY)),
            ("PUT", "/lambda/flush", Err(405)),
            ("GET", "/trace-context", Ok(MAX_EMPTY)),
            ("POST", "/trace-context", Ok(MAX_EMPTY)),
            ("POST", "/lambda/logs", Ok(MAX_TELEMETRY)),
            ("GET", "/lambda/logs", Err(405)),
            ("POST", "/lambda/start-invocation", Ok(MAX_PAYLOAD)),
            ("POST", "/lambda/end-invocation", Ok(MAX_PAYLOAD)),
            ("GET", "/", Err(404)),
            ("POST", "/lambda/logs/", Err(404)),
        ] {
            let admitted = daemon.admit(&head(method, path)).map_err(|r| r.status);
            assert_eq!(admitted, expected.map(Admission::Whole), "{method} {path}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_allowed() {
        let (events, _events) = bounded(8);
        let (logs, _logs) = bounded(8);
        let refused = Daemon { events, logs }.admit(&head("DELETE", "/lambda/logs")).unwrap_err();
        assert_eq!(refused.headers, [("Allow", "POST".to_owned())]);
        assert_eq!(String::from_utf8(refused.body).unwrap(), "/lambda/logs does not take DELETE; use POST\n");
    }

    #[test]
    fn events_reach_their_owner_before_the_answer() {
        let (events, inbox) = bounded(1);
        let (logs, deliveries) = bounded(1);
        let daemon = Daemon { events, logs };
        let body = || Body::detached(b"[]".to_vec());
        assert_eq!(daemon.respond(&head("POST", "/lambda/logs"), body()).status, 200);
        assert!(matches!(deliveries.try_recv(), Ok(logs::Message::Telemetry(b)) if &*b == b"[]"));
        assert_eq!(daemon.respond(&head("POST", "/lambda/end-invocation"), body()).status, 200);
        // The inbox is full now: the caller is told, nothing blocks.
        assert_eq!(daemon.respond(&head("GET", "/lambda/flush"), body()).status, 503);
        assert!(matches!(inbox.try_recv(), Ok(Event::InvocationEnded)));
    }

    #[test]
    fn a_dead_logs_agent_is_said() {
        let (events, _inbox) = bounded(1);
        let (logs, deliveries) = bounded(1);
        drop(deliveries);
        let daemon = Daemon { events, logs };
        let before = get(Counter::LogsBusy);
        assert_eq!(daemon.respond(&head("POST", "/lambda/logs"), Body::detached(Vec::new())).status, 503);
        assert!(get(Counter::LogsBusy) > before);
    }
}
