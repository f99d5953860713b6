//! Follows Salesforce replies, sends them to WhatsApp.
pub mod gap;
pub mod ledger;
pub mod threads;
