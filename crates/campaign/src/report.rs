//! What became of a list of recipients.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::audience::{MAX_GROUPS, MAX_ROWS};

/// What became of an upload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub accepted: u32,
    pub rejected: u32,
    /// How many were rejected, by reason.
    pub reasons: BTreeMap<Reason, u32>,
    /// Objects with the rejected rows, numbered from 0.
    #[serde(default)]
    pub rejected_chunks: u32,
    /// Recipients whose zone only their country tells, where that has several: they are written to
    /// when it suits all of these.
    #[serde(default)]
    pub unsure_zones: u32,
}

/// Why a row was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    NoRecipient,
    NotANumber,
    Duplicate,
    MissingParameter,
    ParameterTooLong,
    ParameterCharacters,
    UnknownTimezone,
    RowTooLong,
    NotUtf8,
    /// It has fewer or more fields than there are headings.
    FieldCount,
    /// They want no marketing messages.
    OptedOut,
}

impl Reason {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRecipient => "neither a phone number nor a user id",
            Self::NotANumber => "not a phone number",
            Self::Duplicate => "the same recipient as in an earlier row",
            Self::MissingParameter => "a parameter is empty",
            Self::ParameterTooLong => "a parameter is too long",
            Self::ParameterCharacters => {
                "a line break, a tab or more than four spaces in a row in a parameter"
            }
            Self::UnknownTimezone => "no such time zone",
            Self::RowTooLong => "longer than 64 KB or more than 256 fields",
            Self::NotUtf8 => "not in UTF-8",
            Self::FieldCount => "another number of fields than headings",
            Self::OptedOut => "they want no marketing messages",
        }
    }
}

/// Why a file was not taken at all.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("the file has no line with headings in UTF-8")]
    NoHeadings,
    #[error("the file has the heading {0} twice")]
    TwiceHeading(String),
    #[error("the file has neither a column phone nor a column bsuid")]
    NoRecipients,
    #[error("the template asks for columns that the file lacks: {}", .0.join(", "))]
    Lacks(Vec<String>),
    #[error("the file has more than {MAX_ROWS} recipients")]
    TooManyRows,
    #[error("the file names more than {MAX_GROUPS} combinations of time zones")]
    TooManyZones,
    #[error("the upload broke off")]
    Broken(#[source] std::io::Error),
    #[error("keep the recipients")]
    Store(#[from] bus::Error),
}
