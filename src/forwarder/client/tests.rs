//! HTTPS: the TLS configuration, and with it the session tickets, outlives the connections.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use ureq::tls::Certificate;

use super::super::endpoints::tests::{payload, target};
use super::super::{Encoding, Route};
use super::*;

/// An HTTPS server that answers one request on each of `connections`, and the kinds of their handshakes.
fn https_server(connections: usize) -> (String, Certificate<'static>, thread::JoinHandle<Vec<Option<HandshakeKind>>>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let ca = Certificate::from_der(made.cert.der()).to_owned();
    let server = thread::spawn(move || {
        // They stay open: what opens another one does so on purpose.
        let mut open = Vec::new();
        let serve = |_| {
            let (socket, _) = listener.accept().unwrap();
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(tls, socket));
            let mut line = String::new();
            while stream.read_line(&mut line).ok()? > 2 {
                line.clear();
            }
            let mut body = [0; 4];
            stream.read_exact(&mut body).unwrap();
            assert_eq!(&body, b"body");
            let tls = stream.get_mut();
            tls.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}").unwrap();
            tls.flush().unwrap();
            let kind = tls.conn.handshake_kind();
            open.push(stream);
            kind
        };
        (0..connections).map(serve).collect()
    });
    (url, ca, server)
}

#[test]
fn fresh_connections_resume_their_tls_session() {
    let (url, ca, server) = https_server(3);
    let client = Client::with_roots(RootCerts::Specific(Arc::new(vec![ca])));
    let payload = payload(Route::Traces, Encoding::Zstd);
    let attempt = Attempt { timeout: Duration::from_secs(20), fresh: true };
    let mut line = client.line();
    for _ in 0..2 {
        assert_eq!(line.post(&target(&url), &payload, attempt), Outcome::Sent);
    }
    // Another worker's line too.
    assert_eq!(client.line().post(&target(&url), &payload, attempt), Outcome::Sent);
    let kinds = server.join().unwrap();
    assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed), Some(HandshakeKind::Resumed)]);
}

#[test]
fn an_unknown_authority_is_a_failure_before_anything_is_sent() {
    let (url, _, server) = https_server(1);
    let client = Client::with_roots(RootCerts::WebPki);
    let attempt = Attempt { timeout: Duration::from_secs(20), fresh: true };
    let outcome = client.line().post(&target(&url), &payload(Route::Logs, Encoding::Zstd), attempt);
    let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.progress, outcome::Progress::Unconnected);
    assert!(failure.cause.to_string().contains("UnknownIssuer"), "{}", failure.cause);
    assert_eq!(server.join().unwrap(), [None]);
}
