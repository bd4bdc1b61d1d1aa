//! Routes, admission, and what the trace agent's answer leads to. The way to an intake is in `tests/forwarder/`.

use std::thread;

use super::*;

fn passthrough(change: impl FnOnce(&mut Config), lines: Option<Lines>) -> Passthrough {
    let mut config = Config::load(&[], None).0;
    config.apm.proxy.evp_enabled = true;
    config.apm.proxy.openlineage_enabled = true;
    config.apm.proxy.remote_configuration = true;
    config.apm.proxy.evp_max_payload = 1000;
    config.api_key = None;
    change(&mut config);
    let client = Client::new(&config);
    Passthrough::new(&Arc::new(config), &Tags::default(), client, lines)
}

fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Head {
    Head {
        method: method.into(),
        path: path.into(),
        query: String::new(),
        headers: headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect(),
    }
}

#[test]
fn routes() {
    use Action::{Lines as L, Relay as R, Store as S};
    for (path, expected) in [
        ("/profiling/v1/input", Some((S(Intake::Profiles, "profiling"), ""))),
        ("/profiling/v1/input/", None),
        ("/debugger/v1/input", Some((S(Intake::DebuggerLogs, "debugger_logs"), ""))),
        ("/debugger/v2/input", Some((S(Intake::Debugger, "debugger"), ""))),
        ("/debugger/v1/diagnostics", Some((S(Intake::Debugger, "debugger"), ""))),
        ("/symdb/v1/input", Some((S(Intake::Symbols, "symdb"), ""))),
        ("/v0.1/pipeline_stats", Some((S(Intake::DataStreams, "DSM"), ""))),
        (
            "/telemetry/proxy/api/v2/apmtelemetry",
            Some((S(Intake::Telemetry, "instrumentation"), "/api/v2/apmtelemetry")),
        ),
        ("/telemetry/proxy/other", Some((S(Intake::Telemetry, "instrumentation"), "/other"))),
        ("/telemetry/proxy", None),
        ("/evp_proxy/v2/api/v2/llmobs", Some((S(Intake::LlmSpans, "llm_obs_spans"), "/api/v2/llmobs"))),
        (
            "/evp_proxy/v2/api/intake/llm-obs/v1/eval-metric",
            Some((S(Intake::LlmEvaluations, "llm_obs_eval_metric"), "/api/intake/llm-obs/v1/eval-metric")),
        ),
        (
            "/evp_proxy/v2/api/intake/llm-obs/v2/eval-metric",
            Some((S(Intake::LlmEvaluations, "llm_obs_eval_metric"), "/api/intake/llm-obs/v2/eval-metric")),
        ),
        ("/evp_proxy/v1/a/b", Some((R(Intake::Events), "/a/b"))),
        ("/evp_proxy/v2/a", Some((R(Intake::Events), "/a"))),
        ("/evp_proxy/v3/a", Some((R(Intake::Events), "/a"))),
        ("/evp_proxy/v4/", Some((R(Intake::Events), "/"))),
        ("/evp_proxy/v5/a", None),
        ("/tracer_flare/v1", Some((R(Intake::Flares), ""))),
        ("/v0.7/config", Some((R(Intake::Settings), ""))),
        ("/openlineage/api/v1/lineage", Some((R(Intake::Lineage), ""))),
        ("/dogstatsd/v1/proxy", Some((L, ""))),
        ("/dogstatsd/v2/proxy", Some((L, ""))),
        ("/v0.4/traces", None),
        ("/", None),
    ] {
        assert_eq!(route(path).map(|r| (r.0.action, &path[r.0.prefix..])), expected, "{path}");
    }
    assert!(LISTED.iter().all(|path| route(path).is_some()));
    for on in [false, true] {
        let settings = Proxy { remote_configuration: on, ..Proxy::default() };
        assert_eq!(listed(&settings).any(|path| path == "/v0.7/config"), on);
    }
}

