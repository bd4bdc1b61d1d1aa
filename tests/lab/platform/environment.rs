//! One environment: the extension's process and the runtime's, from init to their end. Runs on the test's thread.

use std::sync::Arc;

use super::super::sys;
use super::builtin::Builtin;
use super::options::{Options, Runtime};
use super::process::{Exit, Process};
use super::state::Shared;
use super::telemetry::Telemetry;

/// A runtime that was started.
pub enum Running {
    /// None is wanted.
    None,
    /// A process.
    Process(Process),
    /// A thread of the lab.
    Builtin(Builtin),
}

/// The processes of one environment.
pub struct Environment {
    /// `None` if the function runs alone.
    pub extension: Option<Process>,
    /// Started once the extension has registered.
    pub runtime: Running,
}

impl Environment {
    /// Starts the extension.
    pub fn start(options: &Options, api: &str, telemetry: &Telemetry, shared: &Arc<Shared>) -> Result<Self, String> {
        let extension = match &options.extension {
            None => None,
            Some(program) => {
                let env = options.extension_env(api);
                Some(Process::start(program, env, "extension", telemetry, wake(shared)).map_err(|e| e.to_string())?)
            }
        };
        Ok(Self { extension, runtime: Running::None })
    }

    /// Starts the runtime.
    pub fn start_runtime(
        &mut self,
        options: &Options,
        api: &str,
        telemetry: &Telemetry,
        shared: &Arc<Shared>,
    ) -> Result<(), String> {
        self.runtime = match &options.runtime {
            Runtime::None => Running::None,
            Runtime::Builtin(handler) => {
                Running::Builtin(Builtin::start(api.to_owned(), handler.clone(), telemetry.clone(), wake(shared)))
            }
            Runtime::Process(program) => {
                let env = options.runtime_env(api, &program.directory.to_string_lossy());
                let process = Process::start(program, env, "function", telemetry, wake(shared));
                Running::Process(process.map_err(|e| e.to_string())?)
            }
        };
        Ok(())
    }

    /// How the extension ended, if it has.
    pub fn extension_exit(&self) -> Option<Exit> {
        self.extension.as_ref().and_then(Process::exit)
    }

    /// Whether the runtime has ended.
    pub fn runtime_exited(&self) -> bool {
        match &self.runtime {
            Running::None => false,
            Running::Process(process) => process.exit().is_some(),
            Running::Builtin(builtin) => builtin.exited(),
        }
    }

    /// Whether there is no runtime any more.
    pub fn runtime_ended(&self) -> bool {
        matches!(self.runtime, Running::None) || self.runtime_exited()
    }

    /// Sends `signal` to the runtime. One that is a thread knows only SIGTERM and SIGKILL, which both end it.
    pub fn signal_runtime(&self, signal: i32) {
        match &self.runtime {
            Running::Process(process) => process.signal(signal),
            Running::Builtin(builtin) if signal == sys::SIGKILL || signal == sys::SIGTERM => builtin.kill(),
            Running::Builtin(_) | Running::None => {}
        }
    }

    /// Sends `signal` to the extension.
    pub fn signal_extension(&self, signal: i32) {
        if let Some(process) = &self.extension {
            process.signal(signal);
        }
    }

    /// Sends `signal` to both.
    pub fn signal(&self, signal: i32) {
        self.signal_extension(signal);
        self.signal_runtime(signal);
    }

    /// Emits the lines that the runtime has written so far.
    pub fn drain_runtime(&self) {
        if let Running::Process(process) = &self.runtime {
            process.drain();
        }
    }
}

/// Wakes whoever waits for a process to end.
fn wake(shared: &Arc<Shared>) -> impl FnOnce() + Send + 'static {
    let shared = shared.clone();
    move || shared.update(|_| ())
}
