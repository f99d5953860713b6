//! Between the log's words and the domain's.

mod content;
mod decision;
mod fact;
mod outgoing;
mod outreach;
mod state;

pub use content::inbound;

pub use decision::StoredDecision;
use domain::{Cause, ThreadId, message::Customer};
pub use fact::fact;

use crate::v1;

/// An entry that lacks something it must have. Names the field, never its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed log entry: {0}")]
pub struct Malformed(pub &'static str);

pub(crate) fn cause(text: &str, field: &'static str) -> Result<Cause, Malformed> {
    text.parse().map_err(|_| Malformed(field))
}

pub(crate) fn thread(text: &str) -> Result<ThreadId, Malformed> {
    text.parse().map_err(|_| Malformed("thread"))
}

impl From<&Customer> for v1::Customer {
    fn from(customer: &Customer) -> Self {
        let Customer { phone, bsuid, parent_bsuid, name, username } = customer.clone();
        Self { phone, bsuid, parent_bsuid, name, username }
    }
}

impl From<v1::Customer> for Customer {
    fn from(customer: v1::Customer) -> Self {
        let v1::Customer { phone, bsuid, parent_bsuid, name, username } = customer;
        Self { phone, bsuid, parent_bsuid, name, username }
    }
}
