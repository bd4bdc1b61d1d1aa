//! The floors that the benchmark compares with: programs on raw sockets that do what cannot be avoided, and nothing
//! else.
//!
//! Without arguments: register, subscribe, poll `next`, as an extension must. With `udp PORT`: read datagrams.

use std::env;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};

fn main() {
    let mut arguments = env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => extension(),
        (Some("udp"), Some(port)) => datagrams(port.parse().expect("a port")),
        _ => panic!("usage: floor [udp PORT]"),
    }
}

fn extension() {
    let api = env::var("AWS_LAMBDA_RUNTIME_API").expect("the platform's address");
    let mut stream = TcpStream::connect(&api).expect("the platform listens");
    stream.set_nodelay(true).expect("a TCP socket");
    let mut reply = [0; 4096];

    let body = r#"{"events":["INVOKE","SHUTDOWN"]}"#;
    let register = format!(
        "POST /2020-01-01/extension/register HTTP/1.1\r\nHost: {api}\r\nLambda-Extension-Name: datadog-agent\r\n\
         Lambda-Extension-Accept-Feature: accountId\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let head = exchange(&mut stream, &register, &mut reply);
    let (_, after) = head.split_once("Lambda-Extension-Identifier: ").expect("an identifier");
    let id = after.split("\r\n").next().expect("a line").to_owned();

    let body = concat!(
        r#"{"schemaVersion":"2022-07-01","types":["platform","function","extension"],"#,
        r#""destination":{"protocol":"HTTP","URI":"http://sandbox:8124/lambda/logs"},"#,
        r#""buffering":{"maxItems":1000,"maxBytes":262144,"timeoutMs":25}}"#
    );
    let subscribe = format!(
        "PUT /2022-07-01/telemetry HTTP/1.1\r\nHost: {api}\r\nLambda-Extension-Identifier: {id}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(&mut stream, &subscribe, &mut reply);

    let next = format!(
        "GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: {api}\r\nLambda-Extension-Identifier: {id}\r\n\r\n"
    );
    exchange(&mut stream, &next, &mut reply);
}

/// Sends `request` and reads a reply that comes in one piece, as those of the benchmark's platform do.
fn exchange<'a>(stream: &mut TcpStream, request: &str, reply: &'a mut [u8]) -> &'a str {
    stream.write_all(request.as_bytes()).expect("the platform reads");
    let length = stream.read(reply).expect("the platform answers");
    std::str::from_utf8(&reply[..length]).expect("a reply in UTF-8")
}

fn datagrams(port: u16) {
    let socket = UdpSocket::bind(("127.0.0.1", port)).expect("a free port");
    let mut buffer = [0; 8192];
    while socket.recv(&mut buffer).is_ok() {}
}