#[test]
fn heads_are_judged_before_the_body() {
    let evp = &[("x-datadog-evp-subdomain", "api")][..];
    let stored = Ok(Admission::Stream(STORED_MAX));
    for (method, path, headers, expected) in [
        ("POST", "/profiling/v1/input", &[][..], stored),
        ("PUT", "/profiling/v1/input", &[], stored),
        ("POST", "/profiling/v1/input", &[("content-length", "2097152")], stored),
        ("POST", "/profiling/v1/input", &[("content-length", "2097153")], Ok(Admission::Stream(0))),
        ("GET", "/profiling/v1/input", &[], Err(405)),
        ("POST", "/telemetry/proxy/api/v2/apmtelemetry", &[], stored),
        ("POST", "/evp_proxy/v2/api/v2/llmobs", &[], stored),
        ("POST", "/evp_proxy/v2/api/v2/llmobs", evp, stored),
        ("POST", "/evp_proxy/v2/api/v2/llmobs", &[("x-datadog-evp-subdomain", "evil.com/")], Err(400)),
        ("POST", "/evp_proxy/v2/api/v2/other", evp, Ok(Admission::Stream(0))),
        ("GET", "/evp_proxy/v2/api/v2/other", evp, Ok(Admission::Stream(0))),
        ("HEAD", "/evp_proxy/v2/api/v2/other", evp, Err(405)),
        ("POST", "/evp_proxy/v2/api/v2/other", &[], Err(400)),
        ("POST", "/evp_proxy/v4/x", &[evp[0], ("content-length", "1001")], Err(413)),
        ("POST", "/v0.7/config", &[], Ok(Admission::Stream(0))),
        ("GET", "/v0.7/config", &[], Ok(Admission::Stream(0))),
        ("POST", "/tracer_flare/v1", &[], Ok(Admission::Stream(0))),
        ("POST", "/openlineage/api/v1/lineage", &[], Ok(Admission::Stream(0))),
        ("POST", "/dogstatsd/v2/proxy", &[], Ok(Admission::Whole(LINES_MAX))),
        ("GET", "/dogstatsd/v2/proxy", &[], Err(405)),
    ] {
        let admitted = passthrough(|_| {}, None).admit(&head(method, path, headers), route(path).unwrap());
        assert_eq!(admitted.map_err(|r| r.status), expected, "{method} {path}");
    }
}

#[test]
fn what_is_off_says_so() {
    for (path, status, text) in [
        ("/evp_proxy/v2/x", 405, "EVPProxy is disabled: Has been disabled in config\n"),
        ("/evp_proxy/v2/api/v2/llmobs", 405, "EVPProxy is disabled: Has been disabled in config\n"),
        ("/v0.7/config", 404, "remote configuration is off: DD_REMOTE_CONFIGURATION_ENABLED\n"),
        ("/openlineage/api/v1/lineage", 500, "OpenLineage forwarder is OFF: Has been disabled in config\n"),
    ] {
        let proxy = passthrough(
            |config| {
                config.apm.proxy.evp_enabled = false;
                config.apm.proxy.openlineage_enabled = false;
                config.apm.proxy.remote_configuration = false;
            },
            None,
        );
        let refused = proxy.admit(&head("POST", path, &[]), route(path).unwrap()).unwrap_err();
        assert_eq!((refused.status, std::str::from_utf8(&refused.body).unwrap()), (status, text));
    }
}

#[test]
fn bodies_that_more_than_one_endpoint_gets_are_held() {
    let endpoint = crate::config::Endpoint { url: "https://a".into(), api_key: crate::config::Secret::new("k".into()) };
    let proxy = passthrough(
        |config| {
            config.apm.proxy.profiling_endpoints = vec![endpoint.clone()];
            config.apm.proxy.evp_endpoints = vec![endpoint];
        },
        None,
    );
    for (path, expected) in [
        ("/profiling/v1/input", HELD_MAX),
        ("/evp_proxy/v1/x", HELD_MAX),
        ("/symdb/v1/input", STORED_MAX),
        ("/v0.7/config", 0),
    ] {
        let admitted = proxy.admit(&head("POST", path, &[("x-datadog-evp-subdomain", "api")]), route(path).unwrap());
        assert_eq!(admitted.unwrap(), Admission::Stream(expected), "{path}");
    }
}

/// The answer to a body of `size` bytes if the agent does `agent` with it.
fn answer(
    path: &str,
    size: usize,
    agent: impl FnOnce(Payload) -> Option<Result<(), Payload>> + Send + 'static,
) -> (u16, String) {
    answer_to(&head("POST", path, &[]), size, agent)
}

