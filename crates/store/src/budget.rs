//! Budgets shared by all replicas: a token bucket in one atomic script, on the server's clock.

use std::time::Duration;

use redis::Script;

use crate::{Doing as _, Error, Store};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Now,
    /// Not granted. Asking again after this long may be.
    WaitFor(Duration),
}

/// ARGV: capacity, refill a second, how many. Answers the milliseconds to wait, 0 when granted.
const TAKE: &str = r"
local capacity, refill, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local known = redis.call('HMGET', KEYS[1], 'level', 'at')
local level = tonumber(known[1]) or capacity
local at = tonumber(known[2]) or now
level = math.min(capacity, level + math.max(0, now - at) * refill / 1000)
local wait = 0
if level >= wanted then level = level - wanted
else wait = math.ceil((wanted - level) * 1000 / refill) end
redis.call('HSET', KEYS[1], 'level', tostring(level), 'at', now)
redis.call('PEXPIRE', KEYS[1], math.ceil(capacity * 1000 / refill) + 1000)
return wait
";

impl Store {
    /// Takes `wanted` (at most `capacity`) of the budget `name`, if it has that many now.
    pub async fn take(
        &self,
        name: &str,
        capacity: u32,
        refill_per_second: f64,
        wanted: u32,
    ) -> Result<Taken, Error> {
        let wait: u64 = Script::new(TAKE)
            .key(self.key("budget", name))
            .arg(capacity)
            .arg(refill_per_second)
            .arg(wanted.min(capacity))
            .invoke_async(&mut self.connection())
            .await
            .doing("take from a budget")?;
        Ok(if wait == 0 { Taken::Now } else { Taken::WaitFor(Duration::from_millis(wait)) })
    }
}
