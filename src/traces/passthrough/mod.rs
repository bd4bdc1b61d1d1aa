//! Requests of the tracers that go on to other intakes (spec: traces 4.9): the table of routes, and what is done with a
//! request. Runs on connection threads; keeps nothing.
//!
//! A small request of the kind that tracers send and forget is the trace agent's once it is here as a whole: it goes out
//! with the next flush, when nothing of the function waits for it. A longer one, one for which the agent has no room, and
//! one whose answer tells the client something flows on to the intake at once, through the connection's buffers.
//!
//! `request` says how a request looks to the intake, `evp` what the event platform's proxy takes, `store` is where the
//! agent keeps what goes out with its next flush.

mod evp;
mod request;
pub mod store;

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::Message;
use crate::config::Config;
use crate::config::apm::Proxy;
use crate::diag::counters::{Counter, count};
use crate::forwarder::{self, Answer, Client, Encoding, Intake, Payload, Relay, RelayError, Request, Upload};
use crate::lambda::Tags;
use crate::net::{Admission, Body, Head, Response, Rest};
use request::Identity;

/// Longest body that waits for a flush, in bytes; what is longer is passed on at once.
const STORED_MAX: usize = 2 << 20;
/// Longest body that is held in memory so that additional endpoints get it too.
const HELD_MAX: usize = 16 << 20;
/// Longest body of DogStatsD lines.
const LINES_MAX: usize = 2 << 20;

/// How long a request waits for room in the trace agent's inbox; then it is passed on at once.
const INBOX_WAIT: Duration = Duration::from_secs(1);
/// How long it waits to learn whether the agent had room for it.
const REPLY_WAIT: Duration = Duration::from_secs(5);

/// Takes DogStatsD lines; `false` if there is nobody or no room for them.
pub type Lines = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// It is acknowledged by this name and goes out with the next flush.
    Store(Intake, &'static str),
    /// It is passed on at once.
    Relay(Intake),
    /// Its body is DogStatsD lines.
    Lines,
}

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// The path; one that ends in a slash stands for every path below it.
    path: &'static str,
    action: Action,
    /// How much of the path stays behind; the intake's address takes the place of what goes. All of it if the intake has
    /// one path only.
    prefix: usize,
}

const fn store(path: &'static str, intake: Intake, name: &'static str) -> Row {
    Row { path, action: Action::Store(intake, name), prefix: path.len() }
}

const fn relay(path: &'static str, intake: Intake) -> Row {
    Row { path, action: Action::Relay(intake), prefix: path.len() }
}

const fn lines(path: &'static str) -> Row {
    Row { path, action: Action::Lines, prefix: path.len() }
}

/// Keeps the last slash of the prefix, and what follows.
const fn below(row: Row) -> Row {
    Row { prefix: row.path.len() - 1, ..row }
}

/// The same for a path of the event platform.
const fn event(row: Row) -> Row {
    Row { prefix: "/evp_proxy/v2".len(), ..row }
}

/// The first row that fits counts.
const ROWS: [Row; 19] = [
    store("/profiling/v1/input", Intake::Profiles, "profiling"),
    store("/debugger/v1/input", Intake::DebuggerLogs, "debugger_logs"),
    store("/debugger/v2/input", Intake::Debugger, "debugger"),
    store("/debugger/v1/diagnostics", Intake::Debugger, "debugger"),
    store("/symdb/v1/input", Intake::Symbols, "symdb"),
    store("/v0.1/pipeline_stats", Intake::DataStreams, "DSM"),
    below(store("/telemetry/proxy/", Intake::Telemetry, "instrumentation")),
    event(store("/evp_proxy/v2/api/v2/llmobs", Intake::LlmSpans, "llm_obs_spans")),
    event(store("/evp_proxy/v2/api/intake/llm-obs/v1/eval-metric", Intake::LlmEvaluations, "llm_obs_eval_metric")),
    event(store("/evp_proxy/v2/api/intake/llm-obs/v2/eval-metric", Intake::LlmEvaluations, "llm_obs_eval_metric")),
    below(relay("/evp_proxy/v1/", Intake::Events)),
    below(relay("/evp_proxy/v2/", Intake::Events)),
    below(relay("/evp_proxy/v3/", Intake::Events)),
    below(relay("/evp_proxy/v4/", Intake::Events)),
    relay("/tracer_flare/v1", Intake::Flares),
    relay(SETTINGS, Intake::Settings),
    relay("/openlineage/api/v1/lineage", Intake::Lineage),
    lines("/dogstatsd/v1/proxy"),
    lines("/dogstatsd/v2/proxy"),
];

/// Remote configuration: only if asked for, because a tracer that gets answers polls for it, every few seconds and over the
/// network, in an environment that is frozen most of the time.
const SETTINGS: &str = "/v0.7/config";

