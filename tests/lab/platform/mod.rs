//! A local Lambda: one execution environment with its three APIs, driven step by step by a test: init, invocations,
//! freeze and thaw, timeouts, crashes, SHUTDOWN. Emits the telemetry events of each step in Lambda's order. All methods
//! run on the test's thread; the APIs, the telemetry and each process have threads of their own.

mod api;
pub mod builtin;
mod environment;
pub mod events;
pub mod options;
pub mod process;
mod state;
pub mod telemetry;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

pub use builtin::{Invocation, Outcome};
pub use events::Status;
pub use options::{Options, Program, Report, Runtime, TelemetryMode};
pub use process::Exit;
pub use state::Call;
pub use telemetry::Telemetry;

use super::{proc, sys, time};
use api::{Api, Reply};
use environment::Environment;
use state::{Answer, InFlight, Shared};

/// How an init went, from the start of the extension's process.
#[derive(Clone, Copy, Debug)]
pub struct Init {
    /// To the extension's registration.
    pub registered: Option<Duration>,
    /// To the extension's first `next`.
    pub extension: Option<Duration>,
    /// To the end of the phase: both polled `next`.
    pub total: Duration,
}

/// How an invocation went.
#[derive(Clone, Debug)]
pub struct Invoked {
    /// Its id.
    pub request_id: String,
    /// How it ended.
    pub status: Status,
    /// What the function returned; its error object if it raised one.
    pub response: Value,
    /// The type of the error, if it failed.
    pub error_type: Option<String>,
    /// The init that came first, if the environment had to be started.
    pub init: Option<Init>,
    /// From the start to the runtime's end: `platform.runtimeDone`.
    pub runtime: Duration,
    /// From there to the extension's `next`; zero if that came earlier, `None` if it never did.
    pub extension: Option<Duration>,
    /// The end of the environment, if the invocation ended it.
    pub shutdown: Option<Shutdown>,
}

/// How an environment ended.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// Whether the extension was there to be told.
    pub told: bool,
    /// How the extension ended.
    pub exit: Option<Exit>,
    /// Whether its time ran out and it was killed.
    pub killed: bool,
    /// From SHUTDOWN to the extension's end.
    pub took: Duration,
}

/// A local Lambda with one function.
pub struct Platform {
    options: Arc<Options>,
    shared: Arc<Shared>,
    telemetry: Telemetry,
    api: Api,
    environment: Option<Environment>,
    frozen: bool,
    /// Invocations so far.
    count: u32,
    /// How long the init took that is to appear in the next report.
    unreported_init: Option<Duration>,
}

impl Platform {
    /// Starts the APIs; no process yet.
    pub fn start(options: Options) -> Self {
        let (options, shared, telemetry) = (Arc::new(options), Arc::new(Shared::default()), Telemetry::start());
        let api = Api::start(options.clone(), shared.clone(), telemetry.clone());
        let environment = None;
        Self { options, shared, telemetry, api, environment, frozen: false, count: 0, unreported_init: None }
    }

    /// Starts extension and runtime and waits until both have polled `next`.
    ///
    /// # Errors
    /// What went wrong; the environment is gone then.
    pub fn init(&mut self) -> Result<Init, String> {
        let phase = if self.shared.lock().generation == 0 { "init" } else { "invoke" };
        self.telemetry.emit("platform.initStart", events::init_start(&self.options, phase));
        let started = Instant::now();
        let result = self.start_environment(started, phase);
        let status = if result.is_ok() { Status::Success } else { Status::Error };
        let report = events::init_report(&self.options, phase, status, started.elapsed());
        self.telemetry.emit("platform.initReport", report);
        match &result {
            Ok(init) => self.unreported_init = Some(init.total),
            Err(_) => self.environment = None,
        }
        result
    }

