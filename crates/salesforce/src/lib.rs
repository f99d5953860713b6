//! Salesforce Messaging for In-App and Web: REST types, identity, event stream, client
