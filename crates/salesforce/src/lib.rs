#![doc = include_str!("../README.md")]

mod attachments;
mod backoff;
pub mod client;
mod error;
pub mod event;
pub mod fuzz;
pub mod identity;
pub mod sse;
mod stream;

pub use attachments::{Attachments, Cause, FetchError};
pub use backoff::Backoff;
pub use client::{
    AccessToken, AttachmentLimits, Client, ConfigError, Created, Ended, FileUpload, NewSession, Options,
    Receipt, Sent, UploadPlan, plan_upload,
};
pub use error::{Error, Retry};
pub use event::{Happened, Happening};
pub use sse::Frame;
pub use stream::EventStream;
