//! The real runtimes' environments: runs the scripts that make them, which do nothing once they are made. Runs before
//! isolation, since only outside there is a network.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The interpreter of the Python environment.
///
/// # Errors
/// Why there is none, for people.
pub fn python() -> Result<PathBuf, String> {
    run("python-env.sh", &[])
}

/// The interpreter of the Python environment, if it was made before.
///
/// # Errors
/// What makes it, or why that cannot be, for people.
pub fn made_python() -> Result<PathBuf, String> {
    run("python-env.sh", &["--made"])
}

/// The folder that holds `node_modules`, if it was made before.
///
/// # Errors
/// What makes it, or why that cannot be, for people.
pub fn made_node_modules() -> Result<PathBuf, String> {
    run("node-env.sh", &["--made"])
}

/// The folder that holds the program of the Rust function, if it was made before.
///
/// # Errors
/// What makes it, or why that cannot be, for people.
pub fn made_rust() -> Result<PathBuf, String> {
    run("rust-env.sh", &["--made"])
}

/// The folder of a function under `tests/functions`.
pub fn function(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/functions").join(name)
}

/// The settings that make the entry points of Datadog's libraries call `handler`.
pub fn handler_env(handler: &str) -> Vec<(String, String)> {
    vec![("DD_LAMBDA_HANDLER".into(), handler.into()), ("DD_TRACE_ENABLED".into(), "true".into())]
}

/// The settings of a Node function: the libraries in `folder`, which [`made_node_modules`] returned, and a path to `node`.
pub fn node_env(folder: &Path) -> Vec<(String, String)> {
    let modules = folder.join("node_modules").to_string_lossy().into_owned();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut env = handler_env("handler.handler");
    env.extend([("NODE_PATH".into(), modules), ("PATH".into(), path)]);
    env
}

fn run(script: &str, arguments: &[&str]) -> Result<PathBuf, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(script);
    let output = Command::new("bash").arg(&path).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("{}: {e}", path.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(said.trim().lines().last().unwrap_or("it failed without a word").to_owned());
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    let last = printed.trim().lines().last().ok_or("it printed no path")?;
    Ok(PathBuf::from(last))
}
