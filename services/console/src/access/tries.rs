//! How often somebody may try.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::HeaderMap;
use store::Budget;

/// Tries of one name, right ones among them.
pub(super) const OF_A_NAME: Budget = Budget::window("console:name", 10, Duration::from_secs(15 * 60));
/// Tries from one address: an office has one for everybody.
pub(super) const OF_AN_ADDRESS: Budget = Budget::window("console:address", 60, Duration::from_secs(15 * 60));

/// Different wrong tokens that programs at one address may send in [`FORGET`]: the same one again and
/// again is a mistake, and no guess.
const WRONG_TOKENS: usize = 20;
const FORGET: Duration = Duration::from_secs(60);
/// Addresses that are remembered, each with a few hundred bytes.
const MOST_ADDRESSES: usize = 10_000;

/// Wrong tokens, counted by this process alone: programs call often, and the cache is not asked.
#[derive(Default)]
pub(super) struct WrongTokens(Mutex<HashMap<String, Wrong>>);

struct Wrong {
    since: Instant,
    /// The beginnings of their digests.
    tokens: Vec<[u8; 8]>,
}

impl WrongTokens {
    /// How long nothing is compared for `address`.
    pub(super) fn wait(&self, address: &str, now: Instant) -> Option<Duration> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = known.get(address).filter(|wrong| wrong.tokens.len() >= WRONG_TOKENS)?;
        FORGET.checked_sub(now.saturating_duration_since(wrong.since)).filter(|left| !left.is_zero())
    }

    pub(super) fn count(&self, address: &str, sha256: &[u8; 32], now: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |wrong: &Wrong| now.saturating_duration_since(wrong.since) >= FORGET;
        if known.len() >= MOST_ADDRESSES && !known.contains_key(address) {
            known.retain(|_, wrong| !is_old(wrong));
            if known.len() >= MOST_ADDRESSES {
                known.clear();
            }
        }
        let wrong = known.entry(address.to_owned()).or_insert(Wrong { since: now, tokens: Vec::new() });
        if is_old(wrong) {
            *wrong = Wrong { since: now, tokens: Vec::new() };
        }
        let [a, b, c, d, e, f, g, h, ..] = *sha256;
        let token = [a, b, c, d, e, f, g, h];
        if wrong.tokens.len() < WRONG_TOKENS && !wrong.tokens.contains(&token) {
            wrong.tokens.push(token);
        }
    }
}

/// Who tries: the connection's other end, or, where that is a proxy beside us, whom it names. Of an
/// IPv6 address the network, because a machine has as many addresses as it likes.
pub(super) fn address(peer: Option<IpAddr>, headers: &HeaderMap) -> String {
    let named = headers
        .get_all("x-forwarded-for")
        .iter()
        .next_back()
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.rsplit(',').next())
        .and_then(|last| last.trim().parse::<IpAddr>().ok());
    let peer = peer.map(|peer| peer.to_canonical());
    let address = match (peer, named) {
        (Some(peer), Some(named)) if is_near(peer) => named.to_canonical(),
        (Some(peer), _) => peer,
        (None, _) => return "unknown".to_owned(),
    };
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_string()
        }
    }
}

fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_counted_by_who_tries() {
        let of = |peer: &str, forwarded: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            address(Some(peer.parse().unwrap()), &headers)
        };
        assert_eq!(of("203.0.113.9", &[]), "203.0.113.9");
        assert_eq!(of("203.0.113.9", &["198.51.100.1"]), "203.0.113.9", "anybody can claim that");
        assert_eq!(of("127.0.0.1", &["192.0.2.1, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(of("10.0.0.3", &["192.0.2.1", "198.51.100.2"]), "198.51.100.2");
        assert_eq!(of("::ffff:10.0.0.3", &["2001:db8:1:2:3:4:5:6"]), "2001:db8:1:2::");
        assert_eq!(of("127.0.0.1", &["nonsense"]), "127.0.0.1");
    }

    #[test]
    fn guessing_is_stopped_and_a_mistake_is_not() {
        let wrong = WrongTokens::default();
        let start = Instant::now();
        let token = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            bytes
        };
        for _ in 0..1000 {
            wrong.count("a", &token(1), start);
        }
        assert_eq!(wrong.wait("a", start), None);
        for n in 0..WRONG_TOKENS {
            assert_eq!(wrong.wait("b", start), None);
            wrong.count("b", &token(n), start);
        }
        assert_eq!(wrong.wait("b", start), Some(FORGET));
        assert_eq!(wrong.wait("c", start), None);
        assert_eq!(wrong.wait("b", start + FORGET), None);
        wrong.count("b", &token(0), start + FORGET);
        assert_eq!(wrong.wait("b", start + FORGET), None, "from the beginning");
        for n in 0..2 * MOST_ADDRESSES {
            wrong.count(&n.to_string(), &token(0), start);
        }
        assert!(wrong.0.lock().unwrap().len() <= MOST_ADDRESSES);
    }
}
