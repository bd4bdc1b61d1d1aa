//! Requests that go on to other intakes, with clients and intakes that do not behave: each is answered, and nothing that
//! one says makes the other hear anything else.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver as Channel, bounded, unbounded};
use thimble::config::Config;
use thimble::forwarder::Client;
use thimble::lambda::Tags;
use thimble::net::{Limits, Service, bind, serve};
use thimble::traces::passthrough::Passthrough;
use thimble::traces::receiver::Receiver;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const OK: &[u8] = b"HTTP/1.1 202 A\r\ncontent-length: 2\r\n\r\n{}";

/// A receiver without a trace agent, so that everything is passed on at once, and an intake.
struct Scene {
    receiver: SocketAddr,
    /// The heads that the intake got, and what it got behind them until it answered.
    seen: Channel<(String, Vec<u8>)>,
}

/// `intake` gets a connection whose head was read, and hands back what it read of the body.
fn scene(intake: impl Fn(&mut BufReader<TcpStream>) -> Vec<u8> + Send + 'static) -> Scene {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (saw, seen) = unbounded();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
            let _ = saw.send((head, intake(&mut reader)));
        }
    });
    let env = [
        ("DD_API_KEY", KEY),
        ("DD_FLUSH_TIMEOUT", "20"),
        ("DD_APM_PROFILING_DD_URL", &format!("{url}/p")),
        ("DD_APM_DEBUGGER_DD_URL", &format!("{url}/d")),
        ("DD_APM_TELEMETRY_DD_URL", &url),
        ("DD_EVP_PROXY_CONFIG_DD_URL", &url),
    ];
    let env: Vec<_> = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let config = Arc::new(Config::load(&env, None).0);
    let (to_agent, _) = bounded(1);
    let proxy = Passthrough::new(&config, &Tags::default(), Client::new(&config), None);
    let service: Arc<dyn Service> = Arc::new(Receiver::new(to_agent, &config, proxy));
    let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let receiver = listener.local_addr().unwrap();
    let limits = Limits { connections: 8, head: 32 << 10, read_timeout: Duration::from_secs(20), body_budget: 4 << 20 };
    thread::spawn(move || serve(&listener, "traces", &limits, &service));
    Scene { receiver, seen }
}

/// An intake that reads a body of a declared length and answers.
fn answering(answer: &'static [u8]) -> Scene {
    scene(move |stream| {
        stream.get_mut().write_all(answer).unwrap();
        Vec::new()
    })
}

impl Scene {
    /// All that is answered to `request`, after which nothing more is sent.
    fn exchange(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.receiver).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }
}

