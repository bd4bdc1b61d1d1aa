//! Where payloads go: the addresses, keys and headers of every route.
//!
//! Pure. A [`Target`] is one destination of a signal: the primary first, then the additional endpoints in the order of
//! the settings. The worker's thread reads it; nothing here opens a connection or knows whether a target works.

use std::fmt;

use ureq::http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use ureq::http::uri::{InvalidUri, Uri};

use super::{Encoding, Intake, Payload, Request, Route};
use crate::config::{Config, Secret, Signal};

/// What intakes are told of the sender; they only look at the prefix.
pub(super) const AGENT: &str = concat!("datadog-agent/", env!("CARGO_PKG_VERSION"));

/// The generation of the metric payloads' protobuf definitions (`DD-Agent-Payload`).
const METRIC_PAYLOAD_VERSION: &str = "5.0";

/// What decides whether the key of the primary endpoints is taken.
pub(super) const PRIMARY_KEY: &str = "DD_API_KEY and DD_SITE";

/// One destination of a signal.
#[derive(Clone)]
pub struct Target {
    /// Scheme, authority and possibly a path, without a trailing slash.
    base: String,
    /// Takes the place of `base` for DogStatsD events: at Datadog another host does.
    events: Option<String>,
    /// The base is the whole URL (an Observability Pipelines Worker).
    verbatim: bool,
    key: HeaderValue,
    /// Host and port, for messages.
    pub host: String,
    /// What the user checks when the key is refused.
    pub key_setting: &'static str,
}

/// An endpoint that cannot be used as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEndpoint {
    /// The setting it comes from.
    pub setting: &'static str,
    /// What is wrong.
    pub problem: &'static str,
}

impl fmt::Display for BadEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing is sent to an endpoint of {}: {}", self.setting, self.problem)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("base", &self.base).field("verbatim", &self.verbatim).finish_non_exhaustive()
    }
}

/// The destinations of `signal`, primary first, and those that cannot be used.
#[must_use]
pub fn targets(config: &Config, signal: Signal) -> (Vec<Target>, Vec<BadEndpoint>) {
    let (primary, url_setting, verbatim, additional, additional_setting) = match signal {
        Signal::Logs => (
            &config.logs_url,
            "DD_LOGS_CONFIG_LOGS_DD_URL",
            config.logs_opw,
            &config.logs_endpoints,
            "DD_LOGS_CONFIG_ADDITIONAL_ENDPOINTS",
        ),
        Signal::Metrics => {
            (&config.metrics_url, "DD_DD_URL", false, &config.metrics_endpoints, "DD_ADDITIONAL_ENDPOINTS")
        }
        Signal::Traces => {
            (&config.apm_url, "DD_APM_DD_URL", false, &config.apm_endpoints, "DD_APM_ADDITIONAL_ENDPOINTS")
        }
    };
    let mut good = Vec::with_capacity(1 + additional.len());
    let mut bad = Vec::new();
    let mut add = |made: Result<Target, &'static str>, setting| match made {
        Ok(target) => good.push(target),
        Err(problem) => bad.push(BadEndpoint { setting, problem }),
    };
    if let Some(key) = &config.api_key {
        let target = Target::new(primary, verbatim, key, PRIMARY_KEY);
        let events = (signal == Signal::Metrics).then(|| events_base(config)).flatten();
        add(target.map(|target| Target { events, ..target }), url_setting);
    }
    for endpoint in additional {
        add(Target::new(&endpoint.url, false, &endpoint.api_key, additional_setting), additional_setting);
    }
    (good, bad)
}

/// Where the Go agent sends events unless the user names an address for metrics (spec: config 2.9): the host that is
/// named after the agent's version, which is the one of Datadog's that has `/intake/`.
fn events_base(config: &Config) -> Option<String> {
    let named = config.metrics_url != format!("https://api.{}", config.site);
    (!named).then(|| format!("https://{}-app.agent.{}", crate::VERSION.replace('.', "-"), config.site))
}

