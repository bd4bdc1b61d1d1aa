//! A network namespace for what uses the fixed ports: the program runs itself again inside one.
//!
//! The ports of the protocols may be taken on the user's machine, and tests run side by side. Where namespaces are
//! forbidden, one test at a time runs in place.

use std::process::Command;
use std::sync::Mutex;

/// Set in the environment of what runs inside.
const INSIDE: &str = "THIMBLE_NAMESPACE";
/// Brings up the loopback, then becomes the program.
const ENTER: &str = "ip link set lo up && exec \"$@\"";
/// Held by what runs in place.
static IN_PLACE: Mutex<()> = Mutex::new(());

/// The command `program`, in a new network namespace; `None` where the kernel forbids that.
fn command(program: &str) -> Option<Command> {
    let enter = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--net", "--", "sh", "-c", ENTER, "sh", command]);
        unshare
    };
    enter("true").output().is_ok_and(|probe| probe.status.success()).then(|| {
        let mut command = enter(program);
        command.env(INSIDE, "1");
        command
    })
}

/// Whether this process is inside already.
pub fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// This program again with `arguments`, inside; `None` where that cannot be.
pub fn again(arguments: impl IntoIterator<Item = String>) -> Option<Command> {
    let program = std::env::current_exe().expect("the path of this program");
    let mut command = command(program.to_str().expect("UTF-8"))?;
    command.args(arguments);
    Some(command)
}

/// Runs the body of the test called `name` inside.
pub fn test(name: &str, body: impl FnOnce()) {
    if inside() {
        return body();
    }
    let arguments = ["--exact", name, "--nocapture", "--test-threads=1"].map(str::to_owned);
    let Some(mut command) = again(arguments) else {
        // A test that failed before this one is no reason not to run it.
        let _alone = IN_PLACE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        return body();
    };
    let output = command.output().expect("unshare runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "inside the namespace:\n{text}");
    assert!(text.contains("1 passed"), "no test is called {name}:\n{text}");
}
