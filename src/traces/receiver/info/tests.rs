//! The document as tracers read it.

use super::*;
use crate::config::apm::{Apm, RedisObfuscation};
use crate::traces::receiver::routes;
use libdd_trace_obfuscation::obfuscation_config::{CreditCardConfig, HttpConfig, MemcachedConfig, RedisConfig};
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// What the tracers' common library reads, with its types (libdd-data-pipeline): one that differs loses the whole.
#[derive(Deserialize)]
struct Read {
    version: Option<String>,
    endpoints: Option<Vec<String>>,
    client_drop_p0s: Option<bool>,
    span_meta_structs: Option<bool>,
    long_running_spans: Option<bool>,
    peer_tags: Option<Vec<String>>,
    span_kinds_stats_computed: Option<Vec<String>>,
    obfuscation_version: Option<u32>,
    filter_tags: Option<ReadFilters>,
    filter_tags_regex: Option<ReadFilters>,
    ignore_resources: Option<Vec<String>>,
    config: Option<ReadConfig>,
}

#[derive(Deserialize, Debug, PartialEq)]
struct ReadFilters {
    require: Vec<String>,
    reject: Vec<String>,
}

#[derive(Deserialize)]
struct ReadConfig {
    default_env: Option<String>,
    target_tps: Option<f64>,
    receiver_port: Option<i32>,
    max_request_bytes: Option<i64>,
    statsd_port: Option<i32>,
    obfuscation: ReadObfuscation,
}

#[derive(Deserialize)]
struct ReadObfuscation {
    elastic_search: bool,
    mongo: bool,
    sql_exec_plan: bool,
    sql_exec_plan_normalize: bool,
    remove_stack_traces: bool,
    http: HttpConfig,
    redis: RedisConfig,
    memcached: MemcachedConfig,
    credit_cards: CreditCardConfig,
}

/// And what it read before 2026.
#[derive(Deserialize, Debug, PartialEq)]
#[serde(rename_all = "PascalCase")]
struct OlderRedis {
    enabled: bool,
    remove_all_args: bool,
}

/// Where nothing is set, and the defaults of the table are of no matter.
fn config() -> Config {
    Config { apm: Apm::default(), ..Config::load(&[], None).0 }
}

fn read<T: serde::de::DeserializeOwned>(config: &Config) -> T {
    serde_json::from_str(&Info::new(config).document).unwrap()
}

#[test]
fn what_tracers_decide_by_it() {
    let mut config = Config { env: Some("prod".into()), dogstatsd_port: 8125, apm_port: 8126, ..config() };
    let info: Read = read(&config);
    // Spans are not dropped by the tracer, and stats not computed there, so that all of them are computed here.
    assert_eq!(info.client_drop_p0s, Some(false));
    // Python sends v0.5, or v0.4 for products that need meta_struct; Node and Java take v0.4 from the list.
    let endpoints = info.endpoints.unwrap();
    for path in ["/v0.3/traces", "/v0.4/traces", "/v0.5/traces", "/v0.6/stats"] {
        assert!(endpoints.iter().any(|endpoint| endpoint == path), "{path}");
    }
    // Nobody may choose what is not served.
    assert!(!endpoints.iter().any(|endpoint| endpoint.contains("v1.0")));
    // AppSec puts its events, Go its links and events where they get lost otherwise.
    assert_eq!((info.span_meta_structs, info.long_running_spans), (Some(true), Some(true)));
    assert_eq!(read::<Json>(&config)["span_events"], true);
    // Java and Go send their own metrics there.
    let settings = info.config.unwrap();
    assert_eq!((settings.statsd_port, settings.receiver_port), (Some(8125), Some(8126)));
    assert_eq!((settings.max_request_bytes, settings.default_env.as_deref()), (Some(52_428_800), Some("prod")));
    assert_eq!((settings.target_tps, info.version.as_deref()), (None, Some(crate::VERSION)));
    assert_eq!(
        (info.obfuscation_version, info.peer_tags, info.span_kinds_stats_computed),
        (Some(1), Some(vec![]), Some(vec![]))
    );
    assert_eq!((info.filter_tags, info.filter_tags_regex, info.ignore_resources), (None, None, None));

    let apm = &mut config.apm;
    apm.sampling.target_tps = Some(10.0);
    apm.stats.by_span_kind = true;
    apm.stats.peer_tags_aggregation = true;
    apm.stats.peer_tags = vec!["my.peer".into(), "db.name".into()];
    apm.ignore_resources = vec!["GET /health".into()];
    let filter = |key: &str, value: Option<&str>| TagFilter { key: key.into(), value: value.map(str::to_owned) };
    apm.filters.require = vec![filter("team", None), filter("env", Some("prod"))];
    apm.filters.regex_reject = vec![filter("http.url", Some("health\"z?"))];
    apm.obfuscation.sql.table_names = true;
    let info: Read = read(&config);
    assert_eq!(info.config.unwrap().target_tps, Some(10.0));
    assert_eq!(info.span_kinds_stats_computed.unwrap(), ["client", "consumer", "producer", "server"]);
    let peers = info.peer_tags.unwrap();
    assert!(peers.is_sorted() && peers.iter().filter(|tag| *tag == "db.name").count() == 1);
    assert!(peers.iter().any(|tag| tag == "my.peer") && peers.iter().any(|tag| tag == "_dd.base_service"));
    assert_eq!(info.ignore_resources.unwrap(), ["GET /health"]);
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    assert_eq!(info.filter_tags, Some(ReadFilters { require: texts(&["team", "env:prod"]), reject: vec![] }));
    assert_eq!(info.filter_tags_regex, Some(ReadFilters { require: vec![], reject: texts(&["http.url:health\"z?"]) }));
    assert_eq!(info.obfuscation_version, Some(1));
    config.apm.obfuscation.sql.keep_null = true;
    assert_eq!(read::<Read>(&config).obfuscation_version, Some(2));
}

