//! Recipients whom a campaign never asks for, and why.

use domain::Millis;
use jiff::tz::TimeZone;

use crate::{
    definition::{Definition, Group, State},
    schedule,
};

/// Why somebody is not written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsent {
    /// The campaign was cancelled before their turn.
    Cancelled,
    /// No hour of the schedule suits all the time zones that they may be in.
    NoHour,
    /// The campaign ended before their turn.
    Ended,
}

impl Unsent {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "the campaign was cancelled before their turn",
            Self::NoHour => "no hour of the schedule suits all time zones that they may be in",
            Self::Ended => "the campaign ended before their turn",
        }
    }
}

impl Group {
    /// The zones as the database has them. One that it has no more is nowhere in particular.
    pub fn time_zones(&self) -> Vec<TimeZone> {
        self.zones.iter().map(|zone| schedule::zone(zone).unwrap_or(TimeZone::UTC)).collect()
    }
}

impl Definition {
    /// Why who is left of a group is not written to; none: they still wait.
    pub fn unsent(&self, group: &Group, now: Millis) -> Option<Unsent> {
        match self.state {
            State::Cancelled => Some(Unsent::Cancelled),
            State::Finished if self.suits(group, self.ended_at.unwrap_or(now)) => Some(Unsent::Ended),
            State::Finished => Some(Unsent::NoHour),
            State::Draft
            | State::Validating { .. }
            | State::Ready
            | State::Scheduled
            | State::Running
            | State::Paused { .. } => (!self.suits(group, now)).then_some(Unsent::NoHour),
        }
    }

    /// Recipients whom no hour of the schedule suits: they will not be written to.
    pub fn without_hour(&self, now: Millis) -> u32 {
        let groups = self.audience.iter().flat_map(|audience| &audience.groups);
        groups.filter(|group| !self.suits(group, now)).map(|group| group.rows).sum()
    }

    fn suits(&self, group: &Group, now: Millis) -> bool {
        let schedule = &self.plan.schedule;
        (schedule.quiet.is_none() && schedule.weekdays.is_empty())
            || schedule.allowed(&group.time_zones(), now).is_some()
    }
}
