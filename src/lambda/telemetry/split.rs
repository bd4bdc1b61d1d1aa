//! A delivery's elements, found tolerantly: what one broken element costs is that element.
//!
//! Pure. Yields the members of each element as slices of the delivery; what they mean is not its business. The work on a
//! hostile delivery is linear in its length.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::json::Head;

/// What Lambda is known to write where it has no tracing header: a member without a value.
const EMPTY_TRACING: &str = r#","tracing":}"#;

/// Bytes that failed attempts may read again, as a multiple of the delivery. Only an input made for it needs more than
/// two or three.
const MAX_PASSES: usize = 16;

/// An element that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A delivery as text, with the known defect of some payloads repaired. Copies only what needs repair: bytes that are
/// not UTF-8 become U+FFFD.
#[must_use]
pub fn text_of(delivery: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(delivery) {
        Cow::Borrowed(text) => repair(text),
        Cow::Owned(text) => Cow::Owned(repair(&text).into_owned()),
    }
}

/// Removes tracing members without a value. The closing brace goes with them where it is one too many: both forms have
/// been seen. Inside a JSON string the sequence cannot occur, its quotes would be escaped.
fn repair(text: &str) -> Cow<'_, str> {
    let mut found = memchr::memmem::find_iter(text.as_bytes(), EMPTY_TRACING).peekable();
    if found.peek().is_none() {
        return Cow::Borrowed(text);
    }
    let mut repaired = String::with_capacity(text.len());
    let (mut from, mut open, mut in_string) = (0, 0_usize, false);
    for at in found {
        let part = &text[from..at];
        count_braces(part, &mut open, &mut in_string);
        repaired.push_str(part);
        from = at + EMPTY_TRACING.len();
        let closing = text[from..].bytes().take_while(|b| *b == b'}').count();
        if open > closing {
            repaired.push('}');
            open -= 1;
        }
    }
    repaired.push_str(&text[from..]);
    Cow::Owned(repaired)
}

/// Follows how many braces are open behind `part`.
fn count_braces(part: &str, open: &mut usize, in_string: &mut bool) {
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => *in_string = !*in_string,
            b'\\' if *in_string => {
                bytes.next();
            }
            b'{' if !*in_string => *open += 1,
            b'}' if !*in_string => *open = open.saturating_sub(1),
            _ => {}
        }
    }
}

/// Iterates over the elements of a delivery: `[time, type, record]` as JSON text, each if present.
#[derive(Debug)]
pub struct Elements<'a> {
    text: &'a str,
    at: usize,
    /// Bytes that failed attempts may still read.
    work: usize,
}

