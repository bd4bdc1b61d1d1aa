//! The daemon on 8124 and telemetry deliveries, through the shipped binary while an invocation runs.

use serde_json::{Value, json};

use crate::lab::{Outcome, Runtime};
use crate::{AT_END, LIMIT, ONCE, Scene, exchange, isolated, status, work};

/// A request with this line, further header lines and a body.
fn request(line: &str, headers: &str, body: &str) -> Vec<u8> {
    let headers = if headers.is_empty() { format!("Content-Length: {}\r\n", body.len()) } else { headers.to_owned() };
    format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n{body}").into_bytes()
}

/// Rows: a request, the status, and what the body says.
#[test]
fn every_endpoint_answers_while_the_function_runs() {
    isolated("daemon::every_endpoint_answers_while_the_function_runs", || {
        let long = "x".repeat(70_000);
        let long_header = format!("Content-Length: 0\r\nX-Long: {long}\r\n");
        let rows: Vec<(Vec<u8>, u16, &str)> = vec![
            (request("GET /lambda/hello", "", ""), 200, "{}"),
            (request("GET /lambda/flush", "", ""), 200, "{}"),
            (request("POST /lambda/flush", "", ""), 200, "{}"),
            (request("POST /lambda/flush", "Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), 200, "{}"),
            (request("GET /trace-context", "", ""), 200, "{}"),
            (request("POST /trace-context", "", ""), 200, "{}"),
            (request("POST /lambda/logs", "", "[]"), 200, ""),
            (request("POST /lambda/start-invocation", "", "{}"), 200, "{}"),
            (request("POST /lambda/end-invocation", "", "{}"), 200, "{}"),
            (request("GET /nothing", "", ""), 404, "/nothing"),
            (request("DELETE /lambda/logs", "", ""), 405, "use POST"),
            (request("PUT /lambda/hello", "", ""), 405, "use GET"),
            (request("POST /lambda/flush", "", &long), 413, "longer than"),
            (request("GET /lambda/hello", &long_header, ""), 431, "header"),
            (request("GET /lambda/hello", "Content-Length: -1\r\n", ""), 400, "Content-Length"),
            (request("GET /lambda/hello", "Content-Length: 1\r\nContent-Length: 2\r\n", ""), 400, "Content-Length"),
            (b"nonsense\r\n\r\n".to_vec(), 400, ""),
        ];
        let requests: Vec<Vec<u8>> = rows.iter().map(|row| row.0.clone()).collect();
        let mut scene = Scene::with(&[AT_END], |options| {
            options.runtime = Runtime::builtin(move |invocation| {
                work(invocation);
                let answers: Vec<String> = requests.iter().map(|request| exchange(8124, request)).collect();
                Outcome::Done(json!(answers))
            });
        });
        let invoked = scene.invoke(1);
        for (answer, (request, expected, says)) in invoked.response.as_array().unwrap().iter().zip(&rows) {
            let answer = answer.as_str().unwrap();
            let line = String::from_utf8_lossy(&request[..request.len().min(90)]).into_owned();
            assert_eq!(status(answer), *expected, "{line}: {answer}");
            let body = answer.split_once("\r\n\r\n").unwrap().1;
            assert!(body.contains(says), "{line}: {body:?}");
            assert!(*expected == 200 || !body.trim().is_empty(), "{line}: a refusal says why");
        }
        assert_eq!(scene.arrived(1), ONCE, "and the invocation is flushed as ever");
        scene.shutdown();
        scene.assert_quiet();
    });
}

/// Elements that are not what they should be, between lines that are.
#[test]
fn a_malformed_element_costs_itself() {
    isolated("daemon::a_malformed_element_costs_itself", || {
        let mut scene = Scene::new(&[AT_END]);
        scene.invoke(1);
        let time = "2026-11-23T04:39:08.457Z";
        let line = |text: &str| json!({"time": time, "type": "function", "record": text});
        let bad = [
            Value::Null,
            json!(7),
            json!("text"),
            json!({}),
            json!({"type": 7}),
            json!({"time": time, "type": "function"}),
            json!({"time": time, "type": "platform.start", "record": "not an object"}),
            json!({"time": time, "type": "platform.runtimeDone", "record": {"status": "success"}}),
            json!({"time": time, "type": "platform.report", "record": {}}),
        ];
        // What this version does not know is no fault.
        let unknown = [
            json!({"time": time, "type": "platform.fault", "record": "RequestId: x Error: Runtime exited"}),
            json!({"time": time, "type": "platform.somethingNew", "record": {"a": [1]}}),
            json!({"time": "not a time", "type": "function", "record": "odd time"}),
        ];
        let mut delivery = Vec::new();
        for (i, element) in bad.iter().chain(&unknown).enumerate() {
            delivery.extend([line(&format!("neighbour {i}")), element.clone()]);
        }
        delivery.push(line("the last neighbour"));
        scene.platform.telemetry().inject(delivery);
        assert!(scene.platform.telemetry().drain(LIMIT));
        scene.invoke(2);
        scene.shutdown();

        let received = scene.intake.received();
        let found = |text: &str| received.logs.iter().filter(|log| log.message() == text).count();
        for i in 0..bad.len() + unknown.len() {
            assert_eq!(found(&format!("neighbour {i}")), 1, "{i}");
        }
        assert_eq!((found("the last neighbour"), found("odd time")), (1, 1));
        assert_eq!([scene.arrived(1), scene.arrived(2)], [ONCE; 2]);
        let warnings = scene.lines("WARN");
        let expected = format!("{} telemetry elements are not readable and were skipped", bad.len());
        assert!(warnings.len() == 1 && warnings[0].starts_with(&expected), "{warnings:?}");
    });
}
