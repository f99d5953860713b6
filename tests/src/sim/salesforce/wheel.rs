//! Everything that happens later, on one timer: tens of thousands of streams cost an entry each, not a
//! task with a clock of its own.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{Salesforce, log::Outgoing, rep, state::State};

/// Timers fired under one lock at most.
const BURST: usize = 256;
/// How long the wheel sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) enum Timer {
    Ping(u64),
    /// The stream's token expires.
    Look(u64),
    /// A delayed event goes to its log.
    Release(Outgoing),
    Auto(Due),
}

/// What the automatic rep has to do, in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    Accept(String),
    Reply(String),
    Talk(String),
}

#[derive(Debug, Default)]
pub(super) struct Wheel {
    timers: BTreeMap<(Instant, u64), Timer>,
    scheduled: u64,
    /// Something became due before what the wheel sleeps for.
    sooner: Arc<Notify>,
}

impl Wheel {
    pub(super) fn schedule(&mut self, at: Instant, timer: Timer) {
        self.scheduled += 1;
        if self.timers.first_key_value().is_none_or(|((first, _), _)| at < *first) {
            self.sooner.notify_one();
        }
        self.timers.insert((at, self.scheduled), timer);
    }

    pub(super) fn clear_pings(&mut self) {
        self.timers.retain(|_, timer| !matches!(timer, Timer::Ping(_)));
    }

    fn due(&mut self, now: Instant) -> Option<Timer> {
        let first = self.timers.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn next(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }
}

impl State {
    /// Work for the automatic rep, if there is one.
    pub(super) fn due(&mut self, due: Due) {
        let Some(auto) = &self.auto else { return };
        let ms = match &due {
            Due::Accept(_) => auto.accept_after_ms,
            Due::Reply(_) => auto.reply_after_ms,
            Due::Talk(_) => match auto.talk_every_ms {
                // Spread, or all would talk at once.
                Some(ms) => fastrand::u64(ms / 2..=ms + ms / 2).max(1),
                None => return,
            },
        };
        self.wheel.schedule(Instant::now() + Duration::from_millis(ms), Timer::Auto(due));
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Ping(stream) => {
                let interval = Duration::from_millis(self.config.ping_interval_ms.max(1));
                if self.streams.ping(stream) {
                    self.wheel.schedule(Instant::now() + interval, Timer::Ping(stream));
                }
            }
            Timer::Look(stream) => self.streams.wake(&[stream]),
            Timer::Release(outgoing) => self.send(outgoing),
            Timer::Auto(due) => rep::automatic(self, due),
        }
    }
}

impl Salesforce {
    /// Turns the wheel until the simulator stops.
    pub(super) async fn turn(self: Arc<Self>) {
        let sooner = self.with(|state| state.wheel.sooner.clone());
        loop {
            let next = self.with(|state| {
                let now = Instant::now();
                for _ in 0..BURST {
                    let Some(timer) = state.wheel.due(now) else { break };
                    state.fire(timer);
                }
                state.wheel.next()
            });
            let pause = next.map_or(IDLE, |at| at.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sooner.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}
