//! Budgets shared by all replicas, each decision one atomic script on the server's clock.

use std::{fmt, sync::LazyLock, time::Duration};

use redis::Script;

use crate::{Doing as _, Error, Store, millis, timed};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Now,
    /// Not granted. Asking again after this long may be.
    WaitFor(Duration),
}

/// What somebody allows in a while. Every user of a name must mean the same by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub name: &'static str,
    /// A window's is at most [`Budget::LARGEST_WINDOW`].
    pub capacity: u32,
    pub per: Duration,
    pub shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Never more than the capacity within any such time: all at once if need be, then a pause. For
    /// limits of others, however they count. Remembers every single one, so keep it small.
    Window,
    /// Refills evenly: a burst of the capacity, then one by one. Nearly twice the capacity may go
    /// in the first such time. For ramps, and for limits of our own.
    Bucket,
}

impl Budget {
    pub const LARGEST_WINDOW: u32 = 1024;

    /// Messages into one Salesforce conversation: 22 a minute (`miaw-api.md`, table of limits). A
    /// second more than the minute, because requests take unequal time on their way.
    pub const CONVERSATION_MESSAGES: Self = Self::window("sf:messages", 22, Duration::from_secs(61));
    /// Conversations that one person starts: 3 in 30 s, documented for a page (same table), so
    /// perhaps less strict for us.
    pub const CONVERSATION_STARTS: Self = Self::window("sf:starts", 3, Duration::from_secs(31));
    /// Conversations that an org gets from us: no official number, 5 a second is careful.
    pub const ORG_CREATES: Self = Self::bucket("sf:creates", 5, Duration::from_secs(1));

    pub const fn window(name: &'static str, capacity: u32, per: Duration) -> Self {
        Self { name, capacity, per, shape: Shape::Window }
    }

    pub const fn bucket(name: &'static str, capacity: u32, per: Duration) -> Self {
        Self { name, capacity, per, shape: Shape::Bucket }
    }
}

/// ARGV: clock, capacity, milliseconds of the window, how many. Keeps when the newest were granted.
const WINDOW: &str = r"
local capacity, per, wanted = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local in_the_way = redis.call('LINDEX', KEYS[1], capacity - wanted)
if in_the_way then
  local wait = tonumber(in_the_way) + per - now
  -- More than a window: the clock went back.
  if wait > per then redis.call('DEL', KEYS[1]) elseif wait > 0 then return wait end
end
for _ = 1, wanted do redis.call('LPUSH', KEYS[1], string.format('%.0f', now)) end
redis.call('LTRIM', KEYS[1], 0, capacity - 1)
redis.call('PEXPIRE', KEYS[1], per)
return 0
";

/// ARGV: clock, capacity, refill a second, how many. Answers the milliseconds to wait, 0 when
/// granted.
const TAKE: &str = r"
local capacity, refill, wanted = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
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

static SPEND: LazyLock<Script> = LazyLock::new(|| timed(WINDOW));
static REFILL: LazyLock<Script> = LazyLock::new(|| timed(TAKE));

impl Store {
    /// Spends `cost` (at most the capacity) of `budget`, which every `key` has for itself: a
    /// conversation, an org. All or nothing.
    pub async fn spend(&self, budget: &Budget, key: impl fmt::Display, cost: u32) -> Result<Taken, Error> {
        let name = format_args!("{}:{key}", budget.name).to_string();
        let per = budget.per.max(Duration::from_millis(1));
        match budget.shape {
            Shape::Bucket => {
                let refill = f64::from(budget.capacity) / per.as_secs_f64();
                self.take(&name, budget.capacity, refill, cost).await
            }
            Shape::Window => {
                let capacity = budget.capacity.clamp(1, Budget::LARGEST_WINDOW);
                let wait: u64 = SPEND
                    .key(self.key("window", &name))
                    .arg(self.clock_arg())
                    .arg(capacity)
                    .arg(millis(per))
                    .arg(cost.min(capacity))
                    .invoke_async(&mut self.connection())
                    .await
                    .doing("spend a budget")?;
                Ok(Taken::after(wait))
            }
        }
    }

    /// Takes `wanted` (at most `capacity`) of the budget `name`, if it has that many now.
    pub async fn take(
        &self,
        name: &str,
        capacity: u32,
        refill_per_second: f64,
        wanted: u32,
    ) -> Result<Taken, Error> {
        let wait: u64 = REFILL
            .key(self.key("budget", name))
            .arg(self.clock_arg())
            .arg(capacity)
            .arg(refill_per_second)
            .arg(wanted.min(capacity))
            .invoke_async(&mut self.connection())
            .await
            .doing("take from a budget")?;
        Ok(Taken::after(wait))
    }
}

impl Taken {
    fn after(millis: u64) -> Self {
        if millis == 0 { Self::Now } else { Self::WaitFor(Duration::from_millis(millis)) }
    }
}
