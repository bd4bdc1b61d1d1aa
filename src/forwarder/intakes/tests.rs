//! Addresses, exactly.

use super::*;
use crate::config::Secret;
use crate::config::apm::Proxy;

fn config(site: &str, change: impl FnOnce(&mut Proxy)) -> Config {
    let env = [("DD_SITE", site), ("DD_API_KEY", "abc123")].map(|(k, v)| (k.into(), v.into()));
    let mut config = Config::load(&env, None).0;
    config.apm.proxy = Proxy::default();
    change(&mut config.apm.proxy);
    config
}

fn request(intake: Intake, subdomain: &str, target: &str) -> Request {
    Request { intake, subdomain: subdomain.to_owned(), target: target.to_owned(), headers: Vec::new() }
}

fn uris(config: &Config, request: &Request) -> Vec<String> {
    let (targets, bad) = targets(config, request);
    assert_eq!(bad, []);
    targets.iter().map(|target| target.uri_of(request).unwrap().to_string()).collect()
}

#[test]
fn the_sites_intakes() {
    let flares =
        format!("https://{}-flare.us3.datadoghq.com/api/ui/support/serverless/flare", crate::VERSION.replace('.', "-"));
    for (intake, subdomain, target, expected) in [
        (Intake::Profiles, "", "?a=b&c", "https://intake.profile.us3.datadoghq.com/api/v2/profile?a=b&c"),
        (Intake::DebuggerLogs, "", "", "https://http-intake.logs.us3.datadoghq.com/api/v2/logs"),
        (Intake::Debugger, "", "?ddtags=a", "https://debugger-intake.us3.datadoghq.com/api/v2/debugger?ddtags=a"),
        (Intake::Symbols, "", "", "https://debugger-intake.us3.datadoghq.com/api/v2/debugger"),
        (Intake::DataStreams, "", "", "https://trace.agent.us3.datadoghq.com/api/v0.1/pipeline_stats"),
        (
            Intake::Telemetry,
            "",
            "/api/v2/apmtelemetry",
            "https://instrumentation-telemetry-intake.us3.datadoghq.com/api/v2/apmtelemetry",
        ),
        (Intake::LlmSpans, "", "/api/v2/llmobs", "https://llmobs-intake.us3.datadoghq.com/api/v2/llmobs"),
        (
            Intake::LlmEvaluations,
            "",
            "/api/intake/llm-obs/v2/eval-metric",
            "https://api.us3.datadoghq.com/api/intake/llm-obs/v2/eval-metric",
        ),
        (Intake::Events, "my.sub", "/x/y?z=1", "https://my.sub.us3.datadoghq.com/x/y?z=1"),
        (Intake::Flares, "", "", flares.as_str()),
        (Intake::Settings, "", "", "https://config.us3.datadoghq.com/v0.7/config"),
        (
            Intake::Lineage,
            "",
            "?api-version=2",
            "https://data-obs-intake.us3.datadoghq.com/api/v1/lineage?api-version=2",
        ),
    ] {
        assert_eq!(uris(&config("us3.datadoghq.com", |_| {}), &request(intake, subdomain, target)), [expected]);
    }
}

#[test]
fn addresses_that_are_set() {
    let check = |change: &dyn Fn(&mut Proxy), intake, subdomain, target, expected: &str| {
        assert_eq!(uris(&config("datadoghq.eu", change), &request(intake, subdomain, target)), [expected]);
    };
    let set = |url: &str| Some(url.to_owned());
    check(&|p| p.profiling_url = set("http://127.0.0.1:1/p"), Intake::Profiles, "", "?a", "http://127.0.0.1:1/p?a");
    check(&|p| p.profiling_url = set("http://h/p?k=v"), Intake::Profiles, "", "?a", "http://h/p?k=v&a");
    check(&|p| p.debugger_url = set("https://d/x"), Intake::DebuggerLogs, "", "", "https://d/x");
    check(&|p| p.diagnostics_url = set("https://d/x"), Intake::Debugger, "", "", "https://d/x");
    check(&|p| p.symdb_url = set("https://d/x"), Intake::Symbols, "", "", "https://d/x");
    check(&|p| p.telemetry_url = set("https://t/"), Intake::Telemetry, "", "/api", "https://t/api");
    check(&|p| p.evp_url = set("us5.datadoghq.com"), Intake::Events, "a", "/x", "https://a.us5.datadoghq.com/x");
    check(
        &|p| p.evp_url = set("https://us5.datadoghq.com"),
        Intake::LlmSpans,
        "",
        "/x",
        "https://llmobs-intake.us5.datadoghq.com/x",
    );
    check(&|p| p.evp_url = set("http://127.0.0.1:80"), Intake::LlmSpans, "", "/x", "http://127.0.0.1:80/x");
    check(&|p| p.evp_url = set("http://[::1]:80"), Intake::LlmSpans, "", "/x", "http://[::1]:80/x");
    check(&|p| p.evp_url = set("http://localhost:80"), Intake::Events, "a", "/x", "http://localhost:80/x");
    check(
        &|p| p.openlineage_url = set("us5.datadoghq.com"),
        Intake::Lineage,
        "",
        "",
        "https://data-obs-intake.us5.datadoghq.com/api/v1/lineage",
    );
    check(&|p| p.openlineage_url = set("http://h:1/l"), Intake::Lineage, "", "", "http://h:1/l");
    let mut config = config("datadoghq.eu", |_| {});
    config.apm_url = "http://127.0.0.1:2".to_owned();
    assert_eq!(uris(&config, &request(Intake::DataStreams, "", "")), ["http://127.0.0.1:2/api/v0.1/pipeline_stats"]);
}

