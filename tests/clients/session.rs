//! One execution environment with a real runtime: runs the invocations of a test, shuts down, and hands over what was
//! made and what arrived. Judges what holds for every session. Runs on the test's thread.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::lab::http::Incoming;
use crate::lab::intake::{Log, Received, Sketch};
use crate::lab::isolation::{self, Sandbox, TASK_ROOT};
use crate::lab::platform::Invoked;
use crate::lab::{Intake, Options, Platform, Program, Route, Runtime, Status, TelemetryMode, runtimes};
use crate::tap::{self, Tap};

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
    /// lambda_runtime, datadog-opentelemetry.
    Rust,
}

/// What came of a session.
pub struct Ran {
    /// Its invocations.
    pub invoked: Vec<Invoked>,
    /// What the intake had when the last invocation was over.
    pub at_its_end: Received,
    /// What the intake has after SHUTDOWN.
    pub received: Received,
    /// The records of the function's lines, as Lambda delivered them.
    pub lines: Vec<Value>,
    /// The spans that the tracer handed to its writer.
    pub made: Vec<Value>,
    /// The requests that the function had made to the agent's port when the last invocation was over, if they were tapped.
    pub sent: Vec<Incoming>,
}

/// A session to run.
pub struct Session<'a> {
    /// Whose libraries.
    pub language: Language,
    /// The test's name, modules included.
    pub name: String,
    /// Settings of the function and, as in Lambda, of the extension.
    pub env: &'a [(&'a str, &'a str)],
    /// How the Telemetry API answers.
    pub telemetry: TelemetryMode,
    /// What each invocation is sent.
    pub events: &'a [Value],
    /// Whether a tap is on the agent's port.
    pub tapped: bool,
}

impl Session<'_> {
    /// Runs it in namespaces of its own; `judge` gets what came of it.
    pub fn run(&self, judge: impl FnOnce(&Ran)) {
        if skipped(&self.name) {
            return;
        }
        let folder = match self.language {
            Language::Python => runtimes::function("python"),
            Language::Node => runtimes::function("node"),
            Language::Rust => made(runtimes::made_rust()),
        };
        let sandbox = Sandbox { task: Some(folder), ..Sandbox::default() };
        isolation::isolated_in(&sandbox, &self.name, || {
            let ran = self.invoke_all();
            let said: Vec<&Value> = ran.lines.iter().filter(|line| complains(&line.to_string())).collect();
            assert!(said.is_empty(), "a library complains: {said:#?}");
            judge(&ran);
        });
    }

    fn invoke_all(&self) -> Ran {
        let intake = Intake::start();
        let tap = self.tapped.then(Tap::start);
        let mut platform = Platform::start(self.options(&intake));
        let mut invoke = |event: &Value| {
            platform.invoke(event, LIMIT).unwrap_or_else(|e| {
                panic!("{e}; function and extension said: {:#?}", platform.telemetry().history());
            })
        };
        let invoked: Vec<Invoked> = self.events.iter().map(&mut invoke).collect();
        for (event, invoked) in self.events.iter().zip(&invoked) {
            let expected = if event["raise"] == true { Status::Error } else { Status::Success };
            assert_eq!(invoked.status, expected, "{invoked:#?}");
        }
        let made = spans_made();
        if self.telemetry != TelemetryMode::Real {
            // Nobody holds the invocation's end for the flush then, so it may be still under way.
            let events = self.events.len();
            intake.wait_for(LIMIT, |received| {
                received.spans().any(|span| span.name == "shop.pay")
                    && received.requests_to(Route::Sketches).count() == events
            });
        }
        let at_its_end = intake.received();
        let sent = tap.map(|tap| tap.requests()).unwrap_or_default();
        let down = platform.shutdown("spindown").expect("there is an extension");
        let received = intake.received();
        assert_eq!(down.exit.and_then(|exit| exit.code), Some(0), "{down:?}");
        assert_eq!(received.problems(), [""; 0]);
        let said = platform.extension_lines();
        assert!(!said.iter().any(|line| line.contains("| WARN |") || line.contains("| ERROR |")), "{said:#?}");
        let lines = platform.telemetry().history().into_iter().filter(|event| event["type"] == "function");
        let lines = lines.map(|event| event["record"].clone()).collect();
        Ran { invoked, at_its_end, received, lines, made, sent }
    }

    fn options(&self, intake: &Intake) -> Options {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let (runtime, runtime_name, function_env) = match self.language {
            Language::Python => {
                let python = made(runtimes::made_python());
                (Runtime::python(python, TASK_ROOT), "python3.11", runtimes::handler_env("clients.handler"))
            }
            Language::Node => {
                let mut function_env = runtimes::node_env(&made(runtimes::made_node_modules()));
                let more = [
                    ("DD_LAMBDA_HANDLER", "clients.handler"),
                    // dd-trace says nothing of its troubles otherwise.
                    ("DD_TRACE_DEBUG", "true"),
                    ("DD_TRACE_LOG_LEVEL", "warn"),
                    // It would trace the lab's runtime, which is JavaScript; AWS's is native code.
                    ("DD_TRACE_DISABLED_PLUGINS", "fs,http,net,dns"),
                ];
                function_env.extend(more.iter().map(own));
                (Runtime::node(Path::new(TASK_ROOT)), "nodejs20.x", function_env)
            }
            Language::Rust => {
                let mut program = Program::new(Path::new(TASK_ROOT).join("bootstrap"), &[]);
                program.directory = TASK_ROOT.into();
                (Runtime::Process(program), "provided.al2023", Vec::new())
            }
        };
        let mut both = intake.env();
        both.extend([("DD_SERVICE", "clients-test"), ("DD_ENV", "lab"), ("DD_VERSION", "1.2.3")].iter().map(own));
        // The lab's intake is all of them.
        let url = intake.url();
        let profiles = format!("{url}/api/v2/profile");
        let debugger = format!("{url}/api/v2/debugger");
        let intakes = [
            ("DD_APM_PROFILING_DD_URL", profiles.as_str()),
            ("DD_APM_DEBUGGER_DD_URL", &debugger),
            ("DD_APM_DEBUGGER_DIAGNOSTICS_DD_URL", &debugger),
            ("DD_APM_TELEMETRY_DD_URL", &url),
            ("DD_EVP_PROXY_CONFIG_DD_URL", &url),
        ];
        both.extend(intakes.iter().map(own));
        if self.tapped {
            both.push(own(&("DD_APM_RECEIVER_PORT", &tap::BEHIND.to_string())));
        }
        both.extend(self.env.iter().map(own));
        Options {
            runtime,
            runtime_name: runtime_name.into(),
            env: both,
            function_env,
            telemetry: self.telemetry,
            freeze: self.telemetry == TelemetryMode::Real,
            ..Options::default()
        }
    }
}

