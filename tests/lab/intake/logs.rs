//! Logs as the intake received them. Pure.

use serde_json::Value;

/// One log of a batch.
#[derive(Clone, Debug)]
pub struct Log {
    /// All of it.
    pub json: Value,
}

impl Log {
    /// The text: `message.message` as the extension sends it, or `message`.
    pub fn message(&self) -> &str {
        self.text(&["message", "message"]).or_else(|| self.text(&["message"])).unwrap_or_default()
    }

    /// The request it is attributed to, if any.
    pub fn request_id(&self) -> Option<&str> {
        self.text(&["message", "lambda", "request_id"])
    }

    /// `message.lambda.arn`.
    pub fn arn(&self) -> Option<&str> {
        self.text(&["message", "lambda", "arn"])
    }

    /// `message.status`.
    pub fn status(&self) -> Option<&str> {
        self.text(&["message", "status"])
    }

    /// `message.timestamp` in milliseconds.
    pub fn timestamp(&self) -> Option<i64> {
        self.json.get("message")?.get("timestamp")?.as_i64()
    }

    /// Tags, joined by commas.
    pub fn ddtags(&self) -> &str {
        self.text(&["ddtags"]).unwrap_or_default()
    }

    fn text(&self, path: &[&str]) -> Option<&str> {
        path.iter().try_fold(&self.json, |value, key| value.get(key))?.as_str()
    }
}

/// Decodes a batch.
pub fn decode(body: &[u8]) -> Result<Vec<Log>, String> {
    let logs: Vec<Value> = serde_json::from_slice(body).map_err(|e| format!("logs are not a JSON array: {e}"))?;
    for log in &logs {
        if log.get("ddsource").is_none() || log.get("message").is_none() {
            return Err(format!("a log without message or ddsource: {log}"));
        }
    }
    Ok(logs.into_iter().map(|json| Log { json }).collect())
}
