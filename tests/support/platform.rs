//! Lambda's side: the Extensions API, the Telemetry API's subscription and its deliveries. One extension, one connection
//! for deliveries, no runtime: the caller says when an invocation begins and ends.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::http::{Client, Request, Response, serve};

/// Nothing here takes longer, not even under an emulator on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The port that deliveries go to.
const TELEMETRY: (&str, u16) = ("127.0.0.1", 8124);

/// A call of the extension, with the moment its last byte was read.
#[derive(Debug)]
pub enum Call {
    Register { name: String, body: Value, at: Instant },
    Subscribe { body: Value },
    Next { at: Instant },
    Other(String),
}

/// A running platform.
#[derive(Debug)]
pub struct Platform {
    pub address: SocketAddr,
    calls: Receiver<Call>,
    events: Sender<Value>,
    deliveries: Option<Client>,
}

impl Platform {
    pub fn start() -> Self {
        let (events, next_events) = channel();
        let (calls, received) = channel();
        let next_events = Mutex::new(next_events);
        let address = serve(move |request| answer(&request, &calls, &next_events));
        Self { address, calls: received, events, deliveries: None }
    }

    /// The next call, whatever it is.
    pub fn call(&self) -> Call {
        self.calls.recv_timeout(PATIENCE).expect("the extension calls the platform")
    }

    /// Waits for `/next`, past all other calls. Hands back when it was read.
    pub fn next(&self) -> Instant {
        loop {
            if let Call::Next { at } = self.call() {
                return at;
            }
        }
    }

    /// Answers the pending `/next` with an invocation.
    pub fn invoke(&self, request_id: &str) {
        self.answer_next(json!({
            "eventType": "INVOKE",
            "deadlineMs": epoch_ms() + 60_000,
            "requestId": request_id,
            "invokedFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:measured",
            "tracing": { "type": "X-Amzn-Trace-Id", "value": "Root=1-5759e988-bd862e3fe1be46a994272793" },
        }));
    }

    /// Answers the pending `/next` with the end of the environment.
    pub fn shutdown(&self) {
        let deadline = epoch_ms() + 2_000;
        self.answer_next(json!({ "eventType": "SHUTDOWN", "deadlineMs": deadline, "shutdownReason": "spindown" }));
    }

    fn answer_next(&self, event: Value) {
        self.events.send(event).expect("the server lives as long as the process");
    }

    /// Delivers telemetry and waits for the answer.
    pub fn deliver(&mut self, events: &[u8]) {
        let client = match &mut self.deliveries {
            Some(client) => client,
            none => none.insert(Client::connect(TELEMETRY).expect("the extension listens for telemetry")),
        };
        let json = [("Content-Type", "application/json")];
        assert_eq!(client.send("POST", "/lambda/logs", &json, events).expect("an answer"), 200);
    }
}

fn answer(request: &Request, calls: &Sender<Call>, events: &Mutex<Receiver<Value>>) -> Response {
    let body = || serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    let (call, response) = match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/2020-01-01/extension/register") => {
            let name = request.header("lambda-extension-name").unwrap_or_default().to_owned();
            let reply = json!({
                "functionName": "measured",
                "functionVersion": "$LATEST",
                "handler": "handler.func",
                "accountId": "123456789012",
            });
            let mut response = Response::new(200, reply.to_string());
            response.headers.push(("Lambda-Extension-Identifier", "7d0d9a7c-8d1f-4a7b-9f4d-1f6f4f7f3a21".to_owned()));
            (Call::Register { name, body: body(), at: request.received }, response)
        }
        ("PUT", "/2022-07-01/telemetry") => (Call::Subscribe { body: body() }, Response::new(200, "\"OK\"")),
        ("GET", "/2020-01-01/extension/event/next") => {
            // The caller hears of the poll now; the answer is its to give.
            if calls.send(Call::Next { at: request.received }).is_err() {
                return Response::new(500, "");
            }
            let event = events.lock().ok().and_then(|events| events.recv().ok());
            return event.map_or_else(|| Response::new(500, ""), |event| Response::new(200, event.to_string()));
        }
        (method, path) => (Call::Other(format!("{method} {path}")), Response::new(404, "")),
    };
    // A caller that is gone wants to hear nothing.
    let _ = calls.send(call);
    response
}

/// Milliseconds since the epoch.
pub fn epoch_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the year 500,000,000")
}

/// A telemetry event of this moment.
pub fn telemetry(kind: &str, record: &Value) -> Value {
    // The value of the time does not matter to what is measured, its form does.
    json!({ "time": "2026-01-05T10:00:00.000Z", "type": kind, "record": record })
}

/// What Lambda says at the end of the invocation `request_id`.
pub fn runtime_done(request_id: &str) -> Value {
    let metrics = json!({ "durationMs": 12.5, "producedBytes": 2 });
    telemetry(
        "platform.runtimeDone",
        &json!({ "requestId": request_id, "status": "success", "metrics": metrics, "spans": [] }),
    )
}
