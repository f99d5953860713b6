//! Lists of recipients: read as they come, checked row by row, kept in chunks by time group.
//!
//! Memory does not grow with the file but for eight bytes a row, by which duplicates are found (9 to 19
//! MB at a million rows).

use std::collections::{HashMap, HashSet};

use bus::MediaStore;
use bytes::Bytes;
use domain::{message::Customer, outreach::as_dialled};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    csv::{self, Row, Rows},
    definition::Group,
    opt_outs::OptOuts,
    phones::{self, Country},
    report::{Reason, Report, Unusable},
    schedule,
    template::{TemplateUse, Unfit},
};

/// Rows that are taken at most.
pub const MAX_ROWS: u32 = 1_000_000;
/// Of a chunk, whatever is reached first.
const CHUNK_ROWS: u32 = 1_000;
const CHUNK_BYTES: usize = 512 * 1024;
/// Of all chunks in the making; the largest is written out when there is more.
const BUFFERED_BYTES: usize = 16 * 1024 * 1024;
/// Reading a chunk needs at most this: the last row may be over.
pub(crate) const CHUNK_LIMIT: u64 = (CHUNK_BYTES + 2 * csv::MAX_ROW_BYTES) as u64;
/// More time groups than this come from somebody's `timezone` column; they are refused.
pub(crate) const MAX_GROUPS: usize = 1_000;
const PHONE: &str = "phone";
const BSUID: &str = "bsuid";
const TIMEZONE: &str = "timezone";

/// A recipient, as it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Of the audience, from 0.
    pub row: u32,
    /// Digits of E.164.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bsuid: Option<String>,
    /// In the order of the audience's columns.
    pub values: Vec<String>,
}

/// Personal data: never printed.
impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recipient").field("row", &self.row).finish_non_exhaustive()
    }
}

impl Recipient {
    /// Of somebody who was erased: nobody is asked for it.
    pub fn is_empty(&self) -> bool {
        self.phone.is_none() && self.bsuid.is_none()
    }

    /// By phone number where there is one: replies are looked for in the conversation of that number.
    pub fn customer(&self) -> Customer {
        let bsuid = if self.phone.is_some() { None } else { self.bsuid.clone() };
        Customer { phone: self.phone.clone(), bsuid, ..Customer::default() }
    }
}

/// How a list is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading<'a> {
    /// Where numbers without a country's code are dialled.
    pub country: Option<Country>,
    /// Who is left out of it.
    pub opted_out: Option<&'a OptOuts>,
}

/// What was stored of an upload. Objects are there even where it failed: [`Upload::forget`].
pub(crate) struct Upload<'a> {
    store: &'a MediaStore,
    place: String,
    template: &'a TemplateUse,
    columns: Vec<String>,
    reading: Reading<'a>,
    groups: Vec<Building>,
    by_zones: HashMap<Vec<String>, usize>,
    /// Zone names as files spell them, and as the database does.
    spelt: HashMap<String, Option<String>>,
    buffered: usize,
    seen: HashSet<u64>,
    seed: u64,
    report: Report,
    rejects: String,
}

struct Building {
    group: Group,
    rows: u32,
    bytes: Vec<u8>,
}

/// Where the columns are.
struct Layout {
    headings: usize,
    phone: Option<usize>,
    bsuid: Option<usize>,
    timezone: Option<usize>,
    values: Vec<usize>,
}

pub(crate) struct Taken {
    pub(crate) columns: Vec<String>,
    pub(crate) groups: Vec<Group>,
    pub(crate) report: Report,
}

impl<'a> Upload<'a> {
    /// `place`: where the objects go, `<campaign>/<upload>`.
    pub(crate) fn new(
        store: &'a MediaStore,
        place: String,
        template: &'a TemplateUse,
        reading: Reading<'a>,
    ) -> Self {
        Self {
            store,
            place,
            columns: template.columns(),
            template,
            reading,
            groups: Vec::new(),
            by_zones: HashMap::new(),
            spelt: HashMap::new(),
            buffered: 0,
            seen: HashSet::new(),
            seed: fastrand::u64(..),
            report: Report::default(),
            rejects: String::new(),
        }
    }

