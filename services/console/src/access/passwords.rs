//! Passwords are kept as argon2id hashes, and cost the same to check whether or not the name is known.

use std::{sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash::phc::PasswordHash,
};
use aws_lc_rs::rand;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use crate::error::RouteError;

/// OWASP's password storage cheat sheet: argon2id with 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// A hash from elsewhere may cost so much, and no more.
const MOST_MEMORY_KIB: u32 = 128 * 1024;
const MOST_PASSES: u32 = 10;
/// Checks at once: each takes a core and its memory.
const AT_ONCE: usize = 2;
const PATIENCE: Duration = Duration::from_secs(5);
/// Longer ones are wrong without a look.
pub(super) const LONGEST: usize = 256;
/// NIST SP 800-63B-4 asks for 15 where the password is all there is, 8 at the very least.
pub(super) const SHORTEST: usize = 12;

pub(super) struct Passwords {
    places: Arc<Semaphore>,
    /// Of a password that nobody has.
    decoy: String,
}

impl Passwords {
    /// `like`: a hash that is in use, so that the decoy costs as much.
    pub(super) fn new(like: Option<&str>) -> anyhow::Result<Self> {
        let params = like.and_then(params).map_or_else(standard, Ok)?;
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(|_| anyhow::anyhow!("the system has no randomness"))?;
        Ok(Self { places: Arc::new(Semaphore::new(AT_ONCE)), decoy: hash_with(params, &secret)? })
    }

    /// `hash`: none for a name that nobody has; then false, after as long.
    pub(super) async fn is_right(&self, hash: Option<&str>, given: String) -> Result<bool, RouteError> {
        let place = timeout(PATIENCE, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(RouteError::Busy) };
        let known = hash.is_some();
        let hash = hash.unwrap_or(&self.decoy).to_owned();
        let checked = spawn_blocking(move || {
            // Given back when the check is over, even if nobody waits for it any more.
            let _place = place;
            Argon2::default().verify_password(given.as_bytes(), hash.as_str()).is_ok()
        });
        let right = checked.await.map_err(|_| RouteError::Internal)?;
        Ok(right && known)
    }
}

/// What stands in the file.
pub(super) fn hash(password: &str) -> anyhow::Result<String> {
    hash_with(standard()?, password.as_bytes())
}

/// What is wrong with a hash, without quoting it.
pub(super) fn problem(hash: &str) -> Option<&'static str> {
    let Some(params) = params(hash) else {
        return Some("is no argon2id hash (make one with `console hash-password`)");
    };
    if params.m_cost() < MEMORY_KIB || params.t_cost() < PASSES {
        return Some("is weaker than m=19456, t=2: make it again with `console hash-password`");
    }
    if params.m_cost() > MOST_MEMORY_KIB || params.t_cost() > MOST_PASSES || params.p_cost() > 4 {
        return Some("costs more than m=131072, t=10, p=4 to check");
    }
    None
}

fn params(hash: &str) -> Option<Params> {
    let parsed = PasswordHash::new(hash).ok()?;
    let complete = parsed.salt.is_some() && parsed.hash.is_some();
    (complete && parsed.algorithm.as_str() == "argon2id").then(|| Params::try_from(&parsed).ok())?
}

fn standard() -> anyhow::Result<Params> {
    Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| anyhow::anyhow!("argon2: {error}"))
}

fn hash_with(params: Params, password: &[u8]) -> anyhow::Result<String> {
    let mut salt = [0; 16];
    rand::fill(&mut salt).map_err(|_| anyhow::anyhow!("the system has no randomness"))?;
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: PasswordHash = hasher
        .hash_password_with_salt(password, &salt)
        .map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_right_or_wrong_and_an_unknown_name_is_wrong() {
        let one = hash("correct horse battery").unwrap();
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, hash("correct horse battery").unwrap(), "salted");
        let passwords = Passwords::new(Some(&one)).unwrap();
        let check = |hash, given: &str| passwords.is_right(hash, given.to_owned());
        assert_eq!(check(Some(one.as_str()), "correct horse battery").await, Ok(true));
        assert_eq!(check(Some(one.as_str()), "correct horse").await, Ok(false));
        assert_eq!(check(None, "correct horse battery").await, Ok(false));
    }

    #[test]
    fn weak_foreign_and_absurd_hashes_are_told_without_being_quoted() {
        let rest = "$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo";
        assert_eq!(problem(&format!("$argon2id$v=19$m=19456,t=2,p=1{rest}")), None);
        for bad in [
            "",
            "secret in the clear",
            "$2b$12$abcdefghijklmnopqrstuv",
            "$argon2id$v=19$m=19456,t=2,p=1",
            &format!("$argon2i$v=19$m=19456,t=2,p=1{rest}"),
            &format!("$argon2id$v=19$m=4096,t=3,p=1{rest}"),
            &format!("$argon2id$v=19$m=4194304,t=2,p=1{rest}"),
        ] {
            assert!(problem(bad).is_some_and(|told| !told.contains("c2Fsd")), "{bad}");
        }
    }
}
