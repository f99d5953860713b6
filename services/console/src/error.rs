//! What a request can be answered instead of what it asked for.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::access::Right;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteError {
    MalformedId,
    MalformedPhone,
    MalformedBody,
    MalformedQuery,
    MalformedAction,
    MalformedNonce,
    /// A template that is asked for, as such.
    MalformedMessage,
    MalformedRecipient,
    UnknownNumber,
    /// Meta would not take it.
    TemplateUnfit,
    UnknownMessage,
    MalformedCampaign,
    UnknownCampaign,
    /// Somebody else changed it meanwhile.
    CampaignChanged,
    /// Not in this state, or something is missing.
    NotNow,
    AudienceUnusable,
    /// No header of a template can be made of it.
    UnfitFile,
    UnknownCountry,
    /// One list at a time.
    UploadBusy,
    /// This console does not know the channels.
    NoSettings,
    UnknownSession,
    MalformedContact,
    /// What is searched for.
    MalformedSearch,
    MalformedEmail,
    UnknownContact,
    /// One was to be meant.
    SeveralContacts,
    SameContact,
    /// It cannot be undone, and was not said twice.
    NotConfirmed,
    /// A contact whose conversation a rep or the queue has.
    WithPeople,
    ErasureUnfinished,
    DirectoryAway,
    /// They are in a file, or nowhere.
    SettingsReadOnly,
    /// Somebody was faster.
    SettingsChanged,
    SettingsInvalid,
    /// With another MASTER_KEY.
    SettingsSealed,
    SettingsTooLarge,
    /// `{"env": …}` or `{"file": …}` in what was sent.
    ReferenceRefused,
    MalformedRevision,
    UnknownChannel,
    UnknownIntegration,
    MetaAway,
    MetaRefused,
    NotFound,
    NotSignedIn,
    WrongToken,
    WrongPassword,
    /// An answer of the identity provider that nobody waits for: of another browser, again, too late.
    SignInStale,
    /// It did not let them in.
    SignInDenied,
    /// What it sent proves nothing.
    IdentityUnproven,
    /// It knows them, and they may do nothing here.
    NoRole,
    NoName,
    /// Somebody of the console's own file is called the same.
    NameTaken,
    ProviderAway,
    ProviderUnfit,
    WrongHost,
    /// Signed in, and not entitled to this.
    NotAllowed(Right),
    /// A form of another sign-in, or of none.
    StaleForm,
    TooManyTries {
        seconds: u32,
    },
    /// As many passwords are being checked as may be.
    Busy,
    /// Who is signed in cannot be told.
    CacheAway,
    /// Another page's form.
    ForeignPage,
    SessionOver,
    NotPossible(Why),
    NonceReused,
    /// As many streams are open as there may be.
    Crowded,
    LogAway,
    Internal,
}

/// Why an operator's command changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    WithPeople,
    StillConnecting,
    NoTeam,
    WithAssistant,
    SetAside,
}

/// For people and programs; nothing internal, nothing of what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub(crate) struct Told {
    pub error: &'static str,
    pub message: &'static str,
    pub what_to_do: &'static str,
}

