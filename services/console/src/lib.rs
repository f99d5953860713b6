//! Dashboard and JSON API over the log
