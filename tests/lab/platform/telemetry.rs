//! The Telemetry API: keeps every event from the start on, and delivers them in batches to whoever subscribed, as Lambda
//! does. One thread delivers; it is paused while the environment is frozen, as Lambda's own sender is.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::events::{category, envelope, logs_dropped};

/// How often a batch is offered before its events are dropped, and how long apart.
const ATTEMPTS: u32 = 10;
const RETRY: Duration = Duration::from_millis(50);

/// A subscription, checked.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// `platform`, `function`, `extension`.
    pub types: Vec<String>,
    /// The schema version asked for.
    pub schema: String,
    /// Where batches go: a port of the loopback, and a path.
    pub port: u16,
    /// See `port`.
    pub path: String,
    /// Most events in a batch.
    pub max_items: usize,
    /// Most bytes in a batch.
    pub max_bytes: usize,
    /// How long an event may wait for company.
    pub timeout: Duration,
}

impl Subscription {
    /// Checks a request's body as Lambda does.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let json: Value = serde_json::from_slice(body).map_err(|e| format!("not JSON: {e}"))?;
        let schema = json["schemaVersion"].as_str().ok_or("schemaVersion is missing")?;
        if !["2022-07-01", "2022-12-13", "2025-01-29"].contains(&schema) {
            return Err(format!("unknown schemaVersion {schema}"));
        }
        let types = json["types"].as_array().ok_or("types is missing")?;
        let types: Vec<String> = types.iter().filter_map(|t| t.as_str().map(str::to_owned)).collect();
        if types.is_empty() || types.iter().any(|t| !["platform", "function", "extension"].contains(&t.as_str())) {
            return Err(format!("types {types:?} are not all of platform, function, extension"));
        }
        let destination = &json["destination"];
        if destination["protocol"] != "HTTP" {
            return Err("protocol must be HTTP".into());
        }
        let uri = destination["URI"].as_str().ok_or("URI is missing")?;
        let rest = uri.strip_prefix("http://").ok_or("URI must start with http://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = authority.split_once(':').ok_or("URI has no port")?;
        if !["sandbox", "sandbox.localdomain"].contains(&host) {
            return Err(format!("host {host} must be sandbox or sandbox.localdomain"));
        }
        let limit = |name: &str, default: u64, range: std::ops::RangeInclusive<u64>| {
            let value = json["buffering"].get(name).map_or(Some(default), Value::as_u64);
            value.filter(|v| range.contains(v)).ok_or_else(|| format!("{name} must be in {range:?}"))
        };
        Ok(Self {
            types,
            schema: schema.to_owned(),
            port: port.parse().map_err(|_| "URI has no port")?,
            path: format!("/{path}"),
            max_items: limit("maxItems", 1000, 25..=30_000)? as usize,
            max_bytes: limit("maxBytes", 262_144, 262_144..=1_048_576)? as usize,
            timeout: Duration::from_millis(limit("timeoutMs", 1000, 25..=30_000)?),
        })
    }
}

/// A batch that was delivered.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// When it was acknowledged.
    pub at: Instant,
    /// Events in it.
    pub events: usize,
    /// How often it was offered before.
    pub retries: u32,
}

#[derive(Default)]
struct State {
    subscription: Option<Subscription>,
    queue: VecDeque<(Instant, Value)>,
    /// Every event ever emitted.
    history: Vec<Value>,
    deliveries: Vec<Delivery>,
    paused: bool,
    /// A batch is on its way.
    busy: bool,
    /// Deliver without waiting for company.
    hurry: bool,
    closed: bool,
}

/// The sender and its queue.
#[derive(Clone)]
pub struct Telemetry {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Telemetry {
    /// Starts the delivering thread.
    pub fn start() -> Self {
        let telemetry = Self { shared: Arc::default() };
        let sender = telemetry.clone();
        thread::Builder::new()
            .name("lab-telemetry".into())
            .spawn(move || while sender.deliver_one() {})
            .expect("a thread can be started");
        telemetry
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().expect("no thread panics with the lock")
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.shared.1.notify_all();
    }

    /// Emits an event, now.
    pub fn emit(&self, kind: &str, record: Value) {
        let event = envelope(SystemTime::now(), kind, &record);
        self.update(|state| {
            state.history.push(event.clone());
            state.queue.push_back((Instant::now(), event));
        });
    }

    /// Puts `events` into the queue as they are: for tests of malformed records.
    pub fn inject(&self, events: Vec<Value>) {
        self.update(|state| state.queue.extend(events.into_iter().map(|event| (Instant::now(), event))));
    }

    /// Starts delivering; what was emitted before is delivered too.
    pub fn subscribe(&self, subscription: Subscription) {
        self.update(|state| state.subscription = Some(subscription));
    }

    /// Ends the subscription of an extension that is gone; what it did not take is lost with it.
    pub fn unsubscribe(&self) {
        self.update(|state| {
            state.subscription = None;
            state.queue.clear();
        });
    }

    /// Stops delivering; returns once no batch is on its way.
    pub fn pause(&self) {
        self.update(|state| state.paused = true);
        drop(self.shared.1.wait_while(self.lock(), |state| state.busy).expect("no thread panics with the lock"));
    }

    /// Goes on delivering.
    pub fn resume(&self) {
        self.update(|state| state.paused = false);
    }

