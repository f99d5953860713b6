#![doc = include_str!("../README.md")]

mod backoff;
pub mod client;
mod error;
pub mod event;
pub mod fuzz;
pub mod identity;
pub mod sse;
mod stream;

pub use backoff::Backoff;
pub use client::{AccessToken, Client, ConfigError, Created, Ended, NewSession, Options, Sent};
pub use error::{Error, Retry};
pub use event::{Happened, Happening};
pub use sse::Frame;
pub use stream::EventStream;