impl RouteError {
    pub(crate) fn too_many_tries(wait: Duration) -> Self {
        Self::TooManyTries { seconds: u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1) }
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::ReferenceRefused | Self::MalformedRevision => StatusCode::BAD_REQUEST,
            Self::SettingsReadOnly | Self::SettingsChanged => StatusCode::CONFLICT,
            Self::SettingsInvalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::SettingsTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MetaRefused | Self::ProviderUnfit => StatusCode::BAD_GATEWAY,
            Self::UnknownChannel | Self::UnknownIntegration => StatusCode::NOT_FOUND,
            Self::MetaAway | Self::SettingsSealed => StatusCode::SERVICE_UNAVAILABLE,
            Self::MalformedId
            | Self::MalformedPhone
            | Self::MalformedBody
            | Self::MalformedQuery
            | Self::MalformedAction
            | Self::MalformedContact
            | Self::MalformedSearch
            | Self::MalformedEmail
            | Self::SeveralContacts
            | Self::NotConfirmed
            | Self::MalformedMessage
            | Self::MalformedCampaign
            | Self::UnknownCountry
            | Self::SignInStale
            | Self::MalformedNonce => StatusCode::BAD_REQUEST,
            Self::ForeignPage
            | Self::NotAllowed(_)
            | Self::StaleForm
            | Self::SignInDenied
            | Self::NoRole
            | Self::NoName
            | Self::NameTaken => StatusCode::FORBIDDEN,
            Self::SessionOver
            | Self::NotPossible(_)
            | Self::NonceReused
            | Self::SameContact
            | Self::CampaignChanged
            | Self::NotNow
            | Self::WithPeople => StatusCode::CONFLICT,
            Self::MalformedRecipient
            | Self::UnknownNumber
            | Self::TemplateUnfit
            | Self::UnfitFile
            | Self::AudienceUnusable => StatusCode::UNPROCESSABLE_ENTITY,
            Self::UnknownSession
            | Self::UnknownContact
            | Self::UnknownMessage
            | Self::UnknownCampaign
            | Self::NotFound => StatusCode::NOT_FOUND,
            Self::NotSignedIn | Self::WrongToken | Self::WrongPassword | Self::IdentityUnproven => {
                StatusCode::UNAUTHORIZED
            }
            Self::TooManyTries { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::WrongHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Crowded
            | Self::Busy
            | Self::CacheAway
            | Self::ProviderAway
            | Self::DirectoryAway
            | Self::ErasureUnfinished
            | Self::NoSettings
            | Self::UploadBusy
            | Self::LogAway => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Tells when to try again, where that is known.
    pub(crate) fn mark(self, response: &mut Response) {
        let seconds = if let Self::TooManyTries { seconds } = self {
            seconds
        } else if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            5
        } else {
            return;
        };
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }

