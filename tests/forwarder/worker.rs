//! A running worker, its settings, and what it says.

use std::sync::{Arc, Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use thimble::config::{Config, Secret, Signal};
use thimble::forwarder::worker::{self, Worker};
use thimble::forwarder::{Client, Encoding, FlushDone, FlushTicket, Job, Payload, Route};

/// Longer than anything here takes; a test that waits for it has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const KEY: &str = "0123456789abcdef";

pub fn config() -> Config {
    let mut config = Config::load(&[], None).0;
    config.lambda.memory_size = "512".to_owned();
    config.api_key = Some(Secret::new(KEY.to_owned()));
    config.flush_timeout = PATIENCE;
    config
}

/// A running worker.
pub struct Running {
    pub jobs: Sender<Job>,
    pub done: Receiver<FlushDone>,
    flushes: u64,
}

pub fn start(signal: Signal, config: Config) -> Running {
    collect_log_lines();
    let (jobs, inbox) = crossbeam_channel::bounded(2);
    let (answers, done) = crossbeam_channel::bounded(2);
    let client = Client::new(&config);
    let worker = Worker { signal, config: Arc::new(config), client, jobs: inbox, done: answers };
    thread::spawn(move || worker::run(worker));
    Running { jobs, done, flushes: 0 }
}

/// A worker for logs that go to `url`.
pub fn logs_to(url: &str) -> Running {
    start(Signal::Logs, Config { logs_url: url.to_owned(), ..config() })
}

impl Running {
    pub fn flush(&mut self, payloads: Vec<Payload>) -> (u32, u32) {
        self.flush_until(Instant::now() + PATIENCE, false, payloads)
    }

    pub fn flush_until(&mut self, deadline: Instant, last: bool, payloads: Vec<Payload>) -> (u32, u32) {
        self.flushes += 1;
        let ticket = FlushTicket { id: self.flushes, deadline, ending: last, last };
        self.jobs.send(Job { ticket, payloads }).unwrap();
        let done = self.done.recv_timeout(PATIENCE).expect("a flush is answered");
        assert_eq!(done.id, self.flushes);
        (done.sent, done.kept)
    }
}

pub fn payload(route: Route, body: &str) -> Payload {
    Payload {
        route,
        encoding: Encoding::Identity,
        body: body.as_bytes().to_vec(),
        items: 1,
        headers: Vec::new(),
        request: None,
    }
}

pub fn logs(bodies: &[&str]) -> Vec<Payload> {
    bodies.iter().map(|body| payload(Route::Logs, body)).collect()
}

static LINES: Mutex<Vec<(log::Level, String)>> = Mutex::new(Vec::new());

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("thimble")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.lock().unwrap().push((record.level(), record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

pub fn collect_log_lines() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Collector).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
}

/// Lines about `host` above debug level; none of any level may contain the key.
pub fn lines(host: &str) -> Vec<(log::Level, String)> {
    let all = LINES.lock().unwrap();
    assert!(all.iter().all(|(_, line)| !line.contains(KEY)));
    all.iter().filter(|(level, line)| *level < log::Level::Debug && line.contains(host)).cloned().collect()
}
