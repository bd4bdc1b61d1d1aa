//! How a tracer's request looks to its intake: target, headers, and who the function is. Pure, but for the random number
//! of a request to the debugger.

use std::fmt::Write as _;

use rustix::rand::{GetRandomFlags, getrandom};

use super::evp;
use crate::forwarder::{Intake, Request};
use crate::lambda::Tags;
use crate::net::Head;

/// The header that tells intakes whose data it is.
const TAGS: &str = "x-datadog-additional-tags";

/// Most characters of tags in a query, a limit of the Go agent's.
const QUERY_TAGS_MAX: usize = 4001;

/// Headers that concern the connection or are written anew. Those that `Connection` names go too.
const DROPPED: [&str; 14] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "host",
    "content-length",
    "dd-api-key",
    TAGS,
];

/// Who the function is, in the forms that intakes read.
#[derive(Debug)]
pub(super) struct Identity {
    /// For [`TAGS`]. Semicolons, because that is what Datadog's present extension for Lambda sends, and by what profiles
    /// are found by function; the Go agent's commas are missing from its Lambda form.
    tags: String,
    /// For the debugger, which reads the form of its query.
    listed: String,
    env: String,
    arn: String,
}

impl Identity {
    pub fn new(tags: &Tags) -> Self {
        let (name, env) = (&tags.function_name, tags.get("env").unwrap_or_default());
        let mut listed = String::new();
        if !env.is_empty() {
            let _ = write!(listed, "default_env:{env},");
        }
        let _ = write!(listed, "agent_version:{},functionname:{name},_dd.origin:lambda", crate::VERSION);
        Self {
            tags: format!("_dd.origin:lambda;functionname:{name}"),
            listed,
            env: env.to_owned(),
            arn: tags.function_arn.clone(),
        }
    }

    /// What goes to `intake` for the request `head`; `path` is the part of its path that the intake's address leaves open.
    pub fn request(&self, head: &Head, intake: Intake, path: &str) -> Request {
        let named = head.header(evp::SUBDOMAIN).unwrap_or_default();
        let (intake, subdomain) = match intake {
            Intake::Events => (intake, named),
            // A client that says so means another part of the platform than the path's own.
            Intake::LlmSpans if !matches!(named, "" | "llmobs-intake") => (Intake::Events, named),
            Intake::LlmEvaluations if !matches!(named, "" | "api") => (Intake::Events, named),
            _ => (intake, ""),
        };
        let mut headers = if intake == Intake::Events { allowed(head) } else { kept(head) };
        let mut set = |name: &str, value: &str| {
            if !value.is_empty() {
                headers.retain(|(n, _)| n != name);
                headers.push((name.to_owned(), value.as_bytes().to_vec()));
            }
        };
        let mut query = match head.query.as_str() {
            "" => String::new(),
            query => format!("?{query}"),
        };
        let from_client = || head.header(TAGS).unwrap_or_default();
        match intake {
            Intake::DebuggerLogs | Intake::Debugger => {
                query = debugger_query(&self.listed, from_client(), &head.query);
                set(TAGS, &self.tags);
                set("dd-evp-origin", "agent-debugger");
                set("dd-request-id", &request_id());
            }
            Intake::Symbols => {
                let separator = if from_client().is_empty() { "" } else { "," };
                set(TAGS, &[&self.listed, separator, from_client()].concat());
                set("dd-evp-origin", "agent-symdb");
                set("dd-request-id", &request_id());
            }
            Intake::Telemetry => {
                set(TAGS, &self.tags);
                set("dd-agent-env", &self.env);
                if !self.arn.is_empty() {
                    set("dd-cloud-provider", "AWS");
                    set("dd-cloud-resource-type", "AWSLambda");
                    set("dd-cloud-resource-identifier", &self.arn);
                }
            }
            Intake::Events => {
                set(TAGS, &self.tags);
                set("x-datadog-agentdefaultenv", &self.env);
            }
            Intake::Lineage => {
                set(TAGS, &self.tags);
                if !head.query.split('&').any(|pair| pair.starts_with("api-version=")) {
                    query.push_str(if query.is_empty() { "?api-version=2" } else { "&api-version=2" });
                }
            }
            _ => set(TAGS, &self.tags),
        }
        headers.push(("via".to_owned(), format!("trace-agent {}", crate::VERSION).into_bytes()));
        Request { intake, subdomain: subdomain.to_owned(), target: escaped(&[path, &query].concat()), headers }
    }
}

