//! Routing attributes: what the org's flow and the rep get beside the conversation.

use std::collections::BTreeMap;

use domain::{
    ContactId, SessionId, ThreadId,
    message::Customer,
    session::Brief,
    settings::{AttributeRule, AttributeSource, Channel},
};

use crate::transcript::{clip, printable};

/// Everything an attribute may tell.
pub(crate) struct Sources<'a> {
    pub(crate) session: SessionId,
    pub(crate) thread: ThreadId,
    pub(crate) contact: ContactId,
    pub(crate) customer: &'a Customer,
    pub(crate) brief: &'a Brief,
    pub(crate) language: &'a str,
    pub(crate) channel: Option<&'a Channel>,
    pub(crate) email: Option<&'a str>,
    pub(crate) campaign: Option<&'a str>,
}

/// The attributes of a new messaging session: strings only, none empty, none longer than its
/// parameter allows.
pub(crate) fn attributes(rules: &[AttributeRule], sources: &Sources<'_>) -> BTreeMap<String, String> {
    rules
        .iter()
        .filter_map(|rule| {
            let value = clip(&printable(&sources.value(rule.source)?), rule.max_length);
            (!value.is_empty()).then(|| (rule.key.clone(), value))
        })
        .collect()
}

impl Sources<'_> {
    fn value(&self, source: AttributeSource) -> Option<String> {
        match source {
            AttributeSource::SessionId => Some(self.session.to_string()),
            // Salesforce knows the customer by a verified identity.
            AttributeSource::ConsumerType => Some("Authenticated".to_owned()),
            AttributeSource::Channel => Some("whatsapp".to_owned()),
            AttributeSource::ChannelName => self.channel.map(|channel| channel.name.clone()),
            AttributeSource::Language => Some(self.language.to_owned()),
            AttributeSource::Priority => self.brief.priority.clone(),
            AttributeSource::CustomerName => self.customer.display_name().map(str::to_owned),
            AttributeSource::Phone => self.customer.phone.as_deref().map(|phone| format!("+{phone}")),
            AttributeSource::Email => self.email.map(str::to_owned),
            AttributeSource::Reason => Some(self.brief.reason.clone()),
            AttributeSource::Summary => self.brief.summary.clone(),
            AttributeSource::Sentiment => self.brief.sentiment.clone(),
            AttributeSource::Campaign => self.campaign.map(str::to_owned),
            AttributeSource::ConversationId => Some(self.thread.to_string()),
            AttributeSource::ContactId => Some(self.contact.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::derive::uuid;

    use super::*;

    #[test]
    fn values_are_cut_to_their_parameter_and_empty_ones_left_out() {
        let customer = Customer {
            name: Some("Dana\nOkafor".into()),
            phone: Some("15550100123".into()),
            ..Customer::default()
        };
        let brief = Brief { summary: Some("x".repeat(900)), ..Brief::because("asked") };
        let sources = Sources {
            session: SessionId(uuid("s", &[])),
            thread: ThreadId(uuid("t", &[])),
            contact: ContactId(uuid("c", &[])),
            customer: &customer,
            brief: &brief,
            language: "de_DE",
            channel: None,
            email: Some("dana@example.com"),
            campaign: None,
        };
        let mut rules = AttributeRule::usual();
        rules.push(AttributeRule { key: "Short".into(), source: AttributeSource::Summary, max_length: 40 });
        let attributes = attributes(&rules, &sources);
        assert_eq!(attributes["OpencxSessionId"], sources.session.to_string());
        assert_eq!(attributes["Customer_Name"], "Dana Okafor");
        assert_eq!(attributes["Phone_Number"], "+15550100123");
        assert_eq!(attributes["Email"], "dana@example.com");
        assert_eq!((attributes["Summary"].len(), attributes["Short"].len()), (255, 40));
        assert!(!attributes.contains_key("Priority") && !attributes.contains_key("Campaign"));
    }
}
