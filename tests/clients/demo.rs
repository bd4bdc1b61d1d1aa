//! `lab demo`, as `make demo` calls it: succeeds when all arrives, and fails, saying what is missing, when not.

use std::process::{Command, Output};

use crate::lab::thimble_binary;
use crate::session;

fn demo(arguments: &[&str]) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.arg("demo").arg("--thimble").arg(thimble_binary()).args(arguments);
    let output = command.output().expect("the lab starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

#[test]
fn all_of_the_python_function_arrives() {
    if session::skipped("demo::all_of_the_python_function_arrives") {
        return;
    }
    let (output, text) = demo(&[]);
    assert!(output.status.success(), "{text}");
    for part in
        ["a Python function", "COLD ·", "WARM ·", "FAILING ·", "SLOW ·", "└─ demo.prices", "all arrived, nothing"]
    {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn all_of_the_built_in_function_arrives() {
    let (output, text) = demo(&["--builtin"]);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("running the built-in function: --builtin was given"), "{text}");
    assert!(text.contains("all arrived, nothing twice"), "{text}");
}

#[test]
fn what_does_not_arrive_fails_the_demo() {
    let (output, text) = demo(&["--builtin", "--refuse"]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in ["NOT all arrived", "/api/v0.2/traces: 400", "slow: there is no span aws.lambda", "thimble said:"] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}
