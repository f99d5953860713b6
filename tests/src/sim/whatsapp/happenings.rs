//! What happens that is no message of a customer: to their identities, at the other responder, in
//! the Business app, to templates and to the account. Shapes are those of
//! `crates/whatsapp/testdata`.

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    WhatsApp,
    threads::Owner,
    webhooks::{
        account, app_echo, chat_of, handover, identity_changed, number_changed, other_passes, other_sends,
        preference, queue, template, user_id_changed,
    },
};

/// Something that makes a webhook. `customer` is a phone or a BSUID.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "happens", rename_all = "snake_case", deny_unknown_fields)]
pub enum Happening {
    /// A new phone number, and with it a new BSUID.
    NumberChanged {
        number: String,
        customer: String,
        phone: String,
        bsuid: Option<String>,
    },
    /// A new BSUID.
    UserIdChanged {
        number: String,
        customer: String,
        bsuid: String,
    },
    /// Another device or key; legacy.
    IdentityChanged {
        number: String,
        customer: String,
    },
    /// The phone is hidden from the business from now on, or shown again; no webhook.
    PhoneWithheld {
        customer: String,
        withheld: bool,
    },
    /// Stops or resumes marketing messages: `stop`, `resume`.
    Preference {
        number: String,
        customer: String,
        value: String,
    },
    /// The owner writes, edits or revokes in the Business app: `type` and its object.
    AppEcho {
        number: String,
        customer: String,
        message: Value,
    },
    /// The other responder sends: the body of its request (`type` and its object).
    OtherSends {
        number: String,
        customer: String,
        message: Value,
    },
    /// The other responder passes the thread to us. `again`: the customer's last message then comes
    /// once more, on `messages`.
    OtherPasses {
        number: String,
        customer: String,
        metadata: Option<String>,
        context: Option<Value>,
        #[serde(default)]
        again: bool,
    },
    /// The other responder takes the thread from us.
    OtherTakes {
        number: String,
        customer: String,
        metadata: Option<String>,
    },
    /// `status` of the template becomes this; `event` in the webhook where it is another word.
    TemplateStatus {
        waba_id: String,
        name: String,
        language: String,
        status: String,
        event: Option<String>,
        reason: Option<String>,
        /// `{title, description}` of a pause.
        other_info: Option<Value>,
    },
    TemplateQuality {
        waba_id: String,
        name: String,
        language: String,
        quality: String,
    },
    TemplateCategory {
        waba_id: String,
        name: String,
        language: String,
        category: String,
    },
    /// More throughput: `STANDARD` or `HIGH`.
    Throughput {
        number: String,
        level: String,
        messages_per_second: u32,
    },
    /// The account is restricted: sends fail with this code from now on.
    Restricted {
        number: String,
        restriction: String,
        code: i64,
        expiration: i64,
    },
    /// The restriction is over; no webhook.
    RestrictionLifted {
        number: String,
    },
}

impl WhatsApp {
    /// Lets something happen. Gives the wamid where a message comes of it.
    pub fn happen(&self, happening: Happening) -> Result<Option<String>> {
        self.record.control("whatsapp event", json!(happening));
        let mut state = self.lock();
        let state = &mut *state;
        match happening {
            Happening::NumberChanged { number, customer, phone, bsuid } => {
                number_changed(state, &number, &customer, &phone, bsuid).map(Some)
            }
            Happening::UserIdChanged { number, customer, bsuid } => {
                user_id_changed(state, &number, &customer, &bsuid).map(Some)
            }
            Happening::IdentityChanged { number, customer } => {
                identity_changed(state, &number, &customer).map(Some)
            }
            Happening::PhoneWithheld { customer, withheld } => {
                let index = state.known(&customer).context("no such customer")?;
                ensure!(
                    !withheld || state.customer(index).bsuid.is_some(),
                    "a hidden customer needs a BSUID"
                );
                state.people[index].withheld = withheld;
                Ok(None)
            }
            Happening::Preference { number, customer, value } => {
                preference(state, &number, &customer, &value)
            }
            Happening::AppEcho { number, customer, message } => {
                app_echo(state, &number, &customer, message).map(Some)
            }
            Happening::OtherSends { number, customer, message } => {
                other_sends(state, &number, &customer, message).map(Some)
            }
            Happening::OtherPasses { number, customer, metadata, context, again } => {
                other_passes(state, &number, &customer, metadata, context, again)
            }
            Happening::OtherTakes { number, customer, metadata } => {
                let index = chat_of(state, &number, &customer)?;
                let routing = state.routing(&number).context("no routing on this number")?;
                state.chat(&number, index).owner = Some(Owner::Other);
                let mut taken = json!({
                    "previous_owner_role": routing.our_role, "new_owner_role": routing.other_role,
                });
                if let Some(metadata) = metadata {
                    taken["metadata"] = metadata.into();
                }
                handover(state, &number, index, "control_taken", taken)?;
                Ok(None)
            }
            Happening::TemplateStatus { waba_id, name, language, status, event, reason, other_info } => {
                let (mut value, _old) = template(state, &waba_id, &name, &language, |template| {
                    std::mem::replace(&mut template.status, status.clone())
                })?;
                value["event"] = event.unwrap_or(status).into();
                value["reason"] = reason.map_or_else(|| "NONE".into(), Value::from);
                if let Some(info) = other_info {
                    value["other_info"] = info;
                }
                account(state, &waba_id, "message_template_status_update", value)
            }
            Happening::TemplateQuality { waba_id, name, language, quality } => {
                let (mut value, old) = template(state, &waba_id, &name, &language, |template| {
                    std::mem::replace(&mut template.quality, quality.clone())
                })?;
                value["previous_quality_score"] = old.into();
                value["new_quality_score"] = quality.into();
                value.as_object_mut().map(|value| value.remove("message_template_category"));
                account(state, &waba_id, "message_template_quality_update", value)
            }
            Happening::TemplateCategory { waba_id, name, language, category } => {
                let (mut value, old) = template(state, &waba_id, &name, &language, |template| {
                    std::mem::replace(&mut template.category, category.clone())
                })?;
                value["previous_category"] = old.into();
                value["new_category"] = category.into();
                value.as_object_mut().map(|value| value.remove("message_template_category"));
                account(state, &waba_id, "template_category_update", value)
            }
            Happening::Throughput { number, level, messages_per_second } => {
                let line = state.numbers.get_mut(&number).context("no such number")?;
                line.setup.throughput = level;
                line.setup.messages_per_second = Some(messages_per_second);
                let value = json!({
                    "display_phone_number": line.number.display_phone_number, "event": "THROUGHPUT_UPGRADE",
                    "max_daily_conversations_per_business": "TIER_UNLIMITED",
                });
                queue(state, &number, "phone_number_quality_update", value)?;
                Ok(None)
            }
            Happening::Restricted { number, restriction, code, expiration } => {
                let line = state.numbers.get_mut(&number).context("no such number")?;
                line.setup.send_error = Some(code);
                line.setup.status = "RESTRICTED".to_owned();
                let value = json!({
                    "phone_number": line.number.display_phone_number, "event": "ACCOUNT_RESTRICTION",
                    "restriction_info": [{ "restriction_type": restriction, "expiration": expiration }],
                });
                queue(state, &number, "account_update", value)?;
                Ok(None)
            }
            Happening::RestrictionLifted { number } => {
                let line = state.numbers.get_mut(&number).context("no such number")?;
                line.setup.send_error = None;
                line.setup.status = "CONNECTED".to_owned();
                Ok(None)
            }
        }
    }
}
