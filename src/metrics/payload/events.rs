//! Events (`/intake/`) and service checks (`/api/v1/check_run`), JSON as the Go agent sends it.

use std::collections::BTreeMap;
use std::io::Write as _;

use super::{Bodies, json_string, json_strings};
use crate::forwarder::{Payload, Route};
use crate::metrics::dogstatsd::event::{Event, ServiceCheck};
use crate::metrics::settings::{Base, Settings};

/// The source of events that name none.
const DEFAULT_SOURCE: &str = "api";

/// Events with the second they were received in, by their source.
#[must_use]
pub fn events(events: &[(Event, u64)], settings: &Settings, base: &Base) -> Vec<Payload> {
    let mut sources: BTreeMap<&str, Vec<(&Event, u64)>> = BTreeMap::new();
    for (event, received) in events {
        let source = if event.source.is_empty() { DEFAULT_SOURCE } else { &event.source };
        sources.entry(source).or_default().push((event, *received));
    }
    let mut payloads = Vec::new();
    for (source, events) in sources {
        let mut open = b"{\"apiKey\":\"\",\"events\":{".to_vec();
        json_string(&mut open, source);
        open.extend_from_slice(b":[");
        let mut bodies =
            Bodies::new(Route::Events, settings.compression_level, open, b",", b"]},\"internalHostname\":\"\"}");
        for (event, received) in events {
            bodies.entry(|out| write_event(out, event, received, base));
        }
        payloads.extend(bodies.finish());
    }
    payloads
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
        bodies.entry(|out| {
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
