//! JSON documents: bodies of Elasticsearch and OpenSearch, queries of MongoDB. Pure.
//!
//! Keys stay, values become `"?"`, blanks between tokens go. One walk without recursion, a byte of memory for each level
//! of nesting. What is not JSON ends the output: what was seen so far, then `...`. Several documents may follow each other,
//! as in bulk requests.

use crate::config::apm::JsonObfuscation;
use crate::lambda::telemetry::json::escape_at;

const HIDDEN: &[u8] = b"\"?\"";
const CUT: &[u8] = b"...";

/// What [`Json`] keeps of its memory, in bytes.
const KEEP: usize = 4 << 10;

/// Appends the obfuscated form of a statement; `false` if it cannot.
pub type Sql<'s> = dyn FnMut(&[u8], &mut Vec<u8>) -> bool + 's;

/// The reused memory.
#[derive(Debug, Default)]
pub struct Json {
    /// The brackets that are open.
    open: Vec<u8>,
    unescaped: Vec<u8>,
    statement: Vec<u8>,
}

/// What becomes of the next value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Hidden,
    /// It belongs to a key that stays, which was found at this depth.
    Kept(usize),
    /// The same, or hidden; and if it is a string it is a statement.
    Statement(Option<usize>),
}

/// What the grammar wants next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wanted {
    Value,
    /// A value or the end of the array that just began.
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    /// After a value inside of brackets.
    CommaOrEnd,
    /// After a document.
    Document,
}

/// The input ends where it must not, or has a byte that must not be there.
struct Broken;

struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    out: &'a mut Vec<u8>,
    memory: &'a mut Json,
    settings: &'a JsonObfuscation,
    fate: Fate,
    wanted: Wanted,
}

impl Json {
    /// Appends what may be seen of `text` to `out`; at most three bytes more for each of a value, and what `sql` adds.
    pub fn obfuscate(&mut self, text: &[u8], settings: &JsonObfuscation, sql: &mut Sql<'_>, out: &mut Vec<u8>) {
        self.open.clear();
        let (fate, wanted) = (Fate::Hidden, Wanted::Value);
        let mut walk = Walk { text, at: 0, out, memory: self, settings, fate, wanted };
        if !text.is_empty() && walk.run(sql).is_err() {
            out.extend_from_slice(CUT);
        }
        self.open.shrink_to(KEEP);
        self.unescaped.shrink_to(KEEP);
        self.statement.shrink_to(KEEP);
    }
}

