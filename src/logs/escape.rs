//! Text into the inside of a JSON string.
//!
//! Pure. Whatever goes in, what comes out can stand between quotes in any JSON parser.

use super::entry::Text;
use crate::lambda::telemetry::json::escape_at;

/// What [`push`] writes for half a surrogate pair.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Appends `text`.
pub fn push(text: Text<'_>, out: &mut Vec<u8>) {
    match text {
        Text::Plain(text) => push_plain(text, out),
        Text::Escaped(inner) => push_escaped(inner, out),
    }
}

/// Appends `text`, escaping what must be.
pub fn push_plain(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        if escape.is_empty() {
            let hex = |digit: u8| b"0123456789abcdef"[usize::from(digit & 0xf)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(*byte)]);
        } else {
            out.extend_from_slice(escape);
        }
    }
    out.extend_from_slice(&bytes[from..]);
}

/// Appends the inside of a valid JSON string as it is, but for halves of surrogate pairs: JSON's grammar allows them,
/// most parsers do not.
fn push_escaped(inner: &str, out: &mut Vec<u8>) {
    let bytes = inner.as_bytes();
    let (mut from, mut at) = (0, 0);
    while let Some(found) = memchr::memchr(b'\\', bytes.get(at..).unwrap_or_default()) {
        at += found;
        if !matches!(bytes.get(at + 1..at + 3), Some(b"ud" | b"uD")) {
            at += 2;
            continue;
        }
        let (c, len) = escape_at(&inner[at..]);
        if c == char::REPLACEMENT_CHARACTER {
            out.extend_from_slice(&bytes[from..at]);
            out.extend_from_slice(REPLACEMENT);
            from = at + len;
        }
        at += len;
    }
    out.extend_from_slice(&bytes[from..]);
}

/// The longest start of `escaped`, the inside of a JSON string, that is at most `limit` bytes long and cuts neither a
/// character nor an escape sequence.
#[must_use]
pub fn cut(escaped: &[u8], limit: usize) -> usize {
    if escaped.len() <= limit {
        return escaped.len();
    }
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', escaped.get(at..limit).unwrap_or_default()) {
        at += found;
        let len = match escaped.get(at + 1..at + 4) {
            // The first half of a pair: D800 to DBFF.
            Some([b'u', b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B']) => 12,
            Some([b'u', ..]) => 6,
            _ => 2,
        };
        if at + len > limit {
            return at;
        }
        at += len;
    }
    let is_boundary = |at: &usize| escaped.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80);
    (at..=limit).rev().find(is_boundary).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::{Text, cut, push};
    use proptest::prelude::*;

    fn pushed(text: Text<'_>) -> String {
        let mut out = Vec::new();
        push(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes() {
        for (text, expected) in [
            (Text::Plain("a\"b\\c\nd\te\rf\u{1}\u{1f}ü"), r#"a\"b\\c\nd\te\rf\u0001\u001fü"#),
            (Text::Escaped(r#"a\"\\ud800\n"#), r#"a\"\\ud800\n"#),
            (Text::Escaped(r"\ud83d\ude00 \u00fc"), r"\ud83d\ude00 \u00fc"),
            (Text::Escaped(r"\ud83dx\uDE00\uD83D\ud83d\ude00"), "\u{fffd}x\u{fffd}\u{fffd}\\ud83d\\ude00"),
        ] {
            assert_eq!(pushed(text), expected);
        }
    }

    #[test]
    fn cuts() {
        for (escaped, limit, expected) in [
            ("abc", 3, 3),
            ("abc", 2, 2),
            ("aü", 2, 1),
            (r"a\n", 2, 1),
            (r"a\nb", 3, 3),
            (r"\u0001b", 5, 0),
            (r"\ud83d\ude00b", 11, 0),
            (r"\ud83d\ude00b", 12, 12),
            (r"\\ud83d\\", 7, 7),
            (r"\\ud83d\\", 8, 7),
            ("abc", 0, 0),
        ] {
            assert_eq!(cut(escaped.as_bytes(), limit), expected, "{escaped} {limit}");
        }
    }

    proptest! {
        #[test]
        fn plain_text_round_trips(text in any::<String>()) {
            let back: String = serde_json::from_str(&format!("\"{}\"", pushed(Text::Plain(&text)))).unwrap();
            prop_assert_eq!(back, text);
        }

        #[test]
        fn any_cut_is_a_start(text in any::<String>(), limit in 0..40_usize) {
            let escaped = pushed(Text::Plain(&text));
            let at = cut(escaped.as_bytes(), limit);
            prop_assert!(at <= limit || at == escaped.len());
            let back: String = serde_json::from_str(&format!("\"{}\"", &escaped[..at])).unwrap();
            prop_assert!(text.starts_with(&back));
        }

        #[test]
        fn any_valid_string_stays_valid(inner in r#"(\\u[dD][89abcdefAB][0-9]{2}|\\n|\\\\|\\"|[a-zü😀]){0,20}"#) {
            let back: String = serde_json::from_str(&format!("\"{}\"", pushed(Text::Escaped(&inner)))).unwrap();
            let mut buffer = String::new();
            prop_assert_eq!(back, Text::Escaped(&inner).decode(&mut buffer));
        }
    }
}