    pub(crate) fn told(self) -> Told {
        let (error, message, what_to_do) = match self {
            Self::MalformedId => (
                "malformed_id",
                "A session id is a UUID.",
                "Copy OpencxSessionId from the messaging session in Salesforce, whole.",
            ),
            Self::MalformedPhone => (
                "malformed_phone",
                "A phone number has 7 to 15 digits with its country code.",
                "Write it like +34 600 000 000.",
            ),
            Self::MalformedBody => (
                "malformed_body",
                "The request's body cannot be read.",
                "Send JSON as /api/v1/openapi.json tells, with Content-Type: application/json.",
            ),
            Self::MalformedQuery => (
                "malformed_query",
                "There is no such filter.",
                "state is waiting, with_rep, assistant or closed; number is a phone number ID; after is the \
                 next of the page before.",
            ),
            Self::MalformedAction => (
                "malformed_action",
                "There is no such action.",
                "Send {\"action\": \"hand_off\"} or {\"action\": \"give_back\"}.",
            ),
            Self::MalformedNonce => (
                "malformed_idempotency_key",
                "The action came without the key that makes it happen once.",
                "Send a header Idempotency-Key with 8 to 128 letters, digits or hyphens, a new one for each \
                 action, the same one for a repeat.",
            ),
            Self::ForeignPage => (
                "foreign_page",
                "That came from another site's page.",
                "Open the session in this console and press the button there.",
            ),
            Self::SessionOver => (
                "session_over",
                "This session is over: nothing can be done in it any more.",
                "Look for the customer's current session, by phone number or name.",
            ),
            Self::NotPossible(why) => why.told(),
            Self::NonceReused => (
                "idempotency_key_reused",
                "This key was used for another action.",
                "Take a new Idempotency-Key for each action.",
            ),
            Self::Crowded => (
                "crowded",
                "As many pages are kept current as this console can.",
                "Reload the page now and then, or close one that nobody looks at.",
            ),
            Self::UnknownSession => (
                "unknown_session",
                "The log holds no such session.",
                "Check the id. Sessions older than the log's horizon (7 days by default) are not here, \
                 and after the cache was lost, only each conversation's latest session is found by id: \
                 search by phone number instead.",
            ),
            Self::MalformedContact => {
                ("malformed_contact", "A contact's id is a UUID.", "Copy it from the contact's page, whole.")
            }
            Self::MalformedSearch => (
                "malformed_search",
                "Nobody can be looked for by that.",
                "Write a phone number or its first three digits, the first two letters of a name, a whole \
                 e-mail address, a WhatsApp user id (US.…) or a contact's id.",
            ),
            Self::MalformedEmail => {
                ("malformed_email", "That is no e-mail address.", "Write it like ana@example.com.")
            }
            Self::UnknownContact => (
                "unknown_contact",
                "There is no such contact.",
                "Search by phone number, name or e-mail address. Whoever was erased is gone.",
            ),
            Self::SeveralContacts => (
                "several_contacts",
                "Several contacts are meant by that.",
                "Search for them on the contacts' page and take the one's id.",
            ),
            Self::SameContact => {
                ("same_contact", "Both are the same contact already.", "Nothing needs to be done.")
            }
            Self::NotConfirmed => (
                "not_confirmed",
                "It was not confirmed, and nothing was done.",
                "Tick the box before you press the button.",
            ),
            Self::WithPeople => (
                "with_people",
                "A rep or the queue has a conversation of this contact.",
                "Wait until the chat has ended, or ask for the chat to be ended with it (force).",
            ),
            Self::ErasureUnfinished => (
                "erasure_unfinished",
                "Not everything could be erased yet.",
                "Erase the contact again: it goes on where it stopped.",
            ),
            Self::DirectoryAway => (
                "directory_away",
                "The contact directory does not answer right now.",
                "Try again in a few seconds. If it lasts, look at the cache (Valkey, REDIS_URL).",
            ),
            Self::MalformedMessage => (
                "malformed_message",
                "That is no message that could be sent.",
                "Send JSON as /api/v1/openapi.json tells; problems says what is wrong.",
            ),
            Self::MalformedRecipient => (
                "malformed_recipient",
                "Nobody has that phone number or user id.",
                "Write the phone number with its country code, like +34 600 000 000, or a WhatsApp user id \
                 (US.…).",
            ),
            Self::UnknownNumber => (
                "unknown_number",
                "No channel sends from that number.",
                "number is the phone number ID of a channel in the settings, not the number that people dial.",
            ),
            Self::TemplateUnfit => (
                "template_unfit",
                "WhatsApp would refuse this template with these values.",
                "problems says why; compare with the template in WhatsApp Manager.",
            ),
            Self::UnknownMessage => (
                "unknown_message",
                "The log holds no such message.",
                "Check the id, whole. What is older than the log's horizon (7 days by default) is not here.",
            ),
            Self::MalformedCampaign => (
                "malformed_campaign",
                "That is no campaign, or nothing that can be done to one.",
                "Send JSON as /api/v1/openapi.json and docs/campaigns.md tell.",
            ),
            Self::UnknownCampaign => {
                ("unknown_campaign", "There is no such campaign.", "Look at the list of campaigns.")
            }
            Self::CampaignChanged => (
                "campaign_changed",
                "Somebody else changed the campaign meanwhile.",
                "Read it again and send the change with its present revision.",
            ),
            Self::NotNow => (
                "not_now",
                "The campaign cannot do that now.",
                "problems says why: its state, or what is missing.",
            ),
            Self::AudienceUnusable => (
                "audience_unusable",
                "The list cannot be used; the one before stays.",
                "It is a CSV file in UTF-8 with headings: phone or bsuid, and the template's columns.",
            ),
            Self::UnfitFile => (
                "unfit_file",
                "WhatsApp takes no such file in a template's header.",
                "It has a name and a type; JPEG or PNG up to 5 MB, MP4 up to 16 MB, documents up to 100 MB.",
            ),
            Self::UnknownCountry => {
                ("unknown_country", "There is no such country.", "Write its two letters: DE, BR …")
            }
            Self::UploadBusy => (
                "upload_busy",
                "Another list is being read here.",
                "Try again when it is done: one at a time.",
            ),
            Self::NoSettings => (
                "no_settings",
                "This console does not know the channels.",
                "Give it BATON_SETTINGS, the same as the other services have.",
            ),
            Self::SettingsReadOnly => (
                "settings_read_only",
                "These settings are not changed here.",
                "They are read from a file. To change them here, put them into the broker (`baton settings import`) and \
                 set BATON_SETTINGS=broker for every service: docs/operations.md, Settings in the broker.",
            ),
            Self::SettingsChanged => (
                "settings_changed",
                "Somebody else changed the settings meanwhile.",
                "Look at the newest settings, then make your change in them (its revision is in GET \
                 /api/v1/settings).",
            ),
            Self::SettingsInvalid => (
                "settings_invalid",
                "Something in it cannot be used, and nothing was saved.",
                "Mend each field that is named.",
            ),
            Self::SettingsSealed => (
                "settings_sealed",
                "The settings cannot be opened with this console's MASTER_KEY.",
                "Give the console the MASTER_KEY that the other services have.",
            ),
            Self::SettingsTooLarge => (
                "settings_too_large",
                "That is more than settings may hold.",
                "Send less: 96 KB at once, and no more in all than the broker takes in a message.",
            ),
            Self::ReferenceRefused => (
                "reference_refused",
                "References to the environment and to files are not taken here.",
                "Send the value itself: it is sealed when it is kept. References are for a settings file, which \
                 only whoever looks after the machine can write.",
            ),
            Self::MalformedRevision => (
                "malformed_revision",
                "It is not said what the change is based on.",
                "Send ?revision= with the revision that GET /api/v1/settings tells.",
            ),
            Self::UnknownChannel => {
                ("unknown_channel", "There is no such number.", "GET /api/v1/settings lists all numbers.")
            }
            Self::UnknownIntegration => (
                "unknown_integration",
                "There is no such integration.",
                "GET /api/v1/settings lists all integrations.",
            ),
            Self::MetaAway => (
                "meta_away",
                "Meta does not answer right now.",
                "Try again in a few seconds. If it lasts, look at Meta's status page and at GRAPH_URL.",
            ),
            Self::MetaRefused => (
                "meta_refused",
                "Meta refused it.",
                "Look at the number under Troubleshooting: token, permissions and account are checked there.",
            ),
            Self::NotFound => ("not_found", "There is nothing here.", "Start at the overview, /."),
            Self::NotSignedIn => (
                "not_signed_in",
                "Nobody is signed in with this request.",
                "Sign in at /sign-in, or send a token as Authorization: Bearer ….",
            ),
            Self::WrongToken => (
                "wrong_token",
                "That is no token of this console.",
                "It is the value of CONSOLE_TOKEN, or one that `console make-token` printed.",
            ),
            Self::WrongPassword => (
                "wrong_password",
                "Name and password do not belong together.",
                "Check both; capital letters count. Whoever looks after this console can set a new password.",
            ),
            Self::SignInStale => (
                "sign_in_stale",
                "This sign-in was begun elsewhere, too long ago, or is finished already.",
                "Begin again at the sign-in page, in this browser and with cookies allowed.",
            ),
            Self::SignInDenied => (
                "sign_in_denied",
                "The identity provider did not let you in.",
                "Begin again. If it goes on, ask whoever looks after your account there.",
            ),
            Self::IdentityUnproven => (
                "identity_unproven",
                "What the identity provider sent does not prove who you are.",
                "Begin again. If it goes on, whoever looks after this console finds the reason in its log.",
            ),
            Self::NoRole => (
                "no_role",
                "You have no role here.",
                "Ask an owner of this console to put you into a group that has one, then sign in again.",
            ),
            Self::NoName => (
                "no_name",
                "The identity provider does not tell what you are called.",
                "Whoever looks after this console sees to the claim CONSOLE_OIDC_NAME_CLAIM names; an e-mail \
                 address must be verified.",
            ),
            Self::NameTaken => (
                "name_taken",
                "Somebody in this console’s own file has the same name.",
                "Use the name and password, or ask for another name in the file: the two could not be told \
                 apart afterwards.",
            ),
            Self::ProviderAway => (
                "provider_away",
                "The identity provider does not answer right now.",
                "Try again in a few seconds. Who has a password or the token of this console can use it \
                 meanwhile.",
            ),
            Self::ProviderUnfit => (
                "provider_unfit",
                "The identity provider and this console do not fit together.",
                "Whoever looks after this console finds the reason in its log, and the variables in \
                 docs/operations.md.",
            ),
            Self::NotAllowed(right) => right.told(),
            Self::StaleForm => (
                "stale_form",
                "This form is not of your present sign-in.",
                "Go back, reload the page and press the button again. Scripts send the page's token as \
                 x-csrf-token; programs use a token instead of a cookie.",
            ),
            Self::TooManyTries { .. } => {
                ("too_many_tries", "Too many tries to sign in.", "Wait up to 15 minutes, then try again.")
            }
            Self::Busy => {
                ("busy", "Many people are signing in at this moment.", "Try again in a few seconds.")
            }
            Self::CacheAway => (
                "cache_away",
                "Who is signed in cannot be looked up right now.",
                "Try again in a few seconds. If it lasts, look at the cache (Valkey, REDIS_URL). Tokens work \
                 meanwhile.",
            ),
            Self::WrongHost => (
                "wrong_host",
                "Without a token, this console answers to localhost only.",
                "Open it as http://localhost, or set CONSOLE_TOKEN, CONSOLE_USERS or CONSOLE_OIDC_ISSUER.",
            ),
            Self::LogAway => (
                "log_away",
                "The log does not answer right now.",
                "Try again in a few seconds. If it lasts, look at the broker (NATS) and at /readyz.",
            ),
            Self::Internal => {
                ("internal", "This page could not be made.", "Try again; the service's log says why.")
            }
        };
        Told { error, message, what_to_do }
    }
}

