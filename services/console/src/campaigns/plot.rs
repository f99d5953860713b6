//! How a campaign went on, as lines that only rise: accepted, delivered, read, failed, replied.

use campaign::{Summary, progress::Point};

/// In the picture's own units (`viewBox`).
const LEFT: f64 = 72.0;
const RIGHT: f64 = 712.0;
const TOP: f64 = 8.0;
const HEIGHT: f64 = 150.0;

pub(super) struct Plot {
    pub(super) curves: Vec<Curve>,
    /// Lines across, with what they stand for.
    pub(super) lines: Vec<(f64, String)>,
    /// Below: where, how it is anchored, and the time in UTC.
    pub(super) times: Vec<(f64, &'static str, String)>,
    /// For who cannot see it.
    pub(super) says: String,
}

pub(super) struct Curve {
    pub(super) label: &'static str,
    pub(super) total: u32,
    pub(super) points: String,
}

/// Also the curves' classes.
const LABELS: [&str; 5] = ["accepted", "delivered", "read", "failed", "replied"];

/// In the order of the labels.
const fn counts(point: &Point) -> [u32; 5] {
    [point.accepted, point.delivered, point.read, point.failed, point.replied]
}

impl Plot {
    /// None: nothing happened yet.
    pub(super) fn of(summary: &Summary) -> Option<Self> {
        let series = &summary.series;
        if series.points.is_empty() {
            return None;
        }
        let most = LABELS.iter().enumerate().map(|(n, _)| series.points.iter().map(|p| counts(p)[n]).sum());
        let most = most.max().unwrap_or(0);
        let scale = crate::overview::scale(most);
        let height = |count: u32| TOP + HEIGHT - f64::from(count) / f64::from(scale) * HEIGHT;
        let last = u32::try_from(series.points.len()).unwrap_or(1);
        let place = |index: u32| LEFT + (RIGHT - LEFT) * f64::from(index) / f64::from(last);
        let curves: Vec<Curve> = LABELS
            .iter()
            .enumerate()
            .map(|(n, label)| {
                let mut total = 0u32;
                let mut points = format!("{:.1},{:.1}", place(0), height(0));
                for (index, point) in (1u32..).zip(&series.points) {
                    total = total.saturating_add(counts(point)[n]);
                    points.push_str(&format!(" {:.1},{:.1}", place(index), height(total)));
                }
                Curve { label, total, points }
            })
            .collect();
        let end = series.from + series.step * i64::from(last);
        let says: Vec<_> = curves.iter().map(|curve| format!("{} {}", curve.total, curve.label)).collect();
        Some(Self {
            says: says.join(", "),
            curves,
            lines: [0, scale / 2, scale].map(|count| (height(count), short(count))).to_vec(),
            times: vec![(LEFT, "start", when(series.from)), (RIGHT, "end", when(end))],
        })
    }
}

/// At most four characters: on a phone there is no room for more.
fn short(count: u32) -> String {
    match count {
        0..=9_999 => count.to_string(),
        10_000..=999_999 => format!("{}k", count / 1_000),
        1_000_000.. => format!("{}M", count / 1_000_000),
    }
}

/// To the minute, in UTC.
pub(super) fn when(at: i64) -> String {
    jiff::Timestamp::from_millisecond(at)
        .map(|at| at.strftime("%Y-%m-%d %H:%M").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use campaign::progress::Series;

    use super::*;

    #[test]
    fn labels_are_short() {
        let shorts = [0, 9_999, 10_500, 999_999, 1_000_000].map(short);
        assert_eq!(shorts, ["0", "9999", "10k", "999k", "1M"]);
    }

    #[test]
    fn lines_rise_and_stay_in_the_picture() {
        assert!(Plot::of(&Summary::default()).is_none());
        let point = |accepted, read| Point { accepted, read, ..Point::default() };
        let points = vec![point(3, 0), point(4, 2), point(0, 1)];
        let series = Series { step: 60_000, from: 0, points };
        let plot = Plot::of(&Summary { series, ..Summary::default() }).unwrap();
        assert_eq!(plot.says, "7 accepted, 0 delivered, 3 read, 0 failed, 0 replied");
        let heights: Vec<f64> = (plot.curves[0].points.split(' '))
            .map(|point| point.split_once(',').unwrap().1.parse().unwrap())
            .collect();
        assert!(
            heights.is_sorted_by(|a, b| a >= b) && heights.iter().all(|y| (TOP..=TOP + HEIGHT).contains(y))
        );
        assert_eq!(plot.times[1].2, "1970-01-01 00:03");
    }
}
