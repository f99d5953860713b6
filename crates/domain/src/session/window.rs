//! The 24-hour customer service window: what may be sent, what waits, and how it gets out.

use std::time::Duration;

use super::{
    Origin, Output, Parked, ParkedMessage, Send, Undeliverable,
    decide::{Turn, millis},
};
use crate::{
    Millis, SendId, Wamid, derive,
    message::{File, Outgoing, Parameter, Template},
    settings::RescueTemplate,
};

/// From the customer's last message (`whatsapp-cloud-api.md` §11.1).
pub const CUSTOMER_SERVICE_WINDOW: Duration = Duration::from_secs(24 * 3600);
/// Meta's clock and ours may differ, and sending takes time.
pub const WINDOW_MARGIN: Duration = Duration::from_secs(60);

/// Whether a free-form message may still be sent at `now`.
pub fn window_is_open(customer_wrote_at: Millis, now: Millis) -> bool {
    now.saturating_sub(customer_wrote_at) < millis(CUSTOMER_SERVICE_WINDOW - WINDOW_MARGIN)
}

impl Turn<'_> {
    pub(super) fn send_text(&mut self, origin: Origin, text: String) {
        self.send(origin, Outgoing::Text(text), None);
    }

    /// Sends it, or keeps it where only a template may be sent. Nobody waits for what the assistant
    /// or Baton itself had to say at that time.
    pub(super) fn send(&mut self, origin: Origin, body: Outgoing, quotes: Option<Wamid>) {
        if body.is_blank() {
            return;
        }
        let open = window_is_open(self.state.customer_wrote_at, self.at.time);
        if body.needs_window() && (!open || self.state.parked.is_some()) {
            match origin {
                Origin::Rep | Origin::Bot => self.park(ParkedMessage { body, quotes, origin }),
                Origin::Assistant | Origin::Notice | Origin::Campaign => {}
            }
            return;
        }
        self.push_send(origin, body, quotes);
    }

    fn push_send(&mut self, origin: Origin, body: Outgoing, quotes: Option<Wamid>) -> SendId {
        let id = self.next_send();
        self.push(Output::Send(Send { id, body, quotes, origin, mark: None, not_after: 0 }));
        id
    }

    /// The id of a send, if that is what is asked for next.
    pub(super) fn next_send(&self) -> SendId {
        let cause = self.next_cause().to_string();
        SendId(derive::uuid("send", &[self.context.key.as_bytes(), cause.as_bytes()]))
    }

    /// Keeps what a rep wrote until the customer writes.
    fn park(&mut self, message: ParkedMessage) {
        if let Some(parked) = &mut self.state.parked {
            if parked.messages.len() >= Parked::LIMIT {
                self.note("This message is not kept: too many wait for the customer already.".into());
                return;
            }
            parked.messages.push(message);
            return;
        }
        let policy = self.context.policy;
        let expiry = self.timer(policy.parked_keep_seconds);
        let rescue = policy.rescue_template.as_ref().map(|template| {
            let template = self.filled_in(template);
            self.push_send(Origin::Notice, Outgoing::Template(template), None)
        });
        self.state.parked = Some(Parked { messages: vec![message], expiry, rescue });
        let asked = match rescue {
            Some(_) => "WhatsApp's template that asks them to write was sent",
            None => "no template to ask them is configured",
        };
        self.note(format!(
            "Not sent yet: the customer wrote more than 24 hours ago, and WhatsApp allows free messages within \
             24 hours only. Your messages are kept for {} and sent, in order, as soon as the customer writes; \
             {asked}.",
            span(policy.parked_keep_seconds)
        ));
    }

    /// The customer wrote: what was kept goes out first.
    pub(super) fn unpark(&mut self) {
        let Some(parked) = self.state.parked.take() else { return };
        let count = parked.messages.len();
        for ParkedMessage { body, quotes, origin } in parked.messages {
            self.push_send(origin, body, quotes);
        }
        self.note(format!("The customer wrote: {} sent now.", messages(count)));
    }

    /// The kept messages have waited long enough. False: this was another timer.
    pub(super) fn parked_expired(&mut self, timer: crate::Cause) -> bool {
        if self.state.parked.as_ref().is_none_or(|parked| parked.expiry != timer) {
            return false;
        }
        let count = self.state.parked.take().map_or(0, |parked| parked.messages.len());
        self.note(format!("The customer has not written: {} not sent and given up.", messages(count)));
        true
    }

    pub(super) fn undelivered(
        &mut self,
        send: SendId,
        reason: Undeliverable,
        excerpt: &str,
        lost: Option<&ParkedMessage>,
    ) {
        self.opted_out_at_meta(reason);
        if self.state.parked.as_ref().is_some_and(|parked| parked.rescue == Some(send)) {
            let why = self.why(reason);
            self.note(format!("The template that asks the customer to write was not delivered. {why}."));
            return;
        }
        if let (Undeliverable::WindowClosed, Some(lost)) = (reason, lost)
            && matches!(lost.origin, Origin::Rep | Origin::Bot)
        {
            self.park(lost.clone());
            return;
        }
        if let (
            Undeliverable::File,
            Some(ParkedMessage { body: Outgoing::Attachment(attachment), origin, .. }),
        ) = (reason, lost)
            && let File::Salesforce { url } = &attachment.file
        {
            // The link is Salesforce's own public one.
            let words = [attachment.caption.as_deref().unwrap_or_default(), &attachment.name, url];
            self.send_text(*origin, words.join("\n").trim().to_owned());
            self.note(format!(
                "WhatsApp does not take the file {}: the customer got a link to it.",
                attachment.name
            ));
            return;
        }
        let why = self.why(reason);
        self.note(format!("Not delivered: “{excerpt}”. {why}."));
    }

    fn why(&self, reason: Undeliverable) -> String {
        match reason {
            Undeliverable::WindowClosed => {
                "WhatsApp's 24-hour window is closed: the customer has to write first, or gets a template"
                    .to_owned()
            }
            Undeliverable::Refused { code } => format!("WhatsApp refused it (code {code})"),
            Undeliverable::File => "The file could not be passed on".to_owned(),
            Undeliverable::Unknown => "WhatsApp gave no answer: it may or may not have arrived".to_owned(),
        }
    }

    /// A line for the rep, where there is one.
    pub(super) fn note(&mut self, text: String) {
        let now = self.at.time;
        let Some(thread) = self.state.owner.thread_mut() else { return };
        thread.pay(now);
        let thread = thread.id;
        self.call(super::Call::Note { thread, text });
    }

    fn filled_in(&self, RescueTemplate { name, language, parameters }: &RescueTemplate) -> Template {
        let customer = self.state.customer.display_name().unwrap_or_default();
        let parameter = |text: &String| Parameter { name: None, text: text.replace("{name}", customer) };
        Template {
            name: name.clone(),
            language: language.clone(),
            body: parameters.iter().map(parameter).collect(),
            ..Template::default()
        }
    }
}

fn messages(count: usize) -> String {
    if count == 1 { "1 kept message is".into() } else { format!("{count} kept messages are") }
}

fn span(time: Duration) -> String {
    let hours = time.as_secs() / 3600;
    if hours >= 48 { format!("{} days", hours / 24) } else { format!("{hours} hours") }
}
