//! A local Datadog intake: accepts what an agent sends, checks the request, decodes it into Rust values, and can be told
//! to be slow, refuse, or break connections. What was refused is recorded as a request, never as received data. Its
//! server's threads fill the record; a test reads it from its own.

pub mod logs;
pub mod metrics;
pub mod msgpack;
pub mod protobuf;
pub mod proxied;
mod request;
pub mod stats;
pub mod traces;

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

pub use logs::Log;
pub use metrics::{Series, Sketch, SketchPoint};
pub use request::{Request, Route};
pub use stats::StatsPayload;
pub use traces::{AgentPayload, Span};

use super::http::{Incoming, Reply, Server};

/// The key that [`Intake::env`] gives to the extension. The intake takes any.
pub const API_KEY: &str = "0123456789abcdef0123456789abcdef";

/// What happens to requests of a route instead of being accepted.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    /// How long the intake thinks first.
    pub delay: Duration,
    /// What it does then; `None` accepts after the delay.
    pub action: Option<Action>,
}

/// How a request fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Answered with this status.
    Status(u16),
    /// Answered with this status and `Retry-After` in seconds.
    RetryAfter(u16, u32),
    /// Received, then the connection is closed without an answer.
    Drop,
    /// Received, then the connection is reset.
    Reset,
    /// Accepted, but the connection breaks in the middle of the answer.
    HalfAnswer,
}

impl Fault {
    /// Accepts, but takes its time.
    pub fn slow(delay: Duration) -> Self {
        Self { delay, action: None }
    }
}

impl From<Action> for Fault {
    fn from(action: Action) -> Self {
        Self { delay: Duration::ZERO, action: Some(action) }
    }
}

/// A fault in force.
struct Rule {
    route: Route,
    /// Requests it still applies to; `None` for all.
    left: Option<u32>,
    fault: Fault,
}

/// What has arrived so far.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Every request, refused ones too.
    pub requests: Vec<Request>,
    /// Logs of accepted requests, in order of arrival; so are all that follow.
    pub logs: Vec<Log>,
    /// Counts and gauges.
    pub series: Vec<Series>,
    /// Distributions.
    pub sketches: Vec<Sketch>,
    /// DogStatsD events, as `/intake/` got them.
    pub events: Vec<Value>,
    /// Service checks.
    pub checks: Vec<Value>,
    /// Trace payloads.
    pub traces: Vec<AgentPayload>,
    /// Payloads of stats.
    pub stats: Vec<StatsPayload>,
}

impl Received {
    /// All spans of all traces.
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        let tracers = self.traces.iter().flat_map(|payload| &payload.tracers);
        tracers.flat_map(|tracer| &tracer.chunks).flat_map(|chunk| &chunk.spans)
    }

    /// Requests to `route`.
    pub fn requests_to(&self, route: Route) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(move |r| r.route == route)
    }

    /// The sum over all points of the series `metric`.
    pub fn series_sum(&self, metric: &str) -> f64 {
        self.series.iter().filter(|s| s.metric == metric).map(Series::sum).sum()
    }

    /// All buckets of the distribution `metric`.
    pub fn sketch_points(&self, metric: &str) -> impl Iterator<Item = &SketchPoint> {
        self.sketches.iter().filter(move |s| s.metric == metric).flat_map(|s| &s.points)
    }

    /// What was wrong with the requests that came.
    pub fn problems(&self) -> Vec<String> {
        let wrong = self.requests.iter().filter_map(|r| r.problem.as_ref().map(|p| (r, p)));
        wrong.map(|(r, problem)| format!("{} {}: {problem}", r.method, r.path)).collect()
    }

    /// Decodes an accepted request into the lists.
    fn add(&mut self, request: &Request) -> Result<(), String> {
        let body = request.body.as_slice();
        let json = || serde_json::from_slice::<Value>(body).map_err(|e| e.to_string());
        match request.route {
            Route::Logs => self.logs.extend(logs::decode(body)?),
            Route::Series => self.series.extend(metrics::decode_series(body)?),
            Route::Sketches => self.sketches.extend(metrics::decode_sketches(body)?),
            Route::Traces => self.traces.push(traces::decode(body)?),
            Route::Events => self.events.push(json()?),
            Route::ServiceChecks => match json()? {
                Value::Array(checks) => self.checks.extend(checks),
                other => return Err(format!("not an array of checks: {other}")),
            },
            Route::Stats => self.stats.push(stats::decode(body)?),
            Route::Validate | Route::Proxied | Route::Other => {}
        }
        Ok(())
    }
}

