//! What the services say to one another: log entries (protobuf, `baton/v1/log.proto`) and their
//! subjects. Entries are decoded into `domain` types at the edge; nothing else travels further.
//!
//! The generated types print their fields: never log one, they hold what people wrote.

mod bodies;
pub mod convert;
pub mod subjects;
#[expect(clippy::large_enum_variant, reason = "generated; one entry is looked at at a time")]
pub mod v1 {
    include!("gen/baton.v1.rs");
}

pub use bodies::SendRecord;
use bytes::Bytes;
pub use convert::{Malformed, StoredDecision};
use prost::Message as _;

/// An entry as it is stored.
pub fn encode(body: v1::entry::Body) -> Bytes {
    v1::Entry { body: Some(body) }.encode_to_vec().into()
}

pub fn decode(payload: Bytes) -> Result<v1::entry::Body, Malformed> {
    v1::Entry::decode(payload).map_err(|_| Malformed("entry"))?.body.ok_or(Malformed("entry.body"))
}
