#![doc = include_str!("../README.md")]

mod attempt;
mod batch;
mod beside;
mod chain;
mod checkpoint;
mod config;
mod entry;
mod error;
mod inspect;
mod lanes;
mod log;
mod media;
mod membership;
mod meters;
mod partition;
mod read;
mod reader;
mod records;
mod revisions;
mod streams;
mod sync;
mod wake;

pub use batch::Fact;
pub use config::Config;
pub use entry::Entry;
pub use error::{Error, Failure, Retry};
pub use inspect::{DeadLetter, StreamSize};
pub use log::{Appended, Chained, Log};
pub use media::{MediaStore, StoredObject};
pub use membership::Lease;
pub use reader::{Handler, Reader, ReaderOptions};
pub use records::{News, Records};
pub use revisions::{Follow, Replaced, Revision, Revisions};
pub use wake::{Wake, Wakes, Woken};

/// Connects, and makes sure that the streams are there and safe.
pub async fn connect(config: &Config) -> Result<Log, Error> {
    sync::require(&config.nats_monitoring).await?;
    let connection = config::connect(config).await?;
    streams::ensure(&connection.context, config).await?;
    Log::new(connection, config).await
}
