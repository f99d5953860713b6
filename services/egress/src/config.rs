use std::{net::SocketAddr, time::Duration};

/// Follows Salesforce replies, sends them to WhatsApp.
#[derive(Debug, Clone, clap::Parser)]
#[command(version)]
#[group(skip)]
pub struct Config {
    /// Where `/livez` and `/readyz` are served.
    #[arg(long, env = "LISTEN_ADDR", default_value = "127.0.0.1:8083")]
    pub listen_addr: SocketAddr,
    #[command(flatten)]
    pub bus: bus::Config,
    #[command(flatten)]
    pub store: store::Config,
    #[command(flatten)]
    pub settings: runtime::settings::Args,
    #[command(flatten)]
    pub egress: Egress,
}

/// What is needed to work, without where the settings are and where the log is.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Egress {
    #[command(flatten)]
    pub whatsapp: whatsapp::client::Config,
    /// How long after a send that got no answer a WhatsApp status may still tell what became of
    /// it. Then it is sent once more, and the customer may see it twice. At least three times
    /// GRAPH_TIMEOUT, so that it outlasts a send of a worker that was paused.
    #[arg(long, env = "SEND_GRACE", default_value = "30s", value_parser = humantime::parse_duration)]
    pub send_grace: Duration,
    /// How long a thread is still followed after it ended: its last messages may be on their way.
    #[arg(long, env = "UNFOLLOW_LINGER", default_value = "10s", value_parser = humantime::parse_duration)]
    pub unfollow_linger: Duration,
    /// How long an event stream may be silent, pings included, before it counts as broken. How often
    /// Salesforce pings is not public; its own sample client waits 90 s.
    #[arg(long, env = "STREAM_IDLE", default_value = "90s", value_parser = humantime::parse_duration)]
    pub stream_idle: Duration,
    /// How many threads this process follows at once; more wait for one to end. Each is a
    /// connection: keep it well below the limit of open files.
    #[arg(long, env = "MAX_STREAMS", default_value_t = 15_000)]
    pub max_streams: usize,
    /// How many threads are connected at the same time, so that a restart does not hit Salesforce
    /// with all of them at once.
    #[arg(long, env = "MAX_CONNECTING", default_value_t = 64)]
    pub max_connecting: usize,
    /// False in control runs of the fault tests only (`send-ledger` in BATON_UNSAFE_DISABLE):
    /// sends leave no records and are repeated whenever in doubt.
    #[arg(skip = true)]
    pub send_ledger: bool,
    /// False in fault runs only (`pace` in BATON_UNSAFE_DISABLE): their customers chat faster than
    /// WhatsApp would let anybody be answered.
    #[arg(skip = true)]
    pub pace: bool,
}

impl Egress {
    /// What would let a message be sent twice without anybody noticing.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let (grace, timeout) = (self.send_grace, self.whatsapp.graph_timeout);
        anyhow::ensure!(
            grace >= timeout.saturating_mul(3),
            "SEND_GRACE ({}) must be at least three times GRAPH_TIMEOUT ({}): a send that was held up could still \
             arrive when it is taken for lost",
            humantime::format_duration(grace),
            humantime::format_duration(timeout),
        );
        Ok(())
    }
}

impl Config {
    /// The part that [`crate::run`] takes.
    pub fn egress(&self) -> Egress {
        let on = |safeguard: &str| !self.bus.unsafe_disable.iter().any(|name| name.trim() == safeguard);
        Egress { send_ledger: on("send-ledger"), pace: on("pace"), ..self.egress.clone() }
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
    fn the_grace_outlasts_a_send_that_was_held_up() {
        let check = |more: &[&str]| {
            let needed = ["egress", "--settings", "s", "--master-key", "k", "--conversation-key-secret"];
            let secret = ["0123456789abcdef0123456789abcdef"];
            let args = needed.iter().chain(&secret).chain(more);
            Config::try_parse_from(args).unwrap().egress().check().map_err(|error| error.to_string())
        };
        assert_eq!(check(&[]), Ok(()));
        let error = check(&["--send-grace", "29s"]).unwrap_err();
        assert!(error.starts_with("SEND_GRACE (29s) must be at least three times GRAPH_TIMEOUT (10s)"));
        assert_eq!(check(&["--send-grace", "12s", "--graph-timeout", "4s"]), Ok(()));
    }

    #[test]
    fn the_ledger_is_on_unless_it_is_named() {
        let parse = |more: &[&str]| {
            let needed = ["egress", "--settings", "s", "--master-key", "k", "--conversation-key-secret"];
            let secret = ["0123456789abcdef0123456789abcdef"];
            let args = needed.iter().chain(&secret).chain(more);
            Config::try_parse_from(args).unwrap().egress().send_ledger
        };
        assert!(parse(&[]));
        assert!(parse(&["--unsafe-disable", "append-once,decision-chain"]));
        assert!(!parse(&["--unsafe-disable", "append-once,send-ledger"]));
    }
}
