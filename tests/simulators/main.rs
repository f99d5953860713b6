//! The simulators over HTTP: what a client of the real APIs would meet.

mod control;
mod faults;
mod help;
mod load;
mod salesforce;
mod streams;
mod webhooks;
mod whatsapp;
