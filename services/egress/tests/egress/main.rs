//! Egress on real NATS and Valkey, against the simulators.

#![cfg(test)] // helpers count as test code for the lints, too
#![expect(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

mod following;
mod interrupted;
mod refused;
mod sending;
mod world;
