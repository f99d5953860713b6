//! Campaigns: what they are, whom they go to, how far they got.
//!
//! A [`Definition`] is kept in the broker and changed by [`Command`]s; [`Campaigns`] keeps it, reads
//! uploaded recipients, and tells the [`Progress`] that the runner (services/campaigns) counts from the
//! log. What a recipient is sent, and when, is decided without any I/O ([`TemplateUse`], [`Schedule`]).

pub mod audience;
mod campaigns;
mod csv;
mod definition;
mod erase;
pub mod events;
mod export;
mod opt_outs;
mod phones;
pub mod progress;
mod report;
pub mod schedule;
mod template;
mod unsent;

pub use audience::{MAX_ROWS, Reading, Recipient};
pub use campaigns::{Campaigns, Error, Stored, Watch, beginning, end};
/// A line of a CSV file, as lists of recipients are written.
pub use csv::line as csv_line;
pub use definition::{
    Audience, Change, Command, Definition, Group, KeywordRule, MAX_NAME_CHARS, NotNow, Pause, Plan, Reply,
    State, Then,
};
pub use opt_outs::OptOuts;
pub use phones::{Country, UnknownCountry, digits, zones};
pub use progress::{Cursor, Progress, Summary};
pub use report::{Reason, Report, Unusable};
pub use schedule::{Day, Quiet, Schedule};
pub use template::{
    ButtonKind, ButtonUse, Category, HEADER_FILES, HeaderUse, Known, Media, ParameterUse, TemplateUse, Value,
    variables,
};
pub use unsent::Unsent;
