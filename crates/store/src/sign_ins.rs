//! Who is signed in to the console. Lost with the cache: people sign in again.
//!
//! A dump tells nothing: the key is a digest of the id that the browser has, the value is sealed.

use std::{sync::LazyLock, time::Duration};

use aws_lc_rs::digest;
use redis::{AsyncCommands as _, Script};
use serde::{Deserialize, Serialize};

use crate::{Doing as _, Error, Sealed, Store, millis, timed};

/// Ends a sign-in that nobody used for so long.
pub const SIGN_IN_IDLE: Duration = Duration::from_secs(30 * 60);
/// Ends every sign-in.
pub const SIGN_IN_LONGEST: Duration = Duration::from_secs(12 * 3600);

/// How long somebody may take at an identity provider.
pub const FLOW_LONGEST: Duration = Duration::from_secs(10 * 60);

/// Who signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    /// Unique among those who may sign in.
    pub name: String,
    /// Of what they signed in with and what they might do then: when that differs now, they are not
    /// signed in any more.
    pub fingerprint: String,
    /// What they are here, where an identity provider said so; for those of our own file, the file says.
    #[serde(default)]
    pub role: Option<String>,
}

/// ARGV: clock, idle and longest in milliseconds, who.
const BEGIN: &str = r"
local at = string.format('%.0f', now)
redis.call('HSET', KEYS[1], 'who', ARGV[4], 'begun', at, 'used', at)
redis.call('PEXPIRE', KEYS[1], math.min(tonumber(ARGV[2]), tonumber(ARGV[3])))
return 1
";

/// ARGV: clock, idle and longest in milliseconds, whether it counts as used.
const LOOK: &str = r"
local known = redis.call('HMGET', KEYS[1], 'who', 'begun', 'used')
if not known[1] then return nil end
local idle, longest = tonumber(ARGV[2]), tonumber(ARGV[3])
local begun, used = tonumber(known[2]) or 0, tonumber(known[3]) or 0
if now - used >= idle or now - begun >= longest then
  redis.call('DEL', KEYS[1])
  return nil
end
if ARGV[4] == '1' then
  redis.call('HSET', KEYS[1], 'used', string.format('%.0f', now))
  redis.call('PEXPIRE', KEYS[1], math.max(1, math.min(idle, begun + longest - now)))
end
return known[1]
";

static BEGINNING: LazyLock<Script> = LazyLock::new(|| timed(BEGIN));
static LOOKING: LazyLock<Script> = LazyLock::new(|| timed(LOOK));

impl Store {
    /// `id`: a secret that only the browser keeps.
    pub async fn begin_sign_in(&self, id: &str, who: &SignedIn) -> Result<(), Error> {
        let place = self.sign_in_key(id);
        let plain = serde_json::to_vec(who).map_err(|_| Error::Malformed("a sign-in"))?;
        let Some(Sealed(sealed)) = self.seal.seal(&place, &plain) else {
            return Err(Error::Malformed("a sign-in"));
        };
        BEGINNING
            .key(place)
            .arg(self.clock_arg())
            .arg(millis(SIGN_IN_IDLE))
            .arg(millis(SIGN_IN_LONGEST))
            .arg(sealed)
            .invoke_async(&mut self.connection())
            .await
            .doing("keep a sign-in")
    }

    /// `None`: never signed in, signed out, or too long ago. `used`: somebody did something, so that
    /// it stays for another [`SIGN_IN_IDLE`]; false for what a page does by itself.
    pub async fn signed_in(&self, id: &str, used: bool) -> Result<Option<SignedIn>, Error> {
        let place = self.sign_in_key(id);
        let sealed: Option<String> = LOOKING
            .key(&place)
            .arg(self.clock_arg())
            .arg(millis(SIGN_IN_IDLE))
            .arg(millis(SIGN_IN_LONGEST))
            .arg(u8::from(used))
            .invoke_async(&mut self.connection())
            .await
            .doing("look a sign-in up")?;
        // Sealed under a key that is gone, or damaged: as good as none.
        let plain = sealed.and_then(|sealed| self.seal.open(&place, &Sealed(sealed)));
        Ok(plain.and_then(|plain| serde_json::from_slice(&plain).ok()))
    }

    pub async fn end_sign_in(&self, id: &str) -> Result<(), Error> {
        self.connection().del(self.sign_in_key(id)).await.doing("end a sign-in")
    }

    /// What is to be known when the browser comes back from an identity provider. `id`: a secret of the
    /// browser's and of the request's.
    pub async fn begin_flow(&self, id: &str, plain: &[u8]) -> Result<(), Error> {
        let place = self.flow_key(id);
        let Some(Sealed(sealed)) = self.seal.seal(&place, plain) else {
            return Err(Error::Malformed("a flow"));
        };
        let mut connection = self.connection();
        connection.set_ex(place, sealed, FLOW_LONGEST.as_secs()).await.doing("keep a flow")
    }

    /// Once: `None` for whoever comes with it again, and after [`FLOW_LONGEST`].
    pub async fn take_flow(&self, id: &str) -> Result<Option<Vec<u8>>, Error> {
        let place = self.flow_key(id);
        let sealed: Option<String> = self.connection().get_del(&place).await.doing("look a flow up")?;
        Ok(sealed.and_then(|sealed| self.seal.open(&place, &Sealed(sealed))))
    }

    fn flow_key(&self, id: &str) -> String {
        self.key("flow", hex::encode(digest::digest(&digest::SHA256, id.as_bytes())))
    }

    fn sign_in_key(&self, id: &str) -> String {
        self.key("sign-in", hex::encode(digest::digest(&digest::SHA256, id.as_bytes())))
    }
}
