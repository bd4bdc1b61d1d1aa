//! One execution environment with a real runtime: runs the invocations of a test, shuts down, and hands over what was
//! made and what arrived. Judges what holds for every session. Runs on the test's thread.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::lab::intake::{Received, Sketch};
use crate::lab::isolation::{self, Sandbox, TASK_ROOT};
use crate::lab::platform::Invoked;
use crate::lab::{Intake, Options, Platform, Runtime, Status, runtimes};

const LIMIT: Duration = Duration::from_secs(30);

/// Where the functions keep their record of the spans they made.
const RECORD: &str = "/tmp/spans.jsonl";

/// What a library says when something is wrong between it and the agent, in lower case.
const COMPLAINTS: [&str; 14] = [
    "failed to send",
    "failed to flush",
    "failed to submit",
    "failed to set agent",
    "error sending",
    "error updating",
    "connection refused",
    "connection reset",
    "econn",
    "epipe",
    "socket hang up",
    "downgrad",
    "timed out",
    "dropped",
];

/// Whose libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// awslambdaric, datadog-lambda, ddtrace, datadog.
    Python,
    /// datadog-lambda-js, dd-trace, hot-shots.
    Node,
}

/// What came of a session.
pub struct Ran {
    /// Its invocations.
    pub invoked: Vec<Invoked>,
    /// What the intake has after SHUTDOWN.
    pub received: Received,
    /// The records of the function's lines, as Lambda delivered them.
    pub lines: Vec<Value>,
    /// The spans that the tracer handed to its writer.
    pub made: Vec<Value>,
}

/// Runs the test `name` (modules included): the function of `language` gets an invocation for each of `events`, with
/// the settings `env`; `judge` gets what came of it.
pub fn session(language: Language, name: &str, env: &[(&str, &str)], events: &[Value], judge: impl FnOnce(&Ran)) {
    if std::env::var_os("THIMBLE_NO_CLIENTS").is_some_and(|v| v == "1") {
        // Not by a macro, whose output the harness would keep to itself.
        let _ = writeln!(std::io::stderr(), "{name}: skipped, because THIMBLE_NO_CLIENTS is 1");
        return;
    }
    let folder = runtimes::function(match language {
        Language::Python => "python",
        Language::Node => "node",
    });
    let sandbox = Sandbox { task: Some(folder), ..Sandbox::default() };
    isolation::isolated_in(&sandbox, name, || {
        let ran = run(language, env, events);
        let said: Vec<&str> = ran.lines.iter().filter_map(Value::as_str).filter(|line| complains(line)).collect();
        assert!(said.is_empty(), "a library complains: {said:#?}");
        judge(&ran);
    });
}

/// Whether a library says that something is wrong with the agent.
fn complains(line: &str) -> bool {
    let line = line.to_lowercase();
    COMPLAINTS.iter().any(|complaint| line.contains(complaint))
}

fn run(language: Language, env: &[(&str, &str)], events: &[Value]) -> Ran {
    let intake = Intake::start();
    let mut platform = Platform::start(options(language, &intake, env));
    let mut invoke = |event: &Value| {
        platform.invoke(event, LIMIT).unwrap_or_else(|e| {
            panic!("{e}; function and extension said: {:#?}", platform.telemetry().history());
        })
    };
    let invoked: Vec<Invoked> = events.iter().map(&mut invoke).collect();
    let down = platform.shutdown("spindown").expect("there is an extension");
    let received = intake.received();
    assert_eq!(down.exit.and_then(|exit| exit.code), Some(0), "{down:?}");
    assert_eq!(received.problems(), [""; 0]);
    let said = platform.extension_lines();
    assert!(!said.iter().any(|line| line.contains("| WARN |") || line.contains("| ERROR |")), "{said:#?}");
    let lines = platform.telemetry().history().into_iter().filter(|event| event["type"] == "function");
    let lines = lines.map(|event| event["record"].clone()).collect();
    let made = fs::read_to_string(RECORD).unwrap_or_default();
    let made = made.lines().map(|line| serde_json::from_str(line).expect("the record is JSON")).collect();
    Ran { invoked, received, lines, made }
}

