//! `cargo xtask log`: the log's entries, decoded. It prints what people wrote: for operators only.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use async_nats::{
    ConnectOptions, ServerAddr,
    jetstream::{
        self, Message,
        consumer::{AckPolicy, DeliverPolicy, pull},
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use domain::{ConversationKey, Seq, SessionId};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use proto::subjects::{self, Address};
use protox::file::{File, FileResolver};
use serde_json::{Value, json};

/// The stream (`bus` makes it).
const STREAM: &str = "CONVERSATIONS";

#[derive(Debug, Clone, Args)]
pub struct Log {
    /// One JSON object a line: `seq`, `at`, `subject`, `conversation`, `kind`, `id`, `entry`.
    /// Without it, a short line for each entry, without what people wrote.
    #[arg(long)]
    json: bool,
    /// Of one conversation.
    #[arg(long, value_name = "KEY", conflicts_with = "session")]
    conversation: Option<ConversationKey>,
    /// Of one session (`OpencxSessionId`). Its conversation is looked for in all decisions.
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    /// Keep on as the log grows.
    #[arg(long)]
    follow: bool,
    /// The broker; by default that of the running demo.
    #[arg(long, env = "NATS_URL", hide_env_values = true)]
    nats_url: Option<String>,
}

impl Log {
    pub async fn run(&self) -> Result<()> {
        let url = match &self.nats_url {
            Some(url) => url.clone(),
            None => Pointer::read().context("no demo is running: say --nats-url or set NATS_URL")?,
        };
        let reader = Reader::connect(&url).await?;
        let (filter, from) = match (self.conversation, self.session) {
            (Some(key), _) => (subjects::conversation(&key), 1),
            (None, Some(session)) => {
                let (key, first) = reader.find(session).await?;
                (subjects::conversation(&key), first)
            }
            (None, None) => (">".into(), 1),
        };
        let mut entries = reader.read(filter, from, self.follow).await?;
        // The entries of a session end where the next session's first fact stands, which only the
        // decision after it tells.
        let mut held = Vec::new();
        while let Some(entry) = entries.try_next().await? {
            if let Some(session) = self.session {
                let (next, first) = session_of(&entry);
                if next.is_some_and(|next| next != session) {
                    held.retain(|held: &Value| held["seq"].as_u64() < first);
                    break;
                }
                if !self.follow {
                    held.push(entry);
                    continue;
                }
            }
            if !self.print(&entry)? {
                return Ok(());
            }
        }
        for entry in &held {
            if !self.print(entry)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// False when nobody reads any more (`| head`).
    fn print(&self, entry: &Value) -> Result<bool> {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let line = if self.json {
            entry.to_string()
        } else {
            let short: String = text("conversation").chars().take(8).collect();
            let seq = entry["seq"].to_string();
            format!("{seq:>8}  {:<30}  {short:<8}  {:<7}  {}", text("at"), text("kind"), text("id"))
        };
        match writeln!(std::io::stdout(), "{line}") {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error).context("print an entry"),
        }
    }
}

/// All entries from now on, and those that are there.
pub(crate) async fn follow(nats_url: &str) -> Result<BoxStream<'static, Result<Value>>> {
    Reader::connect(nats_url).await?.read(">".into(), 1, true).await
}

struct Reader {
    stream: jetstream::stream::Stream,
    entry: MessageDescriptor,
}

impl Reader {
    async fn connect(url: &str) -> Result<Self> {
        let address: ServerAddr = url.parse().context("read the broker's address")?;
        // As services do (bus): with what stands in the address, and hearing its own inboxes only.
        let options = match (address.username(), address.password()) {
            (Some(user), Some(password)) => ConnectOptions::new()
                .user_and_password(user.to_owned(), password.to_owned())
                .custom_inbox_prefix(format!("_INBOX_{user}")),
            (Some(token), None) => ConnectOptions::new().token(token.to_owned()),
            (None, _) => ConnectOptions::new(),
        };
        let client = options.connect(url).await.context("connect to NATS")?;
        let stream = jetstream::new(client).get_stream(STREAM).await.context("open the log")?;
        Ok(Self { stream, entry: schema()? })
    }

    /// Entries in order; ends with the newest unless it follows.
    async fn read(
        &self,
        filter: String,
        from: Seq,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<Value>>> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from.max(1) },
            ack_policy: AckPolicy::None,
            filter_subject: filter,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let consumer = self.stream.create_consumer(config).await.context("read the log")?;
        if !follow && consumer.cached_info().num_pending == 0 {
            return Ok(futures::stream::empty().boxed());
        }
        let messages = consumer.messages().await.context("read the log")?;
        let entry = self.entry.clone();
        let entries = futures::stream::try_unfold(Some((messages, entry)), move |state| async move {
            let Some((mut messages, entry)) = state else { return Ok(None) };
            let Some(message) = messages.next().await else { return Ok(None) };
            let message = message.context("read an entry")?;
            let pending = message.info().map_err(|e| anyhow::anyhow!(e)).context("read a position")?.pending;
            let value = decode(&entry, &message)?;
            Ok(Some((value, (follow || pending > 0).then_some((messages, entry)))))
        });
        Ok(entries.boxed())
    }

    /// The conversation of a session, and the position of the session's first fact.
    async fn find(&self, session: SessionId) -> Result<(ConversationKey, Seq)> {
        let mut decisions = self.read("conv.*.*.dec".into(), 1, false).await?;
        while let Some(entry) = decisions.try_next().await? {
            if let (Some(id), first) = session_of(&entry)
                && id == session
            {
                let key = entry["conversation"].as_str().and_then(|key| key.parse().ok());
                return Ok((key.context("a decision without conversation")?, first.unwrap_or(1)));
            }
        }
        bail!("no decision in the log belongs to session {session}")
    }
}

