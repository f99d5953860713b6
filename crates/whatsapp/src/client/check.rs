//! Whether a channel is in order at Meta's, in the order in which one would set it up (§8).

use domain::{Millis, PhoneNumberId, WabaId};
use secrecy::SecretString;
use url::Url;

use super::{App, CallError, Client, Health, NumberNode, SubscribedApp, Subscription, Templates, TokenInfo};

/// What both kinds of webhook fields and messages need (§1.6).
const SCOPES: [&str; 2] = ["whatsapp_business_messaging", "whatsapp_business_management"];
/// Without it no message comes.
const NEEDED_FIELD: &str = "messages";
/// Without them messages of a number with several responders are missed silently (§13).
const SHARED_FIELDS: [&str; 2] = ["standby", "messaging_handovers"];
/// What tells that something has changed for the channel.
const USEFUL_FIELDS: [&str; 7] = [
    "account_update",
    "account_alerts",
    "business_capability_update",
    "phone_number_quality_update",
    "message_template_status_update",
    "message_template_quality_update",
    "user_preferences",
];
/// An account that is not verified has 250 templates; in a longer list a missing one is no proof.
const MAX_TEMPLATES: usize = 1_000;
/// A token that ends sooner than this is told about.
const SOON_DAYS: i64 = 7;
const DAY_SECONDS: i64 = 24 * 3600;

/// What should be true of a channel.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub number: &'a PhoneNumberId,
    pub waba: &'a WabaId,
    pub token: &'a SecretString,
    /// Without it the webhook fields cannot be read.
    pub app: Option<&'a App>,
    /// Where events should go. `None`: wherever they go.
    pub webhook_url: Option<&'a Url>,
    /// Several responders share the number (Conversation Routing).
    pub shared: bool,
    /// Templates that the channel uses: name and language.
    pub templates: &'a [(&'a str, &'a str)],
    pub now: Millis,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    pub outcome: Outcome,
    /// What was seen, for people; values of Meta's as they are written. May be empty.
    pub seen: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Wrong { what: String, how_to_mend: String },
    Skipped { why: &'static str },
}

/// What is seen, or what is wrong and how to mend it.
type Judged = Result<String, (String, String)>;

impl Client {
    /// Looks at everything that a channel needs; changes nothing. Seven calls, or one with a bad token.
    pub async fn check_channel(&self, wanted: &Wanted<'_>) -> Vec<Check> {
        let Wanted { number, waba, token, app, webhook_url, shared, templates, now } = *wanted;
        let mut list = List::default();

        let info = self.debug_token(token, app).await;
        let judged = told(&info, "", |info| judge_token(info, now));
        if list.add("token", judged) {
            list.add("permissions", told(&info, "", judge_scopes));
        } else {
            for name in NAMES_AFTER_TOKEN {
                list.skip(name, "the token is not in order");
            }
            return list.0;
        }

        let node = self.phone_number(number, token).await;
        let found = list.add("number", told(&node, "the phone number is not found: ", judge_number));
        let members = self.waba_phone_numbers(waba, token).await;
        let judged = told(&members, "the account is not found: ", |members| judge_members(members, number));
        list.add("account", judged);

        let app_id = app.map(|app| app.id.as_str()).or(info.as_ref().ok().map(|info| info.app_id.as_str()));
        let apps = self.subscribed_apps(waba, token).await;
        list.add("app subscription", told(&apps, "", |apps| judge_apps(apps, app_id.unwrap_or_default())));
        match app {
            Some(app) => {
                let fields = self.app_subscriptions(app).await;
                list.add("webhook fields", told(&fields, "", |fields| judge_fields(fields, shared)));
            }
            None => list.skip("webhook fields", "reading them takes the app's id and secret"),
        }
        if found {
            list.add("webhook address", told(&node, "", |node| judge_address(node, webhook_url)));
        } else {
            list.skip("webhook address", "the number is not in order");
        }
        let health = self.health_status(number.as_str(), token).await;
        list.add("health", told(&health, "", judge_health));
        if found {
            list.add("quality and limits", told(&node, "", judge_quality));
        } else {
            list.skip("quality and limits", "the number is not in order");
        }
        let known = self.templates(waba, token, MAX_TEMPLATES).await;
        list.add("templates", told(&known, "", |known| judge_templates(known, templates)));
        list.0
    }
}

