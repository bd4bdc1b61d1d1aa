//! What a platform can be told: the function, its runtime, the extension, and how Lambda behaves. Plain values.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::super::isolation;
use super::builtin::Handler;

/// A program with its arguments.
#[derive(Clone, Debug)]
pub struct Program {
    /// What is executed.
    pub path: PathBuf,
    /// Its name for itself, and with that the extension's name.
    pub argv0: String,
    /// What follows.
    pub arguments: Vec<String>,
    /// The directory it starts in.
    pub directory: PathBuf,
}

impl Program {
    /// A program that is called by its path.
    pub fn new(path: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let path = path.into();
        Self {
            argv0: path.to_string_lossy().into_owned(),
            path,
            arguments: arguments.iter().map(|&a| a.to_owned()).collect(),
            directory: PathBuf::from("/"),
        }
    }
}

/// Who runs the function.
#[derive(Clone)]
pub enum Runtime {
    /// Nobody: only the extension is started. Invocations are answered by the platform itself, at once.
    None,
    /// A process that speaks the Runtime API.
    Process(Program),
    /// A thread of the lab that speaks the Runtime API, with this handler.
    Builtin(Handler),
}

impl Runtime {
    /// A function of the lab's own.
    pub fn builtin(
        handler: impl Fn(&super::builtin::Invocation) -> super::builtin::Outcome + Send + Sync + 'static,
    ) -> Self {
        Self::Builtin(Arc::new(handler))
    }

    /// A Python function under AWS's runtime client and Datadog's handler. `python` is the environment's interpreter
    /// (`runtimes::python`), `root` the function's folder; `runtimes::handler_env` goes into [`Options::function_env`].
    pub fn python(python: impl Into<PathBuf>, root: impl Into<PathBuf>) -> Self {
        let mut program = Program::new(python, &["-m", "awslambdaric", "datadog_lambda.handler.handler"]);
        program.directory = root.into();
        Self::Process(program)
    }

    /// A Node function, `handler.js` in `root`, with the lab's own small runtime (AWS's needs a C++ tool chain) and
    /// Datadog's libraries; `runtimes::node_env` goes into [`Options::function_env`].
    pub fn node(root: impl Into<PathBuf>) -> Self {
        let mut program = Program::new("/usr/bin/env", &["node", "runtime.js"]);
        program.directory = root.into();
        Self::Process(program)
    }
}

/// How the Telemetry API answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TelemetryMode {
    /// As Lambda does: 200, and events are delivered.
    Real,
    /// Refused with this status.
    Refused(u16),
    /// 202 "not supported", as AWS's emulator answers.
    NotSupported,
}

/// When `platform.report` is emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Once runtime and extension have both called `next`, as Lambda does.
    AfterNext,
    /// With `platform.runtimeDone`.
    WithRuntimeDone,
    /// Never.
    Never,
}

/// All of it. `Options::default()` is an on-demand function of 512 MB whose extension is the installed thimble.
#[derive(Clone)]
pub struct Options {
    /// The extension; `None` runs the function alone.
    pub extension: Option<Program>,
    /// Who runs the function.
    pub runtime: Runtime,
    /// Environment of extension and runtime, on top of Lambda's own; later entries win.
    pub env: Vec<(String, String)>,
    /// Environment of the runtime alone.
    pub function_env: Vec<(String, String)>,
    /// How the Telemetry API answers.
    pub telemetry: TelemetryMode,
    /// When `platform.report` is emitted.
    pub report: Report,
    /// Whether `platform.runtimeDone` is emitted.
    pub runtime_done: bool,
    /// Whether both processes are stopped between invocations.
    pub freeze: bool,
    /// `AWS_LAMBDA_FUNCTION_NAME`.
    pub function_name: String,
    /// `AWS_LAMBDA_FUNCTION_VERSION`.
    pub function_version: String,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`.
    pub memory_mb: u64,
    /// `AWS_LAMBDA_INITIALIZATION_TYPE`.
    pub initialization_type: String,
    /// `AWS_REGION`.
    pub region: String,
    /// What register tells an extension that asks for it; `None` answers without one, as AWS's emulator does.
    pub account_id: Option<String>,
    /// The `_HANDLER`.
    pub handler: String,
    /// How long init may take.
    pub init_timeout: Duration,
    /// From SHUTDOWN to SIGKILL.
    pub shutdown_budget: Duration,
    /// How long the runtime has after SIGTERM before the extension gets its SHUTDOWN.
    pub runtime_grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let mut extension = Program::new(isolation::extension_program(), &[]);
        extension.argv0 = isolation::EXTENSION.to_owned();
        Self {
            extension: Some(extension),
            runtime: Runtime::None,
            env: Vec::new(),
            function_env: Vec::new(),
            telemetry: TelemetryMode::Real,
            report: Report::AfterNext,
            runtime_done: true,
            freeze: false,
            function_name: "lab-function".into(),
            function_version: "$LATEST".into(),
            memory_mb: 512,
            initialization_type: "on-demand".into(),
            region: "eu-central-1".into(),
            account_id: Some("123456789012".into()),
            handler: "handler.handler".into(),
            init_timeout: Duration::from_secs(30),
            shutdown_budget: Duration::from_millis(2000),
            runtime_grace: Duration::from_millis(300),
        }
    }
}

impl Options {
    /// The function's ARN without qualifier.
    pub fn arn(&self) -> String {
        let account = self.account_id.as_deref().unwrap_or("123456789012");
        format!("arn:aws:lambda:{}:{account}:function:{}", self.region, self.function_name)
    }

    /// The environment of the extension, which is spared what Lambda keeps from extensions (spec: lambda-apis 1.1).
    pub(super) fn extension_env(&self, api: &str) -> Vec<(String, String)> {
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut env = vec![
            own("AWS_ACCESS_KEY_ID", "ASIALAB"),
            own("AWS_DEFAULT_REGION", &self.region),
            own("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &self.memory_mb.to_string()),
            own("AWS_LAMBDA_FUNCTION_NAME", &self.function_name),
            own("AWS_LAMBDA_FUNCTION_VERSION", &self.function_version),
            own("AWS_LAMBDA_INITIALIZATION_TYPE", &self.initialization_type),
            own("AWS_LAMBDA_RUNTIME_API", api),
            own("AWS_REGION", &self.region),
            own("AWS_SECRET_ACCESS_KEY", "lab"),
            own("AWS_SESSION_TOKEN", "lab"),
            own("LANG", "en_US.UTF-8"),
            own("LD_LIBRARY_PATH", "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/task/lib:/opt/lib"),
            own("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin"),
            own("TZ", ":UTC"),
        ];
        env.extend(self.env.iter().cloned());
        env
    }

    /// The environment of the runtime.
    pub(super) fn runtime_env(&self, api: &str, root: &str) -> Vec<(String, String)> {
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut env = self.extension_env(api);
        env.retain(|(name, _)| name != "LD_LIBRARY_PATH");
        env.extend([
            own("AWS_EXECUTION_ENV", "AWS_Lambda_python3.11"),
            own("AWS_LAMBDA_LOG_GROUP_NAME", &format!("/aws/lambda/{}", self.function_name)),
            own("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/23/[$LATEST]0123456789abcdef0123456789abcdef"),
            own("LAMBDA_RUNTIME_DIR", "/var/runtime"),
            own("LAMBDA_TASK_ROOT", root),
            own("PYTHONDONTWRITEBYTECODE", "1"),
            own("PYTHONPATH", root),
            own("_HANDLER", &self.handler),
        ]);
        env.extend(self.function_env.iter().cloned());
        env
    }
}
