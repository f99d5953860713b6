//! Statuses (`whatsapp-cloud-api.md` §3, §4.3): which ids they carry depends on how the message was
//! sent and on what it tells.

use serde_json::{Value, json};

use super::{
    errors::status_error,
    state::{Place, State, Update},
};
use crate::sim::record::What;

/// Phones never show less than they did.
const RANKS: [&str; 5] = ["accepted", "sent", "delivered", "read", "played"];

impl State {
    /// Moves a message's tick and queues the status. `failure`: code, and details where they are not
    /// the usual ones.
    pub(super) fn tick(&mut self, wamid: &str, status: &'static str, failure: Option<(i64, Option<&str>)>) {
        let Some(place) = self.place(wamid).cloned() else { return };
        let rank = |tick: &str| RANKS.iter().position(|known| *known == tick);
        let Some(message) = self.message(&place) else { return };
        if status == "failed" || rank(status) > rank(&message.tick) {
            message.tick = status.to_owned();
        }
        let opaque = message.opaque.clone();
        self.record.push(What::Tick {
            number: place.number.clone(),
            customer: self.customer(place.customer).key(),
            wamid: wamid.to_owned(),
            status: status.to_owned(),
            opaque: opaque.clone(),
        });
        self.happened(wamid, status);
        let mut entry = json!({
            "id": wamid, "status": status, "timestamp": (self.now_ms() / 1_000).to_string(),
        });
        if let Some(opaque) = opaque {
            entry["biz_opaque_callback_data"] = opaque.into();
        }
        let mut value = json!({ "messaging_product": "whatsapp", "metadata": self.metadata(&place.number) });
        match failure {
            Some((code, details)) => {
                entry["errors"] = json!([status_error(code, details)]);
                let contact = self.name_failed(&mut entry, &place);
                if self.config.contacts_in_failed {
                    value["contacts"] = json!([contact]);
                }
                value["statuses"] = json!([entry]);
            }
            None => self.name(&mut value, entry, &place, status),
        }
        let update = Update { field: "messages".into(), value, id: format!("{wamid}:{status}") };
        let _queued = self.enqueue(&place.number, update);
    }

    /// A failed status has the id that we sent to, and no other. Gives the contact that says the same.
    fn name_failed(&self, entry: &mut Value, place: &Place) -> Value {
        let person = self.customer(place.customer);
        let (key, id) = if self.people[place.customer].members.is_some() {
            entry["recipient_type"] = "group".into();
            ("recipient_id", &person.bsuid)
        } else if place.sent.by_phone {
            ("recipient_id", &person.phone)
        } else {
            ("recipient_user_id", &person.bsuid)
        };
        let contact_key = if key == "recipient_id" { "wa_id" } else { "user_id" };
        if let Some(id) = id {
            entry[key] = id.clone().into();
        }
        json!({ contact_key: id })
    }

    fn name(&self, value: &mut Value, mut entry: Value, place: &Place, status: &str) {
        if let Some(members) = &self.people[place.customer].members {
            entry["recipient_id"] = self.customer(place.customer).key().into();
            entry["recipient_type"] = "group".into();
            // One status per participant, all in one POST (§3).
            let statuses: Vec<Value> = members
                .iter()
                .map(|member| {
                    let (mut entry, person) = (entry.clone(), self.seen(*member));
                    put(&mut entry, "recipient_participant_id", person.phone);
                    put(&mut entry, "recipient_participant_user_id", person.bsuid);
                    entry
                })
                .collect();
            value["contacts"] = members.iter().map(|member| self.bare_contact(*member)).collect();
            value["statuses"] =
                if status == "sent" || members.is_empty() { json!([entry]) } else { statuses.into() };
            return;
        }
        let mut contact = self.bare_contact(place.customer);
        let person = self.customer(place.customer);
        // Who sent to a phone number is told it.
        if place.sent.by_phone {
            put(&mut contact, "wa_id", person.phone.clone());
        }
        if let (Some(username), "delivered" | "read") = (&person.username, status) {
            contact["profile"] = json!({ "username": username });
        }
        put(&mut entry, "recipient_id", contact["wa_id"].as_str().map(str::to_owned));
        put(&mut entry, "recipient_user_id", person.bsuid.clone());
        put(&mut entry, "recipient_parent_user_id", person.parent_bsuid.clone());
        if matches!(status, "sent" | "delivered") {
            let category = place.sent.category;
            let free = category == "service" || (category == "utility" && place.sent.in_window);
            entry["pricing"] = json!({
                "billable": !free, "pricing_model": "PMP",
                "type": if free { "free_customer_service" } else { "regular" }, "category": category,
            });
        }
        value["contacts"] = json!([contact]);
        value["statuses"] = json!([entry]);
    }

    /// Without the profile.
    pub(super) fn bare_contact(&self, customer: usize) -> Value {
        let mut contact = self.contact(customer);
        if let Some(members) = contact.as_object_mut() {
            members.remove("profile");
        }
        contact
    }
}

fn put(value: &mut Value, key: &str, id: Option<String>) {
    if let Some(id) = id {
        value[key] = id.into();
    }
}
