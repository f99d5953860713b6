//! What an ID token proves, and what its claims make of somebody. Values in, values out.
//!
//! OpenID Connect Core 1.0, §3.1.3.7; keys as RFC 7517 and algorithms as RFC 7518 tell.

use std::time::Duration;

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    super::{caller::Role, equal, people::name_problem},
    config::Oidc,
};

/// Clocks differ.
const LEEWAY: Duration = Duration::from_secs(60);
/// It comes from the provider itself, just made.
const OLDEST: Duration = Duration::from_secs(10 * 60);
/// Of a set of keys: providers have two or three.
const MOST_KEYS: usize = 50;
/// Of somebody's groups.
const MOST_GROUPS: usize = 2_000;

/// Why a token proves nothing. Told in the log; nothing of the token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unproven {
    #[error("it is no signed token")]
    Malformed,
    #[error("it is signed otherwise than with RS256 or ES256, or than its key is for")]
    Algorithm,
    #[error("the provider publishes no such key")]
    UnknownKey,
    #[error("the signature is not the key's")]
    Signature,
    #[error("its issuer is another one")]
    Issuer,
    #[error("it is for another client")]
    Audience,
    #[error("it is over, not yet good, or was made too long ago: compare the clocks")]
    Time,
    #[error("it answers another request")]
    Nonce,
    #[error("a claim is missing or malformed")]
    Claims,
    #[error("what it tells is of somebody else than the user information")]
    Subject,
}

/// The provider's keys that may sign.
#[derive(Default)]
pub(super) struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    /// What cannot be used here is left out: a set may hold keys for other things.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(body).ok()?;
        let known = set.keys.into_iter().take(MOST_KEYS);
        Some(Self(known.filter_map(|key| Key::of(&serde_json::from_value(key).ok()?)).collect()))
    }

    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let mut fit = self.0.iter().filter(|key| id.is_none() || key.id.as_deref() == id);
        // Without a name there must be no choice.
        let key = fit.next().filter(|_| id.is_some() || fit.next().is_none())?;
        (key.algorithm == algorithm).then_some(key)
    }
}

impl Key {
    fn of(jwk: &Jwk) -> Option<Self> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "theirs, and open")]
        let (algorithm, named) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            // A symmetric one would be a secret that everybody can read.
            _ => return None,
        };
        let signs = jwk.common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature);
        let fits = jwk.common.key_algorithm.is_none_or(|of| of == named);
        let key = DecodingKey::from_jwk(jwk).ok().filter(|_| signs && fits)?;
        Some(Self { id: jwk.common.key_id.clone(), algorithm, key })
    }
}

/// Checked claims.
#[derive(Debug, Clone)]
pub(super) struct Proven {
    pub(super) subject: String,
    pub(super) claims: Map<String, Value>,
}

#[derive(Deserialize)]
struct Claims {
    // An array would do for the library.
    iss: String,
    sub: String,
    iat: u64,
    nonce: Option<String>,
    azp: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// `now`: seconds since 1970.
pub(super) fn prove(
    token: &str,
    keys: &Keys,
    config: &Oidc,
    nonce: &str,
    now: u64,
) -> Result<Proven, Unproven> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| Unproven::Malformed)?;
    if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) || header.crit.is_some() {
        return Err(Unproven::Algorithm);
    }
    let known = header.kid.as_deref();
    let key = keys.find(known, header.alg).ok_or_else(|| {
        let other = keys.0.iter().any(|key| known.is_some() && key.id.as_deref() == known);
        if other { Unproven::Algorithm } else { Unproven::UnknownKey }
    })?;
    let mut rules = Validation::new(key.algorithm);
    rules.leeway = LEEWAY.as_secs();
    rules.validate_nbf = true;
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    rules.set_issuer(&[&config.issuer]);
    rules.set_audience(&[&config.client_id]);
    let decoded = jsonwebtoken::decode::<Claims>(token, &key.key, &rules);
    let claims = decoded.map_err(|error| why(error.kind()))?.claims;
    if claims.iss != config.issuer {
        return Err(Unproven::Issuer);
    }
    let several = claims.others.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
    match &claims.azp {
        Some(authorized) if *authorized != config.client_id => return Err(Unproven::Audience),
        None if several => return Err(Unproven::Audience),
        Some(_) | None => {}
    }
    let oldest = now.saturating_sub(OLDEST.as_secs() + LEEWAY.as_secs());
    if claims.iat > now.saturating_add(LEEWAY.as_secs()) || claims.iat < oldest {
        return Err(Unproven::Time);
    }
    if !claims.nonce.is_some_and(|given| equal(&given, nonce)) {
        return Err(Unproven::Nonce);
    }
    if claims.sub.is_empty() || claims.sub.len() > 255 {
        return Err(Unproven::Claims);
    }
    Ok(Proven { subject: claims.sub, claims: claims.others })
}

