//! The HTTP server from outside: real sockets on loopback, one server for each test, raw bytes as a client sends them.
//!
//! Nothing here waits for a time to pass in order to be right: clients wait for answers, with a timeout that only a
//! failure reaches.

#[path = "net/bounds.rs"]
mod bounds;
#[path = "net/relay.rs"]
mod relay;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rustix::net::sockopt;
use thimble::diag::counters::{Counter, get};
use thimble::net::{Admission, Body, Head, Limits, Response, Service, bind, serve};

const MIB: usize = 1024 * 1024;

/// What the tests serve. `/len` answers with [`answer_to`], other paths with what they say.
struct Site {
    /// Bodies that `/hold` keeps.
    held: (Sender<Body>, Receiver<Body>),
    /// `/gate` waits for a token.
    gate: (Sender<()>, Receiver<()>),
    name: &'static str,
    running: AtomicUsize,
    most_running: AtomicUsize,
    most_threads: AtomicUsize,
}

impl Service for Site {
    fn admit(&self, head: &Head) -> Result<Admission, Response> {
        match (head.path.as_str(), head.method.as_str()) {
            ("/post", "GET") => Err(Response::text(405, "use POST")),
            ("/panic-early", _) => panic!("asked for, in admit"),
            ("/small", _) => Ok(Admission::Whole(10)),
            ("/len" | "/post" | "/hold" | "/gate" | "/panic" | "/204" | "/304" | "/header" | "/large" | "/", _) => {
                Ok(Admission::Whole(50 * MIB))
            }
            ("*", "OPTIONS") => Ok(Admission::Whole(0)),
            _ => Err(Response::text(404, "no such path")),
        }
    }

    fn respond(&self, head: &Head, body: Body) -> Response {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        let answer = match head.path.as_str() {
            "/hold" => {
                self.held.0.send(body).unwrap();
                Response::text(200, "held")
            }
            "/gate" => {
                self.most_threads.fetch_max(threads(self.name).len(), Ordering::SeqCst);
                self.gate.1.recv_timeout(Duration::from_secs(60)).unwrap();
                Response::text(200, "open")
            }
            "/panic" => panic!("asked for, in respond"),
            "/204" => Response::text(204, "never sent"),
            "/304" => Response::text(304, "never sent"),
            "/header" => Response {
                headers: vec![("X-A", "1\r\nX-B: 2".into()), ("X-C", "3".into())],
                ..Response::text(200, "")
            },
            "/large" => Response::text(200, vec![b'a'; 3 * MIB]),
            _ => Response::text(200, answer_to(&body)),
        };
        self.running.fetch_sub(1, Ordering::SeqCst);
        answer
    }
}

/// The length of a body, and a sum that tells where its bytes are.
fn answer_to(body: &[u8]) -> String {
    let sum: usize = body.iter().step_by(97).enumerate().map(|(i, b)| (i + 1) * usize::from(*b)).sum();
    format!("{} {sum}", body.len())
}

/// Ids of the threads whose names begin with `name`.
fn threads(name: &str) -> Vec<String> {
    let tasks =
        std::fs::read_dir("/proc/self/task").unwrap().filter_map(|task| task.ok()?.file_name().into_string().ok());
    let named = |id: &String| {
        std::fs::read_to_string(format!("/proc/self/task/{id}/comm")).is_ok_and(|comm| comm.starts_with(name))
    };
    tasks.filter(named).collect()
}

/// The kernel's letters for what these threads do: R runs, S sleeps.
fn states(name: &str) -> Vec<String> {
    let stat = |id: String| std::fs::read_to_string(format!("/proc/self/task/{id}/stat")).unwrap_or_default();
    let state = |stat: String| stat.rsplit(") ").next().and_then(|rest| rest.split(' ').next()).map(str::to_owned);
    threads(name).into_iter().filter_map(|id| state(stat(id))).collect()
}

fn limits() -> Limits {
    Limits { connections: 32, head: 16 * 1024, read_timeout: Duration::from_secs(10), body_budget: 64 * MIB }
}

