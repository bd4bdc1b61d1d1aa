//! The lab: a local Lambda and a local Datadog intake, for the integration tests (`#[path = "lab/mod.rs"] mod lab;`) and
//! for the binary `lab`, with which users run functions locally. Never shipped.
//!
//! A test runs in namespaces of its own, so it has the fixed ports and `/opt/extensions/datadog-agent` to itself:
//!
//! ```ignore
//! #[test]
//! fn a_line_arrives() {
//!     lab::isolated("a_line_arrives", || {
//!         let intake = Intake::start();
//!         let runtime = Runtime::builtin(|invocation| {
//!             invocation.print("hello");
//!             Outcome::Done(json!("done"))
//!         });
//!         let mut platform = Platform::start(Options { runtime, env: intake.env(), ..Options::default() });
//!         platform.invoke(&json!({}), Duration::from_secs(5)).unwrap();
//!         platform.shutdown("spindown");
//!         assert!(intake.received().logs.iter().any(|log| log.message() == "hello\n"));
//!     });
//! }
//! ```
#![allow(dead_code, reason = "each test uses the part it needs")]

pub mod http;
pub mod intake;
pub mod isolation;
pub mod msgpack;
pub mod platform;
pub mod proc;
pub mod runtimes;
pub mod sys;
pub mod time;

#[allow(unused_imports)]
pub use intake::{Action, Fault, Intake, Route};
#[allow(unused_imports)]
pub use isolation::{Sandbox, isolated, isolated_in, thimble_binary};
#[allow(unused_imports)]
pub use platform::{Options, Outcome, Platform, Program, Report, Runtime, Status, TelemetryMode};
