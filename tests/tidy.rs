//! What the project promises about its own sources, checked by reading them: layering, threads, locks, counters,
//! dependencies, file sizes. Each rule names the place and what to do about it.

#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use source::{Source, sources, words};

/// What stands on the same line may not use each other; a module uses only what stands further down.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["app"],
    &["coordinator", "daemon"],
    &["invocation"],
    &["traces", "metrics", "logs", "appsec", "otlp"],
    &["forwarder", "lambda"],
    &["net", "codec"],
    &["config", "diag"],
    &["sys"],
];

/// The longest file, tests included. Tables are exempt.
const MAX_LINES: usize = 600;
const TABLES: &[&str] = &["src/config/table.rs"];

/// Direct dependencies of what ships, and the packages in its tree without those that only run at build time.
const MAX_DIRECT: usize = 15;
const MAX_PACKAGES: usize = 60;

/// Packages that would bring an async runtime, or a second HTTP stack built on one.
const ASYNC: &[&str] = &["tokio", "hyper", "reqwest", "futures", "smol", "mio", "h2", "tower", "polling", "pollster"];
const ASYNC_PREFIXES: &[&str] = &["tokio-", "hyper-", "async-", "futures-", "tower-"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Fails with one line for each broken rule.
fn none(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

/// Complains about each shipped line of code that has one of `names` as a word.
fn forbid(names: &[&str], allowed: impl Fn(&Source) -> bool, advice: &str) {
    let mut broken = Vec::new();
    for source in sources(root(), "src").iter().filter(|s| !allowed(s)) {
        for (number, line) in source.shipped_lines() {
            for word in words(line).filter(|w| names.contains(w)) {
                broken.push(format!("{}:{number}: `{word}`: {advice}", source.path));
            }
        }
    }
    none(broken);
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

#[test]
fn a_module_uses_only_what_stands_below_it() {
    let mut broken = Vec::new();
    for source in sources(root(), "src").iter().filter(|s| s.module() != "lib") {
        let own = source.module();
        let Some(own_layer) = layer(own) else {
            broken.push(format!("{}: the module `{own}` has no place in LAYERS of tests/tidy.rs", source.path));
            continue;
        };
        for (number, used) in source.uses() {
            let fits = used == own || layer(&used).is_some_and(|used_layer| used_layer > own_layer);
            if !fits {
                broken.push(format!("{}:{number}: `{own}` may not use `{used}`", source.path));
            }
        }
    }
    none(broken);
}

#[test]
fn every_file_says_what_it_owns_and_is_not_too_long() {
    let mut broken = Vec::new();
    for source in sources(root(), "src").iter().chain(&sources(root(), "tests")) {
        if !source.text.starts_with("//!") {
            broken.push(format!("{}: does not start with `//!`", source.path));
        }
        let lines = source.text.lines().count();
        if lines > MAX_LINES && !TABLES.contains(&source.path.as_str()) {
            broken.push(format!("{}: {lines} lines, at most {MAX_LINES}: split it by what it owns", source.path));
        }
    }
    none(broken);
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let mut broken = Vec::new();
    for source in sources(root(), "src").iter().chain(&sources(root(), "tests")) {
        for (number, line) in source.text.lines().enumerate() {
            if words(line).any(|word| marks.contains(&word)) {
                broken.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    none(broken);
}

#[test]
fn threads_share_nothing_but_channels_and_counters() {
    let names = ["Mutex", "RwLock", "Condvar", "LazyLock", "LazyCell", "OnceLock", "thread_local"];
    forbid(&names, |s| s.module() == "diag", "only diag may; send a message instead");
}

#[test]
fn threads_start_in_one_place() {
    let mut broken = Vec::new();
    for source in sources(root(), "src").iter().filter(|s| !["app", "net"].contains(&s.module())) {
        for (number, line) in source.shipped_lines() {
            if ["thread::spawn", "thread::Builder", "thread::scope"].iter().any(|call| line.contains(call)) {
                broken.push(format!("{}:{number}: threads are started in src/app.rs and src/net only", source.path));
            }
        }
    }
    none(broken);
}

#[test]
fn code_that_ships_cannot_panic_carelessly() {
    let mut broken = Vec::new();
    for source in sources(root(), "src") {
        for (number, line) in source.shipped_lines() {
            let macros = ["panic!", "todo!", "unimplemented!", "dbg!"];
            if let Some(found) = [".unwrap()"].iter().chain(&macros).find(|call| line.contains(**call)) {
                broken.push(format!("{}:{number}: `{found}` in code that ships", source.path));
            }
        }
    }
    none(broken);
}

#[test]
fn unsafe_code_is_named_in_the_architecture() {
    let lib = read("src/lib.rs");
    assert!(lib.contains("#![deny(unsafe_code)]") || lib.contains("#![forbid(unsafe_code)]"));
    let documented = |s: &Source| lib.lines().any(|l| l.starts_with("//!") && l.contains(&s.path));
    forbid(&["unsafe", "unsafe_code"], |s| s.module() == "lib" || documented(s), "name the file in src/lib.rs");
}

#[test]
fn every_counter_counts() {
    let declared = read("src/diag/counters.rs");
    let variants: Vec<&str> = declared
        .lines()
        .filter_map(|line| line.trim().split_once(" = \""))
        .map(|(name, _)| name)
        .filter(|name| name.chars().all(char::is_alphanumeric))
        .collect();
    assert!(variants.len() > 10, "the declarations in src/diag/counters.rs are not where this test looks for them");
    let mut counted = BTreeSet::new();
    for source in sources(root(), "src").iter().filter(|s| s.path != "src/diag/counters.rs") {
        for (_, line) in source.shipped_lines() {
            for part in line.split("Counter::").skip(1) {
                counted.extend(words(part).next().map(str::to_owned));
            }
        }
    }
    let idle = variants.iter().filter(|v| !counted.contains(**v));
    none(idle.map(|v| format!("src/diag/counters.rs: nothing counts `Counter::{v}`")).collect());
}

#[test]
fn names_say_what_a_thing_is() {
    let vague = ["Manager", "Helper", "Util", "Utils", "Service"];
    let mut broken = Vec::new();
    for source in sources(root(), "src") {
        for (number, line) in source.shipped_lines() {
            let mut rest = words(line).skip_while(|w| !["struct", "enum", "trait", "type"].contains(w));
            let Some(name) = rest.nth(1) else { continue };
            let given = source.path == "src/net/mod.rs" && name == "Service";
            if !given && vague.iter().any(|v| name.ends_with(v)) {
                broken.push(format!("{}:{number}: `{name}` says too little", source.path));
            }
        }
    }
    none(broken);
}

/// The lines of the section `[dependencies]`.
fn dependency_lines(manifest: &str) -> Vec<&str> {
    manifest.lines().skip_while(|l| *l != "[dependencies]").skip(1).take_while(|l| !l.starts_with('[')).collect()
}

#[test]
fn every_dependency_is_argued_and_they_are_few() {
    let manifest = read("Cargo.toml");
    let lines = dependency_lines(&manifest);
    let mut broken = Vec::new();
    let mut direct = 0;
    for (i, line) in lines.iter().enumerate() {
        let Some((name, value)) = line.split_once(" = ").filter(|(name, _)| !name.starts_with('#')) else { continue };
        if value.contains("optional = true") {
            continue; // the lab's, never shipped
        }
        direct += 1;
        if i == 0 || !lines[i - 1].starts_with("# ") {
            broken.push(format!("Cargo.toml: no comment above `{name}`: why it is there and what it costs"));
        }
    }
    if direct > MAX_DIRECT {
        broken.push(format!("Cargo.toml: {direct} direct dependencies, at most {MAX_DIRECT}"));
    }
    none(broken);
}

#[test]
fn what_ships_has_no_async_runtime_and_a_small_tree() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--prefix", "none", "--format", "{p}"])
        .args(["--edges", "normal,no-proc-macro", "--target", "x86_64-unknown-linux-musl"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("UTF-8");
    let packages: BTreeSet<&str> =
        tree.lines().filter_map(|l| l.split(" (").next()).filter(|l| !l.is_empty()).collect();
    assert!(packages.iter().any(|p| p.starts_with("ureq ")), "not the tree that was asked for: {tree}");
    let is_async = |name: &str| ASYNC.contains(&name) || ASYNC_PREFIXES.iter().any(|p| name.starts_with(p));
    let mut broken: Vec<String> = packages
        .iter()
        .filter(|p| p.split(' ').next().is_some_and(is_async))
        .map(|p| format!("{p}: what ships has no async runtime"))
        .collect();
    if packages.len() > MAX_PACKAGES {
        broken.push(format!("{} packages ship, at most {MAX_PACKAGES}: {packages:?}", packages.len()));
    }
    none(broken);
}
