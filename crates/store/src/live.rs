//! How many messaging sessions an org has from us just now, over all replicas. A hint: after the cache
//! was lost it counts from nothing, and Salesforce says when it is too many.

use std::{fmt, sync::LazyLock, time::Duration};

use domain::ThreadId;
use redis::{AsyncCommands as _, Script};

use crate::{Doing as _, Error, Store, millis, timed};

/// A session that nobody said the end of is not counted for longer: Salesforce ends inactive ones
/// after about a day (`miaw-api.md` §10).
const COUNTED: Duration = Duration::from_secs(3 * 24 * 3600);

/// ARGV: clock, milliseconds that one is counted, limit, member. 1: it is counted, or was.
const ENTER: &str = r"
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
if not redis.call('ZSCORE', KEYS[1], ARGV[4]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then
  return 0
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
";

static SCRIPT: LazyLock<Script> = LazyLock::new(|| timed(ENTER));

impl Store {
    /// Counts a session in this conversation, unless `org` has `limit` others already: then false.
    /// Again for the same conversation is the same session.
    pub async fn enter_live(
        &self,
        org: impl fmt::Display,
        thread: ThreadId,
        limit: u32,
    ) -> Result<bool, Error> {
        SCRIPT
            .key(self.key("live", org))
            .arg(self.clock_arg())
            .arg(millis(COUNTED))
            .arg(limit)
            .arg(thread.to_string())
            .invoke_async(&mut self.connection())
            .await
            .doing("count a messaging session")
    }

    /// The conversation has no session any more.
    pub async fn leave_live(&self, org: impl fmt::Display, thread: ThreadId) -> Result<(), Error> {
        self.connection()
            .zrem(self.key("live", org), thread.to_string())
            .await
            .doing("forget a messaging session")
    }
}
