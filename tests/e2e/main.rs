//! All of Baton as processes, with real NATS, real Valkey and the simulators, judged from outside.
//! Each test runs a whole stack: run them one at a time (`cargo xtask test` does).
#![expect(clippy::unwrap_used, reason = "tests")]

mod faults;
mod handoff;
mod kinds;
mod one_trace;
