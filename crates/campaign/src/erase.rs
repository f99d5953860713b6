//! Taking people out of audiences, and remembering who of them wants nothing.

use std::collections::BTreeSet;

use domain::{ConversationKey, message::Customer, outreach::as_dialled};

use crate::{
    audience::{self, Recipient},
    campaigns::{Campaigns, Error, place},
    csv::{self, Row, Rows},
};

/// Shorter ends of a number are anybody's.
const LEAST_DIGITS: usize = 7;
/// In what the runner keeps: `opt-out-<conversation>`.
const OPT_OUT: &str = "opt-out-";

/// Under what somebody may stand in a list.
struct Ids {
    /// Digits.
    phones: BTreeSet<String>,
    users: BTreeSet<String>,
}

impl Ids {
    fn of(people: &[Customer]) -> Self {
        let phones = people.iter().filter_map(|of| of.phone.as_deref()).flat_map(as_dialled).collect();
        let users = people.iter().flat_map(|of| [of.bsuid.clone(), of.parent_bsuid.clone()]);
        Self { phones, users: users.flatten().collect() }
    }

    fn are_of(&self, recipient: &Recipient) -> bool {
        recipient.phone.as_ref().is_some_and(|phone| self.phones.contains(phone))
            || recipient.bsuid.as_ref().is_some_and(|user| self.users.contains(user))
    }

    /// Whether a field, written however, may be one of them.
    fn has(&self, field: &str) -> bool {
        let digits: String = field.chars().filter(char::is_ascii_digit).collect();
        let digits = digits.trim_start_matches('0');
        self.users.contains(field.trim())
            || digits.len() >= LEAST_DIGITS && self.phones.iter().any(|phone| phone.ends_with(digits))
    }

    /// Whether it is worth a closer look.
    fn occur_in(&self, chunk: &[u8]) -> bool {
        let occurs = |id: &String| chunk.windows(id.len()).any(|window| window == id.as_bytes());
        self.phones.iter().chain(&self.users).filter(|id| !id.is_empty()).any(occurs)
    }
}

impl Campaigns {
    /// Empties the rows of these people in the audiences of all campaigns, and leaves their rejected rows
    /// out. Rows keep their places, so that counts stay right; nobody is asked for an empty one. Answers
    /// how many those were.
    pub async fn erase(&self, people: &[Customer]) -> Result<usize, Error> {
        let ids = Ids::of(people);
        let mut erased = 0;
        for stored in self.list().await? {
            let Some(audience) = &stored.definition.audience else { continue };
            let place = place(stored.definition.id, &audience.upload);
            for (group, known) in audience.groups.iter().enumerate() {
                for chunk in 0..known.chunks {
                    erased += self.empty(&audience::chunk(&place, group, chunk), &ids).await?;
                }
            }
            for chunk in 0..audience.report.rejected_chunks {
                erased += self.leave_out(&audience::rejected(&place, chunk), &ids).await?;
            }
        }
        Ok(erased)
    }

    async fn empty(&self, name: &str, ids: &Ids) -> Result<usize, Error> {
        let Some(bytes) = self.objects.read(name, audience::CHUNK_LIMIT).await? else { return Ok(0) };
        if !ids.occur_in(&bytes) {
            return Ok(0);
        }
        let mut rows = audience::parse(&bytes)?;
        let mut erased = 0;
        for recipient in rows.iter_mut().filter(|recipient| ids.are_of(recipient)) {
            *recipient = Recipient { row: recipient.row, phone: None, bsuid: None, values: Vec::new() };
            erased += 1;
        }
        if erased > 0 {
            self.objects.put(name, &mut audience::lines(&rows).as_slice()).await?;
        }
        Ok(erased)
    }

    async fn leave_out(&self, name: &str, ids: &Ids) -> Result<usize, Error> {
        let Some(bytes) = self.objects.read(name, audience::CHUNK_LIMIT * 2).await? else { return Ok(0) };
        let (mut kept, mut erased) = (String::new(), 0);
        // Memory does not break off.
        let Ok(mut rows) = Rows::ours(bytes.as_slice()).await else { return Ok(0) };
        while let Ok(Some((_, row))) = rows.next().await {
            let fields = if let Row::Fields(fields) = row { fields } else { Vec::new() };
            // Line and reason stand before what was in the file.
            if fields.is_empty() || fields.iter().skip(2).any(|field| ids.has(field)) {
                erased += 1;
            } else {
                kept.push_str(&csv::line(fields));
            }
        }
        if erased == 0 {
        } else if kept.is_empty() {
            self.objects.delete(name).await?;
        } else {
            self.objects.put(name, &mut kept.as_bytes()).await?;
        }
        Ok(erased)
    }

    /// Remembers, without a name, that nobody wants marketing in this conversation: it is a keyed digest.
    pub async fn suppress(&self, key: &ConversationKey) -> Result<(), Error> {
        // Somebody else's is as good.
        self.set_note(&format!("{OPT_OUT}{key}"), &true, 0).await.map(drop)
    }

    pub async fn is_suppressed(&self, key: &ConversationKey) -> Result<bool, Error> {
        Ok(self.note::<bool>(&format!("{OPT_OUT}{key}")).await?.is_some())
    }

    /// All conversations that are.
    pub(crate) async fn suppressed(&self) -> Result<Vec<ConversationKey>, Error> {
        let keys = self.notes().await?;
        let key = |name: &String| name.rsplit_once(OPT_OUT).and_then(|(_, key)| key.parse().ok());
        Ok(keys.iter().filter_map(key).collect())
    }
}
