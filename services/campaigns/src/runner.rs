//! What the replica does that works: looks what campaigns there are, starts and stops their senders,
//! counts the log, and keeps the counts.

use std::{
    collections::{HashMap, HashSet},
    pin::Pin,
    sync::{Arc, PoisonError},
    time::Duration,
};

use bus::{Entry, Log};
use campaign::{
    Campaigns, Command, Definition, Pause, State, Stored, events,
    progress::{Event, Mark},
};
use domain::{Millis, Seq, derive::Keying, outreach::CampaignId, settings::Channel};
use futures::{Stream, StreamExt as _};
use proto::{subjects, v1::entry::Body};
use runtime::settings::Live;
use store::Pacer;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Clock, Runner, check,
    limits::Opened,
    metrics::Metrics,
    sender::{Portfolios, Sender, WHO},
    slot::{Slot, Slots},
};

/// After an announcement: it comes before the change can be read.
const LOOKS_AFTER_NEWS: u32 = 2;
const TICK: Duration = Duration::from_secs(1);
/// Ticks after which everything is looked at, news or not.
const LOOK_EVERY: u32 = 5;
/// A snapshot whose campaign says nothing new is kept again, so that less of the log is read anew.
const STALE_ENTRIES: Seq = 20_000;
/// Senders finish what they have begun.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
const AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct Shared {
    pub(crate) config: Runner,
    pub(crate) log: Log,
    pub(crate) campaigns: Campaigns,
    pub(crate) whatsapp: whatsapp::Client,
    pub(crate) settings: Live,
    pub(crate) keying: Keying,
    pub(crate) pacer: Pacer,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
}

impl Shared {
    /// Whose messaging limit counts, as one token.
    pub(crate) fn portfolio(&self, channel: &Channel) -> String {
        if self.config.one_portfolio { "all".into() } else { subjects::token(channel.waba_id.as_str()) }
    }
}

type Tail = Pin<Box<dyn Stream<Item = Entry> + Send>>;

struct Lead<'a> {
    shared: &'a Arc<Shared>,
    session: &'a CancellationToken,
    slots: Slots,
    senders: HashMap<CampaignId, (CancellationToken, JoinHandle<()>)>,
    tasks: TaskTracker,
    /// Nothing can become of them any more.
    over: HashSet<CampaignId>,
    tail: Option<Tail>,
    /// The newest entry that was counted.
    read: Seq,
    portfolios: Portfolios,
    /// As they were kept, with the revision.
    kept: HashMap<String, (Opened, Seq)>,
}

/// Works until the session ends, or until somebody else turns out to work too.
pub(crate) async fn lead(shared: &Arc<Shared>, session: &CancellationToken) {
    let mut lead = Lead {
        shared,
        session,
        slots: Slots::default(),
        senders: HashMap::new(),
        tasks: TaskTracker::new(),
        over: HashSet::new(),
        tail: None,
        read: 0,
        portfolios: Portfolios::default(),
        kept: HashMap::new(),
    };
    if let Err(error) = lead.work().await {
        tracing::warn!(error = runtime::error_chain(&error), "begins again");
        session.run_until_cancelled(tokio::time::sleep(AGAIN_AFTER)).await;
    }
    // Another replica tells now.
    shared.metrics.running(&[]);
    for (cancelled, _) in lead.senders.values() {
        cancelled.cancel();
    }
    lead.tasks.close();
    let _ = tokio::time::timeout(LEAVE_WITHIN, lead.tasks.wait()).await;
    if let Ok(Err(error)) = tokio::time::timeout(LEAVE_WITHIN, lead.save(true)).await {
        tracing::info!(
            error = runtime::error_chain(&error),
            "the last counts were not kept: they are counted again"
        );
    }
}

