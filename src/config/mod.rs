//! Settings: every value a user can set, validated and typed.
//!
//! `table` has one row per setting, `env` and `yaml` read raw values, `load` takes them through the rows into a
//! [`Config`]. Pure: the environment and the text of `datadog.yaml` are arguments. A bad value costs that value alone
//! and is reported as a [`Complaint`]; nothing here logs or exits. Runs once, on the main thread, before the reply to
//! register.

pub mod apm;
mod env;
mod given;
mod load;
mod parse;
mod structured;
mod table;
#[cfg(test)]
mod tests;
mod yaml;

use std::fmt;
use std::time::Duration;

pub use env::{debug_environment, yaml_path};
pub use table::reference;
pub use yaml::MAX_TEXT as MAX_YAML;

/// The three kinds of data, each with an aggregator and a forwarding worker of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Log lines.
    Logs,
    /// DogStatsD series, sketches, events and service checks.
    Metrics,
    /// Spans.
    Traces,
}

/// A value that must never be printed: its `Debug` shows stars, it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `value`.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself, for the one header it is meant for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A further destination of a signal, with its own key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Scheme, host and port without a trailing slash.
    pub url: String,
    /// The key sent there.
    pub api_key: Secret,
}

/// When data is sent (spec: flush 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushStrategy {
    /// Chosen from the rate of invocations.
    Adaptive,
    /// After each invocation.
    End,
    /// After an invocation, at most once per interval.
    EndPeriodically(Duration),
    /// At the start of an invocation once the interval has passed; `next` waits for it.
    Periodically(Duration),
    /// Beside the invocation once the interval has passed; nothing waits for it.
    Continuously(Duration),
}

/// What a processing rule does with a log it matches (spec: logs 6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Drop the log if the pattern is found.
    ExcludeAtMatch,
    /// Drop the log unless the pattern is found.
    IncludeAtMatch,
    /// Replace what the pattern matches.
    MaskSequences,
}

/// A processing rule as the user wrote it; `logs::rules` compiles the pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSpec {
    /// What it does.
    pub kind: RuleKind,
    /// The user's name for it, for messages.
    pub name: String,
    /// The regular expression.
    pub pattern: String,
    /// What `MaskSequences` puts in place (`$1` and `${name}` are groups).
    pub placeholder: String,
}

/// What Lambda's environment tells (spec: lambda-apis 1.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LambdaEnv {
    /// `AWS_LAMBDA_RUNTIME_API`: host and port.
    pub runtime_api: String,
    /// `AWS_REGION`, else `AWS_DEFAULT_REGION`, else `us-east-1`.
    pub region: String,
    /// `AWS_LAMBDA_FUNCTION_NAME`.
    pub function_name: String,
    /// `AWS_LAMBDA_FUNCTION_VERSION`.
    pub function_version: String,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, as text, in MB.
    pub memory_size: String,
    /// `AWS_LAMBDA_INITIALIZATION_TYPE`.
    pub initialization_type: String,
    /// `AWS_EXECUTION_ENV`, normally hidden from extensions.
    pub execution_env: String,
    /// `_AWS_XRAY_DAEMON_ADDRESS`: host and port.
    pub xray_daemon: String,
    /// `LAMBDA_TASK_ROOT`, else `/var/task`.
    pub task_root: String,
}

impl LambdaEnv {
    /// How many bytes a buffer may take: `limit`, or in small functions one `part`th of the function's memory, which
    /// the agent shares with the function. `part` is at least 1.
    #[must_use]
    pub fn share(&self, limit: usize, part: usize) -> usize {
        let memory = self.memory_size.trim().parse().ok().map(|mb: usize| mb.saturating_mul(1 << 20));
        memory.map_or(limit, |memory| limit.min(memory / part))
    }
}

