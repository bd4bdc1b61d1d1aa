//! What users set for traces beyond where they go: filters, replacement, obfuscation, sampling, stats, pass-through.
//!
//! Types alone; `table` fills them, the stages in `traces` read them. [`Default`] is what the rows start from, not what
//! is used where nothing is set: that is in the table.

use super::Endpoint;

/// Everything under `DD_APM_*` that decides what becomes of a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Apm {
    /// `DD_APM_IGNORE_RESOURCES`: regular expressions; a trace whose root's resource matches one is dropped.
    pub ignore_resources: Vec<String>,
    /// `DD_APM_FILTER_TAGS_*`.
    pub filters: Filters,
    /// `DD_APM_REPLACE_TAGS`, in order.
    pub replace: Vec<ReplaceRule>,
    /// `DD_APM_OBFUSCATION_*`.
    pub obfuscation: Obfuscation,
    /// Samplers and their targets.
    pub sampling: Sampling,
    /// `DD_LAMBDA_EXTENSION_COMPUTE_STATS`: stats are computed here, and unsampled chunks dropped after that.
    pub compute_stats: bool,
    /// Which spans count in stats, and by what.
    pub stats: Stats,
    /// Where proxied requests go, if not to the site's intakes.
    pub proxy: Proxy,
}

/// Conditions on the root span's tags (spec: traces 4.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// `DD_APM_FILTER_TAGS_REQUIRE`: every one must hold.
    pub require: Vec<TagFilter>,
    /// `DD_APM_FILTER_TAGS_REGEX_REQUIRE`: as above, values are regular expressions.
    pub regex_require: Vec<TagFilter>,
    /// `DD_APM_FILTER_TAGS_REJECT`: none may hold.
    pub reject: Vec<TagFilter>,
    /// `DD_APM_FILTER_TAGS_REGEX_REJECT`: as above, values are regular expressions.
    pub regex_reject: Vec<TagFilter>,
}

/// A tag, or a tag with a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagFilter {
    /// The key.
    pub key: String,
    /// The value or its pattern; `None` if the key alone decides.
    pub value: Option<String>,
}

/// An element of `DD_APM_REPLACE_TAGS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplaceRule {
    /// A key of meta, `resource.name`, or `*` for all of both.
    pub name: String,
    /// A regular expression.
    pub pattern: String,
    /// What takes the place of each match; `$1` and `${name}` are groups.
    pub replacement: String,
}

/// What is made unreadable, and how (the Go agent's `apm_config.obfuscation`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obfuscation {
    /// Elasticsearch bodies.
    pub elasticsearch: JsonObfuscation,
    /// OpenSearch bodies.
    pub opensearch: JsonObfuscation,
    /// MongoDB queries.
    pub mongodb: JsonObfuscation,
    /// Execution plans of SQL statements, in tags that carry them.
    pub sql_exec_plan: JsonObfuscation,
    /// The same, normalised.
    pub sql_exec_plan_normalize: JsonObfuscation,
    /// URLs.
    pub http: HttpObfuscation,
    /// Commands of Memcached.
    pub memcached: MemcachedObfuscation,
    /// Commands of Redis.
    pub redis: RedisObfuscation,
    /// Commands of Valkey.
    pub valkey: RedisObfuscation,
    /// Numbers of credit cards.
    pub credit_cards: CardObfuscation,
    /// SQL statements.
    pub sql: SqlObfuscation,
    /// `DD_APM_OBFUSCATION_REMOVE_STACK_TRACES`: whether `error.stack` and its like are replaced by `?`.
    pub remove_stack_traces: bool,
}

/// How a JSON document is obfuscated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonObfuscation {
    /// Whether it is.
    pub enabled: bool,
    /// Keys whose values stay.
    pub keep_values: Vec<String>,
    /// Keys whose values are SQL.
    pub obfuscate_sql_values: Vec<String>,
}

/// How a URL is obfuscated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpObfuscation {
    /// Whether the query is removed.
    pub remove_query_string: bool,
    /// Whether segments of the path that contain digits become `?`.
    pub remove_paths_with_digits: bool,
}

/// How a Memcached command is obfuscated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemcachedObfuscation {
    /// Whether it is.
    pub enabled: bool,
    /// Whether the command itself stays, without its value.
    pub keep_command: bool,
}

/// How a Redis command is obfuscated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedisObfuscation {
    /// Whether it is.
    pub enabled: bool,
    /// Whether all arguments become one `?`.
    pub remove_all_args: bool,
}

/// How numbers of credit cards are found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardObfuscation {
    /// Whether they are looked for.
    pub enabled: bool,
    /// Whether the check digit must be right.
    pub luhn: bool,
    /// Keys whose values stay, beside those that never hold one.
    pub keep_values: Vec<String>,
}

