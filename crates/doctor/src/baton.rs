//! Baton itself: the broker, the cache, the services, and what they set aside.

use std::{collections::BTreeMap, time::Duration};

use bus::Log;
use domain::{SessionId, derive::uuid};
use store::Store;

use crate::{Group, Job, Seen, Verdict};

const LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at a service's beats: several times the pause between beats (`bus`).
const BETWEEN_BEATS: Duration = Duration::from_secs(3);

const REFERENCE: &str = "docs/runbook.md";

/// Those that must be there, by the name of their reader.
const SERVICES: [(&str, &str, &str); 3] = [
    ("handoff", "baton.handoff", "handoff lives"),
    ("egress", "baton.egress", "egress lives"),
    ("assistant", "baton.assistant", "assistant lives"),
];

pub(crate) fn jobs(log: &Log, store: &Store) -> Vec<Job> {
    let mut jobs = vec![
        job("baton.broker", "Broker and streams", broker(log.clone())),
        job("baton.cache", "Cache", cache(store.clone())),
        job("baton.dead_letters", "Dead letters", dead_letters(log.clone())),
        job("baton.parked", "Parked entries", parked(log.clone())),
    ];
    for (service, id, looks_at) in SERVICES {
        jobs.push(job(id, looks_at, service_lives(log.clone(), service, id, looks_at)));
    }
    jobs
}

fn job(id: &'static str, looks_at: &'static str, work: impl Future<Output = Seen> + Send + 'static) -> Job {
    let work = Box::pin(async move { vec![work.await.from(REFERENCE)] });
    Job { id, looks_at, group: Group::Baton, of: String::new(), limit: LIMIT, work }
}

async fn broker(log: Log) -> Seen {
    const WHAT: (&str, &str) = ("baton.broker", "Broker and streams");
    match log.stream_sizes().await {
        Ok(sizes) => {
            let sizes: Vec<String> = sizes
                .iter()
                .map(|one| format!("{} {} entries, {} MiB", one.name, one.messages, one.bytes >> 20))
                .collect();
            Seen::ok(WHAT.0, WHAT.1, sizes.join("; "))
        }
        Err(error) => Seen::wrong(
            WHAT.0,
            WHAT.1,
            Verdict::Broken,
            format!("the broker does not answer: {error}"),
            "Start NATS, or mend NATS_URL and its credentials. Nothing is lost: webhooks are answered 503 and \
             repeated by Meta.",
        ),
    }
}

async fn cache(store: Store) -> Seen {
    const WHAT: (&str, &str) = ("baton.cache", "Cache");
    match store.conversation_of_session(SessionId(uuid("doctor", &[]))).await {
        Ok(_) => Seen::ok(WHAT.0, WHAT.1, "answers"),
        Err(_) => Seen::wrong(
            WHAT.0,
            WHAT.1,
            Verdict::Warning,
            "Redis or Valkey does not answer",
            "Start it, or mend REDIS_URL. Messages go on without it, slower; signing in and search need it.",
        ),
    }
}

async fn service_lives(log: Log, service: &'static str, id: &'static str, looks_at: &'static str) -> Seen {
    let looked = async {
        let before = log.beats(service).await?;
        if !before.is_empty() {
            tokio::time::sleep(BETWEEN_BEATS).await;
        }
        Ok::<_, bus::Error>((before, log.beats(service).await?))
    };
    match looked.await {
        Ok((before, after)) => match alive(&before, &after) {
            0 => Seen::wrong(
                id,
                looks_at,
                Verdict::Broken,
                format!("no process of {service} is at work"),
                format!("Start {service}, or look at its log for why it stopped."),
            ),
            count => Seen::ok(id, looks_at, format!("{count} at work")),
        },
        Err(_) => Seen::wrong(id, looks_at, Verdict::Unchecked, "the broker does not answer", ""),
    }
}

/// Those who are new, or whose beat has changed.
fn alive(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> usize {
    after.iter().filter(|(member, beat)| before.get(*member) != Some(*beat)).count()
}

async fn dead_letters(log: Log) -> Seen {
    const WHAT: (&str, &str) = ("baton.dead_letters", "Dead letters");
    match log.dead_letters(1).await {
        Ok((_, 0)) => Seen::ok(WHAT.0, WHAT.1, "none"),
        Ok((_, count)) => Seen::wrong(
            WHAT.0,
            WHAT.1,
            Verdict::Warning,
            format!("{count} entries could not be handled"),
            "See them below, with the reason of each.",
        ),
        Err(_) => Seen::wrong(WHAT.0, WHAT.1, Verdict::Unchecked, "the broker does not answer", ""),
    }
}

async fn parked(log: Log) -> Seen {
    const WHAT: (&str, &str) = ("baton.parked", "Parked entries");
    match log.parked().await {
        Ok(counts) if counts.is_empty() => Seen::ok(WHAT.0, WHAT.1, "none"),
        Ok(counts) => {
            let counts: Vec<String> =
                counts.iter().map(|(service, count)| format!("{service}: {count}")).collect();
            Seen::wrong(
                WHAT.0,
                WHAT.1,
                Verdict::Warning,
                format!("entries wait for what they need ({})", counts.join(", ")),
                "They go on by themselves when it is back: of handoff it is Salesforce, of egress WhatsApp, of \
                 assistant the model.",
            )
        }
        Err(_) => Seen::wrong(WHAT.0, WHAT.1, Verdict::Unchecked, "the broker does not answer", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_beat_is_not_alive() {
        let table = |list: &[(&str, u64)]| list.iter().map(|(m, b)| ((*m).to_owned(), *b)).collect();
        assert_eq!(alive(&table(&[("a", 1), ("b", 5)]), &table(&[("a", 2), ("b", 5), ("c", 1)])), 2);
        assert_eq!(alive(&table(&[("a", 1)]), &table(&[("a", 1)])), 0);
    }
}
