//! The simulators over HTTP: what a client of the real APIs would meet.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a test: it may panic, its tasks end with it, and it looks at the kinds of entry that it is about"
)]

mod control;
mod faults;
mod help;
mod load;
mod pywa;
mod salesforce;
mod salesforce_files;
mod salesforce_reps;
mod salesforce_switches;
mod streams;
mod streams_trouble;
mod wa_inbound;
mod wa_limits;
mod wa_manage;
mod wa_media;
mod wa_send;
mod wa_templates;
mod wa_threads;
mod webhooks;
mod whatsapp;
