//! Settings as users give them, as far as they change what the whole does: where data goes, what a bad value costs,
//! `datadog.yaml`, and ports that somebody else has.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::lab::intake::API_KEY;
use crate::lab::{Action, Fault, Intake, Route, Sandbox, isolated_in};
use crate::{AT_END, LIMIT, ONCE, ROUTES, Scene, arrived, exchange, forget, isolated};

const OTHER_KEY: &str = "fedcba9876543210fedcba9876543210";

/// The settings that send everything to `url` as well, with [`OTHER_KEY`].
fn additional(url: &str) -> [(&'static str, String); 3] {
    let (host, port) = url.trim_start_matches("http://").split_once(':').unwrap();
    let both = json!({ url: [OTHER_KEY] }).to_string();
    let port: u16 = port.parse().unwrap();
    // Like the URL of the first one, a host may say that it is a local one without TLS.
    let host = format!("http://{host}");
    let logs = json!([{"api_key": OTHER_KEY, "Host": host, "Port": port, "is_reliable": true}]).to_string();
    [
        ("DD_ADDITIONAL_ENDPOINTS", both.clone()),
        ("DD_APM_ADDITIONAL_ENDPOINTS", both),
        ("DD_LOGS_CONFIG_ADDITIONAL_ENDPOINTS", logs),
    ]
}

fn scene_with_additional(url: &str) -> Scene {
    let additional = additional(url);
    let mut env: Vec<(&str, &str)> = additional.iter().map(|(name, value)| (*name, value.as_str())).collect();
    env.push(AT_END);
    Scene::new(&env)
}

#[test]
fn additional_endpoints_get_everything_with_their_own_key() {
    isolated("settings::additional_endpoints_get_everything_with_their_own_key", || {
        let other = Intake::start();
        let mut scene = scene_with_additional(&other.url());
        for n in 1..=2 {
            scene.invoke(n);
            assert_eq!([scene.arrived(n), arrived(&other.received(), n)], [ONCE; 2], "{n}");
        }
        scene.shutdown();
        for (intake, key) in [(&scene.intake, API_KEY), (&other, OTHER_KEY)] {
            let received = intake.received();
            assert_eq!(received.problems(), [""; 0]);
            assert!(received.requests.iter().all(|request| request.header("dd-api-key") == Some(key)));
            assert_eq!(received.logs.len(), scene.intake.received().logs.len());
            assert_eq!([arrived(&received, 1), arrived(&received, 2)], [ONCE; 2]);
        }
        scene.assert_quiet();
    });
}

/// Rows: how the second endpoint is dead. The first one gets everything, and no invocation waits for the other.
#[test]
fn a_dead_additional_endpoint_harms_nothing() {
    isolated("settings::a_dead_additional_endpoint_harms_nothing", || {
        let faults: [Option<Fault>; 4] =
            [None, Some(Action::Status(403).into()), Some(Action::Reset.into()), Some(Fault::slow(LIMIT * 4))];
        for fault in faults {
            let other = Intake::start();
            let url = if fault.is_some() { other.url() } else { "http://127.0.0.1:9".to_owned() };
            for route in ROUTES {
                other.fault(route, None, fault.clone().unwrap_or_default());
            }
            let mut scene = scene_with_additional(&url);
            for n in 1..=3 {
                let limit = if n == 1 { LIMIT } else { Duration::from_secs(2) };
                let invoked = scene.platform.invoke(&json!({ "n": n }), limit).unwrap();
                assert!(invoked.shutdown.is_none(), "{fault:?}: {n}");
                assert_eq!(scene.arrived(n), ONCE, "{fault:?}: {n}");
            }
            scene.shutdown();
            assert!((1..=3).all(|n| scene.arrived(n) == ONCE), "{fault:?}");
            forget();
        }
    });
}

/// The dead one comes back and gets what it missed; the living one gets nothing twice.
#[test]
fn an_endpoint_that_comes_back_gets_what_it_missed() {
    isolated("settings::an_endpoint_that_comes_back_gets_what_it_missed", || {
        let other = Intake::start();
        for route in ROUTES {
            other.fault(route, None, Action::Status(502));
        }
        let mut scene = scene_with_additional(&other.url());
        scene.invoke(1);
        other.heal();
        scene.invoke(2);
        scene.shutdown();
        for n in 1..=2 {
            assert_eq!([scene.arrived(n), arrived(&other.received(), n)], [ONCE; 2], "{n}");
        }
    });
}

#[test]
fn a_pipelines_worker_gets_the_logs_and_nothing_else() {
    isolated("settings::a_pipelines_worker_gets_the_logs_and_nothing_else", || {
        let worker = Intake::start();
        let url = worker.url();
        let mut scene = Scene::new(&[
            AT_END,
            ("DD_OBSERVABILITY_PIPELINES_WORKER_LOGS_ENABLED", "true"),
            ("DD_OBSERVABILITY_PIPELINES_WORKER_LOGS_URL", &url),
        ]);
        scene.invoke(1);
        scene.shutdown();
        assert_eq!([arrived(&worker.received(), 1), scene.arrived(1)], [[1, 0, 0], [0, 1, 1]]);
        assert!(worker.received().requests.iter().all(|request| request.route == Route::Logs));
        scene.assert_quiet();
    });
}

/// Rows: a bad value, and what the one line about it must say.
#[test]
fn a_bad_value_costs_itself() {
    isolated("settings::a_bad_value_costs_itself", || {
        for (name, value, parts) in [
            ("DD_SERVERLESS_FLUSH_STRATEGY", "sometimes", ["sometimes", "using the default, default"]),
            ("DD_SERVERLESS_FLUSH_STRATEGY", "end,0", ["end,0", "using the default, default"]),
            ("DD_FLUSH_TIMEOUT", "soon", ["soon", "using the default, 30"]),
            ("DD_LOG_LEVEL", "chatty", ["chatty", "using the default, info"]),
            ("DD_SERVERLESS_LOGS_ENABLED", "perhaps", ["perhaps", "using the default, true"]),
            ("DD_TAGS", "team:a,nonsense", ["nonsense", "using the rest"]),
            ("DD_DOGSTATSD_PORT", "99999", ["99999", "using the default, 8125"]),
            ("DD_LOGS_CONFIG_PROCESSING_RULES", "[{]", ["not", "using"]),
            ("DD_ADDITIONAL_ENDPOINTS", "nowhere", ["***", "using nothing"]),
        ] {
            let mut scene = Scene::new(&[(name, value)]);
            scene.invoke(1);
            scene.shutdown();
            let warnings = scene.lines("WARN");
            assert_eq!(warnings.len(), 1, "{name}={value}: {warnings:?}");
            assert!(warnings[0].starts_with(name), "{warnings:?}");
            assert!(parts.iter().all(|part| warnings[0].contains(part)), "{parts:?}: {warnings:?}");
            assert_eq!(scene.lines("ERROR"), [""; 0], "{name}={value}");
            assert_eq!(scene.arrived(1), ONCE, "{name}={value}");
            forget();
        }
    });
}

/// Runs `body` in a sandbox whose function folder has `yaml` as `datadog.yaml`.
pub fn with_yaml(name: &str, yaml: &str, body: impl FnOnce()) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name.replace("::", "."));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("datadog.yaml"), yaml).unwrap();
    isolated_in(&Sandbox { task: Some(folder), ..Sandbox::default() }, name, || {
        forget();
        body();
    });
}