    fn start_environment(&mut self, started: Instant, phase: &str) -> Result<Init, String> {
        self.shared.update(|state| {
            state.generation += 1;
            state.registered = None;
            (state.extension, state.runtime) = Default::default();
            (state.invocation, state.init_error) = (None, None);
        });
        let address = self.api.address.clone();
        let environment = Environment::start(&self.options, &address, &self.telemetry, &self.shared)?;
        let environment = self.environment.insert(environment);
        let deadline = started + self.options.init_timeout;
        let shared = &self.shared;
        let wait = |what: &str, environment: &Environment, done: fn(&state::State) -> Option<Instant>| {
            let look = |state: &mut state::State| {
                if let Some(error) = &state.init_error {
                    return Some(Err(format!("init failed: {error}")));
                }
                if let Some(exit) = environment.extension_exit() {
                    return Some(Err(format!("the extension ended during init: {exit:?}")));
                }
                if environment.runtime_exited() {
                    return Some(Err("the runtime ended during init".to_owned()));
                }
                done(state).map(|at| Ok(at.saturating_duration_since(started)))
            };
            shared.wait(deadline, look).unwrap_or_else(|| Err(format!("init timed out waiting for {what}")))
        };
        let has_extension = environment.extension.is_some();
        let mut init = Init { registered: None, extension: None, total: Duration::ZERO };
        if has_extension {
            let registered = |s: &state::State| s.registered.as_ref().map(|r| r.at);
            init.registered = Some(wait("the extension to register", environment, registered)?);
        }
        environment.start_runtime(&self.options, &address, &self.telemetry, &self.shared)?;
        if !matches!(self.options.runtime, Runtime::None) {
            wait("the runtime's next", environment, |s| s.runtime.at)?;
        }
        environment.drain_runtime();
        self.telemetry.emit("platform.initRuntimeDone", events::init_done(&self.options, phase, Status::Success));
        if has_extension {
            init.extension = Some(wait("the extension's next", environment, |s| s.extension.at)?);
        }
        init.total = started.elapsed();
        Ok(init)
    }

    /// Runs one invocation to its end: the extension has polled `next` again, or the environment is gone. Starts the
    /// environment if there is none, thaws it if it is frozen.
    ///
    /// # Errors
    /// What kept it from being one: a failed init, an extension that ended by itself.
    pub fn invoke(&mut self, payload: &Value, timeout: Duration) -> Result<Invoked, String> {
        let init = if self.environment.is_none() { Some(self.init()?) } else { None };
        self.thaw();
        self.wait_until_ready()?;
        self.count += 1;
        let (started, wall) = (Instant::now(), SystemTime::now());
        let (request_id, trace) = ids(self.count, wall);
        self.telemetry.emit("platform.start", events::start(&request_id, &self.options.function_version, &trace));
        self.dispatch(&request_id, &trace, payload, wall + timeout);

        let (mut status, answered) = self.wait_for_runtime(started + timeout);
        let runtime = started.elapsed();
        let done_at = started + runtime;
        let (response, error_type) = outcome(status, answered.as_ref().map(|(_, answer)| answer));
        if matches!(answered, Some((_, Answer::Error(..)))) && status == Status::Success {
            status = Status::Error;
        }
        let done = events::Done {
            request_id: &request_id,
            trace: &trace,
            status,
            error_type: error_type.as_deref(),
            started: wall,
            response: answered.as_ref().map_or(runtime, |(at, _)| at.saturating_duration_since(started)),
            runtime,
            produced: response.to_string().len(),
        };
        if self.options.runtime_done {
            self.telemetry.emit("platform.runtimeDone", done.runtime_done());
        }
        let ended = matches!(status, Status::Failure | Status::Timeout);
        if self.options.report == Report::WithRuntimeDone || (ended && self.options.report == Report::AfterNext) {
            self.report(&done, started.elapsed());
        }
        let mut result = Invoked {
            request_id: request_id.clone(),
            status,
            response,
            error_type: error_type.clone(),
            init,
            runtime,
            extension: None,
            shutdown: None,
        };
        if ended {
            result.shutdown = self.shutdown(if status == Status::Timeout { "timeout" } else { "failure" });
            return Ok(result);
        }
        let polled = self.wait_for_extension(started + timeout)?;
        result.extension = polled.map(|at| at.saturating_duration_since(done_at));
        if self.options.report == Report::AfterNext {
            self.report(&done, started.elapsed());
        }
        if polled.is_none() {
            result.status = Status::Timeout;
            result.shutdown = self.shutdown("timeout");
        } else if self.options.freeze {
            self.freeze();
        }
        Ok(result)
    }

    fn wait_until_ready(&self) -> Result<(), String> {
        let environment = self.environment.as_ref().ok_or("there is no environment")?;
        let (extension, runtime) = (environment.extension.is_some(), !matches!(self.options.runtime, Runtime::None));
        let look = |state: &mut state::State| {
            if let Some(exit) = environment.extension_exit() {
                return Some(Err(format!("the extension ended by itself: {exit:?}")));
            }
            let ready =
                (!extension || state.extension.parked.is_some()) && (!runtime || state.runtime.parked.is_some());
            ready.then_some(Ok(()))
        };
        let waited = self.shared.wait(Instant::now() + self.options.init_timeout, look);
        waited.unwrap_or_else(|| Err("extension or runtime did not poll next".into()))
    }

