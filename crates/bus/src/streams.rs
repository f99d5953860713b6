//! The streams, as code. Setting them up again changes nothing; what would lose data or break the
//! order is refused.

use std::{collections::HashMap, time::Duration};

use async_nats::jetstream::{
    Context, ErrorCode,
    context::CreateStreamErrorKind,
    stream::{self, DiscardPolicy, RetentionPolicy, Source, StorageType, SubjectTransform},
};
use domain::PARTITIONS;
use proto::subjects;
use tokio::time::Instant;

use crate::{Config, Error};

pub(crate) const LOG: &str = "CONVERSATIONS";
pub(crate) const PARKED: &str = "PARKED";
pub(crate) const DEAD_LETTERS: &str = "DEADLETTERS";
pub(crate) const HISTORY: &str = "HISTORY";
pub(crate) const MEMBERSHIP: &str = "BATON_MEMBERSHIP";
pub(crate) const CHECKPOINTS: &str = "BATON_CHECKPOINTS";
pub(crate) const SETTINGS: &str = "BATON_SETTINGS";
pub(crate) const CAMPAIGNS: &str = "BATON_CAMPAIGNS";
pub(crate) const REQUESTS: &str = "BATON_REQUESTS";
/// How long what was asked for under an idempotency key is remembered.
const REQUESTS_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Changes of the settings that are kept, and with them who made them.
const SETTINGS_HISTORY: i64 = 1000;
const PARTITIONS_KEY: &str = "baton-partitions";
/// Broker memory a unique subject costs (measured on nats-server 2.15.1).
const SUBJECT_BYTES: u64 = 260;
/// How long the timeline is kept.
const HISTORY_AGE: Duration = Duration::from_secs(180 * 24 * 3600);

pub(crate) async fn ensure(context: &Context, config: &Config) -> Result<(), Error> {
    check_budget(config)?;
    let replicas = config.nats_replicas;
    let until = Instant::now() + config.nats_patience;
    ensure_stream(context, log(config), until).await?;
    ensure_stream(context, history(replicas), until).await?;
    let month = Duration::from_secs(30 * 24 * 3600);
    ensure_stream(context, plain(PARKED, "park.>", month, replicas), until).await?;
    ensure_stream(context, plain(DEAD_LETTERS, "dlq.>", month * 3, replicas), until).await?;
    for bucket in [MEMBERSHIP, CHECKPOINTS] {
        ensure_stream(context, bucket_stream(bucket, replicas), until).await?;
    }
    let requests = stream::Config { max_age: REQUESTS_KEPT, ..bucket_stream(REQUESTS, replicas) };
    ensure_stream(context, requests, until).await
}

/// Where services take their settings from the broker.
pub(crate) async fn ensure_settings(
    context: &Context,
    replicas: usize,
    patience: Duration,
) -> Result<(), Error> {
    let bucket = bucket_stream(SETTINGS, replicas);
    let settings = stream::Config { max_messages_per_subject: SETTINGS_HISTORY, ..bucket };
    ensure_stream(context, settings, Instant::now() + patience).await
}

/// A bucket of entries that are replaced as a whole.
pub(crate) async fn ensure_records(
    context: &Context,
    bucket: &str,
    replicas: usize,
    patience: Duration,
) -> Result<(), Error> {
    ensure_stream(context, bucket_stream(bucket, replicas), Instant::now() + patience).await
}

fn check_budget(config: &Config) -> Result<(), Error> {
    let needed = u64::from(config.log_rate) * config.log_horizon.as_secs() * SUBJECT_BYTES / (1024 * 1024);
    if needed > config.log_memory_mib {
        return Err(Error::Config(format!(
            "{} facts a second over {} need about {needed} MiB of broker memory, LOG_MEMORY_MIB allows {}: raise it, \
             or shorten LOG_HORIZON (not below the time a source may repeat itself)",
            config.log_rate,
            humantime::format_duration(config.log_horizon),
            config.log_memory_mib,
        )));
    }
    Ok(())
}

fn log(config: &Config) -> stream::Config {
    stream::Config {
        subjects: subjects::ALL.map(Into::into).to_vec(),
        max_age: config.log_horizon,
        allow_direct: true,
        // Timers. The server refuses them together with `discard: new`; a full store is refused
        // by the server's own max_file instead.
        allow_message_schedules: true,
        duplicate_window: Duration::from_secs(1),
        metadata: HashMap::from([(PARTITIONS_KEY.into(), PARTITIONS.to_string())]),
        ..base(LOG, config.nats_replicas)
    }
}

/// The timeline for months: the log without the ids that make its subjects unique.
fn history(replicas: usize) -> stream::Config {
    let transforms = ["wa", "ai", "th", "sf", "und", "op", "md", "mv"]
        .map(|kind| SubjectTransform {
            source: format!("conv.*.*.{kind}.*"),
            destination: format!("hist.{{{{wildcard(2)}}}}.{kind}"),
        })
        .into_iter()
        .chain([SubjectTransform {
            source: "conv.*.*.dec".into(),
            destination: "hist.{{wildcard(2)}}.dec".into(),
        }])
        .collect();
    stream::Config {
        sources: Some(vec![Source { name: LOG.into(), subject_transforms: transforms, ..Source::default() }]),
        max_age: HISTORY_AGE,
        allow_direct: true,
        ..base(HISTORY, replicas)
    }
}

