//! URLs: never with a user's name and password, and without query or path segments with digits if the user asks. Pure.
//!
//! What is a URL, and how it is written again, is as in Go's `net/url`, whose reading the Go agent's output is made of: any
//! reference (RFC 3986) and anything that browsers send. What cannot be read is not sent if an option asks to hide part of
//! it, for nobody knows which part that is.

use crate::config::apm::HttpObfuscation;

const HIDDEN: &[u8] = b"?";

/// The parts of a URL, as they are written.
#[derive(Default)]
struct Url<'a> {
    scheme: Option<&'a [u8]>,
    /// With the user.
    authority: Option<&'a [u8]>,
    path: &'a [u8],
    /// The path is no path: `mailto:someone`.
    opaque: bool,
    query: Option<&'a [u8]>,
    fragment: &'a [u8],
}

/// Where a text stands, which decides what may stand there as it is.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Path,
    Fragment,
}

/// Appends what may be seen of `url`.
pub fn url(url: &[u8], settings: HttpObfuscation, out: &mut Vec<u8>) {
    match parse(url) {
        Some(parsed) => write(&parsed, settings, out),
        None if settings.remove_query_string || settings.remove_paths_with_digits => out.extend_from_slice(HIDDEN),
        None => without_user(url, out),
    }
}

/// Whether [`url`] would append what it is given, told by a look at each byte; `false` may be wrong.
#[must_use]
pub fn is_plain(url: &[u8], settings: HttpObfuscation) -> bool {
    let digits = settings.remove_paths_with_digits;
    if settings.remove_query_string || digits {
        return false;
    }
    // Neither a user nor a fragment, and nothing to escape: what else there is goes out as it came.
    let (path, query) = cut(url, b'?');
    let query = query.unwrap_or_default();
    !query.contains(&b'#')
        && path.iter().all(|&byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/:.-_~".contains(&byte))
}

/// `text` before and after the first `separator`.
fn cut(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(separator, text) {
        Some(at) => (&text[..at], text.get(at + 1..)),
        None => (text, None),
    }
}

fn parse(text: &[u8]) -> Option<Url<'_>> {
    let (text, fragment) = cut(text, b'#');
    if text.iter().any(u8::is_ascii_control) {
        return None;
    }
    let mut url = Url { fragment: fragment.unwrap_or_default(), ..Url::default() };
    let rest = match scheme(text)? {
        0 => text,
        length => {
            url.scheme = text.get(..length);
            text.get(length + 1..)?
        }
    };
    (url.path, url.query) = cut(rest, b'?');
    if url.scheme.is_some() && !url.path.starts_with(b"/") {
        url.opaque = true;
    } else if !url.path.starts_with(b"/") && cut(url.path, b'/').0.contains(&b':') {
        // It would be read as a scheme.
        return None;
    } else if url.path.starts_with(b"//") && (url.scheme.is_some() || !url.path.starts_with(b"///")) {
        let authority = url.path.get(2..)?;
        let end = memchr::memchr(b'/', authority).unwrap_or(authority.len());
        (url.authority, url.path) = (authority.get(..end), authority.get(end..)?);
    }
    let readable = (url.opaque || triples(url.path).is_some())
        && triples(url.fragment).is_some()
        && url.authority.is_none_or(|authority| is_host(host(authority)));
    readable.then_some(url)
}

/// The length of the scheme, 0 if there is none; `None` for a colon in its place.
fn scheme(text: &[u8]) -> Option<usize> {
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' => return (at > 0).then_some(at),
            _ => break,
        }
    }
    Some(0)
}

/// An authority without its user.
fn host(authority: &[u8]) -> &[u8] {
    memchr::memrchr(b'@', authority).and_then(|at| authority.get(at + 1..)).unwrap_or(authority)
}

/// Whether it is a name or an address, with or without a port.
fn is_host(host: &[u8]) -> bool {
    let port = if host.first() == Some(&b'[') {
        let Some(end) = memchr::memchr(b']', host) else { return false };
        let (address, zone) = cut(&host[1..end], b'%');
        if !address.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) {
            return false;
        }
        if zone.is_some_and(|zone| zone.strip_prefix(b"25").is_none_or(|zone| !is_name(zone))) {
            return false;
        }
        match &host[end + 1..] {
            [] => return true,
            [b':', port @ ..] => port,
            _ => return false,
        }
    } else {
        let (name, port) = cut(host, b':');
        if !is_name(name) {
            return false;
        }
        port.unwrap_or_default()
    };
    port.iter().all(u8::is_ascii_digit)
}

