//! The three APIs at `AWS_LAMBDA_RUNTIME_API` (spec: lambda-apis 1.3, 1.5; clients 11.1), on tiny_http: on purpose not
//! the HTTP that thimble ships. One thread takes requests, checks them and answers, or parks a `next` until the platform
//! has an event for it. An environment holds fewer connections than tiny_http has threads (see `measured`: five would
//! starve one another).

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use tiny_http::{Header, Request, Response};

use super::events;
use super::options::{Options, TelemetryMode};
use super::state::{Answer, Call, Registered, Shared, State};
use super::telemetry::{Subscription, Telemetry};

/// The port Lambda uses.
const PORT: u16 = 9001;

/// An answer: status, JSON, and further headers.
pub struct Reply {
    status: u16,
    body: Value,
    headers: Vec<(&'static str, String)>,
}

impl Reply {
    pub fn new(status: u16, body: Value) -> Self {
        Self { status, body, headers: Vec::new() }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn error(status: u16, kind: &str, message: &str) -> Self {
        Self::new(status, json!({"errorType": kind, "errorMessage": message}))
    }

    fn ok() -> Self {
        Self::new(202, json!({"status": "OK"}))
    }

    /// Sends it. A peer that is gone does not get it.
    pub fn send(self, request: Request) {
        let mut response = Response::from_data(self.body.to_string()).with_status_code(self.status);
        let json = ("Content-Type", "application/json".to_owned());
        for (name, value) in self.headers.into_iter().chain([json]) {
            if let Ok(header) = Header::from_bytes(name, value) {
                response.add_header(header);
            }
        }
        let _ = request.respond(response);
    }
}

/// What a request leads to.
enum Outcome {
    Reply(Reply),
    ParkExtension,
    ParkRuntime,
}

/// The running APIs.
pub struct Api {
    server: Arc<tiny_http::Server>,
    /// Host and port.
    pub address: String,
}

impl Api {
    /// Listens on Lambda's port, or on a free one if that is taken.
    pub fn start(options: Arc<Options>, shared: Arc<Shared>, telemetry: Telemetry) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))
            .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .expect("the loopback has a free port");
        // Accepted sockets inherit it; without it every answer waits for a delayed acknowledgement.
        rustix::net::sockopt::set_tcp_nodelay(&listener, true).expect("TCP sockets have the option");
        let address = listener.local_addr().expect("a bound socket has an address").to_string();
        let server = Arc::new(tiny_http::Server::from_listener(listener, None).expect("the listener is bound"));
        let (serving, routes) = (server.clone(), Routes { options, shared, telemetry });
        thread::Builder::new()
            .name("lab-api".into())
            .spawn(move || {
                for request in serving.incoming_requests() {
                    routes.serve(request);
                }
            })
            .expect("a thread can be started");
        Self { server, address }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.server.unblock();
    }
}

struct Routes {
    options: Arc<Options>,
    shared: Arc<Shared>,
    telemetry: Telemetry,
}

impl Routes {
    fn serve(&self, mut request: Request) {
        let mut body = Vec::new();
        if request.as_reader().read_to_end(&mut body).is_err() {
            return; // the peer died in the middle
        }
        let headers = request.headers().iter();
        let mut call = Call {
            at: Instant::now(),
            method: request.method().to_string(),
            path: request.url().to_owned(),
            headers: headers.map(|h| (h.field.to_string().to_lowercase(), h.value.to_string())).collect(),
            body,
            status: 0,
        };
        let reply = self.shared.update(|state| {
            let outcome = self.route(state, &call);
            if let Outcome::Reply(reply) = &outcome {
                call.status = reply.status;
            }
            let at = call.at;
            state.calls.push(call);
            let poll = match outcome {
                Outcome::Reply(reply) => return Some((reply, request)),
                Outcome::ParkExtension => &mut state.extension,
                Outcome::ParkRuntime => &mut state.runtime,
            };
            poll.parked = Some(request);
            poll.at = Some(at);
            poll.count += 1;
            None
        });
        if let Some((reply, request)) = reply {
            reply.send(request);
        }
    }

    fn route(&self, state: &mut State, call: &Call) -> Outcome {
        let reply = match (call.method.as_str(), call.path.as_str()) {
            ("POST", "/2020-01-01/extension/register") => self.register(state, call),
            ("GET", "/2020-01-01/extension/event/next") => {
                match (unknown_extension(state, call), state.refuse_next.pop_front()) {
                    (Some(reply), _) => reply,
                    (None, Some(status)) => Reply::error(status, "Lab.Refused", "the lab was told to refuse this"),
                    (None, None) => {
                        if state.extension.count == 0 {
                            let registered = state.registered.as_ref().expect("checked a moment ago");
                            self.telemetry.emit(
                                "platform.extension",
                                events::extension_ready(&registered.name, &registered.events),
                            );
                        }
                        return Outcome::ParkExtension;
                    }
                }
            }
            ("POST", "/2020-01-01/extension/init/error" | "/2020-01-01/extension/exit/error") => {
                extension_error(state, call)
            }
            ("PUT", "/2022-07-01/telemetry") => self.subscribe(state, call),
            ("GET", "/2018-06-01/runtime/invocation/next") => return Outcome::ParkRuntime,
            ("POST", "/2018-06-01/runtime/init/error") => {
                state.init_error =
                    Some(call.header("lambda-runtime-function-error-type").unwrap_or("Unhandled").into());
                Reply::ok()
            }
            ("POST", path) => {
                match path.strip_prefix("/2018-06-01/runtime/invocation/").and_then(|p| p.split_once('/')) {
                    Some((id, kind @ ("response" | "error"))) => answer(state, call, id, kind),
                    _ => not_found(),
                }
            }
            _ => not_found(),
        };
        Outcome::Reply(reply)
    }

