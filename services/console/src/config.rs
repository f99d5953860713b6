use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use runtime::settings::{KeyingArgs, Source};
use secrecy::{ExposeSecret as _, SecretString};

use crate::access::{OidcArgs, People, SignIn};

/// Shows sessions and lets operators act on them: pages and a JSON API.
#[derive(Debug, Clone, clap::Parser)]
#[command(version, after_help = "Before the service runs: console hash-password, console make-token.")]
#[group(skip)]
pub struct Config {
    /// Where pages, API, `/livez` and `/readyz` are served. Plain HTTP: TLS ends in front of it.
    #[arg(long, env = "LISTEN_ADDR", default_value = "127.0.0.1:8081")]
    pub listen_addr: SocketAddr,
    /// Whoever has it may do everything: as `Authorization: Bearer …`, or signed in on the page. At
    /// least 16 characters. It, CONSOLE_USERS and CONSOLE_OIDC_ISSUER may all be left out (or blank)
    /// only while LISTEN_ADDR is a loopback address.
    #[arg(long, env = "CONSOLE_TOKEN", hide_env_values = true, value_parser = long_enough)]
    pub console_token: Option<SecretString>,
    /// A JSON file of those who may sign in, `{"people": [{"name", "role", "password"}], "tokens":
    /// [{"name", "scopes", "sha256"}]}`: `console hash-password` and `console make-token` make its
    /// entries. Read again when it changes.
    #[arg(long, env = "CONSOLE_USERS", value_parser = perhaps_blank)]
    pub console_users: Option<PathBuf>,
    /// Browsers reach this console over TLS, even where requests do not say so
    /// (`x-forwarded-proto`): cookies are for TLS only.
    #[arg(long, env = "CONSOLE_SECURE", default_value_t = false, action = clap::ArgAction::Set)]
    pub console_secure: bool,
    #[command(flatten)]
    pub oidc: OidcArgs,
    /// What the other services have as BATON_SETTINGS: a file, or `broker`. Left out: WhatsApp and
    /// Salesforce are not looked at when troubleshooting.
    #[arg(long = "settings", env = "BATON_SETTINGS", value_name = "PATH")]
    pub settings: Option<Source>,
    #[command(flatten)]
    pub whatsapp: whatsapp::client::Config,
    #[command(flatten)]
    pub bus: bus::Config,
    #[command(flatten)]
    pub store: store::Config,
    #[command(flatten)]
    pub keying: KeyingArgs,
}

impl Config {
    pub fn token(&self) -> Option<&SecretString> {
        self.console_token.as_ref().filter(|token| !token.expose_secret().is_empty())
    }

    /// Where the settings are; a line of .env that was left blank is none.
    pub fn settings(&self) -> Option<&Source> {
        self.settings.as_ref().filter(|source| **source != Source::File(PathBuf::new()))
    }

    fn users(&self) -> Option<&Path> {
        self.console_users.as_deref().filter(|path| !path.as_os_str().is_empty())
    }

    /// Who may sign in.
    ///
    /// # Errors
    /// When the file of people cannot be read, or with everything that is wrong in it; or with what the
    /// identity provider lacks.
    pub fn sign_in(&self) -> anyhow::Result<SignIn> {
        let people = self.users().map(People::load).transpose()?.unwrap_or_default();
        let file = self.users().map(Path::to_owned);
        let (token, oidc) = (self.token().cloned(), self.oidc.checked()?);
        Ok(SignIn { token, people, file, oidc, secure: self.console_secure })
    }

    /// # Errors
    /// When anybody on the network could look.
    pub fn check(&self) -> anyhow::Result<()> {
        let asks = self.token().is_some() || self.users().is_some() || self.oidc.checked()?.is_some();
        if !asks && !self.listen_addr.ip().is_loopback() {
            anyhow::bail!(
                "LISTEN_ADDR {} can be reached from elsewhere and the console shows what people wrote: \
                 set CONSOLE_USERS, CONSOLE_OIDC_ISSUER or CONSOLE_TOKEN, or listen on 127.0.0.1",
                self.listen_addr
            );
        }
        Ok(())
    }
}

/// A line of .env that was left blank is none.
fn perhaps_blank(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(PathBuf::from(text.trim()))
}

fn long_enough(text: &str) -> Result<SecretString, String> {
    // Never quotes the value.
    match text.trim() {
        // A line of .env that was left blank.
        token if token.is_empty() || token.chars().count() >= 16 => Ok(SecretString::from(token)),
        _ => Err("at least 16 characters are needed".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[test]
    fn arguments_are_well_formed() {
        Config::command().debug_assert();
    }

    #[test]
    fn nobody_elsewhere_may_look_without_a_token() {
        let parse = |more: &[&str]| {
            let base = ["console", "--master-key", "k", "--conversation-key-secret"];
            let secret = ["0123456789abcdef0123456789abcdef"];
            Config::try_parse_from(base.iter().chain(&secret).chain(more))
                .map_err(|_| ())
                .map(|c| c.check().is_ok())
        };
        assert_eq!(parse(&[]), Ok(true));
        assert_eq!(parse(&["--listen-addr", "0.0.0.0:1"]), Ok(false));
        assert_eq!(parse(&["--listen-addr", "0.0.0.0:1", "--console-token", "0123456789abcdef"]), Ok(true));
        assert_eq!(parse(&["--listen-addr", "0.0.0.0:1", "--console-token", ""]), Ok(false));
        assert_eq!(parse(&["--listen-addr", "0.0.0.0:1", "--console-users", "a.json"]), Ok(true));
        assert_eq!(parse(&["--listen-addr", "0.0.0.0:1", "--console-users", ""]), Ok(false));
        assert_eq!(parse(&["--console-token", "short"]), Err(()));
    }
}