fn answer_to(
    head: &Head,
    size: usize,
    agent: impl FnOnce(Payload) -> Option<Result<(), Payload>> + Send + 'static,
) -> (u16, String) {
    let (to_agent, inbox) = bounded(1);
    let thread = thread::spawn(move || match inbox.recv() {
        Ok(Message::Proxied { payload, reply }) => agent(payload).map(|outcome| reply.send(outcome)),
        Ok(other) => panic!("{other:?}"),
        Err(_) => None,
    });
    let body = Body::detached(vec![b'x'; size]);
    let response = passthrough(|_| {}, None).relay(head, route(&head.path).unwrap(), body, None, &to_agent);
    drop(to_agent);
    thread.join().unwrap();
    (response.status, String::from_utf8(response.body).unwrap())
}

#[test]
fn a_stored_request_is_acknowledged_by_name() {
    for (path, name) in [
        ("/profiling/v1/input", "profiling"),
        ("/debugger/v1/input", "debugger_logs"),
        ("/debugger/v2/input", "debugger"),
        ("/debugger/v1/diagnostics", "debugger"),
        ("/v0.1/pipeline_stats", "DSM"),
        ("/telemetry/proxy/api/v2/apmtelemetry", "instrumentation"),
        ("/evp_proxy/v2/api/v2/llmobs", "llm_obs_spans"),
        ("/evp_proxy/v2/api/intake/llm-obs/v1/eval-metric", "llm_obs_eval_metric"),
    ] {
        let answered = answer(path, 5, |payload| {
            let request = payload.request.unwrap();
            assert_eq!((payload.route, payload.body.len()), (forwarder::Route::Proxied(request.intake), 5));
            Some(Ok(()))
        });
        assert_eq!(answered, (200, format!("Acknowledged request for {name}")), "{path}");
    }
}

#[test]
fn what_the_agent_does_not_take_is_passed_on_at_once() {
    // There is no key here, so that this fails in a way that shows it was tried.
    let no_way = "the intake cannot be reached: there is no API key, or its URL cannot be used\n";
    let path = "/profiling/v1/input";
    assert_eq!(answer(path, 5, |payload| Some(Err(payload))), (502, no_way.to_owned()));
    assert_eq!(answer(path, STORED_MAX + 1, |_| panic!("too long for it")), (502, no_way.to_owned()));
    assert_eq!(answer("/v0.7/config", 5, |_| panic!("not for it")), (502, no_way.to_owned()));
    // Another part of the platform than the path's own.
    let named = |subdomain| head("POST", "/evp_proxy/v2/api/v2/llmobs", &[(evp::SUBDOMAIN, subdomain)]);
    assert_eq!(answer_to(&named("api"), 5, |_| panic!("not for it")), (502, no_way.to_owned()));
    assert_eq!(answer_to(&named("llmobs-intake"), 5, |_| Some(Ok(()))).0, 200);
    assert_eq!(answer(path, 5, |_| None), (500, "the trace agent failed on this request\n".to_owned()));
    let (to_agent, inbox) = bounded(1);
    drop(inbox);
    let body = Body::detached(vec![1]);
    let response =
        passthrough(|_| {}, None).relay(&head("POST", path, &[]), route(path).unwrap(), body, None, &to_agent);
    assert_eq!(response.status, 502);
}

#[test]
fn lines_go_to_whoever_takes_them() {
    for (lines, status) in [
        (Some(Box::new(|body: &[u8]| body == b"a:1|c") as Lines), 200),
        (Some(Box::new(|_: &[u8]| false) as Lines), 503),
        (None, 503),
    ] {
        assert_eq!(passthrough(|_| {}, lines).respond(b"a:1|c").status, status);
    }
}

#[test]
fn a_capped_reader_fails_beyond_its_cap() {
    for (size, cap, fits) in [(5, 5, true), (5, 6, true), (6, 5, false), (0, 0, true), (1, 0, false)] {
        let mut reader = Capped { inner: &mut io::repeat(0).take(size), left: cap, exceeded: false };
        let read = reader.read_to_end(&mut Vec::new());
        assert_eq!((read.is_ok(), reader.exceeded), (fits, !fits), "{size} {cap}");
    }
}
