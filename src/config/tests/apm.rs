//! The settings of traces: what their values may look like, and what they are where nothing is set.

use super::super::apm::{
    Apm, CardObfuscation, JsonObfuscation, MemcachedObfuscation, Obfuscation, Proxy, RedisObfuscation, Sampling,
    SqlObfuscation, Stats,
};
use super::load;

fn apm(pairs: &[(&str, &str)], yaml: &str) -> Apm {
    load(pairs, yaml).0.apm
}

#[test]
fn the_defaults_are_those_of_the_go_agent() {
    let on = JsonObfuscation { enabled: true, ..JsonObfuscation::default() };
    let redis = RedisObfuscation { enabled: true, remove_all_args: false };
    let expected = Apm {
        obfuscation: Obfuscation {
            elasticsearch: on.clone(),
            opensearch: on.clone(),
            mongodb: on,
            memcached: MemcachedObfuscation { enabled: true, keep_command: false },
            redis,
            valkey: redis,
            credit_cards: CardObfuscation { enabled: true, ..CardObfuscation::default() },
            ..Obfuscation::default()
        },
        sampling: Sampling::default(),
        stats: Stats { by_span_kind: true, peer_tags_aggregation: true, ..Stats::default() },
        proxy: Proxy { evp_enabled: true, evp_max_payload: 10 << 20, openlineage_enabled: true, ..Proxy::default() },
        ..Apm::default()
    };
    assert_eq!(apm(&[], ""), expected);
}

#[test]
fn either_switch_turns_traces_off() {
    for (pairs, yaml, expected) in [
        (&[][..], "", true),
        (&[("DD_TRACE_ENABLED", "false")], "", false),
        (&[("DD_APM_ENABLED", "false"), ("DD_TRACE_ENABLED", "true")], "", false),
        (&[("DD_APM_ENABLED", "true"), ("DD_TRACE_ENABLED", "false")], "", false),
        (&[("DD_APM_ENABLED", "true")], "serverless:\n  trace_enabled: false\n", false),
        (&[("DD_TRACE_ENABLED", "true")], "serverless:\n  trace_enabled: false\n", true),
        (&[("DD_TRACE_ENABLED", "perhaps")], "", true),
    ] {
        assert_eq!(load(pairs, yaml).0.apm_enabled, expected, "{pairs:?} {yaml}");
    }
}

