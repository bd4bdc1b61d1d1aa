//! Requests of tracers that go on to other intakes, through the shipped binary.

use serde_json::json;

use crate::lab::intake::proxied::sum;
use crate::lab::{Action, Outcome, Runtime, proc};
use crate::{AT_END, LIMIT, Scene, assert_clean, exchange, isolated, status};

/// Settings that make everything go to the lab's intake.
const INTAKES: [(&str, &str); 6] = [
    ("DD_APM_PROFILING_DD_URL", "{intake}/api/v2/profile"),
    ("DD_APM_DEBUGGER_DD_URL", "{intake}/api/v2/debugger"),
    ("DD_APM_DEBUGGER_DIAGNOSTICS_DD_URL", "{intake}/api/v2/debugger"),
    ("DD_APM_SYMDB_DD_URL", "{intake}/api/v2/debugger"),
    ("DD_APM_TELEMETRY_DD_URL", "{intake}"),
    ("DD_EVP_PROXY_CONFIG_DD_URL", "{intake}"),
];

/// A function that makes these requests in each invocation and returns the answers.
fn scene(more: &[(&str, &str)], requests: impl Fn(u64) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Scene {
    let env: Vec<_> = INTAKES.iter().chain(&[AT_END]).chain(more).copied().collect();
    Scene::with(&env, |options| {
        options.runtime = Runtime::builtin(move |invocation| {
            let n = invocation.payload["n"].as_u64().unwrap_or_default();
            Outcome::Done(json!(requests(n).iter().map(|request| exchange(8126, request)).collect::<Vec<_>>()))
        });
    })
}

fn post(target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn chunked(target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Transfer-Encoding: chunked\r\n\r\n"
    );
    let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
    [head.into_bytes(), body.chunks(40_000).flat_map(chunk).collect(), b"0\r\n\r\n".to_vec()].concat()
}

/// A body that is no text, of `size` bytes.
fn binary(size: usize) -> Vec<u8> {
    (0..size).map(|i| ((i * i) >> 3) as u8).collect()
}

fn body(answer: &serde_json::Value) -> &str {
    answer.as_str().unwrap().split_once("\r\n\r\n").unwrap().1
}

#[test]
fn a_profile_arrives_as_it_was_sent() {
    isolated("passthrough::a_profile_arrives_as_it_was_sent", || {
        let multipart = "Content-Type: multipart/form-data; boundary=xyz\r\nDD-EVP-ORIGIN: dd-trace-py\r\nX-Multi: 1\r\nX-Multi: 2\r\nUser-Agent: DDProf/1.0.0\r\n";
        let mut scene = scene(&[], move |_| {
            vec![
                post("/profiling/v1/input?a=1&b=%20x", multipart, &binary(100_000)),
                chunked("/profiling/v1/input", multipart, &binary(100_001)),
            ]
        });
        let invoked = scene.invoke(1);
        for answer in invoked.response.as_array().unwrap() {
            assert_eq!((status(answer.as_str().unwrap()), body(answer)), (200, "Acknowledged request for profiling"));
        }
        let received = scene.intake.received();
        let profiles: Vec<_> = received.proxied().collect();
        assert_eq!(profiles.len(), 2, "they went out with the flush");
        assert_eq!((profiles[0].path.as_str(), profiles[0].query.as_str()), ("/api/v2/profile", "a=1&b=%20x"));
        assert_eq!((profiles[0].sum(), profiles[1].sum()), (sum(&binary(100_000)), sum(&binary(100_001))));
        for profile in profiles {
            assert_eq!(profile.values("content-type"), ["multipart/form-data; boundary=xyz"]);
            assert_eq!(
                (profile.values("dd-evp-origin"), profile.values("x-multi")),
                (vec!["dd-trace-py"], vec!["1", "2"])
            );
            assert_eq!(profile.values("user-agent"), ["DDProf/1.0.0"]);
            assert_eq!(profile.values("dd-api-key"), [crate::lab::intake::API_KEY]);
            assert_eq!((profile.values("connection"), profile.values("transfer-encoding")), (vec![], vec![]));
            let tags = profile.values("x-datadog-additional-tags");
            assert!(tags.len() == 1 && tags[0].starts_with("_dd.origin:lambda;functionname:"), "{tags:?}");
        }
        scene.shutdown();
        assert_eq!(scene.intake.received().proxied().count(), 2, "once each");
        scene.assert_quiet();
    });
}

#[test]
fn every_kind_goes_where_it_belongs() {
    isolated("passthrough::every_kind_goes_where_it_belongs", || {
        let rows = [
            ("/debugger/v1/input?ddtags=a:b", "", "debugger_logs", "/api/v2/debugger"),
            ("/debugger/v2/input", "", "debugger", "/api/v2/debugger"),
            ("/debugger/v1/diagnostics", "", "debugger", "/api/v2/debugger"),
            ("/symdb/v1/input", "", "symdb", "/api/v2/debugger"),
            ("/v0.1/pipeline_stats", "", "DSM", "/api/v0.1/pipeline_stats"),
            ("/telemetry/proxy/api/v2/apmtelemetry", "", "instrumentation", "/api/v2/apmtelemetry"),
            ("/evp_proxy/v2/api/v2/llmobs", "", "llm_obs_spans", "/api/v2/llmobs"),
            (
                "/evp_proxy/v2/api/intake/llm-obs/v1/eval-metric",
                "",
                "llm_obs_eval_metric",
                "/api/intake/llm-obs/v1/eval-metric",
            ),
            (
                "/evp_proxy/v2/api/intake/llm-obs/v2/eval-metric",
                "",
                "llm_obs_eval_metric",
                "/api/intake/llm-obs/v2/eval-metric",
            ),
            ("/evp_proxy/v4/proxied/x?y=z", "X-Datadog-EVP-Subdomain: any\r\nCookie: a=b\r\n", "", "/proxied/x"),
            ("/evp_proxy/v1/proxied/x", "", "!EVPProxy: no subdomain specified\n", ""),
            ("/dogstatsd/v2/proxy", "", "-", ""),
        ];
        let mut scene = scene(&[], move |_| {
            rows.iter().map(|(target, headers, ..)| post(target, headers, b"by.http:5|c\nby.http:2|c\n")).collect()
        });
        let invoked = scene.invoke(1);
        scene.shutdown();
        let received = scene.intake.received();
        for (answer, (target, _, name, _)) in invoked.response.as_array().unwrap().iter().zip(&rows) {
            let expected = match *name {
                "" => (202, "{}".to_owned()),
                "-" => (200, String::new()),
                refused if refused.starts_with('!') => (400, refused[1..].to_owned()),
                name => (200, format!("Acknowledged request for {name}")),
            };
            assert_eq!((status(answer.as_str().unwrap()), body(answer).to_owned()), expected, "{target}");
        }
        let mut arrived: Vec<_> = received.proxied().map(|r| r.path.as_str()).collect();
        let mut expected: Vec<_> = rows.iter().map(|row| row.3).filter(|path| !path.is_empty()).collect();
        arrived.sort_unstable();
        expected.sort_unstable();
        assert_eq!(arrived, expected);
        let event = received.proxied().find(|r| r.path == "/proxied/x").unwrap();
        assert_eq!((event.query.as_str(), event.values("cookie")), ("y=z", vec![]));
        let snapshot = received.proxied().find(|r| r.query.starts_with("ddtags=")).unwrap();
        assert!(snapshot.query.contains("_dd.origin:lambda"), "{}", snapshot.query);
        assert_eq!(received.series_sum("by.http"), 7.0);
        scene.assert_quiet();
    });
}

/// Sixty megabytes in chunks flow through an agent that stays small, and every byte arrives.
#[test]
fn a_long_body_flows_through() {
    isolated("passthrough::a_long_body_flows_through", || {
        const SIZE: usize = 60 << 20;
        let mut scene = scene(&[], |n| match n {
            1 => vec![post("/profiling/v1/input", "", &binary(1000))],
            _ => vec![chunked(
                "/profiling/v1/input?n=2",
                "Content-Type: multipart/form-data; boundary=b\r\n",
                &binary(SIZE),
            )],
        });
        scene.invoke(1);
        let before = proc::memory(scene.platform.extension_pid().unwrap()).unwrap();
        let invoked = scene.invoke(2);
        let answer = &invoked.response.as_array().unwrap()[0];
        assert_eq!((status(answer.as_str().unwrap()), body(answer)), (200, "Acknowledged request for profiling"));
        let after = proc::memory(scene.platform.extension_pid().unwrap()).unwrap();
        let received = scene.intake.received();
        let long = received.proxied().find(|r| r.query == "n=2").unwrap();
        assert_eq!(long.sum(), sum(&binary(SIZE)));
        // Its first two megabytes are held to see whether that is all.
        let grown = after.peak_kb - before.peak_kb;
        assert!(grown < 6 * 1024, "{grown} kB for {} kB", SIZE / 1024);
        scene.shutdown();
        scene.assert_quiet();
    });
}

#[test]
fn an_additional_endpoint_that_fails_harms_nobody() {
    isolated("passthrough::an_additional_endpoint_that_fails_harms_nobody", || {
        let second = crate::Intake::start();
        let url = format!("{{\"{}/api/v2/profile\":[\"fedcba9876543210fedcba9876543210\"]}}", second.url());
        second.fault(crate::Route::Proxied, Some(4), Action::Status(503));
        let more = [("DD_APM_PROFILING_ADDITIONAL_ENDPOINTS", url.as_str())];
        let mut scene = scene(&more, |n| vec![post(&format!("/profiling/v1/input?n={n}"), "", &binary(1000))]);
        for n in 1..=3 {
            scene.invoke(n);
        }
        assert_clean(scene.platform.shutdown("spindown"));
        for (intake, key) in
            [(&scene.intake, crate::lab::intake::API_KEY), (&second, "fedcba9876543210fedcba9876543210")]
        {
            let received = intake.received();
            let taken: Vec<_> = received.proxied().filter(|r| r.status < 300).collect();
            let mut queries: Vec<_> = taken.iter().map(|r| r.query.as_str()).collect();
            queries.sort_unstable();
            assert_eq!(queries, ["n=1", "n=2", "n=3"], "each once");
            assert!(taken.iter().all(|r| r.values("dd-api-key") == [key]));
        }
        assert_eq!(scene.intake.received().proxied().count(), 3, "the good one gets nothing twice");
        assert_eq!(second.received().proxied().count(), 7);
        assert_eq!(scene.lines("ERROR"), [""; 0]);
    });
}

#[test]
fn an_intake_that_is_gone_is_told_to_the_client() {
    isolated("passthrough::an_intake_that_is_gone_is_told_to_the_client", || {
        let evp = "X-Datadog-EVP-Subdomain: any\r\n";
        // A port of the loopback that nobody listens on.
        let more = [("DD_EVP_PROXY_CONFIG_DD_URL", "http://127.0.0.1:9")];
        let mut scene = scene(&more, move |_| {
            vec![post("/evp_proxy/v2/proxied/x", evp, b"1"), post("/profiling/v1/input", "", b"2")]
        });
        let invoked = scene.platform.invoke(&json!({"n": 1}), LIMIT).unwrap();
        let answers = invoked.response.as_array().unwrap();
        assert_eq!(status(answers[0].as_str().unwrap()), 502);
        assert!(body(&answers[0]).starts_with("the intake cannot be reached: 127.0.0.1:9: "), "{}", body(&answers[0]));
        assert_eq!(status(answers[1].as_str().unwrap()), 200);
        assert_eq!(scene.intake.received().proxied().count(), 1, "the others do not suffer");
        scene.shutdown();
    });
}