    pub(crate) async fn take(&mut self, file: impl AsyncRead + Unpin + Send) -> Result<(), Unusable> {
        let mut rows = Rows::open(file).await.map_err(Unusable::Broken)?;
        let layout = match rows.next().await.map_err(Unusable::Broken)? {
            Some((_, Row::Fields(headings))) => self.layout(&headings)?,
            Some((_, Row::TooLong | Row::NotUtf8)) | None => return Err(Unusable::NoHeadings),
        };
        while let Some((line, row)) = rows.next().await.map_err(Unusable::Broken)? {
            let taken = match &row {
                Row::Fields(fields) => self.row(&layout, fields)?,
                Row::TooLong => Err((Reason::RowTooLong, String::new())),
                Row::NotUtf8 => Err((Reason::NotUtf8, String::new())),
            };
            match taken {
                Ok(full) => {
                    if let Some(group) = full {
                        self.write(group).await?;
                    }
                }
                Err((reason, what)) => {
                    let fields = if let Row::Fields(fields) = row { fields } else { Vec::new() };
                    self.reject(line, reason, &what, &fields);
                    if self.rejects.len() >= CHUNK_BYTES {
                        self.write_rejects().await?;
                    }
                }
            }
        }
        for group in 0..self.groups.len() {
            self.write(group).await?;
        }
        self.write_rejects().await
    }

    pub(crate) fn taken(self) -> Taken {
        let groups = self.groups.into_iter().map(|building| building.group).collect();
        Taken { columns: self.columns, groups, report: self.report }
    }

    /// Removes what was stored so far.
    pub(crate) async fn forget(self) {
        let place = self.place.clone();
        let store = self.store.clone();
        let taken = self.taken();
        forget(&store, &place, &taken.groups, taken.report.rejected_chunks).await;
    }

    fn layout(&mut self, headings: &[&str]) -> Result<Layout, Unusable> {
        let headings: Vec<String> = headings.iter().map(|heading| heading.trim().to_lowercase()).collect();
        for (place, heading) in headings.iter().enumerate() {
            if !heading.is_empty() && headings[..place].contains(heading) {
                return Err(Unusable::TwiceHeading(heading.clone()));
            }
        }
        let find = |name: &str| headings.iter().position(|heading| heading == name);
        let (phone, bsuid) = (find(PHONE), find(BSUID));
        if phone.is_none() && bsuid.is_none() {
            return Err(Unusable::NoRecipients);
        }
        let places = self
            .columns
            .iter()
            .map(|column| find(&column.trim().to_lowercase()).ok_or_else(|| column.clone()));
        let (values, lacking): (Vec<_>, Vec<_>) = places.partition(Result::is_ok);
        if !lacking.is_empty() {
            return Err(Unusable::Lacks(lacking.into_iter().filter_map(Result::err).collect()));
        }
        let values = values.into_iter().filter_map(Result::ok).collect();
        Ok(Layout { headings: headings.len(), phone, bsuid, timezone: find(TIMEZONE), values })
    }