/// `target` with what no URL has, but some clients send, as `%XX`.
fn escaped(target: &str) -> String {
    let mut out = String::with_capacity(target.len());
    for c in target.chars() {
        match c {
            '"' => out.push_str("%22"),
            '#' => out.push_str("%23"),
            '<' => out.push_str("%3C"),
            '>' => out.push_str("%3E"),
            _ => out.push(c),
        }
    }
    out
}

/// The headers that concern more than the connection.
fn kept(head: &Head) -> Vec<(String, Vec<u8>)> {
    let connection = head.headers.iter().filter(|(name, _)| name == "connection");
    let named: Vec<&[u8]> =
        connection.flat_map(|(_, value)| value.split(|b| *b == b',')).map(<[u8]>::trim_ascii).collect();
    let goes_on =
        |name: &str| !DROPPED.contains(&name) && !named.iter().any(|other| other.eq_ignore_ascii_case(name.as_bytes()));
    head.headers.iter().filter(|(name, _)| goes_on(name)).cloned().collect()
}

fn allowed(head: &Head) -> Vec<(String, Vec<u8>)> {
    let goes_on = |name: &str, value: &[u8]| evp::ALLOWED.contains(&name) && !value.is_empty();
    head.headers.iter().filter(|(name, value)| goes_on(name, value)).cloned().collect()
}

/// A query whose `ddtags` are `own`, those of the client's header, and its own, as far as they fit. The rest of it stays.
fn debugger_query(own: &str, from_header: &str, query: &str) -> String {
    let mut out = String::from("?ddtags=");
    let mut room = QUERY_TAGS_MAX;
    encode(&mut out, own, &mut room);
    let (in_query, others): (Vec<&str>, Vec<&str>) =
        query.split('&').filter(|pair| !pair.is_empty()).partition(|pair| pair.starts_with("ddtags="));
    if !from_header.is_empty() {
        encode(&mut out, ",", &mut room);
        encode(&mut out, from_header, &mut room);
    }
    for tags in in_query.iter().map(|pair| &pair["ddtags=".len()..]).filter(|tags| !tags.is_empty()) {
        encode(&mut out, ",", &mut room);
        copy(&mut out, tags, &mut room);
    }
    for pair in others {
        out.push('&');
        out.push_str(pair);
    }
    out
}

/// Appends `text` for a query, at most `room` bytes of it.
fn encode(out: &mut String, text: &str, room: &mut usize) {
    for byte in text.bytes().take(*room) {
        *room -= 1;
        if byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Appends `text`, which is encoded already, at most `room` encoded bytes of it.
fn copy(out: &mut String, text: &str, room: &mut usize) {
    let mut rest = text;
    while let Some(first) = rest.chars().next()
        && *room > 0
    {
        let end =
            if first == '%' { rest.char_indices().nth(3).map_or(rest.len(), |(at, _)| at) } else { first.len_utf8() };
        out.push_str(&rest[..end]);
        rest = &rest[end..];
        *room -= 1;
    }
}

/// A number for a request by which the intake knows one that it gets twice (RFC 9562, version 4); empty without a source
/// of random numbers.
fn request_id() -> String {
    let mut bytes = [0; 16];
    if getrandom(&mut bytes, GetRandomFlags::NONBLOCK) != Ok(bytes.len()) {
        return String::new();
    }
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            id.push('-');
        }
        let _ = write!(id, "{byte:02x}");
    }
    id
}

#[cfg(test)]
mod tests;
