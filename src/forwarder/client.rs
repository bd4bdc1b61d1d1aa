//! The HTTP client of every signal: one TLS policy, one set of limits, and the rules for connections that slept.
//!
//! A [`Client`] is shared by the workers; no TLS state in it exists before the first request. Each worker has a
//! [`Line`] of its own, with its own small pool, and uses it on its thread only. No thread is started here: names are
//! resolved on the worker's thread, and only when a connection is opened.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use ureq::config::Config as HttpConfig;
use ureq::http::Response;
use ureq::http::header::RETRY_AFTER;
use ureq::http::uri::Uri;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::{Duration as Span, Instant as Moment};
use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector, TcpConnector, Transport,
};
use ureq::{Agent, Body, Error};

use super::early::EarlyAnswers;
use super::endpoints::{AGENT, Target};
use super::outbox::{Attempt, Stamp, Wire};
use super::outcome::{self, Outcome};
use super::{Payload, STALE_AFTER, tls};
use crate::config::Config;
use crate::diag::counters::{Counter, count};
use crate::sys::clock;

/// Limit for TCP connect and TLS handshake together: room for two lost SYN packets (repeated after 1 and 3 s).
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit for the body of an answer. The status has decided by then; the body only frees the connection.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of a request that are written at once. A TLS record holds as many.
const OUTPUT_BUFFER: usize = 16 * 1024;
/// Longest line of a request's head, in bytes, beside what an intake's own address adds: a line is written at once.
pub(super) const LINE_MAX: usize = OUTPUT_BUFFER - 1024;
/// Bytes of an answer that are read so that its connection can be used again; more closes it.
const ANSWER_MAX: usize = 64 * 1024;
/// Bytes of an error's body that are shown at debug level.
const ANSWER_SHOWN: usize = 256;

/// What the workers' connections have in common. Cheap to build and to clone.
#[derive(Clone)]
pub struct Client {
    tls: TlsConfig,
    /// Holds the TLS configuration, and with it the session tickets, of all lines.
    dial: Arc<Dial>,
    /// Whether the user was told that the primary endpoints' key is refused.
    key_denied: Arc<AtomicBool>,
}

type Dial = Box<dyn Connector<Out = Box<dyn Transport>>>;

/// Through a proxy if there is one, else directly; then TLS if the URL says so.
fn dial() -> Dial {
    let tcp = ().chain(ConnectProxyConnector::default()).chain(TcpConnector::default());
    Box::new(tcp.chain(EarlyAnswers).chain(RustlsConnector::default()).chain(Boxing))
}

impl Client {
    /// A client as the settings say. Reads no file, opens nothing and builds no TLS state.
    #[must_use]
    pub fn new(_config: &Config) -> Self {
        Self::with_roots(RootCerts::WebPki)
    }

    pub(super) fn with_roots(roots: RootCerts) -> Self {
        let tls = TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(tls::provider()).build();
        Self { tls, dial: Arc::new(dial()), key_denied: Arc::default() }
    }

    pub(super) fn key_denied(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.key_denied)
    }

    /// A line for one worker.
    #[must_use]
    pub fn line(&self) -> Line {
        let stage = Arc::new(AtomicU8::new(POOLED));
        let dialer = Dialer { dial: Arc::clone(&self.dial), stage: Arc::clone(&stage) };
        Line { client: self.clone(), agent: Agent::with_parts(self.http_config(), dialer, Unresolved), stage }
    }

    /// The one place for what every request has in common: proxy, TLS, limits.
    fn http_config(&self) -> HttpConfig {
        Agent::config_builder()
            .proxy(None)
            .tls_config(self.tls.clone())
            .user_agent(AGENT)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // ureq's 128 KiB each are zeroed at first use: 60 page faults.
            .input_buffer_size(8 * 1024)
            .output_buffer_size(OUTPUT_BUFFER)
            .max_response_header_size(16 * 1024)
            .max_idle_connections_per_host(1)
            .max_idle_age(STALE_AFTER)
            .build()
    }
}

/// A worker's way out: its pool of connections.
pub struct Line {
    client: Client,
    pub(super) agent: Agent,
    stage: Arc<AtomicU8>,
}

/// No connection was opened: the request used one from the pool.
const POOLED: u8 = 0;
/// A connection was being opened.
const OPENING: u8 = 1;
/// The request used a connection opened for it.
const OPENED: u8 = 2;

impl Wire for Line {
    fn now(&self) -> Stamp {
        Stamp { mono: Instant::now(), wall_ms: clock::wall_ms() }
    }

    /// One attempt. If a connection from the pool breaks before it answers (it slept through a freeze, or the intake
    /// had just closed it) the request is repeated at once on a fresh one: that is no failure of the intake.
    fn post(&mut self, target: &Target, payload: &Payload, attempt: Attempt) -> Outcome {
        let started = Instant::now();
        let mut result = self.request(target, payload, attempt);
        if let Err(Error::Io(e)) = &result
            && self.stage() == POOLED
        {
            let timeout = attempt.timeout.saturating_sub(started.elapsed());
            if !timeout.is_zero() {
                crate::diag::debug!("{}: connection was stale ({e}), using a fresh one", target.host);
                count(Counter::PayloadsRetried);
                result = self.request(target, payload, Attempt { timeout, fresh: true });
            }
        }
        match result {
            Ok(response) => answer(target, response),
            Err(e) => outcome::of_error(&e, self.stage() != OPENING),
        }
    }