    /// Answers both polls with the invocation.
    fn dispatch(&self, request_id: &str, trace: &str, payload: &Value, deadline: SystemTime) {
        let deadline = time::epoch_ms(deadline);
        let (runtime, extension) = self.shared.update(|state| {
            let answer = matches!(self.options.runtime, Runtime::None)
                .then(|| (Instant::now(), Answer::Response(b"null".to_vec())));
            state.invocation = Some(InFlight { request_id: request_id.to_owned(), answer });
            let invoked = state.registered.as_ref().is_some_and(|r| r.events.iter().any(|e| e == "INVOKE"));
            let extension = if invoked { state.extension.parked.take() } else { None };
            (state.runtime.parked.take(), extension)
        });
        if let Some(request) = runtime {
            Reply::new(200, payload.clone())
                .header("Lambda-Runtime-Aws-Request-Id", request_id)
                .header("Lambda-Runtime-Deadline-Ms", deadline.to_string())
                .header("Lambda-Runtime-Invoked-Function-Arn", self.options.arn())
                .header("Lambda-Runtime-Trace-Id", trace)
                .send(request);
        }
        if let Some(request) = extension {
            let event = json!({
                "eventType": "INVOKE",
                "deadlineMs": deadline,
                "requestId": request_id,
                "invokedFunctionArn": self.options.arn(),
                "tracing": {"type": "X-Amzn-Trace-Id", "value": trace},
            });
            Reply::new(200, event).header("Lambda-Extension-Event-Identifier", request_id).send(request);
        }
    }

    /// Waits until the runtime has answered and polled again, has ended, or is ended because the time is up.
    fn wait_for_runtime(&self, deadline: Instant) -> (Status, Option<(Instant, Answer)>) {
        let Some(environment) = &self.environment else { return (Status::Failure, None) };
        let alone = matches!(self.options.runtime, Runtime::None);
        let look = |state: &mut state::State| {
            let answered = state.invocation.as_ref().is_some_and(|i| i.answer.is_some());
            if answered && (alone || state.runtime.parked.is_some()) {
                Some(Status::Success)
            } else {
                environment.runtime_exited().then_some(Status::Failure)
            }
        };
        let status = self.shared.wait(deadline, look).unwrap_or(Status::Timeout);
        if status == Status::Timeout {
            environment.signal_runtime(sys::SIGKILL);
        }
        environment.drain_runtime();
        (status, self.shared.update(|state| state.invocation.take().and_then(|i| i.answer)))
    }

    /// When the extension polled `next` for the invocation's end; `None` if it did not by `deadline`.
    fn wait_for_extension(&self, deadline: Instant) -> Result<Option<Instant>, String> {
        let Some(environment) = self.environment.as_ref().filter(|e| e.extension.is_some()) else {
            return Ok(Some(Instant::now()));
        };
        let look = |state: &mut state::State| match environment.extension_exit() {
            Some(exit) => Some(Err(format!("the extension ended by itself: {exit:?}"))),
            None if state.extension.parked.is_some() => Some(Ok(state.extension.at)),
            None => None,
        };
        self.shared.wait(deadline, look).unwrap_or(Ok(None))
    }

    fn report(&mut self, done: &events::Done<'_>, duration: Duration) {
        let pid = self.environment.as_ref().and_then(|e| e.extension.as_ref()).map(process::Process::pid);
        let memory = pid.and_then(proc::memory).map_or(0, |m| m.peak_kb / 1024);
        let record = done.report(&self.options, duration, memory + 40, self.unreported_init.take());
        self.telemetry.emit("platform.report", record);
    }

    /// Ends the environment as Lambda does: runtime first, then SHUTDOWN for the extension, SIGKILL when its time is up.
    /// `None` if there was no extension.
    pub fn shutdown(&mut self, reason: &str) -> Option<Shutdown> {
        self.thaw();
        let started = Instant::now();
        let environment = self.environment.take()?;
        self.end_runtime(&environment, started + self.options.runtime_grace);
        let deadline = started + self.options.shutdown_budget;
        let wall = SystemTime::now() + deadline.saturating_duration_since(Instant::now());
        let look = |state: &mut state::State| match state.extension.parked.take() {
            Some(request) => Some(Some(request)),
            None => environment.extension_exit().map(|_| None),
        };
        let request = environment.extension.is_some().then(|| self.shared.wait(deadline, look).flatten()).flatten();
        let told = request.is_some();
        if let Some(request) = request {
            let event = json!({"eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": time::epoch_ms(wall)});
            Reply::new(200, event).send(request);
        }
        let told_at = Instant::now();
        let ended = |_: &mut state::State| environment.extension_exit();
        let exit = environment.extension.is_some().then(|| self.shared.wait(deadline, ended)).flatten();
        let took = told_at.elapsed();
        environment.signal(sys::SIGKILL);
        self.telemetry.unsubscribe();
        let exists = environment.extension.is_some();
        exists.then_some(Shutdown { told, exit, killed: exit.is_none(), took })
    }

