//! Decides; opens Salesforce conversations and forwards the customer's messages
