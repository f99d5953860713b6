//! What the services say to one another: log entries and subjects
