//! Keeps the board current: the heads of all conversations first, then the tail of the log.

use std::{convert::Infallible, pin::pin, time::Duration};

use bus::{Error, Log};
use domain::{Millis, Partition, Seq};
use futures::{StreamExt as _, TryStreamExt as _};
use proto::subjects::Kind;

use super::{Board, now, rows::Rows};

/// Reads that are under way side by side.
const SIDE_BY_SIDE: usize = 8;
/// What was said this long before the start is read again, for its words and for the count.
const HOUR: Millis = 3_600_000;
/// But no more entries than these.
const MOST_AGAIN: Seq = 500_000;
/// Entries that are gone one after another (timers that fired, people who were erased) before a
/// place counts as older than the log.
const MOST_GONE: Seq = 32;
const PAUSE: Duration = Duration::from_secs(1);

/// Never ends. Starts over after the connection was lost: the broker may have come back with
/// another log.
pub(super) async fn follow(board: &Board, log: &Log) -> Infallible {
    loop {
        tokio::select! {
            fed = feed(board, log) => {
                let Err(error) = fed;
                tracing::warn!(error = runtime::error_chain(&error), "the board of sessions cannot be read");
            }
            () = reconnected(log) => tracing::info!("connected again: the board of sessions starts over"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn reconnected(log: &Log) {
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let mut was_lost = false;
    loop {
        tick.tick().await;
        match (log.is_connected(), was_lost) {
            (true, true) => return,
            (connected, _) => was_lost = !connected,
        }
    }
}

async fn feed(board: &Board, log: &Log) -> Result<Infallible, Error> {
    // Before the heads: what comes while they are read is in the tail.
    let newest = log.last("conv.>").await?;
    let next = newest.as_ref().map_or(1, |entry| entry.seq + 1);
    let mut rows = Rows::new(board.most(), board.read(|rows| rows.version));
    let mut heads =
        futures::stream::iter(Partition::all()).map(|partition| log.heads(partition)).buffered(SIDE_BY_SIDE);
    while let Some(heads) = heads.try_next().await? {
        heads.iter().for_each(|head| rows.head(head));
        tokio::task::yield_now().await;
    }
    let waits = rows.waits_without_beginning();
    let mut begun = futures::stream::iter(waits)
        .map(|(key, seq)| async move { log.get(seq).await.map(|fact| (key, fact)) })
        .buffer_unordered(SIDE_BY_SIDE);
    while let Some((key, fact)) = begun.try_next().await? {
        if let Some(fact) = fact {
            rows.began(&key, fact.at);
        }
    }
    let from = match newest {
        Some(newest) if newest.at >= now() - HOUR => since(log, now() - HOUR, newest.seq).await?,
        Some(_) | None => next,
    };
    board.begin(rows);
    let filters = [(Kind::Decision, ""), (Kind::WhatsApp, ".*")];
    let filters = filters.map(|(kind, id)| format!("conv.*.*.{}{id}", kind.as_str()));
    let mut tail = pin!(log.tail(filters.to_vec(), from));
    loop {
        if let Some(entry) = tail.next().await {
            board.write(|rows| rows.entry(&entry));
        }
    }
}

/// Where the entries begin that were stored at `at` or later; the one at `newest` was.
async fn since(log: &Log, at: Millis, newest: Seq) -> Result<Seq, Error> {
    let (mut low, mut high) = (newest.saturating_sub(MOST_AGAIN).max(1), newest);
    while low < high {
        let middle = low + (high - low) / 2;
        let mut found = None;
        for seq in middle..high.min(middle + MOST_GONE) {
            found = log.get(seq).await?;
            if found.is_some() {
                break;
            }
        }
        match found {
            Some(entry) if entry.at >= at => high = middle,
            Some(entry) => low = entry.seq + 1,
            None => low = (middle + MOST_GONE).min(high),
        }
    }
    Ok(low)
}