fn options(language: Language, intake: &Intake, env: &[(&str, &str)]) -> Options {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let (runtime, runtime_name, mut function_env) = match language {
        Language::Python => {
            let python = made(runtimes::made_python());
            (Runtime::python(python, TASK_ROOT), "python3.11", runtimes::handler_env("clients.handler"))
        }
        Language::Node => {
            let mut function_env = runtimes::node_env(&made(runtimes::made_node_modules()));
            // dd-trace says nothing of its troubles otherwise.
            let loud =
                [("DD_LAMBDA_HANDLER", "clients.handler"), ("DD_TRACE_DEBUG", "true"), ("DD_TRACE_LOG_LEVEL", "warn")];
            function_env.extend(loud.iter().map(own));
            (Runtime::node(Path::new(TASK_ROOT)), "nodejs20.x", function_env)
        }
    };
    function_env.extend(env.iter().map(own));
    let mut both = intake.env();
    both.extend([("DD_SERVICE", "clients-test"), ("DD_ENV", "lab"), ("DD_VERSION", "1.2.3")].iter().map(own));
    Options { runtime, runtime_name: runtime_name.into(), env: both, function_env, freeze: true, ..Options::default() }
}

fn made<T>(environment: Result<T, String>) -> T {
    environment.unwrap_or_else(|why| panic!("{why}; with THIMBLE_NO_CLIENTS=1 these tests are skipped"))
}

impl Ran {
    /// What the function returned for `action` in its first invocation.
    pub fn result(&self, action: &str) -> &Value {
        assert_eq!(self.invoked[0].status, Status::Success, "{}", self.invoked[0].response);
        &self.invoked[0].response[action]
    }

    /// How many lines arrived whose text has `part` in it.
    pub fn count_lines(&self, part: &str) -> usize {
        self.received.logs.iter().filter(|log| log.message().contains(part)).count()
    }

    /// Count, sum, smallest, largest value of the distribution `metric`, and its times; each of its contexts must have
    /// every tag of `tags`.
    #[track_caller]
    pub fn distribution(&self, metric: &str, tags: &[&str]) -> (i64, f64, f64, f64, Vec<i64>) {
        let own: Vec<&Sketch> = self.received.sketches.iter().filter(|s| s.metric == metric).collect();
        own.iter().for_each(|sketch| self.has_tags(metric, &sketch.tags, tags));
        let mut out = (0, 0.0, f64::INFINITY, f64::NEG_INFINITY, Vec::new());
        for point in own.iter().flat_map(|sketch| &sketch.points) {
            let binned: u32 = point.n.iter().sum();
            assert_eq!(i64::from(binned), point.cnt, "{metric}: bins and count");
            out = (out.0 + point.cnt, out.1 + point.sum, out.2.min(point.min), out.3.max(point.max), out.4);
            out.4.push(point.ts);
        }
        out
    }

    /// Sum, last value, type and times of the series `metric`; each of its contexts must have every tag of `tags`.
    #[track_caller]
    pub fn series(&self, metric: &str, tags: &[&str]) -> (f64, f64, u64, Vec<i64>) {
        let own: Vec<_> = self.received.series.iter().filter(|s| s.metric == metric).collect();
        own.iter().for_each(|series| self.has_tags(metric, &series.tags, tags));
        let points: Vec<_> = own.iter().flat_map(|s| &s.points).copied().collect();
        let kind = own.first().unwrap_or_else(|| panic!("{metric} did not arrive: {:?}", self.metric_names())).kind;
        let last = points.iter().max_by_key(|(at, _)| *at).map_or(f64::NAN, |(_, value)| *value);
        (points.iter().map(|(_, value)| value).sum(), last, kind, points.iter().map(|(at, _)| *at).collect())
    }

    /// Every metric that arrived.
    pub fn metric_names(&self) -> Vec<&str> {
        let series = self.received.series.iter().map(|s| s.metric.as_str());
        let mut names: Vec<_> = series.chain(self.received.sketches.iter().map(|s| s.metric.as_str())).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    #[track_caller]
    fn has_tags(&self, metric: &str, tags: &[String], expected: &[&str]) {
        let own = ["env:lab", "service:clients-test", "version:1.2.3", "functionname:lab-function"];
        for tag in own.iter().chain(expected) {
            assert!(tags.iter().any(|t| t == tag), "{metric} lacks the tag {tag}: {tags:?}");
        }
        assert!(!tags.iter().any(String::is_empty), "{metric} has an empty tag: {tags:?}");
    }
}

/// An event that makes the function do `actions`, with more settings in `rest`.
pub fn event(actions: &[&str], rest: Value) -> Value {
    let mut event = json!({"do": actions});
    if let (Some(event), Value::Object(rest)) = (event.as_object_mut(), rest) {
        event.extend(rest);
    }
    event
}