#[test]
fn additional_endpoints_have_their_own_keys() {
    let endpoint = |url: &str| Endpoint { url: url.to_owned(), api_key: Secret::new("other".to_owned()) };
    let mut config = config("datadoghq.com", |proxy| {
        proxy.profiling_endpoints = vec![endpoint("https://p/api/v2/profile"), endpoint("not a url")];
        proxy.debugger_endpoints = vec![endpoint("https://d/api/v2/logs")];
        proxy.telemetry_endpoints = vec![endpoint("https://t")];
        proxy.evp_endpoints = vec![endpoint("https://datadoghq.eu")];
    });
    let profile = request(Intake::Profiles, "", "");
    let (found, bad) = targets(&config, &profile);
    let shown: Vec<_> = found
        .iter()
        .map(|t| (t.host.as_str(), t.headers_of(&profile)["dd-api-key"].to_str().unwrap().to_owned()))
        .collect();
    assert_eq!(shown, [("intake.profile.datadoghq.com", "abc123".to_owned()), ("p", "other".to_owned())]);
    assert_eq!(bad.len(), 1);
    assert_eq!(bad[0].setting, "DD_APM_PROFILING_ADDITIONAL_ENDPOINTS");
    for (intake, subdomain, expected) in [
        (Intake::DebuggerLogs, "", Some("https://d/api/v2/logs")),
        (Intake::Telemetry, "", Some("https://t/")),
        (Intake::LlmSpans, "", Some("https://llmobs-intake.datadoghq.eu/")),
        (Intake::Events, "x", Some("https://x.datadoghq.eu/")),
        (Intake::Debugger, "", None),
        (Intake::Symbols, "", None),
        (Intake::DataStreams, "", None),
        (Intake::Lineage, "", None),
    ] {
        assert_eq!(is_multiple(&config, intake), expected.is_some());
        assert_eq!(uris(&config, &request(intake, subdomain, "")).get(1).map(String::as_str), expected, "{intake:?}");
    }
    config.api_key = None;
    assert_eq!(uris(&config, &request(Intake::Telemetry, "", "/x")), ["https://t/x"]);
}

#[test]
fn headers_go_on_as_they_are() {
    let config = config("datadoghq.com", |_| {});
    let header = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    let headers = vec![
        header("a", b"1"),
        header("a", b"2"),
        header("b", b"\xff"),
        header("no name", b"x"),
        header("dd-api-key", b"theirs"),
    ];
    for (intake, bearer) in [(Intake::Profiles, None), (Intake::Lineage, Some("Bearer abc123"))] {
        let request = Request { headers: headers.clone(), ..request(intake, "", "") };
        let (targets, _) = targets(&config, &request);
        let made = targets[0].headers_of(&request);
        let of = |name: &str| made.get_all(name).iter().map(|v| v.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!((of("a"), of("b")), (vec![b"1".to_vec(), b"2".to_vec()], vec![b"\xff".to_vec()]));
        assert_eq!(of("dd-api-key"), [b"abc123"]);
        assert_eq!(of("user-agent"), [concat!("datadog-agent/", env!("CARGO_PKG_VERSION")).as_bytes()]);
        assert_eq!(made.get("authorization").map(|v| v.to_str().unwrap()), bearer);
        assert!(!format!("{made:?}").contains("abc123"));
    }
}
