//! Peer tags: what a call went to (spec: traces 4.8). The built-in keys, and the values without addresses, of which there
//! would be too many. Pure.

use std::net::Ipv6Addr;

/// The built-in keys, sorted.
pub const KEYS: &[&str] = &[
    BASE_SERVICE,
    "active_record.db.vendor",
    "amqp.destination",
    "amqp.exchange",
    "amqp.queue",
    "aws.queue.name",
    "aws.s3.bucket",
    "bucketname",
    "cassandra.keyspace",
    "db.cassandra.contact.points",
    "db.couchbase.seed.nodes",
    "db.hostname",
    "db.instance",
    "db.name",
    "db.namespace",
    "db.system",
    "db.type",
    "dns.hostname",
    "grpc.host",
    "hostname",
    "http.host",
    "http.server_name",
    "messaging.destination",
    "messaging.destination.name",
    "messaging.kafka.bootstrap.servers",
    "messaging.rabbitmq.exchange",
    "messaging.system",
    "mongodb.db",
    "msmq.queue.path",
    "net.peer.name",
    "network.destination.ip",
    "network.destination.name",
    "out.host",
    "peer.hostname",
    "peer.service",
    "queuename",
    "rpc.service",
    "rpc.system",
    "sequel.db.vendor",
    "server.address",
    "streamname",
    "tablename",
    "topicname",
];

/// The service that a span's own service took the place of; the one key for spans that call nobody.
pub const BASE_SERVICE: &str = "_dd.base_service";

/// What stands for an address.
const BLOCKED: &[u8] = b"blocked-ip-address";

/// Addresses that are the same everywhere: the host itself and the metadata services of clouds.
const ALLOWED: [&[u8]; 5] = [b"127.0.0.1", b"::1", b"169.254.169.254", b"fd00:ec2::254", b"169.254.170.2"];

/// How many entries of a list are compared with a new one: a list is no longer than that, or it is not for reading.
const MAX_COMPARED: usize = 64;

/// Appends `value`, a host or a list of them separated by commas, with `blocked-ip-address` for addresses and each entry once.
pub fn quantise(value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    for (i, entry) in value.split(|&byte| byte == b',').enumerate() {
        let end = out.len();
        if i > 0 {
            out.push(b',');
        }
        let entry_at = out.len();
        host(entry, out);
        let (before, entry) = out.split_at(entry_at);
        let mut list = before.get(start..end).unwrap_or_default().split(|&byte| byte == b',');
        if i > 0 && list.by_ref().take(MAX_COMPARED).any(|earlier| earlier == entry) {
            out.truncate(end);
        }
    }
}

/// Appends one host. What stands before an address (a scheme, `ip-`) and behind it (a port, a domain) stays.
fn host(text: &[u8], out: &mut Vec<u8>) {
    let (prefix, rest) = text.split_at(prefix(text));
    match address(rest) {
        Some((address, suffix)) if !ALLOWED.contains(&address) => {
            out.extend_from_slice(prefix);
            out.extend_from_slice(BLOCKED);
            out.extend_from_slice(suffix);
        }
        _ => out.extend_from_slice(text),
    }
}

/// The length of the scheme with its slashes, or of the `ip-` of EC2's host names.
fn prefix(text: &[u8]) -> usize {
    if text.starts_with(b"ip-") {
        return 3;
    }
    for scheme in [b"dnspoll".as_slice(), b"ftp", b"file", b"http", b"https"] {
        if let Some(rest) = text.strip_prefix(scheme).and_then(|rest| rest.strip_prefix(b"://")) {
            return text.len() - rest.strip_prefix(b"/").unwrap_or(rest).len();
        }
    }
    0
}

/// The address that `text` begins with, and what follows it.
fn address(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| !byte.is_ascii_digit())?;
    match text[at] {
        separator @ (b'.' | b'-' | b'_') => ipv4(text, separator),
        b':' | b'a'..=b'f' | b'A'..=b'F' => is_ipv6(text).then_some((text, &[])),
        b'[' if at == 0 => {
            let rest = &text[1..];
            let end = rest.iter().position(|&byte| byte == b']')?;
            is_ipv6(&rest[..end]).then(|| (&rest[..end], &rest[end + 1..]))
        }
        _ => None,
    }
}

