//! Requests that an agent passed on for its function: their paths, and what a test asks of one. Pure.

use super::{Received, Request, Route};

/// Whether `path` is one that only such requests have. Their hosts are not seen here: the lab has one for all.
pub(super) fn is_proxied(path: &str) -> bool {
    let exact =
        ["/api/v2/profile", "/api/v2/debugger", "/api/v2/llmobs", "/api/v0.1/pipeline_stats", "/api/v1/lineage"];
    exact.contains(&path)
        || ["/api/intake/llm-obs/", "/api/v2/apmtelemetry", "/proxied/"].iter().any(|p| path.starts_with(p))
}

impl Received {
    /// The requests that were passed on, in order of arrival.
    pub fn proxied(&self) -> impl Iterator<Item = &Request> {
        self.requests_to(Route::Proxied)
    }
}

impl Request {
    /// All values of the header `name` (lower case).
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }

    /// The length of the body as sent, and a sum (FNV-1a) that tells whether it is the same.
    pub fn sum(&self) -> (usize, u64) {
        sum(&self.raw)
    }
}

/// The length of `body` and its sum.
pub fn sum(body: &[u8]) -> (usize, u64) {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    (body.len(), body.iter().fold(0xcbf2_9ce4_8422_2325, step))
}
