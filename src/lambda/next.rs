//! The thread `next`: registers, subscribes once the listeners are bound, then polls `next` for as long as Lambda lives.
//!
//! It owns the only connection to the runtime API. After an INVOKE it polls again when the coordinator permits it; that
//! poll is what tells Lambda that this extension is done with the invocation.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::event::{Event, ShutdownReason};
use super::extension::{ApiError, Extension};
use crate::diag::counters::{Counter, count};
use crate::sys::clock;

/// What to subscribe to; comes when the listeners are bound.
#[derive(Debug)]
pub struct Subscription {
    /// The telemetry types; empty for no subscription at all.
    pub types: Vec<String>,
    /// The daemon's port.
    pub port: u16,
}

/// What the thread is given.
#[derive(Debug)]
pub struct Poller {
    /// `AWS_LAMBDA_RUNTIME_API`.
    pub runtime_api: String,
    /// The extension's name: the file name of this program.
    pub name: String,
    /// Says what to subscribe to.
    pub subscription: Receiver<Subscription>,
    /// One message for each poll after an INVOKE.
    pub permits: Receiver<()>,
    /// The coordinator's inbox.
    pub events: Sender<Event>,
}

/// Attempts to register before giving up: a runtime API that is not there yet comes within a second.
const REGISTER_ATTEMPTS: u32 = 6;
/// Failures of `next` in a row, with nobody listening, after which Lambda is taken for gone (half a minute).
const REFUSALS: u32 = 30;
/// The longest pause after a failed call.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Registers and polls until SHUTDOWN has been passed on, or until the coordinator is gone.
pub fn run(poller: Poller) {
    let extension = match register(&poller) {
        Ok((extension, registration)) => {
            let Ok(subscription) = poller.subscription.recv() else { return };
            let telemetry = subscribe(&extension, &subscription);
            // The poll first: it is what Lambda waits for.
            extension.announce(Event::Registered { registration, telemetry });
            extension
        }
        Err(error) => {
            let _ = poller.events.send(Event::RegisterFailed(error.to_string()));
            return;
        }
    };
    poll(&poller, &extension);
}

fn register(poller: &Poller) -> Result<(Extension, super::event::Registration), ApiError> {
    let mut failures = 0;
    loop {
        match Extension::register(&poller.runtime_api, &poller.name, &poller.events) {
            Err(ApiError::Transport { .. }) if failures + 1 < REGISTER_ATTEMPTS => {
                failures += 1;
                std::thread::sleep(pause(failures));
            }
            outcome => return outcome,
        }
    }
}

/// Whether telemetry will be delivered.
fn subscribe(extension: &Extension, subscription: &Subscription) -> bool {
    if subscription.types.is_empty() {
        return false;
    }
    let types: Vec<&str> = subscription.types.iter().map(String::as_str).collect();
    match extension.subscribe(&types, subscription.port) {
        Ok(true) => true,
        Ok(false) => {
            log::info!(
                "this platform has no Telemetry API: no logs; data is sent at the next invocation or on request"
            );
            false
        }
        Err(error) => {
            log::error!("{error}; no logs; data is sent at the next invocation or on request");
            false
        }
    }
}

fn poll(poller: &Poller, extension: &Extension) {
    let mut failures = 0;
    loop {
        let event = match extension.next() {
            Ok(event) => event,
            Err(error) => {
                failures += 1;
                count(Counter::NextRetries);
                if failures == 1 {
                    log::warn!("{error}; trying again");
                }
                if failures >= REFUSALS && error.is_refused() {
                    log::error!("the runtime API is gone: shutting down");
                    let _ = poller
                        .events
                        .send(Event::Shutdown { reason: ShutdownReason::Other, deadline_ms: clock::wall_ms() + 2_000 });
                    return;
                }
                std::thread::sleep(pause(failures));
                continue;
            }
        };
        failures = 0;
        let last = matches!(event, Event::Shutdown { .. });
        // The coordinator empties its inbox without ever waiting for this thread.
        if poller.events.send(event).is_err() || last || poller.permits.recv().is_err() {
            return;
        }
    }
}

/// 10 ms, 20 ms, 40 ms ... up to [`MAX_PAUSE`].
fn pause(failures: u32) -> Duration {
    (Duration::from_millis(5) * 2_u32.saturating_pow(failures.min(10))).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        for (failures, ms) in [(1, 10), (2, 20), (5, 160), (8, 1000), (u32::MAX, 1000)] {
            assert_eq!(pause(failures), Duration::from_millis(ms), "{failures}");
        }
    }

    /// A runtime API that gives each connection one answer; an empty one hangs up.
    fn platform(answers: &'static [&'static str]) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                // A request comes in one piece.
                let _ = stream.read(&mut [0; 4096]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        addr
    }

    #[test]
    fn registration_is_tried_again_only_if_nobody_answered() {
        const REGISTERED: &str =
            "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: i\r\nContent-Length: 20\r\n\r\n{\"functionName\":\"f\"}";
        for (answers, expected) in [
            (&[REGISTERED][..], Ok("f")),
            (&["", "", REGISTERED], Ok("f")),
            (&["HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"], Err("answered 403: no")),
            (&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"], Err("no Lambda-Extension-Identifier")),
        ] {
            let (_permit, permits) = bounded(1);
            let (_subscribe, subscription) = bounded(1);
            let (events, _inbox) = bounded(1);
            let poller = Poller { runtime_api: platform(answers), name: "n".to_owned(), subscription, permits, events };
            match (register(&poller), expected) {
                (Ok((_, registration)), Ok(name)) => assert_eq!(registration.function_name, name),
                (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error}"),
                (outcome, _) => panic!("{answers:?}: {outcome:?}"),
            }
        }
    }
}
