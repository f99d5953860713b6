//! What the services say to one another: log entries (protobuf) and their subjects.

pub mod subjects;
