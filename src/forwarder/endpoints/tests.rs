//! URLs and headers, exactly.

use super::*;

/// A target for the tests of the other modules.
pub fn target(url: &str) -> Target {
    Target::new(url, false, &Secret::new("abc123".to_owned()), "DD_API_KEY and DD_SITE").unwrap()
}

pub fn payload(route: Route, encoding: Encoding) -> Payload {
    Payload { route, encoding, body: b"body".to_vec(), items: 1, headers: Vec::new(), request: None }
}

const ROUTES: [(Route, &str); 7] = [
    (Route::Logs, "/api/v2/logs"),
    (Route::Series, "/api/v2/series"),
    (Route::Sketches, "/api/beta/sketches"),
    (Route::Events, "/intake/"),
    (Route::ServiceChecks, "/api/v1/check_run"),
    (Route::Traces, "/api/v0.2/traces"),
    (Route::Stats, "/api/v0.2/stats"),
];

#[test]
fn urls() {
    for (written, base, host) in [
        ("https://api.datadoghq.com", "https://api.datadoghq.com", "api.datadoghq.com"),
        ("https://api.datadoghq.com/", "https://api.datadoghq.com", "api.datadoghq.com"),
        ("https://api.datadoghq.com//", "https://api.datadoghq.com", "api.datadoghq.com"),
        (" api.datadoghq.eu ", "https://api.datadoghq.eu", "api.datadoghq.eu"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("localhost:8080", "https://localhost:8080", "localhost:8080"),
        ("http://[::1]:80/", "http://[::1]:80", "[::1]:80"),
        ("https://proxy.example/dd/", "https://proxy.example/dd", "proxy.example"),
        ("https://user:secret@proxy.example", "https://user:secret@proxy.example", "proxy.example"),
    ] {
        let target = target(written);
        assert_eq!(target.host, host, "{written}");
        for (route, path) in ROUTES {
            assert_eq!(target.uri(route).unwrap().to_string(), format!("{base}{path}"), "{written}");
        }
    }
}

#[test]
fn urls_that_cannot_be_used() {
    for (written, key, problem) in [
        ("", "k", "its URL has no host"),
        ("https://", "k", "its URL has no host"),
        ("https://a b", "k", "its URL cannot be read"),
        ("ftp://a", "k", "its URL is neither http nor https"),
        ("https://a", "k\n", "its API key has characters that no API key has"),
        ("https://a", "schlüssel\u{7f}", "its API key has characters that no API key has"),
    ] {
        let made = Target::new(written, false, &Secret::new(key.to_owned()), "x");
        assert_eq!(made.err(), Some(problem), "{written}");
    }
}

#[test]
fn events_have_a_host_of_their_own_unless_an_address_is_set() {
    let version = crate::VERSION.replace('.', "-");
    for (setting, value, expected) in [
        ("DD_SITE", "datadoghq.com", format!("https://{version}-app.agent.datadoghq.com/intake/")),
        ("DD_SITE", "us3.datadoghq.com", format!("https://{version}-app.agent.us3.datadoghq.com/intake/")),
        ("DD_DD_URL", "http://127.0.0.1:1", "http://127.0.0.1:1/intake/".to_owned()),
        ("DD_URL", "https://proxy.example", "https://proxy.example/intake/".to_owned()),
    ] {
        let env = [(setting, value), ("DD_API_KEY", "abc123")].map(|(k, v)| (k.into(), v.into()));
        let (targets, bad) = targets(&Config::load(&env, None).0, Signal::Metrics);
        assert_eq!((targets.len(), bad), (1, Vec::new()));
        assert_eq!(targets[0].uri(Route::Events).unwrap().to_string(), expected);
        assert!(!targets[0].uri(Route::Series).unwrap().to_string().contains("app.agent"));
    }
}

#[test]
fn a_pipelines_worker_is_used_as_it_is() {
    for url in ["http://127.0.0.1:9000/", "http://127.0.0.1:9000/v1/input", "http://127.0.0.1:9000/v1/input/"] {
        let target = Target::new(url, true, &Secret::new("k".to_owned()), "x").unwrap();
        assert_eq!(target.uri(Route::Logs).unwrap().to_string(), url);
    }
}

fn check_headers(target: &Target, payload: &Payload, expected: &[(&str, &str)]) {
    let headers = target.headers(payload);
    let mut actual: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect::<Vec<_>>();
    actual.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(actual, expected, "{:?}", payload.route);
}

type Header = (&'static str, &'static str);

const KEY: Header = ("dd-api-key", "abc123");
const UA: Header = ("user-agent", concat!("datadog-agent/", env!("CARGO_PKG_VERSION")));
const ZSTD: Header = ("content-encoding", "zstd");
const JSON: Header = ("content-type", "application/json");
const GZIP: Header = ("content-encoding", "gzip");
const MSGPACK: Header = ("content-type", "application/msgpack");
const PROTOBUF: Header = ("content-type", "application/x-protobuf");

#[test]
fn headers_of_each_route() {
    let target = target("https://a");
    let version = env!("CARGO_PKG_VERSION");
    let logs = [("dd-protocol", "agent-json"), ("dd-evp-origin", "agent"), ("dd-evp-origin-version", version)];
    let metrics = [("dd-agent-payload", "5.0"), ("dd-agent-version", version)];
    let traces = [("datadog-send-real-http-status", "1")];
    let rows: [(Route, Header, &[Header]); 7] = [
        (Route::Logs, JSON, &logs),
        (Route::Series, JSON, &metrics),
        (Route::Sketches, PROTOBUF, &metrics),
        (Route::Events, JSON, &metrics),
        (Route::ServiceChecks, JSON, &metrics),
        (Route::Traces, PROTOBUF, &traces),
        (Route::Stats, MSGPACK, &[]),
    ];
    for (route, content_type, own) in rows {
        let plain = [&[KEY, UA, content_type], own].concat();
        check_headers(&target, &payload(route, Encoding::Identity), &plain);
        check_headers(&target, &payload(route, Encoding::Zstd), &[&plain[..], &[ZSTD]].concat());
        check_headers(&target, &payload(route, Encoding::Gzip), &[&plain[..], &[GZIP]].concat());
    }
}

#[test]
fn headers_for_a_pipelines_worker() {
    let target = Target::new("http://127.0.0.1:9000/in", true, &Secret::new("abc123".to_owned()), "x").unwrap();
    check_headers(&target, &payload(Route::Logs, Encoding::Identity), &[KEY, UA, JSON]);
}

#[test]
fn further_headers() {
    let mut payload = payload(Route::Traces, Encoding::Identity);
    payload.headers = vec![
        ("user-agent", "Tracer/3.1".to_owned()),
        ("Datadog-Meta-Lang", "python".to_owned()),
        ("datadog-container-id", "line\nbreak".to_owned()),
        ("no name", "x".to_owned()),
        ("DD-API-KEY", "stolen".to_owned()),
    ];
    check_headers(
        &target("https://a"),
        &payload,
        &[
            KEY,
            PROTOBUF,
            ("user-agent", "Tracer/3.1"),
            ("datadog-meta-lang", "python"),
            ("datadog-send-real-http-status", "1"),
        ],
    );
}

#[test]
fn keys_are_never_shown() {
    let target = target("https://a");
    assert!(!format!("{target:?}").contains("abc123"));
    let headers = target.headers(&payload(Route::Logs, Encoding::Zstd));
    assert!(!format!("{headers:?}").contains("abc123"));
    assert_eq!(target.redact("bad key abc123!"), "bad key ***!");
}
