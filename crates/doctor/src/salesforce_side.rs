//! Each integration at Salesforce's, in the order in which a handoff needs it. Nothing is created there
//! but an access token.

use std::time::Duration;

use domain::{
    derive::uuid,
    settings::{Integration, Settings},
};
use salesforce::{Client, Error, EventStream, Options};
use tokio::{net::TcpStream, time::timeout};

use crate::{Group, Job, Seen, Verdict};

const LIMIT: Duration = Duration::from_secs(40);
const CONNECT: Duration = Duration::from_secs(5);
const CALL: Duration = Duration::from_secs(10);

const SETTINGS: (&str, &str) = ("salesforce.settings", "The integration's fields");
pub(crate) const HOST: (&str, &str) = ("salesforce.host", "The messaging host can be reached");
pub(crate) const TOKEN: (&str, &str) = ("salesforce.token", "Salesforce accepts our identity token");
pub(crate) const STREAM: (&str, &str) = ("salesforce.stream", "The event stream opens");

pub(crate) fn jobs(settings: &Settings) -> Vec<Job> {
    settings.integrations.iter().map(|integration| job(integration.clone())).collect()
}

fn job(integration: Integration) -> Job {
    let of = integration.id.as_str().to_owned();
    let work = Box::pin(async move {
        let mut seen = vec![fields(&integration)];
        if seen.iter().all(|one| one.verdict == Verdict::Ok) {
            seen.extend(calls(&integration).await);
        } else {
            seen.extend([HOST, TOKEN, STREAM].map(|what| skipped(what, "the fields are not in order")));
        }
        seen
    });
    Job { id: HOST.0, looks_at: HOST.1, group: Group::Salesforce, of, limit: LIMIT, work }
}

pub(crate) fn skipped((id, looks_at): (&'static str, &'static str), why: &str) -> Seen {
    Seen::wrong(id, looks_at, Verdict::Unchecked, why, "")
}

pub(crate) fn fields(integration: &Integration) -> Seen {
    let (id, looks_at) = SETTINGS;
    let found = salesforce::check(integration);
    if found.is_empty() {
        return Seen::ok(id, looks_at, "complete").from("product-behaviour.md §3");
    }
    let list: Vec<String> = found.iter().map(ToString::to_string).collect();
    let fix = "Mend them in the settings (integrations); Salesforce Setup shows the values: My Domain, Embedded \
               Service Deployments, Company Information, Messaging for Web key.";
    Seen::wrong(id, looks_at, Verdict::Broken, list.join("; "), fix).from("product-behaviour.md §3")
}

async fn calls(integration: &Integration) -> Vec<Seen> {
    let mut seen = vec![host(integration).await];
    if seen[0].verdict != Verdict::Ok {
        seen.extend([TOKEN, STREAM].map(|what| skipped(what, "the host cannot be reached")));
        return seen;
    }
    let options = Options { connect: CONNECT, total: CALL, ..Options::default() };
    let (id, looks_at) = TOKEN;
    let client = match Client::new(integration, options) {
        Ok(client) => client,
        Err(error) => {
            let fix = "Mend the integration's messaging_url and keys in the settings.";
            seen.push(Seen::wrong(id, looks_at, Verdict::Broken, error.to_string(), fix));
            seen.push(skipped(STREAM, "there is no token"));
            return seen;
        }
    };
    match client.authenticate(&nobody(), runtime::now()).await {
        Ok(token) => {
            seen.push(Seen::ok(id, looks_at, "yes, as a verified user").from("miaw-api.md §2.3"));
            let (id, looks_at) = STREAM;
            seen.push(match EventStream::connect(&client, &token, &token.last_event_id).await {
                Ok(_closed_when_dropped) => Seen::ok(id, looks_at, "yes").from("miaw-api.md §7"),
                Err(error) => told(STREAM, &error).from("miaw-api.md §7"),
            });
        }
        Err(error) => {
            seen.push(told(TOKEN, &error).from("miaw-api.md §2"));
            seen.push(skipped(STREAM, "there is no token"));
        }
    }
    seen
}

/// Always the same one, so that it is one end user at Salesforce and no person.
pub(crate) fn nobody() -> String {
    uuid("doctor", &[]).to_string()
}

pub(crate) async fn host(integration: &Integration) -> Seen {
    let (id, looks_at) = HOST;
    let broken = |cause: &str, fix: &str| Seen::wrong(id, looks_at, Verdict::Broken, cause, fix);
    let known = integration.messaging_url().ok();
    let place =
        known.as_ref().and_then(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)));
    let Some(place) = place else {
        return broken("messaging_url cannot be derived", "Set messaging_url in the integration.");
    };
    let address = match timeout(CONNECT, tokio::net::lookup_host(place)).await {
        Ok(Ok(mut found)) => found.next(),
        Ok(Err(_)) | Err(_) => None,
    };
    let Some(address) = address else {
        let fix = "See whether instance_url is the org's My Domain. The messaging host stands in the code snippet \
                   of the deployment (Setup, Embedded Service Deployments): set it as messaging_url. If it is \
                   right, see whether this machine can look names up.";
        return broken("the name of the messaging host is not found", fix);
    };
    match timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Seen::ok(id, looks_at, "found, and it answers"),
        Ok(Err(_)) | Err(_) => broken(
            "the messaging host does not answer",
            "See whether a firewall keeps this machine from it (port 443), and Salesforce's status page.",
        ),
    }
    .from("miaw-api.md §1")
}

/// `Error` holds nothing secret and nothing of a person.
pub(crate) fn told((id, looks_at): (&'static str, &'static str), error: &Error) -> Seen {
    let (verdict, fix) = match error {
        Error::NotVerified => (
            Verdict::Broken,
            "Compare in Salesforce Setup: auth_key_id is the key's id (kid) and issuer the keyset's issuer, byte \
             for byte (User Verification); the registered key is the public half of jwt_private_key and has its \
             certificate (x5c); the keyset is chosen in the deployment, which was published after that; audience \
             is what the org checks, or left out; and this machine's clock is right.",
        ),
        Error::Refused { .. } => (
            Verdict::Broken,
            "Compare org_id (Company Information, 15 characters) and es_developer_name (API name of a published \
             deployment of type Custom Client) with Salesforce Setup.",
        ),
        Error::NotFound { .. } | Error::Unreadable { .. } => (
            Verdict::Broken,
            "See whether messaging_url is the messaging host of the deployment's code snippet, and whether a \
             proxy answers in its place.",
        ),
        Error::RateLimited { .. } => {
            (Verdict::Warning, "Wait a minute: the org's budget of calls is used up.")
        }
        Error::Transport { .. } | Error::Unavailable { .. } | Error::Silent { .. } => (
            Verdict::Broken,
            "Salesforce does not answer as it should: see its status page, and this machine's way to it.",
        ),
        Error::Identity(_) => (Verdict::Broken, "Put the whole private key (PEM, RSA) into the settings."),
        Error::Unauthorized { .. }
        | Error::NoSession { .. }
        | Error::TooLarge { .. }
        | Error::FileTooLarge
        | Error::FileTypeRefused => (Verdict::Broken, "Run the checks again; see the logs of egress."),
    };
    Seen::wrong(id, looks_at, verdict, error.to_string(), fix)
}
