//! The command line of the lab: `lab demo` runs a function in a local Lambda and shows what arrived at the intake.
//! Exit codes: 0 all arrived, 1 something did not, 2 wrong use.

mod demo;
#[path = "mod.rs"]
mod lab;

use std::process::ExitCode;

const USAGE: &str = "usage: lab demo [--thimble PATH] [--builtin]
  --thimble PATH  the extension to run (default: the one built beside this program)
  --builtin       the lab's own function instead of the Python one
  --refuse        the intake refuses traces, so the demo fails";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut choice = demo::Choice { thimble: lab::thimble_binary(), builtin: false, refuse: false };
    let known = match arguments.next().as_deref() {
        Some("demo") => loop {
            match arguments.next().as_deref() {
                None => break true,
                Some("--builtin") => choice.builtin = true,
                Some("--refuse") => choice.refuse = true,
                Some("--thimble") => match arguments.next() {
                    Some(path) => choice.thimble = path.into(),
                    None => break false,
                },
                Some(_) => break false,
            }
        },
        _ => false,
    };
    if known {
        return demo::run(&choice);
    }
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
