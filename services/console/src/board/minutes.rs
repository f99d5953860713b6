//! Messages a minute over the last hour.

use domain::Millis;

const MINUTES: usize = 60;
const MINUTE: Millis = 60_000;

/// A ring: what is older than an hour is overwritten.
#[derive(Clone)]
pub(crate) struct Minutes([Minute; MINUTES]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Minute {
    /// Minutes since the Unix epoch.
    pub(crate) minute: i64,
    /// From customers.
    pub(crate) received: u32,
    /// To customers.
    pub(crate) sent: u32,
}

impl Minutes {
    pub(crate) fn new() -> Self {
        Self([Minute::default(); MINUTES])
    }

    pub(crate) fn count(&mut self, at: Millis, received: u32, sent: u32) {
        let minute = at.div_euclid(MINUTE);
        let Some(slot) = self.0.get_mut(place(minute)) else { return };
        if slot.minute < minute {
            *slot = Minute { minute, ..Minute::default() };
        }
        if slot.minute == minute {
            slot.received += received;
            slot.sent += sent;
        }
    }

    /// The hour that ends with the minute of `now`, the oldest minute first.
    pub(crate) fn until(&self, now: Millis) -> Vec<Minute> {
        let last = now.div_euclid(MINUTE);
        (last + 1 - MINUTES as i64..=last)
            .map(|minute| {
                let counted = self.0.get(place(minute)).filter(|slot| slot.minute == minute);
                counted.copied().unwrap_or(Minute { minute, ..Minute::default() })
            })
            .collect()
    }
}

fn place(minute: i64) -> usize {
    usize::try_from(minute.rem_euclid(MINUTES as i64)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_counted_and_no_more() {
        let mut minutes = Minutes::new();
        minutes.count(59_999, 1, 0);
        minutes.count(60_000, 0, 2);
        minutes.count(61 * MINUTE, 1, 1); // takes the place of minute 1
        minutes.count(60_000, 5, 5); // too old by now
        let hour = minutes.until(61 * MINUTE + 5);
        assert_eq!(hour.len(), MINUTES);
        assert_eq!(hour.last(), Some(&Minute { minute: 61, received: 1, sent: 1 }));
        assert_eq!(hour.iter().map(|minute| minute.received + minute.sent).sum::<u32>(), 2);
        assert_eq!(minutes.until(59 * MINUTE)[0], Minute { minute: 0, received: 1, sent: 0 });
    }
}
