//! What is served on the port, one row each: from this table requests are routed, and from it `/info` says what there is.
//! Pure.

use super::{MAX_BODY, MAX_EMPTY, MAX_SERVICES, MAX_STATS};

/// A row.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The path; one that ends in `/` stands for all below it.
    pub path: &'static str,
    /// The methods; empty for any.
    pub methods: &'static [&'static str],
    /// Whether `/info` names it. What is deprecated works, but is not named (as the Go agent).
    pub listed: bool,
    /// What answers.
    pub endpoint: Endpoint,
}

/// What answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Spans in one of the protocol's versions.
    Traces(Version),
    /// Names of services, which nobody wants any more: they are taken from the spans.
    Services,
    /// Stats that a tracer computed.
    Stats,
    /// What is served, and by which settings.
    Info,
}

/// The versions of the protocol that brings spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// JSON: an array of spans.
    V01,
    /// JSON: an array of traces.
    V02,
    /// JSON or msgpack: an array of traces; the answer is a word.
    V03,
    /// As v0.3; the answer is the sampling rates.
    V04,
    /// msgpack with a table of strings.
    V05,
    /// msgpack with what is known of the process.
    V07,
}

impl Endpoint {
    /// The longest body in bytes.
    pub fn limit(self) -> usize {
        match self {
            Self::Traces(_) => MAX_BODY,
            Self::Services => MAX_SERVICES,
            Self::Stats => MAX_STATS,
            Self::Info => MAX_EMPTY,
        }
    }
}

const WRITE: &[&str] = &["POST", "PUT"];
const ANY: &[&str] = &[];

/// Every row, in the order in which `/info` lists them.
pub static ROUTES: &[Route] = &[
    hidden("/spans", WRITE, Endpoint::Traces(Version::V01)),
    hidden("/services", WRITE, Endpoint::Services),
    hidden("/v0.1/spans", WRITE, Endpoint::Traces(Version::V01)),
    hidden("/v0.1/services", WRITE, Endpoint::Services),
    hidden("/v0.2/traces", WRITE, Endpoint::Traces(Version::V02)),
    hidden("/v0.2/services", WRITE, Endpoint::Services),
    listed("/v0.3/traces", WRITE, Endpoint::Traces(Version::V03)),
    listed("/v0.3/services", WRITE, Endpoint::Services),
    listed("/v0.4/traces", WRITE, Endpoint::Traces(Version::V04)),
    listed("/v0.4/services", WRITE, Endpoint::Services),
    listed("/v0.5/traces", WRITE, Endpoint::Traces(Version::V05)),
    listed("/v0.7/traces", WRITE, Endpoint::Traces(Version::V07)),
    listed("/v0.6/stats", WRITE, Endpoint::Stats),
    listed("/info", ANY, Endpoint::Info),
];

const fn listed(path: &'static str, methods: &'static [&'static str], endpoint: Endpoint) -> Route {
    Route { path, methods, listed: true, endpoint }
}

const fn hidden(path: &'static str, methods: &'static [&'static str], endpoint: Endpoint) -> Route {
    Route { path, methods, listed: false, endpoint }
}

/// The row for a path.
#[must_use]
pub fn find(path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| path == route.path || route.path.ends_with('/') && path.starts_with(route.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_reached() {
        for (i, route) in ROUTES.iter().enumerate() {
            let found = find(route.path).unwrap();
            assert!(std::ptr::eq(found, route), "{} is hidden behind an earlier row", route.path);
            assert!(route.path.starts_with('/') && ROUTES[..i].iter().all(|other| other.path != route.path));
        }
        for path in ["", "/", "/v1.0/traces", "/v0.4/traces/", "/v0.4/trace", "/v0.1/traces", "/info/"] {
            assert!(find(path).is_none(), "{path}");
        }
    }
}
