//! What reaches an intake, row by row.

use super::*;
use crate::config::Config;
use crate::lambda::event::Registration;

fn identity(env: &[(&str, &str)], account: &str) -> Identity {
    let env: Vec<_> = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let registration = Registration {
        function_name: "MyFn".to_owned(),
        function_version: "$LATEST".to_owned(),
        account_id: account.to_owned(),
    };
    Identity::new(&Tags::new(&Config::load(&env, None).0, &registration))
}

fn head(query: &str, headers: &[(&str, &str)]) -> Head {
    Head {
        method: "POST".into(),
        path: "/p".into(),
        query: query.into(),
        headers: headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect(),
    }
}

const ORIGIN: &str = "_dd.origin:lambda;functionname:MyFn";

/// The target, and the headers as lines, sorted.
fn check(request: &Request, target: &str, headers: &[(&str, &str)]) {
    assert_eq!(request.target, target);
    let version = format!("trace-agent {}", crate::VERSION);
    let shown = |(name, value): &(String, Vec<u8>)| format!("{name}: {}", String::from_utf8_lossy(value));
    let mut actual: Vec<_> = request.headers.iter().filter(|(n, _)| n != "dd-request-id").map(shown).collect();
    let mut expected: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    expected.push(format!("via: {version}"));
    actual.sort_unstable();
    expected.sort_unstable();
    assert_eq!(actual, expected, "{:?}", request.intake);
}

#[test]
fn all_headers_but_those_of_the_connection_go_on() {
    let sent = [
        ("host", "localhost"),
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("connection", "keep-alive, X-Hop"),
        ("keep-alive", "5"),
        ("x-hop", "1"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("upgrade", "h2c"),
        ("expect", "100-continue"),
        ("proxy-authorization", "Basic x"),
        ("proxy-connection", "close"),
        ("dd-api-key", "theirs"),
        ("x-datadog-additional-tags", "theirs:1"),
        ("content-type", "multipart/form-data; boundary=b"),
        ("dd-evp-origin", "dd-trace-py"),
        ("x-multi", "1"),
        ("x-multi", "2"),
        ("cookie", "a=b"),
    ];
    let kept = [
        ("content-type", "multipart/form-data; boundary=b"),
        ("dd-evp-origin", "dd-trace-py"),
        ("x-multi", "1"),
        ("x-multi", "2"),
        ("cookie", "a=b"),
        (TAGS, ORIGIN),
    ];
    let request = identity(&[], "").request(&head("a=b&a=c", &sent), Intake::Profiles, "");
    check(&request, "?a=b&a=c", &kept);
    for intake in [Intake::DataStreams, Intake::Telemetry, Intake::LlmSpans, Intake::Flares, Intake::Settings] {
        check(&identity(&[], "").request(&head("", &sent), intake, "/x"), "/x", &kept);
    }
}

#[test]
fn telemetry_says_where_it_comes_from() {
    let identity = identity(&[("DD_ENV", "prod"), ("AWS_REGION", "eu-west-1")], "123456789012");
    check(
        &identity.request(&head("", &[]), Intake::Telemetry, "/api/v2/apmtelemetry"),
        "/api/v2/apmtelemetry",
        &[
            (TAGS, ORIGIN),
            ("dd-agent-env", "prod"),
            ("dd-cloud-provider", "AWS"),
            ("dd-cloud-resource-type", "AWSLambda"),
            ("dd-cloud-resource-identifier", "arn:aws:lambda:eu-west-1:123456789012:function:myfn"),
        ],
    );
}

#[test]
fn the_event_platform_gets_what_it_knows() {
    let identity = identity(&[("DD_ENV", "prod")], "");
    let sent = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
        ("accept-encoding", "gzip"),
        ("user-agent", "x/1"),
        ("dd-ci-provider-name", "ci"),
        ("datadog-container-id", ""),
        ("cookie", "a=b"),
        ("authorization", "Bearer x"),
        ("x-other", "1"),
        (evp::SUBDOMAIN, "ci-intake"),
    ];
    let kept = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
        ("accept-encoding", "gzip"),
        ("user-agent", "x/1"),
        ("dd-ci-provider-name", "ci"),
        ("x-datadog-agentdefaultenv", "prod"),
        (TAGS, ORIGIN),
    ];
    let request = identity.request(&head("a=b", &sent), Intake::Events, "/api/v2/x");
    check(&request, "/api/v2/x?a=b", &kept);
    assert_eq!(request.subdomain, "ci-intake");
    for (intake, named, expected) in [
        (Intake::LlmSpans, "", (Intake::LlmSpans, "")),
        (Intake::LlmSpans, "llmobs-intake", (Intake::LlmSpans, "")),
        (Intake::LlmSpans, "api", (Intake::Events, "api")),
        (Intake::LlmEvaluations, "api", (Intake::LlmEvaluations, "")),
        (Intake::LlmEvaluations, "x", (Intake::Events, "x")),
    ] {
        let request = identity.request(&head("", &[(evp::SUBDOMAIN, named)]), intake, "/x");
        assert_eq!((request.intake, request.subdomain.as_str()), expected, "{intake:?} {named}");
    }
}