/// What `/info` lists of these, as the Go agent names them.
const LISTED: &[&str] = &[
    "/profiling/v1/input",
    "/debugger/v1/input",
    "/debugger/v2/input",
    "/debugger/v1/diagnostics",
    "/symdb/v1/input",
    "/v0.1/pipeline_stats",
    "/telemetry/proxy/",
    "/evp_proxy/v1/",
    "/evp_proxy/v2/",
    "/evp_proxy/v3/",
    "/evp_proxy/v4/",
    "/tracer_flare/v1",
    SETTINGS,
    "/openlineage/api/v1/lineage",
    "/dogstatsd/v1/proxy",
    "/dogstatsd/v2/proxy",
];

/// What `/info` lists of these under `settings`.
pub fn listed(settings: &Proxy) -> impl Iterator<Item = &'static str> + Clone {
    let Proxy { evp_enabled, openlineage_enabled, remote_configuration, .. } = *settings;
    let served = move |path: &&'static str| match *path {
        SETTINGS => remote_configuration,
        path if path.starts_with("/evp_proxy/") => evp_enabled,
        path if path.starts_with("/openlineage/") => openlineage_enabled,
        _ => true,
    };
    LISTED.iter().copied().filter(served)
}

/// A path that is served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route(&'static Row);

/// The route of `path`, if it is one of these.
#[must_use]
pub fn route(path: &str) -> Option<Route> {
    static TABLE: &[Row] = &ROWS;
    let fits = |row: &&Row| if row.path.ends_with('/') { path.starts_with(row.path) } else { path == row.path };
    TABLE.iter().find(fits).map(Route)
}

impl Route {
    /// The methods it takes. The event platform's part decides itself.
    fn methods(self) -> &'static [&'static str] {
        match self.0.action {
            Action::Relay(Intake::Events) => &["POST", "PUT", "PATCH", "GET", "DELETE"],
            Action::Relay(Intake::Settings) => &["POST", "GET"],
            Action::Store(..) | Action::Relay(_) | Action::Lines => &["POST", "PUT"],
        }
    }
}

/// What the routes need.
pub struct Passthrough {
    config: Arc<Config>,
    identity: Identity,
    relay: Relay,
    lines: Option<Lines>,
}

impl Passthrough {
    /// Requests leave with the settings' addresses, through `client`; `tags` say whose they are. DogStatsD lines go to
    /// `lines`.
    #[must_use]
    pub fn new(config: &Arc<Config>, tags: &Tags, client: Client, lines: Option<Lines>) -> Self {
        let relay = Relay::new(client, Arc::clone(config));
        Self { config: Arc::clone(config), identity: Identity::new(tags), relay, lines }
    }

    /// Decides on a request's head how its body is read.
    ///
    /// # Errors
    /// The answer, if it is refused.
    pub fn admit(&self, head: &Head, route: Route) -> Result<Admission, Response> {
        self.judge(head, route).inspect_err(|_| count(Counter::ProxyRefused))
    }

    fn judge(&self, head: &Head, route: Route) -> Result<Admission, Response> {
        let methods = route.methods();
        if !methods.contains(&head.method.as_str()) {
            let allow = methods.join(", ");
            let mut response =
                Response::text(405, format!("{} is not allowed on {}: use {allow}\n", head.method, head.path));
            response.headers.push(("Allow", allow));
            return Err(response);
        }
        let intake = match route.0.action {
            Action::Lines => return Ok(Admission::Whole(LINES_MAX)),
            Action::Store(intake, _) | Action::Relay(intake) => intake,
        };
        let settings = &self.config.apm.proxy;
        match intake {
            Intake::LlmSpans | Intake::LlmEvaluations | Intake::Events => {
                evp::enabled(settings)?;
                // The paths of LLM Observability say themselves which part of the platform they mean.
                if intake == Intake::Events || head.header(evp::SUBDOMAIN).is_some() {
                    evp::check(head, &head.path[route.0.prefix..], evp::longest(settings))?;
                }
            }
            Intake::Lineage if !settings.openlineage_enabled => {
                return Err(Response::text(500, "OpenLineage forwarder is OFF: Has been disabled in config\n"));
            }
            Intake::Settings if !settings.remote_configuration => {
                return Err(Response::text(404, "remote configuration is off: DD_REMOTE_CONFIGURATION_ENABLED\n"));
            }
            _ => {}
        }
        let stored = if matches!(route.0.action, Action::Store(..)) { STORED_MAX } else { 0 };
        let limit = if self.relay.is_multiple(intake) { HELD_MAX } else { stored };
        // What is not held as a whole need not be held in part.
        let declared = head.header("content-length").and_then(|v| v.parse::<u64>().ok());
        Ok(Admission::Stream(if declared.is_some_and(|length| length > limit as u64) { 0 } else { limit }))
    }

    /// Answers a request whose body was read whole: DogStatsD lines.
    #[must_use]
    pub fn respond(&self, body: &[u8]) -> Response {
        if self.lines.as_ref().is_some_and(|lines| lines(body)) {
            return Response::text(200, "");
        }
        count(Counter::ProxyStatsd);
        Response::text(503, "503 Status Unavailable\n")
    }

