//! Single flight among replicas, to spare an outside system the same request twice. It may fail to
//! exclude (the store may be lost): what it guards is idempotent anyway.

use std::time::Duration;

use aws_lc_rs::rand;
use redis::Script;

use crate::{Doing as _, Error, Store};

/// A lock that is held until it is unlocked or its time is over.
#[derive(Debug)]
#[must_use = "unlock it, or others wait until its time is over"]
pub struct Lock {
    place: String,
    /// Told by nobody else, so that a late unlock does not free the next holder's lock.
    holder: String,
}

const UNLOCK: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
";

impl Store {
    /// `None` while another holds `name`.
    pub async fn try_lock(&self, name: &str, ttl: Duration) -> Result<Option<Lock>, Error> {
        let mut holder = [0; 16];
        rand::fill(&mut holder).map_err(|_| Error::Malformed("the system's randomness"))?;
        let lock = Lock { place: self.key("lock", name), holder: hex::encode(holder) };
        let set: Option<String> = redis::cmd("SET")
            .arg(&lock.place)
            .arg(&lock.holder)
            .arg("NX")
            .arg("PX")
            .arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1))
            .query_async(&mut self.connection())
            .await
            .doing("take a lock")?;
        Ok(set.map(|_| lock))
    }

    pub async fn unlock(&self, lock: Lock) -> Result<(), Error> {
        Script::new(UNLOCK)
            .key(lock.place)
            .arg(lock.holder)
            .invoke_async(&mut self.connection())
            .await
            .doing("release a lock")
    }
}
