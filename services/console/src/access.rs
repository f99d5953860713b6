//! Who may look, and who may do what.
//!
//! People sign in with a name and a password ([`people`]), which begins a sign-in that the cache
//! keeps and a cookie names; or with an identity provider ([`oidc`]). Programs send a token. Whoever has CONSOLE_TOKEN may do everything, in
//! either way. Without any of these, so does whoever sits at this machine.
//!
//! How other modules use it: [`caller`].

mod caller;
mod entrance;
mod guard;
mod oidc;
mod passwords;
mod people;
mod tool;
mod tries;

use std::{
    convert::Infallible,
    future,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::{constant_time, rand};
use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
pub(crate) use caller::{Caller, Configure, May, Operate, Read, Right};
use domain::derive::Keying;
pub(crate) use entrance::{router, way_out};
pub(crate) use guard::guard;
pub use oidc::{Oidc, OidcArgs};
pub use people::People;
use secrecy::{ExposeSecret as _, SecretString};
use store::{SIGN_IN_LONGEST, SignedIn, Store};
pub use tool::Tool;

use self::{
    caller::{By, Rights},
    oidc::SignInElsewhere,
    passwords::Passwords,
    people::{fingerprint, sha256},
    tries::WrongTokens,
};
use crate::error::RouteError;

/// What whoever has the token is called.
const TOKEN_NAME: &str = "CONSOLE_TOKEN";
/// What whoever sits at this machine is called, where nothing is asked for.
const NAME_HERE: &str = "console";
/// Browsers take it over TLS only, for this host only, for every path.
const SECURE_COOKIE: &str = "__Host-baton";
const COOKIE: &str = "baton";
/// How often the file of people is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Bytes of an id, and characters of it in a cookie.
const ID: usize = 32;
const ID_LENGTH: usize = 43;

/// Who may sign in: nobody is asked when there is neither.
#[derive(Debug, Clone, Default)]
pub struct SignIn {
    /// Lets its holder do everything.
    pub token: Option<SecretString>,
    pub people: People,
    /// Where they are kept: looked at again and again, so that whoever is taken out of it is out.
    pub file: Option<PathBuf>,
    /// The identity provider.
    pub oidc: Option<Oidc>,
    /// TLS ends in front of us, even if requests do not say so.
    pub secure: bool,
}

#[derive(Clone)]
pub(crate) struct Access(Arc<Inner>);

struct Inner {
    token: Option<Token>,
    people: RwLock<Arc<People>>,
    file: Option<PathBuf>,
    secure: bool,
    store: Store,
    keying: Keying,
    /// None: nobody can have one.
    passwords: Option<Passwords>,
    wrong_tokens: WrongTokens,
    elsewhere: Option<SignInElsewhere>,
}

struct Token {
    /// Digests have one length, so that comparing tells nothing about the token's.
    sha256: [u8; 32],
    fingerprint: String,
}

/// What somebody signs in with.
enum Given<'a> {
    Token(String),
    Password { name: &'a str, password: String },
}

impl Access {
    pub(crate) fn new(sign_in: SignIn, store: Store, keying: Keying) -> anyhow::Result<Self> {
        let token = sign_in.token.as_ref().map(|token| Token {
            sha256: sha256(token.expose_secret()),
            fingerprint: fingerprint(&[TOKEN_NAME, token.expose_secret()]),
        });
        let SignIn { people, file, secure, oidc, .. } = sign_in;
        let secure = secure || oidc.as_ref().is_some_and(Oidc::is_secure);
        let elsewhere = oidc.map(SignInElsewhere::new).transpose()?;
        let like = people.first().map(|person| person.password.as_str());
        let passwords = if file.is_some() || like.is_some() { Some(Passwords::new(like)?) } else { None };
        let (people, wrong_tokens) = (RwLock::new(Arc::new(people)), WrongTokens::default());
        Ok(Self(Arc::new(Inner {
            token,
            people,
            file,
            secure,
            store,
            keying,
            passwords,
            wrong_tokens,
            elsewhere,
        })))
    }

    /// Keeps the people true to their file; never ends. What cannot be read changes nothing.
    pub(crate) async fn follow(&self) -> Infallible {
        let Some(file) = &self.0.file else { return future::pending().await };
        let mut tick = tokio::time::interval(LOOK_EVERY);
        let mut seen = None;
        loop {
            tick.tick().await;
            let now = stamp(file);
            if now == seen {
                continue;
            }
            seen = now;
            match People::load(file) {
                Ok(people) => {
                    *self.0.people.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(people);
                    tracing::info!("CONSOLE_USERS was read");
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(
                        error,
                        "CONSOLE_USERS cannot be read: as it was before, it stays in force"
                    );
                }
            }
        }
    }

    fn people(&self) -> Arc<People> {
        Arc::clone(&self.0.people.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who asks.
    ///
    /// # Errors
    /// When it is nobody that we know, or when that cannot be told right now.
    async fn caller(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<Caller, RouteError> {
        if !self.asks() {
            // A page on the internet may make a name of its own point here (DNS rebinding); its
            // requests carry that name.
            let here = is_local(headers);
            return if here { Ok(Caller::owner(NAME_HERE, By::Place)) } else { Err(RouteError::WrongHost) };
        }
        if let Some(given) = bearer(headers) {
            return self.bearer(given, &tries::address(peer, headers));
        }
        let id = self.cookie(headers).ok_or(RouteError::NotSignedIn)?;
        let used = !guard::is_scripted(headers);
        let who = self.0.store.signed_in(id, used).await.map_err(away)?.ok_or(RouteError::NotSignedIn)?;
        let rights = self.rights(&who);
        if rights.is_none() {
            self.0.store.end_sign_in(id).await.map_err(away)?;
        }
        let rights = rights.ok_or(RouteError::NotSignedIn)?;
        Ok(Caller::new(&who.name, rights, By::Cookie(id.to_owned())))
    }

    fn bearer(&self, given: &str, address: &str) -> Result<Caller, RouteError> {
        let now = Instant::now();
        if let Some(wait) = self.0.wrong_tokens.wait(address, now) {
            return Err(RouteError::too_many_tries(wait));
        }
        if self.0.token.as_ref().is_some_and(|token| token.is(given)) {
            return Ok(Caller::owner(TOKEN_NAME, By::Bearer));
        }
        let people = self.people();
        let Some(known) = people.token(given) else {
            self.0.wrong_tokens.count(address, &sha256(given), now);
            return Err(RouteError::WrongToken);
        };
        Ok(Caller::new(&known.name, known.rights, By::Bearer))
    }

    /// What they may do now, if they still are who they were.
    fn rights(&self, who: &SignedIn) -> Option<Rights> {
        if let Some(role) = &who.role {
            return self.elsewhere()?.rights(who, role);
        }
        if who.name == TOKEN_NAME {
            let token = self.0.token.as_ref()?;
            return equal(&token.fingerprint, &who.fingerprint).then_some(caller::Role::Owner.rights());
        }
        let people = self.people();
        let person = people.person(&who.name)?;
        equal(&person.fingerprint(), &who.fingerprint).then_some(person.role.rights())
    }

    async fn recognised(&self, given: Given<'_>) -> Result<SignedIn, RouteError> {
        match given {
            Given::Token(given) => {
                let token = self.0.token.as_ref().filter(|token| token.is(&given));
                let token = token.ok_or(RouteError::WrongToken)?;
                let fingerprint = token.fingerprint.clone();
                Ok(SignedIn { name: TOKEN_NAME.into(), fingerprint, role: None })
            }
            Given::Password { name, password } => {
                let passwords = self.0.passwords.as_ref().ok_or(RouteError::WrongPassword)?;
                if password.len() > passwords::LONGEST {
                    return Err(RouteError::WrongPassword);
                }
                let people = self.people();
                let person = people.person(name);
                let hash = person.map(|person| person.password.as_str());
                let right = passwords.is_right(hash, password).await?;
                let person = person.filter(|_| right).ok_or(RouteError::WrongPassword)?;
                Ok(SignedIn { name: person.name.clone(), fingerprint: person.fingerprint(), role: None })
            }
        }
    }

    /// The cookie of a new sign-in; one that the browser had before ends.
    async fn begin(&self, who: &SignedIn, headers: &HeaderMap) -> Result<HeaderValue, RouteError> {
        let mut bytes = [0; ID];
        rand::fill(&mut bytes).map_err(|_| RouteError::Internal)?;
        let id = URL_SAFE_NO_PAD.encode(bytes);
        if let Some(before) = self.cookie(headers) {
            self.0.store.end_sign_in(before).await.map_err(away)?;
        }
        self.0.store.begin_sign_in(&id, who).await.map_err(away)?;
        tracing::info!("somebody signed in");
        self.set_cookie(&id, SIGN_IN_LONGEST.as_secs(), headers)
    }

    async fn end(&self, caller: &Caller) -> Result<(), RouteError> {
        if let By::Cookie(id) = caller.by() {
            self.0.store.end_sign_in(id).await.map_err(away)?;
        }
        Ok(())
    }

    /// What makes the browser forget.
    fn no_cookie(&self, headers: &HeaderMap) -> HeaderValue {
        self.set_cookie("", 0, headers).unwrap_or(HeaderValue::from_static("baton=; Path=/; Max-Age=0"))
    }

    /// Sent along when somebody follows a link to a page (from Salesforce, say), and with no form of
    /// another site.
    fn set_cookie(&self, id: &str, seconds: u64, headers: &HeaderMap) -> Result<HeaderValue, RouteError> {
        self.cookie_named(if self.is_secure(headers) { SECURE_COOKIE } else { COOKIE }, id, seconds, headers)
    }

    fn cookie_named(
        &self,
        name: &str,
        id: &str,
        seconds: u64,
        headers: &HeaderMap,
    ) -> Result<HeaderValue, RouteError> {
        let secure = if self.is_secure(headers) { "; Secure" } else { "" };
        let cookie = format!("{name}={id}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
        HeaderValue::from_str(&cookie).map_err(|_| RouteError::Internal)
    }

    /// Over TLS the other name is not looked at: a neighbouring host could have set it.
    fn cookie<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let wanted = if self.is_secure(headers) { SECURE_COOKIE } else { COOKIE };
        let found = cookies(headers).find(|(name, _)| *name == wanted).map(|(_, id)| id);
        found.filter(|id| is_id(id))
    }

    /// Whether the browser speaks TLS, with whatever stands in front of us.
    fn is_secure(&self, headers: &HeaderMap) -> bool {
        let told = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
        let first = told.and_then(|told| told.split(',').next());
        self.0.secure || first.is_some_and(|first| first.trim().eq_ignore_ascii_case("https"))
    }

    pub(crate) fn asks(&self) -> bool {
        self.has_token() || self.0.file.is_some() || self.0.elsewhere.is_some() || !self.people().is_empty()
    }

    fn has_token(&self) -> bool {
        self.0.token.is_some()
    }

    fn has_people(&self) -> bool {
        self.people().first().is_some()
    }

    fn elsewhere(&self) -> Option<&SignInElsewhere> {
        self.0.elsewhere.as_ref()
    }

    fn store(&self) -> &Store {
        &self.0.store
    }

    /// Stands for a name or an address in the cache.
    fn digest(&self, kind: &str, text: &str) -> String {
        self.0.keying.alias(kind, text)
    }
}

impl Token {
    fn is(&self, given: &str) -> bool {
        constant_time::verify_slices_are_equal(&sha256(given), &self.sha256).is_ok()
    }
}

/// As [`ID`] random bytes are written.
fn is_id(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.len() == ID_LENGTH && text.chars().all(fits)
}

/// Differs when the file was changed.
fn stamp(file: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn away(error: store::Error) -> RouteError {
    tracing::warn!(error = runtime::error_chain(&error), "who is signed in could not be looked up");
    RouteError::CacheAway
}

fn equal(a: &str, b: &str) -> bool {
    constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_token_only_this_machines_names_are_answered() {
        for (host, allowed) in [
            ("localhost:8081", true),
            ("127.0.0.1", true),
            ("127.0.0.1:8081", true),
            ("[::1]:8081", true),
            ("evil.example:8081", false),
            ("localhost.evil.example", false),
            ("10.0.0.1", false),
        ] {
            let headers = [(header::HOST, host.parse().unwrap())].into_iter().collect();
            assert_eq!(is_local(&headers), allowed, "{host}");
        }
        assert!(!is_local(&HeaderMap::new()));
    }
}