fn start(name: &'static str, limits: Limits) -> (SocketAddr, Arc<Site>) {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let site = Arc::new(Site {
        held: unbounded(),
        gate: bounded(0),
        name,
        running: AtomicUsize::new(0),
        most_running: AtomicUsize::new(0),
        most_threads: AtomicUsize::new(0),
    });
    let service: Arc<dyn Service> = Arc::clone(&site) as _;
    thread::Builder::new().name(name.into()).spawn(move || serve(&listener, name, &limits, &service)).unwrap();
    (addr, site)
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    fn new(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).unwrap())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, received: Vec::new() }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    fn more(&mut self) -> usize {
        let mut piece = vec![0; 64 * 1024];
        let n = self.stream.read(&mut piece).expect("an answer or the end, not a reset");
        self.received.extend(&piece[..n]);
        n
    }

    fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.received.windows(4).position(|w| w == b"\r\n\r\n") {
                return String::from_utf8(self.received.drain(..end + 4).collect()).unwrap();
            }
            assert!(self.more() > 0, "ended within a head: {:?}", String::from_utf8_lossy(&self.received));
        }
    }

    fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    fn answer_to(&mut self, method: &str) -> Answer {
        let head = self.head();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|l| l.strip_prefix("Content-Length: ")).map(|v| v.parse().unwrap());
        assert_eq!(length.is_none(), status == 204 || status == 304, "{head}");
        let length: usize = if method == "HEAD" { 0 } else { length.unwrap_or(0) };
        while self.received.len() < length {
            assert!(self.more() > 0, "ended within a body");
        }
        let body = String::from_utf8(self.received.drain(..length).collect()).unwrap();
        Answer { status, head, body }
    }

    fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        self.answer()
    }

    fn post(&mut self, path: &str, body: &[u8]) -> Answer {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        self.send([head.as_bytes(), body].concat());
        self.answer()
    }

    /// Whether the server closed in good order, with nothing more to say.
    fn is_closed(&mut self) -> bool {
        self.received.is_empty() && self.more() == 0
    }
}

/// Sends `wire` on a connection of its own: the statuses in order, then whether the connection goes on.
fn check(addr: SocketAddr, wire: &[u8], statuses: &[u16], goes_on: bool) {
    let shown = String::from_utf8_lossy(&wire[..wire.len().min(200)]).into_owned();
    let mut client = Client::new(addr);
    client.send(wire);
    for (i, status) in statuses.iter().enumerate() {
        let answer = client.answer();
        assert_eq!(answer.status, *status, "answer {i} to {shown:?}: {}", answer.body);
        assert!(answer.status < 400 || !answer.body.is_empty(), "an error says what is wrong: {shown:?}");
        let last = i + 1 == statuses.len();
        let says_close = answer.head.contains("\r\nConnection: close\r\n");
        assert_eq!(says_close, last && !goes_on, "{shown:?}: {}", answer.head);
    }
    if goes_on {
        assert_eq!(client.get("/").status, 200, "{shown:?}");
    } else {
        assert!(client.is_closed(), "{shown:?}");
    }
}

