//! The shipped binary in the lab: what a function hands over arrives at the intake.

#[path = "../lab/mod.rs"]
mod lab;

mod signals;
