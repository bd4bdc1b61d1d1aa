//! Lambda's side of the conversation: the Extensions API, the Telemetry API's events, the tags that describe the
//! function, and the execution context that outlives a restart.

pub mod context;
pub mod event;
pub mod extension;
pub mod next;
pub mod tags;
pub mod telemetry;
mod transport;

pub use event::Event;
pub use tags::Tags;