    /// The group whose chunk is to be written out, if any; or why the row is not taken.
    fn row(
        &mut self,
        layout: &Layout,
        fields: &[&str],
    ) -> Result<Result<Option<usize>, (Reason, String)>, Unusable> {
        let recipient = match self.recipient(layout, fields) {
            Ok(recipient) => recipient,
            Err(reason) => return Ok(Err(reason)),
        };
        let (recipient, zones) = recipient;
        let who = match (&recipient.phone, &recipient.bsuid) {
            // However it is dialled.
            (Some(phone), _) => as_dialled(phone).into_iter().min().unwrap_or_default(),
            (None, bsuid) => format!("user {}", bsuid.as_deref().unwrap_or_default()),
        };
        if !self.seen.insert(xxh3_64_with_seed(who.as_bytes(), self.seed)) {
            return Ok(Err((Reason::Duplicate, String::new())));
        }
        let ids = recipient.phone.iter().chain(&recipient.bsuid);
        if let Some(opted_out) = self.reading.opted_out
            && ids.into_iter().any(|id| opted_out.has(id))
        {
            return Ok(Err((Reason::OptedOut, String::new())));
        }
        if self.report.accepted >= MAX_ROWS {
            return Err(Unusable::TooManyRows);
        }
        self.report.accepted += 1;
        self.report.unsure_zones += u32::from(zones.len() > 1);
        let place = match self.by_zones.get(&zones) {
            Some(place) => *place,
            None if self.groups.len() >= MAX_GROUPS => return Err(Unusable::TooManyZones),
            None => {
                let group = Group { zones: zones.clone(), rows: 0, chunks: 0 };
                self.groups.push(Building { group, rows: 0, bytes: Vec::new() });
                self.by_zones.insert(zones, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        let building = &mut self.groups[place];
        let before = building.bytes.len();
        write_line(&mut building.bytes, &recipient);
        building.rows += 1;
        building.group.rows += 1;
        self.buffered += building.bytes.len() - before;
        let full = building.rows >= CHUNK_ROWS || building.bytes.len() >= CHUNK_BYTES;
        Ok(Ok(if full {
            Some(place)
        } else if self.buffered >= BUFFERED_BYTES {
            (0..self.groups.len()).max_by_key(|place| self.groups[*place].bytes.len())
        } else {
            None
        }))
    }

    fn recipient(
        &mut self,
        layout: &Layout,
        fields: &[&str],
    ) -> Result<(Recipient, Vec<String>), (Reason, String)> {
        if fields.len() != layout.headings {
            return Err((Reason::FieldCount, String::new()));
        }
        let field =
            |place: Option<usize>| place.map(|place| fields[place].trim()).filter(|text| !text.is_empty());
        let (phone, bsuid) = (field(layout.phone), field(layout.bsuid));
        let phone = match phone {
            Some(text) => {
                Some(phones::digits(text, self.reading.country).ok_or((Reason::NotANumber, String::new()))?)
            }
            None if bsuid.is_none() => return Err((Reason::NoRecipient, String::new())),
            None => None,
        };
        let values: Vec<String> =
            layout.values.iter().map(|place| fields[*place].trim().to_owned()).collect();
        self.template.fits(&self.columns, &values).map_err(|unfit| {
            let reason = match &unfit {
                Unfit::Missing(_) => Reason::MissingParameter,
                Unfit::TooLong(_) => Reason::ParameterTooLong,
                Unfit::Characters(_) => Reason::ParameterCharacters,
            };
            (reason, unfit.to_string())
        })?;
        let zones = match (field(layout.timezone), &phone) {
            (Some(name), _) => {
                vec![self.zone(name).ok_or((Reason::UnknownTimezone, String::new()))?]
            }
            (None, Some(phone)) => zones_of(phone),
            // Nothing tells where they are.
            (None, None) => vec!["Etc/UTC".to_owned()],
        };
        let bsuid = bsuid.map(str::to_owned);
        Ok((Recipient { row: self.report.accepted, phone, bsuid, values }, zones))
    }

    fn zone(&mut self, name: &str) -> Option<String> {
        if let Some(known) = self.spelt.get(name) {
            return known.clone();
        }
        let spelt = schedule::zone_name(name);
        if self.spelt.len() < 2 * MAX_GROUPS {
            self.spelt.insert(name.to_owned(), spelt.clone());
        }
        spelt
    }

    fn reject(&mut self, line: u64, reason: Reason, what: &str, fields: &[&str]) {
        self.report.rejected = self.report.rejected.saturating_add(1);
        *self.report.reasons.entry(reason).or_default() += 1;
        let line = line.to_string();
        let why = if what.is_empty() { reason.as_str() } else { what };
        self.rejects.push_str(&csv::line([line.as_str(), why].into_iter().chain(fields.iter().copied())));
    }

    async fn write(&mut self, group: usize) -> Result<(), bus::Error> {
        let building = &mut self.groups[group];
        if building.rows == 0 {
            return Ok(());
        }
        let bytes = std::mem::take(&mut building.bytes);
        building.rows = 0;
        self.buffered -= bytes.len();
        self.store.put(&chunk(&self.place, group, building.group.chunks), &mut bytes.as_slice()).await?;
        building.group.chunks += 1;
        Ok(())
    }

    async fn write_rejects(&mut self) -> Result<(), Unusable> {
        if !self.rejects.is_empty() {
            let bytes = std::mem::take(&mut self.rejects);
            self.store
                .put(&rejected(&self.place, self.report.rejected_chunks), &mut bytes.as_bytes())
                .await?;
            self.report.rejected_chunks += 1;
        }
        Ok(())
    }
}

fn zones_of(phone: &str) -> Vec<String> {
    let known = phones::zones(phone).map(|zones| zones.iter().map(|zone| (*zone).to_owned()).collect());
    // In no country: satellite phones and the like.
    known.unwrap_or_else(|| vec!["Etc/UTC".to_owned()])
}

pub(crate) fn chunk(place: &str, group: usize, chunk: u32) -> String {
    format!("{place}/g{group}/{chunk}")
}

pub(crate) fn rejected(place: &str, chunk: u32) -> String {
    format!("{place}/rejected/{chunk}")
}

/// The recipients of a chunk; none where it is gone.
///
/// # Errors
/// When the broker cannot be reached, or the chunk is not what was stored.
pub(crate) async fn recipients(
    store: &MediaStore,
    place: &str,
    group: usize,
    number: u32,
) -> Result<Option<Vec<Recipient>>, bus::Error> {
    let Some(bytes) = store.read(&chunk(place, group, number), CHUNK_LIMIT).await? else { return Ok(None) };
    parse(&bytes).map(Some)
}

pub(crate) fn parse(chunk: &[u8]) -> Result<Vec<Recipient>, bus::Error> {
    let lines = chunk.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let rows = lines.map(serde_json::from_slice).collect::<Result<_, _>>();
    rows.map_err(|_| bus::Error::Config("a chunk of an audience cannot be read".into()))
}

/// As a chunk keeps them.
pub(crate) fn lines(rows: &[Recipient]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for recipient in rows {
        write_line(&mut bytes, recipient);
    }
    bytes
}

fn write_line(bytes: &mut Vec<u8>, recipient: &Recipient) {
    // Texts and numbers are always JSON.
    if serde_json::to_writer(&mut *bytes, recipient).is_ok() {
        bytes.push(b'\n');
    }
}

/// The rejected rows of a chunk, as lines of a CSV file.
pub(crate) async fn rejects(
    store: &MediaStore,
    place: &str,
    number: u32,
) -> Result<Option<Bytes>, bus::Error> {
    Ok(store.read(&rejected(place, number), CHUNK_LIMIT * 2).await?.map(Bytes::from))
}

/// Removes an audience. What cannot be removed now goes when it is too old.
pub(crate) async fn forget(store: &MediaStore, place: &str, groups: &[Group], rejected_chunks: u32) {
    let chunks = groups
        .iter()
        .enumerate()
        .flat_map(|(group, known)| (0..known.chunks).map(move |number| chunk(place, group, number)));
    let rejects = (0..rejected_chunks).map(|number| rejected(place, number));
    for name in chunks.chain(rejects) {
        if let Err(error) = store.delete(&name).await {
            tracing::warn!(error = %error, "an old audience was not removed");
            return;
        }
    }
}
