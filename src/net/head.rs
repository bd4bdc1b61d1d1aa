//! Request heads: what `httparse` accepts, less what two parsers could read differently.
//!
//! Decides framing, persistence and expectations, and refuses anything ambiguous with a sentence that says what is
//! wrong. Pure; runs on connection threads.

use super::Head;
use super::body::Framing;
use super::input::{Fault, Input, Patience, Refusal, Source};

/// Header lines of a request; more is a 431.
pub(super) const HEADERS_MAX: usize = 100;

/// A request up to its body.
#[derive(Debug)]
pub(super) struct Request {
    pub head: Head,
    pub framing: Framing,
    /// Whether the client speaks HTTP/1.1, not 1.0.
    pub is_11: bool,
    /// Whether the client would send another request on this connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// Reads the next request's head. `None`: the stream ended before a request began.
pub(super) fn read_head<S: Source>(input: &mut Input<S>, patience: &mut Patience) -> Result<Option<Request>, Fault> {
    loop {
        if let Some((request, length)) = parse(input.pending())? {
            input.consume(length);
            return Ok(Some(request));
        }
        if input.is_full() {
            return Err(Refusal::new(431, "the request line and headers are too long").into());
        }
        if input.fill(Some(patience))? == 0 {
            let nothing = input.pending().iter().all(|b| matches!(b, b'\r' | b'\n'));
            return if nothing {
                Ok(None)
            } else {
                Err(Refusal::bad("the connection ended within the headers").into())
            };
        }
    }
}

/// The head at the start of `bytes` and its length; `None` if it is not complete.
fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(refusal(error, bytes)),
    };
    // httparse takes a bare LF for the end of a line.
    let head = bytes.get(..length).unwrap_or_default();
    if memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r') {
        return Err(Refusal::bad("a line of the headers must end in CR LF"));
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Refusal::bad("the request line is incomplete"));
    };
    let (path, query) = split_target(method, target)?;
    let is_11 = version == 1;
    let fields = Fields::gather(parsed.headers)?;
    let request = Request {
        framing: fields.framing(is_11)?,
        is_11,
        keep_alive: if is_11 { !fields.close } else { fields.keep_alive && !fields.close },
        expects_continue: fields.expectation(is_11)?,
        head: Head {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: parsed.headers.iter().map(|h| (h.name.to_ascii_lowercase(), h.value.to_vec())).collect(),
        },
    };
    match fields.hosts {
        0 if is_11 => Err(Refusal::bad("the header Host is missing")),
        0 | 1 => Ok(Some((request, length))),
        _ => Err(Refusal::bad("more than one header Host")),
    }
}

/// The headers that concern the connection and not what is served.
#[derive(Default)]
struct Fields<'a> {
    hosts: usize,
    length: Option<u64>,
    coding: Option<&'a [u8]>,
    expect: Option<&'a [u8]>,
    close: bool,
    keep_alive: bool,
}

impl<'a> Fields<'a> {
    fn gather(headers: &[httparse::Header<'a>]) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("host") {
                fields.hosts += 1;
            } else if is("content-length") {
                if fields.length.replace(content_length(header.value)?).is_some() {
                    return Err(Refusal::bad("more than one header Content-Length"));
                }
            } else if is("transfer-encoding") {
                if fields.coding.replace(header.value).is_some() {
                    return Err(Refusal::bad("more than one header Transfer-Encoding"));
                }
            } else if is("expect") {
                fields.expect = Some(header.value);
            } else if is("connection") {
                for option in header.value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                    fields.close |= option.eq_ignore_ascii_case(b"close");
                    fields.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
        }
        Ok(fields)
    }

    fn framing(&self, is_11: bool) -> Result<Framing, Refusal> {
        match (self.coding, self.length) {
            (None, length) => Ok(Framing::Length(length.unwrap_or(0))),
            (Some(_), Some(_)) => Err(Refusal::bad("both Content-Length and Transfer-Encoding")),
            (Some(_), None) if !is_11 => Err(Refusal::bad("HTTP/1.0 has no Transfer-Encoding")),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            (Some(_), None) => Err(Refusal::new(501, "the only Transfer-Encoding understood is chunked")),
        }
    }

    fn expectation(&self, is_11: bool) -> Result<bool, Refusal> {
        match self.expect {
            // A server ignores what an HTTP/1.0 client expects (RFC 9110, 10.1.1).
            Some(value) if is_11 && value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
            Some(_) if is_11 => Err(Refusal::new(417, "the only expectation understood is 100-continue")),
            _ => Ok(false),
        }
    }
}

fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    // `parse` alone would accept a sign.
    let digits = std::str::from_utf8(value).ok().filter(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()));
    let digits = digits.ok_or(Refusal::bad("Content-Length must be decimal digits alone"))?;
    digits.parse().map_err(|_| Refusal::bad("Content-Length is out of range"))
}

/// Path and query of a request target in one of its forms (RFC 9112, 3.2).
fn split_target<'a>(method: &str, target: &'a str) -> Result<(&'a str, &'a str), Refusal> {
    if !target.is_ascii() {
        return Err(Refusal::bad("the path must be ASCII; percent-encode other characters"));
    }
    let origin = match (target.as_bytes().first(), method) {
        (Some(b'/'), _) => target,
        (_, "CONNECT") => return Err(Refusal::new(501, "this server makes no tunnels")),
        (_, "OPTIONS") if target == "*" => return Ok(("*", "")),
        _ => {
            let (scheme, rest) = target.split_once("://").unwrap_or_default();
            if !(scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")) {
                return Err(Refusal::bad("the target must be a path or an http URL"));
            }
            rest.find(['/', '?']).map_or("", |at| &rest[at..])
        }
    };
    let (path, query) = origin.split_once('?').unwrap_or((origin, ""));
    Ok((if path.is_empty() { "/" } else { path }, query))
}

fn refusal(error: httparse::Error, bytes: &[u8]) -> Refusal {
    use httparse::Error;
    match error {
        Error::TooManyHeaders => Refusal::new(431, "too many headers"),
        Error::HeaderName => Refusal::bad("invalid name of a header, or a folded header"),
        Error::HeaderValue => Refusal::bad("control character in a header"),
        Error::NewLine | Error::Status => Refusal::bad("a line of the headers must end in CR LF"),
        Error::Version if third_word(bytes).starts_with(b"HTTP/") => {
            Refusal::new(505, "the only versions understood are HTTP/1.1 and HTTP/1.0")
        }
        Error::Token | Error::Version => Refusal::bad("the request line must be a method, a path and a version"),
    }
}

fn third_word(bytes: &[u8]) -> &[u8] {
    bytes.splitn(3, |b| *b == b' ').nth(2).unwrap_or_default()
}

#[cfg(test)]
mod tests;
