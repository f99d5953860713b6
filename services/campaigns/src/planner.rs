//! Whom to ask for next. Pure: the time, the budgets and how far it got are given.

use campaign::{Cursor, Definition, Schedule};
use domain::Millis;
use jiff::tz::TimeZone;

/// A group that may be written to is looked at again after so long.
const LOOK_AGAIN_MS: Millis = 30_000;
/// Turns that are taken before any of them is appended.
const MOST_AT_ONCE: u32 = 32;

/// What is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The next recipients of this group, at most so many.
    Ask { group: usize, most: u32 },
    /// Nothing before then.
    Wait { until: Millis, why: Waiting },
    /// Everybody was asked for who ever will be.
    Done,
}

/// For the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// It is night, or the wrong day, wherever somebody is left.
    Hours,
    Pace,
    /// Of the portfolio, in 24 hours.
    Limit,
    /// What was asked for is not sent yet.
    Sending,
    /// Live traffic has the number.
    Number,
}

impl Waiting {
    pub(crate) const ALL: [Self; 5] = [Self::Hours, Self::Pace, Self::Limit, Self::Sending, Self::Number];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Hours => "quiet hours",
            Self::Pace => "pace",
            Self::Limit => "messaging limit",
            Self::Sending => "sending",
            Self::Number => "number busy",
        }
    }
}

/// What there is room for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// On the number: asked for and without an outcome, of all its campaigns.
    pub(crate) in_flight: u32,
    pub(crate) most_in_flight: u32,
    /// Recipients that the portfolio may still be opened to, and when there are more.
    pub(crate) limit_left: u32,
    pub(crate) limit_more_at: Millis,
}

#[derive(Debug)]
struct Group {
    zones: Vec<TimeZone>,
    rows: u32,
    /// When it was looked at, and the first allowed moment then.
    looked: Option<(Millis, Option<Millis>)>,
}

#[derive(Debug)]
pub(crate) struct Planner {
    schedule: Schedule,
    groups: Vec<Group>,
    current: usize,
    pace: Option<Pace>,
}

/// Evenly over the minute, with bursts of a second.
#[derive(Debug)]
struct Pace {
    per_minute: f64,
    tokens: f64,
    at: Millis,
}

impl Pace {
    fn burst(&self) -> f64 {
        (self.per_minute / 60.0).max(1.0)
    }

    fn refill(&mut self, now: Millis) {
        let passed = now.saturating_sub(self.at).max(0);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since the last look")]
        let tokens = passed as f64 * self.per_minute / 60_000.0;
        self.tokens = (self.tokens + tokens).min(self.burst());
        self.at = now;
    }

    fn whole(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let whole = self.tokens.clamp(0.0, 1_000.0) as u32;
        whole
    }

    fn next_at(&self) -> Millis {
        #[expect(clippy::cast_possible_truncation, reason = "at most a minute")]
        let wait = ((1.0 - self.tokens) * 60_000.0 / self.per_minute).ceil().clamp(1.0, 60_000.0) as Millis;
        self.at + wait
    }
}

impl Planner {
    pub(crate) fn new(definition: &Definition, now: Millis) -> Self {
        let groups = definition.audience.iter().flat_map(|audience| &audience.groups).map(|group| Group {
            zones: group.time_zones(),
            rows: group.rows,
            looked: None,
        });
        let pace = definition.plan.per_minute.map(|per_minute| Pace {
            per_minute: f64::from(per_minute.max(1)),
            tokens: 1.0,
            at: now,
        });
        Self { schedule: definition.plan.schedule.clone(), groups: groups.collect(), current: 0, pace }
    }

