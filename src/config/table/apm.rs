//! The rows of traces (spec: config 2.6), after all the others.
//!
//! Settings of the Go agent that are not here would change nothing in a function:
//!
//! - `DD_APM_LOG_THROTTLING`: what could flood the log is limited at each site anyway.
//! - `DD_APM_MAX_EPS`: it limits the events of a product that spans took the place of.
//! - `DD_APM_RECEIVER_SOCKET`: tracers in Lambda know one way to the extension, TCP.
//! - `DD_SPAN_DEDUP_TIMEOUT`: duplicates are looked for in the trace agent's own memory, which nothing can delay.
//! - `DD_APM_DISABLE_RARE_SAMPLER`: it asks for the default.
//! - `DD_APM_SQL_OBFUSCATION_MODE`, `DD_APM_OBFUSCATION_CACHE_*`: there is one obfuscator, and it keeps no cache.
//! - `DD_APM_ENV`: the tag env of a function has one source, `DD_ENV`.

use super::super::apm::TagFilter;
use super::{
    BOOLEAN, ENDPOINTS, Given, LEVEL, NAMES, PLAIN, Problem, Row, URL, address, compression, endpoints, flag, names,
    parse, port, put, structured,
};

/// All of them.
pub const TABLES: &[&[Row]] = &[GENERAL, UNWANTED, SAMPLING, STATS, PROXY];

const FILTERS: &str = "key or key:value between blanks, or a JSON list of them";
const HOST: &str = "a host, or a URL for local use";

/// Conditions on tags, between blanks: their values may have commas.
fn filters(field: &mut Vec<TagFilter>, given: &mut Given<'_>) -> Result<(), Problem> {
    put(field, given.each(&[' ', '\t', '\n', '\r'], structured::tag_filter))
}

/// A number of traces per second.
fn rate(given: &Given<'_>) -> Result<f64, Problem> {
    given.with(|text| parse::number(text, 0.0, 1e9))
}

const GENERAL: &[Row] = &[
    Row {
        env: &["APM_ENABLED"],
        yaml: &["apm_config.enabled"],
        default: "true",
        form: BOOLEAN,
        doc: "Whether traces are collected.",
        read: |c, v| flag(&mut c.apm_enabled, v),
        ..PLAIN
    },
    Row {
        env: &["TRACE_ENABLED"],
        yaml: &["serverless.trace_enabled"],
        default: "true",
        form: BOOLEAN,
        doc: "If false, traces are not collected, whatever DD_APM_ENABLED says. Tracers read it too.",
        read: |c, v| {
            let enabled = v.with(parse::boolean)?;
            c.apm_enabled &= enabled;
            Ok(())
        },
        ..PLAIN
    },
    Row {
        env: &["APM_RECEIVER_PORT", "RECEIVER_PORT"],
        yaml: &["apm_config.receiver_port"],
        default: "8126",
        form: "a port",
        doc: "TCP port of the trace receiver.",
        read: |c, v| put(&mut c.apm_port, port(v)),
        ..PLAIN
    },
    Row {
        env: &["APM_DD_URL"],
        yaml: &["apm_config.apm_dd_url"],
        default: "https://trace.agent.{site}",
        form: URL,
        doc: "Where traces go.",
        read: |c, v| put(&mut c.apm_url, v.with(|text| parse::url(text, "https"))),
        ..PLAIN
    },
    Row {
        env: &["APM_ADDITIONAL_ENDPOINTS"],
        yaml: &["apm_config.additional_endpoints"],
        form: ENDPOINTS,
        doc: "Where traces go as well.",
        secret: true,
        read: |c, v| endpoints(&mut c.apm_endpoints, v),
        ..PLAIN
    },
    Row {
        env: &["APM_CONFIG_COMPRESSION_LEVEL"],
        yaml: &["apm_config.compression_level"],
        default: "{compression_level}",
        form: LEVEL,
        doc: "zstd level of trace payloads.",
        read: |c, v| put(&mut c.apm_compression_level, compression(v)),
        ..PLAIN
    },
];