/// The session that a decision is in, and where it began.
fn session_of(entry: &Value) -> (Option<SessionId>, Option<Seq>) {
    let session = &entry["entry"]["decision"]["state"]["session"];
    (session["id"].as_str().and_then(|id| id.parse().ok()), session["first"].as_u64())
}

/// The schema is in the program: the playground also runs where there is no tree.
struct Schema;

impl Schema {
    const NAME: &str = "baton/v1/log.proto";
    const TEXT: &str = include_str!("../../proto/baton/v1/log.proto");
}

impl FileResolver for Schema {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        (path == Path::new(Self::NAME)).then(|| Self::NAME.to_owned())
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            Self::NAME => File::from_source(Self::NAME, Self::TEXT),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// So that the JSON is protobuf's own mapping.
fn schema() -> Result<MessageDescriptor> {
    let mut compiler = protox::Compiler::with_file_resolver(Schema);
    compiler.include_imports(true).open_file(Schema::NAME).context("compile the schema")?;
    let pool = DescriptorPool::from_file_descriptor_set(compiler.file_descriptor_set())
        .context("read the schema")?;
    pool.get_message_by_name("baton.v1.Entry").context("the schema has no Entry")
}

fn decode(entry: &MessageDescriptor, message: &Message) -> Result<Value> {
    let info = message.info().map_err(|e| anyhow::anyhow!(e)).context("read a position")?;
    let subject = message.subject.as_str();
    let decoded =
        DynamicMessage::decode(entry.clone(), message.payload.clone()).context("decode an entry")?;
    let options = SerializeOptions::new().stringify_64_bit_integers(false).use_proto_field_name(true);
    let mut body = decoded.serialize_with_options(serde_json::value::Serializer, &options)?;
    show_raw(&mut body);
    let mut value = json!({
        "seq": info.stream_sequence,
        "at": jiff::Timestamp::from_nanosecond(info.published.unix_timestamp_nanos()).unwrap_or_default().to_string(),
        "subject": subject,
        "entry": body,
    });
    if let Ok(address) = subject.parse::<Address>() {
        value["conversation"] = address.key.to_string().into();
        value["kind"] = address.kind.as_str().into();
        value["id"] = address.id.into();
    } else if let Some((kind, rest)) = subject.split_once('.') {
        // A timer that the broker holds, or what concerns no conversation.
        value["kind"] = kind.into();
        value["id"] = rest.into();
    }
    if let Some(trace) = message.headers.as_ref().and_then(|headers| headers.get("traceparent")) {
        value["traceparent"] = trace.as_str().into();
    }
    Ok(value)
}

/// What came over the wire is JSON in bytes: shown as the JSON it is.
fn show_raw(body: &mut Value) {
    for content in body.as_object_mut().into_iter().flat_map(|body| body.values_mut()) {
        if let Some(raw) = content.get_mut("raw")
            && let Some(bytes) = raw.as_str().and_then(|text| STANDARD.decode(text).ok())
            && let Ok(json) = serde_json::from_slice(&bytes)
        {
            *raw = json;
        }
    }
}

/// Tells other commands where the running demo's broker is. The file goes with it.
#[derive(Debug)]
pub(crate) struct Pointer;

impl Pointer {
    fn path() -> PathBuf {
        devstack::workspace_root().join(".baton/nats-url")
    }

    pub(crate) fn leave(url: &str) -> Result<Self> {
        let path = Self::path();
        path.parent().map_or(Ok(()), std::fs::create_dir_all).context("make .baton")?;
        std::fs::write(path, url).context("leave a note where the broker is")?;
        Ok(Self)
    }

    fn read() -> Option<String> {
        std::fs::read_to_string(Self::path()).ok()
    }
}

impl Drop for Pointer {
    fn drop(&mut self) {
        // Another demo's may be there by now; then its log is asked for by address.
        let _ = std::fs::remove_file(Self::path());
    }
}
