//! What the event platform's proxy takes: the Go agent's rules and texts (`/evp_proxy/v1` to `v4`). Pure.

use crate::config::apm::Proxy;
use crate::net::{Head, Response};

/// The client's headers that go on; all others are the proxy's own.
pub(super) const ALLOWED: [&str; 6] = [
    "content-type",
    "accept-encoding",
    "content-encoding",
    "user-agent",
    "dd-ci-provider-name",
    "datadog-container-id",
];

/// The header that says which part of the platform is meant.
pub(super) const SUBDOMAIN: &str = "x-datadog-evp-subdomain";

/// Whether the proxy is on.
pub(super) fn enabled(settings: &Proxy) -> Result<(), Response> {
    if settings.evp_enabled {
        Ok(())
    } else {
        Err(Response::text(405, "EVPProxy is disabled: Has been disabled in config\n"))
    }
}

/// The longest body in bytes; a setting of 0 is no limit.
pub(super) fn longest(settings: &Proxy) -> u64 {
    if settings.evp_max_payload == 0 { u64::MAX } else { settings.evp_max_payload as u64 }
}

/// Whether a request to `path` may go on. `max` is the longest body in bytes.
pub(super) fn check(head: &Head, path: &str, max: u64) -> Result<(), Response> {
    let bad = |text: &str, what: &str| Err(Response::text(400, format!("EVPProxy: {text}{}\n", what.escape_debug())));
    let subdomain = head.header(SUBDOMAIN).unwrap_or_default();
    if subdomain.is_empty() {
        return bad("no subdomain specified", "");
    }
    if !is_subdomain(subdomain) {
        return bad("invalid subdomain: ", subdomain);
    }
    if !path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_-+".contains(&b)) {
        return bad("invalid target path: ", path);
    }
    // Beyond the Go agent's: what is percent-encoded or a list names the same host.
    if !head.query.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_-+@?&=.:\"%,~".contains(&b)) {
        return bad("invalid query string: ", &head.query);
    }
    if head.header("x-datadog-needsappkey").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
        return Err(Response::text(502, "EVPProxy: ApplicationKey needed but not set\n"));
    }
    match head.header("content-length").and_then(|v| v.parse::<u64>().ok()) {
        Some(length) if max < length => Err(too_long(max)),
        _ => Ok(()),
    }
}

/// The answer to a body of more than `max` bytes.
pub(super) fn too_long(max: u64) -> Response {
    Response::text(413, format!("EVPProxy: the body is longer than {max} bytes\n"))
}

/// Labels of a host name that end up below the site and nowhere else.
fn is_subdomain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 200 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(query: &str, headers: &[(&str, &str)]) -> Head {
        Head {
            method: "POST".into(),
            path: String::new(),
            query: query.into(),
            headers: headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect(),
        }
    }

    /// Path, query, headers; the status and the text of the refusal.
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Result<(), (u16, &'a str)>);

    #[test]
    fn what_may_go_on() {
        let api = (SUBDOMAIN, "api");
        let label = "x".repeat(64);
        let rows: &[Case<'_>] = &[
            ("/api/v2/x", "", &[api], Ok(())),
            ("/api/v2/x", "a=b&ddtags=env%3Aprod,a:b", &[(SUBDOMAIN, "my.sub_domain-1")], Ok(())),
            ("/x", "", &[], Err((400, "EVPProxy: no subdomain specified\n"))),
            ("/x", "", &[(SUBDOMAIN, "")], Err((400, "EVPProxy: no subdomain specified\n"))),
            ("/x", "", &[(SUBDOMAIN, "a.")], Err((400, "EVPProxy: invalid subdomain: a.\n"))),
            ("/x", "", &[(SUBDOMAIN, ".a")], Err((400, "EVPProxy: invalid subdomain: .a\n"))),
            ("/x", "", &[(SUBDOMAIN, "a..b")], Err((400, "EVPProxy: invalid subdomain: a..b\n"))),
            ("/x", "", &[(SUBDOMAIN, "-a")], Err((400, "EVPProxy: invalid subdomain: -a\n"))),
            ("/x", "", &[(SUBDOMAIN, "evil.com/")], Err((400, "EVPProxy: invalid subdomain: evil.com/\n"))),
            ("/x", "", &[(SUBDOMAIN, "evil.com#")], Err((400, "EVPProxy: invalid subdomain: evil.com#\n"))),
            ("/x", "", &[(SUBDOMAIN, "me@evil")], Err((400, "EVPProxy: invalid subdomain: me@evil\n"))),
            ("/x", "", &[(SUBDOMAIN, "a:80")], Err((400, "EVPProxy: invalid subdomain: a:80\n"))),
            ("/my%20path", "", &[api], Err((400, "EVPProxy: invalid target path: /my%20path\n"))),
            ("/../x", "", &[api], Err((400, "EVPProxy: invalid target path: /../x\n"))),
            ("/x", "a=<b>", &[api], Err((400, "EVPProxy: invalid query string: a=<b>\n"))),
            (
                "/x",
                "",
                &[api, ("x-datadog-needsappkey", "True")],
                Err((502, "EVPProxy: ApplicationKey needed but not set\n")),
            ),
            ("/x", "", &[api, ("x-datadog-needsappkey", "false")], Ok(())),
            ("/x", "", &[api, ("content-length", "42")], Ok(())),
            ("/x", "", &[api, ("content-length", "43")], Err((413, "EVPProxy: the body is longer than 42 bytes\n"))),
        ];
        for (path, query, headers, expected) in rows {
            let outcome = check(&head(query, headers), path, 42);
            let shown = outcome.map_err(|r| (r.status, String::from_utf8(r.body).unwrap()));
            assert_eq!(
                shown,
                expected.map_err(|(status, text)| (status, text.to_owned())),
                "{path} {query} {headers:?}"
            );
        }
        assert!(!is_subdomain(&label) && is_subdomain(&label[1..]));
    }

    #[test]
    fn it_can_be_off() {
        let refused = enabled(&Proxy::default()).unwrap_err();
        assert_eq!(
            (refused.status, &*refused.body),
            (405, &b"EVPProxy is disabled: Has been disabled in config\n"[..])
        );
        let limits = [0, 7].map(|evp_max_payload| longest(&Proxy { evp_max_payload, ..Proxy::default() }));
        assert_eq!(limits, [u64::MAX, 7]);
        assert!(enabled(&Proxy { evp_enabled: true, ..Proxy::default() }).is_ok());
    }
}