impl Walk<'_> {
    fn run(&mut self, sql: &mut Sql<'_>) -> Result<(), Broken> {
        while let Some(byte) = self.peek() {
            if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                // Between documents blanks separate: a bulk request has one document on each line.
                if self.wanted == Wanted::Document {
                    self.out.push(byte);
                }
                self.at += 1;
                continue;
            }
            match (self.wanted, byte) {
                (Wanted::Value | Wanted::ValueOrEnd | Wanted::Document, b'{' | b'[') => self.begin(byte),
                (Wanted::ValueOrEnd | Wanted::CommaOrEnd, b']') if self.memory.open.last() == Some(&b'[') => self.end(),
                (Wanted::KeyOrEnd | Wanted::CommaOrEnd, b'}') if self.memory.open.last() == Some(&b'{') => self.end(),
                (Wanted::Value | Wanted::ValueOrEnd | Wanted::Document, _) => self.literal(byte, sql)?,
                (Wanted::Key | Wanted::KeyOrEnd, b'"') => self.key()?,
                (Wanted::Colon, b':') => self.mark(byte, Wanted::Value),
                (Wanted::CommaOrEnd, b',') => {
                    let object = self.memory.open.last() == Some(&b'{');
                    self.mark(byte, if object { Wanted::Key } else { Wanted::Value });
                }
                _ => return Err(Broken),
            }
        }
        if self.wanted == Wanted::Document { Ok(()) } else { Err(Broken) }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Writes a byte of structure.
    fn mark(&mut self, byte: u8, wanted: Wanted) {
        self.out.push(byte);
        self.at += 1;
        self.wanted = wanted;
    }

    fn begin(&mut self, byte: u8) {
        self.memory.open.push(byte);
        self.mark(byte, if byte == b'{' { Wanted::KeyOrEnd } else { Wanted::ValueOrEnd });
        // Only a string is a statement.
        if let Fate::Statement(kept) = self.fate {
            self.fate = kept.map_or(Fate::Hidden, Fate::Kept);
        }
    }

    fn end(&mut self) {
        self.memory.open.pop();
        if let Some(byte) = self.peek() {
            self.mark(byte, Wanted::CommaOrEnd);
        }
        self.ended();
    }

    /// After a value: what is next, and whether a value that stays is over.
    fn ended(&mut self) {
        let depth = self.memory.open.len();
        self.wanted = if depth == 0 { Wanted::Document } else { Wanted::CommaOrEnd };
        self.fate = match self.fate {
            Fate::Kept(at) | Fate::Statement(Some(at)) if depth > at => Fate::Kept(at),
            _ => Fate::Hidden,
        };
    }

    fn key(&mut self) -> Result<(), Broken> {
        let start = self.at;
        let whole = self.string();
        let raw = self.text.get(start..self.at).unwrap_or_default();
        self.out.extend_from_slice(raw);
        whole?;
        let name = raw.get(1..raw.len() - 1).unwrap_or_default();
        let names = |names: &[String]| names.iter().any(|kept| kept.as_bytes() == name);
        let kept = match self.fate {
            Fate::Kept(at) => Some(at),
            _ => None,
        };
        self.fate = match kept {
            None if names(&self.settings.keep_values) => Fate::Kept(self.memory.open.len()),
            kept if names(&self.settings.obfuscate_sql_values) => Fate::Statement(kept),
            Some(at) => Fate::Kept(at),
            None => Fate::Hidden,
        };
        self.wanted = Wanted::Colon;
        Ok(())
    }

    /// A string, a number, or a word.
    fn literal(&mut self, byte: u8, sql: &mut Sql<'_>) -> Result<(), Broken> {
        let start = self.at;
        let whole = match byte {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => return Err(Broken),
        };
        let raw = self.text.get(start..self.at).unwrap_or_default();
        match self.fate {
            Fate::Kept(_) => self.out.extend_from_slice(raw),
            Fate::Hidden => self.out.extend_from_slice(HIDDEN),
            // Half a statement is not one.
            Fate::Statement(_) if whole.is_err() => {}
            Fate::Statement(_) => self.memory.statement(raw, sql, self.out),
        }
        whole?;
        self.ended();
        Ok(())
    }

    /// Goes behind the string that begins here.
    fn string(&mut self) -> Result<(), Broken> {
        self.at += 1;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.at += 1;
                    self.escape()?;
                }
                0..0x20 => return Err(Broken),
                _ => self.at += 1,
            }
        }
        Err(Broken)
    }

    fn escape(&mut self) -> Result<(), Broken> {
        match self.peek() {
            Some(b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    self.one(|byte| byte.is_ascii_hexdigit())?;
                }
            }
            _ => return Err(Broken),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Broken> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Broken> {
        self.one(|byte| byte.is_ascii_digit())?;
        while self.one(|byte| byte.is_ascii_digit()).is_ok() {}
        Ok(())
    }

    fn one(&mut self, is: fn(u8) -> bool) -> Result<(), Broken> {
        self.peek().filter(|&byte| is(byte)).ok_or(Broken)?;
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Broken> {
        for &expected in word {
            if self.peek() != Some(expected) {
                return Err(Broken);
            }
            self.at += 1;
        }
        Ok(())
    }
}

impl Json {
    /// A whole literal that is a statement if it is a string. What cannot be read as one is hidden.
    fn statement(&mut self, raw: &[u8], sql: &mut Sql<'_>, out: &mut Vec<u8>) {
        let inner = raw.strip_prefix(b"\"").and_then(|raw| raw.strip_suffix(b"\""));
        let Some(inner) = inner.and_then(|inner| std::str::from_utf8(inner).ok()) else {
            return out.extend_from_slice(HIDDEN);
        };
        self.unescaped.clear();
        let mut rest = inner;
        while let Some(at) = rest.find('\\') {
            let (plain, escape) = rest.split_at(at);
            let (c, length) = escape_at(escape);
            self.unescaped.extend_from_slice(plain.as_bytes());
            self.unescaped.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            rest = escape.get(length..).unwrap_or_default();
        }
        self.unescaped.extend_from_slice(rest.as_bytes());
        self.statement.clear();
        if !sql(&self.unescaped, &mut self.statement) {
            return out.extend_from_slice(HIDDEN);
        }
        out.push(b'"');
        for &byte in &self.statement {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..0x20 => {
                    let hex = |digit: u8| b"0123456789abcdef"[usize::from(digit & 0xf)];
                    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte)]);
                }
                _ => out.push(byte),
            }
        }
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, keep: &[&str], sql: &[&str]) -> String {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let settings = JsonObfuscation { enabled: true, keep_values: names(keep), obfuscate_sql_values: names(sql) };
        let mut out = Vec::new();
        let statement = &mut |statement: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(&statement.to_ascii_uppercase());
            statement != b"bad"
        };
        Json::default().obfuscate(text.as_bytes(), &settings, statement, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn documents() {
        for (text, expected) in [
            (
                r#"{"a": 1, "b": [true, null, -1.5e+3, "x"], "c": {"d": "e"}}"#,
                r#"{"a":"?","b":["?","?","?","?"],"c":{"d":"?"}}"#,
            ),
            ("[]", "[]"),
            (" {} ", "{} "),
            ("42", r#""?""#),
            // Each line of a bulk request.
            ("{\"index\":{\"_id\":1}}\n{\"f\":2}\n", "{\"index\":{\"_id\":\"?\"}}\n{\"f\":\"?\"}\n"),
            (r#"{"a":1} "secret" 2"#, r#"{"a":"?"} "?" "?""#),
            // What ends too early, or is not JSON.
            (r#"{"a":1,"#, r#"{"a":"?",..."#),
            (r#"{"a":"secr"#, r#"{"a":"?"..."#),
            (r#"{"ke"#, r#"{"ke..."#),
            (r#"{"a":1]"#, r#"{"a":"?"..."#),
            (r#"{"a":01}"#, r#"{"a":"?"..."#),
            (r#"{"a":tru}"#, r#"{"a":"?"..."#),
            (r#"{"a":"\x"}"#, r#"{"a":"?"..."#),
            (r#"{"a":1,}"#, r#"{"a":"?",..."#),
            ("[1,]", r#"["?",..."#),
            ("{a:1}", "{..."),
            ("secret", "..."),
            ("]", "..."),
            ("  ", "..."),
            ("", ""),
        ] {
            assert_eq!(run(text, &[], &[]), expected, "{text}");
        }
    }

    #[test]
    fn keys_that_keep_their_values() {
        for (text, expected) in [
            (r#"{"k": 1, "a": 2}"#, r#"{"k":1,"a":"?"}"#),
            (r#"{"k": {"a": [1, {"b": "c"}]}, "a": 2}"#, r#"{"k":{"a":[1,{"b":"c"}]},"a":"?"}"#),
            (r#"{"k": [], "a": 2}"#, r#"{"k":[],"a":"?"}"#),
            (r#"[{"k": {}}, {"a": 2}, 3]"#, r#"[{"k":{}},{"a":"?"},"?"]"#),
            (r#"{"k": "ope"#, r#"{"k":"ope..."#),
            (r#"{"k":1} {"a":1}"#, r#"{"k":1} {"a":"?"}"#),
        ] {
            assert_eq!(run(text, &["k"], &[]), expected, "{text}");
        }
    }

    #[test]
    fn keys_with_statements() {
        for (text, expected) in [
            (r#"{"q": "a\nb\"c\\", "a": 1}"#, r#"{"q":"A\nB\"C\\","a":"?"}"#),
            (r#"{"q": "\u00e9\ud83d\ude00"}"#, r#"{"q":"é😀"}"#),
            (r#"{"q": "bad"}"#, r#"{"q":"?"}"#),
            (r#"{"q": 1}"#, r#"{"q":"?"}"#),
            (r#"{"q": {"a": "b"}}"#, r#"{"q":{"a":"?"}}"#),
            (r#"{"q": ["a"]}"#, r#"{"q":["?"]}"#),
            (r#"{"q": "sel"#, r#"{"q":..."#),
            (r#"{"k": {"q": "a", "b": 1}, "c": 2}"#, r#"{"k":{"q":"A","b":1},"c":"?"}"#),
            (r#"{"k": {"q": ["a"]}, "c": 2}"#, r#"{"k":{"q":["a"]},"c":"?"}"#),
        ] {
            assert_eq!(run(text, &["k"], &["q"]), expected, "{text}");
        }
    }

    #[test]
    fn nesting_costs_no_stack() {
        let deep = "[".repeat(1 << 20);
        assert_eq!(run(&deep, &[], &[]).len(), deep.len() + 3);
    }
}
