//! Asks for one campaign's messages, until it is cancelled or nobody is left.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bus::Fact;
use campaign::{Audience, Category, Command, Cursor, Definition, Pause, Recipient, progress::cause};
use domain::{
    ConversationKey, Millis,
    outreach::{Mark, Outreach},
    settings::Channel,
};
use proto::{
    subjects::{self, Kind},
    v1::entry::Body,
};
use runtime::fields;
use store::{Pace, Paced, Priority};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    check,
    limits::Opened,
    planner::{Planner, Room, Step, Waiting},
    runner::Shared,
    slot::{Slot, Slots, in_flight},
};

/// Who changes a campaign that nobody changed.
pub(crate) const WHO: &str = "campaigns";
/// Of a number's rate, in seconds: what may be on its way at once.
const IN_FLIGHT_SECONDS: u32 = 2;
/// Facts that are sent to the broker before the first is acknowledged.
const AT_ONCE: usize = 32;
/// Nothing is waited for longer without a look at everything again.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
const LIMIT_KNOWN_FOR: Duration = Duration::from_secs(3_600);
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Then recipients are read again: some may have been erased.
const CHUNK_KNOWN_FOR: Duration = Duration::from_secs(10);

/// What each portfolio has opened, by its name.
pub(crate) type Portfolios = Arc<Mutex<HashMap<String, Opened>>>;

pub(crate) struct Sender {
    pub(crate) shared: Arc<Shared>,
    pub(crate) slot: Arc<Slot>,
    pub(crate) slots: Slots,
    pub(crate) portfolios: Portfolios,
}

/// The chunk that is being asked for.
struct Chunk {
    group: usize,
    number: u32,
    rows: Vec<Recipient>,
    read: Instant,
}

/// What comes after a turn.
enum Turn {
    Go,
    /// Until then, or until something was counted.
    Wait(Duration, Waiting),
    Stop(Pause),
    Over,
}

