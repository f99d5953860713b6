//! What an operator says about the identity provider.

use std::net::IpAddr;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use super::super::{
    caller::Role,
    people::{fingerprint, sha256},
};

/// Where people come back to.
pub(super) const BACK: &str = "/sign-in/oidc/callback";

/// Sign-in with an identity provider (OpenID Connect).
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub struct OidcArgs {
    /// The identity provider that people may sign in with: its issuer, letter by letter as its
    /// `/.well-known/openid-configuration` tells. Https, but for a loopback address. Left out: only the
    /// console's own names and token are known.
    #[arg(long, env = "CONSOLE_OIDC_ISSUER")]
    pub console_oidc_issuer: Option<String>,
    /// What the provider knows this console by.
    #[arg(long, env = "CONSOLE_OIDC_CLIENT_ID")]
    pub console_oidc_client_id: Option<String>,
    /// Left out: the provider knows it as a public client, and PKCE alone proves that the answer is its.
    #[arg(long, env = "CONSOLE_OIDC_CLIENT_SECRET", hide_env_values = true)]
    pub console_oidc_client_secret: Option<SecretString>,
    /// Where browsers reach this console, `https://baton.example.com`: the provider sends people back to
    /// `/sign-in/oidc/callback` there, which must be registered with it.
    #[arg(long, env = "CONSOLE_URL")]
    pub console_url: Option<String>,
    /// What the provider is asked for.
    #[arg(long, env = "CONSOLE_OIDC_SCOPES", default_value = "openid profile email")]
    pub console_oidc_scopes: String,
    /// The claim by which people are called here, in timelines and in the list of changes: one that the
    /// provider never gives to somebody else. An e-mail address counts unless the provider says that it
    /// is not verified. `sub` always works, and reads badly.
    #[arg(long, env = "CONSOLE_OIDC_NAME_CLAIM", default_value = "email")]
    pub console_oidc_name_claim: String,
    /// The claim that lists what people belong to; dots lead into objects (`realm_access.roles`).
    #[arg(long, env = "CONSOLE_OIDC_ROLES_CLAIM", default_value = "groups")]
    pub console_oidc_roles_claim: String,
    /// Whoever belongs to one of these, separated by `;`, is an owner. Who belongs to none of the three
    /// lists has no role here and sees nothing.
    #[arg(long, env = "CONSOLE_OIDC_OWNERS", default_value = "")]
    pub console_oidc_owners: String,
    /// … is an admin.
    #[arg(long, env = "CONSOLE_OIDC_ADMINS", default_value = "")]
    pub console_oidc_admins: String,
    /// … is an agent.
    #[arg(long, env = "CONSOLE_OIDC_AGENTS", default_value = "")]
    pub console_oidc_agents: String,
    /// What the button calls it: "Sign in with …".
    #[arg(long, env = "CONSOLE_OIDC_LABEL", default_value = "your company’s account")]
    pub console_oidc_label: String,
}

/// The same, checked.
#[derive(Debug, Clone)]
pub struct Oidc {
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) client_secret: Option<SecretString>,
    pub(super) back_to: String,
    pub(super) scopes: String,
    pub(super) name_claim: String,
    pub(super) roles_claim: String,
    /// Highest first.
    pub(super) roles: [(Role, Vec<String>); 3],
    pub(super) label: String,
    /// The provider runs on this machine: it may do without TLS.
    pub(super) local: bool,
    /// Browsers come over TLS.
    pub(super) secure: bool,
}

impl OidcArgs {
    /// # Errors
    /// With what is missing, or cannot be.
    pub fn checked(&self) -> anyhow::Result<Option<Oidc>> {
        let Some(issuer) = given(self.console_oidc_issuer.as_ref()) else { return Ok(None) };
        let url = Url::parse(issuer).context("CONSOLE_OIDC_ISSUER is no address")?;
        let local = is_local(&url);
        anyhow::ensure!(
            is_address(&url, local),
            "CONSOLE_OIDC_ISSUER is https://…, without query and fragment (http on a loopback address only)"
        );
        let client_id = given(self.console_oidc_client_id.as_ref());
        let client_id = client_id.context("CONSOLE_OIDC_ISSUER needs CONSOLE_OIDC_CLIENT_ID")?;
        let own = given(self.console_url.as_ref()).context("CONSOLE_OIDC_ISSUER needs CONSOLE_URL")?;
        let own = Url::parse(own).context("CONSOLE_URL is no address")?;
        anyhow::ensure!(
            is_address(&own, is_local(&own)) && own.path() == "/",
            "CONSOLE_URL is https:// and a host, nothing behind it (http on a loopback address only)"
        );
        let roles = [
            (Role::Owner, list(&self.console_oidc_owners)),
            (Role::Admin, list(&self.console_oidc_admins)),
            (Role::Agent, list(&self.console_oidc_agents)),
        ];
        anyhow::ensure!(
            roles.iter().any(|(_, groups)| !groups.is_empty()),
            "nobody could sign in: name groups in CONSOLE_OIDC_OWNERS, CONSOLE_OIDC_ADMINS or CONSOLE_OIDC_AGENTS"
        );
        let scopes = self.console_oidc_scopes.split_whitespace().collect::<Vec<_>>();
        anyhow::ensure!(scopes.contains(&"openid"), "CONSOLE_OIDC_SCOPES has no openid");
        let claim = |name: &str, claim: &str| {
            let claim = claim.trim();
            anyhow::ensure!(!claim.is_empty(), "{name} is empty");
            Ok(claim.to_owned())
        };
        let secret = self.console_oidc_client_secret.as_ref();
        let secret = secret.map(|secret| secret.expose_secret().trim()).filter(|secret| !secret.is_empty());
        Ok(Some(Oidc {
            issuer: issuer.to_owned(),
            client_id: client_id.to_owned(),
            client_secret: secret.map(SecretString::from),
            back_to: format!("{}{BACK}", own.origin().ascii_serialization()),
            scopes: scopes.join(" "),
            name_claim: claim("CONSOLE_OIDC_NAME_CLAIM", &self.console_oidc_name_claim)?,
            roles_claim: claim("CONSOLE_OIDC_ROLES_CLAIM", &self.console_oidc_roles_claim)?,
            roles,
            label: self.console_oidc_label.trim().to_owned(),
            local,
            secure: own.scheme() == "https",
        }))
    }
}

