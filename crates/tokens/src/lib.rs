//! Salesforce access tokens: kept in the cache, encrypted, and renewed before they end. One call per
//! person at a time, and all replicas together stay below the org's budget.
//!
//! The one place beside the services that sees two adapters: handoff and egress act for the same
//! people and must share their tokens (`docs/decisions/0005-tokens.md`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::{ContactId, IntegrationId, Millis, PhoneNumberId, settings::Integration};
use salesforce::{AccessToken, AttachmentLimits, Client, ConfigError, Error};
use store::{Store, StoredToken, Taken};

use runtime::{
    now,
    settings::{Derived, Live},
};

/// Renewed so long before the end, or a tenth of the token's life (`miaw-api.md` §2.5).
const MARGIN: Duration = Duration::from_secs(60);
/// Token requests a minute and org: 200 are allowed (§2.7); the rest is for whoever else asks.
const BUDGET: u32 = 180;
/// For the budget; whoever waits longer asks all the same, and is told by Salesforce.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A Salesforce integration with its client.
#[derive(Debug)]
pub struct Org {
    pub id: IntegrationId,
    pub client: Client,
    /// As the last token told: they are the org's, and not kept with a token.
    attachments: Mutex<AttachmentLimits>,
}

impl Org {
    fn limits(&self) -> MutexGuard<'_, AttachmentLimits> {
        self.attachments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token and when to replace it.
#[derive(Debug)]
pub struct Held {
    pub token: AccessToken,
    pub renew_at: Millis,
}

/// Tokens that nobody uses just now, of about 2 KB each.
const MOST_KEPT: usize = 20_000;

type Flight = tokio::sync::Mutex<Option<Arc<Held>>>;

pub struct Tokens {
    settings: Live,
    options: salesforce::Options,
    orgs: Derived<Orgs>,
    store: Store,
    /// One for every person who is being served or was while their token is good: a lost cache must
    /// not cost a token a call.
    flights: Mutex<HashMap<(IntegrationId, ContactId), Arc<Flight>>>,
}

type Orgs = HashMap<IntegrationId, Arc<Org>>;

/// A person's token at an org, as one follower uses it.
#[derive(Clone)]
pub struct Access {
    org: Arc<Org>,
    contact: ContactId,
    store: Store,
    flight: Arc<Flight>,
}

impl Tokens {
    /// Fails on integrations that cannot work: a bad key, a bad address.
    pub fn new(settings: Live, store: Store) -> Result<Self, ConfigError> {
        Self::with_options(settings, store, salesforce::Options::default())
    }

    /// The same, with other limits of the calls and streams.
    pub fn with_options(
        settings: Live,
        store: Store,
        options: salesforce::Options,
    ) -> Result<Self, ConfigError> {
        let now = settings.now();
        let orgs: Result<_, ConfigError> =
            now.integrations.iter().map(|integration| Org::new(integration, options)).collect();
        let orgs = Derived::new(Arc::clone(&now), orgs?);
        Ok(Self { settings, options, orgs, store, flights: Mutex::default() })
    }

    /// `None`: the number's channel has no integration.
    pub fn access(&self, number: &PhoneNumberId, contact: ContactId) -> Option<Access> {
        let org = self.org(number)?;
        let place = (org.id.clone(), contact);
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&place) {
            let flight = Arc::clone(flight);
            return Some(Access { org, contact, store: self.store.clone(), flight });
        }
        // Rarely, and then all at once.
        if flights.len() == flights.capacity() {
            prune(&mut flights);
        }
        let flight = Arc::clone(flights.entry(place).or_default());
        Some(Access { org, contact, store: self.store.clone(), flight })
    }

    /// Where the number's channel hands over, as the settings are now.
    fn org(&self, number: &PhoneNumberId) -> Option<Arc<Org>> {
        let settings = self.settings.now();
        let id = &settings.integration_of(number)?.id;
        let orgs = self.orgs.of(&settings, |before| {
            let built = settings.integrations.iter().filter_map(|integration| {
                let error = match Org::new(integration, self.options) {
                    Ok(built) => return Some(built),
                    Err(error) => runtime::error_chain(&error),
                };
                tracing::error!(integration = integration.id.as_str(), error, "kept as it was");
                let before = before?.get(&integration.id)?;
                Some((integration.id.clone(), Arc::clone(before)))
            });
            built.collect()
        });
        orgs.get(id).map(Arc::clone)
    }
}

impl Org {
    fn new(
        integration: &Integration,
        options: salesforce::Options,
    ) -> Result<(IntegrationId, Arc<Self>), ConfigError> {
        let client = Client::new(integration, options)?;
        let id = integration.id.clone();
        Ok((id.clone(), Arc::new(Self { id, client, attachments: Mutex::default() })))
    }
}

/// Forgets what nobody uses: tokens that are over, and all of them when they are too many.
fn prune<K: Eq + std::hash::Hash>(flights: &mut HashMap<K, Arc<Flight>>) {
    let used = |flight: &Arc<Flight>| Arc::strong_count(flight) > 1;
    let good = |flight: &Arc<Flight>| {
        flight.try_lock().is_ok_and(|held| held.as_ref().is_some_and(|held| now() < held.renew_at))
    };
    flights.retain(|_, flight| used(flight) || good(flight));
    if flights.len() > MOST_KEPT {
        flights.retain(|_, flight| used(flight));
    }
}

impl Access {
    pub fn org(&self) -> &Org {
        &self.org
    }