/// Whether these may be the bytes of a host's name. Only what is not ASCII may be written as `%XX`.
fn is_name(name: &[u8]) -> bool {
    let literal =
        |byte: u8| !byte.is_ascii() || byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=<>\"%".contains(&byte);
    name.iter().all(|&byte| literal(byte))
        && triples(name).is_some_and(|mut triples| triples.all(|(_, byte)| byte >= 0x80 || byte == b'%'))
}

/// The bytes that are written as `%XX`, with where they stand; `None` if a `%` is something else.
fn triples(text: &[u8]) -> Option<impl Iterator<Item = (usize, u8)>> {
    let triples = memchr::memchr_iter(b'%', text).map(|at| (at, text.get(at + 1..at + 3)));
    let bytes = triples.map(|(at, digits)| match digits {
        Some(&[high, low]) => Some((at, (hex(high)? << 4) | hex(low)?)),
        _ => None,
    });
    bytes.clone().all(|triple| triple.is_some()).then(|| bytes.flatten())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

fn write(url: &Url<'_>, settings: HttpObfuscation, out: &mut Vec<u8>) {
    if let Some(scheme) = url.scheme {
        out.extend(scheme.iter().map(u8::to_ascii_lowercase));
        out.push(b':');
    }
    if let Some(authority) = url.authority {
        out.extend_from_slice(b"//");
        for &byte in host(authority) {
            if byte.is_ascii() { out.push(byte) } else { escaped(byte, out) }
        }
    }
    if url.opaque {
        out.extend_from_slice(url.path);
    } else {
        path(url.path, settings.remove_paths_with_digits, out);
    }
    if let Some(query) = url.query {
        out.push(b'?');
        if !settings.remove_query_string {
            out.extend_from_slice(query);
        }
    }
    if !url.fragment.is_empty() {
        out.push(b'#');
        text(url.fragment, Part::Fragment, is_valid(url.fragment, Part::Fragment), out);
    }
}

fn path(path: &[u8], hide_digits: bool, out: &mut Vec<u8>) {
    let segments = || path.split(|&byte| byte == b'/').map(|segment| (segment, hide_digits && has_digit(segment)));
    // A path that is changed is escaped anew, even if it was valid as it was.
    let verbatim = is_valid(path, Part::Path) && !segments().any(|(_, hidden)| hidden);
    for (at, (segment, hidden)) in segments().enumerate() {
        if at > 0 {
            out.push(b'/');
        }
        if hidden { out.extend_from_slice(HIDDEN) } else { text(segment, Part::Path, verbatim, out) }
    }
}

/// Whether there is a digit in it, written as itself or as `%XX`; the digits of `%XX` are none.
fn has_digit(segment: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&byte) = segment.get(at) {
        let triple = if byte == b'%' { triple(segment, at) } else { None };
        if triple.unwrap_or(byte).is_ascii_digit() {
            return true;
        }
        at += if triple.is_some() { 3 } else { 1 };
    }
    false
}

/// The byte that is written as `%XX` at `at`.
fn triple(text: &[u8], at: usize) -> Option<u8> {
    Some((hex(*text.get(at + 1)?)? << 4) | hex(*text.get(at + 2)?)?)
}

/// Appends a segment or a fragment: what is better written as itself is, and what must be escaped is, if not `verbatim`.
fn text(text: &[u8], part: Part, verbatim: bool, out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'%' => match triple(text, at - 1) {
                Some(plain) if part == Part::Path && (plain.is_ascii_alphanumeric() || b"._~".contains(&plain)) => {
                    out.push(plain);
                    at += 2;
                }
                _ => out.push(byte),
            },
            _ if verbatim || is_literal(byte, part) => out.push(byte),
            _ => escaped(byte, out),
        }
    }
}

/// Whether a text goes out as it is: browsers leave more bytes as they are than an encoder would.
fn is_valid(text: &[u8], part: Part) -> bool {
    text.iter().all(|&byte| is_literal(byte, part) || b"!'()*[]%".contains(&byte))
}

/// Whether an encoder leaves the byte as it is.
fn is_literal(byte: u8, part: Part) -> bool {
    byte.is_ascii_alphanumeric()
        || b"-_.~$&+,/:;=@".contains(&byte)
        || part == Part::Fragment && b"?!()*".contains(&byte)
}

fn escaped(byte: u8, out: &mut Vec<u8>) {
    let hex = |digit: u8| b"0123456789ABCDEF"[usize::from(digit & 0xf)];
    out.extend_from_slice(&[b'%', hex(byte >> 4), hex(byte)]);
}