impl Oidc {
    /// Whether browsers reach the console over TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Differs as soon as who may sign in does, or as what: sign-ins before it are over.
    pub(in super::super) fn fingerprint(&self) -> String {
        let groups =
            self.roles.iter().map(|(role, groups)| format!("{}={}", role.as_str(), groups.join(";")));
        let groups = groups.collect::<Vec<_>>().join("\n");
        let secret = self.client_secret.as_ref().map(|secret| sha256(secret.expose_secret()));
        let secret = secret.map(|digest| super::super::caller::hex(&digest)).unwrap_or_default();
        let parts = [&self.issuer, &self.client_id, &self.name_claim, &self.roles_claim, &groups, &secret];
        fingerprint(&parts.map(String::as_str))
    }

    /// An address that the provider told.
    pub(super) fn may_call(&self, address: &Url) -> bool {
        address.scheme() == "https" || (self.local && is_local(address) && address.scheme() == "http")
    }
}

fn given(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}

fn list(text: &str) -> Vec<String> {
    text.split(';').map(str::trim).filter(|group| !group.is_empty()).map(str::to_owned).collect()
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        None => false,
    }
}

fn is_address(url: &Url, local: bool) -> bool {
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    plain && url.has_host() && (url.scheme() == "https" || (local && url.scheme() == "http"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(issuer: &str) -> OidcArgs {
        OidcArgs {
            console_oidc_issuer: Some(issuer.into()),
            console_oidc_client_id: Some("baton".into()),
            console_oidc_client_secret: Some("s".into()),
            console_url: Some("https://baton.example.com".into()),
            console_oidc_scopes: "openid email".into(),
            console_oidc_name_claim: "email".into(),
            console_oidc_roles_claim: "groups".into(),
            console_oidc_owners: "CN=Baton Owners,OU=Groups; second ".into(),
            ..OidcArgs::default()
        }
    }

    #[test]
    fn what_cannot_work_stops_the_start_and_says_which_variable() {
        let told = |args: &OidcArgs| args.checked().map(|_| ()).unwrap_err().to_string();
        assert!(args("").checked().unwrap().is_none(), "a line left blank");
        for issuer in ["http://id.example.com", "ftp://id.example.com", "https://id.example.com?a=b", "id"] {
            assert!(told(&args(issuer)).contains("CONSOLE_OIDC_ISSUER"), "{issuer}");
        }
        let good = || args("https://id.example.com/realms/one");
        let checked = good().checked().unwrap().unwrap();
        assert_eq!(checked.roles[0].1, ["CN=Baton Owners,OU=Groups", "second"]);
        assert_eq!(checked.back_to, "https://baton.example.com/sign-in/oidc/callback");
        assert!(checked.secure && !checked.local);
        assert!(!format!("{checked:?}").contains("\"s\""), "no secret in what may be logged");
        for (broken, names) in [
            (OidcArgs { console_oidc_client_id: Some(" ".into()), ..good() }, "CONSOLE_OIDC_CLIENT_ID"),
            (OidcArgs { console_url: None, ..good() }, "CONSOLE_URL"),
            (OidcArgs { console_url: Some("https://a/b".into()), ..good() }, "CONSOLE_URL"),
            (OidcArgs { console_url: Some("http://a.example".into()), ..good() }, "CONSOLE_URL"),
            (OidcArgs { console_oidc_owners: ";".into(), ..good() }, "CONSOLE_OIDC_AGENTS"),
            (OidcArgs { console_oidc_scopes: "email".into(), ..good() }, "CONSOLE_OIDC_SCOPES"),
            (OidcArgs { console_oidc_name_claim: String::new(), ..good() }, "CONSOLE_OIDC_NAME_CLAIM"),
        ] {
            assert!(told(&broken).contains(names), "{names}");
        }
    }

    #[test]
    fn a_change_of_who_may_what_ends_sign_ins_before_it() {
        let of = |args: OidcArgs| args.checked().unwrap().unwrap().fingerprint();
        let good = || args("https://id.example.com");
        assert_eq!(of(good()), of(OidcArgs { console_oidc_label: "Okta".into(), ..good() }));
        for other in [
            args("https://id.example.org"),
            OidcArgs { console_oidc_owners: "second".into(), ..good() },
            OidcArgs { console_oidc_admins: "second".into(), ..good() },
            OidcArgs { console_oidc_client_secret: None, ..good() },
            OidcArgs { console_oidc_roles_claim: "roles".into(), ..good() },
        ] {
            assert_ne!(of(good()), of(other));
        }
    }
}
