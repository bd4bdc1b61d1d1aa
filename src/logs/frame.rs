//! A log as the intake wants it (spec: logs 6.3), and cut to what it takes (6.7).
//!
//! Pure. Everything but the message, the id and the time is escaped once, when the tags are known.

use std::io::Write as _;

use super::entry::Entry;
use super::escape;
use crate::lambda::Tags;

/// Bytes of a serialised log: what the intake takes, in its strictest reading of "1 MB".
pub const MAX_LOG: usize = 1_000_000;

/// Stands at the end of a message that was cut.
const MARKER: &[u8] = b"...TRUNCATED...";

/// The parts that all logs have in common.
#[derive(Debug)]
pub struct Frame {
    /// From the end of the message to the request id.
    lambda: Vec<u8>,
    /// From the end of the level to the function's tags.
    function: Vec<u8>,
    /// Whether there are tags of the function.
    tagged: bool,
}

impl Frame {
    /// For the function described by `tags`.
    #[must_use]
    pub fn new(tags: &Tags) -> Self {
        let mut lambda = b"\",\"lambda\":{\"arn\":\"".to_vec();
        escape::push_plain(&tags.function_arn, &mut lambda);
        lambda.extend_from_slice(b"\",\"request_id\":");
        let mut function = b"\"},\"hostname\":\"".to_vec();
        escape::push_plain(&tags.function_arn, &mut function);
        function.extend_from_slice(b"\",\"service\":\"");
        escape::push_plain(&tags.service, &mut function);
        function.extend_from_slice(b"\",\"ddtags\":\"");
        escape::push_plain(&tags.joined, &mut function);
        Self { lambda, function, tagged: !tags.joined.is_empty() }
    }

    /// Writes `entry` to `out`, which is overwritten. Returns whether it had to be cut to [`MAX_LOG`].
    pub fn write(&self, entry: &Entry<'_>, out: &mut Vec<u8>) -> bool {
        out.clear();
        let message = self.write_whole(entry, out);
        if out.len() <= MAX_LOG {
            return false;
        }
        let room = (MAX_LOG + message.len()).checked_sub(out.len() + MARKER.len());
        let Some(room) = room else {
            // Its tags or its id alone are too long.
            return self.write_bare(entry, out);
        };
        let end = message.start + escape::cut(&out[message.clone()], room);
        out.splice(end..message.end, MARKER.iter().copied());
        true
    }

    /// Writes `entry` without tags and ids of its own.
    fn write_bare(&self, entry: &Entry<'_>, out: &mut Vec<u8>) -> bool {
        let bare = Entry { tags: "", request_id: None, durable: None, ..*entry };
        if bare != *entry {
            self.write(&bare, out);
        }
        // Else it is the function's own tags, and the settings they come from are bounded.
        true
    }

    /// Writes `entry` however long it is; returns where its message stands.
    fn write_whole(&self, entry: &Entry<'_>, out: &mut Vec<u8>) -> std::ops::Range<usize> {
        out.extend_from_slice(b"{\"message\":{\"message\":\"");
        let start = out.len();
        escape::push(entry.text, out);
        let end = out.len();
        out.extend_from_slice(&self.lambda);
        match entry.request_id {
            Some(id) => {
                out.push(b'"');
                escape::push_plain(id, out);
                out.push(b'"');
            }
            None => out.extend_from_slice(b"null"),
        }
        if let Some(durable) = entry.durable {
            out.extend_from_slice(b",\"durable_function.execution_id\":\"");
            escape::push_plain(durable.id, out);
            out.extend_from_slice(b"\",\"durable_function.execution_name\":\"");
            escape::push_plain(durable.name, out);
            out.push(b'"');
        }
        // Writing to a vector cannot fail.
        let _ = write!(out, "}},\"timestamp\":{},\"status\":\"{}", entry.time_ms, entry.level.as_str());
        out.extend_from_slice(&self.function);
        if self.tagged && !entry.tags.is_empty() {
            out.push(b',');
        }
        escape::push_plain(entry.tags, out);
        out.extend_from_slice(b"\",\"ddsource\":\"lambda\"}");
        start..end
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, MAX_LOG};
    use crate::lambda::Tags;
    use crate::logs::entry::{Durable, Entry, Level, Text};

