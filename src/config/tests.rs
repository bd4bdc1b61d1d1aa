//! Every row of the table through every source, and the rules between rows.

mod apm;

use std::ffi::OsString;
use std::time::Duration;

use proptest::prelude::*;

use super::table::{Row, rows};
use super::*;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn env(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn load(pairs: &[(&str, &str)], yaml: &str) -> (Config, Vec<String>) {
    let (config, complaints) = Config::load(&env(pairs), Some(yaml).filter(|y| !y.is_empty()));
    (config, complaints.iter().map(ToString::to_string).collect())
}

fn show(config: &Config) -> String {
    format!("{config:?}")
}

/// A value for each kind of row that differs from its default, another one, and a bad one (none where all are good).
fn samples(row: &Row) -> (&'static str, &'static str, Option<&'static str>) {
    match row.form {
        "true or false" if row.default == "true" => return ("false", "true", Some("2")),
        "true or false" => return ("true", "false", Some("perhaps")),
        "a port" => return ("9125", "9126", Some("70000")),
        form if form.starts_with("https://host[:port]") && !row.env[0].contains("WORKER") => {
            return ("http://127.0.0.1:8080/", "proxy.example:443", Some("ftp://x"));
        }
        form if form.starts_with("a host, or") => return ("a.example", "http://127.0.0.1:8080", Some("a b")),
        form if form.starts_with("JSON: {") => {
            return (
                r#"{"https://a.example": ["0123456789abcdef0123456789abcdef"]}"#,
                r#"{"https://b.example": ["0123456789abcdef0123456789abcdef"]}"#,
                Some(r#"{"https://a.example": ["0123456789abcdef0123456789abcdef""#),
            );
        }
        form if form.starts_with("a number") || form.contains(" to 100") => return ("12.5", "90", Some("-1")),
        form if form.starts_with("key or key:value") => return ("env:dev", "url:http://x", Some(":dev")),
        _ => {}
    }
    match row.env[0] {
        "API_KEY" => (KEY, "fedcba98fedcba98fedcba98fedcba98", Some("kéy0123456789abcdef0123456789abcdef")),
        "SITE" => ("datadoghq.eu", "us5.datadoghq.com", Some("https://datadoghq.eu")),
        "LOG_LEVEL" => ("debug", "warn", Some("loud")),
        "FLUSH_TIMEOUT" => ("5", "2.5", Some("-1")),
        "SERVERLESS_FLUSH_STRATEGY" => ("end", "periodically,500", Some("sometimes")),
        "TAGS" | "EXTRA_TAGS" => ("team:a", "team:b", None),
        "OBSERVABILITY_PIPELINES_WORKER_LOGS_URL" => ("http://opw:8383/v1", "https://opw", Some("//")),
        "LOGS_CONFIG_ADDITIONAL_ENDPOINTS" => (
            r#"[{"api_key": "0123456789abcdef0123456789abcdef", "Host": "a.example", "Port": 443, "is_reliable": true}]"#,
            r#"[{"api_key": "0123456789abcdef0123456789abcdef", "Host": "b.example", "Port": 443, "is_reliable": true}]"#,
            Some(r#""0123456789abcdef0123456789abcdef""#),
        ),
        "LOGS_CONFIG_PROCESSING_RULES" => (
            r#"[{"type": "exclude_at_match", "name": "a", "pattern": "x"}]"#,
            r#"[{"type": "exclude_at_match", "name": "b", "pattern": "x"}]"#,
            Some("exclude everything"),
        ),
        "APM_REPLACE_TAGS" => (
            r#"[{"name": "a", "pattern": "x", "repl": "?"}]"#,
            r#"[{"name": "b", "pattern": "x"}]"#,
            Some("replace everything"),
        ),
        "STATSD_METRIC_NAMESPACE" => ("app", "web.", Some("1st")),
        "DOGSTATSD_SO_RCVBUF" => ("65536", "131072", Some("lots")),
        "DOGSTATSD_BUFFER_SIZE" | "EVP_PROXY_CONFIG_MAX_PAYLOAD_SIZE" => ("1024", "2048", Some("0")),
        "APM_PROBABILISTIC_SAMPLER_HASH_SEED" => ("22", "4294967295", Some("4294967296")),
        "APM_FEATURES" => ("table_names", "keep_sql_alias", None),
        "HISTOGRAM_AGGREGATES" => ("min", "sum", Some("mean")),
        "HISTOGRAM_PERCENTILES" => ("0.5", "0.99", Some("95")),
        "LOGS_CONFIG_LAMBDA_LOGS_TYPE" => ("function", "extension", Some("runtime")),
        name if name.ends_with("COMPRESSION_LEVEL") => ("3", "6", Some("best")),
        // Free text and lists of names.
        _ => ("one", "two", None),
    }
}

/// `value` at `path`, as a block of `datadog.yaml`.
fn yaml_at(path: &str, value: &str) -> String {
    let mut out = String::new();
    let mut parts = path.split('.').enumerate().peekable();
    while let Some((depth, part)) = parts.next() {
        out.push_str(&format!("{}{part}:{}", "  ".repeat(depth), if parts.peek().is_some() { "\n" } else { "" }));
    }
    out.push_str(&format!(" '{value}'\n"));
    out
}

#[test]
fn every_row_reads_every_name_and_path_with_env_over_yaml_over_default() {
    let default = show(&load(&[], "").0);
    for row in rows() {
        let (value, other, _) = samples(row);
        let dd = format!("DD_{}", row.env[0]);
        // Where the key is kept is told by name, so there every name is a value of its own.
        let by_name = row.env.contains(&"API_KEY_SECRET_ARN");
        let (expected, complaints) = load(&[(&dd, value)], "");
        let expected = show(&expected);
        assert_ne!(expected, default, "{dd}");
        assert!(complaints.is_empty() || row.env[0].ends_with("LOGS_ENABLED"), "{dd}: {complaints:?}");
        for key in row.env {
            for name in [format!("DD_{key}"), format!("dd_{}", key.to_lowercase()), format!("DATADOG_{key}")] {
                let read = show(&load(&[(&name, value)], "").0);
                assert!(read == expected || (by_name && read.contains(&name)), "{name}");
                let read = show(&load(&[(&name, &format!(" \"{}\" ", value.replace('"', "\\\"")))], "").0);
                assert!(
                    read == expected || (by_name && read.contains(&name)) || value.starts_with("[{"),
                    "{name} quoted"
                );
                assert_eq!(show(&load(&[(&name, "  ")], "").0), default, "{name}: blank is not set");
            }
        }
        for path in row.yaml {
            let read = show(&load(&[], &yaml_at(path, value)).0);
            assert!(read == expected || (by_name && read.contains(path)), "{path}");
            if !by_name {
                assert_eq!(show(&load(&[(&dd, value)], &yaml_at(path, other)).0), expected, "{dd} over {path}");
            }
            assert_eq!(show(&load(&[], &yaml_at(path, "")).0), default, "{path}: blank is not set");
        }
        if !by_name {
            let datadog = format!("DATADOG_{}", row.env[0]);
            assert_eq!(show(&load(&[(&datadog, other), (&dd, value)], "").0), expected, "{dd} over {datadog}");
        }
    }
}

#[test]
fn a_bad_value_complains_once_and_costs_itself_alone() {
    let default = show(&load(&[], "").0);
    for row in rows() {
        let (good, _, bad) = samples(row);
        let Some(bad) = bad else { continue };
        let dd = format!("DD_{}", row.env[0]);
        let (config, complaints) = load(&[(&dd, bad)], "");
        assert_eq!(show(&config), default, "{dd}");
        assert_eq!(complaints.len(), 1, "{dd}: {complaints:?}");
        assert!(complaints[0].starts_with(&dd) && complaints[0].contains("; using "), "{complaints:?}");
        assert!(!complaints[0].contains("0123456789abcdef"), "{complaints:?}");
        assert!(!row.secret || complaints[0].contains("***"), "{complaints:?}");
        let (config, complaints) = load(&[], &yaml_at(row.yaml[0], bad));
        assert_eq!(show(&config), default, "{dd}");
        assert!(complaints.len() == 1 && complaints[0].starts_with(row.yaml[0]), "{complaints:?}");
        // What is good in a source below is used, and said.
        let (config, complaints) = load(&[(&dd, bad)], &yaml_at(row.yaml[0], good));
        let (expected, _) = load(&[(&dd, good)], "");
        assert_eq!(show(&config), show(&expected), "{dd}");
        assert!(complaints.iter().any(|c| c.ends_with(&format!("; using {}", row.yaml[0]))), "{complaints:?}");
    }
}

#[test]
fn every_default_is_valid_and_documented() {
    let (config, complaints) = load(&[], "");
    assert!(complaints.is_empty(), "{complaints:?}");
    for row in rows() {
        if !row.default.is_empty() {
            let default = load::default_text(row, &config);
            let (read, complaints) = load(&[(&format!("DD_{}", row.env[0]), &default)], "");
            assert!(complaints.is_empty(), "{complaints:?}");
            assert_eq!(show(&read), show(&config));
        }
        assert!(!row.form.is_empty() && row.doc.ends_with('.') && !row.yaml.is_empty(), "{:?}", row.env);
        assert!(row.env.iter().all(|name| reference().contains(&format!("`DD_{name}`"))));
    }
    let mut names: Vec<_> = rows().flat_map(|row| row.env.iter().chain(row.yaml)).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name belongs to one row");
}

#[test]
fn the_defaults() {
    let c = load(&[], "").0;
    assert_eq!((c.api_key, c.api_key_indirect), (None, None));
    assert_eq!((c.site.as_str(), c.log_level), ("datadoghq.com", log::LevelFilter::Info));
    assert_eq!((c.flush_timeout, c.flush_strategy), (Duration::from_secs(30), FlushStrategy::Adaptive));
    assert_eq!((c.env, c.service, c.version, c.tags), (None, None, None, vec![]));
    assert_eq!(c.metrics_url, "https://api.datadoghq.com");
    assert_eq!(c.logs_url, "https://http-intake.logs.datadoghq.com");
    assert_eq!(c.apm_url, "https://trace.agent.datadoghq.com");
    assert_eq!((c.metrics_compression_level, c.logs_compression_level, c.apm_compression_level), (1, 1, 1));
    assert_eq!(
        (c.dogstatsd_port, c.dogstatsd_buffer_size, c.dogstatsd_so_rcvbuf, c.apm_port),
        (8125, 8192, None, 8126)
    );
    assert_eq!((c.statsd_namespace.as_str(), c.statsd_namespace_blocklist.len()), ("", 21));
    assert_eq!(c.statsd_blocklist, ["aws.lambda.enhanced.invocations"]);
    assert_eq!(c.histogram_aggregates, ["max", "median", "avg", "count"]);
    assert_eq!(c.histogram_percentiles, [95]);
    assert_eq!(c.logs_types, ["platform", "function", "extension"]);
    assert!(c.logs_enabled && c.logs_use_compression && c.apm_enabled);
    assert!(!c.local_test && !c.logs_opw);
    assert!(c.metrics_exclude_tags.is_empty() && c.dogstatsd_tags.is_empty() && c.logs_rules.is_empty());
    assert!(c.metrics_endpoints.is_empty() && c.logs_endpoints.is_empty() && c.apm_endpoints.is_empty());
    let lambda = LambdaEnv { region: "us-east-1".into(), task_root: "/var/task".into(), ..LambdaEnv::default() };
    assert_eq!(c.lambda, lambda);
}

#[test]
fn logs_are_on_if_either_variable_of_a_source_says_so() {
    let check = |serverless: &str, logs: &str, yaml: &str, expected: bool| {
        let env = [("DD_SERVERLESS_LOGS_ENABLED", serverless), ("DD_LOGS_ENABLED", logs)];
        assert_eq!(load(&env, yaml).0.logs_enabled, expected, "{serverless} {logs} {yaml}");
    };
    check("", "", "", true);
    check("", "false", "", false);
    check("false", "", "", false);
    check("", "true", "", true);
    check("false", "true", "", true);
    check("true", "false", "", true);
    check("false", "false", "", false);
    check("", "", "logs_enabled: false", false);
    check("", "", "serverless: {logs_enabled: false}", false);
    check("", "", "logs_enabled: false\nserverless_logs_enabled: true", true);
    check("", "true", "logs_enabled: false", true);
    check("false", "", "logs_enabled: true", false);
    check("nonsense", "false", "", false);
    check("nonsense", "", "logs_enabled: false", false);
}

#[test]
fn tags_from_text_and_yaml() {
    let check = |env: &[(&str, &str)], yaml: &str, expected: &[(&str, &str)], complaints: usize| {
        let (config, said) = load(env, yaml);
        let tags: Vec<_> = config.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(tags, expected, "{env:?} {yaml:?}");
        assert_eq!(said.len(), complaints, "{said:?}");
    };
    let tags = |value: &'static str| [("DD_TAGS", value)];
    check(&tags("a:1,b:2"), "", &[("a", "1"), ("b", "2")], 0);
    check(&tags("a:1 b:2,  c:3,"), "", &[("a", "1"), ("b", "2"), ("c", "3")], 0);
    check(&tags("url:https://x.y:80/z"), "", &[("url", "https://x.y:80/z")], 0);
    check(&tags("Team:Core"), "", &[("Team", "Core")], 0);
    check(&tags("a:1,b:2,a:3"), "", &[("a", "3"), ("b", "2")], 0);
    check(&tags("novalue:,:nokey,bare,a:1"), "", &[("a", "1")], 3);
    check(&tags("123"), "", &[], 1);
    check(&tags("[a:b, c:d]"), "", &[("a", "b"), ("c", "d")], 0);
    check(&tags(r#"["a:b","c:d e"]"#), "", &[("a", "b"), ("c", "d e")], 0);
    check(&[("DD_TAGS", "a:1"), ("DD_EXTRA_TAGS", "b:2 a:3")], "", &[("a", "3"), ("b", "2")], 0);
    check(&[("DD_EXTRA_TAGS", "b:2")], "tags: [a:1]", &[("a", "1"), ("b", "2")], 0);
    check(&[], "tags:\n- a:1\n- t:my team\n- b: 2\n", &[("a", "1"), ("t", "my team"), ("b", "2")], 0);
    check(&[], "tags: {a: 1, b: x}", &[("a", "1"), ("b", "x")], 0);
    check(&[], "tags: a:1 b:2", &[("a", "1"), ("b", "2")], 0);
    check(&[], "tags: [a:1, [x], '']", &[("a", "1")], 2);
    check(&tags("a:1"), "tags: [b:2]", &[("a", "1")], 0);
}

#[test]
fn unified_service_tags_take_numbers() {
    for (value, expected) in
        [("42", "42"), ("1.0", "1.0"), ("\"v1\"", "v1"), (" My-Service ", "My-Service"), ("true", "true")]
    {
        for name in ["DD_ENV", "DD_SERVICE", "DD_VERSION"] {
            let config = load(&[(name, value)], "").0;
            assert_eq!(config.env.or(config.service).or(config.version).as_deref(), Some(expected), "{name}");
        }
    }
    assert_eq!(load(&[], "version: 1.10").0.version.as_deref(), Some("1.10"));
    assert_eq!(load(&[("DD_ENV", "")], "env: prod").0.env.as_deref(), Some("prod"));
}

#[test]
fn the_key_and_where_it_is_kept() {
    for value in [KEY.to_owned(), format!("{KEY}\n"), format!(" {} {}\t", &KEY[..9], &KEY[9..]), format!("'{KEY}'")] {
        let config = load(&[("DD_API_KEY", &value)], "").0;
        assert_eq!(config.api_key.unwrap().expose(), KEY);
    }
    assert_eq!(load(&[("DD_API_KEY", " \n")], "").0.api_key, None);
    for name in ["ORG_UUID", "KMS_API_KEY", "API_KEY_SECRET_ARN", "API_KEY_SSM_ARN", "API_KEY_KMS_ENCRYPTED"] {
        let name = format!("DD_{name}");
        assert_eq!(load(&[(&name, "x")], "").0.api_key_indirect, Some(name));
    }
    let both = load(&[("DD_API_KEY_SSM_ARN", "x"), ("DD_API_KEY_SECRET_ARN", "y")], "").0;
    assert_eq!(both.api_key_indirect.as_deref(), Some("DD_API_KEY_SECRET_ARN"));
}

#[test]
fn compression_levels_fall_back_to_the_common_one() {
    let levels = |env: &[(&str, &str)], yaml: &str| {
        let c = load(env, yaml).0;
        (c.metrics_compression_level, c.logs_compression_level, c.apm_compression_level)
    };
    let common = ("DD_COMPRESSION_LEVEL", "4");
    assert_eq!(levels(&[common], ""), (4, 4, 4));
    assert_eq!(levels(&[common, ("DD_LOGS_CONFIG_COMPRESSION_LEVEL", "2")], ""), (4, 2, 4));
    assert_eq!(levels(&[common], "apm_config: {compression_level: 7}"), (4, 4, 7));
    assert_eq!(levels(&[common, ("DD_METRICS_CONFIG_COMPRESSION_LEVEL", "x")], ""), (4, 4, 4));
    let (config, said) = load(&[("DD_COMPRESSION_LEVEL", "19")], "");
    assert_eq!((config.logs_compression_level, said.len()), (9, 1));
    assert!(said[0].ends_with("; using 9"), "{said:?}");
}

#[test]
fn urls_of_intakes() {
    let logs = |env: &[(&str, &str)]| load(env, "").0.logs_url;
    let url = |value: &'static str| ("DD_LOGS_CONFIG_LOGS_DD_URL", value);
    let no_ssl = ("DD_LOGS_CONFIG_LOGS_NO_SSL", "true");
    assert_eq!(logs(&[("DD_SITE", "DatadogHQ.eu")]), "https://http-intake.logs.datadoghq.eu");
    assert_eq!(logs(&[url("intake.example:443")]), "https://intake.example:443");
    assert_eq!(logs(&[url("intake.example:80"), no_ssl]), "http://intake.example:80");
    assert_eq!(logs(&[url("https://intake.example"), no_ssl]), "https://intake.example");
    assert_eq!(logs(&[url("https://intake.example/api/v2/logs/")]), "https://intake.example");
    assert_eq!(logs(&[no_ssl]), "https://http-intake.logs.datadoghq.com");
    let metrics = |env: &[(&str, &str)]| load(env, "").0.metrics_url;
    assert_eq!(metrics(&[("DD_DD_URL", "https://a"), ("DD_URL", "https://b")]), "https://a");
    assert_eq!(metrics(&[("DD_URL", "https://b//")]), "https://b");
    assert_eq!(metrics(&[("DD_DD_URL", "a b"), ("DD_URL", "https://b")]), "https://b");
    let said = load(&[("DD_DD_URL", "https://user:pw@host")], "").1;
    assert!(said[0].contains("***") && !said[0].contains("pw"), "{said:?}");
}

#[test]
fn an_observability_pipelines_worker_takes_the_logs() {
    const ON: (&str, &str) = ("DD_OBSERVABILITY_PIPELINES_WORKER_LOGS_ENABLED", "true");
    const URL: &str = "DD_OBSERVABILITY_PIPELINES_WORKER_LOGS_URL";
    let (c, said) = load(&[ON, (URL, "opw/?a=b")], "");
    assert!(!c.logs_enabled && said.len() == 2, "{said:?}");
    let c = load(&[ON, (URL, "http://opw:8383/v1/")], "").0;
    assert!(c.logs_opw && c.logs_enabled);
    assert_eq!(c.logs_url, "http://opw:8383/v1/");
    let c = load(&[(URL, "http://opw:8383")], "").0;
    assert_eq!(c.logs_url, "https://http-intake.logs.datadoghq.com");
    let (c, said) = load(&[ON], "");
    assert!(!c.logs_enabled && said.len() == 1 && said[0].contains("logs are not sent"), "{said:?}");
}

#[test]
fn lists_of_names() {
    let exclude = |value: &str| load(&[("DD_LAMBDA_CUSTOMER_METRICS_EXCLUDE_TAGS", value)], "").0.metrics_exclude_tags;
    assert_eq!(exclude("a,b"), ["a", "b"]);
    assert_eq!(exclude(" a , b c "), ["a", "b", "c"]);
    assert_eq!(exclude(r#"["a", "b"]"#), ["a", "b"]);
    assert_eq!(exclude("[a, 'b']"), ["a", "b"]);
    assert_eq!(exclude("\"a\",\"b\""), ["a", "b"]);
    assert_eq!(load(&[], "statsd_metric_blocklist: [a, b]").0.statsd_blocklist.len(), 3);
    let (c, said) = load(&[("DD_HISTOGRAM_AGGREGATES", "MAX mean min")], "");
    assert_eq!((c.histogram_aggregates, said.len()), (vec!["max".to_owned(), "min".to_owned()], 1));
    assert_eq!(load(&[], "histogram_percentiles: ['0.29', 0.5]").0.histogram_percentiles, [29, 50]);
    for (name, value) in [
        ("DD_HISTOGRAM_AGGREGATES", "max,min,MAX"),
        ("DD_HISTOGRAM_PERCENTILES", "0.5 0.50,0.99"),
        ("DD_LOGS_CONFIG_LAMBDA_LOGS_TYPE", "function platform Function"),
    ] {
        let (c, said) = load(&[(name, value)], "");
        assert!(said.is_empty(), "{said:?}");
        let lengths = (c.histogram_aggregates.len(), c.histogram_percentiles.len(), c.logs_types.len());
        assert!([(2, 1, 3), (4, 2, 3), (4, 1, 2)].contains(&lengths), "{name}: {lengths:?}");
    }
}

#[test]
fn additional_endpoints() {
    let check = |name: &str, value: &str, expected: &[&str], complaints: usize| {
        let (c, said) = load(&[(name, value)], "");
        let all = [c.metrics_endpoints, c.logs_endpoints, c.apm_endpoints].concat();
        let urls: Vec<_> = all.iter().map(|e| format!("{} {}", e.url, e.api_key.expose())).collect();
        assert_eq!(urls, expected, "{value}");
        assert_eq!(said.len(), complaints, "{said:?}");
        assert!(said.iter().all(|s| !s.contains("k1") && !s.contains("k2") && !s.contains("***")), "{said:?}");
    };
    for name in ["DD_ADDITIONAL_ENDPOINTS", "DD_APM_ADDITIONAL_ENDPOINTS"] {
        check(
            name,
            r#"{"https://a/": ["k1", "k2"], "b:81": "k1"}"#,
            &["https://b:81 k1", "https://a k1", "https://a k2"],
            0,
        );
        check(name, r#"{"https://a": ["k1", "", {}], "ftp://k2": ["k1"]}"#, &["https://a k1"], 3);
        check(name, r#"{"https://a": []}"#, &[], 0);
        check(name, r#""{\"https://a\": [\"k1\"]}""#, &["https://a k1"], 0);
        check(name, r#"{"": "k1"}"#, &[], 1);
    }
    let logs = "DD_LOGS_CONFIG_ADDITIONAL_ENDPOINTS";
    check(logs, r#"[{"api_key":"k1","Host":"a","Port":443,"is_reliable":true}]"#, &["https://a:443 k1"], 0);
    check(
        logs,
        r#"[{"API_KEY":"k1","host":"a","port":"443"}, {"api_key":"k2","Host":"http://b"}]"#,
        &["https://a:443 k1", "http://b k2"],
        0,
    );
    check(
        logs,
        r#"[{"api_key":"k1"}, 7, {"Host":"b"}, {"api_key":"k2","Host":"b","Port":99999}, {"api_key":"k2","Host":"c"}]"#,
        &["https://c k2"],
        4,
    );
    let yaml = "additional_endpoints:\n  https://a:\n  - k1\nlogs_config:\n  additional_endpoints:\n  - api_key: k2\n    Host: b\n    Port: 444\n";
    let c = load(&[], yaml).0;
    assert_eq!((c.metrics_endpoints[0].url.as_str(), c.logs_endpoints[0].url.as_str()), ("https://a", "https://b:444"));
}

#[test]
fn processing_rules() {
    let value = r#"[
        {"type": "exclude_at_match", "name": "no start", "pattern": "^START"},
        {"type": "multi_line", "name": "m", "pattern": "x"},
        {"type": "mask_sequences", "name": "cards", "pattern": "\\d+", "replace_placeholder": "[$0]"},
        {"type": "include_at_match", "pattern": "x"},
        {"type": "exclude_at_match", "name": "empty"},
        "text"
    ]"#;
    let (c, said) = load(&[("DD_LOGS_CONFIG_PROCESSING_RULES", value)], "");
    let rules: Vec<_> =
        c.logs_rules.iter().map(|r| (r.kind, r.name.as_str(), r.pattern.as_str(), r.placeholder.as_str())).collect();
    let expected = [
        (RuleKind::ExcludeAtMatch, "no start", "^START", ""),
        (RuleKind::MaskSequences, "cards", "\\d+", "[$0]"),
        (RuleKind::IncludeAtMatch, "rule 4", "x", ""),
    ];
    assert_eq!(rules, expected);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].contains("rule 2") && said[0].contains("multi_line"), "{said:?}");
    let yaml = "logs_config:\n  processing_rules:\n  - type: mask_sequences\n    name: n\n    pattern: ' a: b'\n    replace_placeholder: 1\n";
    let rule = load(&[], yaml).0.logs_rules.remove(0);
    assert_eq!((rule.pattern.as_str(), rule.placeholder.as_str()), (" a: b", "1"));
}

#[test]
fn a_broken_yaml_costs_the_yaml_alone() {
    let (config, said) = load(&[("DD_SITE", "datadoghq.eu")], "env: prod\n  bad: x: y\n");
    assert_eq!((config.site.as_str(), config.env), ("datadoghq.eu", None));
    assert!(said.len() == 1 && said[0].starts_with("datadog.yaml: line 2, column "), "{said:?}");
    assert!(said[0].ends_with("; using the environment alone"), "{said:?}");
    let (_, said) = load(&[], "site: [a]\nlogs_config: 5\n");
    assert_eq!(
        said,
        [r#"site="[\"a\"]": a list or a mapping where a single value belongs; using the default, datadoghq.com"#]
    );
}

#[test]
fn what_lambda_says() {
    let lambda = |pairs: &[(&str, &str)]| Config::load(&env(pairs), None).0.lambda;
    assert_eq!(lambda(&[("AWS_DEFAULT_REGION", "a"), ("AWS_REGION", "b")]).region, "b");
    assert_eq!(lambda(&[("AWS_DEFAULT_REGION", "a")]).region, "a");
    let full = lambda(&[
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
        ("AWS_LAMBDA_FUNCTION_NAME", "Fn"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "7"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.12"),
        ("_AWS_XRAY_DAEMON_ADDRESS", "169.254.79.129:2000"),
        ("LAMBDA_TASK_ROOT", "/code"),
    ]);
    let expected = LambdaEnv {
        runtime_api: "127.0.0.1:9001".into(),
        region: "us-east-1".into(),
        function_name: "Fn".into(),
        function_version: "7".into(),
        memory_size: "128".into(),
        initialization_type: "on-demand".into(),
        execution_env: "AWS_Lambda_python3.12".into(),
        xray_daemon: "169.254.79.129:2000".into(),
        task_root: "/code".into(),
    };
    assert_eq!(full, expected);
    assert_eq!(yaml_path(&env(&[])), "/var/task/datadog.yaml");
    assert_eq!(yaml_path(&env(&[("LAMBDA_TASK_ROOT", "/code/")])), "/code/datadog.yaml");
}

#[test]
fn buffers_shrink_with_the_function() {
    for (memory, expected) in
        [("", 1000), ("many", 1000), ("128", 1000), (" 1 ", 512), ("0", 0), ("18446744073709551615", 1000)]
    {
        let lambda = LambdaEnv { memory_size: memory.to_owned(), ..LambdaEnv::default() };
        assert_eq!(lambda.share(1000, 2048), expected, "{memory}");
    }
}

#[test]
fn the_debug_print_hides_what_may_be_secret() {
    let commit = "a".repeat(40);
    let lines = debug_environment(&env(&[
        ("PATH", "/bin"),
        ("DD_SITE", "datadoghq.eu"),
        ("DD_API_KEY", KEY),
        ("dd_api_key", KEY),
        ("DATADOG_APP_KEY", "x"),
        ("DD_API_KEY_SECRET_ARN", "arn:aws:x"),
        ("DD_SOME_TOKEN", "x"),
        ("DD_ADDITIONAL_ENDPOINTS", "{}"),
        ("DD_APM_PROFILING_ADDITIONAL_ENDPOINTS", "{}"),
        ("DD_PROXY_HTTPS", "http://me:pw@proxy"),
        ("DD_SERVICE", KEY),
        ("DD_TAGS", &format!("git.commit.sha:{commit}")),
        ("DD_EMPTY_KEY", ""),
        ("DD_", "x"),
    ]));
    let expected = [
        "DATADOG_APP_KEY=***",
        "DD_ADDITIONAL_ENDPOINTS=***",
        "DD_API_KEY=***",
        "DD_API_KEY_SECRET_ARN=***",
        "DD_APM_PROFILING_ADDITIONAL_ENDPOINTS=***",
        "DD_EMPTY_KEY=",
        "DD_PROXY_HTTPS=***",
        "DD_SERVICE=***",
        "DD_SITE=datadoghq.eu",
        "DD_SOME_TOKEN=***",
        &format!("DD_TAGS=git.commit.sha:{commit}"),
        "dd_api_key=***",
    ];
    assert_eq!(lines, expected);
    assert_eq!(format!("{:?}", Secret::new(KEY.into())), "***");
}

#[test]
fn a_flood_of_bad_elements_is_a_handful_of_complaints() {
    let (_, said) = load(&[("DD_TAGS", &"x ".repeat(2000))], "");
    assert_eq!(said.len(), 9);
    assert!(said[8].contains("1992 more"), "{said:?}");
    let (_, said) = load(&[("DD_LOG_LEVEL", &"é".repeat(4000))], "");
    assert!(said[0].len() < 400, "{said:?}");
}

#[cfg(unix)]
#[test]
fn values_that_are_not_utf8_are_bad_values() {
    use std::os::unix::ffi::OsStringExt;
    let bad = OsString::from_vec(vec![b'a', 0xff]);
    let env = vec![("DD_SITE".into(), bad.clone()), (bad.clone(), "x".into()), ("AWS_REGION".into(), bad)];
    let (config, complaints) = Config::load(&env, None);
    assert_eq!((config.site.as_str(), complaints.len()), ("datadoghq.com", 1));
    assert_eq!(complaints[0].problem, "not valid UTF-8");
    assert_eq!(debug_environment(&env), ["DD_SITE=a\u{fffd}"]);
}

proptest! {
    #[test]
    fn nothing_in_the_environment_or_the_yaml_panics(
        row in 0..rows().count(),
        name in 0..3_usize,
        value in "([\\[\\]{}\":,.@/0-9a-z\\\\ -]|\\PC){0,60}",
        text in "[a-z_:\\[\\]{}\"'&*!|> \\n-]{0,120}",
    ) {
        let row = rows().nth(row).unwrap();
        let key = row.env[name % row.env.len()];
        let path = row.yaml[name % row.yaml.len()];
        let (config, complaints) = Config::load(&env(&[(&format!("DD_{key}"), &value)]), Some(&text));
        prop_assert!(complaints.len() < 40);
        prop_assert!(config.metrics_url.starts_with("http") && config.dogstatsd_port > 0);
        let _ = Config::load(&[], Some(&format!("{}: {value}\n", path.replace('.', ":\n  "))));
        let _ = debug_environment(&env(&[(&format!("DD_{key}"), &value)]));
    }
}