#[derive(Default)]
struct State {
    received: Received,
    rules: Vec<Rule>,
}

/// The state and the signal that it changed.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A running intake.
pub struct Intake {
    server: Server,
    shared: Arc<Shared>,
}

impl Intake {
    /// Starts an intake on a free port of the loopback.
    pub fn start() -> Self {
        Self::start_on(0)
    }

    /// Starts an intake on `port`.
    pub fn start_on(port: u16) -> Self {
        let shared = Arc::new(Shared::default());
        let answering = shared.clone();
        let server =
            Server::start(port, move |incoming| answering.answer(incoming)).expect("the intake's port is free");
        Self { server, shared }
    }

    /// Its address, for `DD_DD_URL` and the like.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }

    /// The settings that make an extension send everything here.
    pub fn env(&self) -> Vec<(String, String)> {
        let url = self.url();
        let urls = ["DD_DD_URL", "DD_APM_DD_URL", "DD_LOGS_CONFIG_LOGS_DD_URL"].map(|name| (name.into(), url.clone()));
        urls.into_iter().chain([("DD_API_KEY".into(), API_KEY.into())]).collect()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Does `fault` to the next `times` requests to `route`, or to all if `None`. Earlier faults of the route come first.
    pub fn fault(&self, route: Route, times: Option<u32>, fault: impl Into<Fault>) {
        self.shared.lock().rules.push(Rule { route, left: times, fault: fault.into() });
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.shared.lock().rules.clear();
    }

    /// What has arrived so far.
    pub fn received(&self) -> Received {
        self.shared.lock().received.clone()
    }

    /// Waits until what arrived satisfies `enough`, and returns whether it did within `timeout`.
    pub fn wait_for(&self, timeout: Duration, enough: impl Fn(&Received) -> bool) -> bool {
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(state, timeout, |state| !enough(&state.received));
        !waited.expect("no thread panics with the lock").1.timed_out()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with the lock")
    }

    /// Serves one request: rule, check, decode, record.
    fn answer(&self, incoming: Incoming) -> Reply {
        let (at, wall) = (Instant::now(), SystemTime::now());
        let mut request = Request::new(incoming, at, wall);
        let fault = self.lock().fault_for(request.route);
        // A slow intake holds nothing but this connection.
        thread::sleep(fault.delay);
        let (status, reply) = match fault.action {
            None | Some(Action::HalfAnswer) => (request.accepted_status(), None),
            Some(Action::Status(status)) => (status, Some(answer(status, Vec::new()))),
            Some(Action::RetryAfter(status, s)) => (status, Some(answer(status, vec![("Retry-After", s.to_string())]))),
            Some(Action::Drop) => (0, Some(Reply::Drop)),
            Some(Action::Reset) => (0, Some(Reply::Reset)),
        };
        request.status = status;
        let mut state = self.lock();
        if (200..300).contains(&status)
            && let Err(problem) = state.received.add(&request)
        {
            request.problem = Some(problem);
            request.status = 400;
        }
        let status = request.status;
        state.received.requests.push(request);
        drop(state);
        self.changed.notify_all();
        match (reply, fault.action) {
            (Some(reply), _) => reply,
            (None, Some(Action::HalfAnswer)) => Reply::Half,
            (None, _) => answer(status, Vec::new()),
        }
    }
}

fn answer(status: u16, headers: Vec<(&'static str, String)>) -> Reply {
    let body = if status < 300 { "{}" } else { r#"{"errors":["refused by the lab's intake"]}"# };
    Reply::Answer { status, headers, body: body.into() }
}

impl State {
    /// The fault that the next request to `route` meets.
    fn fault_for(&mut self, route: Route) -> Fault {
        let Some(index) = self.rules.iter().position(|rule| rule.route == route) else {
            return Fault::default();
        };
        let fault = self.rules[index].fault.clone();
        if let Some(left) = &mut self.rules[index].left {
            *left -= 1;
            if *left == 0 {
                self.rules.remove(index);
            }
        }
        fault
    }
}
