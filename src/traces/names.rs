//! The spellings that Datadog gives to tags and to operation names (spec: traces 4.3). Pure; nothing is copied when a name
//! is already as it should be, which is nearly always.

/// Longest normalised tag, in characters.
const MAX_TAG: usize = 200;

/// Longest resource, in bytes (as the Go agent).
pub const MAX_RESOURCE: usize = 5_000;

/// How much of a tag is looked at, in bytes: what has not ended by then is mostly characters that do not survive.
pub const MAX_LOOK: usize = 2 * MAX_TAG;

/// `text` cut to at most `limit` bytes, between characters.
#[must_use]
pub fn cut(text: &[u8], limit: usize) -> &[u8] {
    if text.len() <= limit {
        return text;
    }
    let is_inside = |at: usize| text.get(at).is_some_and(|b| b & 0xc0 == 0x80);
    let end = (limit.saturating_sub(3)..=limit).rev().find(|&at| !is_inside(at)).unwrap_or(limit);
    &text[..end]
}

/// Whether [`tag`] would leave `text` as it is. Says no to everything that is not ASCII.
#[must_use]
pub fn is_tag(text: &[u8]) -> bool {
    let Some((&first, _)) = text.split_first() else { return true };
    if text.len() > MAX_TAG || !(first.is_ascii_lowercase() || first == b':') {
        return false;
    }
    let mut previous = first;
    for &byte in text {
        let kept = matches!(byte, b'a'..=b'z' | b':' | b'0'..=b'9' | b'.' | b'/' | b'-');
        if !kept && (byte != b'_' || previous == b'_') {
            return false;
        }
        previous = byte;
    }
    previous != b'_'
}

/// Appends `text` as a tag: lower case; letters and colons everywhere, digits and `./-` but not in front, everything else
/// one underscore, but none in front, behind or beside another; at most 200 characters.
pub fn tag(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    let mut room = MAX_TAG;
    for (at, c) in text.char_indices() {
        if room == 0 || at >= MAX_LOOK {
            break;
        }
        let first = out.len() == start;
        let c = lower(c);
        let kept = match c {
            'a'..='z' | ':' => true,
            '0'..='9' | '.' | '/' | '-' => !first,
            c if c.is_ascii() => false,
            c => c.is_alphabetic() || (!first && c.is_numeric()),
        };
        // U+FFFD stands for bytes that were not text: it is no letter, so it ends up as an underscore.
        if kept {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else if !first && out.last() != Some(&b'_') {
            out.push(b'_');
        } else {
            continue;
        }
        room -= 1;
    }
    if out.len() > start && out.last() == Some(&b'_') {
        out.pop();
    }
}

/// The lower case of `c` if it is one character of the same width, else `c`.
fn lower(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(l), None) if l.len_utf8() == c.len_utf8() => l,
        _ => c,
    }
}

/// Whether [`operation`] would leave `text` as it is.
#[must_use]
pub fn is_operation(text: &[u8]) -> bool {
    let Some((&first, _)) = text.split_first() else { return false };
    if !first.is_ascii_alphabetic() {
        return false;
    }
    let mut previous = first;
    for &byte in text {
        let kept = byte.is_ascii_alphanumeric()
            || (byte == b'.' && previous != b'_')
            || (byte == b'_' && previous != b'_' && previous != b'.');
        if !kept {
            return false;
        }
        previous = byte;
    }
    previous != b'_'
}

/// Appends `text` as an operation's name: from the first ASCII letter on, letters, digits and dots, everything else one
/// underscore, but none behind or beside a dot or another underscore. Appends nothing if there is no letter.
pub fn operation(text: &[u8], out: &mut Vec<u8>) {
    let start = text.iter().position(u8::is_ascii_alphabetic).unwrap_or(text.len());
    // A character that is not ASCII is one underscore however many bytes it has, because underscores do not repeat.
    for &byte in &text[start..] {
        match (byte, out.last()) {
            (b'.', Some(b'_')) => {
                out.pop();
                out.push(b'.');
            }
            (b'.', _) => out.push(b'.'),
            (byte, _) if byte.is_ascii_alphanumeric() => out.push(byte),
            (_, Some(b'_' | b'.')) => {}
            _ => out.push(b'_'),
        }
    }
    if start < text.len() && out.last() == Some(&b'_') {
        out.pop();
    }
}