impl<'a> Elements<'a> {
    /// Over the elements of `text`, which should be a JSON array but need not be.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, work: text.len().saturating_mul(MAX_PASSES) }
    }

    /// Where to go on behind the element at `self.at` that could not be read.
    fn behind_malformed(&mut self) -> usize {
        let rest = &self.text[self.at..];
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        let error = match values.next() {
            // Sound JSON, only not an event.
            Some(Ok(value)) => return self.at + value.get().len(),
            Some(Err(error)) => error,
            None => return self.text.len(),
        };
        self.work = self.work.saturating_sub(offset_of(&error, rest));
        if self.work == 0 { self.text.len() } else { self.next_start(self.at + 1) }
    }

    /// The next place at or behind `from` where an event seems to start: a brace that is not a member's value, followed
    /// by the name of one of an event's members.
    fn next_start(&self, from: usize) -> usize {
        let bytes = self.text.as_bytes();
        let tail = bytes.get(from..).unwrap_or_default();
        let starts = memchr::memchr_iter(b'{', tail).map(|at| from + at).find(|at| {
            let inside = bytes[at + 1..].trim_ascii_start();
            let names = [&br#""time""#[..], br#""type""#, br#""record""#];
            names.iter().any(|name| inside.starts_with(name)) && !bytes[..*at].trim_ascii_end().ends_with(b":")
        });
        starts.unwrap_or(bytes.len())
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<[Option<&'a str>; 3], Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.text[self.at..].trim_start_matches([' ', '\t', '\r', '\n', ',', '[', ']', '\u{feff}']);
        if rest.is_empty() {
            return None;
        }
        self.at = self.text.len() - rest.len();
        let mut heads = serde_json::Deserializer::from_str(rest).into_iter::<Head<'a>>();
        if let Some(Ok(Head(members))) = heads.next() {
            self.at += heads.byte_offset();
            return Some(Ok(members));
        }
        self.at = self.behind_malformed();
        Some(Err(Malformed))
    }
}

/// The byte of `text` at which `error` was noticed.
fn offset_of(error: &serde_json::Error, text: &str) -> usize {
    let newlines = memchr::memchr_iter(b'\n', text.as_bytes());
    let line = match error.line() {
        0 | 1 => 0,
        n => newlines.take(n - 1).last().unwrap_or(0),
    };
    (line + error.column()).max(1)
}

#[cfg(test)]
mod tests {
    use super::{Elements, Malformed, text_of};
    use proptest::prelude::*;

    const A: &str = r#"{"time":"a","type":"function","record":"x"}"#;
    const B: &str = r#"{"time":"b","type":"function","record":{"y":["]}"]}}"#;

    /// The times of the elements, `!` for each malformed one.
    fn check(delivery: &str, expected: &str) {
        let text = text_of(delivery.as_bytes());
        let found = Elements::new(&text).map(|e| match e {
            Ok([time, ..]) => time.unwrap_or("-").trim_matches('"').to_owned(),
            Err(Malformed) => "!".to_owned(),
        });
        assert_eq!(found.collect::<Vec<_>>().join(" "), expected, "{delivery}");
    }

    #[test]
    fn a_broken_element_costs_itself() {
        check(&format!("[{A},{B}]"), "a b");
        check(&format!("\u{feff} [ {A} ,\n\t{B}\r\n] "), "a b");
        check("[]", "");
        check("", "");
        check(&format!("{A}\n{B}"), "a b");
        check(&format!("[[{A}],[{B}]]"), "a b");
        check(&format!("[{A}{B}"), "a b");
        check(&format!("[{A},"), "a");
        check(&format!("[{A},{}", &B[..B.len() - 1]), "a !");
        check(&format!("[{A},{},{B}]", r#"{"time":"c","type":"function","record":"unclosed}"#), "a ! b");
        check(&format!("[{A},{},{B}]", r#"{"time":"c","type":"function","record":{"unclosed":1}"#), "a ! b");
        check(&format!("[{A},{},{B}]", r#"{"time":"c" "type":"function","record":"no comma"}"#), "a ! b");
        check(&format!("[{A},{},{B}]", r#"{"time":"c","type":"function","record":"escape \x"}"#), "a ! b");
        check(&format!("[{A},{},{B}]", "{\"time\":\"c\",\"record\":\"raw \n newline\"}"), "a ! b");
        check(&format!("[{A},garbage,{B}]"), "a ! b");
        check(&format!("[{A} garbage {B}]"), "a ! b");
        check(&format!("[1,{A},\"{{\",null,{B},true]"), "! a ! ! b !");
        check(r#"[{"no":"event"},{}]"#, "- -");
        check(r#"[{"time":"c","record":{"a":[{"time":"inner"}]}}]"#, "c");
        check(r#"[{"time":"a","time":"c"}]"#, "c");
        check("not json at all", "!");
    }

    #[test]
    fn empty_tracing_is_repaired() {
        let inside = r#"{"time":"t","type":"platform.start","record":{"requestId":"1","tracing":}}"#;
        let behind = r#"{"time":"t","type":"platform.start","record":{"requestId":"1"},"tracing":}}"#;
        let escaped = r#"{"time":"t","type":"function","record":"x,\"tracing\":}"}"#;
        check(&format!("[{A},{inside},{behind},{inside},{B}]"), "a t t t b");
        check(&format!("[{escaped}]"), "t");
        assert!(text_of(escaped.as_bytes()).contains("tracing"));
    }

    #[test]
    fn bytes_that_are_not_utf8_cost_themselves() {
        let mut delivery = format!("[{A},").into_bytes();
        delivery.extend_from_slice(b"{\"time\":\"c\",\"record\":\"x\xff\xfey\"},");
        delivery.extend_from_slice(format!("{B}]").as_bytes());
        let text = text_of(&delivery);
        let records: Vec<_> = Elements::new(&text).map(|e| e.unwrap()[2].unwrap()).collect();
        assert_eq!(records, ["\"x\"", "\"x\u{fffd}\u{fffd}y\"", r#"{"y":["]}"]}"#].map(|s| s.to_owned()));
    }

    #[test]
    fn hostile_deliveries_take_linear_work() {
        for part in [r#"{"time":["#, r#"{"time":[1,"#, "{\"time\"\n:\n", r#"{"time":"x","#, "{", "[", "\"", "{\"a\":"] {
            let text = part.repeat(200_000 / part.len());
            assert!(Elements::new(&text).count() <= text.len());
        }
    }

    proptest! {
        #[test]
        fn a_valid_array_loses_nothing(records in prop::collection::vec((any::<String>(), any::<i32>()), 0..20)) {
            let events: Vec<_> = records
                .iter()
                .map(|(text, n)| serde_json::json!({"time": text, "type": n, "record": {"a": [text, {"time": n}]}}))
                .collect();
            let delivery = serde_json::to_string_pretty(&events).unwrap();
            let text = text_of(delivery.as_bytes());
            let found: Vec<_> = Elements::new(&text).collect();
            prop_assert_eq!(found.len(), events.len());
            for (element, event) in found.into_iter().zip(events) {
                let parts = element.unwrap().map(|raw| serde_json::from_str::<serde_json::Value>(raw.unwrap()).unwrap());
                let [time, kind, record] = parts;
                prop_assert_eq!(serde_json::json!({"time": time, "type": kind, "record": record}), event);
            }
        }

        #[test]
        fn a_wounded_array_keeps_the_rest(at in 0..43_usize, byte in any::<u8>()) {
            let mut delivery = format!("[{A},{B}]").into_bytes();
            delivery[at] = byte;
            let text = text_of(&delivery);
            let last = Elements::new(&text).last();
            prop_assert_eq!(last.unwrap().unwrap()[0], Some("\"b\""));
        }

        #[test]
        fn any_bytes_are_survived(delivery in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Elements::new(&text_of(&delivery)).count();
        }

        #[test]
        fn any_brackets_are_survived(delivery in r#"([\[\]{}:,"\\ a]|"time"|"type":|"tracing":\}){0,40}"#) {
            let _ = Elements::new(&text_of(delivery.as_bytes())).count();
        }
    }
}
