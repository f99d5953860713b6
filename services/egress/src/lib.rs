//! Follows Salesforce replies, sends them to WhatsApp
