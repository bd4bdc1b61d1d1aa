//! Requests whose clients wait for the intake's own answer: sent at once, on the thread of the client's connection.
//!
//! A body flows from the client's socket into the intake's without being collected. Each request has a connection of its
//! own, closed with the answer: nothing sleeps through a freeze, and the handshake resumes the TLS session that all
//! lines share. No retries: the client knows whether its request may be repeated.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ureq::http::{Method, Request as HttpRequest, Response, header};
use ureq::{Body, Error, SendBody};

use super::client::CONNECT_TIMEOUT;
use super::endpoints::Target;
use super::{Client, Intake, Request, intakes};
use crate::config::Config;
use crate::diag::counters::{Counter, count};

/// Longest answer that is passed back, in bytes: remote configuration of a large service.
const ANSWER_MAX: usize = 4 << 20;

/// The headers of an intake's answer that tell the client something.
const PASSED_BACK: [&str; 10] = [
    "Content-Type",
    "Content-Encoding",
    "Retry-After",
    "ETag",
    "DD-Request-ID",
    "Location",
    "X-RateLimit-Limit",
    "X-RateLimit-Period",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
];

/// The way to the intakes for connection threads.
pub struct Relay {
    client: Client,
    config: Arc<Config>,
    /// Whether the user was told of addresses that cannot be used.
    told: AtomicBool,
}

/// A request's body.
pub enum Upload<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// Its start, and where the rest comes from.
    Stream {
        /// What was read of it already.
        start: &'a [u8],
        /// The rest. An error ends the request.
        rest: &'a mut dyn Read,
        /// How many bytes it has, start included, if the client said so.
        length: Option<u64>,
    },
}

/// What an intake answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers that are passed back.
    pub headers: Vec<(&'static str, String)>,
    /// The body, still encoded.
    pub body: Vec<u8>,
}

/// Why there is no answer. The text is for the client and never has a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayError {
    /// The intake could not be reached, broke off, or said nothing that can be passed back.
    Unreachable(String),
    /// It took too long.
    TooSlow(String),
    /// The client's body ended in an error.
    Client,
}

impl fmt::Display for RelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(text) => write!(f, "the intake cannot be reached: {text}"),
            Self::TooSlow(text) => write!(f, "the intake took too long: {text}"),
            Self::Client => f.write_str("the request's body ended early"),
        }
    }
}

impl Relay {
    /// A relay with the settings' addresses and limits. Opens nothing.
    #[must_use]
    pub fn new(client: Client, config: Arc<Config>) -> Self {
        Self { client, config, told: AtomicBool::new(false) }
    }

    /// Whether requests to `intake` have more than one destination: only a body that is there as a whole can get to all.
    #[must_use]
    pub fn is_multiple(&self, intake: Intake) -> bool {
        intakes::is_multiple(&self.config, intake)
    }

    /// Sends `request` and returns the primary endpoint's answer. A body that is there as a whole then goes to the
    /// additional endpoints too, whose answers nobody gets; what they miss is counted. Takes as long as one request to an
    /// intake may, for each endpoint, and as long as the client's body lets it wait.
    ///
    /// # Errors
    /// There is no answer that could be passed back.
    pub fn send(&self, request: &Request, method: &str, upload: Upload<'_>) -> Result<Answer, RelayError> {
        let (targets, bad) = intakes::targets(&self.config, request);
        if !bad.is_empty() && !self.told.swap(true, Ordering::Relaxed) {
            bad.iter().for_each(|endpoint| log::error!("{endpoint}"));
        }
        let Some((primary, additional)) = targets.split_first() else {
            return Err(RelayError::Unreachable("there is no API key, or its URL cannot be used".to_owned()));
        };
        let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::POST);
        match upload {
            Upload::Whole(body) => {
                let answer = self.whole(primary, request, &method, body);
                for target in additional {
                    if !matches!(self.whole(target, request, &method, body), Ok(Answer { status: 200..300, .. })) {
                        count(Counter::ProxyAdditional);
                    }
                }
                answer
            }
            Upload::Stream { start, rest, length } => {
                additional.iter().for_each(|_| count(Counter::ProxyAdditional));
                let mut source = Source { inner: rest, failed: false };
                let mut body = start.chain(&mut source);
                let answer = self.exchange(primary, request, &method, SendBody::from_reader(&mut body), length);
                if source.failed { Err(RelayError::Client) } else { answer }
            }
        }
    }

    fn whole(
        &self,
        target: &Target,
        request: &Request,
        method: &Method,
        mut body: &[u8],
    ) -> Result<Answer, RelayError> {
        if body.is_empty() && !matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
            return self.exchange(target, request, method, SendBody::none(), None);
        }
        let length = Some(body.len() as u64);
        self.exchange(target, request, method, SendBody::from_reader(&mut body), length)
    }

    fn exchange(
        &self,
        target: &Target,
        request: &Request,
        method: &Method,
        body: SendBody<'_>,
        length: Option<u64>,
    ) -> Result<Answer, RelayError> {
        let result = self.attempt(target, request, method, body, length).and_then(answer);
        result.map_err(|error| {
            let text = target.redact(&format!("{}: {error}", target.host));
            crate::diag::debug!("passing on {method} {}: {}", request.target, text.escape_debug());
            if matches!(error, Error::Timeout(_)) { RelayError::TooSlow(text) } else { RelayError::Unreachable(text) }
        })
    }

    fn attempt(
        &self,
        target: &Target,
        request: &Request,
        method: &Method,
        body: SendBody<'_>,
        length: Option<u64>,
    ) -> Result<Response<Body>, Error> {
        let uri = target.uri_of(request).map_err(|e| Error::BadUri(e.to_string()))?;
        let mut headers = target.headers_of(request);
        // Without a length the body is sent in chunks.
        if let Some(length) = length {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        let mut made = HttpRequest::builder().method(method.clone()).uri(uri).body(body)?;
        *made.headers_mut() = headers;
        let line = self.client.line();
        let limit = self.config.flush_timeout;
        let made = line
            .agent
            .configure_request(made)
            .timeout_global(Some(limit))
            .timeout_connect(Some(limit.min(CONNECT_TIMEOUT)))
            .build();
        line.agent.run(made)
    }
}

/// Reads an answer within its limit.
fn answer(response: Response<Body>) -> Result<Answer, Error> {
    let (parts, body) = response.into_parts();
    // The client asked for no other protocol (101), and no other status below 200 ends an exchange.
    if parts.status.is_informational() {
        return Err(Error::StatusCode(parts.status.as_u16()));
    }
    let header = |name: &&'static str| {
        let values = parts.headers.get_all(*name).iter().filter_map(|v| v.to_str().ok());
        values.map(|value| (*name, value.to_owned())).collect::<Vec<_>>()
    };
    let headers = PASSED_BACK.iter().flat_map(header).collect();
    let mut bytes = Vec::new();
    body.into_reader().take(ANSWER_MAX as u64 + 1).read_to_end(&mut bytes).map_err(Error::from)?;
    if bytes.len() > ANSWER_MAX {
        return Err(Error::BodyExceedsLimit(ANSWER_MAX as u64));
    }
    Ok(Answer { status: parts.status.as_u16(), headers, body: bytes })
}

/// A client's body that remembers whether it failed: to the HTTP client all errors of I/O look alike.
struct Source<'a> {
    inner: &'a mut dyn Read,
    failed: bool,
}

impl Read for Source<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.inner.read(out).inspect_err(|_| self.failed = true)
    }
}

#[cfg(test)]
mod tests;