/// Whether `text` is an HTTP status: a whole number from 100 to 599.
#[must_use]
pub fn is_status_code(text: &[u8]) -> bool {
    let digits = text.len() - text.iter().take_while(|&&b| b == b'0').count();
    let significant = &text[text.len() - digits..];
    digits == 3 && significant.iter().all(u8::is_ascii_digit) && (b'1'..=b'5').contains(&significant[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags() {
        let long = "x".repeat(250);
        let wide = "é".repeat(250);
        let pictures = format!("a{}b", "🐸".repeat(300));
        for (text, expected) in [
            ("", ""),
            (" ", ""),
            ("already.ok/here-1:x_y", "already.ok/here-1:x_y"),
            ("Production", "production"),
            ("ALL CAPS now", "all_caps_now"),
            ("#hash", "hash"),
            ("_lead", "lead"),
            ("trail_", "trail"),
            ("trail_#_", "trail"),
            ("a__b", "a_b"),
            ("a # b", "a_b"),
            ("a_#b", "a_b"),
            ("1st", "st"),
            ("1.2/3-x4", "x4"),
            (":colon first", ":colon_first"),
            ("9:x", ":x"),
            ("k:V:w", "k:v:w"),
            ("a1.2/3-", "a1.2/3-"),
            ("ÜBER", "über"),
            ("naïve café", "naïve_café"),
            ("日本 語", "日本_語"),
            ("x٣", "x٣"),
            ("٣x", "x"),
            // The lower case of these has another width.
            ("aİb", "aİb"),
            ("ẞ", "ẞ"),
            ("frog🐸s", "frog_s"),
            ("a\u{fffd}\u{fffd}b", "a_b"),
            (&long, &long[..200]),
            (&wide, &wide[..400]),
            (&pictures, "a"),
            ("----a", "a"),
        ] {
            let mut out = b"_before".to_vec();
            tag(text, &mut out);
            assert_eq!(std::str::from_utf8(&out[7..]), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn operations() {
        for (text, expected) in [
            ("", ""),
            ("...", ""),
            ("123", ""),
            ("aws.lambda", "aws.lambda"),
            ("Web.Request", "Web.Request"),
            ("1st.try", "st.try"),
            ("a-b c", "a_b_c"),
            ("a--b", "a_b"),
            ("a_.b", "a.b"),
            ("a-.b", "a.b"),
            ("a._b", "a.b"),
            ("a.-b", "a.b"),
            ("a..b", "a..b"),
            ("a_", "a"),
            ("a-é-", "a"),
            ("naïve", "na_ve"),
            ("a.", "a."),
        ] {
            let mut out = b"_".to_vec();
            operation(text.as_bytes(), &mut out);
            assert_eq!(std::str::from_utf8(&out[1..]), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn cuts_between_characters() {
        for (text, limit, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "abc"),
            ("aé", 2, "a"),
            ("aaé", 4, "aaé"),
            ("🐸🐸", 7, "🐸"),
            ("🐸", 3, ""),
            ("", 0, ""),
        ] {
            assert_eq!(cut(text.as_bytes(), limit), expected.as_bytes(), "{text} {limit}");
        }
    }

    #[test]
    fn status_codes() {
        for (text, expected) in [
            ("200", true),
            ("100", true),
            ("599", true),
            ("0404", true),
            ("99", false),
            ("600", false),
            ("", false),
            ("abc", false),
            ("2x0", false),
            ("2000", false),
            ("-200", false),
            ("+200", false),
            ("200 ", false),
            ("0", false),
        ] {
            assert_eq!(is_status_code(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_needs_no_change_is_not_changed(text in "[a-zA-Z0-9_:./ é-]{0,12}") {
            let mut out = Vec::new();
            tag(&text, &mut out);
            if text.is_ascii() {
                prop_assert_eq!(is_tag(text.as_bytes()), out == text.as_bytes(), "{}", text);
            }
            let mut again = Vec::new();
            tag(std::str::from_utf8(&out).unwrap(), &mut again);
            prop_assert_eq!(&again, &out);

            let mut out = Vec::new();
            operation(text.as_bytes(), &mut out);
            prop_assert_eq!(is_operation(text.as_bytes()), !out.is_empty() && out == text.as_bytes(), "{}", text);
        }

        #[test]
        fn any_text_gives_a_bounded_tag(text in any::<String>()) {
            let mut out = Vec::new();
            tag(&text, &mut out);
            let tag = std::str::from_utf8(&out).unwrap();
            prop_assert!(tag.chars().count() <= 200);
            prop_assert!(!tag.ends_with('_') && !tag.contains("__"));
        }
    }
}