fn plain(name: &str, subjects: &str, age: Duration, replicas: usize) -> stream::Config {
    stream::Config {
        subjects: vec![subjects.into()],
        max_age: age,
        allow_direct: true,
        max_messages_per_subject: 1,
        ..base(name, replicas)
    }
}

fn base(name: &str, replicas: usize) -> stream::Config {
    stream::Config {
        name: name.into(),
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        num_replicas: replicas,
        ..stream::Config::default()
    }
}

/// The stream behind a KV bucket, as the client library would make it (NATS ADR-8). Made by us, so
/// that it is checked like the others: a bucket that forgets would forget checkpoints.
fn bucket_stream(bucket: &str, replicas: usize) -> stream::Config {
    stream::Config {
        subjects: vec![format!("$KV.{bucket}.>")],
        max_messages_per_subject: 1,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        // Refuses when full, never forgets.
        discard: DiscardPolicy::New,
        ..base(&bucket_name(bucket), replicas)
    }
}

/// The stream's.
pub(crate) fn bucket_name(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// What no patience mends: the broker understood and said no.
const FINAL: [ErrorCode; 4] = [
    ErrorCode::STREAM_INVALID_CONFIG,
    ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED,
    ErrorCode::STREAM_SUBJECT_OVERLAP,
    ErrorCode::STORAGE_RESOURCES_EXCEEDED,
];

async fn ensure_stream(context: &Context, wanted: stream::Config, until: Instant) -> Result<(), Error> {
    let name = wanted.name.clone();
    let mut pause = Duration::from_millis(50);
    // During an election the broker says that there is no such stream: creating one that is there
    // is refused, so the order of look and create does not matter.
    loop {
        let error = match context.get_stream(&name).await {
            Ok(found) => return check(&found.cached_info().config, &wanted),
            Err(_) => match context.create_stream(wanted.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            },
        };
        if let CreateStreamErrorKind::JetStream(answer) = error.kind()
            && FINAL.contains(&answer.error_code())
        {
            return Err(Error::Unsafe {
                stream: name,
                problem: format!("the broker will not make it: {answer}"),
            });
        }
        if Instant::now() >= until {
            return Err(Error::Broker { doing: "create a stream", source: error.into() });
        }
        tracing::info!(stream = name, error = %error, "the stream cannot be made yet");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

fn check(found: &stream::Config, wanted: &stream::Config) -> Result<(), Error> {
    let refuse = |problem: String| Err(Error::Unsafe { stream: wanted.name.clone(), problem });
    if wanted.name == LOG {
        let partitions = found.metadata.get(PARTITIONS_KEY).map(String::as_str);
        if partitions != Some(PARTITIONS.to_string().as_str()) {
            return refuse(format!(
                "it was laid out with {} partitions, this build has {PARTITIONS}; see ARCHITECTURE.md on growing them",
                partitions.unwrap_or("an unknown number of"),
            ));
        }
        if !found.allow_message_schedules || !found.allow_direct {
            return refuse(
                "message schedules and direct get must be allowed: nats-server 2.15 or newer".into(),
            );
        }
    }
    if found.storage != StorageType::File {
        return refuse("it must be stored in files".into());
    }
    if found.retention != RetentionPolicy::Limits {
        return refuse("its retention must be limits: any other forgets entries that were read".into());
    }
    if found.max_messages > 0 || found.max_bytes > 0 {
        return refuse("it has max_msgs or max_bytes, which drop old entries silently; remove them".into());
    }
    if found.persist_mode.is_some_and(|mode| mode == stream::PersistenceMode::Async) {
        return refuse("persist_mode async acknowledges before it stores".into());
    }
    if wanted.max_age.is_zero() && !found.max_age.is_zero() {
        return refuse("it forgets what is old; `nats stream edit --max-age=0`".into());
    }
    if found.num_replicas < wanted.num_replicas {
        return refuse(format!(
            "it has {} replicas, NATS_REPLICAS asks for {}: `nats stream edit --replicas`",
            found.num_replicas, wanted.num_replicas,
        ));
    }
    if wanted.name == LOG && found.max_age < wanted.max_age && !found.max_age.is_zero() {
        return refuse(format!(
            "it keeps entries for {}, LOG_HORIZON asks for {1}: `nats stream edit {LOG} --max-age={2}s`",
            humantime::format_duration(found.max_age),
            humantime::format_duration(wanted.max_age),
            wanted.max_age.as_secs(),
        ));
    }
    if found.subjects != wanted.subjects {
        return refuse(format!("it captures {:?}, not {:?}", found.subjects, wanted.subjects));
    }
    Ok(())
}
