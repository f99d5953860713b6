//! End-to-end tests and the simulators of both APIs.

pub mod sim;
