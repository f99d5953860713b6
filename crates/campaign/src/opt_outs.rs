//! Who wants no marketing messages from a number, as the log knows it.

use std::collections::HashSet;

use bus::{Entry, Log};
use domain::{
    ConversationKey, CustomerId, Partition, PhoneNumberId, derive::Keying, outreach::as_dialled,
    session::Conversation,
};
use proto::StoredDecision;

use crate::campaigns::{Campaigns, Error};

/// Of a number; 16 bytes each. Whoever is beyond is not written to all the same: handoff withholds it.
const MOST: usize = 1_000_000;

/// Conversations in which somebody said so: those of user ids and of phone numbers.
#[derive(Debug)]
pub struct OptOuts {
    keying: Keying,
    number: PhoneNumberId,
    of: HashSet<ConversationKey>,
}

impl OptOuts {
    /// Reads the newest state of every conversation, of the history and of the log: at most a partition's
    /// are in memory.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub async fn read(
        log: &Log,
        campaigns: &Campaigns,
        keying: &Keying,
        number: &PhoneNumberId,
    ) -> Result<Self, Error> {
        // Of people who were erased nothing else is left. Who came back since then says so below.
        let of = campaigns.suppressed().await?.into_iter().take(MOST).collect();
        let mut found = Self { keying: keying.clone(), number: number.clone(), of };
        log.history_heads(|entry| found.take(&entry)).await?;
        for partition in Partition::all() {
            // Newer than what the history has.
            log.heads(partition).await?.iter().for_each(|entry| found.take(entry));
        }
        Ok(found)
    }

    fn take(&mut self, entry: &Entry) {
        let Some(address) = &entry.address else { return };
        let Ok(stored) = StoredDecision::decode(entry.payload.clone()) else { return };
        self.hear(address.key, &stored.decision.state);
    }

    fn hear(&mut self, key: ConversationKey, state: &Conversation) {
        if state.number != self.number || state.group.is_some() {
            return;
        }
        if !state.no_marketing {
            self.of.remove(&key);
            return;
        }
        let customer = &state.customer;
        let phones = customer.phone.iter().flat_map(|phone| as_dialled(phone));
        let ids = phones.chain(customer.bsuid.clone()).map(CustomerId::new);
        let keys = ids.map(|id| self.keying.conversation(&self.number, &id));
        for key in std::iter::once(key).chain(keys.collect::<Vec<_>>()) {
            if self.of.len() < MOST {
                self.of.insert(key);
            }
        }
    }

    /// Whether somebody said so under this phone number (digits), however it is dialled, or this user id.
    pub(crate) fn has(&self, id: &str) -> bool {
        let said =
            |id: String| self.of.contains(&self.keying.conversation(&self.number, &CustomerId::new(id)));
        !self.of.is_empty() && as_dialled(id).into_iter().any(said)
    }
}

#[cfg(test)]
mod tests {
    use domain::message::Customer;
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn the_wish_counts_for_the_number_however_it_is_dialled() {
        let keying = Keying::new(&SecretString::from("a secret of the tests, long enough"));
        let number = PhoneNumberId::new("1");
        let mut opt_outs = OptOuts { keying: keying.clone(), number: number.clone(), of: HashSet::new() };
        let state = |no_marketing| Conversation {
            customer: Customer { phone: Some("551187654321".into()), ..Customer::default() },
            no_marketing,
            ..Conversation::new(number.clone())
        };
        let key = |id: &str| keying.conversation(&number, &CustomerId::new(id));
        opt_outs.hear(key("BR.1"), &state(true));
        assert!(opt_outs.has("BR.1") && opt_outs.has("551187654321") && opt_outs.has("5511987654321"));
        assert!(!opt_outs.has("5511987654322"));
        // Of an erased person only the key is left.
        opt_outs.hear(key("15550100123"), &Conversation { customer: Customer::default(), ..state(true) });
        assert!(opt_outs.has("15550100123"));
        opt_outs.hear(key("15550100123"), &state(false));
        assert!(!opt_outs.has("15550100123"));
        let other = Conversation { number: PhoneNumberId::new("2"), ..state(true) };
        opt_outs.hear(key("15550100124"), &other);
        assert!(!opt_outs.has("15550100124"), "of another number");
    }
}
