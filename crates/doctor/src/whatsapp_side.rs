//! Each channel at Meta's: [`whatsapp::client::Client::check_channel`] does the looking.

use std::time::Duration;

use domain::settings::{Channel, Settings};
use secrecy::ExposeSecret as _;
use whatsapp::client::{Check, Outcome, Wanted};

use crate::{Group, Job, Seen, Verdict};

/// Seven calls, one after the other.
const LIMIT: Duration = Duration::from_secs(50);
const REFERENCE: &str = "whatsapp-cloud-api.md §8";

/// How Meta's side calls a check, how we do, and what it looks at.
const NAMES: [(&str, &str, &str); 10] = [
    ("token", "whatsapp.token", "Access token"),
    ("permissions", "whatsapp.permissions", "Permissions of the token"),
    ("number", "whatsapp.number", "Number and its status"),
    ("account", "whatsapp.account", "The number is in the account (WABA)"),
    ("app subscription", "whatsapp.app subscription", "App subscribed to the account's webhooks"),
    ("webhook fields", "whatsapp.webhook fields", "Webhook fields of the app"),
    ("webhook address", "whatsapp.webhook address", "Where webhooks go"),
    ("health", "whatsapp.health", "Whether Meta lets the number send"),
    ("quality and limits", "whatsapp.quality and limits", "Quality, throughput, messaging limit"),
    ("templates", "whatsapp.templates", "Templates, and the window rescue template"),
];

pub(crate) fn jobs(settings: &Settings, client: &whatsapp::client::Client) -> Vec<Job> {
    settings.channels.iter().map(|channel| job(channel.clone(), client.clone())).collect()
}

pub(crate) fn job(channel: Channel, client: whatsapp::client::Client) -> Job {
    let of = channel.name.clone();
    let work = Box::pin(async move {
        let rescue = channel.policy.rescue_template.as_ref();
        let templates: Vec<(&str, &str)> =
            rescue.iter().map(|template| (template.name.as_str(), template.language.as_str())).collect();
        let wanted = Wanted {
            number: &channel.phone_number_id,
            waba: &channel.waba_id,
            token: &channel.access_token,
            app: None,
            webhook_url: None,
            shared: channel.escalation_partner,
            templates: &templates,
            now: runtime::now(),
        };
        let checks = client.check_channel(&wanted).await;
        checks.into_iter().filter_map(|check| seen(check, &channel)).collect()
    });
    let (id, looks_at) = ("whatsapp.token", "Access token");
    Job { id, looks_at, group: Group::WhatsApp, of, limit: LIMIT, work }
}

fn seen(check: Check, channel: &Channel) -> Option<Seen> {
    let (_, id, looks_at) = NAMES.into_iter().find(|(name, ..)| *name == check.name)?;
    let seen = match check.outcome {
        // Its number and name as Meta has them: of no use here.
        Outcome::Ok if check.name == "number" => Seen::ok(id, looks_at, "Meta knows the number"),
        // An address may have a secret in its path.
        Outcome::Ok if check.name == "webhook address" => Seen::ok(id, looks_at, "there is one"),
        Outcome::Ok => Seen::ok(id, looks_at, clean(&check.seen, channel)),
        Outcome::Wrong { what, how_to_mend } => {
            let verdict = if what.starts_with("the token expires in") || what.contains("quality is RED") {
                Verdict::Warning
            } else {
                Verdict::Broken
            };
            Seen::wrong(id, looks_at, verdict, clean(&what, channel), clean(&how_to_mend, channel))
        }
        Outcome::Skipped { why } => {
            let verdict =
                if check.name == "webhook fields" { Verdict::NotApplicable } else { Verdict::Unchecked };
            Seen::wrong(id, looks_at, verdict, why, "")
        }
    };
    Some(seen.from(REFERENCE))
}

/// Meta's words may quote the token ("Malformed access token …") or the number as it is dialled.
fn clean(text: &str, channel: &Channel) -> String {
    let token = channel.access_token.expose_secret();
    let text = if token.is_empty() { text.to_owned() } else { text.replace(token, "…") };
    let words = text.split(' ').map(|word| {
        let secret = word.len() >= 40 && !word.contains("://");
        if secret { "…" } else { word }
    });
    let text = words.collect::<Vec<_>>().join(" ");
    without_numbers(&text)
}

/// Phone numbers: a `+` with what people write between digits, or 10 digits and more.
fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut run = String::new();
    let flush = |run: &mut String, out: &mut String| {
        let digits = run.chars().filter(char::is_ascii_digit).count();
        if digits >= 10 || run.starts_with('+') && digits >= 7 {
            out.push('…')
        } else {
            out.push_str(run)
        }
        run.clear();
    };
    for c in text.chars() {
        let begins = c == '+' || c.is_ascii_digit();
        let goes_on = begins || run.starts_with('+') && matches!(c, '-' | '(' | ')');
        if run.is_empty() && begins || !run.is_empty() && goes_on {
            run.push(c);
        } else {
            flush(&mut run, &mut out);
            out.push(c);
        }
    }
    flush(&mut run, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phone_numbers_are_left_out_and_codes_stay() {
        assert_eq!(without_numbers("15550100200 has the status BANNED"), "… has the status BANNED");
        assert_eq!(without_numbers("+1-555-010-0200 is FLAGGED (code 131031)"), "… is FLAGGED (code 131031)");
        assert_eq!(without_numbers("expires in 3 days"), "expires in 3 days");
    }
}
