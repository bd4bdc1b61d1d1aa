//! Connections: TLS sessions outlive them, and an early answer is read before they break.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use ureq::tls::{Certificate, RootCerts};

use super::super::endpoints::tests::{payload, target};
use super::super::{Encoding, Route};
use super::*;

/// A server's TLS configuration and the certificate to trust.
pub fn tls_config() -> (Arc<ServerConfig>, RootCerts) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let ca = Certificate::from_der(made.cert.der()).to_owned();
    (Arc::new(server), RootCerts::Specific(Arc::new(vec![ca])))
}

/// A listener on loopback and its port.
pub fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Reads a request's head; `None` if the connection ends before.
fn read_head(stream: &mut impl BufRead) -> Option<()> {
    let mut line = String::new();
    while stream.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    Some(())
}

/// Answers one request on each of `connections` and returns the kinds of their handshakes.
fn serve(listener: &TcpListener, config: &Arc<ServerConfig>, connections: usize) -> Vec<Option<HandshakeKind>> {
    // They stay open: what opens another one does so on purpose.
    let mut open = Vec::new();
    let answer = |_| {
        let (socket, _) = listener.accept().unwrap();
        let tls = ServerConnection::new(Arc::clone(config)).unwrap();
        let mut stream = BufReader::new(StreamOwned::new(tls, socket));
        read_head(&mut stream)?;
        let mut body = [0; 4];
        stream.read_exact(&mut body).unwrap();
        let tls = stream.get_mut();
        tls.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}").unwrap();
        tls.flush().unwrap();
        let kind = tls.conn.handshake_kind();
        open.push(stream);
        kind
    };
    (0..connections).map(answer).collect()
}

const ATTEMPT: Attempt = Attempt { timeout: Duration::from_secs(20), fresh: true };

#[test]
fn fresh_connections_resume_their_tls_session() {
    let (listener, port) = listen();
    let (config, roots) = tls_config();
    let server = thread::spawn(move || serve(&listener, &config, 3));
    let client = Client::with_roots(roots);
    let (target, payload) = (target(&format!("https://localhost:{port}")), payload(Route::Traces, Encoding::Zstd));
    let mut line = client.line();
    for _ in 0..2 {
        assert_eq!(line.post(&target, &payload, ATTEMPT), Outcome::Sent);
    }
    // Another worker's line too.
    assert_eq!(client.line().post(&target, &payload, ATTEMPT), Outcome::Sent);
    let kinds = server.join().unwrap();
    assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed), Some(HandshakeKind::Resumed)]);
}

#[test]
fn an_unknown_authority_is_a_failure_before_anything_is_sent() {
    let (listener, port) = listen();
    let (config, _) = tls_config();
    let server = thread::spawn(move || serve(&listener, &config, 1));
    let target = target(&format!("https://localhost:{port}"));
    let client = Client::with_roots(RootCerts::WebPki);
    let outcome = client.line().post(&target, &payload(Route::Logs, Encoding::Zstd), ATTEMPT);
    let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.progress, outcome::Progress::Unconnected);
    assert!(failure.cause.to_string().contains("UnknownIssuer"), "{}", failure.cause);
    assert_eq!(server.join().unwrap(), [None]);
}

/// Refuses by the head and closes while the body is still coming.
fn refuse(stream: &mut (impl Read + Write)) {
    read_head(&mut BufReader::new(&mut *stream)).unwrap();
    stream.write_all(b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno").unwrap();
    stream.flush().unwrap();
}

#[test]
fn an_answer_before_the_end_of_the_request_is_read() {
    let large = || Payload { body: vec![0; 30 << 20], ..payload(Route::Traces, Encoding::Zstd) };

    let (listener, port) = listen();
    let server = thread::spawn(move || refuse(&mut listener.accept().unwrap().0));
    let client = Client::with_roots(RootCerts::WebPki);
    let target_ = target(&format!("http://127.0.0.1:{port}"));
    assert_eq!(client.line().post(&target_, &large(), ATTEMPT), Outcome::Denied(403));
    server.join().unwrap();

    let (listener, port) = listen();
    let (config, roots) = tls_config();
    let server = thread::spawn(move || {
        let socket = listener.accept().unwrap().0;
        // Or the answer waits behind the session tickets and is thrown away by the close.
        socket.set_nodelay(true).unwrap();
        refuse(&mut StreamOwned::new(ServerConnection::new(config).unwrap(), socket));
    });
    let target = target(&format!("https://localhost:{port}"));
    assert_eq!(Client::with_roots(roots).line().post(&target, &large(), ATTEMPT), Outcome::Denied(403));
    server.join().unwrap();
}
