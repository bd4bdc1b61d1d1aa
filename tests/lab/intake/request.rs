//! A request to the intake: its route, whether an intake would take it, and its body without encoding. Pure.

use std::io::Read;
use std::time::{Instant, SystemTime};

use super::super::http::Incoming;

/// What a request is for, from its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// `/api/v2/logs`, and the root, where an Observability Pipelines Worker listens.
    Logs,
    /// `/api/v2/series`.
    Series,
    /// `/api/beta/sketches`.
    Sketches,
    /// `/intake/`: DogStatsD events.
    Events,
    /// `/api/v1/check_run`.
    ServiceChecks,
    /// `/api/v0.2/traces`.
    Traces,
    /// `/api/v0.2/stats`.
    Stats,
    /// `/api/v1/validate`.
    Validate,
    /// A request of the function that the agent passed on.
    Proxied,
    /// Anything else; kept as it came.
    Other,
}

impl Route {
    fn of(path: &str) -> Self {
        match path {
            "/api/v2/logs" | "/" => Self::Logs,
            "/api/v2/series" => Self::Series,
            "/api/beta/sketches" => Self::Sketches,
            "/intake/" | "/intake" => Self::Events,
            "/api/v1/check_run" => Self::ServiceChecks,
            "/api/v0.2/traces" => Self::Traces,
            "/api/v0.2/stats" => Self::Stats,
            "/api/v1/validate" => Self::Validate,
            path if super::proxied::is_proxied(path) => Self::Proxied,
            _ => Self::Other,
        }
    }

    /// What `Content-Type` must start with; empty for anything.
    fn content_type(self) -> &'static str {
        match self {
            Self::Logs | Self::Series | Self::Events | Self::ServiceChecks => "application/json",
            Self::Sketches | Self::Traces => "application/x-protobuf",
            Self::Stats => "application/msgpack",
            Self::Validate | Self::Proxied | Self::Other => "",
        }
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// When it had been read whole.
    pub at: Instant,
    /// The same on the clock on the wall.
    pub wall: SystemTime,
    /// What it is for.
    pub route: Route,
    /// `POST`.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query, or empty.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as sent.
    pub raw: Vec<u8>,
    /// The body without its content encoding; empty if that failed.
    pub body: Vec<u8>,
    /// The answer; 0 if there was none.
    pub status: u16,
    /// What a real intake would have found wrong.
    pub problem: Option<String>,
}

impl Request {
    /// Takes the request apart and checks it.
    pub(super) fn new(incoming: Incoming, at: Instant, wall: SystemTime) -> Self {
        let (path, query) = incoming.target.split_once('?').unwrap_or((&incoming.target, ""));
        let mut request = Self {
            at,
            wall,
            route: Route::of(path),
            method: incoming.method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: incoming.headers,
            raw: incoming.body,
            body: Vec::new(),
            status: 0,
            problem: None,
        };
        match decompress(request.header("content-encoding").unwrap_or("identity"), &request.raw) {
            Ok(body) => request.body = body,
            Err(problem) => request.problem = Some(problem),
        }
        if request.problem.is_none() {
            request.problem = request.wrong();
        }
        request
    }

    /// The first value of the header `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// What is wrong with the head, if anything.
    fn wrong(&self) -> Option<String> {
        if self.header("dd-api-key").is_none_or(str::is_empty) {
            return Some("DD-API-KEY is missing".into());
        }
        let expected = if self.route == Route::Validate { "GET" } else { "POST" };
        if !matches!(self.route, Route::Proxied | Route::Other) && self.method != expected {
            return Some(format!("{expected} expected"));
        }
        let content_type = self.header("content-type").unwrap_or_default();
        let expected = self.route.content_type();
        (!content_type.starts_with(expected)).then(|| format!("Content-Type {content_type:?}, {expected} expected"))
    }

    /// What a real intake answers.
    pub(super) fn accepted_status(&self) -> u16 {
        match (&self.problem, self.route) {
            (Some(problem), _) if problem.starts_with("DD-API-KEY") => 403,
            (Some(_), _) => 400,
            (None, Route::Traces | Route::Validate) => 200,
            (None, _) => 202,
        }
    }
}

fn decompress(encoding: &str, raw: &[u8]) -> Result<Vec<u8>, String> {
    match encoding {
        "identity" | "" => Ok(raw.to_vec()),
        "zstd" => zstd::decode_all(raw).map_err(|e| format!("the body is not zstd: {e}")),
        "gzip" => {
            let mut body = Vec::new();
            let read = flate2::read::MultiGzDecoder::new(raw).read_to_end(&mut body);
            read.map(|_| body).map_err(|e| format!("the body is not gzip: {e}"))
        }
        other => Err(format!("Content-Encoding {other:?} is not one an intake knows")),
    }
}
