//! The system calls that no safe crate of ours wraps: loopback, mounts, signals, locks. The one file of the lab with
//! unsafe code. Runs on the thread of whoever calls.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

pub use libc::{SIGCONT, SIGKILL, SIGSTOP, SIGTERM};

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether this process is root, in its own user namespace.
pub fn is_root() -> bool {
    // SAFETY: takes no argument and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Brings the network namespace's loopback interface up.
pub fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: an all-zero ifreq is a valid one: plain integers and arrays.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the descriptor is open for the call, and the request outlives it.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })
}

/// Mounts an empty tmpfs over `target`.
pub fn mount_tmpfs(target: &Path) -> io::Result<()> {
    mount(Path::new("tmpfs"), target, Some("tmpfs"), libc::MS_NOSUID | libc::MS_NODEV)
}

/// Makes `source` and what is mounted below it visible at `target` too.
pub fn mount_bind(source: &Path, target: &Path) -> io::Result<()> {
    mount(source, target, None, libc::MS_BIND | libc::MS_REC)
}

fn mount(source: &Path, target: &Path, kind: Option<&str>, flags: libc::c_ulong) -> io::Result<()> {
    let source = CString::new(source.as_os_str().as_bytes())?;
    let target = CString::new(target.as_os_str().as_bytes())?;
    let kind = kind.map(CString::new).transpose()?;
    let kind = kind.as_ref().map_or(std::ptr::null(), |k| k.as_ptr());
    // SAFETY: the strings are zero-terminated and outlive the call; no data argument is passed.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind, flags, std::ptr::null()) })
}

/// Sends `signal` to the process group that `pid` leads. The caller knows that `pid` was not reaped yet.
pub fn signal_group(pid: u32, signal: i32) {
    // SAFETY: plain integers. A group that is gone is an error nobody needs to know of.
    let _ = unsafe { libc::kill(-(pid as libc::pid_t), signal) };
}

/// Blocks until the child `pid` has ended, and leaves it to be reaped.
pub fn wait_without_reaping(pid: u32) {
    loop {
        // SAFETY: an all-zero siginfo is valid, the kernel writes into it, and it outlives the call.
        let result = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, pid, &raw mut info, libc::WEXITED | libc::WNOWAIT)
        };
        if result == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

/// Lets the child lead a process group, and die when the thread that starts it ends.
pub fn own_group_and_die_with_parent(command: &mut Command) {
    command.process_group(0);
    // SAFETY: prctl is async-signal-safe and touches nothing of the parent's memory.
    unsafe {
        command.pre_exec(|| check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)));
    }
}

/// Takes the file's exclusive lock, waiting for it.
pub fn lock(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open for the call.
    check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) })
}

/// Makes reads from `fd` return at once when there is nothing.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open for both calls, whose arguments are plain integers.
    unsafe {
        let flags = libc::fcntl(fd.as_raw_fd(), libc::F_GETFL);
        check(flags)?;
        check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK))
    }
}