    /// Delivers what is queued without waiting for company; returns whether the queue was empty within `timeout`.
    pub fn drain(&self, timeout: Duration) -> bool {
        self.update(|state| state.hurry = true);
        let pending = |state: &mut State| state.subscription.is_some() && (state.busy || !state.queue.is_empty());
        let waited = self.shared.1.wait_timeout_while(self.lock(), timeout, pending);
        let empty = !waited.expect("no thread panics with the lock").1.timed_out();
        self.update(|state| state.hurry = false);
        empty
    }

    /// Ends the thread.
    pub fn close(&self) {
        self.update(|state| state.closed = true);
    }

    /// Every event emitted so far.
    pub fn history(&self) -> Vec<Value> {
        self.lock().history.clone()
    }

    /// Every batch delivered so far.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.lock().deliveries.clone()
    }

    /// Waits for a batch to become due and delivers it; `false` once closed.
    fn deliver_one(&self) -> bool {
        let mut state = self.lock();
        let subscription = loop {
            if state.closed {
                return false;
            }
            let wait = match (&state.subscription, state.paused) {
                (Some(subscription), false) => match state.due_in(subscription) {
                    Some(Duration::ZERO) => break subscription.clone(),
                    other => other,
                },
                _ => None,
            };
            // Without a deadline only a change can make a batch due.
            let wait = wait.unwrap_or(Duration::from_secs(3600));
            state = self.shared.1.wait_timeout(state, wait).expect("no thread panics with the lock").0;
        };
        let batch = state.take_batch(&subscription);
        state.busy = !batch.is_empty();
        drop(state);
        if !batch.is_empty() {
            self.deliver(&subscription, &batch);
        }
        self.update(|state| state.busy = false);
        true
    }

    fn deliver(&self, subscription: &Subscription, batch: &[Value]) {
        let body = serde_json::to_vec(batch).expect("a JSON value is JSON");
        for retries in 0..ATTEMPTS {
            let status = post(subscription, &body);
            let mut state = self.lock();
            if status.is_some_and(|status| status < 300) {
                state.deliveries.push(Delivery { at: Instant::now(), events: batch.len(), retries });
                return;
            }
            // Nobody is told of a closed platform or an ended subscription, except by this.
            if state.closed || state.subscription.is_none() {
                return;
            }
            drop(self.shared.1.wait_timeout(state, RETRY));
        }
        self.emit("platform.logsDropped", logs_dropped(batch.len(), body.len()));
    }
}

impl State {
    /// When the next batch is due; `None` if there is nothing to deliver.
    fn due_in(&self, subscription: &Subscription) -> Option<Duration> {
        let (since, _) = self.queue.front()?;
        if self.hurry || self.queue.len() >= subscription.max_items {
            return Some(Duration::ZERO);
        }
        Some(subscription.timeout.saturating_sub(since.elapsed()))
    }

    /// Takes the events of one batch, leaving out what nobody subscribed to.
    fn take_batch(&mut self, subscription: &Subscription) -> Vec<Value> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < subscription.max_items && bytes < subscription.max_bytes {
            let Some((_, event)) = self.queue.pop_front() else { break };
            let kind = event["type"].as_str().unwrap_or_default();
            if !kind.is_empty() && !subscription.types.iter().any(|t| t == category(kind)) {
                continue;
            }
            bytes += event["record"].as_str().map_or(200, str::len);
            batch.push(event);
        }
        batch
    }
}

/// Posts a batch on a connection of its own, so that none sleeps through a freeze; `None` if there was no answer.
fn post(subscription: &Subscription, body: &[u8]) -> Option<u16> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(2)))
        .build()
        .new_agent();
    let request = agent.post(format!("http://127.0.0.1:{}{}", subscription.port, subscription.path));
    let request = request.header("Host", "sandbox").header("Content-Type", "application/json");
    let mut response = request.send(body).ok()?;
    // A connection that is closed with an unread answer is reset.
    response.body_mut().read_to_vec().ok()?;
    Some(response.status().as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_checked() {
        let body = |schema: &str, types: &str, uri: &str, items: u32| {
            format!(
                r#"{{"schemaVersion":"{schema}","types":{types},"destination":{{"protocol":"HTTP","URI":"{uri}"}},
                    "buffering":{{"maxItems":{items},"maxBytes":262144,"timeoutMs":25}}}}"#
            )
        };
        let uri = "http://sandbox:8124/lambda/logs";
        let rows = [
            (body("2022-07-01", r#"["platform","function"]"#, uri, 1000), ""),
            (body("2020-01-01", r#"["platform"]"#, uri, 1000), "unknown schemaVersion"),
            (body("2022-07-01", r#"["platform","other"]"#, uri, 1000), "types"),
            (body("2022-07-01", "[]", uri, 1000), "types"),
            (body("2022-07-01", r#"["platform"]"#, "http://127.0.0.1:8124/", 1000), "host"),
            (body("2022-07-01", r#"["platform"]"#, "http://sandbox/", 1000), "no port"),
            (body("2022-07-01", r#"["platform"]"#, uri, 10), "maxItems"),
            ("{".to_owned(), "not JSON"),
        ];
        for (body, problem) in rows {
            match Subscription::parse(body.as_bytes()) {
                Ok(subscription) => {
                    assert_eq!(problem, "");
                    assert_eq!((subscription.port, subscription.path.as_str()), (8124, "/lambda/logs"));
                }
                Err(e) => assert!(!problem.is_empty() && e.contains(problem), "{body}: {e}"),
            }
        }
    }
}
