//! HTTP/1.1 with `Content-Length` bodies and keep-alive, server and client, for peers that we started ourselves.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

type Headers = Vec<(String, String)>;

/// A request that was read whole.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Headers,
    pub body: Vec<u8>,
    /// When its last byte had been read.
    pub received: Instant,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

/// What is answered.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Response {
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// The first line, the headers and the body of the next message; `None` at the end of the stream.
fn message(reader: &mut BufReader<TcpStream>) -> io::Result<Option<(String, Headers, Vec<u8>)>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid(line))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if header(&headers, "transfer-encoding").is_some() {
        return Err(invalid("a chunked body"));
    }
    let length = header(&headers, "content-length").map_or(Ok(0), str::parse).map_err(|_| invalid("a length"))?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((first.trim_end().to_owned(), headers, body)))
}

/// Serves on a free port of the loopback until the process ends, one thread for each connection. Hands back the address.
pub fn serve(answer: impl Fn(Request) -> Response + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            // A peer that goes away ends its connection only.
            thread::spawn(move || connection(stream, &*answer));
        }
    });
    address
}

fn connection(stream: TcpStream, answer: &dyn Fn(Request) -> Response) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    while let Some((first, headers, body)) = message(&mut reader)? {
        let received = Instant::now();
        let mut words = first.split(' ').map(str::to_owned);
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return Err(invalid(&first)) };
        let response = answer(Request { method, path, headers, body, received });
        let mut text = format!("HTTP/1.1 {} -\r\nContent-Length: {}\r\n", response.status, response.body.len());
        for (name, value) in &response.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(&response.body);
        reader.get_mut().write_all(text.as_bytes())?;
    }
    Ok(())
}

/// A kept-alive connection.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// Sends a request, waits for the answer, hands back its status.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<u16> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        self.reader.get_mut().write_all(&request)?;
        let (first, _, _) = message(&mut self.reader)?.ok_or_else(|| invalid("no answer"))?;
        first.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| invalid(&first))
    }
}
