//! The start, in the one order that costs least, and the only place that makes channels and spawns threads.
//!
//! Runs on the main thread, which becomes the coordinator: the thread `next` sends register, and while the platform
//! answers, settings are read and every listener is bound; then `next` subscribes and polls, and only then the other
//! threads start, because the kernel queues what comes for them. After register nothing here exits: a component that
//! cannot start is off, and a line says so.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::{self, Config, Signal};
use crate::coordinator::{self, Aggregators, Coordinator};
use crate::daemon::Daemon;
use crate::diag::counters::{Counter, count};
use crate::diag::logger;
use crate::forwarder::worker::{self, Worker};
use crate::forwarder::{Client, FlushDone, Job, Lane};
use crate::lambda::Tags;
use crate::lambda::context::{self, ExecutionContext};
use crate::lambda::event::{Event, Registration};
use crate::lambda::next::{self, Poller, Subscription};
use crate::metrics::dogstatsd;
use crate::sys::clock;
use crate::traces::passthrough::{Lines, Passthrough};
use crate::{logs, metrics, net, traces};

/// The daemon's port (spec: lambda-apis 1.1).
const DAEMON_PORT: u16 = 8124;

/// Stack of a thread that parses, compresses or talks TLS. Only touched pages count.
const DEEP_STACK: usize = 512 * 1024;
/// Stack of a thread that reads a socket or a channel and hands on.
const FLAT_STACK: usize = 96 * 1024;

/// The coordinator's inbox: more than all platform events of the invocations in one delivery. Every place is written to
/// when the channel is made: 12 KB.
const EVENTS: usize = 128;
/// Deliveries waiting for the logs agent, one for each connection of the daemon; the next waits with its connection. Their
/// bytes are bounded by the daemon's body budget.
const DELIVERIES: usize = DAEMON_LIMITS.connections;
/// Batches of samples waiting for the metrics agent, of 64 KiB at most each.
const BATCHES: usize = 32;

/// How long DogStatsD lines that came by HTTP wait for the metrics agent.
const LINES_WAIT: Duration = Duration::from_secs(1);

const DAEMON_LIMITS: net::Limits = net::Limits {
    connections: 64,
    head: 64 * 1024,
    read_timeout: Duration::from_secs(10),
    body_budget: 32 * 1024 * 1024,
};

const TRACES_LIMITS: net::Limits = net::Limits {
    connections: 128,
    head: 32 * 1024,
    read_timeout: Duration::from_secs(10),
    // One body of the largest size, and room for others beside it.
    body_budget: 56 * 1024 * 1024,
};

/// Runs the extension until SHUTDOWN. `argv0` names it: Lambda wants the registered name to be the file's.
#[must_use]
pub fn run(argv0: Option<&OsStr>) -> ExitCode {
    let environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let Some(runtime_api) = std::env::var("AWS_LAMBDA_RUNTIME_API").ok().filter(|a| !a.is_empty()) else {
        eprintln!("thimble: AWS_LAMBDA_RUNTIME_API is not set; this program is started by AWS Lambda");
        return ExitCode::FAILURE;
    };
    logger::init(log::LevelFilter::Info);
    logger::report_panics();
    let (events, inbox) = bounded(EVENTS);
    let (subscribe, subscription) = bounded(1);
    let (permits, permitted) = bounded(1);
    let poller =
        Poller { runtime_api, name: extension_name(argv0), subscription, permits: permitted, events: events.clone() };
    if !spawn("next", DEEP_STACK, &events, move || next::run(poller)) {
        return ExitCode::FAILURE;
    }

    let config = Arc::new(settings(&environment));
    if config.api_key.is_none() {
        return idle(&config, &subscribe, &events, &inbox, &permits);
    }
    let sockets = Sockets::bind(&config);
    let types = if sockets.daemon.is_some() { telemetry_types(&config) } else { Vec::new() };
    let _ = subscribe.send(Subscription { types, port: DAEMON_PORT });

    // While the platform answers. Before this a signal kills; one that comes after it waits for its thread.
    let signals = watch_signals();
    let Some((registration, telemetry)) = registered(&inbox) else { return ExitCode::FAILURE };
    let mut context = context::restore(Path::new(context::PATH)).unwrap_or_default();
    context.init_time_ns = clock::wall_ns();
    let tags = Arc::new(Tags::new(&config, &registration));
    let (done, flushes) = bounded(64);
    let client = Client::new(&config);
    let start = Start { config: Arc::clone(&config), tags: Arc::clone(&tags), events: events.clone(), done, client };
    let aggregators = start.components(sockets, &context);
    pass_on_signals(signals, &events);
    coordinator::run(Coordinator {
        config,
        registration,
        tags,
        telemetry,
        events: inbox,
        flushes,
        permits,
        aggregators,
        context,
        context_path: context::PATH.into(),
    });
    ExitCode::SUCCESS
}