#[test]
fn every_request_is_answered_and_none_is_smuggled() {
    let (addr, _) = start("cases", limits());
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = |path: &str, headers: &str, rest: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{rest}{}", get("/"))
    };
    let next = get("/");
    let large = "x".repeat(100 * 1024);
    let length = format!("Content-Length: {}", large.len());
    let chunked = "Transfer-Encoding: chunked";
    for (wire, statuses, goes_on) in [
        // Fine, each followed by another request.
        (next.repeat(3), &[200, 200, 200][..], true),
        (get("http://localhost:1/len"), &[200], true),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[200], true),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[200], true),
        (post("/", "X-No: length", ""), &[200, 200], true),
        (post("/", "Content-Length: 3", "abc"), &[200, 200], true),
        (post("/", chunked, "3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n"), &[200, 200], true),
        // The last by its own will: what trails it is no request.
        ("GET / HTTP/1.0\r\n\r\n".into(), &[200], false),
        (post("/", "Connection: close", ""), &[200], false),
        (post("/", "Connection: close", &large), &[200], false),
        (format!("{next}garbage\r\n\r\n"), &[200, 400], false),
        // Not wanted: a small body is read and the connection goes on, a large one ends it after the answer.
        (get("/none"), &[404], true),
        (get("/post"), &[405], true),
        (post("/none", "Content-Length: 3", "abc"), &[404, 200], true),
        (post("/none", chunked, "3\r\nabc\r\n0\r\n\r\n"), &[404, 200], true),
        (post("/none", &length, &large), &[404], false),
        // Too large.
        (post("/small", "Content-Length: 10", "0123456789"), &[200, 200], true),
        (post("/small", "Content-Length: 11", "0123456789a"), &[413], false),
        (post("/small", &length, &large), &[413], false),
        (post("/small", chunked, "b\r\n0123456789a\r\n0\r\n\r\n"), &[413], false),
        (post("/len", "Content-Length: 1000000000000000", ""), &[413], false),
        (post("/len", "Content-Length: 18446744073709551615", ""), &[413], false),
        (post("/", &format!("X-A: {large}"), ""), &[431], false),
        (post("/", &"a: b\r\n".repeat(101), ""), &[431], false),
        // Malformed. What follows is never taken for a request.
        (post("/", "Content-Length: 3\r\nContent-Length: 3", "abc"), &[400], false),
        (post("/", "Content-Length: 3\r\nContent-Length: 4", "abc"), &[400], false),
        (post("/", "Content-Length: 5x", "abc"), &[400], false),
        (post("/", "Content-Length: +3", "abc"), &[400], false),
        (post("/", "Content-Length: 3\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), &[400], false),
        (post("/", "Content-Length: 3\r\nTransfer-Encoding: identity", "abc"), &[400], false),
        (post("/", "Transfer-Encoding: xchunked", "0\r\n\r\n"), &[501], false),
        (post("/", chunked, "3\r\nabcd\r\n0\r\n\r\n"), &[400], false),
        (post("/", "X-A: b\r\n folded", ""), &[400], false),
        (post("/", "X-A: b\0", ""), &[400], false),
        (post("/", "Expect: tea", ""), &[417], false),
        (get("/caf\u{e9}"), &[400], false),
        (format!("GET / HTTP/1.1\r\n\r\n{next}"), &[400], false),
        (format!("GET / HTTP/2.0\r\nHost: a\r\n\r\n{next}"), &[505], false),
        (format!("\u{16}\u{3}\u{1}{large}"), &[400], false),
        // Panics.
        (get("/panic"), &[500], false),
        (post("/panic-early", "Content-Length: 3", "abc"), &[500], false),
    ] {
        check(addr, wire.as_bytes(), statuses, goes_on);
    }
}

#[test]
fn answers_without_bodies_and_headers_that_would_break() {
    let (addr, _) = start("bodies", limits());
    let mut client = Client::new(addr);
    client.send("HEAD /len HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.answer_to("HEAD").head.contains("Content-Length: 3\r\n"));
    for status in [204, 304] {
        assert_eq!(client.get(&format!("/{status}")).status, status);
    }
    let head = client.get("/header").head;
    assert!(head.contains("X-C: 3\r\n") && !head.contains("X-B"), "{head}");
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(client.answer().head.contains("Connection: keep-alive\r\n"));
    assert_eq!(client.get("/large").body.len(), 3 * MIB);
}

#[test]
fn continue_is_sent_only_if_the_body_will_be_read() {
    let (addr, _) = start("expect", limits());
    let head = |path: &str, length: usize| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n")
    };
    let mut client = Client::new(addr);
    client.send(head("/len", 3));
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc");
    assert_eq!(client.answer().body, "3 97");
    // Nothing to wait for.
    client.send(head("/len", 0));
    assert_eq!(client.answer().body, "0 0");
    client.send(head("/len", 3) + "abc");
    let answer = client.head();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for (path, status) in [("/none", 404), ("/small", 413)] {
        let mut client = Client::new(addr);
        client.send(head(path, 11));
        assert_eq!(client.answer().status, status);
        assert!(client.is_closed());
    }
}

#[test]
fn half_closed_peers_get_their_answer() {
    let (addr, _) = start("halves", limits());
    for (wire, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 200),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabc", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 400),
        ("GET / HTTP/1.1\r\nHost", 400),
    ] {
        let mut client = Client::new(addr);
        client.send(wire);
        client.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.answer().status, status, "{wire:?}");
        assert!(client.is_closed(), "{wire:?}");
    }
}

#[test]
fn a_client_that_sends_more_than_is_accepted_sees_the_answer() {
    let (addr, _) = start("drain", limits());
    let body = vec![b'x'; 20 * MIB];
    for path in ["/small", "/none"] {
        for chunked in [false, true] {
            let mut client = Client::new(addr);
            if chunked {
                client.send(format!(
                    "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
                    body.len()
                ));
            } else {
                client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
            }
            client.send(&body);
            client.send(if chunked { "\r\n0\r\n\r\n" } else { "" });
            assert_eq!(client.answer().status, if path == "/small" { 413 } else { 404 });
            assert!(client.is_closed());
        }
    }
}

