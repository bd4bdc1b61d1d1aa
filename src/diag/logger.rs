//! The agent's own log lines on standard output, in the form that Lambda's log filter leaves alone.
//!
//! One JSON object a line with the keys `status` and `message` (spec: lambda-apis 1.8). Any thread logs; a line is
//! written with one `write`, and a closed standard output is ignored: nothing here can fail or panic. Uses its own
//! dozen lines instead of `simple_logger`, which panics when standard output is gone.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Longest message in bytes, unescaped: the line comes back as a telemetry record and is sent as a log.
const MAX_MESSAGE: usize = 8 * 1024;

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().strip_prefix("thimble").is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let _ = std::io::stdout().write_all(line(record.level(), *record.args()).as_bytes());
    }

    fn flush(&self) {}
}

/// Makes a panic one line like the others, at error level, instead of several on standard error.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| log::error!("please report this: {panic}")));
}

/// Prints `message` at debug level; what the macro `diag::debug!` expands to.
pub fn debug(message: fmt::Arguments<'_>) {
    let _ = std::io::stdout().write_all(line(Level::Debug, message).as_bytes());
}

/// The line of a message, with its newline.
fn line(level: Level, message: fmt::Arguments<'_>) -> String {
    let mut line = String::with_capacity(160);
    let _ = write!(line, "{{\"status\":\"{level}\",\"message\":\"DD_EXTENSION | {level} | ");
    // An error means that the limit is reached, or that a `Display` gave up: what there is, is the message.
    let _ = write!(JsonEscape { out: &mut line, left: MAX_MESSAGE }, "{message}");
    line.push_str("\"}\n");
    line
}

/// Escapes what is written through it as the inside of a JSON string, until `left` bytes of it are written.
struct JsonEscape<'a> {
    out: &'a mut String,
    left: usize,
}

impl fmt::Write for JsonEscape<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for c in s.chars() {
            self.left = self.left.checked_sub(c.len_utf8()).ok_or(fmt::Error)?;
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                c if u32::from(c) < 0x20 => write!(self.out, "\\u{:04x}", u32::from(c))?,
                c => self.out.push(c),
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
    use super::*;

    #[test]
    fn lines_are_json_with_status_and_message() {
        for (level, text, expected) in [
            (Level::Info, "plain", r#"{"status":"INFO","message":"DD_EXTENSION | INFO | plain"}"#),
            (Level::Error, r#"a "b" \c"#, r#"{"status":"ERROR","message":"DD_EXTENSION | ERROR | a \"b\" \\c"}"#),
            (Level::Warn, "l\nn\t\u{1}", r#"{"status":"WARN","message":"DD_EXTENSION | WARN | l\nn\u0009\u0001"}"#),
            (Level::Debug, "ünï\u{2028}", "{\"status\":\"DEBUG\",\"message\":\"DD_EXTENSION | DEBUG | ünï\u{2028}\"}"),
        ] {
            let line = line(level, format_args!("{text}"));
            assert_eq!(line, format!("{expected}\n"));
            let json: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(json["message"], format!("DD_EXTENSION | {level} | {text}"));
        }
    }

    #[test]
    fn a_long_message_is_cut_and_stays_json() {
        let line = line(Level::Info, format_args!("{}{}", "x".repeat(MAX_MESSAGE - 1), "é\"".repeat(1000)));
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["message"].as_str().unwrap().len(), "DD_EXTENSION | INFO | ".len() + MAX_MESSAGE - 1);
    }

    #[test]
    fn libraries_are_not_heard() {
        let enabled = |target| Logger.enabled(&Metadata::builder().target(target).build());
        assert!(enabled("thimble") && enabled("thimble::app"));
        assert!(!enabled("ureq::unversioned") && !enabled("rustls") && !enabled("thimblerig"));
    }
}