/// The extension's name: the file name of `argv0`.
fn extension_name(argv0: Option<&OsStr>) -> String {
    argv0
        .and_then(|path| Path::new(path).file_name())
        .map_or_else(|| "datadog-agent".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Reads the settings, sets the log level, and says what was wrong with them.
fn settings(environment: &[(OsString, OsString)]) -> Config {
    let (config, complaints) = Config::load(environment, yaml(environment).as_deref());
    logger::init(config.log_level);
    if config.log_level >= log::LevelFilter::Debug {
        for line in config::debug_environment(environment) {
            crate::diag::debug!("{line}");
        }
    }
    for complaint in complaints {
        log::warn!("{complaint}");
    }
    config
}

/// The text of `datadog.yaml`, if there is one; one byte more than the settings take, so that they say so.
fn yaml(environment: &[(OsString, OsString)]) -> Option<String> {
    let file = File::open(config::yaml_path(environment)).ok()?;
    let mut text = Vec::new();
    file.take(config::MAX_YAML as u64 + 1).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// Waits for the outcome of registration. None, with a line, if there is nobody to serve.
fn registered(inbox: &Receiver<Event>) -> Option<(Registration, bool)> {
    loop {
        match inbox.recv() {
            Ok(Event::Registered { registration, telemetry }) => return Some((registration, telemetry)),
            Ok(Event::RegisterFailed(error)) => {
                log::error!("{error}");
                return None;
            }
            Ok(Event::Died(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// Life without an API key: nothing is collected, nothing is sent, the function is served.
fn idle(
    config: &Config,
    subscribe: &Sender<Subscription>,
    events: &Sender<Event>,
    inbox: &Receiver<Event>,
    permits: &Sender<()>,
) -> ExitCode {
    let _ = subscribe.send(Subscription { types: Vec::new(), port: DAEMON_PORT });
    let signals = watch_signals();
    if registered(inbox).is_none() {
        return ExitCode::FAILURE;
    }
    match &config.api_key_indirect {
        Some(setting) => log::error!(
            "no API key: {setting} names one, but this version reads only DD_API_KEY; nothing is collected or sent"
        ),
        None => log::error!("no API key: nothing is collected or sent; set DD_API_KEY"),
    }
    pass_on_signals(signals, events);
    loop {
        match inbox.recv() {
            Ok(Event::Shutdown { .. } | Event::Terminate | Event::Died("next")) | Err(_) => return ExitCode::SUCCESS,
            Ok(_) => drop(permits.try_send(())),
        }
    }
}

/// The telemetry to subscribe to: platform events tell the end of invocations, whatever becomes of logs.
fn telemetry_types(config: &Config) -> Vec<String> {
    let mut types = vec!["platform".to_owned()];
    if config.logs_enabled {
        types.extend(config.logs_types.iter().filter(|t| *t != "platform").cloned());
    }
    types
}

/// Every listener, bound before the first `next`; the one that could not be is off.
struct Sockets {
    daemon: Option<TcpListener>,
    traces: Option<TcpListener>,
    dogstatsd: Option<dogstatsd::Socket>,
}

impl Sockets {
    fn bind(config: &Config) -> Self {
        // Lambda delivers telemetry from outside the loopback.
        let daemon = SocketAddr::from((Ipv4Addr::UNSPECIFIED, DAEMON_PORT));
        let traces = SocketAddr::from((Ipv4Addr::LOCALHOST, config.apm_port));
        Self {
            daemon: bound("logs and the end of invocations", DAEMON_PORT, net::bind(daemon)),
            traces: config.apm_enabled.then(|| bound("traces", config.apm_port, net::bind(traces))).flatten(),
            dogstatsd: bound(
                "custom metrics",
                config.dogstatsd_port,
                dogstatsd::Socket::bind(config.dogstatsd_port, config.dogstatsd_so_rcvbuf),
            ),
        }
    }
}

fn bound<T>(what: &str, port: u16, socket: std::io::Result<T>) -> Option<T> {
    socket.map_err(|error| log::error!("port {port}: {error}; {what} are off, everything else goes on")).ok()
}

/// What every component is started with.
struct Start {
    config: Arc<Config>,
    tags: Arc<Tags>,
    events: Sender<Event>,
    done: Sender<FlushDone>,
    /// Empty until a worker first uses it.
    client: Client,
}

impl Start {
    /// Starts every component that has its socket, and returns the ways to the aggregators.
    fn components(&self, sockets: Sockets, context: &ExecutionContext) -> Aggregators {
        let metrics = self.metrics(sockets.dogstatsd);
        Aggregators {
            logs: sockets.daemon.and_then(|listener| self.logs(listener, context)),
            traces: sockets.traces.and_then(|listener| self.traces(listener, metrics.metrics.clone())),
            ..metrics
        }
    }

    fn logs(&self, listener: TcpListener, context: &ExecutionContext) -> Option<Sender<logs::Message>> {
        let (logs, inbox) = bounded(DELIVERIES);
        let agent = logs::agent::Agent {
            config: Arc::clone(&self.config),
            tags: Arc::clone(&self.tags),
            last_request_id: Some(context.last_request_id.clone()).filter(|id| !id.is_empty()),
            inbox,
            events: self.events.clone(),
            lane: self.lane(Signal::Logs, "forward-logs"),
        };
        let daemon = Daemon { events: self.events.clone(), logs: logs.clone() };
        let started = self.spawn("logs-agent", DEEP_STACK, move || logs::agent::run(agent))
            && self.spawn("daemon", FLAT_STACK, move || serve("daemon", &listener, &DAEMON_LIMITS, daemon));
        started.then_some(logs)
    }

    /// `metrics` is the way for DogStatsD lines that tracers send to their own port.
    fn traces(
        &self,
        listener: TcpListener,
        metrics: Option<Sender<metrics::Message>>,
    ) -> Option<Sender<traces::Message>> {
        // A connection waits for its answer, so there are never more payloads than connections.
        let (traces, inbox) = bounded(TRACES_LIMITS.connections + 16);
        let agent = traces::agent::Agent {
            config: Arc::clone(&self.config),
            tags: Arc::clone(&self.tags),
            inbox,
            events: self.events.clone(),
            lane: self.lane(Signal::Traces, "forward-traces"),
        };
        let lines = metrics.map(|metrics| -> Lines {
            Box::new(move |body| {
                let deadline = Instant::now() + LINES_WAIT;
                dogstatsd::lines::hand_over(body, clock::wall_ms() / 1000, &metrics, deadline)
            })
        });
        let (to_agent, config, tags) = (traces.clone(), Arc::clone(&self.config), Arc::clone(&self.tags));
        let client = self.client.clone();
        // Made on its own thread: what `/info` says is not needed before the first `next`.
        let receiver = move || {
            let proxy = Passthrough::new(&config, &tags, client, lines);
            traces::receiver::Receiver::new(to_agent, &config, proxy)
        };
        let started = self.spawn("trace-agent", DEEP_STACK, move || traces::agent::run(agent))
            && self.spawn("traces", FLAT_STACK, move || serve("traces", &listener, &TRACES_LIMITS, receiver()));
        started.then_some(traces)
    }

    /// The ways to the metrics agent; without its socket there is none.
    fn metrics(&self, socket: Option<dogstatsd::Socket>) -> Aggregators {
        let off = Aggregators { logs: None, metrics: None, dogstatsd: None, traces: None };
        let Some(socket) = socket else { return off };
        let (metrics, inbox) = bounded(BATCHES);
        let agent = metrics::agent::Agent {
            config: Arc::clone(&self.config),
            tags: Arc::clone(&self.tags),
            inbox,
            events: self.events.clone(),
            lane: self.lane(Signal::Metrics, "forward-metrics"),
        };
        let (handle, requests) = match dogstatsd::requests() {
            Ok(ends) => ends,
            Err(error) => {
                log::error!("DogStatsD: {error}; custom metrics are off, everything else goes on");
                return off;
            }
        };
        let (out, buffer_size) = (metrics.clone(), self.config.dogstatsd_buffer_size);
        let started = self.spawn("metrics-agent", DEEP_STACK, move || metrics::agent::run(agent))
            && self.spawn("dogstatsd", FLAT_STACK, move || dogstatsd::run(socket, buffer_size, requests, out));
        if started { Aggregators { metrics: Some(metrics), dogstatsd: Some(handle), ..off } } else { off }
    }

    /// The way from an aggregator to its worker, a thread that starts with the first payload.
    fn lane(&self, signal: Signal, name: &'static str) -> Lane {
        let (config, client) = (Arc::clone(&self.config), self.client.clone());
        let (done, events) = (self.done.clone(), self.events.clone());
        let start = move |jobs: Receiver<Job>| {
            let worker = Worker { signal, config, client, jobs, done };
            spawn(name, DEEP_STACK, &events, move || worker::run(worker))
        };
        Lane::new(signal, self.done.clone(), Box::new(start))
    }

    fn spawn(&self, name: &'static str, stack: usize, body: impl FnOnce() + Send + 'static) -> bool {
        spawn(name, stack, &self.events, body)
    }
}

/// Starts the thread of a component. Its end, by panic or otherwise, is an event for the coordinator.
fn spawn(name: &'static str, stack: usize, events: &Sender<Event>, body: impl FnOnce() + Send + 'static) -> bool {
    let events = events.clone();
    let run = move || {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_err() {
            count(Counter::Panics);
        }
        // Waits for room: the coordinator must know, and nothing waits for this thread any more.
        let _ = events.send(Event::Died(name));
    };
    let started = thread::Builder::new().name(name.to_owned()).stack_size(stack).spawn(run);
    started.map_err(|error| log::error!("cannot start the thread {name}: {error}; it is off")).is_ok()
}

/// Accepts connections until the listener breaks.
fn serve(name: &'static str, listener: &TcpListener, limits: &net::Limits, service: impl net::Service) {
    let service: Arc<dyn net::Service> = Arc::new(service);
    let error = net::serve(listener, name, limits, &service);
    log::error!("the listener of {name} failed: {error}");
}

/// Takes SIGTERM and SIGINT from the kernel's hands.
fn watch_signals() -> Option<Signals> {
    let watched = Signals::new([SIGTERM, SIGINT]);
    watched.map_err(|error| log::warn!("cannot wait for signals: {error}; SIGTERM ends the agent without a flush")).ok()
}

/// Starts the thread `signals`: SIGTERM and SIGINT mean SHUTDOWN.
fn pass_on_signals(signals: Option<Signals>, events: &Sender<Event>) {
    let Some(mut signals) = signals else { return };
    let terminate = events.clone();
    spawn("signals", FLAT_STACK, events, move || {
        for _ in signals.forever() {
            // Waits for room: a signal must not get lost.
            let _ = terminate.send(Event::Terminate);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_component_is_told_even_if_the_inbox_is_full() {
        let (events, inbox) = bounded(1);
        events.send(Event::Terminate).unwrap();
        assert!(spawn("fragile", FLAT_STACK, &events, || panic!("on purpose")));
        // Room comes only after the thread found none: of the two senders its own is left, or neither.
        while crate::diag::counters::get(Counter::Panics) == 0 {
            thread::yield_now();
        }
        drop(events);
        assert!(matches!(inbox.recv(), Ok(Event::Terminate)));
        assert!(matches!(inbox.recv_timeout(Duration::from_secs(60)), Ok(Event::Died("fragile"))));
    }
}
