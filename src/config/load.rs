//! From the sources to a [`Config`]: takes each row of the table through them.
//!
//! Owns the precedence (`DD_*`, `DATADOG_*`, `datadog.yaml`, default) and the complaints. Never fails. Pure.

use std::borrow::Cow;
use std::ffi::OsString;
use std::time::Duration;

use serde_json::Value;

use super::apm::Apm;
use super::env::{Environment, PREFIXES, shown};
use super::given::{Given, Raw};
use super::parse::Problem;
use super::table::{Row, rows};
use super::{Complaint, Config, FlushStrategy, LambdaEnv, yaml};

impl Config {
    /// Builds the settings from the environment and the text of `datadog.yaml`, if there is one.
    ///
    /// Never fails: what cannot be used is left out, and said in a complaint.
    #[must_use]
    pub fn load(env: &[(OsString, OsString)], yaml: Option<&str>) -> (Self, Vec<Complaint>) {
        let (env, lambda) = Environment::read(env);
        let mut config = blank(lambda);
        let mut complaints = Vec::new();
        let yaml = yaml.and_then(|text| match yaml::parse(text) {
            Ok(tree) => Some(tree),
            Err(fault) => {
                complaints.push(Complaint {
                    setting: "datadog.yaml".to_owned(),
                    value: String::new(),
                    problem: fault.to_string(),
                    instead: "the environment alone".to_owned(),
                });
                None
            }
        });
        for row in rows() {
            read_row(row, &mut config, &env, yaml.as_ref(), &mut complaints);
        }
        settle_worker(&mut config, &mut complaints);
        (config, complaints)
    }
}

/// Without the worker's URL logs stay where they are: they may hold what only the worker would have removed.
fn settle_worker(config: &mut Config, complaints: &mut Vec<Complaint>) {
    if !config.logs_opw {
        return;
    }
    if let Some(url) = &config.logs_opw_url {
        config.logs_url.clone_from(url);
    } else if config.logs_enabled {
        config.logs_enabled = false;
        complaints.push(Complaint {
            setting: "DD_OBSERVABILITY_PIPELINES_WORKER_LOGS_URL".to_owned(),
            value: String::new(),
            problem: "no usable value, although DD_OBSERVABILITY_PIPELINES_WORKER_LOGS_ENABLED is true".to_owned(),
            instead: "no destination: logs are not sent".to_owned(),
        });
    }
}

/// A value that a source has for a row.
struct Candidate<'a> {
    /// Sources by rank, 0 first.
    source: usize,
    name: &'a str,
    raw: Option<Raw<'a>>,
}

/// The values for `row`, those that win first. Blank ones count as not set.
fn candidates<'a>(row: &Row, env: &'a Environment<'a>, yaml: Option<&'a Value>) -> Vec<Candidate<'a>> {
    let mut found = Vec::new();
    for prefix in 0..PREFIXES.len() {
        for variable in row.env.iter().filter_map(|key| env.get(prefix, key)) {
            found.push(Candidate { source: prefix, name: variable.name, raw: variable.value.map(Raw::Text) });
        }
    }
    if let Some(tree) = yaml {
        for path in row.yaml {
            if let Some(node) = look_up(tree, path) {
                found.push(Candidate { source: PREFIXES.len(), name: path, raw: Some(Raw::Node(node)) });
            }
        }
    }
    found.retain(|candidate| candidate.raw.is_none_or(|raw| !raw.is_blank()));
    found
}

/// The node at `path`, whose parts are separated by dots and may be in any letter case.
fn look_up<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(tree, |node, part| {
        node.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(part)).map(|(_, value)| value)
    })
}

fn read_row(
    row: &Row,
    config: &mut Config,
    env: &Environment<'_>,
    yaml: Option<&Value>,
    complaints: &mut Vec<Complaint>,
) {
    let candidates = candidates(row, env, yaml);
    let mut failed = Vec::new();
    let mut winner: Option<&Candidate<'_>> = None;
    for candidate in &candidates {
        if winner.is_some_and(|winner| !row.every || winner.source != candidate.source) {
            break;
        }
        let Some(raw) = candidate.raw else {
            failed.push((candidate, Problem::from("not valid UTF-8")));
            continue;
        };
        let mut given = Given::new(candidate.name, raw, winner.is_some());
        match (row.read)(config, &mut given) {
            Err(problem) => failed.push((candidate, problem)),
            Ok(()) => {
                winner = winner.or(Some(candidate));
                complaints.extend(given.into_notes().into_iter().map(|note| Complaint {
                    setting: candidate.name.to_owned(),
                    value: shown("", &note.element, false),
                    problem: note.problem,
                    instead: note.instead.to_owned(),
                }));
            }
        }
    }
    let default = default_text(row, config);
    if winner.is_none() && !default.is_empty() {
        let read = (row.read)(config, &mut Given::new("", Raw::Text(&default), false));
        debug_assert_eq!(read, Ok(()), "the default of {:?} is not valid", row.env);
    }
    complaints.extend(failed.into_iter().map(|(candidate, problem)| Complaint {
        setting: candidate.name.to_owned(),
        value: candidate.raw.map(|raw| show(candidate.name, raw, row.secret)).unwrap_or_default(),
        problem: problem.into_text(),
        instead: match winner {
            Some(winner) => winner.name.to_owned(),
            None if default.is_empty() => "nothing".to_owned(),
            None => format!("the default, {default}"),
        },
    }));
}

fn show(name: &str, raw: Raw<'_>, secret: bool) -> String {
    match raw {
        Raw::Text(text) => shown(name, text, secret),
        Raw::Node(Value::String(text)) => shown(name, text, secret),
        Raw::Node(node) => shown(name, &node.to_string(), secret),
    }
}

/// The default of `row` with the settings it mentions filled in.
pub(super) fn default_text(row: &Row, config: &Config) -> Cow<'static, str> {
    match row.default {
        "{compression_level}" => Cow::Owned(config.compression_level.to_string()),
        text if text.contains("{site}") => Cow::Owned(text.replace("{site}", &config.site)),
        text => Cow::Borrowed(text),
    }
}

/// What the rows start from: nothing. Where a row has no default this is it.
fn blank(lambda: LambdaEnv) -> Config {
    Config {
        lambda,
        api_key: None,
        api_key_indirect: None,
        site: String::new(),
        log_level: log::LevelFilter::Info,
        flush_timeout: Duration::ZERO,
        flush_strategy: FlushStrategy::Adaptive,
        env: None,
        service: None,
        version: None,
        tags: Vec::new(),
        local_test: false,
        compression_level: 0,
        metrics_url: String::new(),
        metrics_endpoints: Vec::new(),
        metrics_compression_level: 0,
        statsd_namespace: String::new(),
        statsd_namespace_blocklist: Vec::new(),
        statsd_blocklist: Vec::new(),
        dogstatsd_port: 0,
        dogstatsd_so_rcvbuf: None,
        dogstatsd_buffer_size: 0,
        dogstatsd_tags: Vec::new(),
        histogram_aggregates: Vec::new(),
        histogram_percentiles: Vec::new(),
        metrics_exclude_tags: Vec::new(),
        logs_enabled: false,
        logs_types: Vec::new(),
        logs_url: String::new(),
        logs_no_ssl: false,
        logs_opw: false,
        logs_opw_url: None,
        logs_endpoints: Vec::new(),
        logs_use_compression: false,
        logs_compression_level: 0,
        logs_rules: Vec::new(),
        apm_enabled: false,
        apm_port: 0,
        apm_url: String::new(),
        apm_endpoints: Vec::new(),
        apm_compression_level: 0,
        apm: Apm::default(),
    }
}
