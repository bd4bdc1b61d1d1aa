//! From the record of a function or an extension to a message with its level, tags and request id (spec: logs 6.2, 6.3).
//!
//! Pure. A record is never refused: what is no text and no object is kept as its JSON text. Objects keep the spelling
//! of their numbers and the order of their keys. Runs on the logs agent's thread.

use std::borrow::Cow;

use super::entry::{Level, Text};
use crate::lambda::telemetry::json::{self, members, string};

/// Buffers that records are rewritten in.
#[derive(Debug, Default)]
pub struct Scratch {
    text: String,
    cut: String,
}

/// What a record says.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The message.
    pub text: Text<'a>,
    /// From the object's `level` or `status`.
    pub level: Level,
    /// The object's own tags, or empty.
    pub tags: Cow<'a, str>,
    /// The object's own request id.
    pub request_id: Option<Cow<'a, str>>,
    /// The object's own durable execution, as an ARN.
    pub execution_arn: Option<Cow<'a, str>>,
}

impl<'a> Line<'a> {
    /// Reads the record `raw`, which is valid JSON text.
    #[must_use]
    pub fn read(raw: &'a str, scratch: &'a mut Scratch) -> Self {
        let Scratch { text, cut } = scratch;
        text.clear();
        cut.clear();
        if let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            let original = Text::Escaped(inner);
            if !may_be_object(inner) {
                return Self::plain(original);
            }
            json::unescape(inner, text);
            let line = object(text, original, cut).unwrap_or(Self::plain(original));
            // The ids in a text are the function's business, those of an object Lambda's log format.
            return Line { request_id: None, execution_arn: None, ..line };
        }
        compact(raw, text);
        let text: &'a str = text;
        let original = Text::Plain(text);
        if !text.starts_with('{') {
            return Self::plain(original);
        }
        object(text, original, cut).unwrap_or(Self::plain(original))
    }

    fn plain(text: Text<'a>) -> Self {
        Self { text, level: Level::Info, tags: Cow::Borrowed(""), request_id: None, execution_arn: None }
    }
}

/// Whether the text of the JSON string `inner` starts like an object. Spares everything else the decoding.
fn may_be_object(inner: &str) -> bool {
    let mut rest = inner;
    loop {
        match rest.as_bytes() {
            [b'{', ..] => return true,
            [b' ', ..] => rest = &rest[1..],
            [b'\\', b'n' | b'r' | b't', ..] => rest = &rest[2..],
            _ => return false,
        }
    }
}

/// Reads `text` if it is an object; `original` is the message unless the object carries tags.
fn object<'a>(text: &'a str, original: Text<'a>, cut: &'a mut String) -> Option<Line<'a>> {
    let names = ["ddtags", "message", "level", "status", "requestId", "AWSRequestId", "executionArn"];
    let [tags, message, level, status, own_id, aws_id, execution] = members(text, names)?;
    // Loggers write the field outside an invocation too, then without an id.
    let id = |raw: Option<&'a str>| raw.and_then(string).filter(|id| !id.is_empty());
    let request_id = id(own_id).or_else(|| id(aws_id));
    let execution_arn = execution.and_then(string);
    let outer_level = level_of(level, status);
    if let Some((raw, tags)) = tags.and_then(|raw| Some((raw, string(raw)?))) {
        cut_member(text, raw, cut);
        let level = outer_level.unwrap_or(Level::Info);
        return Some(Line { text: Text::Plain(cut), level, tags, request_id, execution_arn });
    }
    let inner = message.filter(|m| m.starts_with('{'));
    if let Some((inner, [tags, level, status])) =
        inner.and_then(|m| Some((m, members(m, ["ddtags", "level", "status"])?)))
        && let Some((raw, tags)) = tags.and_then(|raw| Some((raw, string(raw)?)))
    {
        cut_member(inner, raw, cut);
        let level = outer_level.or_else(|| level_of(level, status)).unwrap_or(Level::Info);
        return Some(Line { text: Text::Plain(cut), level, tags, request_id, execution_arn });
    }
    Some(Line { level: outer_level.unwrap_or(Level::Info), request_id, execution_arn, ..Line::plain(original) })
}

/// The level told by `level`, or by `status` if there is no `level` at all.
fn level_of(level: Option<&str>, status: Option<&str>) -> Option<Level> {
    level.or(status).and_then(string).and_then(|word| Level::parse(&word))
}