/// Whether the tests with real libraries are not wanted, in which case it says so.
pub fn skipped(name: &str) -> bool {
    let skipped = std::env::var_os("THIMBLE_NO_CLIENTS").is_some_and(|v| v == "1");
    if skipped {
        // Not by a macro, whose output the harness would keep to itself; in one piece, since others write too.
        let line = format!("{name}: skipped, because THIMBLE_NO_CLIENTS is 1\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    skipped
}

/// The functions' record.
fn spans_made() -> Vec<Value> {
    let record = fs::read_to_string(RECORD).unwrap_or_default();
    record.lines().map(|line| serde_json::from_str(line).expect("the record is JSON")).collect()
}

/// Whether a library says that something is wrong with the agent.
fn complains(line: &str) -> bool {
    let line = line.to_lowercase();
    COMPLAINTS.iter().any(|complaint| line.contains(complaint))
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

    /// How many spans with a name that starts with `prefix` were made, and how many of them had arrived when the last
    /// invocation was over.
    pub fn spans_at_its_end(&self, prefix: &str) -> (usize, usize) {
        let made = self.made.iter().filter(|span| span["name"].as_str().is_some_and(|name| name.starts_with(prefix)));
        (made.count(), self.at_its_end.spans().filter(|span| span.name.starts_with(prefix)).count())
    }

    /// The logs whose text has `part` in it.
    pub fn logs(&self, part: &str) -> Vec<&Log> {
        self.received.logs.iter().filter(|log| log.message().contains(part)).collect()
    }

    /// Each line of `expected`, a part of its text and its status, arrived once for each invocation, with its id.
    #[track_caller]
    pub fn has_lines(&self, invocations: &[usize], expected: &[(&str, &str)]) {
        for (part, status) in expected {
            let found: Vec<_> = self.logs(part).into_iter().map(|log| (log.request_id(), log.status())).collect();
            let ids = invocations.iter().map(|&index| (Some(self.invoked[index].request_id.as_str()), Some(*status)));
            assert_eq!(found, ids.collect::<Vec<_>>(), "{part:?}, in {:#?}", self.texts());
        }
    }

    fn texts(&self) -> Vec<&str> {
        self.received.logs.iter().map(Log::message).collect()
    }

    /// Count, sum, smallest and largest value, and the buckets of the distribution `metric`; each of its contexts has
    /// every tag of `tags`.
    #[track_caller]
    pub fn distribution(&self, metric: &str, tags: &[&str]) -> (i64, f64, f64, f64, Vec<i64>) {
        let own: Vec<&Sketch> = self.received.sketches.iter().filter(|s| s.metric == metric).collect();
        let mut out = (0, 0.0, f64::INFINITY, f64::NEG_INFINITY, Vec::new());
        for sketch in own {
            has_tags(metric, &sketch.tags, tags);
            assert_eq!(sketch.origin.map(|origin| origin[..2].to_vec()), Some(vec![1, 38]), "{metric}: origin");
            for point in &sketch.points {
                let binned: u32 = point.n.iter().sum();
                assert_eq!(i64::from(binned), point.cnt, "{metric}: bins and count");
                out = (out.0 + point.cnt, out.1 + point.sum, out.2.min(point.min), out.3.max(point.max), out.4);
                out.4.push(point.ts);
            }
        }
        out
    }

    /// Type (1 count, 3 gauge), sum, last value, and buckets of the series `metric`; each of its contexts has every tag
    /// of `tags`.
    #[track_caller]
    pub fn series(&self, metric: &str, tags: &[&str]) -> (u64, f64, f64, Vec<i64>) {
        let own: Vec<_> = self.received.series.iter().filter(|s| s.metric == metric).collect();
        own.iter().for_each(|series| has_tags(metric, &series.tags, tags));
        let points: Vec<_> = own.iter().flat_map(|s| &s.points).copied().collect();
        let kind = own.first().unwrap_or_else(|| panic!("{metric} did not arrive: {:?}", self.metric_names())).kind;
        let last = points.iter().max_by_key(|(at, _)| *at).map_or(f64::NAN, |(_, value)| *value);
        (kind, points.iter().map(|(_, value)| value).sum(), last, points.iter().map(|(at, _)| *at).collect())
    }

    /// What every client of DogStatsD sends in these tests, with names that start with `prefix`, the tag of that
    /// client, and `message` in the service check.
    #[track_caller]
    pub fn has_every_type(&self, prefix: &str, tag: &str, message: &str) {
        let name = |rest: &str| format!("{prefix}.{rest}");
        let series = [
            ("count", 1, 4.0),
            ("histogram.count", 1, 2.0),
            ("histogram.avg", 3, 20.0),
            ("histogram.max", 3, 30.0),
            ("timing.max", 3, 250.0),
            ("timing.count", 1, 1.0),
            ("set", 3, 2.0),
        ];
        for (metric, kind, value) in series {
            let (got_kind, sum, ..) = self.series(&name(metric), &[tag]);
            assert_eq!((got_kind, sum), (kind, value), "{metric}");
        }
        let (kind, _, last, _) = self.series(&name("gauge"), &[tag]);
        assert_eq!((kind, last), (3, 2.5), "gauge");
        let (count, sum, min, max, _) = self.distribution(&name("distribution"), &[tag]);
        assert_eq!((count, sum, min, max), (1, 4.25, 4.25, 4.25));
        let (kind, sum, ..) = self.series(&name("buffered"), &[]);
        assert_eq!((kind, sum), (1, 2000.0));
        let (count, sum, min, max, _) = self.distribution(&name("buffered.distribution"), &[]);
        assert_eq!((count, sum, min, max), (2000, 1_999_000.0, 0.0, 1999.0));
        self.has_event_and_check(&name("check"), tag, message);
    }

    #[track_caller]
    fn has_event_and_check(&self, check: &str, tag: &str, message: &str) {
        let events = self.received.events.iter().flat_map(|body| body["events"].as_object());
        let events: Vec<&Value> =
            events.flat_map(|sources| sources.values()).filter_map(Value::as_array).flatten().collect();
        let [event] = events.as_slice() else { panic!("one event expected: {events:?}") };
        let fields =
            ["msg_title", "msg_text", "alert_type", "aggregation_key", "priority"].map(|key| event[key].as_str());
        assert_eq!(fields, ["title ü", "text\nof two lines", "error", "key", "low"].map(Some));
        has_tags("the event", &tags_of(event), &["e:1", tag]);
        let [arrived] = self.received.checks.as_slice() else { panic!("one check expected") };
        assert_eq!((arrived["check"].as_str(), arrived["status"].as_u64()), (Some(check), Some(1)));
        assert_eq!(arrived["message"], message);
        has_tags("the check", &tags_of(arrived), &["s:1", tag]);
    }

    /// Every metric that arrived.
    pub fn metric_names(&self) -> Vec<&str> {
        let series = self.received.series.iter().map(|s| s.metric.as_str());
        let mut names: Vec<_> = series.chain(self.received.sketches.iter().map(|s| s.metric.as_str())).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn tags_of(value: &Value) -> Vec<String> {
    serde_json::from_value(value["tags"].clone()).expect("tags are strings")
}

#[track_caller]
fn has_tags(what: &str, tags: &[String], expected: &[&str]) {
    let own = ["env:lab", "service:clients-test", "version:1.2.3", "functionname:lab-function"];
    for tag in own.iter().chain(expected) {
        assert!(tags.iter().any(|t| t == tag), "{what} lacks the tag {tag}: {tags:?}");
    }
    assert!(!tags.iter().any(String::is_empty), "{what} has an empty tag: {tags:?}");
}

/// An event that makes the function do `actions`, with more settings in `rest`.
pub fn event(actions: &[&str], rest: Value) -> Value {
    let mut event = json!({"do": actions});
    if let (Some(event), Value::Object(rest)) = (event.as_object_mut(), rest) {
        event.extend(rest);
    }
    event
}