const NAMES_AFTER_TOKEN: [&str; 9] = [
    "permissions",
    "number",
    "account",
    "app subscription",
    "webhook fields",
    "webhook address",
    "health",
    "quality and limits",
    "templates",
];

#[derive(Default)]
struct List(Vec<Check>);

impl List {
    /// Whether it is in order.
    fn add(&mut self, name: &'static str, judged: Judged) -> bool {
        let (outcome, seen) = match judged {
            Ok(seen) => (Outcome::Ok, seen),
            Err((what, how_to_mend)) => (Outcome::Wrong { what, how_to_mend }, String::new()),
        };
        let fine = outcome == Outcome::Ok;
        self.0.push(Check { name, outcome, seen });
        fine
    }

    fn skip(&mut self, name: &'static str, why: &'static str) {
        self.0.push(Check { name, outcome: Outcome::Skipped { why }, seen: String::new() });
    }
}

fn told<T>(answer: &Result<T, CallError>, so: &str, judge: impl FnOnce(&T) -> Judged) -> Judged {
    match answer {
        Ok(answer) => judge(answer),
        Err(error) => Err((format!("{so}{}", error.what()), error.how_to_mend().to_owned())),
    }
}

fn wrong(what: impl Into<String>, how_to_mend: &str) -> Judged {
    Err((what.into(), how_to_mend.to_owned()))
}

fn judge_token(info: &TokenInfo, now: Millis) -> Judged {
    const MEND: &str =
        "Make a new token for the system user, one that never expires, and put it into the settings.";
    if !info.is_valid {
        let why = info.error.as_ref().map(|error| error.message.as_str()).filter(|why| !why.is_empty());
        return wrong(format!("the token is not valid: {}", why.unwrap_or("no reason given")), MEND);
    }
    if info.expires_at == 0 {
        return Ok(format!("of the app {}, never expires", info.application));
    }
    let days = info.expires_at.saturating_sub(now / 1_000).div_euclid(DAY_SECONDS);
    if days < SOON_DAYS {
        return wrong(format!("the token expires in {days} days"), MEND);
    }
    Ok(format!("of the app {}, expires in {days} days", info.application))
}

fn judge_scopes(info: &TokenInfo) -> Judged {
    let missing: Vec<&str> =
        SCOPES.into_iter().filter(|scope| !info.scopes.iter().any(|has| has == scope)).collect();
    if missing.is_empty() {
        return Ok(SCOPES.join(", "));
    }
    wrong(
        format!("the token lacks {}", missing.join(" and ")),
        "Make a new token for the system user with these permissions ticked.",
    )
}

fn judge_number(node: &NumberNode) -> Judged {
    let NumberNode { display_phone_number, verified_name, status, .. } = node;
    match status.as_str() {
        "" => Ok(format!("{display_phone_number} ({verified_name})")),
        "DISCONNECTED" | "PENDING" | "UNVERIFIED" | "DELETED" | "MIGRATED" => wrong(
            format!("{display_phone_number} has the status {status}"),
            "Register the number with the Cloud API: WhatsApp Manager shows what is missing.",
        ),
        "FLAGGED" | "RESTRICTED" | "RATE_LIMITED" | "BANNED" => wrong(
            format!("{display_phone_number} has the status {status}"),
            "See the number's quality and policy notices in WhatsApp Manager.",
        ),
        status => Ok(format!("{display_phone_number} ({verified_name}), {status}")),
    }
}

fn judge_members(members: &[NumberNode], number: &PhoneNumberId) -> Judged {
    if members.iter().any(|member| member.id == number.as_str()) {
        return Ok(format!("{} numbers", members.len()));
    }
    wrong(
        "the phone number is not in this account",
        "Put the id of the number's own account into the settings: WhatsApp Manager shows it.",
    )
}

fn judge_apps(apps: &[SubscribedApp], app_id: &str) -> Judged {
    let names: Vec<&str> = apps.iter().map(|app| app.app.name.as_str()).collect();
    if apps.iter().any(|app| app.app.id == app_id) {
        return Ok(names.join(", "));
    }
    let who = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    wrong(
        format!("the app gets no events of the account (apps that do: {who})"),
        "Subscribe it: POST subscribed_apps, once.",
    )
}