/// Appends what cannot be read, without what may be a user: what is before the last `@` of what may be an authority.
fn without_user(url: &[u8], out: &mut Vec<u8>) {
    let end = url.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(url.len());
    let (head, tail) = url.split_at(end);
    let start = memchr::memmem::find(head, b"//").map_or(head.len(), |at| at + 2);
    let (before, rest) = head.split_at(start);
    let (authority, path) = rest.split_at(memchr::memchr(b'/', rest).unwrap_or(rest.len()));
    for part in [before, host(authority), path, tail] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: HttpObfuscation = HttpObfuscation { remove_query_string: false, remove_paths_with_digits: false };
    const QUERY: HttpObfuscation = HttpObfuscation { remove_query_string: true, remove_paths_with_digits: false };
    const DIGITS: HttpObfuscation = HttpObfuscation { remove_query_string: false, remove_paths_with_digits: true };

    fn run(text: &str, settings: HttpObfuscation) -> String {
        let mut out = Vec::new();
        url(text.as_bytes(), settings, &mut out);
        let out = String::from_utf8(out).unwrap();
        assert!(!is_plain(text.as_bytes(), settings) || out == text, "{text}: {out}");
        out
    }

    #[test]
    fn without_options() {
        for (text, expected) in [
            ("http://user:pass@foo.com/1?q=1#f", "http://foo.com/1?q=1#f"),
            ("HTTPS://Foo.com", "https://Foo.com"),
            ("http://a.com/%41%2d%7e%20b", "http://a.com/A%2d~%20b"),
            ("http://a.com/a b", "http://a.com/a%20b"),
            ("http://a.com/a(b)", "http://a.com/a(b)"),
            ("http://a.com/(a b)", "http://a.com/%28a%20b%29"),
            ("http://é.com/é", "http://%C3%A9.com/%C3%A9"),
            ("http://[::1]:80/a", "http://[::1]:80/a"),
            ("http://[fe80::1%25en0]/a", "http://[fe80::1%25en0]/a"),
            ("/a?b#", "/a?b"),
            ("/a?", "/a?"),
            ("//a@b/c", "//b/c"),
            ("mailto:someone@a.com", "mailto:someone@a.com"),
            ("http:/a", "http:/a"),
            ("this is no url", "this%20is%20no%20url"),
            ("#a'b", "#a'b"),
            ("#a'b c", "#a%27b%20c"),
            // What is not a URL loses its user all the same.
            ("http://u:p@a.com/%", "http://a.com/%"),
            ("http://u:p@a.com/\u{1}?x@y", "http://a.com/\u{1}?x@y"),
            ("http://u:p@a.com:port/", "http://a.com:port/"),
            ("http://u:p@[::1/", "http://[::1/"),
            (":", ":"),
            ("a_b:c", "a_b:c"),
            ("", ""),
        ] {
            assert_eq!(run(text, KEEP), expected, "{text}");
        }
    }

    #[test]
    fn without_query() {
        for (text, expected) in [
            ("http://u:p@foo.com/1?q=1#f", "http://foo.com/1?#f"),
            ("http://foo.com/1", "http://foo.com/1"),
            ("http://foo.com/pa%3Fge?x", "http://foo.com/pa%3Fge?"),
            ("mailto:a?subject=b", "mailto:a?"),
            ("http://a.com/%", "?"),
            ("http://a.com:port/?x", "?"),
            ("http://a:1:2/", "?"),
            ("http://[x]/", "?"),
            ("http://[::1]x/", "?"),
            ("http://[::1%25]/", "http://[::1%25]/"),
            ("http://[::1%en]/", "?"),
            ("http://a b/", "?"),
            ("http://a%41/", "?"),
            ("\u{7f}", "?"),
            ("#%", "?"),
        ] {
            assert_eq!(run(text, QUERY), expected, "{text}");
        }
    }

    #[test]
    fn without_digits() {
        for (text, expected) in [
            ("http://foo.com/id/a1/page/1?q=1#f1", "http://foo.com/id/?/page/??q=1#f1"),
            ("http://foo1.com/1%3F3/nam%3Fe/%31", "http://foo1.com/?/nam%3Fe/?"),
            ("http://foo.com/a(b)/c1", "http://foo.com/a%28b%29/?"),
            ("http://foo.com/%2Fa/b%20c", "http://foo.com/%2Fa/b%20c"),
            ("1", "?"),
            ("", ""),
        ] {
            assert_eq!(run(text, DIGITS), expected, "{text}");
        }
    }
}
