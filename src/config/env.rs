//! The environment in one pass: the variables that are ours, by name, and what Lambda says about the function.
//!
//! Owns the prefixes `DD_` and `DATADOG_`, and what may be shown of a value. Refuses to know what a variable means.
//! Pure: the environment is an argument. Runs on the main thread before registration, so it is one loop and a sort.

use std::ffi::OsString;

use super::LambdaEnv;
use super::table;

/// The prefixes of our variables; the first wins.
pub const PREFIXES: [&str; 2] = ["DD_", "DATADOG_"];
/// The longest value that a complaint or the debug print shows, in characters.
const SHOWN: usize = 80;

/// One variable of ours.
#[derive(Debug)]
pub struct Variable<'a> {
    /// The name without prefix, in upper case.
    key: String,
    /// Index of its prefix in [`PREFIXES`].
    prefix: usize,
    /// Its name as the user wrote it.
    pub name: &'a str,
    /// Its value, unless that is not UTF-8.
    pub value: Option<&'a str>,
}

/// Our variables, sorted for look-up.
#[derive(Debug)]
pub struct Environment<'a>(Vec<Variable<'a>>);

impl<'a> Environment<'a> {
    /// Splits `env` into our variables and what Lambda tells.
    pub fn read(env: &'a [(OsString, OsString)]) -> (Self, LambdaEnv) {
        let mut ours: Vec<Variable<'a>> = Vec::new();
        let mut lambda = LambdaEnv::default();
        let mut default_region = "";
        for (name, value) in env {
            let Some(name) = name.to_str() else { continue };
            let value = value.to_str();
            let text = value.unwrap_or_default().trim();
            match name {
                "AWS_LAMBDA_RUNTIME_API" => text.clone_into(&mut lambda.runtime_api),
                "AWS_REGION" => text.clone_into(&mut lambda.region),
                "AWS_DEFAULT_REGION" => default_region = text,
                "AWS_LAMBDA_FUNCTION_NAME" => text.clone_into(&mut lambda.function_name),
                "AWS_LAMBDA_FUNCTION_VERSION" => text.clone_into(&mut lambda.function_version),
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" => text.clone_into(&mut lambda.memory_size),
                "AWS_LAMBDA_INITIALIZATION_TYPE" => text.clone_into(&mut lambda.initialization_type),
                "_AWS_XRAY_DAEMON_ADDRESS" => text.clone_into(&mut lambda.xray_daemon),
                "AWS_EXECUTION_ENV" => text.clone_into(&mut lambda.execution_env),
                "LAMBDA_TASK_ROOT" => text.clone_into(&mut lambda.task_root),
                _ => {
                    if let Some((prefix, key)) = split_prefix(name) {
                        let new = Variable { key: key.to_ascii_uppercase(), prefix, name, value };
                        // Upper case sorts before lower case: of two spellings of a name the usual one comes first.
                        let before =
                            |v: &Variable<'_>| (v.prefix, v.key.as_str(), v.name) < (prefix, new.key.as_str(), name);
                        ours.insert(ours.partition_point(before), new);
                    }
                }
            }
        }
        let or = |field: &mut String, default: &str| {
            if field.is_empty() {
                default.clone_into(field);
            }
        };
        or(&mut lambda.region, default_region);
        or(&mut lambda.region, "us-east-1");
        or(&mut lambda.task_root, TASK_ROOT);
        (Self(ours), lambda)
    }

    /// The variable `PREFIXES[prefix] + key`, in any letter case.
    pub fn get(&self, prefix: usize, key: &str) -> Option<&Variable<'a>> {
        let place = self.0.partition_point(|v| (v.prefix, v.key.as_str()) < (prefix, key));
        self.0.get(place).filter(|v| v.prefix == prefix && v.key == key)
    }
}

/// Where Lambda puts the function's code.
const TASK_ROOT: &str = "/var/task";

/// Where `datadog.yaml` is: in `LAMBDA_TASK_ROOT`, else in `/var/task`.
#[must_use]
pub fn yaml_path(env: &[(OsString, OsString)]) -> String {
    let root = env.iter().find(|(name, _)| name == "LAMBDA_TASK_ROOT").and_then(|(_, value)| value.to_str());
    let root = root.map(str::trim).filter(|root| !root.is_empty()).unwrap_or(TASK_ROOT);
    format!("{}/datadog.yaml", root.trim_end_matches('/'))
}

/// Our variables as `NAME=value` for the debug log, sorted, with what may be secret hidden.
#[must_use]
pub fn debug_environment(env: &[(OsString, OsString)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, value) in env {
        let Some(name) = name.to_str() else { continue };
        let Some((_, key)) = split_prefix(name) else { continue };
        let hidden = table::is_secret(&key.to_ascii_uppercase());
        let line = format!("{name}={}", shown(name, &value.to_string_lossy(), hidden));
        lines.insert(lines.partition_point(|known| *known < line), line);
    }
    lines
}

fn split_prefix(name: &str) -> Option<(usize, &str)> {
    PREFIXES.iter().enumerate().find_map(|(i, prefix)| {
        let (head, key) = name.split_at_checked(prefix.len())?;
        (head.eq_ignore_ascii_case(prefix) && !key.is_empty()).then_some((i, key))
    })
}

/// What may be printed of a value: its beginning, or stars if it is a secret, may hold one by the name of its setting,
/// has credentials of a URL in it, or looks like a key.
pub fn shown(name: &str, value: &str, secret: bool) -> String {
    const TELLING: [&str; 7] = ["key", "secret", "token", "passw", "credential", "additional_endpoints", "kms"];
    let lower = name.to_ascii_lowercase();
    let hidden = secret || TELLING.iter().any(|word| lower.contains(word)) || value.contains('@') || has_key(value);
    if hidden && !value.trim().is_empty() {
        return "***".to_owned();
    }
    match value.char_indices().nth(SHOWN) {
        None => value.to_owned(),
        Some((end, _)) => format!("{}…", &value[..end]),
    }
}

/// Whether `value` has a run of exactly 32 hexadecimal digits, which is what a Datadog API key is: one that was put under
/// the wrong name must not show either. The id of a commit, common in tags, has 40.
fn has_key(value: &str) -> bool {
    value.split(|c: char| !c.is_ascii_hexdigit()).any(|run| run.len() == 32)
}
