//! What is known of a campaign while this replica works.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use campaign::{Definition, Progress};
use domain::{PhoneNumberId, Seq, outreach::CampaignId};
use tokio::{sync::Notify, time::Instant};

use crate::window::Window;

/// Messages without any outcome for so long take no room any more: they lie in the dead letters, or
/// wait for a person.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(600);
const LOST_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) id: CampaignId,
    inner: Mutex<Known>,
    /// Something was counted.
    pub(crate) news: Notify,
}

#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) definition: Definition,
    pub(crate) progress: Progress,
    /// Of the snapshot.
    pub(crate) revision: Seq,
    /// There is more than in the snapshot.
    pub(crate) dirty: bool,
    given_up: u32,
    moved: Instant,
    /// How many may be on their way.
    window: Window,
    /// One of them, and when it was asked for.
    sample: Option<(u32, Instant)>,
}

impl Slot {
    pub(crate) fn new(definition: Definition, progress: Progress, revision: Seq) -> Self {
        let known = Known {
            definition,
            progress,
            revision,
            dirty: false,
            given_up: 0,
            moved: Instant::now(),
            window: Window::new(),
            sample: None,
        };
        Self { id: known.definition.id, inner: Mutex::new(known), news: Notify::new() }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        // Counts cannot be left half written.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Something became of one of its messages.
    pub(crate) fn moved(&mut self) {
        self.moved = Instant::now();
        self.dirty = true;
    }

    /// How many may be on their way.
    pub(crate) fn window(&mut self) -> u32 {
        // One whose outcome does not come says only that something is slow.
        if let Some((_, at)) = self.sample
            && at.elapsed() > LOST_AFTER
        {
            self.window.took(at.elapsed());
            self.sample = None;
        }
        self.window.size()
    }

    /// The row is being asked for.
    pub(crate) fn asking(&mut self, row: u32) {
        self.sample.get_or_insert((row, Instant::now()));
    }

    /// Something became of the row's message.
    pub(crate) fn settled(&mut self, row: u32) {
        if let Some((sampled, at)) = self.sample
            && sampled == row
        {
            self.window.took(at.elapsed());
            self.sample = None;
        }
    }

    /// Asked for, and still on its way.
    pub(crate) fn in_flight(&mut self) -> u32 {
        let in_flight = self.progress.in_flight();
        if in_flight > self.given_up && self.moved.elapsed() > GIVEN_UP_AFTER {
            tracing::warn!(campaign = %self.definition.id, count = in_flight, "no outcome, not waited for any more");
            self.given_up = in_flight;
            self.moved = Instant::now();
        }
        in_flight.saturating_sub(self.given_up)
    }
}

/// All campaigns that are counted.
pub(crate) type Slots = Arc<Mutex<HashMap<CampaignId, Arc<Slot>>>>;

/// On their way, of all campaigns of a number.
pub(crate) fn in_flight(slots: &Slots, number: &PhoneNumberId) -> u32 {
    let slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
    let of_number = |slot: &Arc<Slot>| {
        let mut known = slot.known();
        if known.definition.plan.number == *number { known.in_flight() } else { 0 }
    };
    slots.values().map(of_number).fold(0, u32::saturating_add)
}
