//! An audience of people who wrote to us: picked by what their conversations and the directory know.

use std::io;

use bus::Entry;
use bytes::Bytes;
use domain::{ContactId, Millis, PhoneNumberId, message::Customer, session::Conversation};
use proto::StoredDecision;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::lookup::Lookup;

const DAY_MS: Millis = 24 * 3_600_000;
/// Entries, and rows, that wait for the other side.
const WAITING: usize = 256;
/// What a row has beside `phone` and `bsuid`; templates take their values from these.
pub(super) const COLUMNS: [&str; 3] = ["name", "first_name", "language"];

/// Who is meant. What is left out does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Filter {
    /// The phone number ID that they wrote to, or were written to from; left out: the campaign's own.
    pub(super) number: Option<String>,
    /// The language that they write in, as the assistant found: `de` is also `de_AT`.
    pub(super) language: Option<String>,
    /// They wrote within so many days.
    pub(super) wrote_within_days: Option<u32>,
    /// They shared an e-mail address.
    pub(super) has_email: bool,
}

impl Filter {
    /// In words, for the record.
    pub(super) fn told(&self) -> String {
        let mut parts = vec!["people".to_owned()];
        parts.extend(self.number.as_ref().map(|number| format!("of {number}")));
        parts.extend(self.language.as_ref().map(|language| format!("who write {language}")));
        parts.extend(self.wrote_within_days.map(|days| format!("who wrote within {days} days")));
        parts.extend(self.has_email.then(|| "with an e-mail address".to_owned()));
        parts.join(" ")
    }

    /// As far as the conversation knows.
    fn takes(&self, number: &PhoneNumberId, state: &Conversation, now: Millis) -> bool {
        let language = |wanted: &String| {
            let spoken = state.language.as_deref().unwrap_or_default().to_lowercase().replace('-', "_");
            let wanted = wanted.trim().to_lowercase().replace('-', "_");
            spoken == wanted || spoken.strip_prefix(&wanted).is_some_and(|rest| rest.starts_with('_'))
        };
        let wrote = |days: u32| {
            state.customer_wrote_at > 0
                && now.saturating_sub(state.customer_wrote_at) <= Millis::from(days) * DAY_MS
        };
        state.number == *number
            && state.group.is_none()
            && state.customer.id().is_some()
            && self.language.as_ref().is_none_or(language)
            && self.wrote_within_days.is_none_or(wrote)
    }
}

/// The list, as a CSV file that is written while it is read. What breaks off breaks the file.
pub(super) fn list(
    lookup: &Lookup,
    filter: Filter,
    number: PhoneNumberId,
    now: Millis,
) -> (mpsc::Receiver<io::Result<Bytes>>, impl Future<Output = ()> + Send + use<>) {
    let (rows, read) = mpsc::channel(WAITING);
    let lookup = lookup.clone();
    let work = async move {
        let (heads, entries) = mpsc::channel(WAITING);
        let reading = lookup.log().history_heads_into(heads);
        let writing = write(&lookup, &filter, &number, now, entries, &rows);
        let (whole, written) = tokio::join!(reading, writing);
        // Whoever reads must not take a part for the whole.
        let problem = match (whole, written) {
            (Err(error), _) => Some(io::Error::other(error)),
            (Ok(()), Err(error)) => Some(error),
            (Ok(()), Ok(())) => None,
        };
        if let Some(problem) = problem {
            let _ = rows.send(Err(problem)).await;
        }
    };
    (read, work)
}

async fn write(
    lookup: &Lookup,
    filter: &Filter,
    number: &PhoneNumberId,
    now: Millis,
    mut entries: mpsc::Receiver<Entry>,
    rows: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut line = campaign::csv_line(["phone", "bsuid"].into_iter().chain(COLUMNS));
    loop {
        if rows.send(Ok(Bytes::from(line))).await.is_err() {
            // Nobody reads any more: why, they tell themselves.
            return Ok(());
        }
        line = loop {
            let Some(entry) = entries.recv().await else { return Ok(()) };
            let Ok(stored) = StoredDecision::decode(entry.payload) else { continue };
            let state = stored.decision.state;
            if !filter.takes(number, &state, now) {
                continue;
            }
            if filter.has_email && !has_email(lookup, state.contact).await? {
                continue;
            }
            break row(&state);
        };
    }
}

async fn has_email(lookup: &Lookup, contact: Option<ContactId>) -> io::Result<bool> {
    let Some(contact) = contact else { return Ok(false) };
    let person = lookup.store().person(contact).await.map_err(io::Error::other)?;
    Ok(!person.emails.is_empty())
}

fn row(state: &Conversation) -> String {
    let Customer { phone, bsuid, name, .. } = &state.customer;
    let phone = phone.as_ref().map(|phone| format!("+{phone}")).unwrap_or_default();
    let name = name.as_deref().unwrap_or_default().trim();
    let first = name.split_whitespace().next().unwrap_or_default();
    let language = state.language.as_deref().unwrap_or_default();
    campaign::csv_line([&phone, bsuid.as_deref().unwrap_or_default(), name, first, language])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_whom_it_describes() {
        let number = PhoneNumberId::new("1");
        let now = 100 * DAY_MS;
        let state = Conversation {
            customer: Customer { phone: Some("34600000001".into()), ..Customer::default() },
            language: Some("de-AT".into()),
            customer_wrote_at: now - 10 * DAY_MS,
            ..Conversation::new(number.clone())
        };
        let takes = |filter: Filter| filter.takes(&number, &state, now);
        assert!(takes(Filter::default()));
        assert!(takes(Filter { language: Some("de".into()), ..Filter::default() }));
        assert!(takes(Filter { language: Some("DE_at".into()), ..Filter::default() }));
        assert!(!takes(Filter { language: Some("d".into()), ..Filter::default() }));
        assert!(takes(Filter { wrote_within_days: Some(10), ..Filter::default() }));
        assert!(!takes(Filter { wrote_within_days: Some(9), ..Filter::default() }));
        assert!(!Filter::default().takes(&PhoneNumberId::new("2"), &state, now));
        let group = Conversation { group: Some("g".into()), ..state.clone() };
        assert!(!Filter::default().takes(&number, &group, now));
        let nobody = Conversation { customer: Customer::default(), ..state.clone() };
        assert!(!Filter::default().takes(&number, &nobody, now));
    }
}
