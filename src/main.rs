//! The command line: `thimble` runs the extension, `thimble version` says what it is.
//!
//! Runs on the main thread and turns the outcome into an exit code; everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let argv0 = args.next();
    match args.next() {
        None => thimble::app::run(argv0.as_deref()),
        Some(arg) if arg == "version" || arg == "--version" => {
            println!("thimble {}", thimble::VERSION);
            ExitCode::SUCCESS
        }
        Some(arg) => {
            eprintln!("thimble: unknown command {arg:?}; use `thimble` (run the extension) or `thimble version`");
            ExitCode::from(2)
        }
    }
}
