//! The Extensions and Telemetry APIs as calls (spec: lambda-apis 1.3, 1.5): register, subscribe, next.
//!
//! One ureq agent for the runtime API alone: never a proxy, small buffers, no timeout on `next`, because the
//! environment may be frozen inside it. Owned by the thread `next`; it keeps no state but its identifier.

use std::fmt;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use serde::Deserialize;
use ureq::unversioned::resolver::DefaultResolver;

use super::event::{Event, Invoke, Registration, ShutdownReason};
use super::transport::{Afterwards, Dialer};

/// The longest reply that is read, in bytes. `next` carries no payload of the function.
const MAX_REPLY: u64 = 256 * 1024;
/// How long register and subscribe may take: what the Go agent allows.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A call to the runtime API that failed.
#[derive(Debug)]
pub enum ApiError {
    /// No reply.
    Transport {
        /// The call.
        call: &'static str,
        /// What ureq says.
        source: ureq::Error,
    },
    /// A reply that refuses.
    Status {
        /// The call.
        call: &'static str,
        /// Its status code.
        status: u16,
        /// The start of its body.
        body: String,
    },
    /// A reply that cannot be understood.
    Reply {
        /// The call.
        call: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport { call, source } => write!(f, "{call}: no reply from the runtime API: {source}"),
            Self::Status { call, status, body } => write!(f, "{call}: the runtime API answered {status}: {body}"),
            Self::Reply { call, problem } => write!(f, "{call}: the runtime API's reply is unusable: {problem}"),
        }
    }
}

impl std::error::Error for ApiError {}

impl ApiError {
    /// Whether nothing listens at the runtime API's address any more.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Transport { source: ureq::Error::Io(e), .. } if e.kind() == std::io::ErrorKind::ConnectionRefused)
    }
}

