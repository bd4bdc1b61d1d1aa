//! The execution context: what the agent knows of the last invocation, kept in a file in `/tmp` that outlives a restart
//! of the environment (spec: lambda-apis 1.4). The names of the fields are those of the Go agent, which wrote the same
//! file.
//!
//! [`encode`] and [`decode`] are pure; [`save`] and [`restore`] are the only ones that touch the file. `restore` runs
//! on the main thread at start, `save` at SHUTDOWN.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::codec::rfc3339;

/// Where the file is in Lambda.
pub const PATH: &str = "/tmp/dd-lambda-extension-cache.json";

/// Most that is read of the file, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The execution context. Times are nanoseconds since the Unix epoch, 0 for unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutionContext {
    /// The function's ARN.
    pub arn: String,
    /// The last invocation.
    pub last_request_id: String,
    /// The invocation that was a cold start.
    pub coldstart_request_id: String,
    /// Whether the last invocation was a cold start.
    pub was_cold_start: bool,
    /// Whether the environment was initialised ahead of its first invocation.
    pub was_proactive_init: bool,
    /// The last invocation that ran out of memory.
    pub last_oom_request_id: String,
    /// The runtime, as the tag spells it.
    pub runtime: String,
    /// When the environment was initialised.
    pub init_time_ns: u64,
    /// When the last invocation began.
    pub start_time_ns: u64,
    /// When the last invocation ended.
    pub end_time_ns: u64,
}

/// An environment whose first invocation comes later than this after its start was initialised ahead of it, in
/// nanoseconds (spec: lifecycle 5.2).
const PROACTIVE_NS: u64 = 10_000_000_000;

impl ExecutionContext {
    /// Takes note of an invocation that begins at `now_ns`. The first one of the sandbox is its cold start, unless the
    /// environment had been waiting for it.
    pub fn begin(&mut self, request_id: &str, arn: &str, now_ns: u64) {
        if self.coldstart_request_id.is_empty() {
            request_id.clone_into(&mut self.coldstart_request_id);
            self.was_proactive_init = now_ns.saturating_sub(self.init_time_ns) > PROACTIVE_NS;
            self.was_cold_start = !self.was_proactive_init;
        } else {
            self.was_cold_start = false;
        }
        request_id.clone_into(&mut self.last_request_id);
        arn.clone_into(&mut self.arn);
        self.start_time_ns = now_ns;
    }
}

/// The context as the text of its file.
#[must_use]
pub fn encode(context: &ExecutionContext) -> String {
    json!({
        "ARN": context.arn,
        "LastRequestID": context.last_request_id,
        "ColdstartRequestID": context.coldstart_request_id,
        "WasColdStart": context.was_cold_start,
        "WasProactiveInit": context.was_proactive_init,
        "LastOOMRequestID": context.last_oom_request_id,
        "Runtime": context.runtime,
        "InitTime": rfc3339::format(context.init_time_ns),
        "StartTime": rfc3339::format(context.start_time_ns),
        "EndTime": rfc3339::format(context.end_time_ns),
    })
    .to_string()
}

/// Reads the text of the file. A field that is missing or of another type is unknown; `None` if it is not an object.
#[must_use]
pub fn decode(text: &[u8]) -> Option<ExecutionContext> {
    let fields: Map<String, Value> = serde_json::from_slice(text).ok()?;
    let string = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let flag = |name: &str| fields.get(name).and_then(Value::as_bool).unwrap_or_default();
    let time = |name: &str| fields.get(name).and_then(Value::as_str).and_then(rfc3339::parse).unwrap_or_default();
    Some(ExecutionContext {
        arn: string("ARN"),
        last_request_id: string("LastRequestID"),
        coldstart_request_id: string("ColdstartRequestID"),
        was_cold_start: flag("WasColdStart"),
        was_proactive_init: flag("WasProactiveInit"),
        last_oom_request_id: string("LastOOMRequestID"),
        runtime: string("Runtime"),
        init_time_ns: time("InitTime"),
        start_time_ns: time("StartTime"),
        end_time_ns: time("EndTime"),
    })
}

/// Writes the context to `path`: to a file beside it first, so that a kill in the middle leaves no half of it there.
///
/// # Errors
/// What the file system says; `path` is as it was.
pub fn save(context: &ExecutionContext, path: &Path) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    // What the function may have put there could block the write, or lead it elsewhere.
    let _ = fs::remove_file(&beside);
    let write = |mut file: File| file.write_all(encode(context).as_bytes());
    let saved = File::create_new(&beside).and_then(write).and_then(|()| fs::rename(&beside, path));
    if saved.is_err() {
        // Best effort: the error to report is the one above.
        let _ = fs::remove_file(&beside);
    }
    saved
}

