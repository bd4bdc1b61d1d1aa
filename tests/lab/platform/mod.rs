//! A local Lambda: one execution environment with its three APIs, driven step by step by a test: init, invocations,
//! freeze and thaw, timeouts, crashes, SHUTDOWN. Emits the telemetry events of each step in Lambda's order. All methods
//! run on the test's thread; the APIs, the telemetry and each process have threads of their own.

mod api;
pub mod builtin;
mod ending;
mod environment;
pub mod events;
mod invoke;
pub mod options;
pub mod process;
mod state;
pub mod telemetry;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

#[allow(unused_imports, reason = "the type of a handler's argument, which few tests name")]
pub use builtin::{Invocation, Outcome};
pub use events::Status;
pub use options::{Options, Program, Report, Runtime, TelemetryMode};
pub use process::Exit;
pub use state::Call;
pub use telemetry::Telemetry;

use api::Api;
use environment::Environment;
use state::Shared;

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
    /// From the delivery of `platform.runtimeDone`, which Lambda buffers first, to the extension's `next`: what the
    /// extension itself took. `None` if it was not told or did not wait for it.
    pub flush: Option<Duration>,
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

    /// Waits until the calls satisfy `enough`, and returns whether they did within `timeout`.
    pub fn wait_for_calls(&self, timeout: Duration, enough: impl Fn(&[Call]) -> bool) -> bool {
        self.shared.wait(Instant::now() + timeout, |state| enough(&state.calls).then_some(())).is_some()
    }

    /// The lines that the extension has written so far.
    pub fn extension_lines(&self) -> Vec<String> {
        let lines = self.telemetry.history().into_iter().filter(|event| event["type"] == "extension");
        lines.filter_map(|event| event["record"].as_str().map(|line| line.trim_end().to_owned())).collect()
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
