//! Follows the simulators' record, and tells each customer what is on his phone.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use e2e::sim::{ControlClient, Entry, What};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// How often the record is asked for news.
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Debug, Default, Clone)]
pub(crate) struct Phone {
    pub(crate) texts: Vec<String>,
    /// Texts of reps among them: they start with a bracket.
    pub(crate) replies: usize,
}

#[derive(Debug, Default)]
struct Seen {
    entries: Vec<Entry>,
    phones: HashMap<String, Phone>,
    /// Answered 200.
    accepted: HashSet<String>,
}

#[derive(Clone)]
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    changed: watch::Receiver<usize>,
    stop: CancellationToken,
    task: Arc<Mutex<Option<JoinHandle<Result<()>>>>>,
}

impl Watch {
    pub(crate) fn start(control: ControlClient) -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (change, changed) = watch::channel(0);
        let stop = CancellationToken::new();
        let (filling, stopped) = (Arc::clone(&seen), stop.clone());
        #[expect(clippy::disallowed_methods, reason = "joined by Watch::stop")]
        let task = tokio::spawn(async move {
            let mut next = 1;
            loop {
                let last = stopped.is_cancelled();
                let entries = control.record(next).await.context("read the record")?;
                let news = !entries.is_empty();
                let count = {
                    let mut seen = filling.lock().unwrap_or_else(PoisonError::into_inner);
                    for entry in entries {
                        next = entry.seq + 1;
                        seen.take(entry);
                    }
                    seen.entries.len()
                };
                if news {
                    change.send_replace(count);
                } else if last {
                    return Ok(());
                } else {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        });
        Self { seen, changed, stop, task: Arc::new(Mutex::new(Some(task))) }
    }

    pub(crate) fn phone<T>(&self, customer: &str, look: impl FnOnce(&Phone) -> T) -> T {
        match self.lock().phones.get(customer) {
            Some(phone) => look(phone),
            None => look(&Phone::default()),
        }
    }

    pub(crate) fn is_accepted(&self, wamid: &str) -> bool {
        self.lock().accepted.contains(wamid)
    }

    /// Until `holds`; false when it took longer than `patience`.
    pub(crate) async fn until(&self, patience: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let mut changed = self.changed.clone();
        tokio::time::timeout(patience, async {
            while !holds(self) {
                if changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        })
        .await
        .is_ok()
    }

    /// Until nothing has happened for `calm`, at most for `patience`.
    pub(crate) async fn settled(&self, calm: Duration, patience: Duration) {
        let mut changed = self.changed.clone();
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if !matches!(tokio::time::timeout(calm, changed.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Everything from the start on.
    pub(crate) async fn stop(self) -> Result<Vec<Entry>> {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.await??;
        }
        Ok(std::mem::take(&mut self.lock().entries))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn take(&mut self, entry: Entry) {
        if let What::Shown { customer, text, .. } = &entry.what {
            let phone = self.phones.entry(customer.clone()).or_default();
            phone.replies += usize::from(text.starts_with('['));
            phone.texts.push(text.clone());
        }
        if let What::Webhook { ids, status: 200, .. } = &entry.what {
            self.accepted.extend(ids.iter().cloned());
        }
        self.entries.push(entry);
    }
}