#[test]
fn fifty_megabytes() {
    let (addr, _) = start("large", limits());
    let body: Vec<u8> = (0..50 * MIB).map(|i| (i % 251) as u8).collect();
    let expected = answer_to(&body);
    let mut client = Client::new(addr);
    assert_eq!(client.post("/len", &body).body, expected);
    client.send("POST /len HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in body.chunks(1_000_003) {
        client.send(format!("{:x}\r\n", piece.len()));
        client.send(piece);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().body, expected);
    assert_eq!(client.post("/len", &vec![0; 50 * MIB + 1]).status, 413);
}

#[test]
fn many_requests_on_one_connection_and_many_connections_side_by_side() {
    let (addr, _) = start("keep", limits());
    let mut clients: Vec<Client> = (0..24).map(|_| Client::new(addr)).collect();
    for client in clients.iter_mut().rev() {
        assert_eq!(client.get("/").status, 200);
    }
    let body = vec![1; 10_000];
    let expected = answer_to(&body);
    for i in 0..200 {
        assert_eq!(clients[0].post("/len", &body).body, expected);
        assert_eq!(clients[1 + i % 23].post("/len", &body).body, expected);
    }
}

#[test]
fn a_hundred_at_once_are_answered_by_a_bounded_number_of_threads() {
    const CONNECTIONS: usize = 8;
    let (addr, site) = start("hundred", Limits { connections: CONNECTIONS, ..limits() });
    let barrier = Barrier::new(100);
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                barrier.wait();
                let mut client = Client::new(addr);
                assert_eq!(client.get("/gate").body, "open");
            });
        }
        for _ in 0..100 {
            site.gate.0.send_timeout((), Duration::from_secs(60)).unwrap();
        }
    });
    assert!(site.most_running.load(Ordering::SeqCst) <= CONNECTIONS);
    // The accept loop's thread, and a thread that is about to end while its slot is taken again.
    let most = site.most_threads.load(Ordering::SeqCst);
    assert!(most <= 2 * CONNECTIONS + 1, "{most} threads");
}

#[test]
fn resets_end_only_their_own_connection() {
    let (addr, _) = start("resets", Limits { connections: 8, ..limits() });
    for i in 0..1000 {
        let mut client = Client::new(addr);
        let wire = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST /len HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
            "GET",
        ];
        client.send(wire[i % 3]);
        sockopt::set_socket_linger(&client.stream, Some(Duration::ZERO)).unwrap();
        drop(client);
    }
    assert_eq!(Client::new(addr).get("/").status, 200);
}

