//! Hot state: the newest decision of a conversation, as a copy of the log's.

use bytes::Bytes;
use domain::{ConversationKey, Seq};
use redis::{AsyncCommands as _, Script};

use crate::{Doing as _, Error, KEPT, Store};

/// A newer decision is never replaced by an older one: writers may overtake one another.
const KEEP_NEWEST: &str = r"
local known = redis.call('HGET', KEYS[1], 'seq')
if known and tonumber(known) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'seq', ARGV[1], 'decision', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
";

impl Store {
    /// The newest decision known here, with its position in the log.
    pub async fn load_state(&self, key: &ConversationKey) -> Result<Option<(Seq, Bytes)>, Error> {
        let (seq, decision): (Option<Seq>, Option<Vec<u8>>) = self
            .connection()
            .hmget(self.key("state", key), &["seq", "decision"])
            .await
            .doing("load a conversation's state")?;
        Ok(seq.zip(decision).map(|(seq, decision)| (seq, decision.into())))
    }

    pub async fn cache_state(&self, key: &ConversationKey, seq: Seq, decision: &[u8]) -> Result<(), Error> {
        Script::new(KEEP_NEWEST)
            .key(self.key("state", key))
            .arg(seq)
            .arg(decision)
            .arg(KEPT.as_secs())
            .invoke_async(&mut self.connection())
            .await
            .doing("cache a conversation's state")
    }
}
