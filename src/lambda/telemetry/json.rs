//! Reading JSON by borrowing: members of an object as slices of the text they stand in, never a tree.
//!
//! Pure. Knows JSON, not telemetry. Strings are read tolerantly: what no Rust string can hold (a lone surrogate) becomes
//! U+FFFD instead of costing the value.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The values of the members `names` of the object `json`, as JSON text; of duplicate keys the last one counts.
///
/// `None` if `json` is not exactly one valid object. Nesting may be as deep as the text: nothing recurses.
#[must_use]
pub fn members<'a, const N: usize>(json: &'a str, names: [&str; N]) -> Option<[Option<&'a str>; N]> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let found = Members(names).deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(found)
}

/// The text of the JSON string `raw`, unescaped; `None` for any other value.
#[must_use]
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    let mut text = String::with_capacity(inner.len());
    unescape(inner, &mut text);
    Some(Cow::Owned(text))
}

/// The JSON number `raw`; `None` for any other value.
#[must_use]
pub fn number(raw: &str) -> Option<f64> {
    raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()).then(|| raw.parse().ok())?
}

/// The JSON number `raw` without its fraction, if it is not negative.
#[must_use]
pub fn integer(raw: &str) -> Option<u64> {
    // `as` saturates, which is what a count that does not fit should do.
    number(raw).filter(|n| *n >= 0.0).map(|n| n as u64)
}

/// Appends the text of a JSON string to `out`. `inner` is the valid string without its quotes.
pub fn unescape(inner: &str, out: &mut String) {
    let mut rest = inner;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let (c, len) = escape_at(&rest[at..]);
        out.push(c);
        rest = rest.get(at + len..).unwrap_or_default();
    }
    out.push_str(rest);
}

/// The character that the escape sequence at the start of `text` stands for, and the sequence's length in bytes. Half a
/// surrogate pair is U+FFFD.
#[must_use]
pub fn escape_at(text: &str) -> (char, usize) {
    let c = match text.as_bytes().get(1) {
        Some(b'n') => '\n',
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'u') => return unicode_escape_at(text),
        Some(&c) if c.is_ascii() => char::from(c),
        _ => return (char::REPLACEMENT_CHARACTER, 1),
    };
    (c, 2)
}

fn unicode_escape_at(text: &str) -> (char, usize) {
    let hex = |from: usize| text.get(from..from + 4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let Some(first) = hex(2) else { return (char::REPLACEMENT_CHARACTER, 2) };
    if (0xd800..0xdc00).contains(&first)
        && text.get(6..8) == Some("\\u")
        && let Some(second) = hex(8).filter(|c| (0xdc00..0xe000).contains(c))
    {
        let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6)
}

/// Reads the members with these names from a map and skips the others.
pub(super) struct Members<'n, const N: usize>(pub(super) [&'n str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Members<'_, N> {
    type Value = [Option<&'de str>; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
    type Value = [Option<&'de str>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(key) = map.next_key::<&RawValue>()? {
            match self.0.iter().position(|name| is(key.get(), name)) {
                Some(i) => found[i] = Some(map.next_value::<&'de RawValue>()?.get()),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// Whether the JSON string `raw` is `name`; escapes cost an allocation, which real keys never need.
fn is(raw: &str, name: &str) -> bool {
    (raw.len() == name.len() + 2 && &raw[1..=name.len()] == name)
        || (raw.contains('\\') && string(raw).is_some_and(|key| key == name))
}

/// Three members of an object at the start of a longer text.
pub(super) struct Head<'a>(pub(super) [Option<&'a str>; 3]);

impl<'de> Deserialize<'de> for Head<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Members(["time", "type", "record"]).deserialize(deserializer).map(Head)
    }
}

#[cfg(test)]
mod tests {
    use super::{integer, members, number, string};
    use proptest::prelude::*;

    #[test]
    fn members_are_slices() {
        for (json, expected) in [
            (r#"{"a":1,"b":"x"}"#, Some([Some("1"), Some(r#""x""#)])),
            (r#" { "b" : [1, {"a":2}] } "#, Some([None, Some(r#"[1, {"a":2}]"#)])),
            (r#"{"a":1,"a":2}"#, Some([Some("2"), None])),
            (r#"{"\u0061":true,"c\ud800":{}}"#, Some([Some("true"), None])),
            (r#"{"a":1,"b":"\ud800"}"#, Some([Some("1"), Some(r#""\ud800""#)])),
            ("{}", Some([None, None])),
            (r#"{"a":1} x"#, None),
            (r#"{"a":1"#, None),
            (r#"["a"]"#, None),
            ("{\"a\":\"\n\"}", None),
            ("", None),
        ] {
            assert_eq!(members(json, ["a", "b"]), expected, "{json}");
        }
    }

    #[test]
    fn nesting_does_not_recurse() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert!(members(&deep, ["a"]).is_some());
    }

    #[test]
    fn strings_are_read_tolerantly() {
        for (raw, expected) in [
            (r#""plain""#, Some("plain")),
            (r#""""#, Some("")),
            (r#""a\"b\\c\/d\n\t\r\b\f""#, Some("a\"b\\c/d\n\t\r\u{8}\u{c}")),
            (r#""\u00fc\ud83d\ude00""#, Some("ü😀")),
            (r#""a\ud800b\udc00c\ud800\ud800""#, Some("a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}")),
            ("1", None),
            ("null", None),
        ] {
            assert_eq!(string(raw).as_deref(), expected, "{raw}");
        }
    }

    #[test]
    fn numbers() {
        for (raw, expected) in [("1", Some(1.0)), ("-2.5e1", Some(-25.0)), ("\"1\"", None), ("null", None), ("", None)]
        {
            assert_eq!(number(raw), expected, "{raw}");
        }
        for (raw, expected) in [("7", Some(7)), ("7.9", Some(7)), ("-1", None), ("1e400", Some(u64::MAX))] {
            assert_eq!(integer(raw), expected, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn strings_round_trip(text in any::<String>()) {
            let raw = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(string(&raw).unwrap(), text);
        }

        #[test]
        fn any_text_is_survived(text in ".{0,64}") {
            let _ = (members(&text, ["a"]), string(&text), number(&text), integer(&text));
            let _ = string(&format!("\"{text}\""));
        }
    }
}
