use std::{net::SocketAddr, time::Duration};

use domain::net::is_loopback;
use url::Url;

/// Decides; opens Salesforce conversations and forwards the customer's messages.
#[derive(Debug, Clone, clap::Parser)]
#[command(version)]
#[group(skip)]
pub struct Config {
    /// Where `/livez` and `/readyz` are served.
    #[arg(long, env = "LISTEN_ADDR", default_value = "127.0.0.1:8081")]
    pub listen_addr: SocketAddr,
    #[command(flatten)]
    pub bus: bus::Config,
    #[command(flatten)]
    pub store: store::Config,
    #[command(flatten)]
    pub settings: runtime::settings::Args,
    /// Where ingress is reached from outside (`https://chat.example.com`). With it, a file that
    /// Salesforce does not take is offered to the rep as a signed link that expires; without it, in
    /// words only.
    #[arg(long, env = "PUBLIC_URL", value_parser = public)]
    pub public_url: Option<Url>,
    /// How long such links open. No longer than files are kept (MEDIA_KEEP).
    #[arg(long, env = "FILE_LINK_KEEP", default_value = "7d", value_parser = humantime::parse_duration)]
    pub file_link_keep: Duration,
}

impl Config {
    /// The part that [`crate::run`] takes.
    pub fn options(&self) -> Options {
        let links = self.public_url.clone().map(|base| PublicLinks { base, keep: self.file_link_keep });
        let pace = !self.bus.unsafe_disable.iter().any(|name| name.trim() == "pace");
        Options { links, pace }
    }
}

#[derive(Debug, Clone)]
pub struct Options {
    /// `None`: no links are offered.
    pub links: Option<PublicLinks>,
    /// False in fault runs only (`pace` in BATON_UNSAFE_DISABLE): their customers come back faster
    /// than Salesforce takes messages in one conversation.
    pub pace: bool,
}

/// Where links to kept files lead, and how long they open.
#[derive(Debug, Clone)]
pub struct PublicLinks {
    pub base: Url,
    pub keep: Duration,
}

impl PublicLinks {
    pub(crate) fn address(&self, token: &str) -> Url {
        let mut address = self.base.clone();
        // Every address that is taken has a path.
        if let Ok(mut path) = address.path_segments_mut() {
            path.pop_if_empty().extend(["files", token]);
        }
        address
    }
}

fn public(text: &str) -> Result<Url, String> {
    let url: Url = text.trim().parse().map_err(|_| "is not an address".to_owned())?;
    let scheme = url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url);
    if !scheme || url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err("must start with https:// and end with a host or a path".into());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn arguments_are_well_formed() {
        super::Config::command().debug_assert();
    }

    #[test]
    fn a_public_address_is_https_without_anything_behind_it() {
        for good in ["https://chat.example.com", "https://chat.example.com/baton/", "http://127.0.0.1:8080"] {
            assert!(super::public(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "chat.example.com",
            "http://chat.example.com",
            "https://a.example/?x=1",
            "https://me@a.example",
        ] {
            assert!(super::public(bad).is_err(), "{bad}");
        }
    }
}