    fn reset(&mut self) {
        *self = self.client.line();
    }
}

impl Line {
    fn stage(&self) -> u8 {
        self.stage.load(Ordering::Relaxed)
    }

    fn request(&self, target: &Target, payload: &Payload, attempt: Attempt) -> Result<Response<Body>, Error> {
        self.stage.store(POOLED, Ordering::Relaxed);
        let (uri, own) = match &payload.request {
            Some(request) => (target.uri_of(request), target.headers_of(request)),
            None => (target.uri(payload.route), target.headers(payload)),
        };
        let mut request = self.agent.post(uri.map_err(|e| Error::BadUri(e.to_string()))?);
        if let Some(headers) = request.headers_mut() {
            *headers = own;
        }
        let config = request
            .config()
            .timeout_global(Some(attempt.timeout))
            .timeout_connect(Some(attempt.timeout.min(CONNECT_TIMEOUT)))
            .timeout_recv_body(Some(BODY_TIMEOUT));
        // A connection from the pool must be younger than this; none is younger than zero.
        let config = if attempt.fresh { config.max_idle_age(Duration::ZERO) } else { config };
        config.build().send(payload.body.as_slice())
    }
}

/// Reads an answer to its end, within limits, so that the connection goes back to the pool.
fn answer(target: &Target, response: Response<Body>) -> Outcome {
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok());
    let outcome = outcome::of_status(status, retry_after);
    let shown = drain(response.into_body().into_reader());
    if outcome != Outcome::Sent {
        let text = target.redact(&String::from_utf8_lossy(&shown));
        crate::diag::debug!("{} answered {status}: {}", target.host, text.escape_debug());
    }
    outcome
}

fn drain(mut body: impl Read) -> Vec<u8> {
    let mut shown = Vec::new();
    let mut chunk = [0; 1024];
    let mut total = 0;
    while total < ANSWER_MAX {
        match body.read(&mut chunk) {
            Ok(n) if n > 0 => {
                let room = ANSWER_SHOWN - shown.len();
                shown.extend_from_slice(&chunk[..n.min(room)]);
                total += n;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // The end, or an error that costs no more than the connection.
            _ => break,
        }
    }
    shown
}

/// Opens connections for one line and remembers how far it got.
struct Dialer {
    dial: Arc<Dial>,
    stage: Arc<AtomicU8>,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dialer")
    }
}

impl Connector for Dialer {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<()>) -> Result<Option<Self::Out>, Error> {
        self.stage.store(OPENING, Ordering::Relaxed);
        // Without a limit the resolver uses this thread; with one it would start another for each name. The C
        // library's own limit (10 s by default) holds.
        let addrs = DefaultResolver::default().resolve(details.uri, details.config, NextTimeout::default())?;
        let now = (details.current_time)();
        let opened = self.dial.connect(
            &ConnectionDetails {
                uri: details.uri,
                addrs,
                config: details.config,
                // The timeouts are those of the request, the TLS options are not. Only what counts as the agent's
                // configuration is kept with its session tickets; otherwise each connection would build its own.
                request_level: false,
                resolver: details.resolver,
                now,
                timeout: remaining(details.timeout, details.now, now)?,
                current_time: Arc::clone(&details.current_time),
                run_connector: Arc::clone(&details.run_connector),
                register_shutdown: Arc::clone(&details.register_shutdown),
            },
            chained,
        )?;
        self.stage.store(OPENED, Ordering::Relaxed);
        Ok(opened)
    }
}

/// What is left of `timeout` at `now`.
fn remaining(mut timeout: NextTimeout, since: Moment, now: Moment) -> Result<NextTimeout, Error> {
    if let (Span::Exact(after), Moment::Exact(since), Moment::Exact(now)) = (timeout.after, since, now) {
        let left = after.saturating_sub(now.saturating_duration_since(since));
        if left.is_zero() {
            return Err(Error::Timeout(timeout.reason));
        }
        timeout.after = Span::Exact(left);
    }
    Ok(timeout)
}

/// Ends a chain of connectors whose type nobody can write down.
#[derive(Debug)]
struct Boxing;

impl<In: Transport> Connector<In> for Boxing {
    type Out = Box<dyn Transport>;

    fn connect(&self, _: &ConnectionDetails<'_>, opened: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(opened.map(|transport| Box::new(transport) as Box<dyn Transport>))
    }
}

/// Resolves nothing. ureq asks before it looks into its pool, so that each request would cost a query; the
/// [`Dialer`] asks when a connection is opened.
#[derive(Debug)]
struct Unresolved;

impl Resolver for Unresolved {
    fn resolve(&self, _: &Uri, _: &HttpConfig, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

#[cfg(test)]
pub(super) mod tests;
