//! The shipped binary in the lab: what a function hands over arrives at the intake, whatever the platform and the intake
//! do meanwhile. Each test has an environment of its own; what they share is the function below and how its data is
//! recognised.

#[path = "../lab/mod.rs"]
mod lab;

mod daemon;
mod endpoints;
mod flush;
mod lifecycle;
mod outage;
mod passthrough;
mod relay;
mod rules;
mod sampling;
mod settings;
mod shutdown;
mod signals;
mod soak;
mod stats;
mod tracer;
mod traces;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use lab::intake::Received;
use lab::platform::{Exit, Invocation, Invoked, Shutdown};
use lab::{Fault, Intake, Options, Outcome, Platform, Route, Runtime, Status};

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// A strategy that leaves everything to SHUTDOWN.
const RARELY: (&str, &str) = ("DD_SERVERLESS_FLUSH_STRATEGY", "periodically,3600000");

/// A strategy that sends everything while `next` waits.
const AT_END: (&str, &str) = ("DD_SERVERLESS_FLUSH_STRATEGY", "end");

/// The routes that [`work`] leads to.
const ROUTES: [Route; 3] = [Route::Logs, Route::Sketches, Route::Traces];

/// Where the execution context is kept.
const CONTEXT: &str = "/tmp/dd-lambda-extension-cache.json";

/// Runs `body` as the test `name`, given with its module, in namespaces of its own.
fn isolated(name: &str, body: impl FnOnce()) {
    lab::isolated(name, || {
        forget();
        body();
    });
}

/// Removes the execution context, which would make the next environment a continuation of the last one.
fn forget() {
    let _ = std::fs::remove_file(CONTEXT);
}

/// Hands over one line, one sample and one span, each with the number of the invocation in it.
fn work(invocation: &Invocation) {
    let n = &invocation.payload["n"];
    invocation.print(&format!("line {n}."));
    invocation.statsd(&format!("work.{n}:1|d"));
    let id = n.as_u64().unwrap_or_default() + 1;
    invocation.traces(&json!([[{
        "service": "s", "name": "n", "resource": format!("op {n}."), "trace_id": id, "span_id": id, "parent_id": 0,
        "start": 1_700_000_000_000_000_000_u64, "duration": 5, "error": 0, "type": "web",
    }]]));
}

/// The function: works, then ends as the payload's `then` says.
fn function(invocation: &Invocation) -> Outcome {
    work(invocation);
    match invocation.payload["then"].as_str() {
        Some("crash") => return Outcome::Crash,
        Some("hang") => invocation.busy(LIMIT * 2),
        _ => {}
    }
    Outcome::Done(json!("done"))
}

/// What `received` has of invocation `n`: lines, samples, spans.
fn arrived(received: &Received, n: u32) -> [i64; 3] {
    let line = format!("line {n}.\n");
    let operation = format!("op {n}.");
    [
        received.logs.iter().filter(|log| log.message() == line).count() as i64,
        received.sketch_points(&format!("work.{n}")).map(|point| point.cnt).sum(),
        received.spans().filter(|span| span.resource == operation).count() as i64,
    ]
}

/// All of an invocation, once.
const ONCE: [i64; 3] = [1, 1, 1];
/// Nothing of it.
const NOTHING: [i64; 3] = [0, 0, 0];

/// A function, its extension and its intake.
struct Scene {
    intake: Intake,
    platform: Platform,
}

impl Scene {
    /// [`function`] with the settings `env`, in which `{intake}` stands for the intake's URL.
    fn new(env: &[(&str, &str)]) -> Self {
        Self::with(env, |_| {})
    }

    /// The same with other options.
    fn with(env: &[(&str, &str)], change: impl FnOnce(&mut Options)) -> Self {
        let intake = Intake::start();
        let mut settings = intake.env();
        let url = intake.url();
        settings.extend(env.iter().map(|(name, value)| ((*name).to_owned(), value.replace("{intake}", &url))));
        let mut options = Options { runtime: Runtime::builtin(function), env: settings, ..Options::default() };
        change(&mut options);
        Self { intake, platform: Platform::start(options) }
    }

    /// Invocation `n`, which succeeds.
    fn invoke(&mut self, n: u32) -> Invoked {
        let invoked = self.platform.invoke(&json!({ "n": n }), LIMIT).unwrap();
        assert_eq!(invoked.status, Status::Success, "invocation {n}");
        invoked
    }

    /// SHUTDOWN, which ends well.
    fn shutdown(&mut self) {
        assert_clean(self.platform.shutdown("spindown"));
    }

    /// What the intake has of invocation `n`.
    fn arrived(&self, n: u32) -> [i64; 3] {
        arrived(&self.intake.received(), n)
    }

    /// Does `fault` to everything that [`work`] hands over.
    fn fault(&self, fault: impl Into<Fault>) {
        let fault = fault.into();
        for route in ROUTES {
            self.intake.fault(route, None, fault.clone());
        }
    }

    /// The extension's own lines of this level, such as `WARN`.
    fn lines(&self, level: &str) -> Vec<String> {
        let mark = format!("DD_EXTENSION | {level} | ");
        let texts = self.platform.extension_lines().into_iter().map(|line| {
            let json: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
            json["message"].as_str().unwrap().to_owned()
        });
        texts.filter_map(|text| text.strip_prefix(&mark).map(str::to_owned)).collect()
    }

    /// Asserts that it complained about nothing.
    fn assert_quiet(&self) {
        assert_eq!((self.lines("ERROR"), self.lines("WARN")), (Vec::new(), Vec::new()));
    }
}

/// Asserts that the extension was told, ended by itself with 0, and was not killed.
fn assert_clean(shutdown: Option<Shutdown>) {
    let shutdown = shutdown.expect("there was an extension");
    assert!(shutdown.told && !shutdown.killed, "{shutdown:?}");
    assert_eq!(shutdown.exit, Some(Exit { code: Some(0), signal: None }));
}

/// Sends `request` to a local port and returns all that is answered until the connection closes.
fn exchange(port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    // The answer to a request that is refused may come, and the connection go, before all of it is written.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Posts nothing to a path of the daemon and returns the status.
fn post(path: &str) -> u16 {
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    status(&exchange(8124, head.as_bytes()))
}

/// The status of an answer; 0 if it is none.
fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}