    /// Answers a request to `route` whose body begins with `start`; see [`crate::net::Service::relay`].
    #[must_use]
    pub fn relay(
        &self,
        head: &Head,
        route: Route,
        mut start: Body,
        rest: Option<&mut Rest<'_>>,
        agent: &Sender<Message>,
    ) -> Response {
        let (intake, name) = match route.0.action {
            Action::Store(intake, name) => (intake, Some(name)),
            Action::Relay(intake) => (intake, None),
            Action::Lines => return self.respond(&start),
        };
        let mut request = self.identity.request(head, intake, &head.path[route.0.prefix..]);
        if !request.fits() {
            count(Counter::ProxyRefused);
            return Response::text(431, "a header or the query is longer than can be passed on\n");
        }
        let mut bytes = start.take();
        if let Some(name) = name
            && rest.is_none()
            && bytes.len() <= STORED_MAX
            && request.intake == intake
        {
            match store_with(agent, request, bytes) {
                Ok(true) => return acknowledged(name),
                Ok(false) => return Response::text(500, "the trace agent failed on this request\n"),
                Err(payload) => {
                    bytes = payload.body;
                    let Some(given_back) = payload.request else { return acknowledged(name) };
                    request = *given_back;
                }
            }
        }
        let response = self.pass_on(&request, &head.method, &bytes, rest);
        match name {
            // The client sees no difference between a request that waits and one that went.
            Some(name) if (200..300).contains(&response.status) => acknowledged(name),
            _ => response,
        }
        // `start` holds the budget of `bytes` until here.
    }

    /// Sends a request at once and passes the answer back.
    fn pass_on(&self, request: &Request, method: &str, bytes: &[u8], rest: Option<&mut Rest<'_>>) -> Response {
        let limit = match request.intake {
            Intake::Events | Intake::LlmSpans | Intake::LlmEvaluations => evp::longest(&self.config.apm.proxy),
            _ => u64::MAX,
        };
        let mut too_long = bytes.len() as u64 > limit;
        let outcome = match rest {
            _ if too_long => Err(RelayError::Client),
            None => self.relay.send(request, method, Upload::Whole(bytes)),
            Some(rest) => {
                let length = rest.declared().map(|left| left.saturating_add(bytes.len() as u64));
                let mut capped = Capped { inner: rest, left: limit - bytes.len() as u64, exceeded: false };
                let upload = Upload::Stream { start: bytes, rest: &mut capped, length };
                let outcome = self.relay.send(request, method, upload);
                too_long = capped.exceeded;
                outcome
            }
        };
        let (counter, response) = match outcome {
            Ok(Answer { status, headers, body }) => {
                (Counter::ProxyRelayed, Response { status, content_type: "", headers, body })
            }
            Err(_) if too_long => (Counter::ProxyRefused, evp::too_long(limit)),
            Err(error @ RelayError::Unreachable(_)) => {
                (Counter::ProxyUnreachable, Response::text(502, format!("{error}\n")))
            }
            Err(error @ RelayError::TooSlow(_)) => (Counter::ProxyTooSlow, Response::text(504, format!("{error}\n"))),
            Err(error @ RelayError::Client) => (Counter::ProxyClient, Response::text(400, format!("{error}\n"))),
        };
        count(counter);
        response
    }
}

fn acknowledged(name: &str) -> Response {
    Response::text(200, format!("Acknowledged request for {name}"))
}

/// Hands a request to the trace agent; whether it has it now. Gives it back if there is no room.
fn store_with(agent: &Sender<Message>, request: Request, body: Vec<u8>) -> Result<bool, Payload> {
    let payload = Payload {
        route: forwarder::Route::Proxied(request.intake),
        encoding: Encoding::Identity,
        body,
        items: 1,
        headers: Vec::new(),
        request: Some(Box::new(request)),
    };
    let (reply, outcome) = bounded(1);
    if let Err(refused) = agent.send_timeout(Message::Proxied { payload, reply }, INBOX_WAIT) {
        return match refused.into_inner() {
            Message::Proxied { payload, .. } => Err(payload),
            // It is what was sent.
            _ => Ok(false),
        };
    }
    match outcome.recv_timeout(REPLY_WAIT) {
        Ok(taken) => taken.map(|()| true),
        // The agent has it and will get to it.
        Err(RecvTimeoutError::Timeout) => Ok(true),
        Err(RecvTimeoutError::Disconnected) => {
            count(Counter::TracesLost);
            Ok(false)
        }
    }
}

/// A reader that fails once more than `left` bytes came.
struct Capped<'a, R> {
    inner: &'a mut R,
    left: u64,
    exceeded: bool,
}

impl<R: Read> Read for Capped<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        match self.left.checked_sub(n as u64) {
            Some(left) => self.left = left,
            None => {
                self.exceeded = true;
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests;
