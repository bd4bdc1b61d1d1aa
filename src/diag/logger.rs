//! The agent's own log lines on standard output, in the form that Lambda's log filter leaves alone.
//!
//! One JSON object a line with the keys `status` and `message` (spec: lambda-apis 1.8). Any thread logs; a line is
//! written with one `write`, and a closed standard output is ignored: nothing here can fail or panic. Uses its own
//! dozen lines instead of `simple_logger`, which panics when standard output is gone.

use std::fmt::Write as _;
use std::io::Write as _;

use log::{LevelFilter, Log, Metadata, Record};

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("thimble")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = String::with_capacity(160);
        let level = record.level();
        let _ = write!(line, "{{\"status\":\"{level}\",\"message\":\"DD_EXTENSION | {level} | ");
        let _ = write!(JsonEscape(&mut line), "{}", record.args());
        line.push_str("\"}\n");
        let _ = std::io::stdout().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// Escapes what is written through it as the inside of a JSON string.
struct JsonEscape<'a>(&'a mut String);

impl std::fmt::Write for JsonEscape<'_> {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        for c in s.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                c if u32::from(c) < 0x20 => write!(self.0, "\\u{:04x}", u32::from(c))?,
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// Installs the logger and sets the level. Later calls only change the level.
pub fn init(level: LevelFilter) {
    static LOGGER: Logger = Logger;
    // An error means that it is installed already.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(level);
}

#[cfg(test)]
mod tests {
    use super::JsonEscape;
    use std::fmt::Write as _;

    #[test]
    fn messages_are_escaped() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a \"b\" \\c", "a \\\"b\\\" \\\\c"),
            ("line\nnext\t\u{1}", "line\\nnext\\u0009\\u0001"),
            ("ünï", "ünï"),
        ] {
            let mut out = String::new();
            write!(JsonEscape(&mut out), "{text}").unwrap();
            assert_eq!(out, expected);
        }
    }
}