#[test]
fn ignored_resources() {
    let check = |value: &str, expected: &[&str]| {
        for name in ["DD_APM_IGNORE_RESOURCES", "DD_IGNORE_RESOURCE"] {
            assert_eq!(apm(&[(name, value)], "").ignore_resources, expected, "{value}");
        }
    };
    check("GET /health", &["GET /health"]);
    check("GET /health, (POST|PUT) /a b,", &["GET /health", "(POST|PUT) /a b"]);
    check(r#""^/\d{1,3}$","say ""hi""", c"#, &[r"^/\d{1,3}$", r#"say "hi""#, "c"]);
    check(r#"a "quoted" word"#, &[r#"a "quoted" word"#]);
    check(r#""a "lazy" quote",b"#, &[r#"a "lazy" quote"#, "b"]);
    check(r#""never closed,b"#, &["never closed,b"]);
    check("[A-Z]+ /[a-z]", &["[A-Z]+ /[a-z]"]);
    check(r#"["GET /a,b", "c"]"#, &["GET /a,b", "c"]);
    check(",, ,", &[]);
    let yaml = apm(&[], "apm_config:\n  ignore_resources: ['GET /a,b', c]\n");
    assert_eq!(yaml.ignore_resources, ["GET /a,b", "c"]);
}

#[test]
fn tag_filters() {
    type List = &'static [(&'static str, Option<&'static str>)];
    let check = |value: &str, yaml: &str, expected: List, complaints: usize| {
        for (env, path) in [
            ("REQUIRE", ["filter_tags", "require"]),
            ("REJECT", ["filter_tags", "reject"]),
            ("REGEX_REQUIRE", ["filter_tags_regex", "require"]),
            ("REGEX_REJECT", ["filter_tags_regex", "reject"]),
        ] {
            let name = format!("DD_APM_FILTER_TAGS_{env}");
            let yaml = format!("apm_config:\n  {}:\n    {}: {yaml}\n", path[0], path[1]);
            let (c, said) = if value.is_empty() { load(&[], &yaml) } else { load(&[(&name, value)], "") };
            let filters = c.apm.filters;
            let lists = [filters.require, filters.reject, filters.regex_require, filters.regex_reject].concat();
            let got: Vec<_> = lists.iter().map(|tag| (tag.key.as_str(), tag.value.as_deref())).collect();
            assert_eq!((&got[..], said.len()), (expected, complaints), "{name}={value} {said:?}");
            assert!(said.iter().all(|line| line.contains(&name)), "{said:?}");
        }
    };
    check("env:prod", "", &[("env", Some("prod"))], 0);
    check("env", "", &[("env", None)], 0);
    check("env: db:", "", &[("env", None), ("db", None)], 0);
    check("http.url:https://a:80/b  env:x", "", &[("http.url", Some("https://a:80/b")), ("env", Some("x"))], 0);
    check("http.route:^/a{1,3}$ b", "", &[("http.route", Some("^/a{1,3}$")), ("b", None)], 0);
    check(r#"["resource:GET /a b", "env"]"#, "", &[("resource", Some("GET /a b")), ("env", None)], 0);
    check("env :x", "", &[("env", None)], 1);
    check("", "['resource: GET /a b', env]", &[("resource", Some("GET /a b")), ("env", None)], 0);
    check("", "env:prod team", &[("env", Some("prod")), ("team", None)], 0);
}

#[test]
fn replace_rules() {
    let value = r#"[
        {"name": "http.url", "pattern": " token=(\\w+)", "repl": "$1 "},
        {"name": "*", "pattern": "x"},
        {"name": "resource.name", "pattern": "\\d", "repl": 0},
        {"pattern": "x"}, {"name": "bare"}, {"name": "n", "pattern": ""}, 7
    ]"#;
    let (c, said) = load(&[("DD_APM_REPLACE_TAGS", value)], "");
    let rules: Vec<_> = c.apm.replace.iter().map(|r| [&*r.name, &*r.pattern, &*r.replacement]).collect();
    assert_eq!(rules, [["http.url", r" token=(\w+)", "$1 "], ["*", "x", ""], ["resource.name", r"\d", "0"]]);
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said[0].starts_with(r#"DD_APM_REPLACE_TAGS="rule 4": it has no name"#), "{said:?}");
    assert!(said[1].contains(r#"rule 5": it has no pattern (its name is "bare"); using the rest"#), "{said:?}");
    let yaml = "apm_config:\n  replace_tags:\n  - name: a\n    pattern: ' x: y'\n    repl: 1\n";
    let rule = apm(&[], yaml).replace.remove(0);
    assert_eq!((rule.pattern.as_str(), rule.replacement.as_str()), (" x: y", "1"));
}

#[test]
fn features_and_settings_of_sql() {
    let sql = |pairs: &[(&str, &str)], yaml: &str| apm(pairs, yaml).obfuscation.sql;
    let all = SqlObfuscation {
        table_names: true,
        replace_digits: true,
        keep_sql_alias: true,
        dollar_quoted_func: true,
        ..SqlObfuscation::default()
    };
    let features = |value| ("DD_APM_FEATURES", value);
    assert_eq!(sql(&[features("table_names,quantize_sql_tables,keep_sql_alias,dollar_quoted_func,sqllexer")], ""), all);
    let digits = SqlObfuscation { replace_digits: true, ..SqlObfuscation::default() };
    assert_eq!(sql(&[features("replace_sql_digits sql_cache")], ""), digits);
    assert_eq!(sql(&[], "apm_config:\n  features: [quantize_sql_tables]\n"), digits);
    // A setting of its own decides.
    let off = ("DD_APM_OBFUSCATION_SQL_REPLACE_DIGITS", "false");
    assert_eq!(sql(&[features("quantize_sql_tables"), off], ""), SqlObfuscation::default());
}

#[test]
fn lists_and_numbers() {
    let keep = |name: &str, value: &str| {
        let o = apm(&[(&format!("DD_APM_OBFUSCATION_{name}_KEEP_VALUES"), value)], "").obfuscation;
        [o.elasticsearch.keep_values, o.mongodb.keep_values, o.credit_cards.keep_values].concat()
    };
    for name in ["ELASTICSEARCH", "MONGODB", "CREDIT_CARDS"] {
        for value in ["a b", r#"["a", "b"]"#, "a,b"] {
            assert_eq!(keep(name, value), ["a", "b"], "{name} {value}");
        }
    }
    assert_eq!(apm(&[("DD_APM_PEER_TAGS", r#"["a", "b"]"#)], "").stats.peer_tags, ["a", "b"]);
    let sampling = apm(&[("DD_APM_MAX_TPS", "0.5"), ("DD_APM_ERROR_TPS", "0")], "").sampling;
    assert_eq!((sampling.target_tps, sampling.error_tps), (Some(0.5), Some(0.0)));
    let both = [("DD_APM_MAX_TPS", "1"), ("DD_APM_TARGET_TPS", "2")];
    assert_eq!(apm(&both, "").sampling.target_tps, Some(2.0));
    let yaml = "apm_config:\n  probabilistic_sampler: {enabled: true, sampling_percentage: 33.3, hash_seed: 22}\n";
    let sampler = apm(&[], yaml).sampling.probabilistic;
    assert_eq!((sampler.enabled, sampler.percentage, sampler.seed), (true, 33.3, 22));
    let said = load(&[("DD_APM_PROBABILISTIC_SAMPLER_SAMPLING_PERCENTAGE", "101")], "").1;
    let name = "DD_APM_PROBABILISTIC_SAMPLER_SAMPLING_PERCENTAGE";
    assert_eq!(said, [format!(r#"{name}="101": not a number from 0 to 100; using the default, 0"#)]);
}

#[test]
fn where_proxied_requests_go() {
    let yaml = "apm_config:\n  profiling_dd_url: https://p/api/v2/profile\n  profiling_additional_endpoints: {https://q/x: [k]}\n  \
                telemetry: {dd_url: https://t/}\nevp_proxy_config: {enabled: false, dd_url: EU.example, \
                max_payload_size: 1000}\nol_proxy_config: {dd_url: 'http://l/x'}\n";
    let (c, said) = load(&[], yaml);
    let proxy = c.apm.proxy;
    assert!(said.is_empty(), "{said:?}");
    assert_eq!(proxy.profiling_url.as_deref(), Some("https://p/api/v2/profile"));
    assert_eq!(proxy.profiling_endpoints.iter().map(|e| e.url.as_str()).collect::<Vec<_>>(), ["https://q/x"]);
    assert_eq!(proxy.telemetry_url.as_deref(), Some("https://t"));
    assert_eq!((proxy.evp_enabled, proxy.evp_url.as_deref(), proxy.evp_max_payload), (false, Some("eu.example"), 1000));
    assert_eq!(proxy.openlineage_url.as_deref(), Some("http://l/x"));
}
