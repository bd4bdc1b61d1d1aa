//! What the platform knows: who registered, who waits in `next`, the invocation in flight, every call. The API's thread
//! changes it, the test's thread waits for changes.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A call of the extension or the runtime.
#[derive(Clone, Debug)]
pub struct Call {
    /// When it had been read whole.
    pub at: Instant,
    /// `GET`.
    pub method: String,
    /// Path as sent.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// What it was answered with at once; 0 for a long poll.
    pub status: u16,
}

impl Call {
    /// The first value of the header `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// A long poll and its history.
#[derive(Default)]
pub struct Poll {
    /// The request that waits for an answer.
    pub parked: Option<tiny_http::Request>,
    /// When it came.
    pub at: Option<Instant>,
    /// How many have come from this process.
    pub count: u32,
}

/// A registered extension.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The events it wants.
    pub events: Vec<String>,
    /// When it registered.
    pub at: Instant,
    /// Whether it has subscribed to telemetry.
    pub subscribed: bool,
}

/// What the runtime answered to an invocation.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A response.
    Response(Vec<u8>),
    /// An error: its type and the body.
    Error(String, Value),
}

/// The invocation in flight.
pub struct InFlight {
    /// Its id.
    pub request_id: String,
    /// The runtime's answer and when it came.
    pub answer: Option<(Instant, Answer)>,
}

/// All of it.
#[derive(Default)]
pub struct State {
    /// Every call so far.
    pub calls: Vec<Call>,
    /// The extension of the present environment.
    pub registered: Option<Registered>,
    /// The extension's `next`.
    pub extension: Poll,
    /// The runtime's `next`.
    pub runtime: Poll,
    /// The invocation in flight.
    pub invocation: Option<InFlight>,
    /// The runtime's or the extension's own report that init failed.
    pub init_error: Option<String>,
    /// Statuses that the next polls of the extension are refused with.
    pub refuse_next: VecDeque<u16>,
    /// Counts the environments, and with that the runtimes that may still speak.
    pub generation: u32,
}

/// The state and the signal that it changed.
#[derive(Default)]
pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    /// The state as it is.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with the lock")
    }

    /// Changes the state and tells everyone.
    pub fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `look` finds something, at most until `deadline`. It must look at nothing that changes without
    /// [`Shared::update`].
    pub fn wait<T>(&self, deadline: Instant, mut look: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&mut state) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return None;
            }
            state = self.changed.wait_timeout(state, left).expect("no thread panics with the lock").0;
        }
    }
}
