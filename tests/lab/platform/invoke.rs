//! One invocation, from the start to the extension's next poll or the end of the environment. Runs on the test's thread.

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::super::{proc, sys, time};
use super::api::Reply;
use super::events::{self, Done, Status};
use super::process::Process;
use super::state::{Answer, InFlight, State};
use super::{Init, Invoked, Platform, Report, Runtime};

/// What the runtime did with an invocation.
struct Ran {
    request_id: String,
    trace: String,
    started: Instant,
    wall: SystemTime,
    deadline: Instant,
    status: Status,
    answer: Option<(Instant, Answer)>,
    /// From the start to the runtime's next poll or its end.
    runtime: Duration,
}

impl Platform {
    /// Runs one invocation to its end: the extension has polled `next` again, or the environment is gone. Starts the
    /// environment if there is none, thaws it if it is frozen.
    ///
    /// # Errors
    /// What kept it from being one: a failed init, an extension that ended by itself. The next one starts anew.
    pub fn invoke(&mut self, payload: &Value, timeout: Duration) -> Result<Invoked, String> {
        let init = if self.environment.is_none() { Some(self.init()?) } else { None };
        self.thaw();
        let ran = self.wait_until_ready().map(|()| self.run(payload, timeout));
        let result = ran.and_then(|ran| self.complete(&ran, init));
        if result.is_err() {
            self.environment = None;
            self.telemetry.unsubscribe();
        }
        result
    }

    /// The function's part: dispatches the invocation and waits for the runtime to be done with it.
    fn run(&mut self, payload: &Value, timeout: Duration) -> Ran {
        self.count += 1;
        let (started, wall) = (Instant::now(), SystemTime::now());
        let (request_id, trace) = ids(self.count, wall);
        self.telemetry.emit("platform.start", events::start(&request_id, &self.options.function_version, &trace));
        self.dispatch(&request_id, &trace, payload, wall + timeout);
        let deadline = started + timeout;
        let (status, answer) = self.wait_for_runtime(deadline);
        Ran { request_id, trace, started, wall, deadline, status, answer, runtime: started.elapsed() }
    }

    /// The rest: telemetry, the extension's part, and the end of an environment that does not survive.
    fn complete(&mut self, ran: &Ran, init: Option<Init>) -> Result<Invoked, String> {
        let mut result = ran.result(init);
        let error_type = result.error_type.clone();
        let done = ran.done(error_type.as_deref(), result.response.to_string().len());
        if self.options.runtime_done {
            self.telemetry.emit("platform.runtimeDone", done.runtime_done());
        }
        let ended = matches!(ran.status, Status::Failure | Status::Timeout);
        if self.options.report == Report::WithRuntimeDone || (ended && self.options.report == Report::AfterNext) {
            self.report(&done, ran.started.elapsed());
        }
        if ended {
            result.shutdown = self.shutdown(if ran.status == Status::Timeout { "timeout" } else { "failure" });
            return Ok(result);
        }
        let polled = self.wait_for_extension(ran.deadline)?;
        result.extension = polled.map(|at| at.saturating_duration_since(ran.started + ran.runtime));
        let told = self.telemetry.told_done(&ran.request_id);
        result.flush = polled.zip(told).and_then(|(polled, told)| polled.checked_duration_since(told));
        if self.options.report == Report::AfterNext {
            self.report(&done, ran.started.elapsed());
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
        let look = |state: &mut State| {
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
        let look = |state: &mut State| {
            let answered = state.invocation.as_ref().is_some_and(|i| i.answer.is_some());
            if answered && (alone || state.runtime.parked.is_some()) {
                Some(Status::Success)
            } else {
                environment.runtime_exited().then_some(Status::Failure)
            }
        };
        let mut status = self.shared.wait(deadline, look).unwrap_or(Status::Timeout);
        if status == Status::Timeout {
            environment.signal_runtime(sys::SIGKILL);
        }
        environment.drain_runtime();
        let answer = self.shared.update(|state| state.invocation.take().and_then(|i| i.answer));
        if status == Status::Success && matches!(answer, Some((_, Answer::Error(..)))) {
            status = Status::Error;
        }
        (status, answer)
    }

    /// When the extension polled `next` for the invocation's end; `None` if it did not by `deadline`.
    fn wait_for_extension(&self, deadline: Instant) -> Result<Option<Instant>, String> {
        let Some(environment) = self.environment.as_ref().filter(|e| e.extension.is_some()) else {
            return Ok(Some(Instant::now()));
        };
        let look = |state: &mut State| match environment.extension_exit() {
            Some(exit) => Some(Err(format!("the extension ended by itself: {exit:?}"))),
            None if state.extension.parked.is_some() => Some(Ok(state.extension.at)),
            None => None,
        };
        self.shared.wait(deadline, look).unwrap_or(Ok(None))
    }

    fn report(&mut self, done: &Done<'_>, duration: Duration) {
        let pid = self.environment.as_ref().and_then(|e| e.extension.as_ref()).map(Process::pid);
        let memory = pid.and_then(proc::memory).map_or(0, |m| m.peak_kb / 1024);
        let record = done.report(&self.options, duration, memory + 40, self.unreported_init.take());
        self.telemetry.emit("platform.report", record);
    }
}

impl Ran {
    /// As the caller gets it, before the extension's part.
    fn result(&self, init: Option<Init>) -> Invoked {
        let (response, error_type) = match (self.status, self.answer.as_ref().map(|(_, answer)| answer)) {
            (Status::Timeout, _) => (Value::Null, Some("Sandbox.Timedout".to_owned())),
            (Status::Failure, _) => (Value::Null, Some("Runtime.ExitError".to_owned())),
            (_, Some(Answer::Error(kind, body))) => (body.clone(), Some(kind.clone())),
            (_, Some(Answer::Response(body))) => (serde_json::from_slice(body).unwrap_or(Value::Null), None),
            (_, None) => (Value::Null, None),
        };
        let request_id = self.request_id.clone();
        let (status, runtime) = (self.status, self.runtime);
        let (extension, flush, shutdown) = (None, None, None);
        Invoked { request_id, status, response, error_type, init, runtime, extension, flush, shutdown }
    }

    /// As its events tell it.
    fn done<'a>(&'a self, error_type: Option<&'a str>, produced: usize) -> Done<'a> {
        Done {
            request_id: &self.request_id,
            trace: &self.trace,
            status: self.status,
            error_type,
            started: self.wall,
            response: self.answer.as_ref().map_or(self.runtime, |(at, _)| at.saturating_duration_since(self.started)),
            runtime: self.runtime,
            produced,
        }
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