impl Lead<'_> {
    async fn work(&mut self) -> Result<(), campaign::Error> {
        let mut watch = self.shared.campaigns.watch().await?;
        self.open_portfolios().await?;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut save = interval(self.shared.config.campaign_save_every.max(Duration::from_millis(100)));
        save.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut looks, mut ticks) = (0_u32, 0_u32);
        loop {
            let heard = async {
                match &mut self.tail {
                    Some(tail) => tail.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.session.cancelled() => return Ok(()),
                _ = save.tick() => self.save(false).await?,
                _ = tick.tick() => {
                    if looks > 0 || ticks % LOOK_EVERY == 0 {
                        looks = looks.saturating_sub(1);
                        self.look().await?;
                    }
                    ticks = ticks.wrapping_add(1);
                }
                () = watch.announced() => {
                    looks = LOOKS_AFTER_NEWS;
                    self.look().await?;
                }
                entry = heard => {
                    if let Some(entry) = entry
                        && self.heard(entry).await
                    {
                        self.look().await?;
                    }
                }
            }
        }
    }

    async fn open_portfolios(&mut self) -> Result<(), campaign::Error> {
        let settings = self.shared.settings.now();
        let names: HashSet<String> =
            settings.channels.iter().map(|channel| self.shared.portfolio(channel)).collect();
        for name in names {
            if let Some((opened, revision)) =
                self.shared.campaigns.note::<Opened>(&format!("limit-{name}")).await?
            {
                let mut portfolios = self.portfolios.lock().unwrap_or_else(PoisonError::into_inner);
                portfolios.insert(name.clone(), opened.clone());
                self.kept.insert(name, (opened, revision));
            }
        }
        Ok(())
    }

    /// What campaigns there are, and what they need.
    async fn look(&mut self) -> Result<(), campaign::Error> {
        let now = self.shared.clock.now();
        let ids = self.shared.campaigns.ids().await?;
        let known: HashSet<_> = ids.iter().copied().collect();
        for id in ids {
            if self.over.contains(&id) {
                continue;
            }
            match self.shared.campaigns.get(id).await {
                Ok(Some(stored)) => self.attend(stored, now).await?,
                Ok(None) => {
                    self.drop_slot(id);
                    self.over.insert(id);
                }
                // One that a newer build wrote keeps nobody else from being sent.
                Err(campaign::Error::Malformed) => {
                    tracing::error!(campaign = %id, "a campaign cannot be read");
                    self.over.insert(id);
                }
                Err(error) => return Err(error),
            }
        }
        let gone: Vec<_> = self.slot_ids().into_iter().filter(|id| !known.contains(id)).collect();
        gone.into_iter().for_each(|id| self.drop_slot(id));
        self.tell_running();
        Ok(())
    }

    fn tell_running(&self) {
        let waits = |slot: &Arc<Slot>| {
            let known = slot.known();
            let running = known.definition.state == State::Running;
            running.then(|| known.progress.summary.waiting.clone())
        };
        let waits: Vec<_> = self.all_slots().values().filter_map(waits).collect();
        self.shared.metrics.running(&waits);
    }

    async fn attend(&mut self, stored: Stored, now: Millis) -> Result<(), campaign::Error> {
        let definition = stored.definition;
        let id = definition.id;
        match &definition.state {
            State::Draft | State::Ready => {}
            State::Validating { .. } => self.validate(definition).await?,
            State::Scheduled => {
                if definition.plan.schedule.start_at.is_none_or(|start| start <= now) {
                    self.command(id, Command::Due).await?;
                }
            }
            State::Running => {
                self.open(&definition).await?;
                let ended = self.senders.get(&id).is_none_or(|(_, task)| task.is_finished());
                if ended {
                    self.start(id);
                }
            }
            State::Paused { .. } => {
                self.stop(id);
                if definition.started_at.is_some() {
                    self.open(&definition).await?;
                }
            }
            State::Finished | State::Cancelled => {
                self.stop(id);
                let counted_for = definition.plan.answered_within_seconds.saturating_mul(1_000);
                let until = definition.ended_at.unwrap_or(0).saturating_add_unsigned(counted_for);
                if definition.started_at.is_none() || until < now {
                    if let Some(slot) = self.slot(id) {
                        self.save_slot(&slot).await?;
                    }
                    self.drop_slot(id);
                    self.over.insert(id);
                } else {
                    self.open(&definition).await?;
                }
            }
        }
        Ok(())
    }

    /// Asks Meta about it, and notes what it says.
    async fn validate(&mut self, mut definition: Definition) -> Result<(), campaign::Error> {
        let id = definition.id;
        let channel = self.shared.settings.now().channel(&definition.plan.number).cloned();
        match check::problems(&self.shared.whatsapp, channel.as_ref(), &mut definition).await {
            Ok(problems) => {
                let text = definition.plan.template.text;
                let now = self.shared.clock.now();
                let noted = self.shared.campaigns.change(id, |definition| {
                    definition.plan.template.text.clone_from(&text);
                    Ok(definition.command(&Command::Validated(problems.clone()), WHO, now)?)
                });
                match noted.await {
                    Ok(_) | Err(campaign::Error::NotNow(_) | campaign::Error::Unknown) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            // Asked again a few seconds later.
            Err(error) => {
                tracing::warn!(error = runtime::error_chain(&error), "Meta was not asked about a template");
                Ok(())
            }
        }
    }

    async fn command(&mut self, id: CampaignId, command: Command) -> Result<(), campaign::Error> {
        match self.shared.campaigns.command(id, &command, WHO, self.shared.clock.now()).await {
            Ok(_) | Err(campaign::Error::NotNow(_) | campaign::Error::Unknown) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// From now on it is counted.
    async fn open(&mut self, definition: &Definition) -> Result<(), campaign::Error> {
        if let Some(slot) = self.slot(definition.id) {
            slot.known().definition.clone_from(definition);
            return Ok(());
        }
        let Some(audience) = &definition.audience else { return Ok(()) };
        let campaigns = &self.shared.campaigns;
        let (progress, revision) = match campaigns.snapshot(definition.id).await? {
            Some(found) => found,
            None => {
                // Kept before the first is asked for, so that whoever comes after us counts from here.
                let progress = campaign::beginning(audience, self.shared.log.newest().await?);
                let revision = campaigns.save(definition.id, &progress, 0).await?;
                (progress, revision)
            }
        };
        let from = progress.seq;
        let slot = Arc::new(Slot::new(definition.clone(), progress, revision));
        self.all_slots().insert(definition.id, slot);
        if self.tail.is_none() || from < self.read {
            self.read = from;
            let filters = events::SUBJECTS.map(str::to_owned).to_vec();
            self.tail = Some(Box::pin(self.shared.log.tail(filters, from + 1)));
        }
        Ok(())
    }

    fn start(&mut self, id: CampaignId) {
        let Some(slot) = self.slot(id) else { return };
        let sender = Sender {
            shared: Arc::clone(self.shared),
            slot,
            slots: Arc::clone(&self.slots),
            portfolios: Arc::clone(&self.portfolios),
        };
        let cancelled = self.session.child_token();
        let task = self.tasks.spawn(sender.run(cancelled.clone()));
        self.senders.insert(id, (cancelled, task));
    }

    fn stop(&mut self, id: CampaignId) {
        if let Some((cancelled, _)) = self.senders.remove(&id) {
            cancelled.cancel();
        }
    }

    /// Counts an entry. True: a campaign was stopped because of it.
    async fn heard(&mut self, entry: Entry) -> bool {
        let (seq, at) = (entry.seq, entry.at);
        self.read = self.read.max(seq);
        let Ok(body) = proto::decode(entry.payload) else { return false };
        let mut stops: Vec<(CampaignId, Pause)> = Vec::new();
        let mut by_campaign: HashMap<CampaignId, Vec<Event>> = HashMap::new();
        for (id, event) in events::of(&body) {
            by_campaign.entry(id).or_default().push(event);
        }
        for (id, found) in by_campaign {
            let Some(slot) = self.slot(id) else { continue };
            let mut known = slot.known();
            if !known.progress.apply(seq, at, &found) {
                continue;
            }
            known.moved();
            for event in &found {
                if matches!(event.mark, Mark::Accepted | Mark::Failed | Mark::Withheld) {
                    known.settled(event.row);
                }
            }
            drop(known);
            found.iter().for_each(|event| self.shared.metrics.counted(event.mark));
            slot.news.notify_one();
            let failed = found.iter().filter(|event| event.mark == Mark::Failed);
            if let Some(why) = failed.into_iter().find_map(|event| Pause::by_code(event.code)) {
                stops.extend(self.concerned(&slot, why).into_iter().map(|id| (id, why)));
            }
        }
        if let Body::AccountEvent(event) = &body
            && let Some((name, language)) = check::stopped_template(&event.raw)
        {
            let settings = self.shared.settings.now();
            for slot in self.all_slots().values() {
                let known = slot.known();
                let plan = &known.definition.plan;
                let same = plan.template.name == name && plan.template.language == language;
                let account = settings.channel(&plan.number).map(|channel| channel.waba_id.as_str());
                if same && account == Some(event.waba_id.as_str()) && known.progress.seq < seq {
                    stops.push((slot.id, Pause::Template));
                }
            }
        }
        for (id, why) in &stops {
            self.stop(*id);
            self.shared.metrics.stopped(*why);
            if let Err(error) = self.command(*id, Command::Stop(*why)).await {
                tracing::warn!(error = runtime::error_chain(&error), "a campaign's stop was not noted");
            }
        }
        !stops.is_empty()
    }

    /// Who else cannot be sent for that reason.
    fn concerned(&self, slot: &Arc<Slot>, why: Pause) -> Vec<CampaignId> {
        let plan = slot.known().definition.plan.clone();
        let same = |other: &Arc<Slot>| {
            let known = other.known();
            let of_number = known.definition.plan.number == plan.number;
            let of_template = known.definition.plan.template.name == plan.template.name
                && known.definition.plan.template.language == plan.template.language;
            let concerned = if why == Pause::Template { of_number && of_template } else { of_number };
            concerned && known.definition.state == State::Running
        };
        self.all_slots().values().filter(|other| same(other)).map(|other| other.id).collect()
    }

    async fn save(&mut self, all: bool) -> Result<(), campaign::Error> {
        let opened = self.portfolios.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (name, opened) in opened {
            let (before, revision) = self.kept.get(&name).cloned().unwrap_or_default();
            if before == opened {
                continue;
            }
            let saved = self.shared.campaigns.set_note(&format!("limit-{name}"), &opened, revision).await?;
            let revision = saved.ok_or(campaign::Error::Changed)?;
            self.kept.insert(name, (opened, revision));
        }
        let slots: Vec<_> = self.all_slots().values().cloned().collect();
        for slot in slots {
            let due = {
                let known = slot.known();
                all || known.dirty || self.read.saturating_sub(known.progress.seq) > STALE_ENTRIES
            };
            if due {
                self.save_slot(&slot).await?;
            }
        }
        Ok(())
    }

    async fn save_slot(&mut self, slot: &Arc<Slot>) -> Result<(), campaign::Error> {
        let (progress, revision) = {
            let mut known = slot.known();
            // What was read so far and did not concern it.
            let read = self.read;
            known.progress.skip_to(read);
            known.dirty = false;
            (known.progress.clone(), known.revision)
        };
        let saved = self.shared.campaigns.save(slot.id, &progress, revision).await;
        let mut known = slot.known();
        match saved {
            Ok(revision) => {
                known.revision = revision;
                Ok(())
            }
            Err(error) => {
                known.dirty = true;
                Err(error)
            }
        }
    }

    fn slot(&self, id: CampaignId) -> Option<Arc<Slot>> {
        self.all_slots().get(&id).cloned()
    }

    fn slot_ids(&self) -> Vec<CampaignId> {
        self.all_slots().keys().copied().collect()
    }

    fn drop_slot(&mut self, id: CampaignId) {
        self.stop(id);
        let mut slots = self.all_slots();
        slots.remove(&id);
        let empty = slots.is_empty();
        drop(slots);
        if empty {
            self.tail = None;
        }
    }

    fn all_slots(&self) -> std::sync::MutexGuard<'_, HashMap<CampaignId, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