impl Right {
    /// What is said to somebody who has it not: the code, the sentence, and what to do.
    const fn told(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Read => (
                "may_not_read",
                "You may not see this.",
                "Ask an owner of this console for a role; a token needs a scope.",
            ),
            Self::Operate => (
                "may_not_operate",
                "You may look, and not act.",
                "Ask somebody with the role admin or owner; a token needs the scope operate.",
            ),
            Self::Configure => (
                "may_not_configure",
                "You may not change settings.",
                "Ask somebody with the role admin or owner; a token needs the scope configure.",
            ),
            Self::Own => {
                ("may_not_own", "You may not change people and secrets.", "Ask somebody with the role owner.")
            }
        }
    }
}

impl Why {
    pub(crate) const ALL: [Self; 5] =
        [Self::WithPeople, Self::StillConnecting, Self::NoTeam, Self::WithAssistant, Self::SetAside];

    /// The code, the sentence, and what to do.
    pub(crate) const fn told(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::WithPeople => (
                "already_handed_off",
                "It was handed off already: it waits for a rep, or a rep has it.",
                "If nobody takes it, look at the queue in Omni-Channel.",
            ),
            Self::StillConnecting => (
                "still_connecting",
                "It is just being handed off: there is nothing yet that could be ended.",
                "Try again once the conversation waits for a rep.",
            ),
            Self::NoTeam => (
                "no_team",
                "This number has no team to hand off to.",
                "Give its channel an integration in the settings.",
            ),
            Self::WithAssistant => {
                ("with_assistant", "The assistant has it already.", "Nothing needs to be done.")
            }
            Self::SetAside => (
                "set_aside",
                "The command could not be decided and was set aside.",
                "Look at the dead letters (docs/operations.md), then try again.",
            ),
        }
    }
}

impl From<bus::Error> for RouteError {
    fn from(error: bus::Error) -> Self {
        tracing::warn!(error = runtime::error_chain(&error), "the log could not be read");
        Self::LogAway
    }
}

/// As JSON; pages have `pages::Failed`.
impl IntoResponse for RouteError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.told())).into_response();
        if self.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        self.mark(&mut response);
        response
    }
}