const UNWANTED: &[Row] = &[
    Row {
        env: &["APM_IGNORE_RESOURCES", "IGNORE_RESOURCE"],
        yaml: &["apm_config.ignore_resources"],
        form: "regular expressions between commas; one with a comma in double quotes",
        doc: "Traces are dropped if the resource of their root matches one of these.",
        read: |c, v| {
            c.apm.ignore_resources = v.csv()?.into_iter().map(Into::into).collect();
            Ok(())
        },
        ..PLAIN
    },
    Row {
        env: &["APM_FILTER_TAGS_REQUIRE"],
        yaml: &["apm_config.filter_tags.require"],
        form: FILTERS,
        doc: "Traces are dropped unless their root has every one of these tags.",
        read: |c, v| filters(&mut c.apm.filters.require, v),
        ..PLAIN
    },
    Row {
        env: &["APM_FILTER_TAGS_REJECT"],
        yaml: &["apm_config.filter_tags.reject"],
        form: FILTERS,
        doc: "Traces are dropped if their root has one of these tags.",
        read: |c, v| filters(&mut c.apm.filters.reject, v),
        ..PLAIN
    },
    Row {
        env: &["APM_FILTER_TAGS_REGEX_REQUIRE"],
        yaml: &["apm_config.filter_tags_regex.require"],
        form: FILTERS,
        doc: "As DD_APM_FILTER_TAGS_REQUIRE; the values are regular expressions.",
        read: |c, v| filters(&mut c.apm.filters.regex_require, v),
        ..PLAIN
    },
    Row {
        env: &["APM_FILTER_TAGS_REGEX_REJECT"],
        yaml: &["apm_config.filter_tags_regex.reject"],
        form: FILTERS,
        doc: "As DD_APM_FILTER_TAGS_REJECT; the values are regular expressions.",
        read: |c, v| filters(&mut c.apm.filters.regex_reject, v),
        ..PLAIN
    },
    Row {
        env: &["APM_REPLACE_TAGS"],
        yaml: &["apm_config.replace_tags"],
        form: r#"JSON: [{"name": …, "pattern": …, "repl": …}]"#,
        doc: "What is replaced in the tag of that name; resource.name is the resource, * that and every tag whose name \
              does not begin with _.",
        read: |c, v| put(&mut c.apm.replace, structured::replace_rules(v)),
        ..PLAIN
    },
];

const SAMPLING: &[Row] = &[
    Row {
        env: &["APM_TARGET_TPS", "APM_MAX_TPS", "MAX_TPS"],
        yaml: &["apm_config.target_traces_per_second", "apm_config.max_traces_per_second"],
        form: "a number",
        doc: "How many traces per second the sampling rates that tracers are told aim at. Unset, they keep all.",
        read: |c, v| put(&mut c.apm.sampling.target_tps, rate(v).map(Some)),
        ..PLAIN
    },
    Row {
        env: &["APM_ERROR_TPS"],
        yaml: &["apm_config.errors_per_second"],
        form: "a number; 0 for none",
        doc: "How many traces per second are kept for their errors though sampled out, where the extension decides. \
              Unset, 10.",
        read: |c, v| put(&mut c.apm.sampling.error_tps, rate(v).map(Some)),
        ..PLAIN
    },
    Row {
        env: &["SERVERLESS_ERROR_SAMPLER_ENABLED"],
        yaml: &["serverless_error_sampler_enabled"],
        default: "false",
        form: BOOLEAN,
        doc: "Whether traces are kept for their errors where the extension computes statistics.",
        read: |c, v| flag(&mut c.apm.sampling.error_sampler, v),
        ..PLAIN
    },
    Row {
        env: &["APM_ENABLE_RARE_SAMPLER"],
        yaml: &["apm_config.enable_rare_sampler"],
        default: "false",
        form: BOOLEAN,
        doc: "Whether traces of a kind that is seldom seen are kept though sampled out.",
        read: |c, v| flag(&mut c.apm.sampling.rare_sampler, v),
        ..PLAIN
    },
    Row {
        env: &["APM_PROBABILISTIC_SAMPLER_ENABLED"],
        yaml: &["apm_config.probabilistic_sampler.enabled"],
        default: "false",
        form: BOOLEAN,
        doc: "Whether a share of all traces is kept, chosen by their ids, whatever tracers decided.",
        read: |c, v| flag(&mut c.apm.sampling.probabilistic.enabled, v),
        ..PLAIN
    },
    Row {
        env: &["APM_PROBABILISTIC_SAMPLER_SAMPLING_PERCENTAGE"],
        yaml: &["apm_config.probabilistic_sampler.sampling_percentage"],
        default: "0",
        form: "0 to 100",
        doc: "That share.",
        read: |c, v| {
            let percentage = v.with(|text| parse::number(text, 0.0, 100.0))?;
            c.apm.sampling.probabilistic.percentage = percentage as f32;
            Ok(())
        },
        ..PLAIN
    },
    Row {
        env: &["APM_PROBABILISTIC_SAMPLER_HASH_SEED"],
        yaml: &["apm_config.probabilistic_sampler.hash_seed"],
        default: "0",
        form: "0 to 4294967295",
        doc: "What the choice begins with: the same for all that are to choose the same traces.",
        read: |c, v| {
            let seed = v.with(|text| parse::integer(text, 0, u32::MAX.into()))?;
            c.apm.sampling.probabilistic.seed = u32::try_from(seed).unwrap_or_default();
            Ok(())
        },
        ..PLAIN
    },
];