#[test]
fn slow_senders_delay_nobody() {
    let (addr, _) = start("slow", Limits { connections: 16, ..limits() });
    let slow: Vec<Client> = (0..15)
        .map(|i| {
            let mut client = Client::new(addr);
            client.send(["GET / HT", "POST /len HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"][i % 2]);
            client
        })
        .collect();
    let mut client = Client::new(addr);
    for _ in 0..100 {
        assert_eq!(client.post("/len", b"abc").body, "3 97");
    }
    // And their own answer comes when they go on.
    for (i, mut client) in slow.into_iter().enumerate() {
        client.send(["TP/1.1\r\nHost: a\r\n\r\n", "defghi"][i % 2]);
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn senders_that_are_too_slow_lose_their_slot() {
    let (addr, _) = start("loris", Limits { connections: 2, read_timeout: Duration::from_millis(100), ..limits() });
    let mut silent = Client::new(addr);
    silent.send("GET / HT");
    // A byte now and then, each well within the timeout of a read.
    let mut dripping = Client::new(addr);
    dripping.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    dripping.send("GET / HTTP/1.1\r\nX-A: ");
    let mut third = Client::new(addr);
    assert_eq!(third.get("/").status, 200, "served once a slot is free");
    assert_eq!(silent.answer().status, 408);
    let mut first = [0; 12];
    while !matches!(dripping.stream.peek(&mut first), Ok(n) if n == first.len()) {
        dripping.send("b");
    }
    assert_eq!(&first, b"HTTP/1.1 408");
}

#[test]
fn the_connection_idle_for_longest_makes_room() {
    let (addr, _) = start("evict", Limits { connections: 4, ..limits() });
    let mut clients: Vec<Client> = (0..4).map(|_| Client::new(addr)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
        // It is idle a moment after its client has the answer: once its thread waits in receive.
        while !states("evict-conn").iter().all(|state| state == "S") {
            thread::yield_now();
        }
    }
    let mut fifth = Client::new(addr);
    assert_eq!(fifth.get("/").status, 200);
    let mut first = clients.remove(0);
    assert!(first.is_closed());
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(fifth.get("/").status, 200);
}

#[test]
fn connections_that_never_say_anything_make_room_in_the_end() {
    let (addr, _) = start("mute", Limits { connections: 2, read_timeout: Duration::from_millis(50), ..limits() });
    let mute: Vec<Client> = (0..2).map(|_| Client::new(addr)).collect();
    assert_eq!(Client::new(addr).get("/").status, 200);
    drop(mute);
}

#[test]
fn panics_cost_no_slot() {
    let (addr, _) = start("panics", Limits { connections: 2, ..limits() });
    for _ in 0..10 {
        let mut client = Client::new(addr);
        assert_eq!(client.post("/panic", b"abc").status, 500);
        assert!(client.is_closed());
    }
    assert_eq!(Client::new(addr).get("/").status, 200);
}

/// How often the threads of a server have gone to sleep by themselves.
fn switches(name: &str) -> Vec<String> {
    let status = |id: String| std::fs::read_to_string(format!("/proc/self/task/{id}/status")).unwrap_or_default();
    let line = |status: String| status.lines().find(|l| l.starts_with("voluntary")).unwrap_or_default().to_owned();
    threads(name).into_iter().map(|id| line(status(id))).collect()
}

#[test]
fn nothing_wakes_up_while_idle() {
    let (addr, _) = start("idle", Limits { read_timeout: Duration::from_millis(10), ..limits() });
    let mut clients: Vec<Client> = (0..3).map(|_| Client::new(addr)).collect();
    for client in &mut clients[1..] {
        assert_eq!(client.get("/").status, 200);
    }
    // The threads may still be on their way to sleep at first, on a busy machine for several rounds.
    let still = (0..50).any(|_| {
        let before = switches("idle");
        thread::sleep(Duration::from_millis(100));
        before == switches("idle")
    });
    assert!(still);
    assert_eq!(threads("idle").len(), 4, "the accept loop and one for each connection");
}

/// Runs a test of this file again in a process that may have few descriptors open.
#[test]
fn a_lack_of_descriptors_is_outlived() {
    let script = "ulimit -n 40 && exec \"$0\" --exact without_descriptors --ignored --test-threads=1";
    let output = Command::new("sh").args(["-c", script]).arg(std::env::current_exe().unwrap()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by a_lack_of_descriptors_is_outlived"]
fn without_descriptors() {
    let (addr, _) = start("scarce", Limits { connections: 64, ..limits() });
    let mut clients = Vec::new();
    // Take every descriptor for clients, until the server noticed.
    while get(Counter::NetAcceptErrors) == 0 {
        match TcpStream::connect(addr) {
            Ok(stream) => clients.push(stream),
            Err(_) => drop(clients.pop()),
        }
    }
    // Fewer than there are places for; those that the server could not accept yet are served with the others.
    clients.truncate(10);
    for stream in clients {
        assert_eq!(Client::over(stream).get("/").status, 200);
    }
    assert_eq!(Client::new(addr).get("/").status, 200);
}

#[test]
fn the_listener_ends_with_a_reason() {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).unwrap();
    let service: Arc<dyn Service> = start("ends", limits()).1;
    assert_eq!(serve(&listener, "ends", &limits(), &service).kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn handlers_have_stack_for_the_deepest_json() {
    struct Deep;
    impl Service for Deep {
        fn admit(&self, _: &Head) -> Result<Admission, Response> {
            Ok(Admission::Whole(1024))
        }
        fn respond(&self, _: &Head, body: Body) -> Response {
            let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
            Response::json(200, value.to_string())
        }
    }
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || serve(&listener, "deep", &limits(), &(Arc::new(Deep) as Arc<dyn Service>)));
    // serde_json refuses what is nested deeper than this.
    let json = format!("{}{}", "{\"a\":".repeat(126) + "[", "]".to_owned() + &"}".repeat(126));
    assert_eq!(Client::new(addr).post("/", json.as_bytes()).body, json);
}
