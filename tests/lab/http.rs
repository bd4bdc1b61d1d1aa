//! The intake's HTTP/1.1 server on `httparse`: it must be able to break its connections in ways that tiny_http, which
//! serves the platform, keeps from its users. It knows nothing of what it serves. One thread accepts, one thread for
//! each connection; they end with the process or when the server is dropped.

use std::io::{self, Read, Write};
use std::iter;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// A request read whole.
#[derive(Clone, Debug, Default)]
pub struct Incoming {
    /// `POST`, as sent.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    /// The body, still encoded.
    pub body: Vec<u8>,
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// It is answered.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// The connection is closed without an answer.
    Drop,
    /// The connection is reset (RST) without an answer.
    Reset,
    /// The head of a 202 and half of the body it announces, then the connection is closed.
    Half,
}

/// A listening server; dropping it closes the port.
pub struct Server {
    port: u16,
    closed: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    /// Listens on loopback, on `port` or on a free one if it is 0, and answers with `answer`.
    pub fn start(port: u16, answer: impl Fn(Incoming) -> Reply + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let port = listener.local_addr()?.port();
        let server = Self { port, closed: Arc::default(), accepted: Arc::default() };
        let (closed, accepted, answer) = (server.closed.clone(), server.accepted.clone(), Arc::new(answer));
        thread::Builder::new().name("intake".into()).spawn(move || {
            for stream in listener.incoming() {
                if closed.load(Ordering::Acquire) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                accepted.fetch_add(1, Ordering::Relaxed);
                let answer = answer.clone();
                let _ = thread::Builder::new().name("intake-conn".into()).spawn(move || {
                    // An error here is the client going away, which is its right.
                    let _ = serve(stream, &*answer);
                });
            }
        })?;
        Ok(server)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        // Wakes the accept call, which then ends its thread and the listener.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(Incoming) -> Reply) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer)? {
        let close = request.headers.iter().any(|(n, v)| n == "connection" && v.eq_ignore_ascii_case("close"));
        match answer(request) {
            Reply::Answer { status, headers, body } => write_answer(&mut stream, status, &headers, &body)?,
            Reply::Drop => return Ok(()),
            Reply::Reset => {
                return rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).map_err(Into::into);
            }
            Reply::Half => return stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 64\r\n\r\n{\"hal"),
        }
        if close {
            return Ok(());
        }
    }
    Ok(())
}

fn write_answer(stream: &mut TcpStream, status: u16, headers: &[(&'static str, String)], body: &str) -> io::Result<()> {
    let mut text =
        format!("HTTP/1.1 {status} -\r\nContent-Length: {}\r\nContent-Type: application/json\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    stream.write_all(text.as_bytes())
}

/// The whole requests in what was `recorded` of a connection.
pub fn requests(recorded: &[u8]) -> Vec<Incoming> {
    let (mut rest, mut buffer) = (Recorded(recorded), Vec::new());
    iter::from_fn(|| read_request(&mut rest, &mut buffer).ok().flatten()).collect()
}

/// A connection that was; whoever speaks into it speaks to nobody.
struct Recorded<'a>(&'a [u8]);

impl Read for Recorded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Recorded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The next request of the connection; `None` once the peer has closed it. `buffer` keeps what was read beyond it.
fn read_request(stream: &mut (impl Read + Write), buffer: &mut Vec<u8>) -> io::Result<Option<Incoming>> {
    let (mut request, head) = loop {
        if let Some(parsed) = parse_head(buffer)? {
            break parsed;
        }
        if !fill(stream, buffer)? {
            return Ok(None);
        }
    };
    buffer.drain(..head);
    let header = |name: &str| request.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    if header("expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = Vec::new();
    if header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        while read_chunk(stream, buffer, &mut body)? {}
    } else {
        let length = header("content-length").unwrap_or("0").parse().map_err(io::Error::other)?;
        take(stream, buffer, length, &mut body)?;
    }
    request.body = body;
    Ok(Some(request))
}

/// Parses the head at the start of `buffer`, if it is there as a whole, and says how long it is.
fn parse_head(buffer: &[u8]) -> io::Result<Option<(Incoming, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parser = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = parser.parse(buffer).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let text = |v: &[u8]| String::from_utf8_lossy(v).into_owned();
    let request = Incoming {
        method: parser.method.unwrap_or_default().to_owned(),
        target: parser.path.unwrap_or_default().to_owned(),
        headers: parser.headers.iter().map(|h| (h.name.to_lowercase(), text(h.value))).collect(),
        body: Vec::new(),
    };
    Ok(Some((request, length)))
}

/// Appends one chunk to `body`; `false` at the last one, whose trailers are read too.
fn read_chunk(stream: &mut impl Read, buffer: &mut Vec<u8>, body: &mut Vec<u8>) -> io::Result<bool> {
    let line = take_line(stream, buffer)?;
    let digits = line.split(';').next().unwrap_or_default().trim();
    let length = usize::from_str_radix(digits, 16).map_err(io::Error::other)?;
    if length == 0 {
        while !take_line(stream, buffer)?.is_empty() {}
        return Ok(false);
    }
    take(stream, buffer, length, body)?;
    take_line(stream, buffer)?;
    Ok(true)
}

fn take_line(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<String> {
    loop {
        if let Some(end) = buffer.windows(2).position(|w| w == b"\r\n") {
            let line = String::from_utf8_lossy(&buffer[..end]).into_owned();
            buffer.drain(..end + 2);
            return Ok(line);
        }
        if !fill(stream, buffer)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Moves `length` bytes of the connection to the end of `out`.
fn take(stream: &mut impl Read, buffer: &mut Vec<u8>, length: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let buffered = length.min(buffer.len());
    out.extend(buffer.drain(..buffered));
    let missing = (length - buffered) as u64;
    if stream.take(missing).read_to_end(out)? as u64 == missing {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn fill(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; 16 * 1024];
    let length = stream.read(&mut chunk)?;
    buffer.extend_from_slice(&chunk[..length]);
    Ok(length > 0)
}