#[test]
fn the_obfuscator_is_described_in_both_spellings() {
    let mut config = config();
    let o = &mut config.apm.obfuscation;
    o.redis = RedisObfuscation { enabled: true, remove_all_args: true };
    (o.memcached.enabled, o.memcached.keep_command) = (false, true);
    (o.credit_cards.enabled, o.credit_cards.luhn) = (true, true);
    o.credit_cards.keep_values = vec!["id".into()];
    (o.http.remove_query_string, o.http.remove_paths_with_digits) = (true, false);
    (o.elasticsearch.enabled, o.sql_exec_plan.enabled, o.remove_stack_traces) = (true, true, true);
    config.apm.replace = vec![ReplaceRule { name: "*".into(), pattern: "a\\d".into(), replacement: "\"b\"".into() }];
    let read_back = read::<Read>(&config).config.unwrap().obfuscation;
    assert_eq!(read_back.redis, RedisConfig { enabled: true, remove_all_args: true });
    assert_eq!(read_back.memcached, MemcachedConfig { enabled: false, keep_command: true });
    assert_eq!(read_back.http, HttpConfig { remove_query_string: true, remove_path_digits: false });
    let keep_values = ["id".to_owned()].into();
    assert_eq!(read_back.credit_cards, CreditCardConfig { enabled: true, luhn: true, keep_values });
    assert!(read_back.elastic_search && read_back.sql_exec_plan && read_back.remove_stack_traces);
    assert!(!read_back.mongo && !read_back.sql_exec_plan_normalize);
    let json: Json = read(&config);
    let obfuscation = &json["config"]["obfuscation"];
    let older = OlderRedis::deserialize(&obfuscation["redis"]).unwrap();
    assert_eq!(older, OlderRedis { enabled: true, remove_all_args: true });
    assert_eq!(obfuscation["tag_replace_rules"], json!([{"name": "*", "pattern": "a\\d", "repl": "\"b\""}]));
    assert_eq!(obfuscation["elasticsearch"], json!({"enabled": true, "keep_keys": []}));
}

#[test]
fn it_lists_what_is_served_and_nothing_deprecated() {
    let json: Json = read(&config());
    for path in json["endpoints"].as_array().unwrap() {
        let path = path.as_str().unwrap();
        assert!(routes::find(path).is_some() || passthrough::route(path).is_some(), "{path}");
    }
    let served = routes::ROUTES.iter().filter(|route| route.listed).map(|route| route.path);
    let proxy = config().apm.proxy;
    assert_eq!(json["endpoints"], served.chain(passthrough::listed(&proxy)).collect::<Json>());
    for path in ["/spans", "/services", "/v0.1/spans", "/v0.2/traces"] {
        assert!(!json["endpoints"].as_array().unwrap().contains(&json!(path)), "{path}");
    }
    for on in [false, true] {
        let mut config = config();
        (config.apm.proxy.evp_enabled, config.apm.proxy.openlineage_enabled) = (on, on);
        let json: Json = read(&config);
        for path in ["/evp_proxy/v2/", "/openlineage/api/v1/lineage"] {
            assert_eq!(json["endpoints"].as_array().unwrap().contains(&json!(path)), on, "{path}");
        }
        assert_eq!(json.get("evp_proxy_allowed_headers").is_some(), on);
    }
}

#[test]
fn the_state_is_the_hash_of_the_document() {
    assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let info = Info::new(&config());
    assert_eq!(info.state, sha256(info.document.as_bytes()));
    let other = Info::new(&Config { env: Some("prod".into()), ..config() });
    assert_ne!(info.state, other.state);
    assert!(other.document.len() < 4096, "{}", other.document.len());
}