    fn tags(joined: &str) -> Tags {
        Tags {
            joined: joined.to_owned(),
            function_arn: "arn:aws:lambda:us-east-1:1:function:f".to_owned(),
            service: "shop".to_owned(),
            ..Tags::default()
        }
    }

    const ENTRY: Entry<'_> = Entry {
        time_ms: 1_665_532_800_001,
        level: Level::Warn,
        text: Text::Plain("m"),
        request_id: Some("r"),
        tags: "",
        durable: None,
    };

    fn check(tags: &Tags, entry: &Entry<'_>, expected: &str) {
        let mut out = b"before".to_vec();
        assert!(!Frame::new(tags).write(entry, &mut out));
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn the_wire_form() {
        check(
            &tags("a:1,b:\"2\""),
            &ENTRY,
            r#"{"message":{"message":"m","lambda":{"arn":"arn:aws:lambda:us-east-1:1:function:f","request_id":"r"},"timestamp":1665532800001,"status":"warn"},"hostname":"arn:aws:lambda:us-east-1:1:function:f","service":"shop","ddtags":"a:1,b:\"2\"","ddsource":"lambda"}"#,
        );
        check(
            &Tags::default(),
            &Entry { request_id: None, tags: "c:\"3\"", text: Text::Escaped(r"a\n"), ..ENTRY },
            r#"{"message":{"message":"a\n","lambda":{"arn":"","request_id":null},"timestamp":1665532800001,"status":"warn"},"hostname":"","service":"","ddtags":"c:\"3\"","ddsource":"lambda"}"#,
        );
        check(
            &Tags { function_arn: String::new(), service: String::new(), ..tags("a:1") },
            &Entry {
                tags: "c:3,d:4",
                request_id: Some("\"\n"),
                durable: Some(Durable { name: "order\"", id: "1a" }),
                ..ENTRY
            },
            r#"{"message":{"message":"m","lambda":{"arn":"","request_id":"\"\n","durable_function.execution_id":"1a","durable_function.execution_name":"order\""},"timestamp":1665532800001,"status":"warn"},"hostname":"","service":"","ddtags":"a:1,c:3,d:4","ddsource":"lambda"}"#,
        );
    }

    #[test]
    fn long_logs_are_cut() {
        let frame = Frame::new(&tags("a:1"));
        let (plain, wide, quotes) = ("x".repeat(MAX_LOG), "ü😀".repeat(MAX_LOG / 6), "\"".repeat(MAX_LOG));
        for text in [&plain, &wide, &quotes] {
            let mut out = Vec::new();
            assert!(frame.write(&Entry { text: Text::Plain(text), ..ENTRY }, &mut out));
            assert!(out.len() <= MAX_LOG && out.len() > MAX_LOG - 5, "{}", out.len());
            let log: serde_json::Value = serde_json::from_slice(&out).unwrap();
            let message = log["message"]["message"].as_str().unwrap();
            let kept = message.strip_suffix("...TRUNCATED...").unwrap();
            assert!(text.starts_with(kept));
            assert_eq!(log["ddtags"], "a:1");
        }
    }

    #[test]
    fn a_log_just_fits() {
        let frame = Frame::new(&tags("a:1"));
        let mut out = Vec::new();
        frame.write(&ENTRY, &mut out);
        let room = MAX_LOG - out.len() + 1;
        for (len, cut) in [(room, false), (room + 1, true)] {
            assert_eq!(frame.write(&Entry { text: Text::Plain(&"x".repeat(len)), ..ENTRY }, &mut out), cut);
            assert_eq!(out.len(), MAX_LOG);
        }
    }

    #[test]
    fn long_tags_and_ids_are_left_out() {
        let frame = Frame::new(&tags("a:1"));
        let long = "x".repeat(MAX_LOG);
        for entry in [
            Entry { tags: &long, ..ENTRY },
            Entry { request_id: Some(&long), ..ENTRY },
            Entry { durable: Some(Durable { name: "n", id: &long }), ..ENTRY },
        ] {
            let mut out = Vec::new();
            assert!(frame.write(&entry, &mut out));
            let log: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!((&log["message"]["message"], &log["ddtags"]), (&"m".into(), &"a:1".into()));
            assert_eq!(log["message"]["lambda"]["request_id"], serde_json::Value::Null);
        }
    }
}
