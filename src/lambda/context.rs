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
        "InitTime": rfc3339(context.init_time_ns),
        "StartTime": rfc3339(context.start_time_ns),
        "EndTime": rfc3339(context.end_time_ns),
    })
    .to_string()
}

/// Reads the text of the file. A field that is missing or of another type is unknown; `None` if it is not an object.
#[must_use]
pub fn decode(text: &[u8]) -> Option<ExecutionContext> {
    let fields: Map<String, Value> = serde_json::from_slice(text).ok()?;
    let string = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let flag = |name: &str| fields.get(name).and_then(Value::as_bool).unwrap_or_default();
    let time = |name: &str| fields.get(name).and_then(Value::as_str).and_then(parse_rfc3339).unwrap_or_default();
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

const NANOS: u64 = 1_000_000_000;
const DAY: u64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: u64 = 719_468;
/// Days of 400 years.
const ERA: u64 = 146_097;

/// A time as RFC 3339 in UTC with nanoseconds; 0 is Go's zero time.
fn rfc3339(ns: u64) -> String {
    if ns == 0 {
        return "0001-01-01T00:00:00Z".to_owned();
    }
    let (seconds, nanos) = (ns / NANOS, ns % NANOS);
    let (year, month, day) = civil(seconds / DAY);
    let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// Nanoseconds since the epoch of an RFC 3339 time; 0 before 1970, `None` if it is not one or too far away.
fn parse_rfc3339(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok())?
    };
    let separator = |at: usize, any: &[u8]| any.contains(text.as_bytes().get(at)?).then_some(());
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    for (at, any) in [(4, b"-" as &[u8]), (7, b"-"), (10, b"Tt"), (13, b":"), (16, b":")] {
        separator(at, any)?;
    }
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let fraction = rest.strip_prefix('.').map_or("", |r| &r[..r.bytes().take_while(u8::is_ascii_digit).count()]);
    let zone = &rest[if rest.starts_with('.') { fraction.len() + 1 } else { 0 }..];
    if rest.starts_with('.') && fraction.is_empty() {
        return None;
    }
    let nanos = fraction.bytes().chain(std::iter::repeat(b'0')).take(9).fold(0, |n, b| n * 10 + u64::from(b - b'0'));
    let offset = zone_offset(zone)?;
    let days = i64::try_from(days_from_civil(year, month, day)).ok()? - EPOCH_DAYS.cast_signed();
    let clock = (hour * 3600 + minute * 60 + second).cast_signed();
    let seconds = days * DAY.cast_signed() + clock - offset;
    let Ok(seconds) = u64::try_from(seconds) else { return Some(0) };
    seconds.checked_mul(NANOS)?.checked_add(nanos)
}

/// Seconds east of UTC of `Z` or `+hh:mm`.
fn zone_offset(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.as_bytes().first()? {
        b'Z' | b'z' => return (zone.len() == 1).then_some(0),
        b'+' => (1, &zone[1..]),
        b'-' => (-1, &zone[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two = |text: &str| (text.len() == 2).then(|| text.parse::<u8>().ok())?;
    Some(sign * (i64::from(two(hours)?) * 3600 + i64::from(two(minutes)?) * 60))
}

/// Year, month and day of a day since the epoch: years that begin in March put the leap day last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + EPOCH_DAYS;
    let (era, of_era) = (shifted / ERA, shifted % ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Days from 0000-03-01 to the date, which is not before it: year 0 counts from March.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = year.saturating_sub(u64::from(month <= 2));
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    #[test]
    fn times() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T00:00:01.5Z", Some(1_500_000_000)),
            ("2000-02-29T12:34:56.000000001Z", Some(951_827_696_000_000_001)),
            ("2024-12-31T23:59:59+02:00", Some(1_735_682_399_000_000_000)),
            ("2024-12-31T23:59:59.25-00:30", Some(1_735_691_399_250_000_000)),
            ("2021-01-01T00:00:00.1234567891Z", Some(1_609_459_200_123_456_789)),
            ("0001-01-01T00:00:00Z", Some(0)),
            ("0000-01-01T00:00:00Z", Some(0)),
            ("9999-12-31T23:59:59Z", None),
            ("2021-13-01T00:00:00Z", None),
            ("2021-01-01T24:00:00Z", None),
            ("2021-01-01 00:00:00Z", None),
            ("2021-01-01T00:00:00", None),
            ("2021-01-01T00:00:00.Z", None),
            ("2021-01-01T00:00:00Zx", None),
            ("2021-01-01T00:00:00+2", None),
            ("+021-01-01T00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(parse_rfc3339(text), expected, "{text}");
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
        fn every_time_survives(ns in 1_u64..) {
            prop_assert_eq!(parse_rfc3339(&rfc3339(ns)), Some(ns));
        }

        #[test]
        fn any_bytes_are_a_context_or_none(text in "\\PC{0,60}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+Z-]{0,20}") {
            let _ = parse_rfc3339(&text);
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
