//! Egress on real NATS and Valkey, against the simulators.

mod following;
mod sending;
mod world;
