//! Salesforce takes 22 messages a minute in a conversation (`miaw-api.md` §9). A customer who types
//! faster is not held up and loses nothing: what exceeds the rate waits a moment and travels
//! together, in one message.

use super::{Call, Held, Output, Thread, decide::Turn};
use crate::{Cause, Millis};

/// A message is paid for by this much time …
const EVERY: Millis = 5_000;
/// … and so many may be owed: 10 at once and 12 a minute make 22 in any minute.
const BURST: Millis = 10;
/// What opens a thread (header, transcript) leaves less.
const OPENING: Millis = 4;

impl Thread {
    pub(super) fn pay(&mut self, now: Millis) {
        self.paid_until = self.paid_until.max(now).saturating_add(EVERY);
    }

    /// When the next message may go; at once if that is not after now.
    pub(super) const fn next_at(&self) -> Millis {
        self.paid_until.saturating_sub((BURST - 1) * EVERY)
    }
}

impl Turn<'_> {
    /// The rep gets the entry that is being decided on: now, or with the ones that follow it.
    pub(super) fn forward(&mut self) {
        let (seq, now) = (self.at.seq, self.at.time);
        let Some(thread) = self.state.owner.thread_mut() else { return };
        if let Some(held) = &mut thread.held {
            held.through = seq;
            return;
        }
        if thread.next_at() <= now {
            thread.pay(now);
            let thread = thread.id;
            self.call(Call::Forward { thread, from: seq, through: seq });
            return;
        }
        thread.held = Some(Held { from: seq, through: seq });
        let due = thread.next_at();
        let timer = self.push(Output::Timer { at: due });
        if let Some(thread) = self.state.owner.thread_mut() {
            thread.flush = Some(timer);
        }
    }

    /// The rep gets everything from `from` on that is not held already.
    pub(super) fn forward_from(&mut self, from: crate::Seq) {
        let through = self.at.seq;
        if let Some(thread) = self.state.owner.thread_mut() {
            thread.held = Some(Held { from, through });
        }
        self.flush();
    }

    /// What waited while the thread was opening.
    pub(super) fn opened_with(&mut self, held: Option<Held>) {
        let now = self.at.time;
        let Some(thread) = self.state.owner.thread_mut() else { return };
        thread.paid_until = now.saturating_add(OPENING * EVERY);
        thread.held = held;
        self.flush();
    }

    /// Everything that waits goes now.
    pub(super) fn flush(&mut self) {
        let now = self.at.time;
        let Some(thread) = self.state.owner.thread_mut() else { return };
        thread.flush = None;
        let Some(Held { from, through }) = thread.held.take() else { return };
        thread.pay(now);
        let thread = thread.id;
        self.call(Call::Forward { thread, from, through });
    }

    /// False: this was another timer.
    pub(super) fn flush_is_due(&mut self, timer: Cause) -> bool {
        let due = self.state.owner.thread_mut().is_some_and(|thread| thread.flush == Some(timer));
        if due {
            self.flush();
        }
        due
    }
}
