//! Keeps an event stream up for every thread that is to be followed: starts and stops the tasks
//! that do it ([`crate::stream`]).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bus::Log;
use domain::{ConversationKey, Partition, Seq, ThreadId};
use opentelemetry::Context;
use store::Store;
use tokens::Tokens;
use tokio::sync::{Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Egress,
    metrics::Metrics,
    stream::{Follower, Trace},
    threads::{Change, Following, Threads},
};

/// What all followers share.
pub(crate) struct Shared {
    pub(crate) log: Log,
    pub(crate) store: Store,
    pub(crate) tokens: Tokens,
    pub(crate) metrics: Metrics,
    pub(crate) linger: std::time::Duration,
    /// Streams that are up or on their way.
    pub(crate) streams: Semaphore,
    /// Streams on their way.
    pub(crate) connecting: Semaphore,
    state: Mutex<State>,
}

pub(crate) struct Followers {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

#[derive(Default)]
struct State {
    threads: Threads,
    running: HashMap<ConversationKey, Running>,
    /// Which conversation each followed thread is of.
    followed: HashMap<ThreadId, ConversationKey>,
    started: u64,
}

/// A task that follows a conversation's thread.
struct Running {
    id: u64,
    wanted: watch::Sender<Option<Following>>,
    trace: Trace,
    stop: CancellationToken,
}

impl Followers {
    pub(crate) fn new(
        config: &Egress,
        log: Log,
        store: Store,
        tokens: Tokens,
        metrics: Metrics,
        tasks: TaskTracker,
    ) -> Self {
        let shared = Shared {
            log,
            store,
            tokens,
            metrics,
            linger: config.unfollow_linger,
            streams: Semaphore::new(config.max_streams.min(Semaphore::MAX_PERMITS)),
            connecting: Semaphore::new(config.max_connecting.min(Semaphore::MAX_PERMITS)),
            state: Mutex::default(),
        };
        Self { shared: Arc::new(shared), tasks }
    }

    /// The decision at `seq` asks for `wanted`. Telling it again, or an older one, changes nothing.
    pub(crate) fn decided(&self, key: ConversationKey, seq: Seq, wanted: Option<Following>) {
        let mut state = self.shared.state();
        let wanted = match state.threads.decided(key, seq, wanted) {
            Change::Nothing => return,
            Change::Follow(following) => Some(following),
            Change::Unfollow => None,
        };
        let before = state.running.get(&key).and_then(|running| running.thread());
        state.rename(key, before, wanted.as_ref().map(|following| following.thread));
        match state.running.get(&key) {
            // A task that ended by itself took itself out; a closed channel means that it panicked.
            Some(running) if !running.wanted.is_closed() => {
                running.wanted.send_replace(wanted);
            }
            Some(_) | None => {
                let Some(following) = wanted else { return };
                state.started += 1;
                let (sender, receiver) = watch::channel(Some(following));
                let running = Running {
                    id: state.started,
                    wanted: sender,
                    trace: Trace::default(),
                    stop: CancellationToken::new(),
                };
                let follower =
                    Follower::new(Arc::clone(&self.shared), key, running.id, receiver, &running.trace);
                let stop = running.stop.clone();
                // Boxed: whatever wraps a future may hold it twice over, and there are thousands.
                let follower = Box::pin(follower.run());
                self.tasks.spawn(stop.run_until_cancelled_owned(follower));
                state.running.insert(key, running);
            }
        }
    }

    /// Somebody knows that the thread has something new: its follower looks at once. False: it is not
    /// followed here.
    pub(crate) fn wake(&self, thread: &ThreadId) -> bool {
        let state = self.shared.state();
        let running = state.followed.get(thread).and_then(|key| state.running.get(key));
        // Seen as a change by whoever waits for one, with nothing changed.
        running.inspect(|running| running.wanted.send_modify(|_| {})).is_some()
    }

    /// What comes from the thread next belongs to this trace: a customer's message went there.
    pub(crate) fn forwarded(&self, key: &ConversationKey, trace: &Context) {
        if let Some(running) = self.shared.state().running.get(key) {
            running.trace.set(trace);
        }
    }

    /// The partition is another process's: its streams end at once, their cursors stay.
    pub(crate) fn released(&self, partition: Partition) {
        let mut state = self.shared.state();
        for key in state.threads.released(partition) {
            if let Some(running) = state.running.remove(&key) {
                state.rename(key, running.thread(), None);
                running.stop.cancel();
            }
        }
    }
}

impl Running {
    fn thread(&self) -> Option<ThreadId> {
        self.wanted.borrow().as_ref().map(|following| following.thread)
    }
}

impl State {
    /// The conversation follows another thread, or none.
    fn rename(&mut self, key: ConversationKey, before: Option<ThreadId>, now: Option<ThreadId>) {
        // A thread may have moved on to another conversation, when its customer's ids changed.
        if let Some(before) = before
            && self.followed.get(&before) == Some(&key)
        {
            self.followed.remove(&before);
        }
        if let Some(now) = now {
            self.followed.insert(now, key);
        }
    }
}

impl Shared {
    /// The task `id` wants to end, since nothing is wanted of it. False: something is, by now.
    pub(crate) fn leave(
        &self,
        key: &ConversationKey,
        id: u64,
        wanted: &watch::Receiver<Option<Following>>,
    ) -> bool {
        // What is wanted changes under the same lock.
        let mut state = self.state();
        if wanted.borrow().is_some() {
            return false;
        }
        if state.running.get(key).is_some_and(|running| running.id == id) {
            state.running.remove(key);
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
