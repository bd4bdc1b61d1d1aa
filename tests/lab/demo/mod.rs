//! `lab demo`: a cold, a warm, a failing and a slow invocation of a real function with thimble beside it, frozen in
//! between, then SHUTDOWN; prints what arrived and fails when something that must arrive did not. Runs on the main
//! thread.

mod check;
mod function;
mod print;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use crate::lab::isolation::{self, Entered, Sandbox};
use crate::lab::platform::{Init, Invoked, Shutdown, Status};
use crate::lab::proc::{self, Memory};
use crate::lab::{Action, Intake, Options, Platform, Route, Runtime, runtimes};

/// What the user chose.
pub struct Choice {
    /// The extension.
    pub thimble: PathBuf,
    /// Whether the built-in function runs instead of the Python one.
    pub builtin: bool,
    /// Whether the intake refuses traces.
    pub refuse: bool,
}

/// Tells the process inside the namespaces which interpreter to use; empty for the built-in function.
const PYTHON: &str = "LAB_PYTHON";

/// Settings of the user's that are handed on to extension and function.
const HANDED_ON: [&str; 2] = ["DD_LOG_LEVEL", "DD_SERVERLESS_FLUSH_STRATEGY"];

/// An invocation to come, and what must arrive of it.
pub struct Step {
    /// `cold`, `warm`, `failing`, `slow`; also the tag `kind` of its metrics.
    pub kind: &'static str,
    /// The number in its lines.
    pub order: u32,
    /// Its values of `demo.amount`.
    pub amounts: &'static [f64],
    /// How long its slow span takes, in seconds.
    pub seconds: f64,
}

/// The invocations of the demo.
pub const STEPS: [Step; 4] = [
    Step { kind: "cold", order: 101, amounts: &[9.5, 20.0, 31.25], seconds: 0.005 },
    Step { kind: "warm", order: 102, amounts: &[4.0], seconds: 0.005 },
    Step { kind: "failing", order: 103, amounts: &[], seconds: 0.0 },
    Step { kind: "slow", order: 104, amounts: &[100.0, 0.5], seconds: 1.5 },
];

impl Step {
    fn payload(&self) -> Value {
        json!({"kind": self.kind, "order": self.order, "amounts": self.amounts, "seconds": self.seconds})
    }

    /// How it must end.
    pub fn status(&self) -> Status {
        if self.kind == "failing" { Status::Error } else { Status::Success }
    }
}

/// An invocation that was run, and the extension's memory after it.
pub struct Run {
    pub step: &'static Step,
    pub result: Invoked,
    pub memory: Option<Memory>,
}

/// All that was run.
pub struct Outcome {
    pub init: Init,
    pub runs: Vec<Run>,
    pub shutdown: Option<Shutdown>,
    /// The extension's own lines.
    pub said: Vec<String>,
}

/// Runs the demo.
pub fn run(choice: &Choice) -> ExitCode {
    if !choice.thimble.is_file() {
        println!("lab: there is no extension at {}; `make build` makes one", choice.thimble.display());
        return ExitCode::FAILURE;
    }
    let python = choose_function(choice);
    let sandbox = Sandbox { extension: choice.thimble.clone(), task: Some(runtimes::function("python")) };
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let interpreter = python.clone().unwrap_or_default().into_os_string();
    match isolation::enter(&sandbox, "demo", &arguments, &[(PYTHON, interpreter)]) {
        Entered::Left(status) => ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        Entered::Inside => inside(choice, python.as_deref(), Path::new(isolation::TASK_ROOT)),
        Entered::InPlace(_lock) => {
            if python.is_some() && !Path::new(isolation::EXTENSION).exists() {
                println!("lab: the Datadog libraries look for {}; running the built-in function", isolation::EXTENSION);
                return inside(choice, None, Path::new("/"));
            }
            inside(choice, python.as_deref(), &runtimes::function("python"))
        }
    }
}

/// The interpreter for the Python function; `None` for the built-in one. Asked outside, where there is a network, and
/// handed to the inside by the environment.
fn choose_function(choice: &Choice) -> Option<PathBuf> {
    if let Some(python) = std::env::var_os(PYTHON) {
        return (!python.is_empty()).then(|| python.into());
    }
    let python = if choice.builtin { Err("--builtin was given".to_owned()) } else { runtimes::python() };
    python.map_err(|why| println!("lab: running the built-in function: {why}")).ok()
}

fn inside(choice: &Choice, python: Option<&Path>, root: &Path) -> ExitCode {
    let intake = Intake::start();
    if choice.refuse {
        intake.fault(Route::Traces, None, Action::Status(400));
    }
    let outcome = match invoke_all(options(&intake, python, root)) {
        Ok(outcome) => outcome,
        Err(e) => {
            println!("lab: the demo could not run to its end: {e}");
            return ExitCode::FAILURE;
        }
    };
    let received = intake.received();
    print::report(&outcome, &received, python.is_some());
    let missing = check::missing(&outcome, &received);
    print::verdict(&missing, &received, &outcome.said);
    if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options(intake: &Intake, python: Option<&Path>, root: &Path) -> Options {
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut env: Vec<_> = HANDED_ON.iter().filter_map(|n| std::env::var(n).ok().map(|v| own(n, &v))).collect();
    env.extend(intake.env());
    env.extend([
        own("DD_SERVICE", "demo-service"),
        own("DD_ENV", "demo"),
        own("DD_VERSION", "1.0.0"),
        own("DD_TAGS", "team:lab"),
    ]);
    let function_env = runtimes::handler_env("handler.handler");
    let runtime = match python {
        Some(python) => Runtime::python(python, root),
        None => Runtime::builtin(function::handler),
    };
    Options { runtime, env, function_env, freeze: true, function_name: "demo-function".into(), ..Options::default() }
}

fn invoke_all(options: Options) -> Result<Outcome, String> {
    let mut platform = Platform::start(options);
    let result = invoke_steps(&mut platform);
    result.map_err(|e| {
        let lines = platform.extension_lines();
        if lines.is_empty() { e } else { format!("{e}\nthe extension said:\n  {}", lines.join("\n  ")) }
    })
}

fn invoke_steps(platform: &mut Platform) -> Result<Outcome, String> {
    let init = platform.init()?;
    let mut runs = Vec::new();
    for step in &STEPS {
        let result = platform.invoke(&step.payload(), Duration::from_secs(10))?;
        let memory = platform.extension_pid().and_then(proc::memory);
        runs.push(Run { step, result, memory });
    }
    let shutdown = platform.shutdown("spindown");
    Ok(Outcome { init, runs, shutdown, said: platform.extension_lines() })
}
