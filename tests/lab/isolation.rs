//! Isolation: runs a test, or the demo, in network and mount namespaces of its own, where ports 8124 to 8126 are free
//! and `/opt/extensions/datadog-agent` is the program under test. Refuses to touch the machine's own file system: all
//! it mounts ends with the namespace. Runs before the lab's other threads exist.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use super::sys;

/// Where Lambda and the Datadog libraries expect the extension.
pub const EXTENSION: &str = "/opt/extensions/datadog-agent";

/// Where Lambda puts the function's files.
pub const TASK_ROOT: &str = "/var/task";

/// Set for the process inside the namespaces; its value is the name of what runs.
const INSIDE: &str = "LAB_INSIDE";

/// What the process inside prints first, so that a misspelt test name cannot pass.
const GREETING: &str = "lab: isolated ";

/// What an isolated file system holds.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The program that appears as [`EXTENSION`].
    pub extension: PathBuf,
    /// A folder whose files are copied to [`TASK_ROOT`].
    pub task: Option<PathBuf>,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self { extension: thimble_binary(), task: None }
    }
}

/// Runs `body` as the test `name` (its full name, modules included) with thimble installed in a namespace of its own.
pub fn isolated(name: &str, body: impl FnOnce()) {
    isolated_in(&Sandbox::default(), name, body);
}

/// Like [`isolated`], with a file system as `sandbox` says.
pub fn isolated_in(sandbox: &Sandbox, name: &str, body: impl FnOnce()) {
    let arguments = ["--exact", name, "--nocapture", "--test-threads=1", "--include-ignored"];
    match enter(sandbox, name, &arguments.map(OsString::from), &[]) {
        Entered::Inside | Entered::InPlace(_) => body(),
        Entered::Left(status) => assert!(status.success(), "{name} failed inside its namespaces: {status}"),
    }
}

/// Where [`enter`] came out.
pub enum Entered {
    /// In the namespaces: do the work.
    Inside,
    /// Namespaces are forbidden: do the work here, alone on this machine as long as the file is kept.
    InPlace(#[allow(dead_code)] File),
    /// The process that was started in the namespaces did the work and ended like this.
    Left(ExitStatus),
}

/// Starts this program again, with `arguments`, inside namespaces; in there, sets them up.
/// `environment` is added to that of the program inside.
pub fn enter(sandbox: &Sandbox, name: &str, arguments: &[OsString], environment: &[(&str, OsString)]) -> Entered {
    if std::env::var_os(INSIDE).as_deref() == Some(OsStr::new(name)) {
        sandbox.set_up().unwrap_or_else(|e| panic!("setting up the namespaces: {e}"));
        println!("{GREETING}{name}");
        return Entered::Inside;
    }
    let Some(mut unshare) = unshare_command() else {
        let path = std::env::temp_dir().join("thimble-lab.lock");
        println!("lab: namespaces are forbidden here, so this runs in place, one at a time ({})", path.display());
        let file = File::options().create(true).append(true).open(&path).expect("the lock file can be made");
        sys::lock(&file).expect("the lock can be taken");
        return Entered::InPlace(file);
    };
    unshare.envs(environment.iter().map(|(name, value)| (name, value)));
    Entered::Left(run_inside(unshare, name, arguments))
}

/// The `unshare` that works here: as root, or through a user namespace.
fn unshare_command() -> Option<Command> {
    let ways: [&[&str]; 2] = [&["--net", "--mount"], &["--user", "--map-root-user", "--net", "--mount"]];
    ways.into_iter().skip(usize::from(!sys::is_root())).find_map(|flags| {
        let mut probe = Command::new("unshare");
        let probe = probe.args(flags).arg("true").stderr(Stdio::null());
        probe.status().is_ok_and(|s| s.success()).then(|| {
            let mut command = Command::new("unshare");
            command.args(flags);
            command
        })
    })
}

/// Runs the program again and passes its output on through `print!`, which the test harness knows how to hold back.
fn run_inside(mut unshare: Command, name: &str, arguments: &[OsString]) -> ExitStatus {
    let program = std::env::current_exe().expect("this program has a path");
    let (output, writer) = io::pipe().expect("a pipe can be made");
    let errors = writer.try_clone().expect("a pipe can be shared");
    unshare.arg("--").arg(program).args(arguments).env(INSIDE, name).stdin(Stdio::null()).stdout(writer).stderr(errors);
    sys::own_group_and_die_with_parent(&mut unshare);
    let mut child = unshare.spawn().expect("unshare ran a moment ago");
    drop(unshare); // holds the pipe's writing end
    let mut greeted = false;
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        if line.contains(GREETING) {
            greeted = true;
        } else {
            println!("{line}");
        }
    }
    let status = child.wait().expect("the child is ours");
    assert!(greeted || !status.success(), "nothing called {name:?} ran: is the name right, modules included?");
    status
}

