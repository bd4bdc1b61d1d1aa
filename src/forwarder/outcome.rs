//! What an attempt came to, and what follows from it for the payload (spec: flush 7.4).
//!
//! Pure. Status codes and client errors go in, an [`Outcome`] comes out; what is done with it is `outbox`'s business.

use std::fmt;
use std::time::Duration;

use ureq::Error;

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx: the intake has it.
    Sent,
    /// It can never succeed: any 4xx that is not named elsewhere, or a request that cannot be built.
    Refused(Cause),
    /// 401 or 403: the key or the site is wrong.
    Denied(u16),
    /// It may succeed later.
    Failed(Failure),
}

/// An attempt that may succeed when it is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub cause: Cause,
    /// What the intake asked for (`Retry-After` in seconds).
    pub retry_after: Option<Duration>,
    /// How far the request got.
    pub progress: Progress,
}

/// How far a request got before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No connection: nothing was sent.
    Unconnected,
    /// The request was sent, wholly or in part, and no answer came: the intake may have taken it.
    Sent,
    /// The intake answered.
    Answered,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The status of the answer.
    Status(u16),
    /// Out of time; the phase.
    Timeout(String),
    /// No or no readable answer; the client's words.
    Transport(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Timeout(phase) => write!(f, "timeout ({phase})"),
            Self::Transport(text) => f.write_str(text),
        }
    }
}

/// Longest `Retry-After` that is honoured: an environment seldom lives longer than a few minutes without traffic, and
/// what is kept meanwhile is bounded anyway.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// The outcome of an answer. `retry_after` is the header's value.
#[must_use]
pub fn of_status(status: u16, retry_after: Option<&str>) -> Outcome {
    let later = |retry_after| {
        Outcome::Failed(Failure { cause: Cause::Status(status), retry_after, progress: Progress::Answered })
    };
    match status {
        200..=299 => Outcome::Sent,
        401 | 403 => Outcome::Denied(status),
        408 => later(None),
        429 | 503 => {
            later(retry_after.and_then(|s| s.trim().parse().ok()).map(|s| Duration::from_secs(s).min(RETRY_AFTER_MAX)))
        }
        400..=499 => Outcome::Refused(Cause::Status(status)),
        // A redirect is not followed: a POST would arrive without its body. Kept, because it usually is a gateway's
        // page that goes away.
        _ => later(None),
    }
}

/// The outcome of a request without an answer. `connected`: it failed after its connection was there.
#[must_use]
pub fn of_error(error: &Error, connected: bool) -> Outcome {
    let cause = match error {
        Error::Http(_) | Error::BadUri(_) | Error::BodyExceedsLimit(_) => {
            return Outcome::Refused(Cause::Transport(error.to_string()));
        }
        Error::Timeout(phase) => Cause::Timeout(phase.to_string()),
        _ => Cause::Transport(error.to_string()),
    };
    let progress = if connected { Progress::Sent } else { Progress::Unconnected };
    Outcome::Failed(Failure { cause, retry_after: None, progress })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(status: u16, retry_after: Option<u64>) -> Outcome {
        Outcome::Failed(Failure {
            cause: Cause::Status(status),
            retry_after: retry_after.map(Duration::from_secs),
            progress: Progress::Answered,
        })
    }

    #[test]
    fn statuses() {
        let refused = |status| Outcome::Refused(Cause::Status(status));
        for (status, retry_after, expected) in [
            (200, None, Outcome::Sent),
            (202, None, Outcome::Sent),
            (204, None, Outcome::Sent),
            (301, None, kept(301, None)),
            (307, None, kept(307, None)),
            (400, None, refused(400)),
            (401, None, Outcome::Denied(401)),
            (403, None, Outcome::Denied(403)),
            (404, None, refused(404)),
            (408, None, kept(408, None)),
            (413, None, refused(413)),
            (422, None, refused(422)),
            (429, None, kept(429, None)),
            (429, Some("7"), kept(429, Some(7))),
            (429, Some(" 7 "), kept(429, Some(7))),
            (429, Some("99999999"), kept(429, Some(300))),
            (429, Some("-1"), kept(429, None)),
            (429, Some("Wed, 21 Oct 2015 07:28:00 GMT"), kept(429, None)),
            (500, Some("7"), kept(500, None)),
            (503, Some("0"), kept(503, Some(0))),
            (599, None, kept(599, None)),
        ] {
            assert_eq!(of_status(status, retry_after), expected, "{status} {retry_after:?}");
        }
    }

    #[test]
    fn errors() {
        let progress = |e: &Error, connected| match of_error(e, connected) {
            Outcome::Failed(f) => Some(f.progress),
            _ => None,
        };
        let io = || Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert_eq!(progress(&io(), false), Some(Progress::Unconnected));
        assert_eq!(progress(&io(), true), Some(Progress::Sent));
        assert_eq!(progress(&Error::HostNotFound, false), Some(Progress::Unconnected));
        assert_eq!(progress(&Error::Timeout(ureq::Timeout::RecvResponse), true), Some(Progress::Sent));
        assert_eq!(progress(&Error::BadUri("x".into()), false), None);
    }
}