fn why(kind: &jsonwebtoken::errors::ErrorKind) -> Unproven {
    use jsonwebtoken::errors::ErrorKind;
    #[expect(clippy::wildcard_enum_match_arm, reason = "theirs, and open")]
    match kind {
        ErrorKind::InvalidSignature => Unproven::Signature,
        ErrorKind::InvalidAlgorithm => Unproven::Algorithm,
        ErrorKind::InvalidIssuer => Unproven::Issuer,
        ErrorKind::InvalidAudience => Unproven::Audience,
        ErrorKind::ExpiredSignature | ErrorKind::ImmatureSignature => Unproven::Time,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => {
            Unproven::Claims
        }
        _ => Unproven::Malformed,
    }
}

/// Somebody, as this console knows them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nobody {
    /// In none of the groups that have a role.
    NoRole,
    /// The claim by which people are called is missing, or cannot be a name.
    NoName,
}

impl Proven {
    /// Whether the user information is to be asked: it may tell what the token leaves out.
    pub(super) fn lacks(&self, config: &Oidc) -> bool {
        let name = config.name_claim != "sub" && claim(&self.claims, &config.name_claim).is_none();
        name || claim(&self.claims, &config.roles_claim).is_none()
    }

    /// What the token says stays; what it leaves out is added.
    pub(super) fn with(mut self, information: Map<String, Value>) -> Result<Self, Unproven> {
        if information.get("sub").and_then(Value::as_str) != Some(&self.subject) {
            return Err(Unproven::Subject);
        }
        for (name, value) in information {
            self.claims.entry(name).or_insert(value);
        }
        Ok(self)
    }

    pub(super) fn known(&self, config: &Oidc) -> Result<Known, Nobody> {
        let name = match config.name_claim.as_str() {
            "sub" => Some(self.subject.as_str()),
            name => claim(&self.claims, name).and_then(Value::as_str),
        };
        // Somebody else's address could be typed in at such a provider.
        let told = self.claims.get("email_verified");
        let unverified =
            config.name_claim == "email" && told.is_some_and(|told| *told != true && told != "true");
        let name = name.filter(|name| !unverified && name_problem(name).is_none()).ok_or(Nobody::NoName)?;
        let mine = match claim(&self.claims, &config.roles_claim) {
            Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).take(MOST_GROUPS).collect(),
            Some(Value::String(group)) => vec![group.as_str()],
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Vec::new(),
        };
        let mut roles = config.roles.iter();
        let role = roles.find(|(_, groups)| groups.iter().any(|group| mine.contains(&group.as_str())));
        let (role, _) = role.ok_or(Nobody::NoRole)?;
        Ok(Known { name: name.to_owned(), role: *role })
    }
}

