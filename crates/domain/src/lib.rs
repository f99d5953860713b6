//! Baton's words, ids and rules. No I/O, no async, no clock: whatever is decided is decided here,
//! from values to values, and tested without a runtime.

pub mod derive;
mod ids;
pub mod links;
pub mod mask;
pub mod message;
pub mod net;
pub mod outreach;
pub mod session;
pub mod settings;

pub use ids::*;