fn is_ipv6(text: &[u8]) -> bool {
    // A bucket named `cafe` must not cost an attempt at parsing: every address has a colon.
    text.contains(&b':') && std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Four numbers up to 255 without leading zeros, with `separator` between them.
fn ipv4(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let mut rest = text;
    for field in 0..4 {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = rest[..digits.min(4)].iter().fold(0, |n, digit| 10 * n + u32::from(digit - b'0'));
        if digits == 0 || digits > 3 || number > 255 || (digits > 1 && rest[0] == b'0') {
            return None;
        }
        rest = &rest[digits..];
        if field < 3 {
            rest = rest.strip_prefix(&[separator])?;
        }
    }
    Some(text.split_at(text.len() - rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use libdd_trace_obfuscation::ip_address::quantize_peer_ip_addresses as oracle;
    use proptest::prelude::*;

    fn quantised(value: &str) -> String {
        let mut out = b"key:".to_vec();
        quantise(value.as_bytes(), &mut out);
        String::from_utf8(out.split_off(4)).unwrap()
    }

    #[test]
    fn keys_are_sorted() {
        assert!(KEYS.is_sorted());
    }

    #[test]
    fn addresses() {
        for (value, expected) in [
            ("", ""),
            ("db.example.com", "db.example.com"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1:5432", "127.0.0.1:5432"),
            ("127-0-0-1", "blocked-ip-address"),
            ("169.254.169.254", "169.254.169.254"),
            ("10.0.0.1", "blocked-ip-address"),
            ("10.0.0.1:5432", "blocked-ip-address:5432"),
            ("10.0.0.256", "10.0.0.256"),
            ("10.00.0.1", "10.00.0.1"),
            ("10.0.0", "10.0.0"),
            ("10.0.0.", "10.0.0."),
            ("10.0.0.1.2", "blocked-ip-address.2"),
            ("10.0-0.1", "10.0-0.1"),
            ("10_0_0_1", "blocked-ip-address"),
            ("ip-10-0-0-1.ec2.internal", "ip-blocked-ip-address.ec2.internal"),
            ("http://10.0.0.1/x", "http://blocked-ip-address/x"),
            ("https://10.0.0.1:80", "https://blocked-ip-address:80"),
            ("dnspoll:///10.0.0.1", "dnspoll:///blocked-ip-address"),
            ("dnspoll:////10.0.0.1", "dnspoll:////10.0.0.1"),
            ("redis://10.0.0.1", "redis://10.0.0.1"),
            ("::1", "::1"),
            ("fe80::1", "blocked-ip-address"),
            ("12ab::1", "blocked-ip-address"),
            ("[fe80::1]:80", "blocked-ip-address:80"),
            ("[::1]:80", "[::1]:80"),
            ("[fe80::1", "[fe80::1"),
            ("1[::2]", "1[::2]"),
            ("cafe", "cafe"),
            ("12345", "12345"),
            ("10.0.0.1,10.0.0.2,db", "blocked-ip-address,db"),
            ("a,b,a", "a,b"),
            ("a,,b,", "a,,b"),
            (",", ""),
            (",a", ",a"),
        ] {
            assert_eq!(quantised(value), expected, "{value:?}");
            assert_eq!(oracle(value), expected, "{value:?}, as Datadog's own");
        }
    }

    proptest! {
        #[test]
        fn as_datadogs_own(value in "((ip-|http://|ftp:///|\\[)?([0-9]{1,3}[._:-]?|[a-f:]{1,3}){0,6}[\\]:a,]?){0,3}") {
            prop_assert_eq!(quantised(&value), oracle(&value).into_owned());
        }

        #[test]
        fn any_text(value in any::<String>()) {
            prop_assert_eq!(quantised(&value), oracle(&value).into_owned());
        }
    }
}
