//! From the text of one value to its type: the grammars of single values.
//!
//! Each function takes trimmed text without outer quotes and says in a [`Problem`] what it would have taken. None of
//! them shows the text it was given: it may be a secret. Pure.

use std::borrow::Cow;
use std::time::Duration;

use log::LevelFilter;

use super::FlushStrategy;

/// What is wrong with a value, for a [`super::Complaint`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(Cow<'static, str>);

impl Problem {
    /// The text of it.
    pub fn into_text(self) -> String {
        self.0.into_owned()
    }
}

impl From<&'static str> for Problem {
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

/// `text` without outer blanks and without one pair of quotes around all of it.
pub fn unquote(text: &str) -> &str {
    let text = text.trim();
    for quote in ['"', '\''] {
        match text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote)) {
            Some(inner) if !inner.contains(quote) => return inner.trim(),
            _ => {}
        }
    }
    text
}

/// A boolean in any usual spelling: those of both generations, and of YAML 1.1.
pub fn boolean(text: &str) -> Result<bool, Problem> {
    let is = |spellings: &[&str]| spellings.iter().any(|s| text.eq_ignore_ascii_case(s));
    if is(&["true", "1", "t", "yes", "y", "on", "1.0"]) {
        Ok(true)
    } else if is(&["false", "0", "f", "no", "n", "off", "0.0"]) {
        Ok(false)
    } else {
        Err("neither true nor false".into())
    }
}

/// A whole number between `low` and `high`; `4096.0` is one.
pub fn integer(text: &str, low: i64, high: i64) -> Result<i64, Problem> {
    let digits = text.strip_suffix(".0").unwrap_or(text);
    match digits.parse() {
        Ok(number) if (low..=high).contains(&number) => Ok(number),
        _ => Err(format!("not a whole number from {low} to {high}").into()),
    }
}

/// A number between `low` and `high`.
pub fn number(text: &str, low: f64, high: f64) -> Result<f64, Problem> {
    match text.parse() {
        Ok(number) if (low..=high).contains(&number) => Ok(number),
        _ => Err(format!("not a number from {low} to {high}").into()),
    }
}

/// A positive number of seconds, up to the 900 that an invocation can last.
pub fn seconds(text: &str) -> Result<Duration, Problem> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=900.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("not a number of seconds from 0.001 to 900".into()),
    }
}

/// A log level.
pub fn level(text: &str) -> Result<LevelFilter, Problem> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "trace" => LevelFilter::Trace,
        "debug" => LevelFilter::Debug,
        "info" => LevelFilter::Info,
        "warn" | "warning" => LevelFilter::Warn,
        // "critical" is a level of the Go agent.
        "error" | "critical" => LevelFilter::Error,
        "off" => LevelFilter::Off,
        _ => return Err("none of trace, debug, info, warn, error, off".into()),
    })
}

/// `DD_SERVERLESS_FLUSH_STRATEGY` (spec: flush 7.1). Blanks and letter case do not matter; parts after the second are
/// ignored; an interval of 0 would mean a flush without end and is refused.
pub fn flush_strategy(text: &str) -> Result<FlushStrategy, Problem> {
    /// What `periodically` alone means, as in the Go agent.
    const PERIOD: Duration = Duration::from_secs(10);
    /// A day: longer than an environment lives, and short enough to add to any time.
    const MAX_MS: u64 = 86_400_000;
    let mut parts = text.split(',').map(str::trim);
    let word = parts.next().unwrap_or_default().to_ascii_lowercase();
    let interval = match parts.next().filter(|p| !p.is_empty()) {
        None => None,
        Some(ms) => match ms.parse::<u64>() {
            Ok(ms) if (1..=MAX_MS).contains(&ms) => Some(Duration::from_millis(ms)),
            _ => return Err(format!("the interval is not a number of milliseconds from 1 to {MAX_MS}").into()),
        },
    };
    match (word.as_str(), interval) {
        ("default", _) => Ok(FlushStrategy::Adaptive),
        ("end", None) => Ok(FlushStrategy::End),
        ("end", Some(interval)) => Ok(FlushStrategy::EndPeriodically(interval)),
        ("periodically", interval) => Ok(FlushStrategy::Periodically(interval.unwrap_or(PERIOD))),
        ("continuously", Some(interval)) => Ok(FlushStrategy::Continuously(interval)),
        ("continuously", None) => Err("continuously needs an interval in milliseconds".into()),
        _ => Err("none of default; end; end,<ms>; periodically,<ms>; continuously,<ms>".into()),
    }
}

/// A site: the host name that every intake's name ends with, in lower case.
pub fn site(text: &str) -> Result<String, Problem> {
    if text == "localhost" || (is_host_name(text, false) && text.contains('.')) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("not a site such as datadoghq.com or datadoghq.eu".into())
    }
}

