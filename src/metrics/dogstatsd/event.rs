//! DogStatsD's events and service checks (spec: metrics 3.2), from a line to owned values.
//!
//! Pure; runs on the thread `metrics-agent`. These are rare, so they are copied at once. An optional field that makes no
//! sense is ignored; only a wrong head drops the line, as in the Go agent.

use super::parser::{Malformed, timestamp};

/// `_e{<title bytes>,<text bytes>}:<title>|<text>[|d:][|h:][|k:][|p:][|s:][|t:][|#…]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The title, not empty.
    pub title: String,
    /// The text; `\n` in it is a line break.
    pub text: String,
    /// Seconds since the epoch, if sent.
    pub timestamp: Option<u64>,
    /// `h:`, or empty.
    pub host: String,
    /// `k:`, or empty: events with the same key are shown as one.
    pub aggregation_key: String,
    /// `p:low`.
    pub low_priority: bool,
    /// `s:`, or empty.
    pub source: String,
    /// `t:`; `info` if not sent.
    pub alert_type: AlertType,
    /// Tags as sent, separated by commas.
    pub tags: String,
}

/// The severity of an [`Event`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AlertType {
    /// `info`.
    #[default]
    Info,
    /// `success`.
    Success,
    /// `warning`.
    Warning,
    /// `error`.
    Error,
}

impl AlertType {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// `_sc|<name>|<0-3>[|d:][|h:][|#…][|m:]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceCheck {
    /// The check's name, not empty.
    pub name: String,
    /// 0 ok, 1 warning, 2 critical, 3 unknown.
    pub status: u8,
    /// Seconds since the epoch, if sent.
    pub timestamp: Option<u64>,
    /// `h:`, or empty.
    pub host: String,
    /// `m:`, or empty; `\n` in it is a line break.
    pub message: String,
    /// Tags as sent, separated by commas.
    pub tags: String,
}

/// Reads an event; `line` starts with `_e{`.
///
/// # Errors
/// [`Malformed::Header`] if the lengths are missing or do not fit, or the title is empty.
pub fn event(line: &[u8]) -> Result<Event, Malformed> {
    let [title, text, fields] = head(line).ok_or(Malformed::Header)?;
    let mut event = Event { title: unescape(title), text: unescape(text), ..Event::default() };
    for field in fields.split(|&b| b == b'|') {
        match field {
            [b'd', b':', v @ ..] => event.timestamp = timestamp(v).or(event.timestamp),
            [b'h', b':', v @ ..] => event.host = owned(v),
            [b'k', b':', v @ ..] => event.aggregation_key = owned(v),
            [b'p', b':', v @ ..] => match v {
                b"low" => event.low_priority = true,
                b"normal" => event.low_priority = false,
                _ => {}
            },
            [b's', b':', v @ ..] => event.source = owned(v),
            [b't', b':', v @ ..] => match v {
                b"info" => event.alert_type = AlertType::Info,
                b"success" => event.alert_type = AlertType::Success,
                b"warning" => event.alert_type = AlertType::Warning,
                b"error" => event.alert_type = AlertType::Error,
                _ => {}
            },
            [b'#', v @ ..] => event.tags = owned(v),
            _ => {}
        }
    }
    Ok(event)
}

/// Title, text, and the optional fields. The lengths are bytes; where those do not fit they are taken as UTF-16 units,
/// which hot-shots (Node) sends, and without which its events in other than ASCII would be lost.
fn head(line: &[u8]) -> Option<[&[u8]; 3]> {
    let line = line.strip_prefix(b"_e{")?;
    let close = line.iter().position(|&b| b == b'}')?;
    let lengths = std::str::from_utf8(&line[..close]).ok()?;
    let (title, text) = lengths.split_once(',')?;
    let (title, text): (usize, usize) = (title.parse().ok().filter(|&length| length > 0)?, text.parse().ok()?);
    let body = line[close + 1..].strip_prefix(b":")?;
    parts(body, title, text).or_else(|| {
        let title = utf16_bytes(body, title)?;
        let text = utf16_bytes(body.get(title + 1..)?, text)?;
        parts(body, title, text)
    })
}

/// Cuts title, text and fields by the number of bytes.
fn parts(body: &[u8], title: usize, text: usize) -> Option<[&[u8]; 3]> {
    let (title, rest) = body.split_at_checked(title)?;
    let (text, fields) = rest.strip_prefix(b"|")?.split_at_checked(text)?;
    let fields = if fields.is_empty() { fields } else { fields.strip_prefix(b"|")? };
    Some([title, text, fields])
}

/// How many bytes of `text` are `units` UTF-16 units.
fn utf16_bytes(text: &[u8], units: usize) -> Option<usize> {
    let (mut left, mut bytes) = (units, 0);
    let mut chars = std::str::from_utf8(text).ok()?.chars();
    while left > 0 {
        let next = chars.next()?;
        left = left.checked_sub(next.len_utf16())?;
        bytes += next.len_utf8();
    }
    Some(bytes)
}

