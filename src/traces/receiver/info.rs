//! What `/info` says (spec: traces 4.1): what is served, and the settings by which tracers decide what to send.
//!
//! Written once, when the thread `traces` starts. Tracers compare the header `Datadog-Agent-State` of any answer with the
//! SHA-256 of the document they read, so that is what it is; they ask again when it changes.

use std::fmt::Write as _;

use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;

use super::MAX_BODY;
use super::routes::ROUTES;
use crate::codec::sort::sort;
use crate::config::Config;
use crate::config::apm::{Filters, JsonObfuscation, Obfuscation, ReplaceRule, SqlObfuscation, TagFilter};
use crate::traces::passthrough;
use crate::traces::stats::peer;

/// The rules by which resources of stats are obfuscated: the Go agent's first, and those of whoever changed them, which a
/// tracer cannot know.
const OBFUSCATION: u64 = 1;
const OWN_OBFUSCATION: u64 = 2;

/// Kinds of spans that stats count though they are neither top level nor measured.
const KINDS: &[&str] = &["client", "consumer", "producer", "server"];

/// What tracers may rely on for requests to `/evp_proxy/`.
const EVP_HEADERS: &[&str] =
    &["Content-Type", "Accept-Encoding", "Content-Encoding", "User-Agent", "DD-CI-PROVIDER-NAME"];

/// The document, and its state.
#[derive(Clone, Debug)]
pub struct Info {
    /// JSON.
    pub document: String,
    /// Its SHA-256 in lower-case hexadecimal digits.
    pub state: String,
}

impl Info {
    /// Describes an agent with these settings.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let document = document(config);
        let state = sha256(document.as_bytes());
        Self { document, state }
    }
}

fn sha256(bytes: &[u8]) -> String {
    let mut hex = String::new();
    // A suite of TLS 1.3 that has SHA-256 in its name is the way to it without a crate more.
    if let Some(suite) = TLS13_AES_128_GCM_SHA256.tls13() {
        for byte in suite.common.hash_provider.hash(bytes).as_ref() {
            // Writing to a String does not fail.
            let _ = write!(hex, "{byte:02x}");
        }
    }
    hex
}

/// A value of the document.
enum Value<'a> {
    Bool(bool),
    Int(u64),
    Float(f64),
    Text(&'a str),
    List(Vec<Value<'a>>),
    Map(Vec<(&'static str, Value<'a>)>),
}

use Value::{Bool, Float, Int, List, Map, Text};

impl Value<'_> {
    fn write(&self, out: &mut String) {
        match self {
            Bool(v) => out.push_str(if *v { "true" } else { "false" }),
            Int(v) => drop(write!(out, "{v}")),
            Float(v) => drop(write!(out, "{v}")),
            Text(v) => quote(v, out),
            List(values) => {
                for (i, value) in values.iter().enumerate() {
                    out.push(if i == 0 { '[' } else { ',' });
                    value.write(out);
                }
                out.push_str(if values.is_empty() { "[]" } else { "]" });
            }
            Map(entries) => {
                for (i, (key, value)) in entries.iter().enumerate() {
                    out.push(if i == 0 { '{' } else { ',' });
                    quote(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push_str(if entries.is_empty() { "{}" } else { "}" });
            }
        }
    }
}

fn quote(text: &str, out: &mut String) {
    // Cannot fail: it is a string.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>) -> Value<'a> {
    List(texts.into_iter().map(|text| Text(text.as_ref())).collect())
}

/// The document. Its names and types are the Go agent's, because tracers refuse the whole of it if one type differs; what
/// has no meaning here is left out, which they take for unknown.
fn document(config: &Config) -> String {
    let apm = &config.apm;
    let proxied = passthrough::listed(&apm.proxy);
    let listed = || ROUTES.iter().filter(|route| route.listed).map(|route| route.path).chain(proxied.clone());
    let mut entries = vec![
        ("version", Text(crate::VERSION)),
        ("endpoints", List(listed().map(Text).collect())),
        // Tracers must not drop spans themselves, so that stats can be computed from all of them.
        ("client_drop_p0s", Bool(false)),
        ("span_meta_structs", Bool(true)),
        ("long_running_spans", Bool(true)),
        ("span_events", Bool(true)),
        ("config", settings(config)),
        ("peer_tags", peer_tags(&apm.stats.peer_tags, apm.stats.peer_tags_aggregation)),
        ("span_kinds_stats_computed", texts(if apm.stats.by_span_kind { KINDS } else { &[] })),
        ("obfuscation_version", Int(obfuscation_version(&apm.obfuscation.sql))),
    ];
    if listed().any(|path| path.starts_with("/evp_proxy/")) {
        entries.push(("evp_proxy_allowed_headers", texts(EVP_HEADERS)));
    }
    let Filters { require, reject, regex_require, regex_reject } = &apm.filters;
    let joined = [require, reject, regex_require, regex_reject].map(|filters| joined(filters));
    let [require, reject, regex_require, regex_reject] = &joined;
    for (name, require, reject) in
        [("filter_tags", require, reject), ("filter_tags_regex", regex_require, regex_reject)]
    {
        if !(require.is_empty() && reject.is_empty()) {
            entries.push((name, Map(vec![("require", texts(require)), ("reject", texts(reject))])));
        }
    }
    if !apm.ignore_resources.is_empty() {
        entries.push(("ignore_resources", texts(&apm.ignore_resources)));
    }
    let mut document = String::with_capacity(4096);
    Map(entries).write(&mut document);
    document
}

fn joined(filters: &[TagFilter]) -> Vec<String> {
    let entry = |filter: &TagFilter| match &filter.value {
        Some(value) => [&filter.key, value].map(String::as_str).join(":"),
        None => filter.key.clone(),
    };
    filters.iter().map(entry).collect()
}

fn peer_tags(further: &[String], aggregated: bool) -> Value<'_> {
    if !aggregated {
        return List(Vec::new());
    }
    let mut keys: Vec<&str> = peer::KEYS.iter().copied().chain(further.iter().map(String::as_str)).collect();
    sort(&mut keys);
    keys.dedup();
    List(keys.into_iter().map(Text).collect())
}

fn obfuscation_version(sql: &SqlObfuscation) -> u64 {
    // The names of tables are no part of a resource.
    let relevant = SqlObfuscation { table_names: false, ..*sql };
    if relevant == SqlObfuscation::default() { OBFUSCATION } else { OWN_OBFUSCATION }
}

fn settings(config: &Config) -> Value<'_> {
    let mut entries = vec![
        ("default_env", Text(config.env.as_deref().unwrap_or_default())),
        ("receiver_port", Int(config.apm_port.into())),
        ("max_request_bytes", Int(MAX_BODY as u64)),
        ("statsd_port", Int(config.dogstatsd_port.into())),
        ("obfuscation", obfuscation(&config.apm.obfuscation, &config.apm.replace)),
    ];
    // Without a target every trace is wanted.
    entries.extend(config.apm.sampling.target_tps.filter(|tps| tps.is_finite()).map(|tps| ("target_tps", Float(tps))));
    Map(entries)
}

