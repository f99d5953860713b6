//! Why messages of a campaign failed or were withheld, for people.

use campaign::Summary;
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
    pub(super) fn of(summary: &Summary) -> Vec<Self> {
        let mut causes: Vec<_> =
            summary.causes.iter().map(|(code, count)| Self::new(*code, *count)).collect();
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

    pub(super) fn label(&self) -> String {
        self.code.map(|code| code.to_string()).unwrap_or_default()
    }
}
