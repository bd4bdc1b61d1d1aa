//! A scripted extension: registers, subscribes, polls, answers deliveries on 8124 and keeps what it got in a file, one
//! JSON value a line. `LAB_SCRIPT` changes what it does.

use std::fs::File;
use std::io::Write;
use std::sync::Mutex;

use serde_json::Value;

use crate::lab::platform::Program;

/// Where it writes what it got; `/tmp` is the sandbox's own.
pub const RECORD: &str = "/tmp/scripted-extension.jsonl";

/// This test binary as an extension.
pub fn program() -> Program {
    let mut program = Program::new(
        crate::lab::isolation::EXTENSION,
        &["--exact", "extension::scripted_extension", "--ignored", "--nocapture", "--test-threads=1"],
    );
    if !std::path::Path::new(crate::lab::isolation::EXTENSION).exists() {
        program.path = std::env::current_exe().expect("this program has a path");
    }
    program
}

/// What it recorded so far.
pub fn record() -> Vec<Value> {
    let text = std::fs::read_to_string(RECORD).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("it writes whole lines")).collect()
}

#[test]
#[ignore = "started by the lab as an extension"]
fn scripted_extension() {
    let script = std::env::var("LAB_SCRIPT").unwrap_or_default();
    assert!(std::env::var_os("_HANDLER").is_none(), "extensions do not get this");
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API").expect("the platform sets it");
    let agent = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build().new_agent();
    let file = Mutex::new(File::options().create(true).append(true).open(RECORD).unwrap());
    let record = |value: &Value| writeln!(file.lock().unwrap(), "{value}").unwrap();
    let server = tiny_http::Server::http("0.0.0.0:8124").unwrap();

    let register = agent.post(format!("http://{api}/2020-01-01/extension/register"));
    let register = register.header("Lambda-Extension-Name", "datadog-agent");
    let register = register.header("Lambda-Extension-Accept-Feature", "accountId");
    let mut registered = register.send(r#"{"events":["INVOKE","SHUTDOWN"]}"#).unwrap();
    assert_eq!(registered.status(), 200);
    let id = registered.headers().get("Lambda-Extension-Identifier").unwrap().to_str().unwrap().to_owned();
    record(&serde_json::from_str(&registered.body_mut().read_to_string().unwrap()).unwrap());
    let subscribe = agent.put(format!("http://{api}/2022-07-01/telemetry")).header("Lambda-Extension-Identifier", &id);
    let subscription = r#"{"schemaVersion":"2022-07-01","types":["platform","function","extension"],
        "destination":{"protocol":"HTTP","URI":"http://sandbox:8124/lambda/logs"},
        "buffering":{"maxItems":1000,"maxBytes":262144,"timeoutMs":25}}"#;
    assert!(subscribe.send(subscription).unwrap().status().as_u16() < 300);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for mut request in server.incoming_requests() {
                let events: Vec<Value> = serde_json::from_reader(request.as_reader()).unwrap();
                events.iter().for_each(&record);
                request.respond(tiny_http::Response::empty(200)).unwrap();
            }
        });
        println!("extension ready");
        loop {
            let next = agent.get(format!("http://{api}/2020-01-01/extension/event/next"));
            let mut answer = next.header("Lambda-Extension-Identifier", &id).call().unwrap();
            if answer.status() != 200 {
                continue;
            }
            let event: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
            record(&event);
            match (event["eventType"].as_str(), script.as_str()) {
                (Some("SHUTDOWN"), "stubborn") => std::thread::sleep(std::time::Duration::from_secs(60)),
                (Some("SHUTDOWN"), _) => break,
                (_, "exits") => std::process::exit(7),
                _ => {}
            }
        }
        server.unblock();
    });
}