/// `scheme://host[:port][/prefix]` without trailing slashes. `scheme` is what text without one gets.
pub fn url(text: &str, scheme: &str) -> Result<String, Problem> {
    let (scheme, rest) = match text.split_once("://") {
        None => (scheme, text),
        Some((given, rest)) if given.eq_ignore_ascii_case("https") => ("https", rest),
        Some((given, rest)) if given.eq_ignore_ascii_case("http") => ("http", rest),
        Some(_) => return Err("a URL that is neither https:// nor http://".into()),
    };
    let rest = rest.trim_end_matches('/');
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("a URL with a user name in it".into());
    }
    if !is_authority(authority) {
        return Err("not a URL such as https://host or https://host:port".into());
    }
    if !path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'"' | b'<' | b'>' | b'\\')) {
        return Err("a URL with more than a path after its host".into());
    }
    Ok(format!("{scheme}://{authority}{path}"))
}

/// A host in lower case, with a port if need be, or a whole URL.
pub fn host(text: &str) -> Result<String, Problem> {
    if text.contains("://") {
        return url(text, "https");
    }
    let host = text.trim_end_matches('/');
    if is_authority(host) { Ok(host.to_ascii_lowercase()) } else { Err("not a host such as intake.example".into()) }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, rest))) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (None, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').unwrap_or("")) })
        }
        Some(None) => return false,
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    host.is_none_or(|host| is_host_name(host, true)) && port.is_none_or(|port| port_number(port).is_ok())
}

/// A port as it stands in a URL.
pub fn port_number(text: &str) -> Result<u16, Problem> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err("not a port from 1 to 65535".into()),
    }
}

/// Labels of letters, digits and hyphens between dots; underscores occur in the names of containers.
fn is_host_name(text: &str, underscores: bool) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || (underscores && b == b'_'))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// An API key: every blank removed, what is left visible ASCII, since it becomes the value of a header.
pub fn api_key(text: &str) -> Result<String, Problem> {
    let key: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if key.bytes().all(|b| b.is_ascii_graphic()) { Ok(key) } else { Err("has characters that no key has".into()) }
}

/// A metric namespace with its final dot.
pub fn namespace(text: &str) -> Result<String, Problem> {
    let name = text.trim_end_matches('.');
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
    if valid { Ok(format!("{name}.")) } else { Err("not a letter followed by letters, digits, _ and dots".into()) }
}

/// A percentile written as in the Go agent: `0.95` is 95.
pub fn percentile(text: &str) -> Result<u8, Problem> {
    // Rounded: 0.29 * 100 is a little under 29. Between 0.5 and 99.5, so the cast keeps the value.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    match text.parse::<f64>() {
        Ok(fraction) if (0.005..0.995).contains(&fraction) => Ok((fraction * 100.0).round() as u8),
        _ => Err("not a fraction such as 0.95".into()),
    }
}