/// Reads the context from `path` and deletes the file: it describes the environment that ended, and only that one.
/// `None` if there is none or it is not one.
#[must_use]
pub fn restore(path: &Path) -> Option<ExecutionContext> {
    // `/tmp` belongs to the function too: what is no plain file could block the open, and is not ours to delete.
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text));
    let _ = fs::remove_file(path);
    match read {
        Ok(length) if length as u64 <= MAX_FILE => decode(&text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NANOS: u64 = 1_000_000_000;

    fn sample() -> ExecutionContext {
        ExecutionContext {
            arn: "arn:aws:lambda:us-east-1:123456789012:function:fn".to_owned(),
            last_request_id: "8286a188-ba32-4475-8077-530cd35c09a9".to_owned(),
            coldstart_request_id: "first".to_owned(),
            was_cold_start: true,
            was_proactive_init: true,
            last_oom_request_id: "oom".to_owned(),
            runtime: "python3.12".to_owned(),
            init_time_ns: 1_700_000_000_123_456_789,
            start_time_ns: 1_700_000_001_000_000_000,
            end_time_ns: 0,
        }
    }

    #[test]
    fn the_file_has_the_names_of_the_go_agent() {
        let text = encode(&sample());
        let expected = json!({
            "ARN": "arn:aws:lambda:us-east-1:123456789012:function:fn",
            "LastRequestID": "8286a188-ba32-4475-8077-530cd35c09a9",
            "ColdstartRequestID": "first",
            "WasColdStart": true,
            "WasProactiveInit": true,
            "LastOOMRequestID": "oom",
            "Runtime": "python3.12",
            "InitTime": "2023-11-14T22:13:20.123456789Z",
            "StartTime": "2023-11-14T22:13:21.000000000Z",
            "EndTime": "0001-01-01T00:00:00Z",
        });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
        assert_eq!(decode(text.as_bytes()), Some(sample()));
    }

    #[test]
    fn what_is_missing_or_foreign_is_unknown() {
        for text in ["{}", r#"{"New":[1]}"#, r#"{"ARN":7,"WasColdStart":"yes","InitTime":12,"EndTime":"noon"}"#] {
            assert_eq!(decode(text.as_bytes()), Some(ExecutionContext::default()), "{text}");
        }
        for text in ["", "null", "[]", "{", "\u{0}", "{\"ARN\":\"x\"} tail"] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }

    /// A folder of its own for one test, removed at its end.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("thimble-context-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_saved_context_is_restored_once() {
        let folder = Folder::new("once");
        let path = folder.0.join("cache.json");
        assert_eq!(restore(&path), None);
        fs::write(&path, "an older one").unwrap();
        save(&sample(), &path).unwrap();
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "no temporary file stays");
        assert_eq!(restore(&path), Some(sample()));
        assert_eq!(restore(&path), None);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
    }

    #[test]
    fn what_stands_in_the_way_of_saving_is_not_followed() {
        let folder = Folder::new("link");
        let (path, other) = (folder.0.join("cache.json"), folder.0.join("other"));
        fs::write(&other, "mine").unwrap();
        std::os::unix::fs::symlink(&other, folder.0.join("cache.json.tmp")).unwrap();
        save(&sample(), &path).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
        assert_eq!(restore(&path), Some(sample()));
    }

    #[test]
    fn files_that_are_none_of_ours() {
        let folder = Folder::new("foreign");
        let path = folder.0.join("cache.json");
        for text in [vec![b' '; 64 * 1024 + 1], b"garbage".to_vec(), vec![]] {
            fs::write(&path, text).unwrap();
            assert_eq!(restore(&path), None);
            assert!(!path.exists());
        }
        fs::create_dir(&path).unwrap();
        assert_eq!(restore(&path), None);
        assert!(save(&sample(), &path).is_err());
        assert!(path.is_dir() && fs::read_dir(&folder.0).unwrap().count() == 1);
        assert!(save(&sample(), &folder.0.join("no/such/folder")).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_context_or_none(text in "\\PC{0,60}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+Z-]{0,20}") {
            let _ = decode(text.as_bytes());
            let _ = decode(json!({"InitTime": text}).to_string().as_bytes());
        }
    }

    #[test]
    fn the_first_invocation_is_the_cold_start() {
        for (waited_s, cold, proactive) in [(1, true, false), (10, true, false), (11, false, true)] {
            let mut context = ExecutionContext { init_time_ns: 5 * NANOS, ..ExecutionContext::default() };
            context.begin("a", "arn:a", (5 + waited_s) * NANOS);
            assert_eq!((context.was_cold_start, context.was_proactive_init), (cold, proactive), "{waited_s}");
            context.begin("b", "arn:b", 100 * NANOS);
            assert!(!context.was_cold_start);
            assert_eq!((context.coldstart_request_id.as_str(), context.last_request_id.as_str()), ("a", "b"));
            assert_eq!((context.arn.as_str(), context.start_time_ns), ("arn:b", 100 * NANOS));
        }
    }
}