fn judge_fields(subscriptions: &[Subscription], shared: bool) -> Judged {
    const MEND: &str = "Subscribe to them in the app dashboard: WhatsApp, Configuration, Webhook fields.";
    let Some(subscription) =
        subscriptions.iter().find(|subscription| subscription.object == "whatsapp_business_account")
    else {
        return wrong("the app has no webhook for WhatsApp", "Set its address in the app dashboard.");
    };
    if !subscription.active {
        return wrong("the app's webhook is switched off", "Verify its address in the app dashboard again.");
    }
    let lacks = |field: &&str| !subscription.fields.iter().any(|has| has == field);
    let needed = [NEEDED_FIELD].into_iter().chain(SHARED_FIELDS.into_iter().filter(|_| shared));
    let missing: Vec<&str> = needed.filter(lacks).collect();
    if !missing.is_empty() {
        return wrong(format!("the app is not subscribed to {}", missing.join(", ")), MEND);
    }
    let mut seen = subscription.fields.join(", ");
    let useful: Vec<&str> = USEFUL_FIELDS.into_iter().filter(lacks).collect();
    if !useful.is_empty() {
        seen.push_str("; useful, but not subscribed: ");
        seen.push_str(&useful.join(", "));
    }
    Ok(seen)
}

fn judge_address(node: &NumberNode, wanted: Option<&Url>) -> Judged {
    let Some((url, whose)) = node.webhook_configuration.effective() else {
        return wrong("events of the number go nowhere", "Set the app's webhook address in its dashboard.");
    };
    match wanted {
        Some(wanted) if url.parse().ok().as_ref() != Some(wanted) => Err((
            format!("events of the number go to {url} (set for {whose})"),
            format!("Set {wanted} there, or remove the override."),
        )),
        Some(_) | None => Ok(format!("{url} (set for {whose})")),
    }
}

fn judge_health(health: &Health) -> Judged {
    if health.can_send_message != "LIMITED" && health.can_send_message != "BLOCKED" {
        let word = if health.can_send_message.is_empty() { "not told" } else { &health.can_send_message };
        return Ok(word.to_owned());
    }
    let (mut what, mut mend) = (vec![format!("sending is {}", health.can_send_message)], Vec::new());
    for entity in &health.entities {
        for error in &entity.errors {
            what.push(format!("{}: {} ({})", entity.entity_type, error.error_description, error.error_code));
            mend.push(error.possible_solution.as_str());
        }
        what.extend(entity.additional_info.iter().map(|info| format!("{}: {info}", entity.entity_type)));
    }
    mend.retain(|text| !text.is_empty());
    if mend.is_empty() {
        mend.push("See the account in WhatsApp Manager.");
    }
    wrong(what.join("; "), &mend.join(" "))
}

fn judge_quality(node: &NumberNode) -> Judged {
    let NumberNode { quality_rating, throughput, whatsapp_business_manager_messaging_limit: limit, .. } =
        node;
    if quality_rating == "RED" {
        return wrong(
            "the number's quality is RED",
            "Customers block or report it: stop campaigns, and see why in WhatsApp Manager.",
        );
    }
    let or = |value: &str| if value.is_empty() { "not told".to_owned() } else { value.to_owned() };
    let mut seen = format!(
        "quality {}, throughput {}, messaging limit {}",
        or(quality_rating),
        or(&throughput.level),
        or(limit)
    );
    if node.is_on_biz_app {
        seen.push_str(", also in the WhatsApp Business app (20 messages a second)");
    }
    Ok(seen)
}

fn judge_templates(known: &Templates, wanted: &[(&str, &str)]) -> Judged {
    for (name, language) in wanted {
        let found = known.list.iter().find(|one| one.name == *name && one.language == *language);
        match found {
            Some(template) if template.is_approved() => {}
            Some(template) => {
                return wrong(
                    format!("the template {name} ({language}) is {}", template.status),
                    "Only approved templates can be sent: see WhatsApp Manager, or use another one.",
                );
            }
            None if known.more => {}
            None => {
                return wrong(
                    format!("there is no template {name} in {language}"),
                    "Create it in WhatsApp Manager, or mend its name and language in the settings.",
                );
            }
        }
    }
    let approved = known.list.iter().filter(|template| template.is_approved()).count();
    let more = if known.more { " and more" } else { "" };
    Ok(format!("{}{more}, {approved} approved", known.list.len()))
}