/// A registered extension.
#[derive(Debug)]
pub struct Extension {
    agent: ureq::Agent,
    base: String,
    identifier: String,
    /// What the coordinator hears once the next request is on its way.
    announce: Sender<Event>,
    afterwards: Afterwards,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegisterReply {
    #[serde(default)]
    function_name: String,
    #[serde(default)]
    function_version: String,
    #[serde(default)]
    account_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NextReply {
    event_type: String,
    #[serde(default)]
    deadline_ms: u64,
    #[serde(default)]
    request_id: String,
    #[serde(default)]
    invoked_function_arn: String,
    #[serde(default)]
    shutdown_reason: String,
}

impl Extension {
    /// Registers as `name`, the file name of this program, for INVOKE and SHUTDOWN with the accountId feature.
    /// `runtime_api` is host and port, `events` the coordinator's inbox.
    ///
    /// # Errors
    /// Any [`ApiError`]; without registration there is nothing to do for this process.
    pub fn register(runtime_api: &str, name: &str, events: &Sender<Event>) -> Result<(Self, Registration), ApiError> {
        const CALL: &str = "register";
        let (announce, waiting) = bounded(1);
        let afterwards = Afterwards { waiting, events: events.clone() };
        let config = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            // The default of 128 KiB each is zeroed at first use: a quarter of the resident memory. Heads have to fit; a
            // body is read in pieces.
            .input_buffer_size(4 * 1024)
            .output_buffer_size(2 * 1024)
            .max_idle_age(Duration::from_secs(24 * 3600))
            .build();
        let agent = ureq::Agent::with_parts(config, Dialer(afterwards.clone()), DefaultResolver::default());
        let base = format!("http://{runtime_api}");
        let response = agent
            .post(format!("{base}/2020-01-01/extension/register"))
            .config()
            .timeout_recv_response(Some(CALL_TIMEOUT))
            .build()
            .header("Lambda-Extension-Name", name)
            .header("Lambda-Extension-Accept-Feature", "accountId")
            .content_type("application/json")
            .send(r#"{"events":["INVOKE","SHUTDOWN"]}"#)
            .map_err(|source| ApiError::Transport { call: CALL, source })?;
        let identifier =
            response.headers().get("lambda-extension-identifier").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let body = read(CALL, response)?;
        let Some(identifier) = identifier else {
            return Err(ApiError::Reply { call: CALL, problem: "no Lambda-Extension-Identifier".to_owned() });
        };
        let reply: RegisterReply = parse(CALL, &body)?;
        let registration = Registration {
            function_name: reply.function_name,
            function_version: reply.function_version,
            account_id: reply.account_id.unwrap_or_default(),
        };
        Ok((Self { agent, base, identifier, announce, afterwards }, registration))
    }

    /// Subscribes to telemetry of the given types, delivered to the daemon on `port`. `false` if the platform takes the
    /// request but has no Telemetry API (202, AWS's emulator).
    ///
    /// # Errors
    /// Any [`ApiError`]; the extension then lives without telemetry.
    pub fn subscribe(&self, types: &[&str], port: u16) -> Result<bool, ApiError> {
        const CALL: &str = "telemetry subscription";
        let body = serde_json::json!({
            "schemaVersion": "2022-12-13",
            "types": types,
            "buffering": { "maxItems": 1000, "maxBytes": 262_144, "timeoutMs": 25 },
            "destination": { "protocol": "HTTP", "URI": format!("http://sandbox:{port}/lambda/logs") },
        });
        let response = self
            .agent
            .put(format!("{}/2022-07-01/telemetry", self.base))
            .config()
            .timeout_recv_response(Some(CALL_TIMEOUT))
            .build()
            .header("Lambda-Extension-Identifier", &self.identifier)
            .content_type("application/json")
            .send(body.to_string())
            .map_err(|source| ApiError::Transport { call: CALL, source })?;
        let supported = response.status() != 202;
        read(CALL, response)?;
        Ok(supported)
    }

    /// Lets the coordinator know `event` once the next request is on its way, or has failed.
    pub fn announce(&self, event: Event) {
        // There is room: one event waits at most, from one request to the next.
        let _ = self.announce.try_send(event);
    }

    /// Waits for the next event, for as long as it takes.
    ///
    /// # Errors
    /// Any [`ApiError`], also for an event type that this version does not know.
    pub fn next(&self) -> Result<Event, ApiError> {
        const CALL: &str = "next";
        let response = self
            .agent
            .get(format!("{}/2020-01-01/extension/event/next", self.base))
            .header("Lambda-Extension-Identifier", &self.identifier)
            .call();
        self.afterwards.tell();
        let response = response.map_err(|source| ApiError::Transport { call: CALL, source })?;
        let reply: NextReply = parse(CALL, &read(CALL, response)?)?;
        match reply.event_type.as_str() {
            "INVOKE" => Ok(Event::Invoke(Invoke {
                request_id: reply.request_id,
                deadline_ms: reply.deadline_ms,
                invoked_function_arn: reply.invoked_function_arn,
            })),
            "SHUTDOWN" => {
                Ok(Event::Shutdown { reason: reason(&reply.shutdown_reason), deadline_ms: reply.deadline_ms })
            }
            other => Err(ApiError::Reply { call: CALL, problem: format!("unknown event type {other:?}") }),
        }
    }
}

/// The reason of a SHUTDOWN, in the spellings of AWS and of its emulator (spec: clients 11.1).
fn reason(text: &str) -> ShutdownReason {
    match text.to_ascii_lowercase().as_str() {
        "spindown" | "sandboxterminated" => ShutdownReason::Spindown,
        "timeout" => ShutdownReason::Timeout,
        "failure" | "releasefail" => ShutdownReason::Failure,
        _ => ShutdownReason::Other,
    }
}

/// Reads a reply's body; a status of 300 and above is an error.
fn read(call: &'static str, response: ureq::http::Response<ureq::Body>) -> Result<String, ApiError> {
    let status = response.status().as_u16();
    let body = response
        .into_body()
        .into_with_config()
        .limit(MAX_REPLY)
        .lossy_utf8(true)
        .read_to_string()
        .map_err(|source| ApiError::Transport { call, source })?;
    if status >= 300 {
        return Err(ApiError::Status { call, status, body: body.chars().take(200).collect() });
    }
    Ok(body)
}

fn parse<'a, T: Deserialize<'a>>(call: &'static str, body: &'a str) -> Result<T, ApiError> {
    serde_json::from_str(body).map_err(|e| ApiError::Reply { call, problem: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_in_every_spelling() {
        for (text, expected) in [
            ("spindown", ShutdownReason::Spindown),
            ("SPINDOWN", ShutdownReason::Spindown),
            ("SandboxTerminated", ShutdownReason::Spindown),
            ("timeout", ShutdownReason::Timeout),
            ("Timeout", ShutdownReason::Timeout),
            ("failure", ShutdownReason::Failure),
            ("ReleaseFail", ShutdownReason::Failure),
            ("", ShutdownReason::Other),
        ] {
            assert_eq!(reason(text), expected, "{text}");
        }
    }

    #[test]
    fn replies_with_and_without_an_account() {
        let full: RegisterReply =
            parse("register", r#"{"functionName":"f","functionVersion":"1","handler":"h","accountId":"12"}"#).unwrap();
        assert_eq!((full.function_name.as_str(), full.account_id.as_deref()), ("f", Some("12")));
        let emulator: RegisterReply = parse("register", r#"{"functionName":"f","handler":""}"#).unwrap();
        assert_eq!(emulator.account_id, None);
        assert!(parse::<RegisterReply>("register", "not json").is_err());
    }
}