/// Reads a service check; `line` starts with `_sc|`.
///
/// # Errors
/// [`Malformed::Header`] if the name is empty or the status is none of 0 to 3.
pub fn service_check(line: &[u8]) -> Result<ServiceCheck, Malformed> {
    let mut fields = line.split(|&b| b == b'|').skip(1);
    let name = fields.next().filter(|name| !name.is_empty()).ok_or(Malformed::Header)?;
    let status = match fields.next() {
        Some([digit @ b'0'..=b'3']) => digit - b'0',
        _ => return Err(Malformed::Header),
    };
    let mut check = ServiceCheck { name: owned(name), status, ..ServiceCheck::default() };
    for field in fields {
        match field {
            [b'd', b':', v @ ..] => check.timestamp = timestamp(v).or(check.timestamp),
            [b'h', b':', v @ ..] => check.host = owned(v),
            // The libraries write a `m:` inside the message as `m\:`.
            [b'm', b':', v @ ..] => check.message = unescape(v).replace("m\\:", "m:"),
            [b'#', v @ ..] => check.tags = owned(v),
            _ => {}
        }
    }
    Ok(check)
}

fn owned(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn unescape(text: &[u8]) -> String {
    owned(text).replace("\\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn events() {
        let base = Event { title: "title".into(), text: "text".into(), ..Event::default() };
        let with = |change: &dyn Fn(&mut Event)| {
            let mut event = base.clone();
            change(&mut event);
            Some(event)
        };
        for (line, expected) in [
            ("_e{5,4}:title|text", Some(base.clone())),
            ("_e{5,4}:title|text|", Some(base.clone())),
            ("_e{5,0}:title|", with(&|e| e.text.clear())),
            ("_e{5,11}:title|text\\nline2", with(&|e| e.text = "text\nline2".into())),
            (
                "_e{5,4}:ti|le|t|xt|#a",
                with(&|e| (e.title, e.text, e.tags) = ("ti|le".into(), "t|xt".into(), "a".into())),
            ),
            ("_e{6,4}:tïtle|text", with(&|e| e.title = "tïtle".into())),
            // Lengths in UTF-16 units.
            ("_e{5,4}:tïtle|text", with(&|e| e.title = "tïtle".into())),
            (
                "_e{7,6}:title😀|täxt😀|#a",
                with(&|e| (e.title, e.text, e.tags) = ("title😀".into(), "täxt😀".into(), "a".into())),
            ),
            ("_e{6,6}:title😀|täxt😀", None),
            ("_e{5,4}:title|text|d:1700000000", with(&|e| e.timestamp = Some(1_700_000_000))),
            ("_e{5,4}:title|text|d:soon", Some(base.clone())),
            ("_e{5,4}:title|text|h:box", with(&|e| e.host = "box".into())),
            ("_e{5,4}:title|text|k:key", with(&|e| e.aggregation_key = "key".into())),
            ("_e{5,4}:title|text|p:low", with(&|e| e.low_priority = true)),
            ("_e{5,4}:title|text|p:normal", Some(base.clone())),
            ("_e{5,4}:title|text|p:urgent", Some(base.clone())),
            ("_e{5,4}:title|text|s:jenkins", with(&|e| e.source = "jenkins".into())),
            ("_e{5,4}:title|text|t:error", with(&|e| e.alert_type = AlertType::Error)),
            ("_e{5,4}:title|text|t:warning", with(&|e| e.alert_type = AlertType::Warning)),
            ("_e{5,4}:title|text|t:success", with(&|e| e.alert_type = AlertType::Success)),
            ("_e{5,4}:title|text|t:info", Some(base.clone())),
            ("_e{5,4}:title|text|t:fatal", Some(base.clone())),
            ("_e{5,4}:title|text|#a:1,b", with(&|e| e.tags = "a:1,b".into())),
            ("_e{5,4}:title|text|c:ci-1|e:x|card:low", Some(base.clone())),
            ("_e{0,4}:|text", None),
            ("_e{5,9}:title|text", None),
            ("_e{4,4}:title|text", None),
            ("_e{5,3}:title|text", None),
            ("_e{5}:title|text", None),
            ("_e{x,4}:title|text", None),
            ("_e{-1,4}:title|text", None),
            ("_e{18446744073709551615,2}:a|b", None),
            ("_e{5,4}title|text", None),
            ("_e{", None),
        ] {
            assert_eq!(event(line.as_bytes()).ok(), expected, "{line}");
        }
    }

    #[test]
    fn service_checks() {
        let base = ServiceCheck { name: "up".into(), status: 0, ..ServiceCheck::default() };
        for (line, expected) in [
            ("_sc|up|0", Some(base.clone())),
            ("_sc|up|3", Some(ServiceCheck { status: 3, ..base.clone() })),
            ("_sc|up|1|d:12", Some(ServiceCheck { status: 1, timestamp: Some(12), ..base.clone() })),
            ("_sc|up|0|h:box|#a:1,b", Some(ServiceCheck { host: "box".into(), tags: "a:1,b".into(), ..base.clone() })),
            ("_sc|up|0|m:all\\nwell m\\:x", Some(ServiceCheck { message: "all\nwell m:x".into(), ..base.clone() })),
            ("_sc|up|0|c:in-1", Some(base.clone())),
            ("_sc|up|0|d:never", Some(base.clone())),
            ("_sc|up|4", None),
            ("_sc|up|", None),
            ("_sc|up", None),
            ("_sc||0", None),
            ("_sc|", None),
        ] {
            assert_eq!(service_check(line.as_bytes()).ok(), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = event(&[b"_e{", line.as_slice()].concat());
            let _ = service_check(&[b"_sc|", line.as_slice()].concat());
        }

        #[test]
        fn never_panics_near_the_grammar(line in "[0-9]{0,3},[0-9]{0,3}}:[a-zé|#:dhkpst]{0,40}") {
            let _ = event(format!("_e{{{line}").as_bytes());
        }
    }
}
