//! The table of settings: one row each, and nothing about a setting is said anywhere else.
//!
//! A row drives the reading, the complaints and the documentation. To add a setting, add a row here, or in [`apm`] or
//! [`obfuscation`] if it is about traces, and a field to [`Config`]. Rows are read in order: a default may mention the
//! settings above it as `{site}` and `{compression_level}`.

mod apm;
mod obfuscation;

use super::given::Given;
use super::parse::{self, Problem};
use super::structured;
use super::{Config, Endpoint, Secret};

/// One setting.
pub struct Row {
    /// Names of environment variables without `DD_`, the preferred one first. Each also works with `DATADOG_`, which
    /// comes after every name with `DD_`.
    pub env: &'static [&'static str],
    /// Paths in `datadog.yaml`, the preferred one first.
    pub yaml: &'static [&'static str],
    /// The default as a user would write it; blank for none.
    pub default: &'static str,
    /// What a value looks like, for the documentation.
    pub form: &'static str,
    /// What the setting does, for the documentation.
    pub doc: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// Whether every name set in one source is read ([`Given::joins`] tells), not only the first with a good value.
    pub every: bool,
    /// Reads a value into the configuration; leaves it alone on error.
    pub read: fn(&mut Config, &mut Given<'_>) -> Result<(), Problem>,
}

/// What most rows have in common.
const PLAIN: Row =
    Row { env: &[], yaml: &[], default: "", form: "", doc: "", secret: false, every: false, read: |_, _| Ok(()) };

/// Every setting, in the order in which they are read.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    std::iter::once(&GENERAL).chain(apm::TABLES).chain(obfuscation::TABLES).flat_map(|rows| rows.iter())
}

/// Every setting as a Markdown table: variables, path in `datadog.yaml`, default, form, meaning.
#[must_use]
pub fn reference() -> String {
    let code = |names: &mut dyn Iterator<Item = String>| names.map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let mut out =
        "| variable | datadog.yaml | default | value | meaning |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for row in rows() {
        let env = code(&mut row.env.iter().map(|key| format!("DD_{key}")));
        let yaml = code(&mut row.yaml.iter().map(|path| (*path).to_owned()));
        let default = code(&mut Some(row.default).filter(|d| !d.is_empty()).map(str::to_owned).into_iter());
        out.push_str(&format!("| {env} | {yaml} | {default} | {} | {} |\n", row.form, row.doc));
    }
    out
}

/// Whether the value of `DD_{key}` must never be shown. `key` is in upper case.
pub fn is_secret(key: &str) -> bool {
    rows().any(|row| row.secret && row.env.contains(&key))
}

/// Puts a good value into its field.
fn put<T>(field: &mut T, value: Result<T, Problem>) -> Result<(), Problem> {
    *field = value?;
    Ok(())
}

/// A switch.
fn flag(field: &mut bool, given: &Given<'_>) -> Result<(), Problem> {
    put(field, given.with(parse::boolean))
}

/// A URL where something goes instead of where it goes by itself.
fn address(field: &mut Option<String>, given: &Given<'_>) -> Result<(), Problem> {
    put(field, given.with(|text| parse::url(text, "https")).map(Some))
}

/// URLs with their keys.
fn endpoints(field: &mut Vec<Endpoint>, given: &mut Given<'_>) -> Result<(), Problem> {
    put(field, structured::endpoints(given))
}

/// A value that is a string as it stands.
fn string(given: &Given<'_>) -> Result<Option<String>, Problem> {
    Ok(Some(given.text()?.to_owned()))
}

/// A zstd level. Above 9 a level costs more memory than small functions have, for nothing on payloads of this size.
fn compression(given: &mut Given<'_>) -> Result<i32, Problem> {
    let level = given.with(|text| parse::integer(text, 1, 22))?;
    if level > 9 {
        given.note_instead(&level.to_string(), "a level that needs more memory than it saves".into(), "9");
    }
    Ok(i32::try_from(level.min(9)).unwrap_or(1))
}

