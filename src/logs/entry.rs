//! A log on its way from a record to a batch: borrowed throughout.
//!
//! Pure. Runs on the logs agent's thread.

use crate::lambda::telemetry::json;

/// What the intake calls a log's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `critical`.
    Critical,
    /// `error`.
    Error,
    /// `warn`.
    Warn,
    /// `info`: what says nothing else.
    Info,
    /// `debug`.
    Debug,
    /// `trace`.
    Trace,
}

impl Level {
    /// The level that a logger's own word for it stands for, in any case.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        const WORDS: [(&str, Level); 10] = [
            ("info", Level::Info),
            ("information", Level::Info),
            ("debug", Level::Debug),
            ("warn", Level::Warn),
            ("warning", Level::Warn),
            ("error", Level::Error),
            ("err", Level::Error),
            ("critical", Level::Critical),
            ("fatal", Level::Critical),
            ("trace", Level::Trace),
        ];
        WORDS.iter().find(|(w, _)| w.eq_ignore_ascii_case(word)).map(|(_, level)| *level)
    }

    /// As the intake spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text<'a> {
    /// The text itself.
    Plain(&'a str),
    /// The inside of a valid JSON string, as it was delivered: most lines are copied without a look at their escapes.
    Escaped(&'a str),
}

impl<'a> Text<'a> {
    /// The text itself; `buffer` is used if there is something to unescape.
    #[must_use]
    pub fn decode<'b>(self, buffer: &'b mut String) -> &'b str
    where
        'a: 'b,
    {
        match self {
            Self::Plain(text) => text,
            Self::Escaped(inner) if memchr::memchr(b'\\', inner.as_bytes()).is_none() => inner,
            Self::Escaped(inner) => {
                buffer.clear();
                json::unescape(inner, buffer);
                buffer
            }
        }
    }

    /// Bytes of the text as it stands.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        match self {
            Self::Plain(text) | Self::Escaped(text) => text,
        }
    }
}

/// A log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Milliseconds since the epoch.
    pub time_ms: u64,
    /// How bad it is.
    pub level: Level,
    /// The message.
    pub text: Text<'a>,
    /// The invocation it belongs to.
    pub request_id: Option<&'a str>,
    /// Tags of this log alone, joined by commas; may be empty.
    pub tags: &'a str,
    /// The durable execution it says it belongs to.
    pub durable: Option<Durable<'a>>,
}

/// The execution of a durable function that a log belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable<'a> {
    /// The name that the caller gave it.
    pub name: &'a str,
    /// Its id.
    pub id: &'a str,
}

impl<'a> Durable<'a> {
    /// Reads the end of an ARN of the form `…/durable-execution/<name>/<id>`.
    #[must_use]
    pub fn in_arn(arn: &'a str) -> Option<Self> {
        let (_, rest) = arn.split_once("/durable-execution/")?;
        let (name, id) = rest.split_once('/')?;
        (!name.is_empty() && !id.is_empty() && !id.contains('/')).then_some(Self { name, id })
    }
}

#[cfg(test)]
mod tests {
    use super::{Durable, Level, Text};

    #[test]
    fn words_for_levels() {
        for (word, expected) in [
            ("FATAL", Some("critical")),
            ("critical", Some("critical")),
            ("Error", Some("error")),
            ("ERR", Some("error")),
            ("warn", Some("warn")),
            ("WARNING", Some("warn")),
            ("info", Some("info")),
            ("Information", Some("info")),
            ("DEBUG", Some("debug")),
            ("trace", Some("trace")),
            ("verbose", None),
            ("", None),
        ] {
            assert_eq!(Level::parse(word).map(Level::as_str), expected, "{word}");
        }
    }

    #[test]
    fn executions_in_arns() {
        let function = "arn:aws:lambda:us-east-1:1:function:f:7";
        for (rest, expected) in [
            ("/durable-execution/order-7/1a2b", Some(Durable { name: "order-7", id: "1a2b" })),
            ("/durable-execution/order-7", None),
            ("/durable-execution//1a2b", None),
            ("/durable-execution/order-7/", None),
            ("/durable-execution/a/b/c", None),
            ("", None),
        ] {
            assert_eq!(Durable::in_arn(&format!("{function}{rest}")), expected, "{rest}");
        }
    }

    #[test]
    fn texts_decode() {
        let mut buffer = "before".to_owned();
        for (text, expected) in [
            (Text::Plain(r"a\n"), r"a\n"),
            (Text::Escaped("plain"), "plain"),
            (Text::Escaped(r"a\n\ud800"), "a\n\u{fffd}"),
        ] {
            assert_eq!(text.decode(&mut buffer), expected);
        }
    }
}