#[test]
fn the_environment_comes_before_the_file() {
    let yaml = "
service: from-file
env: from-file
flush_timeout: soon
serverless_flush_strategy: end
logs_config:
  processing_rules:
    - type: exclude_at_match
      name: no platform
      pattern: ^(START|END|REPORT|INIT_START)
";
    with_yaml("settings::the_environment_comes_before_the_file", yaml, || {
        let mut scene = Scene::new(&[("DD_ENV", "from-environment")]);
        scene.invoke(1);
        assert_eq!(scene.arrived(1), ONCE);
        scene.shutdown();
        let received = scene.intake.received();
        let sketch = &received.sketches[0];
        for tag in ["service:from-file", "env:from-environment"] {
            assert!(sketch.tags.iter().any(|t| t == tag), "{tag}: {:?}", sketch.tags);
        }
        let lines: Vec<_> = received.logs.iter().map(|log| log.message()).collect();
        assert!(lines.iter().all(|line| !line.contains("RequestId")), "{lines:?}");
        let warnings = scene.lines("WARN");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let said = ["flush_timeout", "soon", "using the default, 30"];
        assert!(said.iter().all(|part| warnings[0].contains(part)), "{warnings:?}");
    });
}

#[test]
fn a_file_that_is_none_costs_itself() {
    with_yaml("settings::a_file_that_is_none_costs_itself", "a: [1\n\tb: {", || {
        let mut scene = Scene::new(&[]);
        scene.invoke(1);
        scene.shutdown();
        assert_eq!(scene.arrived(1), ONCE);
        let warnings = scene.lines("WARN");
        assert!(warnings.len() == 1 && warnings[0].starts_with("datadog.yaml: "), "{warnings:?}");
    });
}

/// Rows: who has which port, and what still arrives.
#[test]
fn a_port_in_use_costs_its_component() {
    isolated("settings::a_port_in_use_costs_its_component", || {
        let tcp = |port: u16| TcpListener::bind(("127.0.0.1", port)).unwrap();
        for (port, expected) in [(8124, [0, 1, 1]), (8125, [1, 0, 1]), (8126, [1, 1, 0])] {
            let (_tcp, _udp) = match port {
                8125 => (None, Some(UdpSocket::bind(("127.0.0.1", port)).unwrap())),
                port => {
                    let listener = tcp(port);
                    let closing = listener.try_clone().unwrap();
                    // Whoever has the port answers nobody.
                    std::thread::spawn(move || closing.incoming().flatten().for_each(drop));
                    (Some(listener), None)
                }
            };
            let mut scene = Scene::new(&[AT_END]);
            scene.invoke(1);
            scene.invoke(2);
            scene.shutdown();
            assert_eq!([scene.arrived(1), scene.arrived(2)], [expected; 2], "{port}");
            let errors = scene.lines("ERROR");
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].starts_with(&format!("port {port}: ")), "{errors:?}");
            assert!(errors[0].ends_with("everything else goes on"), "{errors:?}");
            assert_eq!(scene.lines("WARN"), [""; 0]);
            forget();
            if let Some(listener) = _tcp {
                // The thread above holds the port until its listener is shut down.
                rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).unwrap();
                drop(listener);
            }
        }
        assert_eq!(exchange_refused(8124), (), "nothing is left behind");
    });
}

/// Nobody listens on `port`.
fn exchange_refused(port: u16) {
    let refused = std::panic::catch_unwind(|| exchange(port, b"")).is_err();
    assert!(refused, "{port} is open");
}
