//! A runtime inside the lab: a thread that speaks the Runtime API and calls a Rust closure for each invocation, with the
//! means a function's libraries have: lines, statsd datagrams, traces. For tests that need no Python.

use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::telemetry::Telemetry;

/// What is called for each invocation.
pub type Handler = Arc<dyn Fn(&Invocation) -> Outcome + Send + Sync>;

/// How an invocation of the handler ends.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It returns.
    Done(Value),
    /// It raises an error of this type with this message.
    Error(&'static str, String),
    /// Its process exits.
    Crash,
}

/// An invocation as the handler sees it.
pub struct Invocation {
    /// Its id.
    pub request_id: String,
    /// When it is ended, in milliseconds since the epoch.
    pub deadline_ms: u64,
    /// `X-Amzn-Trace-Id`.
    pub trace: String,
    /// The function.
    pub arn: String,
    /// What was sent to it.
    pub payload: Value,
    /// Whether it is the first of its runtime.
    pub cold: bool,
    telemetry: Telemetry,
    killed: Arc<AtomicBool>,
}

impl Invocation {
    /// Writes a line to the function's log.
    pub fn print(&self, line: &str) {
        if !self.killed() {
            self.telemetry.emit("function", json!(format!("{line}\n")));
        }
    }

    /// Writes a record to the function's log as Lambda's JSON log format does.
    pub fn print_json(&self, record: Value) {
        if !self.killed() {
            self.telemetry.emit("function", record);
        }
    }

    /// Sends one datagram to port 8125.
    pub fn statsd(&self, datagram: &str) {
        let sent = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.send_to(datagram.as_bytes(), "127.0.0.1:8125"));
        if let Err(e) = sent {
            self.print(&format!("lab: statsd: {e}"));
        }
    }

    /// Posts traces, an array of arrays of spans in the shape of v0.4, to port 8126; returns the status, 0 for none.
    pub fn traces(&self, traces: &Value) -> u16 {
        let body = super::super::msgpack::encode(traces);
        let request = agent().post("http://127.0.0.1:8126/v0.4/traces");
        let request = request.header("Content-Type", "application/msgpack").header("Datadog-Meta-Lang", "lab");
        request.send(&body).ok().and_then(finish).unwrap_or(0)
    }

    /// Whether the platform has ended this runtime: a handler that waits must look.
    pub fn killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Works for `duration`, or until killed.
    pub fn busy(&self, duration: Duration) {
        let until = Instant::now() + duration;
        while !self.killed() && Instant::now() < until {
            thread::sleep(Duration::from_millis(2).min(duration));
        }
    }
}

/// The running thread.
pub struct Builtin {
    killed: Arc<AtomicBool>,
    exited: Arc<AtomicBool>,
}

impl Builtin {
    /// Starts it; `on_exit` runs when it ends.
    pub fn start(api: String, handler: Handler, telemetry: Telemetry, on_exit: impl FnOnce() + Send + 'static) -> Self {
        let builtin = Self { killed: Arc::default(), exited: Arc::default() };
        let (killed, exited) = (builtin.killed.clone(), builtin.exited.clone());
        thread::Builder::new()
            .name("lab-runtime".into())
            .spawn(move || {
                let mut cold = true;
                // A handler that panics, say in an assertion of a test, is a runtime that crashes.
                let serve_one = |cold| {
                    let serve = || serve(&api, &handler, &telemetry, &killed, cold);
                    catch_unwind(AssertUnwindSafe(serve)).ok().flatten()
                };
                while !killed.load(Ordering::Acquire) && serve_one(std::mem::take(&mut cold)).is_some() {}
                exited.store(true, Ordering::Release);
                on_exit();
            })
            .expect("a thread can be started");
        builtin
    }

    /// Whether the thread has ended.
    pub fn exited(&self) -> bool {
        self.exited.load(Ordering::Acquire)
    }

    /// Ends it, as far as anyone outside can tell.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Release);
    }
}

impl Drop for Builtin {
    fn drop(&mut self) {
        self.kill();
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build().new_agent()
}

/// Takes one invocation through; `None` ends the runtime.
fn serve(api: &str, handler: &Handler, telemetry: &Telemetry, killed: &Arc<AtomicBool>, cold: bool) -> Option<()> {
    let base = format!("http://{api}/2018-06-01/runtime");
    let mut response = agent().get(format!("{base}/invocation/next")).call().ok().filter(|r| r.status() == 200)?;
    let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let mut invocation = Invocation {
        request_id: header("Lambda-Runtime-Aws-Request-Id"),
        deadline_ms: header("Lambda-Runtime-Deadline-Ms").parse().unwrap_or(0),
        trace: header("Lambda-Runtime-Trace-Id"),
        arn: header("Lambda-Runtime-Invoked-Function-Arn"),
        payload: Value::Null,
        cold,
        telemetry: telemetry.clone(),
        killed: killed.clone(),
    };
    let body = response.body_mut().read_to_vec().ok()?;
    invocation.payload = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let (kind, body) = match handler(&invocation) {
        Outcome::Done(value) => ("response", value),
        Outcome::Error(kind, message) => {
            invocation.print(&format!("[ERROR] {kind}: {message}"));
            ("error", json!({"errorType": kind, "errorMessage": message, "stackTrace": []}))
        }
        Outcome::Crash => return None,
    };
    if invocation.killed() {
        return None;
    }
    let url = format!("{base}/invocation/{}/{kind}", invocation.request_id);
    agent().post(url).send(body.to_string()).ok().and_then(finish).map(drop)
}

/// Reads the answer to its end, since a connection that is closed with an unread one is reset; returns the status.
fn finish(mut response: ureq::http::Response<ureq::Body>) -> Option<u16> {
    response.body_mut().read_to_vec().ok()?;
    Some(response.status().as_u16())
}
