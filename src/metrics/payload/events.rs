//! Events (`/intake/`) and service checks (`/api/v1/check_run`), JSON as the Go agent sends it.

use std::io::Write as _;

use super::{Bodies, json_string, json_strings};
use crate::codec::sort::sort;
use crate::forwarder::{Payload, Route};
use crate::metrics::dogstatsd::event::{Event, ServiceCheck};
use crate::metrics::settings::{Base, Settings};

/// The source of events that name none.
const DEFAULT_SOURCE: &str = "api";

/// Events with the second they were received in, by their source: an object with a list for each, as few bodies as
/// there can be, however many sources there are.
#[must_use]
pub fn events(events: &[(Event, u64)], settings: &Settings, base: &Base) -> Vec<Payload> {
    let mut sorted: Vec<_> = events.iter().enumerate().map(|(i, (event, _))| (source(event), i)).collect();
    sort(&mut sorted);
    let open = "{\"apiKey\":\"\",\"events\":{";
    let mut bodies =
        Bodies::new(Route::Events, settings.compression_level, open, b"", b"]},\"internalHostname\":\"\"}");
    let mut last = None;
    for (source, i) in sorted {
        let (event, received) = &events[i];
        bodies.entry(|out, first| {
            if first || last != Some(source) {
                out.extend_from_slice(if first { b"" } else { b"]," });
                json_string(out, source);
                out.extend_from_slice(b":[");
            } else {
                out.push(b',');
            }
            write_event(out, event, *received, base);
        });
        last = Some(source);
    }
    bodies.finish()
}

fn source(event: &Event) -> &str {
    if event.source.is_empty() { DEFAULT_SOURCE } else { &event.source }
}

fn write_event(out: &mut Vec<u8>, event: &Event, received: u64, base: &Base) {
    field(out, b"{\"msg_title\":", &event.title);
    field(out, b",\"msg_text\":", &event.text);
    // Writing to a vector cannot fail, here and below.
    let _ = write!(out, ",\"timestamp\":{}", event.timestamp.unwrap_or(received));
    field(out, b",\"priority\":", if event.low_priority { "low" } else { "normal" });
    field(out, b",\"host\":", &event.host);
    out.extend_from_slice(b",\"tags\":");
    tags(out, &event.tags, base);
    field(out, b",\"alert_type\":", event.alert_type.name());
    field(out, b",\"aggregation_key\":", &event.aggregation_key);
    field(out, b",\"source_type_name\":", &event.source);
    out.push(b'}');
}

/// Service checks with the second they were received in.
#[must_use]
pub fn service_checks(checks: &[(ServiceCheck, u64)], settings: &Settings, base: &Base) -> Vec<Payload> {
    let mut bodies = Bodies::new(Route::ServiceChecks, settings.compression_level, "[", b",", b"]");
    for (check, received) in checks {
        bodies.entry(|out, _| {
            field(out, b"{\"check\":", &check.name);
            field(out, b",\"host_name\":", &check.host);
            let timestamp = check.timestamp.unwrap_or(*received);
            let _ = write!(out, ",\"timestamp\":{timestamp},\"status\":{}", check.status);
            field(out, b",\"message\":", &check.message);
            out.extend_from_slice(b",\"tags\":");
            tags(out, &check.tags, base);
            out.push(b'}');
        });
    }
    bodies.finish()
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &str) {
    out.extend_from_slice(name);
    json_string(out, value);
}

/// The tags of everything, then those sent.
fn tags(out: &mut Vec<u8>, sent: &str, base: &Base) {
    let own = sent.split(',').filter(|tag| !tag.is_empty() && !base.events.iter().any(|known| known == tag));
    json_strings(out, base.events.iter().map(String::as_str).chain(own));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::payload::MAX_BODY;
    use crate::metrics::payload::tests::plain;

    /// The number of events by source, for each body.
    fn check(sources: &[&str], text: usize, expected: &[&[(&str, usize)]]) {
        let make = |source: &&str| {
            let event =
                Event { title: "t".into(), text: "x".repeat(text), source: (*source).into(), ..Event::default() };
            (event, 5)
        };
        let given: Vec<_> = sources.iter().map(make).collect();
        let payloads = events(&given, &Settings::default(), &Base::default());
        let bodies: Vec<Vec<(String, usize)>> = payloads
            .iter()
            .map(|payload| {
                let body = plain(payload);
                assert!(body.len() <= MAX_BODY);
                let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
                let events = body["events"].as_object().unwrap();
                events.iter().map(|(source, list)| (source.clone(), list.as_array().unwrap().len())).collect()
            })
            .collect();
        let expected: Vec<Vec<_>> =
            expected.iter().map(|body| body.iter().map(|(s, n)| ((*s).to_owned(), *n)).collect()).collect();
        assert_eq!(bodies, expected, "{sources:?}");
    }

    #[test]
    fn sources_share_bodies() {
        check(&[], 1, &[]);
        check(&["", "b", "", "a"], 1, &[&[("a", 1), ("api", 2), ("b", 1)]]);
        check(&["a"; 1001], 1, &[&[("a", 1000)], &[("a", 1)]]);
        check(&["a", "b", "b"], 1_400_000, &[&[("a", 1), ("b", 1)], &[("b", 1)]]);
    }
}