    pub(crate) fn next(&mut self, now: Millis, cursors: &[Cursor], room: &Room) -> Step {
        if self.schedule.ends_at.is_some_and(|end| end <= now) {
            return Step::Done;
        }
        // The one that it is at first: its recipients are at hand.
        let count = self.groups.len();
        let mut soonest: Option<Millis> = None;
        let mut found = None;
        for place in (0..count).map(|step| (self.current + step) % count) {
            let group = &mut self.groups[place];
            let left = group.rows.saturating_sub(cursors.get(place).map_or(0, |cursor| cursor.done));
            if left == 0 {
                continue;
            }
            let at = match group.looked {
                Some((looked, Some(at))) if now >= looked && (at > now || now - looked < LOOK_AGAIN_MS) => {
                    Some(at)
                }
                Some((looked, None)) if now >= looked && now - looked < 60 * LOOK_AGAIN_MS => None,
                Some(_) | None => {
                    let at = self.schedule.allowed(&group.zones, now);
                    group.looked = Some((now, at));
                    at
                }
            };
            match at {
                Some(at) if at <= now => {
                    found = Some((place, left));
                    break;
                }
                Some(at) => soonest = Some(soonest.map_or(at, |soonest| soonest.min(at))),
                // No moment suits all the zones that it may be in: nobody can say when.
                None => {}
            }
        }
        let Some((group, left)) = found else {
            return match soonest {
                Some(until) => Step::Wait { until, why: Waiting::Hours },
                None => Step::Done,
            };
        };
        self.current = group;
        if room.limit_left == 0 {
            return Step::Wait { until: room.limit_more_at.max(now + 1), why: Waiting::Limit };
        }
        let free = room.most_in_flight.saturating_sub(room.in_flight);
        if free == 0 {
            return Step::Wait { until: now + 1_000, why: Waiting::Sending };
        }
        let mut most = left.min(room.limit_left).min(free).min(MOST_AT_ONCE);
        if let Some(pace) = &mut self.pace {
            pace.refill(now);
            if pace.whole() == 0 {
                return Step::Wait { until: pace.next_at(), why: Waiting::Pace };
            }
            most = most.min(pace.whole());
        }
        Step::Ask { group, most }
    }

    /// The last moment at which who is asked for now may be sent to; 0: whenever.
    pub(crate) fn not_after(&self, group: usize, now: Millis) -> Millis {
        let zones = self.groups.get(group).map_or(&[][..], |group| &group.zones);
        let evening = self.schedule.allowed_until(zones, now).map(|evening| evening - 1);
        let last = [self.schedule.ends_at, evening].into_iter().flatten().min();
        last.unwrap_or_default()
    }

