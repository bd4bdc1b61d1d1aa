//! Spans of what Lambda and this extension do for themselves: calls of the Runtime API, of the extension, of DogStatsD and
//! of the X-Ray daemon, and the placeholders that tracers send for the invocation (spec: traces 4.4, step 2). They are
//! nobody's business and are dropped one by one. Says which; drops nothing itself. Pure; a stage over the borrowed span.

use super::span::{Span, Store};

/// The addresses that functions talk to behind their author's back: the Runtime API where the environment says nothing
/// else, the extension, DogStatsD.
const ADDRESSES: [&str; 3] = ["127.0.0.1:9001", "127.0.0.1:8124", "127.0.0.1:8125"];

/// What their names resolve to: nothing, this host, the X-Ray daemon.
const RESOLVED: [&str; 3] = ["0.0.0.0", "127.0.0.1", "169.254.79.129"];

/// Resources of spans that are dropped whatever else they are.
const RESOURCES: [&[u8]; 3] = [b"dd-tracer-serverless-span", b"127.0.0.1", b"0.0.0.0"];

/// One bit for the length of each of them: almost all spans are told by it.
const LENGTHS: u32 = 1 << RESOURCES[0].len() | 1 << RESOURCES[1].len() | 1 << RESOURCES[2].len();

/// The operation of spans that are dropped whatever else they are.
const NAME: &[u8] = b"dns.lookup";

/// The addresses as they are in this sandbox.
#[derive(Debug)]
pub struct Plumbing {
    /// `host:port`.
    addresses: Vec<Box<str>>,
    /// Hosts.
    resolved: Vec<Box<str>>,
}

impl Plumbing {
    /// The usual addresses and those that the environment names: `AWS_LAMBDA_RUNTIME_API` (`host:port`) and
    /// `_AWS_XRAY_DAEMON_ADDRESS` (a host; a port after it does not count).
    #[must_use]
    pub fn new(runtime_api: Option<&str>, xray_daemon: Option<&str>) -> Self {
        let xray_host = xray_daemon.and_then(|address| address.split(':').next());
        // An empty address would be the beginning of every other.
        let named = |address: Option<&str>| address.filter(|address| !address.is_empty()).map(Box::from);
        Self {
            addresses: ADDRESSES.into_iter().map(Box::from).chain(named(runtime_api)).collect(),
            resolved: RESOLVED.into_iter().map(Box::from).chain(named(xray_host)).collect(),
        }
    }

    /// Whether `span` is to be dropped. A span that is not costs a few comparisons of lengths, one with a URL those of
    /// its beginning; only spans with [`Span::network`] are searched for their tags.
    #[must_use]
    #[inline]
    pub fn is_plumbing(&self, span: &Span, body: &[u8], store: &Store) -> bool {
        if 1_u32.checked_shl(span.resource.len() as u32).unwrap_or(0) & LENGTHS != 0
            && RESOURCES.contains(&span.resource.of(body, &store.pool))
            || span.name.len() == NAME.len() && span.name.of(body, &store.pool) == NAME
        {
            return true;
        }
        let url = store.value(span.known.url).map(|url| url.of(body, &store.pool));
        url.is_some_and(|url| self.is_url(url)) || span.network && self.is_network(span, body, store)
    }

    /// Whether `url` is at one of the addresses.
    fn is_url(&self, url: &[u8]) -> bool {
        url.strip_prefix(b"http://").is_some_and(|rest| self.addresses.iter().any(|address| begins(rest, address)))
    }

    /// Whether the tags of a connection or of a name's resolution say so. The port is a number with the Node tracer.
    #[cold]
    fn is_network(&self, span: &Span, body: &[u8], store: &Store) -> bool {
        let meta = |key: &str| store.meta(span, key.as_bytes(), body);
        if let Some(host) = meta("tcp.remote.host") {
            let (text, number) = (meta("tcp.remote.port"), store.metric(span, b"tcp.remote.port", body));
            let is_port = |port: &str| match text {
                Some(text) => text == port.as_bytes(),
                None => number.is_some_and(|number| port.parse::<u16>().is_ok_and(|port| f64::from(port) == number)),
            };
            let mut pairs = self.addresses.iter().filter_map(|address| address.rsplit_once(':'));
            if pairs.any(|(its_host, port)| host == its_host.as_bytes() && is_port(port)) {
                return true;
            }
        }
        meta("dns.address").is_some_and(|name| self.resolved.iter().any(|host| begins(name, host)))
    }
}

