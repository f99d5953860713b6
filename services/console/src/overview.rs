//! The first page: how it goes right now.

use askama::Template;
use axum::{Router, extract::State, http::StatusCode, response::Response, routing::get};

use crate::{
    Console,
    access::{Caller, May, Read},
    board::{Ago, Counts, Group, Minute, RowView, Wanted, now},
    pages::page,
};

/// Those who wait longest.
const MOST_WAITING: usize = 5;

pub(crate) fn router(console: Console) -> Router {
    Router::new().route("/", get(overview)).with_state(console)
}

#[derive(Template)]
#[template(path = "home.html")]
struct Overview {
    caller: Caller,
    counts: Counts,
    longest_wait: Option<Ago>,
    waiting: Vec<RowView>,
    plot: Plot,
    ready: bool,
    full: Option<usize>,
    stream: String,
}

async fn overview(State(console): State<Console>, May { caller, .. }: May<Read>) -> Response {
    let now = now();
    let overview = console.board.read(|rows| {
        let wanted = Wanted { group: Some(Group::Waiting), ..Wanted::default() };
        let waiting = rows.list(&wanted, MOST_WAITING).rows;
        Overview {
            caller,
            counts: rows.counts(),
            longest_wait: rows.longest_wait().map(|since| Ago::new(since, now)),
            waiting: waiting.iter().filter_map(|row| RowView::of(row, now)).collect(),
            plot: Plot::of(&rows.minutes.until(now)),
            ready: rows.ready,
            full: rows.full.then(|| rows.most()),
            stream: format!("/sessions/stream?since={}", console.board.mark(rows.version)),
        }
    });
    page(StatusCode::OK, &overview)
}

/// Messages a minute over the last hour, as bars: what came in below, what went out on top of it.
struct Plot {
    bars: Vec<Bar>,
    /// Lines across, with what they stand for.
    lines: Vec<(f64, u32)>,
    /// Below the bars: where, and the time of day in UTC.
    times: Vec<(f64, String)>,
    received: u32,
    sent: u32,
    /// The most in one minute, and its time of day.
    busiest: u32,
    busiest_at: String,
}

struct Bar {
    x: f64,
    received_y: f64,
    received_height: f64,
    sent_y: f64,
    sent_height: f64,
    says: String,
}

/// In the picture's own units (`viewBox`).
const LEFT: f64 = 52.0;
const TOP: f64 = 8.0;
const HEIGHT: f64 = 130.0;
const STEP: f64 = 11.1;
const TIMES_EVERY: usize = 15;

impl Plot {
    fn of(minutes: &[Minute]) -> Self {
        let busiest = minutes.iter().max_by_key(|minute| minute.received + minute.sent);
        let most = busiest.map_or(0, |minute| minute.received + minute.sent);
        let scale = scale(most);
        let height = |count: u32| f64::from(count) / f64::from(scale) * HEIGHT;
        let place = |index: usize| LEFT + STEP * f64::from(u32::try_from(index).unwrap_or_default());
        let bars = minutes.iter().enumerate().map(|(index, minute)| {
            let (received, sent) = (height(minute.received), height(minute.sent));
            Bar {
                x: place(index),
                received_y: TOP + HEIGHT - received,
                received_height: received,
                sent_y: TOP + HEIGHT - received - sent,
                sent_height: sent,
                says: format!("{}: {} in, {} out", clock(minute), minute.received, minute.sent),
            }
        });
        let times = minutes.iter().enumerate().filter(|(index, _)| (index + 1) % TIMES_EVERY == 0);
        Self {
            bars: bars.collect(),
            lines: [0, scale / 2, scale].map(|count| (TOP + HEIGHT - height(count), count)).to_vec(),
            times: times.map(|(index, minute)| (place(index) + STEP / 2.0, clock(minute))).collect(),
            received: minutes.iter().map(|minute| minute.received).sum(),
            sent: minutes.iter().map(|minute| minute.sent).sum(),
            busiest: most,
            busiest_at: busiest.map(clock).unwrap_or_default(),
        }
    }
}

/// The next even round number.
pub(crate) fn scale(most: u32) -> u32 {
    let mut step = 1u32;
    loop {
        for round in [2, 4, 6, 8, 10] {
            if step.saturating_mul(round) >= most {
                return step.saturating_mul(round);
            }
        }
        step = step.saturating_mul(10);
    }
}

fn clock(minute: &Minute) -> String {
    let of_day = minute.minute.rem_euclid(24 * 60);
    format!("{:02}:{:02}", of_day / 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_one_another_and_stay_in_the_picture() {
        for (most, expected) in [(0, 2), (3, 4), (5, 6), (11, 20), (41, 60), (101, 200)] {
            assert_eq!(scale(most), expected);
        }
        let minutes: Vec<_> =
            (0..60).map(|n| Minute { minute: 720 + n, received: 3, sent: u32::from(n == 59) * 4 }).collect();
        let plot = Plot::of(&minutes);
        let last = plot.bars.last().unwrap();
        assert!((last.sent_y + last.sent_height - last.received_y).abs() < 1e-9);
        assert!(plot.bars.iter().all(|bar| bar.sent_y >= TOP));
        assert_eq!((plot.received, plot.sent, plot.busiest, plot.busiest_at.as_str()), (180, 4, 7, "12:59"));
        assert_eq!(plot.times.last().unwrap().1, "12:59");
    }
}
