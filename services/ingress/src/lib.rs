//! WhatsApp webhook in, log entry out