fn post(target: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// Status and body of an answer.
fn parts(answer: &str) -> (u16, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

const EVP: &str = "X-Datadog-EVP-Subdomain: api\r\n";

/// Rows: what the intake answers, and status, a header line and body that the client gets.
#[test]
fn answers_of_any_kind() {
    for (answer, status, header, body) in [
        (&b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 202 A\r\ncontent-length: 2\r\n\r\n{}"[..], 202, "", "{}"),
        (b"HTTP/1.1 103 E\r\nlink: a\r\n\r\nHTTP/1.1 202 A\r\ncontent-length: 2\r\n\r\n{}", 202, "", "{}"),
        // Nobody asked for another protocol.
        (b"HTTP/1.1 101 S\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc", 502, "", "http status: 101\n"),
        (b"HTTP/1.1 204 N\r\n\r\n", 204, "", ""),
        (b"HTTP/1.1 304 N\r\netag: x\r\n\r\n", 304, "ETag: x\r\n", ""),
        // Passed back, not followed: another host would get the key.
        (
            b"HTTP/1.1 307 T\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n",
            307,
            "Location: http://127.0.0.1:9/\r\n",
            "",
        ),
        (
            b"HTTP/1.1 200 O\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\x1f\x01a",
            200,
            "Content-Encoding: gzip\r\n",
            "\x1f\x01a",
        ),
        (b"HTTP/1.1 200 O\r\ncontent-type: a\xffb\r\ncontent-length: 1\r\n\r\na", 200, "Content-Length: 1\r\n", "a"),
        (
            b"HTTP/1.1 200 O\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
            200,
            "Content-Length: 3\r\n",
            "abc",
        ),
        (
            b"HTTP/1.1 200 O\r\nset-cookie: a=b\r\nconnection: x\r\n\r\nto the end",
            200,
            "Connection: close\r\n",
            "to the end",
        ),
        (b"HTTP/1.1 999 N\r\ncontent-length: 3\r\n\r\nabc", 999, "", "abc"),
        (b"HTTP/1.1 099 N\r\ncontent-length: 3\r\n\r\nabc", 502, "", "invalid status code: 099\n"),
    ] {
        let answered = answering(answer).exchange(&post("/evp_proxy/v2/x", EVP, "1"));
        let (got, text) = parts(&answered);
        assert!(
            got == status && answered.contains(header) && text.ends_with(body),
            "{status} {header} {body}: {answered}"
        );
        assert!(!answered.contains("ookie") && !answered.contains("pgrade") && !answered.contains(KEY), "{answered}");
    }
}

/// Rows: what is asked for, and the request line that the intake gets.
#[test]
fn whatever_is_asked_for_the_host_stays() {
    for (target, expected) in [
        ("/profiling/v1/input?a=<b>&c=\"d\"", "/p?a=%3Cb%3E&c=%22d%22"),
        ("/profiling/v1/input?a=b#c?d", "/p?a=b%23c?d"),
        ("/profiling/v1/input?a=^b`{}|\\&%zz%", "/p?a=^b`{}|\\&%zz%"),
        ("/profiling/v1/input?http://evil.com/", "/p?http://evil.com/"),
        ("http://evil.com/profiling/v1/input?a", "/p?a"),
        ("http://u:p@evil.com:1/telemetry/proxy/x", "/x"),
        ("/telemetry/proxy/../x//y/%2f", "/../x//y/%2f"),
        ("/telemetry/proxy//evil.com/x", "//evil.com/x"),
        ("/telemetry/proxy/@evil.com/x", "/@evil.com/x"),
        ("/telemetry/proxy/:80/x", "/:80/x"),
        ("/telemetry/proxy/a<b>\"#f", "/a%3Cb%3E%22%23f"),
        ("/evp_proxy/v3/a/b?c=%2F..", "/a/b?c=%2F.."),
        ("/evp_proxy/v1//x", "//x"),
    ] {
        let scene = answering(OK);
        let answered = scene.exchange(&post(target, EVP, "1"));
        assert!((200..300).contains(&parts(&answered).0), "{target}: {answered}");
        let (head, _) = scene.seen.recv().unwrap();
        assert!(head.starts_with(&format!("POST {expected} HTTP/1.1\r\n")), "{target}: {head}");
        assert!(head.contains("\r\nhost: 127.0.0.1:") && !head.contains("host: evil"), "{target}: {head}");
    }
}

/// Rows: a request, and the status with which it is refused before anything of it goes anywhere.
#[test]
fn what_must_not_go_out_does_not() {
    let named = |subdomain: &str| format!("X-Datadog-EVP-Subdomain: {subdomain}\r\n");
    let long = |length: usize| format!("X-Long: {}\r\n", "l".repeat(length));
    let query = |path: &str, length: usize| format!("{path}?{}", "q".repeat(length));
    let evil = [
        "evil.com/",
        "a@b",
        "é",
        "xn--é",
        "..",
        ".",
        "a.",
        "a..b",
        "a:80",
        "a b",
        "a\tb",
        "a%2eb",
        "a\\b",
        "[::1]",
        "a?",
        "a#",
        "-a",
        "a,b",
    ];
    let refused = evil.map(|subdomain| (post("/evp_proxy/v2/x", &named(subdomain), "1"), 400)).into_iter().chain([
        (post("/evp_proxy/v2/x", "", "1"), 400),
        (post("/evp_proxy/v2/x", &named(&"a.".repeat(200)), "1"), 400),
        (post("/evp_proxy/v2/../x", EVP, "1"), 400),
        (post("/evp_proxy/v2/%2e%2e/x", EVP, "1"), 400),
        (post("/evp_proxy/v2/a%2fb", EVP, "1"), 400),
        (post("/evp_proxy/v2/a#b", EVP, "1"), 400),
        (post("/evp_proxy/v2/api/v2/llmobs", &named("evil.com/"), "1"), 400),
        // The client writes a line at once.
        (post("/profiling/v1/input", &long(15_400), "1"), 431),
        (post("/evp_proxy/v2/x", &format!("{EVP}User-Agent: {}\r\n", "u".repeat(20_000)), "1"), 431),
        (post(&query("/profiling/v1/input", 15_400), "", "1"), 431),
        (post(&query("/profiling/v1/input", 33_000), "", "1"), 431),
        (post("/profiling/v1/input", &"X-Many: 1\r\n".repeat(100), "1"), 431),
        (post("/profiling/v1/input", "X-A: a\r\n folded\r\n", "1"), 400),
        (post("/profiling/v1/input", "X-A: a\rX-B: b\r\n", "1"), 400),
        (post("/profiling/v1/input", "Expect: 200-ok\r\n", "1"), 417),
        (post("/profiling/v1/input", "Transfer-Encoding: chunked\r\n", "1"), 400),
    ]);
    for (request, status) in refused {
        let scene = answering(OK);
        let answered = scene.exchange(&request);
        let request = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
        assert_eq!(parts(&answered).0, status, "{request}: {answered}");
        assert!(scene.seen.is_empty(), "{request}");
    }
}

#[test]
fn long_lines_and_many_headers_arrive() {
    let value = "v".repeat(15_000);
    let many = "X-Many: 1\r\n".repeat(90);
    for (target, headers, line, times) in [
        ("/profiling/v1/input", format!("X-A: {value}\r\nX-B: {value}\r\n"), format!("\r\nx-b: {value}\r\n"), 1),
        ("/profiling/v1/input", many, "x-many: 1\r\n".to_owned(), 90),
        ("/debugger/v1/input?ddtags=", String::new(), "_dd.origin:lambda".to_owned(), 2),
    ] {
        let target = if headers.is_empty() { format!("{target}{}", "%20".repeat(8_000)) } else { target.to_owned() };
        let scene = answering(OK);
        assert_eq!(parts(&scene.exchange(&post(&target, &headers, "1"))).0, 200, "{target:.40}");
        let (head, _) = scene.seen.recv().unwrap();
        assert_eq!(head.matches(&line).count(), times, "{target:.40}");
    }
}

/// A client that goes away, or sends nonsense, in the middle: the intake never takes what came for the whole.
#[test]
fn half_a_body_is_not_taken_for_a_whole_one() {
    let head = "POST /evp_proxy/v2/x HTTP/1.1\r\nHost: h\r\nX-Datadog-EVP-Subdomain: api\r\n";
    for (framing, body) in [
        ("Content-Length: 300000", "x".repeat(100_000)),
        ("Transfer-Encoding: chunked", format!("186a0\r\n{}\r\n", "x".repeat(100_000))),
        ("Transfer-Encoding: chunked", format!("186a0\r\n{}\r\n5\r\nabc", "x".repeat(100_000))),
        ("Transfer-Encoding: chunked", format!("186a0\r\n{}\r\nno number\r\n", "x".repeat(100_000))),
    ] {
        let scene = scene(|stream| {
            let mut body = Vec::new();
            // The end of the connection, or a reset.
            let _ = stream.read_to_end(&mut body);
            body
        });
        let mut stream = TcpStream::connect(scene.receiver).unwrap();
        stream.write_all(format!("{head}{framing}\r\n\r\n{body}").as_bytes()).unwrap();
        drop(stream);
        let (head, body) = scene.seen.recv_timeout(Duration::from_secs(60)).unwrap();
        if head.contains("content-length: 300000\r\n") {
            assert!(body.len() < 300_000, "{framing}");
        } else {
            assert!(head.contains("transfer-encoding: chunked\r\n") && !body.ends_with(b"0\r\n\r\n"), "{framing}");
        }
    }
}

#[test]
fn trailers_end_at_the_receiver() {
    let scene = scene(|stream| {
        let mut body = Vec::new();
        while !body.ends_with(b"\r\n0\r\n\r\n") && stream.read_until(b'\n', &mut body).unwrap() > 0 {}
        stream.get_mut().write_all(OK).unwrap();
        body
    });
    let head = "POST /evp_proxy/v2/x HTTP/1.1\r\nHost: h\r\nX-Datadog-EVP-Subdomain: api\r\nConnection: close\r\n";
    let request = format!(
        "{head}Trailer: DD-API-KEY\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n0\r\nDD-API-KEY: theirs\r\n\r\n"
    );
    assert_eq!(parts(&scene.exchange(request.as_bytes())).0, 202);
    let (head, body) = scene.seen.recv().unwrap();
    assert!(!head.contains("trailer") && head.contains(&format!("dd-api-key: {KEY}\r\n")), "{head}");
    assert_eq!(body, b"3\r\nabc\r\n0\r\n\r\n");
}
