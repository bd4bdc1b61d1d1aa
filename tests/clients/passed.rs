//! Compares the requests of a tracer that the agent only passes on with those that arrived: path, query, headers and
//! body. Pure.

use crate::lab::http::Incoming;
use crate::lab::intake::proxied::sum;
use crate::lab::intake::{Received, Request};

/// Where requests to the agent go, by the beginning of their path: what follows it is kept.
const WAYS: [(&str, &str); 6] = [
    ("/profiling/v1/input", "/api/v2/profile"),
    ("/telemetry/proxy/", "/"),
    ("/v0.1/pipeline_stats", "/api/v0.1/pipeline_stats"),
    ("/debugger/v2/input", "/api/v2/debugger"),
    ("/debugger/v1/diagnostics", "/api/v2/debugger"),
    ("/evp_proxy/v2/", "/"),
];

/// Headers that concern the connection between two neighbours.
const OWN: [&str; 4] = ["host", "connection", "content-length", "transfer-encoding"];

/// Every difference between the requests that were sent and those that arrived, a sentence each.
pub fn differences(sent: &[Incoming], received: &Received) -> Vec<String> {
    let mut wrong = Vec::new();
    for (request, path, query) in sent.iter().filter_map(way) {
        let same = |arrived: &&Request| arrived.path == path && arrived.sum() == sum(&request.body);
        match received.proxied().filter(same).collect::<Vec<_>>().as_slice() {
            [arrived] => wrong.extend(compare(request, query, arrived)),
            several => wrong.push(format!("{} arrived {} times", request.target, several.len())),
        }
    }
    wrong
}

/// How many requests to `path` were sent, by a part of their body.
pub fn count(sent: &[Incoming], path: &str, part: &str) -> usize {
    let holds = |body: &[u8]| part.is_empty() || body.windows(part.len()).any(|bytes| bytes == part.as_bytes());
    sent.iter().filter(|request| target(request).0 == path && holds(&request.body)).count()
}

/// What was asked of the agent.
pub fn targets(sent: &[Incoming]) -> Vec<&str> {
    sent.iter().map(|request| request.target.as_str()).collect()
}

/// Path and query.
fn target(request: &Incoming) -> (&str, &str) {
    request.target.split_once('?').unwrap_or((&request.target, ""))
}

/// Where a request has to arrive, if it is one to pass on.
fn way(request: &Incoming) -> Option<(&Incoming, String, &str)> {
    let (path, query) = target(request);
    let (rest, to) = WAYS.iter().find_map(|(from, to)| Some((path.strip_prefix(from)?, to)))?;
    Some((request, format!("{to}{rest}"), query))
}

fn compare(sent: &Incoming, query: &str, arrived: &Request) -> Vec<String> {
    let mut wrong = Vec::new();
    let target = &sent.target;
    // The debugger's has the agent's own tags before the tracer's.
    let tags = query.strip_prefix("ddtags=").filter(|_| target.starts_with("/debugger/"));
    if arrived.query != query && !tags.is_some_and(|tags| arrived.query.ends_with(tags)) {
        wrong.push(format!("{target}: the query {query:?} arrived as {:?}", arrived.query));
    }
    for (name, value) in sent.headers.iter().filter(|(name, _)| !OWN.contains(&name.as_str())) {
        if !arrived.values(name).contains(&value.as_str()) {
            wrong.push(format!("{target}: the header {name}: {value} arrived as {:?}", arrived.values(name)));
        }
    }
    if arrived.values("x-datadog-additional-tags") != ["_dd.origin:lambda;functionname:lab-function"] {
        wrong.push(format!("{target}: does not say whose it is: {:?}", arrived.headers));
    }
    wrong
}