/// By its whole name (`https://example.com/groups`), else step by step (`realm_access.roles`).
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let whole = claims.get(name);
    whole.or_else(|| {
        let mut steps = name.split('.');
        let first = claims.get(steps.next()?)?;
        steps.try_fold(first, |value, step| value.get(step))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(name: &str, roles: &str) -> Oidc {
        let args = super::super::config::OidcArgs {
            console_oidc_issuer: Some("https://id.example.com".into()),
            console_oidc_client_id: Some("baton".into()),
            console_url: Some("https://baton.example.com".into()),
            console_oidc_scopes: "openid".into(),
            console_oidc_name_claim: name.into(),
            console_oidc_roles_claim: roles.into(),
            console_oidc_owners: "CN=Owners,OU=A".into(),
            console_oidc_agents: "support;sales".into(),
            ..Default::default()
        };
        args.checked().unwrap().unwrap()
    }

    fn proven(claims: &Value) -> Proven {
        Proven { subject: "s-1".into(), claims: claims.as_object().unwrap().clone() }
    }

    #[test]
    fn groups_make_roles_and_nothing_makes_none() {
        let plain = config("email", "groups");
        let of = |claims: Value| proven(&claims).known(&plain);
        let known = |role| Ok(Known { name: "ana@example.com".into(), role });
        let ana = |groups: Value| of(json!({ "email": "ana@example.com", "groups": groups }));
        assert_eq!(ana(json!(["other", "sales"])), known(Role::Agent));
        assert_eq!(ana(json!("support")), known(Role::Agent));
        assert_eq!(ana(json!(["support", "CN=Owners,OU=A"])), known(Role::Owner), "the highest counts");
        for nothing in [json!([]), json!(["Support"]), json!(null), json!(7), json!({ "support": true })] {
            assert_eq!(ana(nothing), Err(Nobody::NoRole));
        }
        assert_eq!(of(json!({ "email": "ana@example.com" })), Err(Nobody::NoRole));
        for nobody in [json!({}), json!({ "email": 1 }), json!({ "email": " a" }), json!({ "email": "" })] {
            assert_eq!(of(nobody), Err(Nobody::NoName));
        }
        for unverified in [json!(false), json!("false")] {
            let told = json!({ "email": "ana@example.com", "email_verified": unverified, "groups": "sales" });
            assert_eq!(of(told), Err(Nobody::NoName));
        }
    }

    #[test]
    fn claims_are_found_whole_and_step_by_step() {
        let of =
            |roles: &str, claims: Value| proven(&claims).known(&config("sub", roles)).map(|one| one.role);
        assert_eq!(
            of("realm_access.roles", json!({ "realm_access": { "roles": ["sales"] } })),
            Ok(Role::Agent)
        );
        assert_eq!(of("https://a.example/b", json!({ "https://a.example/b": ["sales"] })), Ok(Role::Agent));
        assert_eq!(of("a.b", json!({ "a": "sales" })), Err(Nobody::NoRole));
        assert_eq!(
            proven(&json!({ "groups": "sales" })).known(&config("sub", "groups")).unwrap().name,
            "s-1"
        );
    }

    #[test]
    fn the_user_information_adds_and_never_replaces() {
        let config = config("email", "groups");
        let token = proven(&json!({ "email": "ana@example.com" }));
        assert!(token.lacks(&config));
        let map = |value: Value| value.as_object().unwrap().clone();
        let more = map(json!({ "sub": "s-1", "email": "eve@example.com", "groups": ["sales"] }));
        let both = token.clone().with(more).unwrap();
        assert!(!both.lacks(&config));
        assert_eq!(both.known(&config), Ok(Known { name: "ana@example.com".into(), role: Role::Agent }));
        for other in [json!({ "sub": "s-2" }), json!({})] {
            assert_eq!(token.clone().with(map(other)).unwrap_err(), Unproven::Subject);
        }
    }

    #[test]
    fn a_set_may_hold_other_things_and_has_a_bound() {
        let rsa = json!({ "kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB" });
        let set = json!({ "keys": [
            rsa, { "kty": "oct", "kid": "o", "k": "c2VjcmV0" }, { "kty": "new", "kid": "n" }, 7,
            { "kty": "RSA", "kid": "e", "use": "enc", "n": "AQAB", "e": "AQAB" },
            { "kty": "RSA", "kid": "p", "alg": "PS256", "n": "AQAB", "e": "AQAB" },
            { "kty": "EC", "crv": "P-384", "kid": "x", "x": "AQAB", "y": "AQAB" },
        ]});
        let keys = Keys::parse(set.to_string().as_bytes()).unwrap();
        let ids: Vec<_> = keys.0.iter().filter_map(|key| key.id.as_deref()).collect();
        assert_eq!(ids, ["r"]);
        assert!(keys.find(None, Algorithm::RS256).is_some(), "no choice");
        assert!(keys.find(Some("r"), Algorithm::ES256).is_none());
        let many = json!({ "keys": vec![rsa; 500] }).to_string();
        let many = Keys::parse(many.as_bytes()).unwrap();
        assert_eq!(many.0.len(), MOST_KEYS);
        assert!(many.find(None, Algorithm::RS256).is_none(), "a choice");
        assert!(Keys::parse(b"{}").is_none() && Keys::parse(b"[").is_none());
    }
}
