//! How an environment pauses and ends: freeze and thaw, SHUTDOWN with its deadline, SIGKILL. Runs on the test's thread.

use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use super::super::{sys, time};
use super::api::Reply;
use super::environment::Environment;
use super::state::State;
use super::{Platform, Runtime, Shutdown};

impl Platform {
    /// Ends the environment as Lambda does: runtime first, then SHUTDOWN for the extension, SIGKILL when its time is up.
    /// `None` if there was no extension.
    pub fn shutdown(&mut self, reason: &str) -> Option<Shutdown> {
        self.thaw();
        let started = Instant::now();
        let environment = self.environment.take()?;
        self.end_runtime(&environment, started + self.options.runtime_grace);
        let deadline = started + self.options.shutdown_budget;
        let wall = SystemTime::now() + deadline.saturating_duration_since(Instant::now());
        let look = |state: &mut State| match state.extension.parked.take() {
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
        let ended = |_: &mut State| environment.extension_exit();
        let exit = environment.extension.is_some().then(|| self.shared.wait(deadline, ended)).flatten();
        let took = told_at.elapsed();
        environment.signal(sys::SIGKILL);
        self.telemetry.unsubscribe();
        let exists = environment.extension.is_some();
        exists.then_some(Shutdown { told, exit, killed: exit.is_none(), took })
    }

    /// Ends the runtime: SIGTERM, and SIGKILL at `deadline`. Its poll is dropped only when nobody reads the answer.
    fn end_runtime(&self, environment: &Environment, deadline: Instant) {
        let ended = |_: &mut State| environment.runtime_ended().then_some(());
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
}
