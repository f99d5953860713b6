//! WhatsApp Business Cloud API: the webhook's signature and payloads, and a client that sends.
//!
//! Wire types stay in here; beyond this crate only domain types travel. Facts about the protocol
//! are quoted from `whatsapp-cloud-api.md` (section numbers below refer to it) and from Meta's
//! pages that it names.

pub mod client;
pub mod outgoing;
pub mod signature;
pub mod webhook;

pub use client::Client;
pub use signature::Signatures;