#[test]
fn the_debugger_has_tags_in_its_query() {
    let version = crate::VERSION;
    let own = format!("agent_version:{version}%2Cfunctionname:MyFn%2C_dd.origin:lambda");
    for (env, query, header, expected) in [
        (&[][..], "", None, format!("?ddtags={own}")),
        (&[("DD_ENV", "a b")], "", None, format!("?ddtags=default_env:a%20b%2C{own}")),
        (&[], "ddtags=host%3Ah,x:y", None, format!("?ddtags={own}%2Chost%3Ah,x:y")),
        (&[], "a=1&ddtags=x&b=%20", Some("h:1"), format!("?ddtags={own}%2Ch:1%2Cx&a=1&b=%20")),
        (&[], "ddtags=&ddtags=y&&", None, format!("?ddtags={own}%2Cy")),
    ] {
        for intake in [Intake::Debugger, Intake::DebuggerLogs] {
            let headers: Vec<_> = header.map(|value| (TAGS, value)).into_iter().collect();
            let request = identity(env, "").request(&head(query, &headers), intake, "");
            check(&request, &expected, &[(TAGS, ORIGIN), ("dd-evp-origin", "agent-debugger")]);
            let id = request.headers.iter().find(|(name, _)| name == "dd-request-id").unwrap();
            assert_eq!(id.1.len(), 36);
            assert_eq!((id.1[14], id.1[8]), (b'4', b'-'));
        }
    }
    let symbols = |headers: &[(&str, &str)], expected: &str| {
        let request = identity(&[], "").request(&head("ddtags=q", headers), Intake::Symbols, "");
        check(&request, "?ddtags=q", &[(TAGS, expected), ("dd-evp-origin", "agent-symdb")]);
    };
    let listed = format!("agent_version:{version},functionname:MyFn,_dd.origin:lambda");
    symbols(&[], &listed);
    symbols(&[(TAGS, "h:1")], &format!("{listed},h:1"));
}

#[test]
fn tags_in_a_query_are_bounded() {
    let long = "%20a".repeat(5_000);
    let query = debugger_query("own", "", &format!("ddtags={long}&after=1"));
    let (tags, after) = query.strip_prefix("?ddtags=").unwrap().split_once('&').unwrap();
    assert_eq!(after, "after=1");
    let escapes = tags.matches('%').count();
    assert_eq!(tags.len() - 2 * escapes, QUERY_TAGS_MAX, "characters, not bytes of their encoding");
    assert!(tags.ends_with("%20") || tags.ends_with("%20a"), "no half of an escape");
    assert_eq!(debugger_query(&"x".repeat(9_000), "y", "ddtags=z").len(), "?ddtags=".len() + QUERY_TAGS_MAX);
    // What is no escape is no reason to fail.
    assert_eq!(debugger_query("o", "", "ddtags=%"), "?ddtags=o%2C%");
    assert_eq!(debugger_query("o", "", "ddtags=%2"), "?ddtags=o%2C%2");
}
