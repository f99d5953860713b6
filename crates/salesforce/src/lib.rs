#![doc = include_str!("../README.md")]

mod attachments;
mod backoff;
mod check;
pub mod client;
mod error;
pub mod event;
pub mod fuzz;
pub mod identity;
pub mod keys;
pub mod sse;
mod stream;

pub use attachments::{Attachments, Cause, Download, FetchError};
pub use backoff::Backoff;
pub use check::{Fields, check, check_fields};
pub use client::{
    AccessToken, AttachmentLimits, Client, ConfigError, Created, Ended, FileUpload, NewSession, Options,
    Receipt, Sent, UploadPlan, plan_upload,
};
pub use error::{Error, Retry};
pub use event::{Happened, Happening};
pub use sse::Frame;
pub use stream::EventStream;