    /// Ends the runtime: SIGTERM, and SIGKILL at `deadline`. Its poll is dropped only when nobody reads the answer.
    fn end_runtime(&self, environment: &Environment, deadline: Instant) {
        let ended = |_: &mut state::State| environment.runtime_ended().then_some(());
        environment.signal_runtime(sys::SIGTERM);
        if matches!(self.options.runtime, Runtime::Builtin(_))
            && let Some(request) = self.shared.update(|state| state.runtime.parked.take())
        {
            // A thread notices no signal while it waits.
            Reply::new(410, json!({"errorType": "Lab.Ended"})).send(request);
        }
        if self.shared.wait(deadline, ended).is_none() {
            environment.signal_runtime(sys::SIGKILL);
            self.shared.wait(Instant::now() + Duration::from_secs(1), ended);
        }
        self.shared.update(|state| state.runtime.parked.take());
    }

    /// Stops both processes, as Lambda does between invocations. What telemetry is queued waits too.
    pub fn freeze(&mut self) {
        if let (Some(environment), false) = (&self.environment, self.frozen) {
            self.telemetry.pause();
            environment.signal(sys::SIGSTOP);
            self.frozen = true;
        }
    }

    /// Lets both go on.
    pub fn thaw(&mut self) {
        if let (Some(environment), true) = (&self.environment, self.frozen) {
            environment.signal(sys::SIGCONT);
            self.telemetry.resume();
        }
        self.frozen = false;
    }

    /// Sends `signal` to the extension alone.
    pub fn signal_extension(&self, signal: i32) {
        if let Some(environment) = &self.environment {
            environment.signal_extension(signal);
        }
    }

    /// Waits for the extension to end by itself.
    pub fn wait_for_exit(&self, timeout: Duration) -> Option<Exit> {
        let environment = self.environment.as_ref()?;
        self.shared.wait(Instant::now() + timeout, |_| environment.extension_exit())
    }

    /// The extension's process id.
    pub fn extension_pid(&self) -> Option<u32> {
        self.environment.as_ref()?.extension.as_ref().map(process::Process::pid)
    }

    /// Refuses the extension's next `times` polls with `status`.
    pub fn refuse_next(&self, status: u16, times: usize) {
        self.shared.update(|state| state.refuse_next.extend(std::iter::repeat_n(status, times)));
    }

    /// The events: history, deliveries, and a way to put some in.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Every call of extension and runtime so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls.clone()
    }

    /// `AWS_LAMBDA_RUNTIME_API`.
    pub fn address(&self) -> &str {
        &self.api.address
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.telemetry.close();
        self.environment = None; // kills both
    }
}

/// A request id that says which invocation it is, and an X-Ray header whose ids are as spread as Lambda's.
fn ids(count: u32, at: SystemTime) -> (String, String) {
    let seed = time::epoch_ms(at) << 20 | u64::from(count);
    let spread = |salt: u64| {
        (seed ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    let request_id = format!("{count:08x}-1ab0-4000-8000-{:012x}", spread(1) >> 16);
    let seconds = time::epoch_ms(at) / 1000;
    let trace =
        format!("Root=1-{seconds:08x}-{:08x}{:016x};Parent={:016x};Sampled=1", spread(2) >> 32, spread(3), spread(4));
    (request_id, trace)
}

/// What the caller gets: the response or the error, and the error's type.
fn outcome(status: Status, answer: Option<&Answer>) -> (Value, Option<String>) {
    match (status, answer) {
        (Status::Timeout, _) => (Value::Null, Some("Sandbox.Timedout".into())),
        (Status::Failure, _) => (Value::Null, Some("Runtime.ExitError".into())),
        (_, Some(Answer::Error(kind, body))) => (body.clone(), Some(kind.clone())),
        (_, Some(Answer::Response(body))) => (serde_json::from_slice(body).unwrap_or(Value::Null), None),
        (_, None) => (Value::Null, None),
    }
}
