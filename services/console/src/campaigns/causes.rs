//! Why messages of a campaign failed or were withheld, for people.

use campaign::{Definition, Summary, Unsent};
use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub(super) struct Cause {
    /// Meta's; none where Meta has none.
    code: Option<i32>,
    pub(super) count: u32,
    pub(super) message: String,
    pub(super) what_to_do: String,
}

impl Cause {
    /// The most frequent first.
    pub(super) fn of(summary: &Summary, definition: &Definition) -> Vec<Self> {
        let mut causes: Vec<_> =
            summary.causes.iter().map(|(code, count)| Self::new(*code, *count)).collect();
        causes.extend(left(summary, definition));
        causes.sort_by_key(|cause| (std::cmp::Reverse(cause.count), cause.code));
        causes
    }

    fn new(code: i32, count: u32) -> Self {
        use campaign::progress::cause;
        let ours = match code {
            cause::OPTED_OUT => {
                Some(("They want no marketing messages.", "Nothing: they were not written to."))
            }
            cause::TOO_LATE => Some(("Their time had passed.", "Let the schedule end later.")),
            cause::UNKNOWN => Some(("WhatsApp does not say what became of it.", "Nothing.")),
            cause::FILE => Some(("The header's file could not be had.", "Upload it again.")),
            cause::ERASED => Some(("They were erased before their turn.", "Nothing.")),
            cause::OTHERS => Some(("Other causes.", "See the export.")),
            _ => None,
        };
        let (code, message, what_to_do) = match ours {
            Some((message, what_to_do)) => (None, message, what_to_do),
            None => {
                let bad_request = axum::http::StatusCode::BAD_REQUEST;
                let remedy = whatsapp::client::remedy(code, None, bad_request, false);
                let what = if remedy.operator.is_empty() { "Nothing to do." } else { remedy.operator };
                (Some(code), remedy.rep, what)
            }
        };
        Self { code, count, message: message.to_owned(), what_to_do: what_to_do.to_owned() }
    }

    fn unsent(why: Unsent, count: u32) -> Self {
        let what_to_do = match why {
            Unsent::Cancelled => "Nothing: that was somebody's wish.",
            Unsent::NoHour => {
                "Tell their time zone in a column timezone, or let the schedule leave more hours of the day."
            }
            Unsent::Ended => "Let the schedule end later.",
        };
        let message = format!("Not sent: {}.", why.as_str());
        Self { code: None, count, message, what_to_do: what_to_do.to_owned() }
    }

    pub(super) fn label(&self) -> String {
        self.code.map(|code| code.to_string()).unwrap_or_default()
    }
}

/// Recipients whom nobody will ask for any more.
pub(super) fn unsent(summary: &Summary, definition: &Definition) -> u32 {
    if definition.state.is_over() { summary.rows.saturating_sub(summary.queued) } else { 0 }
}

/// Why nobody will.
fn left(summary: &Summary, definition: &Definition) -> Vec<Cause> {
    let all = unsent(summary, definition);
    let ended = definition.ended_at.unwrap_or_default();
    let (cancelled, no_hour) = match definition.state {
        campaign::State::Cancelled => (all, 0),
        campaign::State::Draft
        | campaign::State::Validating { .. }
        | campaign::State::Ready
        | campaign::State::Scheduled
        | campaign::State::Running
        | campaign::State::Paused { .. }
        | campaign::State::Finished => (0, definition.without_hour(ended).min(all)),
    };
    let late = all - cancelled - no_hour;
    [(Unsent::Cancelled, cancelled), (Unsent::NoHour, no_hour), (Unsent::Ended, late)]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(why, count)| Cause::unsent(why, count))
        .collect()
}