const STATS: &[Row] = &[
    Row {
        env: &["LAMBDA_EXTENSION_COMPUTE_STATS"],
        yaml: &["lambda_extension_compute_stats"],
        default: "false",
        form: BOOLEAN,
        doc: "Whether the extension computes the statistics of traces and then drops what is sampled out.",
        read: |c, v| flag(&mut c.apm.compute_stats, v),
        ..PLAIN
    },
    Row {
        env: &["APM_COMPUTE_STATS_BY_SPAN_KIND"],
        yaml: &["apm_config.compute_stats_by_span_kind"],
        default: "true",
        form: BOOLEAN,
        doc: "Whether spans of the kinds client, server, producer and consumer count though their parent is of their \
              service.",
        read: |c, v| flag(&mut c.apm.stats.by_span_kind, v),
        ..PLAIN
    },
    Row {
        env: &["APM_PEER_TAGS_AGGREGATION", "APM_PEER_SERVICE_AGGREGATION"],
        yaml: &["apm_config.peer_tags_aggregation", "apm_config.peer_service_aggregation"],
        default: "true",
        form: BOOLEAN,
        doc: "Whether statistics tell apart whom a span called, by tags such as db.name and peer.service.",
        read: |c, v| flag(&mut c.apm.stats.peer_tags_aggregation, v),
        ..PLAIN
    },
    Row {
        env: &["APM_PEER_TAGS"],
        yaml: &["apm_config.peer_tags"],
        form: NAMES,
        doc: "More such tags.",
        read: |c, v| put(&mut c.apm.stats.peer_tags, names(v)),
        ..PLAIN
    },
];

