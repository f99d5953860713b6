//! How many of a campaign's messages may be on their way. Live traffic goes first at the number
//! (`store::Pacer`); what a machine or the broker is short of, nobody hands out by turns: there a campaign
//! notices that its own messages take longer than they did, and asks for fewer. Pure.

use std::time::Duration;

/// Also where everything takes long: it goes on.
const LEAST: f64 = 2.0;
/// To begin with.
const FIRST: f64 = 16.0;
const MOST: f64 = 4_096.0;
/// So much longer than the shortest is no queue: disks and schedulers are not even.
const SLACK: Duration = Duration::from_millis(5);
/// What was the shortest is believed less and less: WhatsApp may have become slower for good.
const BELIEVED_LESS: f64 = 1.01;

#[derive(Debug)]
pub(crate) struct Window {
    size: f64,
    /// Seconds from asking to an outcome, at the shortest.
    shortest: Option<f64>,
}

impl Window {
    pub(crate) const fn new() -> Self {
        Self { size: FIRST, shortest: None }
    }

    pub(crate) fn size(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within LEAST and MOST")]
        let size = self.size as u32;
        size
    }

    /// A message took so long from asking to its outcome.
    pub(crate) fn took(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        let shortest = self.shortest.map_or(took, |shortest| (shortest * BELIEVED_LESS).min(took));
        self.shortest = Some(shortest);
        let queued = took > 2.0 * shortest + SLACK.as_secs_f64();
        let size = if queued { self.size / 2.0 } else { self.size * 1.25 };
        self.size = size.clamp(LEAST, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn it_opens_while_messages_are_quick_and_closes_where_they_queue() {
        let mut window = Window::new();
        for _ in 0..20 {
            window.took(ms(10));
        }
        assert!(window.size() > 500, "{}", window.size());
        for _ in 0..12 {
            window.took(ms(80));
        }
        assert_eq!(window.size(), 2);
        for _ in 0..10 {
            window.took(ms(12));
        }
        assert!(window.size() >= 16);
    }

    #[test]
    fn whatsapp_may_become_slower_for_good() {
        let mut window = Window::new();
        for _ in 0..20 {
            window.took(ms(50));
        }
        for _ in 0..300 {
            window.took(ms(400));
        }
        assert!(window.size() > 1_000, "{}", window.size());
    }
}
