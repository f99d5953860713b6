//! Templates that the business sends on its own, what customers answer to them, and who wants none.
//!
//! A recipient known by phone number only is written to in the conversation of that number; what they
//! answer comes under their user id, in another one. So the machine is shown what was sent to the
//! number ([`super::Context::outreaches`]) and remembers what was answered.

use super::{
    Brief, Campaign, Origin, Output, Owner, Replied, Send, Undeliverable, Withholding, decide::Turn,
};
use crate::{
    message::{InboundMessage, Outgoing},
    outreach::{self, Destination, Outreach, Sent},
};

/// The customer wants no marketing messages, says Meta (`whatsapp-cloud-api.md` §9).
const OPTED_OUT: i32 = 131_050;

impl Turn<'_> {
    pub(super) fn outreach(&mut self, outreach: &Outreach) {
        let Outreach { number: _, customer, template, marketing, not_after, mark, .. } = outreach;
        if self.state.customer.id().is_none() {
            self.state.customer = customer.clone();
        }
        self.state.contact.get_or_insert(self.context.contact);
        let why = if *marketing && self.state.no_marketing {
            Some(Withholding::OptedOut)
        } else if *not_after != 0 && self.at.time > *not_after {
            Some(Withholding::TooLate)
        } else {
            None
        };
        if let Some(why) = why {
            self.push(Output::Withheld { mark: *mark, why });
            return;
        }
        let text = template.preview.clone().unwrap_or_else(|| template.name.clone());
        let send = self.next_send();
        let template = outreach::naming(template.clone(), send);
        self.push(Output::Send(Send {
            id: send,
            body: Outgoing::Template(template),
            quotes: None,
            origin: Origin::Campaign,
            mark: *mark,
            not_after: *not_after,
        }));
        let sent = Sent {
            send,
            at: self.at.time,
            until: self.at.time.saturating_add(outreach.answered_within),
            mark: *mark,
            name: outreach.name.clone(),
            text: text.chars().take(Sent::TEXT_LIMIT).collect(),
            reply: outreach.reply.clone(),
        };
        let sents = &mut self.state.outreaches;
        sents.push(sent);
        let over = sents.len().saturating_sub(Sent::LIMIT);
        sents.drain(..over);
    }

    /// What the customer says may answer an outreach, or be the wish for no more of them. True: that
    /// is all there is to do about it.
    pub(super) fn replied(&mut self, message: &InboundMessage) -> bool {
        let text = message.content.as_text();
        let sent = self.take_answered(message);
        let destination = match &sent {
            _ if self.is_opt_out(&text) => Some(Destination::OptOut),
            Some(sent) => Some(sent.reply.destination(&text)),
            None => None,
        };
        let opted_out = destination == Some(Destination::OptOut);
        if let Some(Sent { mark, name, text, .. }) = sent.clone() {
            self.push(Output::Replied(Replied { mark, name, text, opted_out }));
        }
        if opted_out {
            self.consent(false);
            self.note("The customer wants no more marketing messages.".into());
            if self.state.owner != Owner::Assistant {
                return false;
            }
            self.send_text(Origin::Notice, self.texts().opted_out.clone());
            return true;
        }
        if self.state.no_marketing && outreach::is_just(&text, &self.context.policy.opt_in_words) {
            self.consent(true);
        }
        let Some(Sent { name, text, .. }) = sent else { return false };
        if self.state.owner != Owner::Assistant {
            self.note(format!("This answers the campaign {name}: “{text}”"));
            return false;
        }
        if destination != Some(Destination::Rep)
            || !self.context.has_team
            || self.at.time < self.state.quiet_until
        {
            return false;
        }
        let brief = Brief::because("answered a campaign");
        self.want_a_person(Brief { campaign: Some(Campaign { name, text }), ..brief });
        true
    }

    /// To a team the channel's word for "end this chat" means just that.
    fn is_opt_out(&self, text: &str) -> bool {
        let policy = self.context.policy;
        let ends_chat = self.state.owner != Owner::Assistant && outreach::is_just(text, &policy.stop_words);
        outreach::is_just(text, &policy.opt_out_words) && !ends_chat
    }

    /// The outreach that a message answers: the one that the tapped button names, else the newest.
    /// Those before it are not answered any more.
    fn take_answered(&mut self, message: &InboundMessage) -> Option<Sent> {
        let since = self.state.outreach_answered;
        let named = outreach::named(&message.content);
        let all = self.state.outreaches.iter().chain(self.context.outreaches);
        let open = all.filter(|sent| sent.at > since || named == Some(sent.send));
        let open = open.filter(|sent| (sent.at..=sent.until).contains(&self.at.time));
        let sent = open.max_by_key(|sent| (named == Some(sent.send), sent.at)).cloned()?;
        self.state.outreach_answered = since.max(sent.at);
        Some(sent)
    }

    /// Whether the customer wants marketing messages, by their own word.
    pub(super) fn consent(&mut self, wanted: bool) {
        self.state.no_marketing = !wanted;
        self.push(Output::Consent { wanted });
    }

    /// WhatsApp knows that they want none.
    pub(super) fn opted_out_at_meta(&mut self, reason: Undeliverable) {
        if reason == (Undeliverable::Refused { code: OPTED_OUT }) {
            self.state.no_marketing = true;
        }
    }
}