impl Sender {
    pub(crate) async fn run(self, cancelled: CancellationToken) {
        let definition = self.slot.known().definition.clone();
        let Some(audience) = definition.audience.clone() else { return };
        let mut planner = Planner::new(&definition, self.shared.clock.now());
        let mut chunk = None;
        let mut limit = Limit { most: Some(0), asked: None };
        let work = async {
            loop {
                let turn = match self.channel(&definition) {
                    None => Turn::Stop(Pause::Number),
                    Some(channel) => {
                        limit.refresh(&self.shared, &channel).await;
                        self.turn(&definition, &audience, &channel, &mut planner, &mut chunk, limit.most)
                            .await
                    }
                };
                match turn {
                    Turn::Go => self.waiting(None),
                    Turn::Wait(wait, why) => {
                        self.waiting(Some(why));
                        let _ = timeout(wait.min(LONGEST_WAIT), self.slot.news.notified()).await;
                    }
                    Turn::Stop(why) => return Command::Stop(why),
                    Turn::Over => return Command::Finish,
                }
            }
        };
        let Some(command) = cancelled.run_until_cancelled(work).await else { return };
        self.waiting(None);
        let told = async {
            loop {
                let now = self.shared.clock.now();
                match self.shared.campaigns.command(self.slot.id, &command, WHO, now).await {
                    Ok(_) | Err(campaign::Error::NotNow(_) | campaign::Error::Unknown) => return,
                    Err(error) => {
                        tracing::warn!(
                            error = runtime::error_chain(&error),
                            "a campaign's end was not noted yet"
                        );
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        };
        cancelled.run_until_cancelled(told).await;
    }

    fn channel(&self, definition: &Definition) -> Option<Channel> {
        self.shared.settings.now().channel(&definition.plan.number).cloned()
    }

    async fn turn(
        &self,
        definition: &Definition,
        audience: &Audience,
        channel: &Channel,
        planner: &mut Planner,
        chunk: &mut Option<Chunk>,
        limit: Option<u32>,
    ) -> Turn {
        let now = self.shared.clock.now();
        let portfolio = self.shared.portfolio(channel);
        let cursors = self.slot.known().progress.cursors.clone();
        let (limit_left, limit_more_at) = {
            let portfolios = self.portfolios.lock().unwrap_or_else(PoisonError::into_inner);
            let opened = portfolios.get(&portfolio).cloned().unwrap_or_default();
            (opened.left(now, limit), opened.more_at(now))
        };
        let room = Room {
            in_flight: in_flight(&self.slots, &definition.plan.number),
            most_in_flight: channel
                .messages_per_second
                .max(1)
                .saturating_mul(IN_FLIGHT_SECONDS)
                .min(self.slot.known().window()),
            limit_left,
            limit_more_at,
        };
        match planner.next(now, &cursors, &room) {
            Step::Ask { group, most } => {
                let cursor = cursors.get(group).copied().unwrap_or_default();
                let (rows, length) = match self.rows(audience, group, cursor, most, chunk).await {
                    Ok(Some(found)) => found,
                    // Too old, or removed: nobody knows who they were.
                    Ok(None) => {
                        tracing::error!(campaign = %self.slot.id, "recipients of a campaign are gone");
                        return Turn::Stop(Pause::Operator);
                    }
                    Err(error) => {
                        tracing::warn!(error = runtime::error_chain(&error), "recipients were not read");
                        return Turn::Wait(LONGEST_WAIT, Waiting::Sending);
                    }
                };
                let (next, turn) = self.ask(definition, audience, channel, group, &rows, planner).await;
                let advanced = next.map(|asked| self.advance(group, cursor, asked, length));
                advanced.map(|()| turn).unwrap_or_else(|error| {
                    tracing::error!(
                        error = runtime::error_chain(&error),
                        "the log refuses a campaign's message"
                    );
                    Turn::Stop(Pause::Template)
                })
            }
            Step::Wait { until, why } => {
                let wait = u64::try_from(until.saturating_sub(now)).unwrap_or_default();
                Turn::Wait(Duration::from_millis(wait.max(1)), why)
            }
            Step::Done if self.slot.known().in_flight() == 0 => Turn::Over,
            Step::Done => Turn::Wait(LONGEST_WAIT, Waiting::Sending),
        }
    }

    /// The recipients behind the cursor, at most so many and of one chunk.
    async fn rows(
        &self,
        audience: &Audience,
        group: usize,
        cursor: Cursor,
        most: u32,
        chunk: &mut Option<Chunk>,
    ) -> Result<Option<(Vec<Recipient>, u32)>, campaign::Error> {
        let same = |chunk: &Chunk| {
            chunk.group == group && chunk.number == cursor.chunk && chunk.read.elapsed() < CHUNK_KNOWN_FOR
        };
        if !chunk.as_ref().is_some_and(same) {
            let read = self.shared.campaigns.recipients(self.slot.id, audience, group, cursor.chunk).await?;
            let Some(rows) = read else { return Ok(None) };
            *chunk = Some(Chunk { group, number: cursor.chunk, rows, read: Instant::now() });
        }
        let Some(Chunk { rows: all, .. }) = chunk else { return Ok(None) };
        let from = usize::try_from(cursor.row).unwrap_or(usize::MAX);
        let rows: Vec<_> = all.iter().skip(from).take(usize::try_from(most).unwrap_or(1)).cloned().collect();
        let length = u32::try_from(all.len()).unwrap_or(u32::MAX);
        Ok(Some((rows, length)).filter(|(rows, _)| !rows.is_empty()))
    }

    /// Takes turns for them in their order and appends those that got one. How many, and what is next.
    async fn ask(
        &self,
        definition: &Definition,
        audience: &Audience,
        channel: &Channel,
        group: usize,
        rows: &[Recipient],
        planner: &mut Planner,
    ) -> (Result<u32, bus::Error>, Turn) {
        let mut facts = Vec::with_capacity(rows.len());
        let mut turn = Turn::Go;
        let not_after = planner.not_after(group, self.shared.clock.now());
        let mut asked = 0_u32;
        for recipient in rows {
            if recipient.is_empty() {
                let mut known = self.slot.known();
                known.progress.leave_out(recipient.row, cause::ERASED, self.shared.clock.now());
                asked += 1;
                continue;
            }
            // Each has one: the upload sees to it.
            let who = recipient.customer().id().unwrap_or_else(|| domain::CustomerId::new(String::new()));
            let key = self.shared.keying.conversation(&definition.plan.number, &who);
            let pace = Pace {
                number: &definition.plan.number,
                per_second: channel.messages_per_second,
                pair: &key,
                priority: Priority::Campaign,
            };
            if let Paced::Wait(wait, _) = self.shared.pacer.pace(&pace).await {
                turn = Turn::Wait(wait, Waiting::Number);
                break;
            }
            asked += 1;
            facts.push(self.fact(definition, audience, recipient, (&key, who.as_str()), not_after));
        }
        let sent = u32::try_from(facts.len()).unwrap_or(u32::MAX);
        if sent == 0 {
            return (Ok(asked), turn);
        }
        // Counted before it is certain: whoever is asked for again after a crash counts again.
        let portfolio = self.shared.portfolio(channel);
        {
            let mut portfolios = self.portfolios.lock().unwrap_or_else(PoisonError::into_inner);
            portfolios.entry(portfolio).or_default().add(self.shared.clock.now(), sent);
        }
        planner.asked(sent);
        if let Some(last) = rows.iter().take(usize::try_from(asked).unwrap_or(0)).rfind(|row| !row.is_empty())
        {
            self.slot.known().asking(last.row);
        }
        self.shared.metrics.asked(sent);
        let appended = self.shared.log.append_facts(facts, AT_ONCE, |_, _| {}).await;
        (appended.map(|()| asked), turn)
    }

    fn fact(
        &self,
        definition: &Definition,
        audience: &Audience,
        recipient: &Recipient,
        (key, who): (&ConversationKey, &str),
        not_after: Millis,
    ) -> Fact {
        let plan = &definition.plan;
        let mut identity = definition.id.0.as_bytes().to_vec();
        identity.extend_from_slice(who.as_bytes());
        let outreach = Outreach {
            number: plan.number.clone(),
            customer: recipient.customer(),
            template: plan.template.filled(&audience.columns, &recipient.values),
            marketing: plan.template.category == Category::Marketing,
            not_after,
            mark: Some(Mark { campaign: definition.id, row: recipient.row }),
            name: plan.name.clone(),
            reply: (&plan.reply).into(),
            answered_within: Millis::try_from(plan.answered_within_seconds.saturating_mul(1_000))
                .unwrap_or(Millis::MAX),
        };
        Fact {
            kind: Kind::Outreach.as_str(),
            subject: subjects::fact(key, Kind::Outreach, &self.shared.keying.event(&identity)),
            payload: proto::encode(Body::Outreach((&outreach).into())),
            span: tracing::info_span!("campaign", campaign = %definition.id, { fields::CONVERSATION } = %key),
        }
    }

    fn advance(&self, group: usize, cursor: Cursor, asked: u32, chunk_rows: u32) {
        if asked == 0 {
            return;
        }
        let (row, done) = (cursor.row + asked, cursor.done + asked);
        let next = if row >= chunk_rows {
            Cursor { chunk: cursor.chunk + 1, row: 0, done }
        } else {
            Cursor { row, done, ..cursor }
        };
        let mut known = self.slot.known();
        known.progress.advance(group, next);
        known.moved();
    }

    fn waiting(&self, why: Option<Waiting>) {
        let why = why.map(|why| why.as_str().to_owned());
        let mut known = self.slot.known();
        if known.progress.summary.waiting != why {
            known.progress.summary.waiting = why;
            known.dirty = true;
        }
    }
}

/// The portfolio's, as far as it is known.
struct Limit {
    most: Option<u32>,
    asked: Option<Instant>,
}

impl Limit {
    /// Nothing is sent before it was told once; later what was told before stays.
    async fn refresh(&mut self, shared: &Shared, channel: &Channel) {
        if self.asked.is_some_and(|asked| asked.elapsed() < LIMIT_KNOWN_FOR) {
            return;
        }
        match check::limit(&shared.whatsapp, channel).await {
            Ok(most) => {
                self.most = most;
                self.asked = Some(Instant::now());
            }
            Err(error) => {
                tracing::warn!(error = runtime::error_chain(&error), "the messaging limit was not read");
                self.asked = Instant::now().checked_sub(LIMIT_KNOWN_FOR.saturating_sub(AGAIN_AFTER));
            }
        }
    }
}