fn port(given: &Given<'_>) -> Result<u16, Problem> {
    given.with(parse::port_number)
}

/// Names between commas or blanks.
fn names(given: &mut Given<'_>) -> Result<Vec<String>, Problem> {
    given.each(LIST, |text| Ok(text.to_owned()))
}

/// Each element once: a repeated one would be sent, or asked for, twice.
fn distinct<T: PartialEq>(list: Result<Vec<T>, Problem>) -> Result<Vec<T>, Problem> {
    let mut kept = Vec::new();
    for element in list? {
        if !kept.contains(&element) {
            kept.push(element);
        }
    }
    Ok(kept)
}

const LIST: &[char] = &[',', ' ', '\t', '\n', '\r'];
/// Always on the blocklist: the extension counts invocations itself (spec: metrics 3.2).
const INVOCATIONS: &str = "aws.lambda.enhanced.invocations";
const BOOLEAN: &str = "true or false";
const NAMES: &str = "names between commas or blanks";
const LEVEL: &str = "1 (fast) to 9 (small)";
const URL: &str = "https://host[:port]; http:// for local use";
const ENDPOINTS: &str = r#"JSON: {"https://host": ["api key"]}"#;

/// Every setting but those of traces.
const GENERAL: &[Row] = &[
    // General (spec: config 2.2, 2.3)
    Row {
        env: &["API_KEY"],
        yaml: &["api_key"],
        form: "32 hexadecimal digits",
        doc: "The Datadog API key. Without one nothing is sent.",
        secret: true,
        read: |c, v| put(&mut c.api_key, v.with(parse::api_key).map(|key| Some(Secret::new(key)))),
        ..PLAIN
    },
    Row {
        env: &["ORG_UUID", "KMS_API_KEY", "API_KEY_SECRET_ARN", "API_KEY_SSM_ARN", "API_KEY_KMS_ENCRYPTED"],
        yaml: &["org_uuid", "kms_api_key", "api_key_secret_arn", "api_key_ssm_arn"],
        form: "an id, an ARN or a ciphertext",
        doc: "Where the API key is kept, if not in DD_API_KEY.",
        secret: true,
        read: |c, v| {
            c.api_key_indirect = Some(v.name.to_owned());
            Ok(())
        },
        ..PLAIN
    },
    Row {
        env: &["SITE"],
        yaml: &["site"],
        default: "datadoghq.com",
        form: "a host name",
        doc: "The Datadog site: what the host names of the intakes end with.",
        read: |c, v| put(&mut c.site, v.with(parse::site)),
        ..PLAIN
    },
    Row {
        env: &["LOG_LEVEL"],
        yaml: &["log_level"],
        default: "info",
        form: "debug, info, warn, error or off",
        doc: "How much the extension itself logs.",
        read: |c, v| put(&mut c.log_level, v.with(parse::level)),
        ..PLAIN
    },
    Row {
        env: &["FLUSH_TIMEOUT"],
        yaml: &["flush_timeout"],
        default: "30",
        form: "seconds, 0.001 to 900",
        doc: "Limit for one request to an intake.",
        read: |c, v| put(&mut c.flush_timeout, v.with(parse::seconds)),
        ..PLAIN
    },
    Row {
        env: &["SERVERLESS_FLUSH_STRATEGY"],
        yaml: &["serverless_flush_strategy"],
        default: "default",
        form: "default; end; end,MS; periodically,MS; continuously,MS with MS in milliseconds",
        doc: "When data is sent.",
        read: |c, v| put(&mut c.flush_strategy, v.with(parse::flush_strategy)),
        ..PLAIN
    },
    Row {
        env: &["ENV"],
        yaml: &["env"],
        form: "text",
        doc: "The tag env.",
        read: |c, v| put(&mut c.env, string(v)),
        ..PLAIN
    },
    Row {
        env: &["SERVICE"],
        yaml: &["service"],
        form: "text",
        doc: "The tag service.",
        read: |c, v| put(&mut c.service, string(v)),
        ..PLAIN
    },
    Row {
        env: &["VERSION"],
        yaml: &["version"],
        form: "text",
        doc: "The tag version.",
        read: |c, v| put(&mut c.version, string(v)),
        ..PLAIN
    },
    Row {
        env: &["TAGS"],
        yaml: &["tags"],
        form: "key:value between commas or blanks",
        doc: "Tags for everything that is sent.",
        read: |c, v| {
            let tags = structured::tags(v)?;
            c.tags.clear();
            structured::extend_tags(&mut c.tags, tags);
            Ok(())
        },
        ..PLAIN
    },
    Row {
        env: &["EXTRA_TAGS"],
        yaml: &["extra_tags"],
        form: "key:value between commas or blanks",
        doc: "More tags, added to DD_TAGS.",
        read: |c, v| {
            structured::extend_tags(&mut c.tags, structured::tags(v)?);
            Ok(())
        },
        ..PLAIN
    },
    Row {
        env: &["LOCAL_TEST", "LOCAL_TESTING"],
        yaml: &["local_test"],
        default: "false",
        form: BOOLEAN,
        doc: "Lets a library flush through /lambda/flush, for runs outside Lambda. Node's library knows the second name.",
        read: |c, v| flag(&mut c.local_test, v),
        ..PLAIN
    },
    Row {
        env: &["COMPRESSION_LEVEL"],
        yaml: &["compression_level"],
        default: "1",
        form: LEVEL,
        doc: "zstd level of every payload whose own setting does not say otherwise.",
        read: |c, v| put(&mut c.compression_level, compression(v)),
        ..PLAIN
    },
    // Metrics (spec: config 2.4)
    Row {
        env: &["DD_URL", "URL"],
        yaml: &["dd_url"],
        default: "https://api.{site}",
        form: URL,
        doc: "Where metrics go.",
        read: |c, v| put(&mut c.metrics_url, v.with(|text| parse::url(text, "https"))),
        ..PLAIN
    },
    Row {
        env: &["ADDITIONAL_ENDPOINTS"],
        yaml: &["additional_endpoints"],
        form: ENDPOINTS,
        doc: "Where metrics go as well.",
        secret: true,
        read: |c, v| endpoints(&mut c.metrics_endpoints, v),
        ..PLAIN
    },
    Row {
        env: &["METRICS_CONFIG_COMPRESSION_LEVEL"],
        yaml: &["metrics_config.compression_level"],
        default: "{compression_level}",
        form: LEVEL,
        doc: "zstd level of metric payloads.",
        read: |c, v| put(&mut c.metrics_compression_level, compression(v)),
        ..PLAIN
    },
    Row {
        env: &["STATSD_METRIC_NAMESPACE"],
        yaml: &["statsd_metric_namespace"],
        form: "a letter, then letters, digits, _ and dots",
        doc: "Prefix of the names of DogStatsD metrics.",
        read: |c, v| put(&mut c.statsd_namespace, v.with(parse::namespace)),
        ..PLAIN
    },
    Row {
        env: &["STATSD_METRIC_NAMESPACE_BLACKLIST", "STATSD_METRIC_NAMESPACE_BLOCKLIST"],
        yaml: &["statsd_metric_namespace_blacklist", "statsd_metric_namespace_blocklist"],
        default: "datadog.agent datadog.dogstatsd datadog.process datadog.trace_agent datadog.tracer activemq \
                  activemq_58 airflow cassandra confluent hazelcast hive ignite jboss jvm kafka presto sidekiq solr \
                  tomcat runtime",
        form: NAMES,
        doc: "Metrics whose names begin with one of these get no namespace.",
        read: |c, v| put(&mut c.statsd_namespace_blocklist, names(v)),
        ..PLAIN
    },
    Row {
        env: &["STATSD_METRIC_BLOCKLIST"],
        yaml: &["statsd_metric_blocklist"],
        default: INVOCATIONS,
        form: NAMES,
        doc: "DogStatsD metrics that are dropped, besides the invocations that Datadog's libraries count too.",
        read: |c, v| {
            let mut list = names(v)?;
            if !list.iter().any(|name| name == INVOCATIONS) {
                list.push(INVOCATIONS.to_owned());
            }
            c.statsd_blocklist = list;
            Ok(())
        },
        ..PLAIN
    },
    Row {
        env: &["DOGSTATSD_PORT"],
        yaml: &["dogstatsd_port"],
        default: "8125",
        form: "a port",
        doc: "UDP port of DogStatsD.",
        read: |c, v| put(&mut c.dogstatsd_port, port(v)),
        ..PLAIN
    },
    Row {
        env: &["DOGSTATSD_SO_RCVBUF"],
        yaml: &["dogstatsd_so_rcvbuf"],
        form: "bytes; 0 for as much as there is",
        doc: "Socket buffer of DogStatsD. Unset, as much as the kernel gives.",
        read: |c, v| {
            let bytes = v.with(|text| parse::integer(text, 0, 1 << 30))?;
            c.dogstatsd_so_rcvbuf = usize::try_from(bytes).ok().filter(|bytes| *bytes > 0);
            Ok(())
        },
        ..PLAIN
    },
    Row {
        env: &["DOGSTATSD_BUFFER_SIZE"],
        yaml: &["dogstatsd_buffer_size"],
        default: "8192",
        form: "bytes, 256 to 65536",
        doc: "Longest datagram that DogStatsD reads whole.",
        read: |c, v| {
            let bytes = v.with(|text| parse::integer(text, 256, 65_536))?;
            c.dogstatsd_buffer_size = usize::try_from(bytes).unwrap_or(8192);
            Ok(())
        },
        ..PLAIN
    },
    Row {
        env: &["DOGSTATSD_TAGS"],
        yaml: &["dogstatsd_tags"],
        form: "tags between commas or blanks",
        doc: "Tags for DogStatsD metrics.",
        read: |c, v| put(&mut c.dogstatsd_tags, names(v)),
        ..PLAIN
    },
    Row {
        env: &["HISTOGRAM_AGGREGATES"],
        yaml: &["histogram_aggregates"],
        default: "max median avg count",
        form: "of max, min, median, avg, sum, count",
        doc: "What becomes of DogStatsD histograms.",
        read: |c, v| {
            const KNOWN: &[&str] = &["max", "min", "median", "avg", "sum", "count"];
            put(&mut c.histogram_aggregates, distinct(v.each(LIST, |text| parse::word(text, KNOWN))))
        },
        ..PLAIN
    },
    Row {
        env: &["HISTOGRAM_PERCENTILES"],
        yaml: &["histogram_percentiles"],
        default: "0.95",
        form: "fractions of 1",
        doc: "Percentiles of DogStatsD histograms.",
        read: |c, v| put(&mut c.histogram_percentiles, distinct(v.each(LIST, parse::percentile))),
        ..PLAIN
    },
    Row {
        env: &["LAMBDA_CUSTOMER_METRICS_EXCLUDE_TAGS"],
        yaml: &["lambda_customer_metrics_exclude_tags"],
        form: NAMES,
        doc: "Keys of function tags that metrics do not get.",
        read: |c, v| put(&mut c.metrics_exclude_tags, names(v)),
        ..PLAIN
    },
    // Logs (spec: config 2.5)
    Row {
        env: &["SERVERLESS_LOGS_ENABLED", "LOGS_ENABLED"],
        yaml: &["serverless_logs_enabled", "serverless.logs_enabled", "logs_enabled"],
        default: "true",
        form: BOOLEAN,
        doc: "Whether logs are collected. If both variables are set, one that is true is enough.",
        every: true,
        read: |c, v| {
            let enabled = v.with(parse::boolean)?;
            c.logs_enabled = enabled || (v.joins && c.logs_enabled);
            Ok(())
        },
        ..PLAIN
    },
    Row {
        env: &["LOGS_CONFIG_LAMBDA_LOGS_TYPE"],
        yaml: &["logs_config.lambda_logs_type"],
        default: "platform function extension",
        form: "of platform, function, extension",
        doc: "Whose output becomes logs.",
        read: |c, v| {
            const KNOWN: &[&str] = &["platform", "function", "extension"];
            put(&mut c.logs_types, distinct(v.each(LIST, |text| parse::word(text, KNOWN))))
        },
        ..PLAIN
    },
    Row {
        env: &["LOGS_CONFIG_LOGS_NO_SSL"],
        yaml: &["logs_config.logs_no_ssl"],
        default: "false",
        form: BOOLEAN,
        doc: "Whether addresses of logs intakes without a scheme mean http://.",
        read: |c, v| flag(&mut c.logs_no_ssl, v),
        ..PLAIN
    },
    Row {
        env: &["LOGS_CONFIG_LOGS_DD_URL"],
        yaml: &["logs_config.logs_dd_url"],
        default: "https://http-intake.logs.{site}",
        form: URL,
        doc: "Where logs go.",
        read: |c, v| {
            let url = v.with(|text| parse::url(text, c.logs_scheme()))?;
            // The route is ours to add; who wrote it out meant the same place.
            url.strip_suffix("/api/v2/logs").unwrap_or(&url).clone_into(&mut c.logs_url);
            Ok(())
        },
        ..PLAIN
    },
    Row {
        env: &["LOGS_CONFIG_ADDITIONAL_ENDPOINTS"],
        yaml: &["logs_config.additional_endpoints"],
        form: r#"JSON: [{"api_key": …, "Host": …, "Port": …}]"#,
        doc: "Where logs go as well.",
        secret: true,
        read: |c, v| {
            c.logs_endpoints = structured::log_endpoints(v, c.logs_scheme())?;
            Ok(())
        },
        ..PLAIN
    },
    Row {
        env: &["LOGS_CONFIG_USE_COMPRESSION"],
        yaml: &["logs_config.use_compression"],
        default: "true",
        form: BOOLEAN,
        doc: "Whether log payloads are compressed.",
        read: |c, v| flag(&mut c.logs_use_compression, v),
        ..PLAIN
    },
    Row {
        env: &["LOGS_CONFIG_COMPRESSION_LEVEL"],
        yaml: &["logs_config.compression_level"],
        default: "{compression_level}",
        form: LEVEL,
        doc: "zstd level of log payloads.",
        read: |c, v| put(&mut c.logs_compression_level, compression(v)),
        ..PLAIN
    },
    Row {
        env: &["LOGS_CONFIG_PROCESSING_RULES"],
        yaml: &["logs_config.processing_rules"],
        form: r#"JSON: [{"type": …, "name": …, "pattern": …, "replace_placeholder": …}]"#,
        doc: "Which logs are dropped, and what is masked in the others.",
        read: |c, v| put(&mut c.logs_rules, structured::rules(v)),
        ..PLAIN
    },
    Row {
        env: &["OBSERVABILITY_PIPELINES_WORKER_LOGS_ENABLED"],
        yaml: &["observability_pipelines_worker.logs.enabled"],
        default: "false",
        form: BOOLEAN,
        doc: "Whether logs go to an Observability Pipelines Worker instead of Datadog.",
        read: |c, v| flag(&mut c.logs_opw, v),
        ..PLAIN
    },
    Row {
        env: &["OBSERVABILITY_PIPELINES_WORKER_LOGS_URL"],
        yaml: &["observability_pipelines_worker.logs.url"],
        form: URL,
        doc: "The worker's URL, used as it is.",
        read: |c, v| {
            let text = v.text()?;
            let url = parse::url(text, c.logs_scheme())?;
            c.logs_opw_url = Some(if text.contains("://") { text.to_owned() } else { url });
            Ok(())
        },
        ..PLAIN
    },
];