    /// A token that is not about to end: this process's, the cache's, or a new one.
    pub async fn token(&self) -> Result<Arc<Held>, Error> {
        let mut held = self.flight.lock().await;
        if let Some(held) = held.as_ref().filter(|held| now() < held.renew_at) {
            return Ok(Arc::clone(held));
        }
        let fresh = match self.cached().await {
            Some(cached) => cached,
            None => self.mint().await?,
        };
        Ok(Arc::clone(held.insert(Arc::new(fresh))))
    }

    /// A token other than `stale`, which Salesforce does not take any more.
    pub async fn renewed(&self, stale: &Held) -> Result<Arc<Held>, Error> {
        let mut held = self.flight.lock().await;
        if let Some(held) = held.as_ref().filter(|held| differs(held, stale)) {
            return Ok(Arc::clone(held));
        }
        // Another process may have renewed it.
        let fresh = match self.cached().await.filter(|cached| differs(cached, stale)) {
            Some(cached) => cached,
            None => self.mint().await?,
        };
        Ok(Arc::clone(held.insert(Arc::new(fresh))))
    }

    async fn cached(&self) -> Option<Held> {
        let stored = match self.store.load_token(&self.org.id, self.contact).await {
            Ok(stored) => stored?,
            Err(error) => {
                tracing::debug!(error = runtime::error_chain(&error), "no token from the cache");
                return None;
            }
        };
        let renew_at = renew_at(now(), stored.expires_at, fastrand::f64());
        let token = AccessToken {
            token: stored.token,
            last_event_id: stored.last_event_id,
            expires_at: stored.expires_at,
            subject: String::new(),
            // Until a token told: an org that takes less says so when it is tried.
            attachments: *self.org.limits(),
        };
        // What is almost over is not worth a connection.
        (stored.expires_at - now() > millis(MARGIN)).then_some(Held { token, renew_at })
    }

    async fn mint(&self) -> Result<Held, Error> {
        self.wait_for_budget().await;
        let at = now();
        let token = self.org.client.authenticate(&self.contact.to_string(), at).await?;
        *self.org.limits() = token.attachments;
        let stored = StoredToken {
            token: token.token.clone(),
            last_event_id: token.last_event_id.clone(),
            expires_at: token.expires_at,
        };
        if let Err(error) = self.store.save_token(&self.org.id, self.contact, &stored, at).await {
            tracing::debug!(error = runtime::error_chain(&error), "token not kept");
        }
        let renew_at = renew_at(at, token.expires_at, fastrand::f64());
        Ok(Held { token, renew_at })
    }

    async fn wait_for_budget(&self) {
        let name = format!("tokens:{}", self.org.id.as_str());
        let waiting = async {
            loop {
                match self.store.take(&name, BUDGET, f64::from(BUDGET) / 60.0, 1).await {
                    Ok(Taken::WaitFor(pause)) => {
                        tokio::time::sleep(pause.max(Duration::from_millis(50))).await
                    }
                    // Without the cache nobody counts: Salesforce says when it is too much.
                    Ok(Taken::Now) | Err(_) => return,
                }
            }
        };
        let _ = tokio::time::timeout(LONGEST_WAIT, waiting).await;
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

fn differs(held: &Held, stale: &Held) -> bool {
    use secrecy::ExposeSecret as _;
    held.token.token.expose_secret() != stale.token.token.expose_secret()
}

/// When to replace a token that is valid from `now` until `expires_at`: 60 s before the end, or a
/// tenth of its life where that is more, each ±20 % (`jitter`: 0 to 1) so that tokens made together
/// are not renewed together; never before half of its life.
fn renew_at(now: Millis, expires_at: Millis, jitter: f64) -> Millis {
    let life = expires_at.saturating_sub(now).max(0);
    let margin = millis(MARGIN).max(life / 10).min(life / 2);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "milliseconds of days at most"
    )]
    let margin = (margin as f64 * (0.8 + 0.4 * jitter.clamp(0.0, 1.0))) as Millis;
    expires_at.saturating_sub(margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_or_good_is_kept() {
        let flight = |renew_at| {
            let token = AccessToken {
                token: "t".to_owned().into(),
                last_event_id: String::new(),
                expires_at: renew_at,
                subject: String::new(),
                attachments: salesforce::AttachmentLimits::default(),
            };
            Arc::new(Flight::new(Some(Arc::new(Held { token, renew_at }))))
        };
        let used = flight(0);
        let mut flights = HashMap::from([
            (1, Arc::clone(&used)),
            (2, flight(0)),
            (3, flight(Millis::MAX)),
            (4, Arc::default()),
        ]);
        prune(&mut flights);
        let mut kept: Vec<_> = flights.into_keys().collect();
        kept.sort_unstable();
        assert_eq!(kept, [1, 3]);
    }

    #[test]
    fn tokens_are_renewed_early_and_not_all_at_once() {
        let minute = 60_000;
        assert_eq!(renew_at(0, 60 * minute, 0.5), 54 * minute);
        assert_eq!(renew_at(0, 5 * minute, 0.5), 4 * minute);
        // A life shorter than the margin: halfway, not at once and again and again.
        assert_eq!(renew_at(0, 10_000, 0.5), 5_000);
        assert_eq!(renew_at(1_000, 0, 0.5), 0);
        assert_eq!(renew_at(0, 60 * minute, 0.0), 60 * minute - 288_000);
        assert_eq!(renew_at(0, 60 * minute, 1.0), 60 * minute - 432_000);
    }
}