impl Sandbox {
    /// Inside the namespaces: brings the loopback up and mounts the file system.
    fn set_up(&self) -> io::Result<()> {
        let extension = fs::canonicalize(&self.extension)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}; build it first", self.extension.display())))?;
        let extension_bytes = fs::read(&extension)?;
        let directory = std::env::current_dir()?;
        sys::loopback_up()?;
        renew(Path::new("/opt"), "extensions")?;
        renew(Path::new("/var"), "task")?;
        private_tmp(&[extension.as_path(), directory.as_path(), Path::new(env!("CARGO_MANIFEST_DIR"))])?;
        std::env::set_current_dir(directory)?;
        fs::create_dir_all("/opt/extensions")?;
        fs::write(EXTENSION, extension_bytes)?;
        fs::set_permissions(EXTENSION, fs::metadata(&extension)?.permissions())?;
        fs::create_dir_all(TASK_ROOT)?;
        self.task.as_deref().map_or(Ok(()), |task| copy_folder(task, Path::new(TASK_ROOT)))
    }
}

/// Puts a tmpfs over `folder` that shows what `folder` held, except for the entry `without`.
fn renew(folder: &Path, without: &str) -> io::Result<()> {
    if !folder.is_dir() {
        let message = format!("{} does not exist; the lab needs it to mount over", folder.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    let entries: Vec<PathBuf> = fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    let kept = entries.iter().filter(|path| path.file_name() != Some(OsStr::new(without)));
    let kept: Vec<Kept> = kept.filter_map(|path| Kept::new(path).ok()).collect();
    sys::mount_tmpfs(folder)?;
    kept.iter().try_for_each(Kept::restore)
}

/// Gives the namespace a `/tmp` of its own in which what the lab runs on stays visible.
fn private_tmp(needed: &[&Path]) -> io::Result<()> {
    let mut paths: Vec<PathBuf> = needed.iter().map(|p| p.to_path_buf()).collect();
    let program = std::env::current_exe()?;
    paths.extend(program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file()).map(Path::to_path_buf));
    paths.push(program);
    paths.extend(std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from));
    paths.retain(|p| p.starts_with("/tmp") && p.exists());
    paths.sort();
    paths.dedup_by(|inner, outer| inner.starts_with(outer));
    let kept: Vec<Kept> = paths.iter().map(|p| Kept::new(p)).collect::<Result<_, _>>()?;
    sys::mount_tmpfs(Path::new("/tmp"))?;
    kept.iter().try_for_each(Kept::restore)
}

/// Something that is to stay visible at its path while a tmpfs is mounted over a folder above it.
enum Kept {
    Link { path: PathBuf, target: PathBuf },
    Mount { path: PathBuf, open: File, folder: bool },
}

impl Kept {
    fn new(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        if path.is_symlink() {
            return Ok(Self::Link { path: path.to_owned(), target: fs::read_link(path)? });
        }
        let open = File::options().read(true).custom_flags(libc::O_PATH).open(path)?;
        Ok(Self::Mount { path: path.to_owned(), folder: path.is_dir(), open })
    }

    fn restore(&self) -> io::Result<()> {
        match self {
            Self::Link { path, target } => std::os::unix::fs::symlink(target, path),
            Self::Mount { path, open, folder } => {
                if *folder {
                    fs::create_dir_all(path)?;
                } else {
                    fs::create_dir_all(path.parent().unwrap_or(path))?;
                    File::create(path)?;
                }
                sys::mount_bind(Path::new(&format!("/proc/self/fd/{}", open.as_raw_fd())), path)
            }
        }
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The thimble to test: the environment's choice, else what Cargo built beside this program.
pub fn thimble_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CARGO_BIN_EXE_thimble") {
        return path.into();
    }
    if let Some(path) = option_env!("CARGO_BIN_EXE_thimble") {
        return path.into();
    }
    let program = std::env::current_exe().unwrap_or_default();
    program.with_file_name("thimble")
}

/// The program to start as the extension: the installed one, or, in place, the built one.
pub fn extension_program() -> PathBuf {
    if Path::new(EXTENSION).exists() && std::env::var_os(INSIDE).is_some() {
        PathBuf::from(EXTENSION)
    } else {
        thimble_binary()
    }
}
