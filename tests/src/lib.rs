//! End-to-end tests and the simulators of both APIs.

pub mod check;
pub mod otlp;
pub mod sim;