const PROXY: &[Row] = &[
    Row {
        env: &["APM_PROFILING_DD_URL"],
        yaml: &["apm_config.profiling_dd_url"],
        form: URL,
        doc: "Where profiles go, with the path.",
        read: |c, v| address(&mut c.apm.proxy.profiling_url, v),
        ..PLAIN
    },
    Row {
        env: &["APM_PROFILING_ADDITIONAL_ENDPOINTS"],
        yaml: &["apm_config.profiling_additional_endpoints"],
        form: ENDPOINTS,
        doc: "Where profiles go as well, with the path.",
        secret: true,
        read: |c, v| endpoints(&mut c.apm.proxy.profiling_endpoints, v),
        ..PLAIN
    },
    Row {
        env: &["APM_DEBUGGER_DD_URL"],
        yaml: &["apm_config.debugger_dd_url"],
        form: URL,
        doc: "Where the debugger's logs go, with the path.",
        read: |c, v| address(&mut c.apm.proxy.debugger_url, v),
        ..PLAIN
    },
    Row {
        env: &["APM_DEBUGGER_ADDITIONAL_ENDPOINTS"],
        yaml: &["apm_config.debugger_additional_endpoints"],
        form: ENDPOINTS,
        doc: "Where they go as well, with the path.",
        secret: true,
        read: |c, v| endpoints(&mut c.apm.proxy.debugger_endpoints, v),
        ..PLAIN
    },
    Row {
        env: &["APM_DEBUGGER_DIAGNOSTICS_DD_URL"],
        yaml: &["apm_config.debugger_diagnostics_dd_url"],
        form: URL,
        doc: "Where the debugger's snapshots and diagnostics go, with the path.",
        read: |c, v| address(&mut c.apm.proxy.diagnostics_url, v),
        ..PLAIN
    },
    Row {
        env: &["APM_SYMDB_DD_URL"],
        yaml: &["apm_config.symdb_dd_url"],
        form: URL,
        doc: "Where the debugger's symbols go, with the path.",
        read: |c, v| address(&mut c.apm.proxy.symdb_url, v),
        ..PLAIN
    },
    Row {
        env: &["APM_TELEMETRY_DD_URL"],
        yaml: &["apm_config.telemetry.dd_url"],
        form: URL,
        doc: "Where the tracers' telemetry goes.",
        read: |c, v| address(&mut c.apm.proxy.telemetry_url, v),
        ..PLAIN
    },
    Row {
        env: &["APM_TELEMETRY_ADDITIONAL_ENDPOINTS"],
        yaml: &["apm_config.telemetry.additional_endpoints"],
        form: ENDPOINTS,
        doc: "Where it goes as well.",
        secret: true,
        read: |c, v| endpoints(&mut c.apm.proxy.telemetry_endpoints, v),
        ..PLAIN
    },
    Row {
        env: &["EVP_PROXY_CONFIG_ENABLED"],
        yaml: &["evp_proxy_config.enabled"],
        default: "true",
        form: BOOLEAN,
        doc: "Whether /evp_proxy/ passes on what LLM Observability and other products send.",
        read: |c, v| flag(&mut c.apm.proxy.evp_enabled, v),
        ..PLAIN
    },
    Row {
        env: &["EVP_PROXY_CONFIG_DD_URL"],
        yaml: &["evp_proxy_config.dd_url"],
        form: HOST,
        doc: "What takes the place of the site in where that goes.",
        read: |c, v| put(&mut c.apm.proxy.evp_url, v.with(parse::host).map(Some)),
        ..PLAIN
    },
    Row {
        env: &["EVP_PROXY_CONFIG_ADDITIONAL_ENDPOINTS"],
        yaml: &["evp_proxy_config.additional_endpoints"],
        form: ENDPOINTS,
        doc: "Where it goes as well.",
        secret: true,
        read: |c, v| endpoints(&mut c.apm.proxy.evp_endpoints, v),
        ..PLAIN
    },
    Row {
        env: &["EVP_PROXY_CONFIG_MAX_PAYLOAD_SIZE"],
        yaml: &["evp_proxy_config.max_payload_size"],
        default: "10485760",
        form: "bytes, up to 52428800",
        doc: "Longest request that it passes on.",
        read: |c, v| {
            let bytes = v.with(|text| parse::integer(text, 1, 50 << 20))?;
            c.apm.proxy.evp_max_payload = usize::try_from(bytes).unwrap_or_default();
            Ok(())
        },
        ..PLAIN
    },
    Row {
        env: &["REMOTE_CONFIGURATION_ENABLED"],
        yaml: &["remote_configuration.enabled"],
        default: "false",
        form: BOOLEAN,
        doc: "Whether tracers may poll Datadog for their configuration through /v0.7/config.",
        read: |c, v| flag(&mut c.apm.proxy.remote_configuration, v),
        ..PLAIN
    },
    Row {
        env: &["OL_PROXY_CONFIG_ENABLED"],
        yaml: &["ol_proxy_config.enabled"],
        default: "true",
        form: BOOLEAN,
        doc: "Whether /openlineage/ passes on what OpenLineage sends.",
        read: |c, v| flag(&mut c.apm.proxy.openlineage_enabled, v),
        ..PLAIN
    },
    Row {
        env: &["OL_PROXY_CONFIG_DD_URL"],
        yaml: &["ol_proxy_config.dd_url"],
        form: HOST,
        doc: "What takes the place of the site in where that goes; a URL with the path takes the place of all.",
        read: |c, v| put(&mut c.apm.proxy.openlineage_url, v.with(parse::host).map(Some)),
        ..PLAIN
    },
];