/// The switches of the obfuscator. The spelling of the keys under `redis`, `valkey` and `memcached` is that of agents before
/// 7.79: what reads the newer one reads this too, and what is older knows no other.
fn obfuscation<'a>(o: &'a Obfuscation, replace: &'a [ReplaceRule]) -> Value<'a> {
    let document =
        |json: &'a JsonObfuscation| Map(vec![("enabled", Bool(json.enabled)), ("keep_keys", texts(&json.keep_values))]);
    let command = |enabled: bool, key: &'static str, on: bool| Map(vec![("Enabled", Bool(enabled)), (key, Bool(on))]);
    let rule = |rule: &'a ReplaceRule| {
        Map(vec![("name", Text(&rule.name)), ("pattern", Text(&rule.pattern)), ("repl", Text(&rule.replacement))])
    };
    let SqlObfuscation { table_names: _, replace_digits, keep_sql_alias, dollar_quoted_func, keep_null, keep_boolean } =
        o.sql;
    Map(vec![
        ("elastic_search", Bool(o.elasticsearch.enabled)),
        ("mongo", Bool(o.mongodb.enabled)),
        ("sql_exec_plan", Bool(o.sql_exec_plan.enabled)),
        ("sql_exec_plan_normalize", Bool(o.sql_exec_plan_normalize.enabled)),
        ("tag_replace_rules", List(replace.iter().map(rule).collect())),
        (
            "http",
            Map(vec![
                ("remove_query_string", Bool(o.http.remove_query_string)),
                ("remove_path_digits", Bool(o.http.remove_paths_with_digits)),
            ]),
        ),
        ("remove_stack_traces", Bool(o.remove_stack_traces)),
        ("redis", command(o.redis.enabled, "RemoveAllArgs", o.redis.remove_all_args)),
        ("valkey", command(o.valkey.enabled, "RemoveAllArgs", o.valkey.remove_all_args)),
        ("memcached", command(o.memcached.enabled, "KeepCommand", o.memcached.keep_command)),
        (
            "credit_cards",
            Map(vec![
                ("enabled", Bool(o.credit_cards.enabled)),
                ("luhn", Bool(o.credit_cards.luhn)),
                ("keep_values", texts(&o.credit_cards.keep_values)),
            ]),
        ),
        (
            "sql",
            Map(vec![
                ("replace_digits", Bool(replace_digits)),
                ("keep_sql_alias", Bool(keep_sql_alias)),
                ("dollar_quoted_func", Bool(dollar_quoted_func)),
                ("keep_null", Bool(keep_null)),
                ("keep_boolean", Bool(keep_boolean)),
            ]),
        ),
        ("elasticsearch", document(&o.elasticsearch)),
        ("opensearch", document(&o.opensearch)),
        ("mongodb", document(&o.mongodb)),
    ])
}

#[cfg(test)]
mod tests;
