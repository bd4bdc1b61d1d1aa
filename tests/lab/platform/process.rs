//! The processes of an environment: starting them with Lambda's environment, reading their lines, stopping, going on
//! and killing them. Each has a thread that waits for its end and one for each of its two pipes.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::super::sys;
use super::options::Program;
use super::telemetry::Telemetry;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Self { code: status.code(), signal: status.signal() }
    }
}

/// A running or ended process.
pub struct Process {
    pid: u32,
    /// `None` while it runs. A signal is sent with the lock held, so never to a process that was reaped.
    ended: Arc<Mutex<Option<Exit>>>,
    pipes: Vec<Arc<Mutex<Lines>>>,
}

impl Process {
    /// Starts `program`; its lines become telemetry events of type `kind`. `on_exit` runs on a thread of its own.
    pub fn start(
        program: &Program,
        env: Vec<(String, String)>,
        kind: &'static str,
        telemetry: &Telemetry,
        on_exit: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let json = env.iter().any(|(name, value)| name == "AWS_LAMBDA_LOG_FORMAT" && value == "JSON");
        let mut command = Command::new(&program.path);
        command.arg0(&program.argv0).args(&program.arguments).current_dir(&program.directory);
        command.env_clear().envs(env).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        sys::own_group_and_die_with_parent(&mut command);
        let mut child = command.spawn().map_err(|e| io::Error::new(e.kind(), format!("{:?}: {e}", program.path)))?;
        let outputs = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
        let mut process = Self { pid: child.id(), ended: Arc::default(), pipes: Vec::new() };
        for fd in outputs.into_iter().flatten() {
            process.pipes.push(Lines::follow(fd, kind, json, telemetry.clone())?);
        }
        let (ended, pipes) = (process.ended.clone(), process.pipes.clone());
        thread::Builder::new().name("lab-wait".into()).spawn(move || {
            wait(&mut child, &ended);
            drain(&pipes);
            on_exit();
        })?;
        Ok(process)
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        *self.ended.lock().expect("no thread panics with the lock")
    }

    /// Sends `signal` to it and its children, unless it has ended.
    pub fn signal(&self, signal: i32) {
        let ended = self.ended.lock().expect("no thread panics with the lock");
        if ended.is_none() {
            sys::signal_group(self.pid, signal);
        }
    }

    /// Emits every line that it has written so far.
    pub fn drain(&self) {
        drain(&self.pipes);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(sys::SIGKILL);
    }
}

fn wait(child: &mut Child, ended: &Mutex<Option<Exit>>) {
    sys::wait_without_reaping(child.id());
    let mut ended = ended.lock().expect("no thread panics with the lock");
    *ended = child.wait().ok().map(Exit::from).or(Some(Exit { code: None, signal: None }));
}

fn drain(pipes: &[Arc<Mutex<Lines>>]) {
    for pipe in pipes {
        pipe.lock().expect("no thread panics with the lock").read();
    }
}

/// One pipe, cut into lines. Reading and emitting happen under one lock, so that after a [`Lines::read`] by anyone all
/// that had been written is emitted.
struct Lines {
    pipe: std::fs::File,
    partial: Vec<u8>,
    kind: &'static str,
    /// Whether a line that is a JSON object becomes one, as with Lambda's JSON log format.
    json: bool,
    telemetry: Telemetry,
    open: bool,
}

impl Lines {
    /// Starts the thread that reads the pipe whenever there is something.
    fn follow(fd: OwnedFd, kind: &'static str, json: bool, telemetry: Telemetry) -> io::Result<Arc<Mutex<Self>>> {
        sys::set_nonblocking(fd.as_fd())?;
        let ready = fd.try_clone()?;
        let lines =
            Arc::new(Mutex::new(Self { pipe: fd.into(), partial: Vec::new(), kind, json, telemetry, open: true }));
        let followed = lines.clone();
        thread::Builder::new().name("lab-lines".into()).spawn(move || {
            loop {
                let mut poll = [rustix::event::PollFd::new(&ready, rustix::event::PollFlags::IN)];
                if rustix::event::poll(&mut poll, None).is_ok() {
                    let mut lines = followed.lock().expect("no thread panics with the lock");
                    lines.read();
                    if !lines.open {
                        break;
                    }
                }
            }
        })?;
        Ok(lines)
    }

    /// Reads what is there and emits the lines that are complete.
    fn read(&mut self) {
        let mut chunk = [0; 16 * 1024];
        while self.open {
            match self.pipe.read(&mut chunk) {
                Ok(0) => {
                    self.open = false;
                    self.emit_lines();
                    let rest = std::mem::take(&mut self.partial);
                    self.emit(&rest);
                }
                Ok(length) => {
                    self.partial.extend_from_slice(&chunk[..length]);
                    self.emit_lines();
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    }

    fn emit_lines(&mut self) {
        while let Some(end) = self.partial.iter().position(|&b| b == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            self.emit(&line);
        }
    }

    /// Emits one line, its newline included as Lambda delivers it.
    fn emit(&self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        let object = self.json.then(|| serde_json::from_slice(line).ok().filter(Value::is_object)).flatten();
        self.telemetry.emit(self.kind, object.unwrap_or_else(|| json!(String::from_utf8_lossy(line))));
    }
}