impl Target {
    pub(super) fn new(
        url: &str,
        verbatim: bool,
        key: &Secret,
        key_setting: &'static str,
    ) -> Result<Self, &'static str> {
        let (scheme, rest) = url.trim().split_once("://").unwrap_or(("https", url.trim()));
        let rest = if verbatim { rest } else { rest.trim_end_matches('/') };
        let base = format!("{scheme}://{rest}");
        if rest.is_empty() {
            return Err("its URL has no host");
        }
        let uri: Uri = base.parse().map_err(|_| "its URL cannot be read")?;
        let host = match (uri.host(), uri.port_u16()) {
            (None | Some(""), _) => return Err("its URL has no host"),
            (Some(host), None) => host.to_owned(),
            (Some(host), Some(port)) => format!("{host}:{port}"),
        };
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("its URL is neither http nor https");
        }
        let mut key =
            HeaderValue::from_str(key.expose()).map_err(|_| "its API key has characters that no API key has")?;
        key.set_sensitive(true);
        Ok(Self { base, events: None, verbatim, key, host, key_setting })
    }

    /// Where `request` goes: the base is a whole URL, and may have a query of its own.
    ///
    /// # Errors
    /// The target of a request has characters that no URL has.
    pub fn uri_of(&self, request: &Request) -> Result<Uri, InvalidUri> {
        match request.target.strip_prefix('?') {
            Some(query) if self.base.contains('?') => Uri::from_maybe_shared(format!("{}&{query}", self.base)),
            _ => Uri::from_maybe_shared(format!("{}{}", self.base, request.target)),
        }
    }

    /// The headers of `request`: its own, and the key. One that is no valid header is left out.
    #[must_use]
    pub fn headers_of(&self, request: &Request) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(2 + request.headers.len());
        for (name, value) in &request.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        if request.intake == Intake::Lineage
            && let Ok(mut bearer) = HeaderValue::from_bytes(&[b"Bearer ", self.key.as_bytes()].concat())
        {
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        headers.insert(HeaderName::from_static("dd-api-key"), self.key.clone());
        headers
    }

    /// The URL of `route`.
    ///
    /// # Errors
    /// Cannot happen for a target that [`targets`] made, which parsed the base.
    pub fn uri(&self, route: Route) -> Result<Uri, InvalidUri> {
        if self.verbatim {
            return self.base.parse();
        }
        let base = self.events.as_ref().filter(|_| route == Route::Events).unwrap_or(&self.base);
        Uri::from_maybe_shared(format!("{base}{}", path(route)))
    }

    /// The headers of `payload` for this target (spec: logs 6.8, metrics 3.5, traces 4.5). A further header of the
    /// payload that is no valid header is left out: it came from a tracer, and the spans matter more.
    #[must_use]
    pub fn headers(&self, payload: &Payload) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8 + payload.headers.len());
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(payload.route)));
        let encoding = match payload.encoding {
            Encoding::Identity => None,
            Encoding::Zstd => Some("zstd"),
            Encoding::Gzip => Some("gzip"),
        };
        if let Some(encoding) = encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        for (name, value) in self.route_headers(payload.route) {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        for (name, value) in &payload.headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
            {
                headers.insert(name, value);
            }
        }
        headers.insert(HeaderName::from_static("dd-api-key"), self.key.clone());
        headers
    }

    fn route_headers(&self, route: Route) -> &'static [(&'static str, &'static str)] {
        match route {
            Route::Logs if self.verbatim => &[],
            Route::Logs => &[
                ("dd-protocol", "agent-json"),
                ("dd-evp-origin", "agent"),
                ("dd-evp-origin-version", env!("CARGO_PKG_VERSION")),
            ],
            Route::Series | Route::Sketches | Route::Events | Route::ServiceChecks => {
                &[("dd-agent-payload", METRIC_PAYLOAD_VERSION), ("dd-agent-version", env!("CARGO_PKG_VERSION"))]
            }
            // Without it the trace intake answers 200 to everything.
            Route::Traces => &[("datadog-send-real-http-status", "1")],
            Route::Proxied(_) => &[],
            Route::Stats => &[],
        }
    }

    /// `text` without this target's key, should an intake echo it.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        match self.key.to_str() {
            Ok(key) if !key.is_empty() => text.replace(key, "***"),
            _ => text.to_owned(),
        }
    }
}

fn path(route: Route) -> &'static str {
    match route {
        Route::Logs => "/api/v2/logs",
        Route::Series => "/api/v2/series",
        Route::Sketches => "/api/beta/sketches",
        Route::Events => "/intake/",
        Route::ServiceChecks => "/api/v1/check_run",
        Route::Traces => "/api/v0.2/traces",
        Route::Proxied(_) => "",
        Route::Stats => "/api/v0.2/stats",
    }
}

fn content_type(route: Route) -> &'static str {
    match route {
        Route::Logs | Route::Series | Route::Events | Route::ServiceChecks => "application/json",
        Route::Sketches | Route::Traces => "application/x-protobuf",
        Route::Proxied(_) => "application/octet-stream",
        Route::Stats => "application/msgpack",
    }
}

#[cfg(test)]
pub(super) mod tests;