/// Whether `text` begins with `address` and the number at its end ends there.
fn begins(text: &[u8], address: &str) -> bool {
    text.strip_prefix(address.as_bytes()).is_some_and(|rest| !rest.first().is_some_and(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::decode::{Dialect as _, Inline};
    use crate::traces::msgpack::Reader;

    type Tags<'a> = &'a [(&'a str, &'a str)];

    /// Decodes a span and asks for it.
    fn is_plumbing(
        environment: (Option<&str>, Option<&str>),
        (name, resource): (&str, &str),
        tags: Tags<'_>,
        numbers: &[(&str, f64)],
    ) -> bool {
        let mut body = Vec::new();
        let text = |body: &mut Vec<u8>, text: &str| rmp::encode::write_str(body, text).unwrap();
        rmp::encode::write_map_len(&mut body, 4).unwrap();
        for (key, value) in [("name", name), ("resource", resource)] {
            text(&mut body, key);
            text(&mut body, value);
        }
        text(&mut body, "meta");
        rmp::encode::write_map_len(&mut body, tags.len() as u32).unwrap();
        for (key, value) in tags {
            text(&mut body, key);
            text(&mut body, value);
        }
        text(&mut body, "metrics");
        rmp::encode::write_map_len(&mut body, numbers.len() as u32).unwrap();
        for (key, value) in numbers {
            text(&mut body, key);
            rmp::encode::write_f64(&mut body, *value).unwrap();
        }
        let (mut store, mut span) = (Store::default(), Span::default());
        assert_eq!(Inline.span(&mut Reader::new(&body, 0), &mut store, &mut span), Ok(true));
        Plumbing::new(environment.0, environment.1).is_plumbing(&span, &body, &store)
    }

    const NOWHERE: (Option<&str>, Option<&str>) = (None, None);
    const ELSEWHERE: (Option<&str>, Option<&str>) = (Some("169.254.100.1:9001"), Some("169.254.100.1:2000"));

    #[test]
    fn names_and_resources() {
        for (name, resource, expected) in [
            ("aws.lambda", "dd-tracer-serverless-span", true),
            ("dns.lookup", "example.com", true),
            ("tcp.connect", "127.0.0.1", true),
            ("tcp.connect", "0.0.0.0", true),
            ("tcp.connect", "127.0.0.1:9001", false),
            ("dns.lookup_service", "example.com", false),
            ("web.request", "GET /", false),
            ("", "", false),
        ] {
            assert_eq!(is_plumbing(NOWHERE, (name, resource), &[], &[]), expected, "{name} {resource}");
        }
    }

    #[test]
    fn urls_connections_and_names() {
        let rows: [(_, Tags<'_>, bool); 30] = [
            (NOWHERE, &[("http.url", "http://127.0.0.1:9001/2018-06-01/runtime/invocation/next")], true),
            (NOWHERE, &[("http.url", "http://127.0.0.1:8124/lambda/flush")], true),
            (NOWHERE, &[("http.url", "http://127.0.0.1:8125/")], true),
            (NOWHERE, &[("http.url", "http://127.0.0.1:8125")], true),
            (NOWHERE, &[("http.url", "https://127.0.0.1:8124/")], false),
            (NOWHERE, &[("http.url", "127.0.0.1:8124")], false),
            (NOWHERE, &[("http.url", "http://127.0.0.1:8126/")], false),
            (NOWHERE, &[("http.url", "http://127.0.0.1/")], false),
            (NOWHERE, &[("http.url", "")], false),
            (NOWHERE, &[("http.url", "http://example.com/http://127.0.0.1:8124")], false),
            (NOWHERE, &[("http.url", "http://a/"), ("http.url", "http://127.0.0.1:8124/")], true),
            (NOWHERE, &[("tcp.remote.host", "127.0.0.1"), ("tcp.remote.port", "9001")], true),
            (NOWHERE, &[("tcp.remote.port", "8124"), ("tcp.remote.host", "127.0.0.1")], true),
            (NOWHERE, &[("tcp.remote.host", "127.0.0.1"), ("tcp.remote.port", "8125")], true),
            (NOWHERE, &[("tcp.remote.host", "127.0.0.1"), ("tcp.remote.port", "5432")], false),
            (NOWHERE, &[("tcp.remote.host", "10.0.0.1"), ("tcp.remote.port", "8124")], false),
            (NOWHERE, &[("tcp.remote.host", "127.0.0.1")], false),
            (NOWHERE, &[("tcp.remote.port", "8124")], false),
            (NOWHERE, &[("dns.address", "0.0.0.0")], true),
            (NOWHERE, &[("dns.address", "127.0.0.1")], true),
            (NOWHERE, &[("dns.address", "127.0.0.1:53")], true),
            (NOWHERE, &[("dns.address", "169.254.79.129")], true),
            (NOWHERE, &[("dns.address", "93.184.216.34")], false),
            (NOWHERE, &[("dns.address", "169.254.100.1")], false),
            // What the environment names, besides.
            (ELSEWHERE, &[("http.url", "http://169.254.100.1:9001/2018-06-01/runtime")], true),
            (ELSEWHERE, &[("http.url", "http://127.0.0.1:9001/")], true),
            (ELSEWHERE, &[("tcp.remote.host", "169.254.100.1"), ("tcp.remote.port", "9001")], true),
            (ELSEWHERE, &[("dns.address", "169.254.100.1")], true),
            (ELSEWHERE, &[("dns.address", "169.254.100.12")], false),
            (ELSEWHERE, &[("http.url", "http://169.254.100.1:90012/")], false),
        ];
        for (environment, tags, expected) in rows {
            assert_eq!(is_plumbing(environment, ("op", "res"), tags, &[]), expected, "{environment:?} {tags:?}");
        }
    }

    #[test]
    fn ports_that_are_numbers() {
        for (port, expected) in [(8124.0, true), (9001.0, true), (8124.5, false), (f64::NAN, false)] {
            let tags: Tags<'_> = &[("tcp.remote.host", "127.0.0.1")];
            assert_eq!(is_plumbing(NOWHERE, ("op", "res"), tags, &[("tcp.remote.port", port)]), expected, "{port}");
        }
    }

    #[test]
    fn an_empty_environment_names_nothing() {
        for environment in [(Some(""), Some("")), (None, Some(":2000"))] {
            for tags in [&[("http.url", "http://example.com/")], &[("dns.address", "10.0.0.1")]] {
                assert!(!is_plumbing(environment, ("op", "res"), tags, &[]), "{environment:?} {tags:?}");
            }
        }
    }
}