/// How a SQL statement is obfuscated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SqlObfuscation {
    /// Whether the names of tables are collected into the tag `sql.tables`.
    pub table_names: bool,
    /// Whether digits in the names of tables and other identifiers become `?`.
    pub replace_digits: bool,
    /// Whether `AS alias` stays.
    pub keep_sql_alias: bool,
    /// Whether the inside of `$func$…$func$` is obfuscated as a statement instead of replaced.
    pub dollar_quoted_func: bool,
    /// Whether `NULL` stays.
    pub keep_null: bool,
    /// Whether `TRUE` and `FALSE` stay.
    pub keep_boolean: bool,
}

/// Which traces are kept where the agent decides (spec: traces 4.6).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// `DD_APM_TARGET_TPS`: traces per second that the rates told to tracers aim at; `None` for all.
    pub target_tps: Option<f64>,
    /// `DD_APM_ERROR_TPS`: traces per second with errors kept beyond those; 0 turns the sampler off, `None` is
    /// [`Sampling::ERROR_TPS`].
    pub error_tps: Option<f64>,
    /// `DD_SERVERLESS_ERROR_SAMPLER_ENABLED`.
    pub error_sampler: bool,
    /// `DD_APM_ENABLE_RARE_SAMPLER`.
    pub rare_sampler: bool,
    /// `DD_APM_PROBABILISTIC_SAMPLER_ENABLED`, with its percentage and seed.
    pub probabilistic: Probabilistic,
}

impl Sampling {
    /// Traces with errors that are kept per second where the user says nothing (as the Go agent).
    pub const ERROR_TPS: f64 = 10.0;
}

/// The probabilistic sampler.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Probabilistic {
    /// Whether it takes the place of the others.
    pub enabled: bool,
    /// 0 to 100.
    pub percentage: f32,
    /// What the hash starts with.
    pub seed: u32,
    /// `probabilistic_sampler_full_trace_id` in `DD_APM_FEATURES`: whether the hash is of all 128 bits of the trace's id
    /// and not of the lower 64.
    pub full_trace_id: bool,
}

/// Which spans count in stats, and by what (spec: traces 4.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// `DD_APM_COMPUTE_STATS_BY_SPAN_KIND`: whether a span of kind client, server, producer or consumer counts though it
    /// is neither top level nor measured.
    pub by_span_kind: bool,
    /// `DD_APM_PEER_TAGS_AGGREGATION`: whether the built-in peer tags are keys.
    pub peer_tags_aggregation: bool,
    /// `DD_APM_PEER_TAGS`: further keys.
    pub peer_tags: Vec<String>,
}

/// Where proxied requests go (spec: config 2.9). `None` is the site's intake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// `DD_APM_PROFILING_DD_URL`: a whole URL.
    pub profiling_url: Option<String>,
    /// `DD_APM_PROFILING_ADDITIONAL_ENDPOINTS`: whole URLs with their keys.
    pub profiling_endpoints: Vec<Endpoint>,
    /// `DD_APM_DEBUGGER_DD_URL`: a whole URL.
    pub debugger_url: Option<String>,
    /// `DD_APM_DEBUGGER_ADDITIONAL_ENDPOINTS`.
    pub debugger_endpoints: Vec<Endpoint>,
    /// `DD_APM_DEBUGGER_DIAGNOSTICS_DD_URL`: a whole URL.
    pub diagnostics_url: Option<String>,
    /// `DD_APM_SYMDB_DD_URL`: a whole URL.
    pub symdb_url: Option<String>,
    /// `DD_APM_TELEMETRY_DD_URL`: scheme and host.
    pub telemetry_url: Option<String>,
    /// `DD_APM_TELEMETRY_ADDITIONAL_ENDPOINTS`.
    pub telemetry_endpoints: Vec<Endpoint>,
    /// `DD_EVP_PROXY_CONFIG_DD_URL`: a host that takes the place of the site, or a URL.
    pub evp_url: Option<String>,
    /// `DD_EVP_PROXY_CONFIG_ADDITIONAL_ENDPOINTS`.
    pub evp_endpoints: Vec<Endpoint>,
    /// `DD_EVP_PROXY_CONFIG_ENABLED`.
    pub evp_enabled: bool,
    /// `DD_EVP_PROXY_CONFIG_MAX_PAYLOAD_SIZE` in bytes.
    pub evp_max_payload: usize,
    /// `DD_REMOTE_CONFIGURATION_ENABLED`.
    pub remote_configuration: bool,
    /// `DD_OL_PROXY_CONFIG_ENABLED`.
    pub openlineage_enabled: bool,
    /// `DD_OL_PROXY_CONFIG_DD_URL`: a host that takes the place of the site, or a whole URL.
    pub openlineage_url: Option<String>,
}