/// One of a closed set of words, in lower case.
pub fn word(text: &str, words: &[&str]) -> Result<String, Problem> {
    words
        .iter()
        .find(|word| text.eq_ignore_ascii_case(word))
        .map(|word| (*word).to_owned())
        .ok_or_else(|| format!("none of {}", words.join(", ")).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check<T: PartialEq + std::fmt::Debug>(parse: impl Fn(&str) -> Result<T, Problem>, rows: &[(&str, Option<T>)]) {
        for (text, expected) in rows {
            assert_eq!(parse(text).ok().as_ref(), expected.as_ref(), "{text:?}");
        }
    }

    #[test]
    fn flush_strategies() {
        use FlushStrategy::{Adaptive, Continuously, End, EndPeriodically, Periodically};
        let ms = Duration::from_millis;
        let rows = [
            ("default", Some(Adaptive)),
            ("end", Some(End)),
            ("END", Some(End)),
            ("end,", Some(End)),
            ("end,1000", Some(EndPeriodically(ms(1000)))),
            (" end , 1000 ", Some(EndPeriodically(ms(1000)))),
            ("end,1000,more", Some(EndPeriodically(ms(1000)))),
            ("periodically,60000", Some(Periodically(ms(60_000)))),
            ("periodically", Some(Periodically(ms(10_000)))),
            ("continuously,1", Some(Continuously(ms(1)))),
            ("continuously", None),
            ("end,0", None),
            ("periodically,0", None),
            ("continuously,0", None),
            ("end,-1", None),
            ("end,1.5", None),
            ("end,99999999999999999999", None),
            ("end,86400001", None),
            ("sometimes", None),
            ("1000", None),
            ("", None),
        ];
        check(flush_strategy, &rows);
    }

    #[test]
    fn single_values() {
        let rows: Vec<_> =
            ["true", "TRUE", "True", "1", "1.0", "yes", "on", "t"].iter().map(|t| (*t, Some(true))).collect();
        check(boolean, &rows);
        let rows: Vec<_> = ["false", "False", "0", "0.0", "no", "OFF", "f"].iter().map(|t| (*t, Some(false))).collect();
        check(boolean, &rows);
        check(boolean, &[("2", None), ("", None), ("enabled", None), ("-1", None)]);
        check(
            |t| integer(t, 0, 9),
            &[
                ("0", Some(0)),
                ("9", Some(9)),
                ("+3", Some(3)),
                ("3.0", Some(3)),
                ("10", None),
                ("-1", None),
                ("3.5", None),
            ],
        );
        let s = Duration::from_secs_f64;
        check(
            |t| number(t, 0.0, 100.0),
            &[("0", Some(0.0)), ("12.5", Some(12.5)), ("1e2", Some(100.0)), ("-1", None), ("101", None), ("NaN", None)],
        );
        let name = |text: &str| Some(text.to_owned());
        check(host, &[("Intake.example", name("intake.example")), ("a:1/", name("a:1"))]);
        check(host, &[("https://a.b/", name("https://a.b")), ("http://a:1/b", name("http://a:1/b"))]);
        check(host, &[("", None), ("ftp://a", None), ("a/b", None), ("a b", None), ("a:x", None)]);
        check(seconds, &[("5", Some(s(5.0))), ("2.5", Some(s(2.5))), ("900", Some(s(900.0)))]);
        check(seconds, &[("0", None), ("-1", None), ("901", None), ("inf", None), ("NaN", None), ("5s", None)]);
        check(port_number, &[("1", Some(1)), ("65535", Some(65_535)), ("0", None), ("65536", None), ("+80", None)]);
        check(level, &[("DEBUG", Some(LevelFilter::Debug)), ("warning", Some(LevelFilter::Warn)), ("", None)]);
        check(level, &[("off", Some(LevelFilter::Off)), ("critical", Some(LevelFilter::Error)), ("3", None)]);
        check(
            percentile,
            &[("0.95", Some(95)), ("0.29", Some(29)), (".5", Some(50)), ("0", None), ("1", None), ("x", None)],
        );
        let ns = |text: &str| Some(text.to_owned());
        check(namespace, &[("app", ns("app.")), ("app.", ns("app.")), ("a.b_1..", ns("a.b_1."))]);
        check(namespace, &[("1app", None), (".app", None), ("a-b", None), ("é", None), ("", None), ("a b", None)]);
        check(api_key, &[(" a b\n", ns("ab")), ("ké", None), ("a\u{0}", None), (" ", ns(""))]);
    }

    #[test]
    fn sites() {
        for site_name in [
            "datadoghq.com",
            "us3.datadoghq.com",
            "us5.datadoghq.com",
            "datadoghq.eu",
            "ap1.datadoghq.com",
            "ap2.datadoghq.com",
            "ddog-gov.com",
            "localhost",
        ] {
            assert_eq!(site(site_name).as_deref(), Ok(site_name));
        }
        assert_eq!(site("DataDogHQ.EU").as_deref(), Ok("datadoghq.eu"));
        for bad in ["123", "https://datadoghq.eu", "datadoghq.eu/", "a b.c", "a..b", ".eu", "a.b:443", "-a.b", "a_b.c"]
        {
            assert!(site(bad).is_err(), "{bad}");
        }
        assert!(site(&format!("{}.com", "a".repeat(64))).is_err());
    }

    #[test]
    fn urls() {
        for (text, expected) in [
            ("https://api.datadoghq.com", "https://api.datadoghq.com"),
            ("https://api.datadoghq.com//", "https://api.datadoghq.com"),
            ("HTTP://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("host", "https://host"),
            ("host:443", "https://host:443"),
            ("my_container:80", "https://my_container:80"),
            ("http://[::1]:80", "http://[::1]:80"),
            ("http://[::1]", "http://[::1]"),
            ("proxy.example/datadog/", "https://proxy.example/datadog"),
        ] {
            assert_eq!(url(text, "https").as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(url("host:80", "http").as_deref(), Ok("http://host:80"));
        for bad in [
            "",
            "/",
            "https://",
            "ftp://host",
            "host:0",
            "host:99999",
            "host:",
            "a b",
            "https://u:p@host",
            "host?x",
            "host/p?x",
            "host/p#x",
            "host/ a",
            "http://[::1",
            "http://[x]:1",
            "http://[::1]80",
            "https://https://host",
        ] {
            assert!(url(bad, "https").is_err(), "{bad}");
        }
    }

    #[test]
    fn quotes_around_all_of_a_value_go() {
        for (text, expected) in [
            (" a ", "a"),
            ("\"a\"", "a"),
            ("' a '", "a"),
            ("\"", "\""),
            ("\"\"", ""),
            ("'a\"", "'a\""),
            ("\"a\",\"b\"", "\"a\",\"b\""),
        ] {
            assert_eq!(unquote(text), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}|[a-z0-9:/\\[\\].,@-]{0,40}") {
            let _ = (boolean(&text), integer(&text, 0, 9), seconds(&text), level(&text), percentile(&text));
            let _ = (host(&text), number(&text, 0.0, 1.0), flush_strategy(&text), site(&text), namespace(&text), api_key(&text), unquote(&text));
            if let Ok(first) = url(&text, "https") {
                prop_assert_eq!(url(&first, "http"), Ok(first));
            }
        }
    }
}
