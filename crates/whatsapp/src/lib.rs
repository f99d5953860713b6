//! WhatsApp Business Cloud API: webhook types, signature, client