/// Writes `object` to `out` without the member `ddtags` whose value is `value`, a slice of `object`.
fn cut_member(object: &str, value: &str, out: &mut String) {
    let start = value.as_ptr() as usize - object.as_ptr() as usize;
    let before = object[..start].trim_end().strip_suffix(':').map(str::trim_end);
    let Some(before) = before.and_then(|b| b.strip_suffix("\"ddtags\"")) else {
        // The key is spelled with escapes. Nobody does; it stays.
        out.push_str(object);
        return;
    };
    let after = object[start + value.len()..].trim_start();
    let (before, after) = match after.strip_prefix(',') {
        Some(after) => (before, after.trim_start()),
        None => {
            let before = before.trim_end();
            (before.strip_suffix(',').unwrap_or(before), after)
        }
    };
    out.push_str(before);
    out.push_str(after);
}

/// Appends the valid `json` to `out` without the blanks between its tokens.
fn compact(json: &str, out: &mut String) {
    let mut rest = json;
    while let Some(at) = memchr::memchr(b'"', rest.as_bytes()) {
        out.extend(rest[..at].split_ascii_whitespace());
        let end = at + 1 + string_end(&rest[at + 1..]);
        out.push_str(&rest[at..end]);
        rest = &rest[end..];
    }
    out.extend(rest.split_ascii_whitespace());
}