/// All settings, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// What Lambda's environment tells.
    pub lambda: LambdaEnv,
    /// `DD_API_KEY` without any white space; `None` if unset, blank or not a key.
    pub api_key: Option<Secret>,
    /// The name of the setting that says where the key is kept (`DD_API_KEY_SECRET_ARN` and its like), if one is set.
    /// Says nothing about `api_key`, which may be set as well.
    pub api_key_indirect: Option<String>,
    /// `DD_SITE`.
    pub site: String,
    /// `DD_LOG_LEVEL`.
    pub log_level: log::LevelFilter,
    /// `DD_FLUSH_TIMEOUT`: limit for one request to an intake; also a threshold of the adaptive strategy.
    pub flush_timeout: Duration,
    /// `DD_SERVERLESS_FLUSH_STRATEGY`.
    pub flush_strategy: FlushStrategy,
    /// `DD_ENV`.
    pub env: Option<String>,
    /// `DD_SERVICE`, case kept.
    pub service: Option<String>,
    /// `DD_VERSION`.
    pub version: Option<String>,
    /// `DD_TAGS` and `DD_EXTRA_TAGS`, in order, later duplicates already resolved.
    pub tags: Vec<(String, String)>,
    /// `DD_LOCAL_TEST`: `/lambda/flush` acts.
    pub local_test: bool,
    /// `DD_COMPRESSION_LEVEL`: zstd level of every signal that has no level of its own.
    pub compression_level: i32,

    /// Metrics intake: `DD_DD_URL`, `DD_URL` or `https://api.{site}`; no trailing slash.
    pub metrics_url: String,
    /// `DD_ADDITIONAL_ENDPOINTS`.
    pub metrics_endpoints: Vec<Endpoint>,
    /// zstd level of metric payloads.
    pub metrics_compression_level: i32,
    /// `DD_STATSD_METRIC_NAMESPACE` with its final dot, or empty.
    pub statsd_namespace: String,
    /// Name prefixes that get no namespace.
    pub statsd_namespace_blocklist: Vec<String>,
    /// Metric names that are dropped; `aws.lambda.enhanced.invocations` is always one of them.
    pub statsd_blocklist: Vec<String>,
    /// `DD_DOGSTATSD_PORT`.
    pub dogstatsd_port: u16,
    /// `DD_DOGSTATSD_SO_RCVBUF` in bytes; `None` asks for as much as the kernel gives.
    pub dogstatsd_so_rcvbuf: Option<usize>,
    /// `DD_DOGSTATSD_BUFFER_SIZE`: longest datagram in bytes.
    pub dogstatsd_buffer_size: usize,
    /// `DD_DOGSTATSD_TAGS`: tags added to DogStatsD metrics only.
    pub dogstatsd_tags: Vec<String>,
    /// `DD_HISTOGRAM_AGGREGATES`: of `max`, `min`, `median`, `avg`, `sum`, `count`.
    pub histogram_aggregates: Vec<String>,
    /// `DD_HISTOGRAM_PERCENTILES`, 0 to 100.
    pub histogram_percentiles: Vec<u8>,
    /// `DD_LAMBDA_CUSTOMER_METRICS_EXCLUDE_TAGS`: keys of function tags not put on metrics.
    pub metrics_exclude_tags: Vec<String>,

    /// Whether logs are collected (`DD_SERVERLESS_LOGS_ENABLED`, `DD_LOGS_ENABLED`).
    pub logs_enabled: bool,
    /// `DD_LOGS_CONFIG_LAMBDA_LOGS_TYPE`: telemetry types whose records become logs.
    pub logs_types: Vec<String>,
    /// Logs intake with scheme, without the route unless it is an Observability Pipelines Worker.
    pub logs_url: String,
    /// `DD_LOGS_CONFIG_LOGS_NO_SSL`: what addresses of logs intakes without a scheme mean; already in the URLs.
    pub logs_no_ssl: bool,
    /// Whether `logs_url` is an Observability Pipelines Worker: used as it is, nothing compressed.
    pub logs_opw: bool,
    /// The worker's URL; already in `logs_url` if `logs_opw`.
    pub logs_opw_url: Option<String>,
    /// `DD_LOGS_CONFIG_ADDITIONAL_ENDPOINTS`.
    pub logs_endpoints: Vec<Endpoint>,
    /// `DD_LOGS_CONFIG_USE_COMPRESSION`.
    pub logs_use_compression: bool,
    /// zstd level of log payloads.
    pub logs_compression_level: i32,
    /// `DD_LOGS_CONFIG_PROCESSING_RULES`, in order.
    pub logs_rules: Vec<RuleSpec>,

    /// `DD_APM_ENABLED`.
    pub apm_enabled: bool,
    /// `DD_APM_RECEIVER_PORT`.
    pub apm_port: u16,
    /// Trace intake: `DD_APM_DD_URL` or `https://trace.agent.{site}`; no trailing slash.
    pub apm_url: String,
    /// `DD_APM_ADDITIONAL_ENDPOINTS`.
    pub apm_endpoints: Vec<Endpoint>,
    /// zstd level of trace payloads.
    pub apm_compression_level: i32,
    /// What becomes of spans.
    pub apm: apm::Apm,
}

impl Config {
    /// The scheme of an address of a logs intake that has none.
    fn logs_scheme(&self) -> &'static str {
        if self.logs_no_ssl { "http" } else { "https" }
    }
}

/// A value that was not taken as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The name the user wrote: an environment variable or a path in `datadog.yaml`.
    pub setting: String,
    /// The value, shortened; never that of a secret.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
    /// What is used instead.
    pub instead: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.setting)?;
        if !self.value.is_empty() {
            write!(f, "={:?}", self.value)?;
        }
        write!(f, ": {}; using {}", self.problem, self.instead)
    }
}