    fn register(&self, state: &mut State, call: &Call) -> Reply {
        let program = self.options.extension.as_ref().map(|p| p.argv0.as_str()).unwrap_or_default();
        let expected = program.rsplit('/').next().unwrap_or_default();
        let name = call.header("lambda-extension-name").unwrap_or_default();
        if name != expected {
            let message = format!("Lambda-Extension-Name {name:?} is not the file name {expected:?}");
            return Reply::error(403, "Extension.InvalidExtensionName", &message);
        }
        if state.registered.is_some() {
            return Reply::error(403, "Extension.AlreadyRegistered", "an extension registers once");
        }
        let Ok(body) = serde_json::from_slice::<Value>(&call.body) else {
            return Reply::error(400, "InvalidRequestFormat", "the body is not JSON");
        };
        let wanted = body["events"].as_array().cloned().unwrap_or_default();
        let events: Vec<String> = wanted.iter().filter_map(|e| e.as_str().map(str::to_owned)).collect();
        if let Some(event) = events.iter().find(|e| !["INVOKE", "SHUTDOWN"].contains(&e.as_str())) {
            return Reply::error(403, "Extension.InvalidEventType", event);
        }
        let id = format!("e0000000-0000-4000-8000-{:012x}", state.generation);
        let subscribed = false;
        state.registered = Some(Registered { id: id.clone(), name: name.into(), events, at: call.at, subscribed });
        let mut answer = json!({
            "functionName": self.options.function_name,
            "functionVersion": self.options.function_version,
            "handler": self.options.handler,
        });
        let features = call.header("lambda-extension-accept-feature").unwrap_or_default();
        if let (Some(account), true) = (&self.options.account_id, features.split(',').any(|f| f.trim() == "accountId"))
        {
            answer["accountId"] = json!(account);
        }
        Reply::new(200, answer).header("Lambda-Extension-Identifier", id)
    }

    fn subscribe(&self, state: &mut State, call: &Call) -> Reply {
        if let Some(reply) = unknown_extension(state, call) {
            return reply;
        }
        match self.options.telemetry {
            TelemetryMode::Refused(status) => {
                return Reply::error(status, "Lab.Refused", "the lab was told to refuse this");
            }
            TelemetryMode::NotSupported => {
                return Reply::error(202, "Telemetry.NotSupported", "Telemetry API is not supported");
            }
            TelemetryMode::Real => {}
        }
        if state.extension.count > 0 {
            return Reply::error(403, "Telemetry.SubscriptionClosed", "subscriptions are for the init phase");
        }
        match Subscription::parse(&call.body) {
            Err(problem) => Reply::error(400, "ValidationError", &problem),
            Ok(subscription) => {
                if let Some(registered) = &mut state.registered {
                    registered.subscribed = true;
                    let record = events::subscribed(&registered.name, &subscription.types);
                    self.telemetry.emit("platform.telemetrySubscription", record);
                }
                self.telemetry.subscribe(subscription);
                Reply::new(200, json!("OK"))
            }
        }
    }
}

fn not_found() -> Reply {
    Reply::error(404, "NotFound", "no such API")
}

/// The refusal of a call without the identifier that register gave.
fn unknown_extension(state: &State, call: &Call) -> Option<Reply> {
    let refusal = match (call.header("lambda-extension-identifier"), &state.registered) {
        (None, _) => "Extension.MissingExtensionIdentifier",
        (Some(id), Some(registered)) if registered.id == id => return None,
        _ => "Extension.UnknownExtensionIdentifier",
    };
    Some(Reply::error(403, refusal, "Lambda-Extension-Identifier"))
}

fn extension_error(state: &mut State, call: &Call) -> Reply {
    if let Some(reply) = unknown_extension(state, call) {
        return reply;
    }
    let Some(kind) = call.header("lambda-extension-function-error-type") else {
        return Reply::error(403, "Extension.MissingHeader", "Lambda-Extension-Function-Error-Type");
    };
    state.init_error = Some(kind.to_owned());
    Reply::ok()
}

/// Takes the runtime's answer to the invocation in flight.
fn answer(state: &mut State, call: &Call, id: &str, kind: &str) -> Reply {
    let Some(invocation) = state.invocation.as_mut().filter(|i| i.request_id == id && i.answer.is_none()) else {
        return Reply::error(400, "InvalidRequestID", "no such invocation is in flight");
    };
    let answer = if kind == "response" {
        Answer::Response(call.body.clone())
    } else {
        let body: Value = serde_json::from_slice(&call.body).unwrap_or(Value::Null);
        let header = call.header("lambda-runtime-function-error-type");
        let kind = body["errorType"].as_str().or(header).unwrap_or("Runtime.Unknown").to_owned();
        Answer::Error(kind, body)
    };
    invocation.answer = Some((call.at, answer));
    Reply::ok()
}