/// The length of a JSON string behind its opening quote, with its closing one.
fn string_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::{Line, Scratch};
    use proptest::prelude::*;

    /// Reads a record: its text, its level, its tags, its request id (`-` for none).
    fn check(raw: &str, text: &str, rest: [&str; 3]) {
        let mut scratch = Scratch::default();
        let line = Line::read(raw, &mut scratch);
        let mut buffer = String::new();
        assert_eq!(line.text.decode(&mut buffer), text, "{raw}");
        assert_eq!([line.level.as_str(), &line.tags, line.request_id.as_deref().unwrap_or("-")], rest, "{raw}");
    }

    #[test]
    fn texts() {
        check(r#""text\n""#, "text\n", ["info", "", "-"]);
        check(r#""""#, "", ["info", "", "-"]);
        check(r#"" [ERROR] {\"level\":\"error\"}""#, r#" [ERROR] {"level":"error"}"#, ["info", "", "-"]);
        check(r#""{not json}""#, "{not json}", ["info", "", "-"]);
        check(r#""{\"level\":\"warn\"} tail""#, r#"{"level":"warn"} tail"#, ["info", "", "-"]);
        check(r#""[{\"level\":\"warn\"}]""#, r#"[{"level":"warn"}]"#, ["info", "", "-"]);
        check(r#""\ud800 half""#, "\u{fffd} half", ["info", "", "-"]);
    }

    #[test]
    fn texts_that_are_objects() {
        check(r#""{\"level\": \"ERROR\"}\n""#, "{\"level\": \"ERROR\"}\n", ["error", "", "-"]);
        check(
            r#"" \n\t{\"status\":\"DEBUG\",\"message\":\"DD_EXTENSION | DEBUG | x\"}""#,
            " \n\t{\"status\":\"DEBUG\",\"message\":\"DD_EXTENSION | DEBUG | x\"}",
            ["debug", "", "-"],
        );
        check(
            r#""{\"m\": 1.50, \"ddtags\": \"a:1,b:2\", \"n\": 2}\n""#,
            "{\"m\": 1.50, \"n\": 2}\n",
            ["info", "a:1,b:2", "-"],
        );
        check(r#""{\"requestId\":\"r\"}""#, r#"{"requestId":"r"}"#, ["info", "", "-"]);
    }

    #[test]
    fn objects() {
        check(
            "{ \"b\" : [1.50, \"x  y\", {\"q\":\"\\\"\"} ],\n\"a\":1e3 }",
            r#"{"b":[1.50,"x  y",{"q":"\""}],"a":1e3}"#,
            ["info", "", "-"],
        );
        check(
            r#"{"requestId":"r1","AWSRequestId":"r2"}"#,
            r#"{"requestId":"r1","AWSRequestId":"r2"}"#,
            ["info", "", "r1"],
        );
        check(r#"{"requestId":1,"AWSRequestId":"r2"}"#, r#"{"requestId":1,"AWSRequestId":"r2"}"#, ["info", "", "r2"]);
        check(r#"{"requestId":"","AWSRequestId":"r2"}"#, r#"{"requestId":"","AWSRequestId":"r2"}"#, ["info", "", "r2"]);
        check(r#"{"requestId":""}"#, r#"{"requestId":""}"#, ["info", "", "-"]);
        check(r#"{"\u0064dtags":"a:1"}"#, r#"{"\u0064dtags":"a:1"}"#, ["info", "a:1", "-"]);
        check("{}", "{}", ["info", "", "-"]);
    }

    #[test]
    fn levels() {
        for (members, level) in [
            (r#""level":"fatal""#, "critical"),
            (r#""status":"Warning""#, "warn"),
            (r#""level":"trace","status":"error""#, "trace"),
            (r#""level":"loud","status":"error""#, "info"),
            (r#""level":30,"status":"error""#, "info"),
            (r#""status":500"#, "info"),
            (r#""message":{"level":"error"}"#, "info"),
        ] {
            let object = format!("{{{members}}}");
            check(&object, &object, [level, "", "-"]);
        }
    }

    #[test]
    fn tags_are_taken_out() {
        check(r#"{"ddtags":"a:1","m":"x","level":"error"}"#, r#"{"m":"x","level":"error"}"#, ["error", "a:1", "-"]);
        check(r#"{"m":"x" , "ddtags" : "a:1" }"#, r#"{"m":"x"}"#, ["info", "a:1", "-"]);
        check(r#"{"ddtags":"a:1"}"#, "{}", ["info", "a:1", "-"]);
        check(r#"{"m":1,"ddtags":"a:\"1\"","n":2}"#, r#"{"m":1,"n":2}"#, ["info", "a:\"1\"", "-"]);
        check(r#"{"ddtags":["a:1"],"m":1}"#, r#"{"ddtags":["a:1"],"m":1}"#, ["info", "", "-"]);
        check(r#"{"x":{"ddtags":"a:1"}}"#, r#"{"x":{"ddtags":"a:1"}}"#, ["info", "", "-"]);
        let nested = r#"{"level":"warn","requestId":"r","message":{"m":1,"ddtags":"a:1","level":"error"}}"#;
        check(nested, r#"{"m":1,"level":"error"}"#, ["warn", "a:1", "r"]);
        check(r#"{"message":{"ddtags":"a:1","status":"error"}}"#, r#"{"status":"error"}"#, ["error", "a:1", "-"]);
        check(
            r#"{"ddtags":"o:1","message":{"ddtags":"a:1"}}"#,
            r#"{"message":{"ddtags":"a:1"}}"#,
            ["info", "o:1", "-"],
        );
    }

    #[test]
    fn other_values_are_kept() {
        for (raw, text) in
            [("1.50", "1.50"), ("null", "null"), ("true", "true"), ("[ 1, {\"a\" : 2} ]", r#"[1,{"a":2}]"#)]
        {
            check(raw, text, ["info", "", "-"]);
        }
    }

    proptest! {
        #[test]
        fn any_object_survives_the_loss_of_its_tags(
            before in prop::collection::vec(("[a-z\"\\\\ ]{0,3}", any::<String>()), 0..3),
            after in prop::collection::vec(("[A-Z\"\\\\ ]{0,3}", any::<String>()), 0..3),
            tags in any::<String>(),
            pretty in any::<bool>(),
        ) {
            let json = |s: &String| serde_json::to_string(s).unwrap();
            let member = |(k, v): &(String, String)| format!("{}:{}", json(k), json(v));
            let rest: Vec<_> = before.iter().chain(&after).map(member).collect();
            let mut all = rest.clone();
            all.insert(before.len(), format!("\"ddtags\":{}", json(&tags)));
            let blank = if pretty { " \n " } else { "" };
            let object = format!("{{{blank}{}{blank}}}", all.join(&format!("{blank},{blank}")));
            for raw in [object.clone(), json(&object)] {
                let mut scratch = Scratch::default();
                let line = Line::read(&raw, &mut scratch);
                prop_assert_eq!(&line.tags, &tags);
                let expected: serde_json::Value = serde_json::from_str(&format!("{{{}}}", rest.join(","))).unwrap();
                let found: serde_json::Value = serde_json::from_str(line.text.as_str()).unwrap();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