    /// So many were asked for.
    pub(crate) fn asked(&mut self, count: u32) {
        if let Some(pace) = &mut self.pace {
            pace.tokens -= f64::from(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use campaign::{Quiet, TemplateUse};
    use domain::PhoneNumberId;

    use super::*;

    const NOON: Millis = 1_780_315_200_000; // 2026-06-01T12:00:00Z

    fn definition(zones: &[(&str, u32)], schedule: Schedule, per_minute: Option<u32>) -> Definition {
        let template = TemplateUse {
            name: "t".into(),
            language: "en".into(),
            category: campaign::Category::Utility,
            header: None,
            body: vec![],
            buttons: vec![],
            text: String::new(),
        };
        let plan = campaign::Plan {
            name: "n".into(),
            number: PhoneNumberId::new("1"),
            template,
            schedule,
            per_minute,
            reply: campaign::Reply::Rep,
            answered_within_seconds: 60,
        };
        let id = "0b8f3c1e-2d4a-4f6b-8c7d-9e0f1a2b3c4d".parse().unwrap();
        let groups = zones.iter().map(|(zone, rows)| campaign::Group {
            zones: vec![(*zone).to_owned()],
            rows: *rows,
            chunks: 1,
        });
        let audience = campaign::Audience {
            upload: "u".into(),
            columns: vec![],
            rows: zones.iter().map(|(_, rows)| rows).sum(),
            groups: groups.collect(),
            report: campaign::Report::default(),
        };
        Definition { audience: Some(audience), ..Definition::new(id, plan, "t", 0) }
    }

    fn wide() -> Room {
        Room { in_flight: 0, most_in_flight: 1_000, limit_left: 1_000, limit_more_at: 0 }
    }

    fn done(counts: &[u32]) -> Vec<Cursor> {
        counts.iter().map(|done| Cursor { done: *done, ..Cursor::default() }).collect()
    }

    fn night() -> Schedule {
        let quiet = Quiet { from: "21:00".parse().unwrap(), to: "08:00".parse().unwrap() };
        Schedule { quiet: Some(quiet), ..Schedule::default() }
    }

    #[test]
    fn those_whose_day_it_is_come_first_and_nobody_is_left() {
        let definition = definition(&[("Asia/Tokyo", 10), ("Europe/Berlin", 40)], night(), None);
        let mut planner = Planner::new(&definition, NOON);
        // 21:00 in Tokyo, 14:00 in Berlin.
        assert_eq!(planner.next(NOON, &done(&[0, 0]), &wide()), Step::Ask { group: 1, most: 32 });
        assert_eq!(planner.next(NOON, &done(&[0, 32]), &wide()), Step::Ask { group: 1, most: 8 });
        let morning = NOON + 11 * 3_600_000;
        let wait = Step::Wait { until: morning, why: Waiting::Hours };
        assert_eq!(planner.next(NOON, &done(&[0, 40]), &wide()), wait);
        assert_eq!(planner.next(morning, &done(&[0, 40]), &wide()), Step::Ask { group: 0, most: 10 });
        assert_eq!(planner.next(morning, &done(&[10, 40]), &wide()), Step::Done);
    }

    #[test]
    fn nothing_is_sent_when_the_evening_has_come() {
        let zones = [("Asia/Tokyo", 10), ("Europe/Berlin", 40)];
        let planner = Planner::new(&definition(&zones, night(), None), NOON);
        assert_eq!(planner.not_after(1, NOON), NOON + 7 * 3_600_000 - 1);
        let ends_at = Some(NOON + 3_600_000);
        let planner = Planner::new(&definition(&zones, Schedule { ends_at, ..night() }, None), NOON);
        assert_eq!(planner.not_after(1, NOON), NOON + 3_600_000);
        let planner = Planner::new(&definition(&zones, Schedule::default(), None), NOON);
        assert_eq!(planner.not_after(1, NOON), 0);
    }

    #[test]
    fn the_evening_comes_while_it_sends() {
        let definition = definition(&[("Europe/Berlin", 1_000)], night(), None);
        let mut planner = Planner::new(&definition, NOON);
        let evening = NOON + 7 * 3_600_000;
        let mut now = NOON;
        while now < evening {
            assert!(matches!(planner.next(now, &done(&[0]), &wide()), Step::Ask { .. }), "{now}");
            now += 7_000;
        }
        let stops = (now..).step_by(1_000).find(|now| {
            matches!(planner.next(*now, &done(&[0]), &wide()), Step::Wait { why: Waiting::Hours, .. })
        });
        assert!(stops.unwrap() - evening <= LOOK_AGAIN_MS + 7_000);
    }

    #[test]
    fn rooms_and_ends() {
        let definition =
            definition(&[("Europe/Berlin", 100)], Schedule { ends_at: Some(NOON + 10), ..night() }, None);
        let mut planner = Planner::new(&definition, NOON);
        let mut next = |room: Room| planner.next(NOON, &done(&[0]), &room);
        assert_eq!(next(Room { limit_left: 3, ..wide() }), Step::Ask { group: 0, most: 3 });
        assert_eq!(next(Room { in_flight: 995, ..wide() }), Step::Ask { group: 0, most: 5 });
        let limit = Step::Wait { until: NOON + 99, why: Waiting::Limit };
        assert_eq!(next(Room { limit_left: 0, limit_more_at: NOON + 99, ..wide() }), limit);
        let sending = Step::Wait { until: NOON + 1_000, why: Waiting::Sending };
        assert_eq!(next(Room { in_flight: 1_000, ..wide() }), sending);
        assert_eq!(planner.next(NOON + 10, &done(&[0]), &wide()), Step::Done);
    }

    #[test]
    fn the_campaigns_own_pace_is_kept() {
        let definition = definition(&[("Etc/UTC", 10_000)], Schedule::default(), Some(300));
        let mut planner = Planner::new(&definition, NOON);
        let (mut asked, mut now) = (0, NOON);
        while now < NOON + 120_000 {
            match planner.next(now, &done(&[asked]), &wide()) {
                Step::Ask { most, .. } => {
                    planner.asked(most);
                    asked += most;
                }
                Step::Wait { until, why } => {
                    assert_eq!(why, Waiting::Pace);
                    assert!(until > now);
                    now = until;
                }
                Step::Done => panic!("there are some left"),
            }
        }
        assert!((599..=606).contains(&asked), "{asked}");
    }
}
