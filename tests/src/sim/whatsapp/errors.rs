//! Errors of the Graph API: the table of codes and the three shapes (`whatsapp-cloud-api.md` §9).
//! Texts are those of `crates/whatsapp/testdata` where a sample has the code.

use serde_json::{Value, json};

use super::{super::server::Answer, wire::graph};

/// A refusal: HTTP status and body.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: i64,
    pub(super) status: u16,
    body: Value,
}

impl Refusal {
    /// One of the messaging errors, with the details of the samples.
    pub(super) fn of(code: i64) -> Self {
        let (_, title, details) = known(code);
        Self::because(code, if details.is_empty() { title } else { details })
    }

    /// The same with details of its own.
    pub(super) fn because(code: i64, details: &str) -> Self {
        let (status, title, _) = known(code);
        let mut error = json!({
            "message": format!("(#{code}) {title}"), "type": "OAuthException", "code": code,
            "error_data": { "messaging_product": "whatsapp", "details": details },
            "fbtrace_id": trace_id(),
        });
        match code {
            190 => {
                error["message"] = "Error validating access token: Session has expired.".into();
                error["error_subcode"] = 463.into();
            }
            2 => {
                error["message"] = title.into();
                error["is_transient"] = true.into();
            }
            _ => {}
        }
        // Those that do not come from messaging have no details.
        let plain = matches!(code, 0..=99 | 101..=299 | 80_000..=80_099 | 2_494_100..=2_494_199);
        if let (true, Some(members)) = (plain, error.as_object_mut()) {
            members.remove("error_data");
        }
        Self { code, status, body: json!({ "error": error }) }
    }

    pub(super) fn missing(path: &str) -> Self {
        Self::because(131_008, &format!("Parameter is missing: {path}"))
    }

    pub(super) fn invalid(path: &str) -> Self {
        Self::because(131_009, &format!("Parameter value is not valid: {path}"))
    }

    pub(super) fn unknown_object(method: &str, id: &str) -> Self {
        let message = format!(
            "Unsupported {} request. Object with ID '{id}' does not exist, cannot be loaded due to missing \
             permissions, or does not support this operation. Please read the Graph API documentation at \
             https://developers.facebook.com/docs/graph-api",
            method.to_lowercase()
        );
        let error = json!({
            "message": message, "type": "GraphMethodException", "code": 100, "error_subcode": 33,
            "fbtrace_id": trace_id(),
        });
        Self { code: 100, status: 400, body: json!({ "error": error }) }
    }

    pub(super) fn answer(&self, version: &str) -> Answer {
        graph(self.status, version, &self.body)
    }
}

fn trace_id() -> String {
    format!("A{:020X}", fastrand::u128(..) >> 48)
}

/// The error object of a failed status, with the usual details or others.
pub(super) fn status_error(code: i64, details: Option<&str>) -> Value {
    let (_, title, usual) = known(code);
    let usual = if usual.is_empty() { title } else { usual };
    json!({
        "code": code, "title": title, "message": title,
        "error_data": { "details": details.unwrap_or(usual) },
        "href": "/documentation/business-messaging/whatsapp/support/error-codes",
    })
}

/// HTTP status, title, details (`whatsapp-cloud-api.md` §9.2). Empty details: the title again.
fn known(code: i64) -> (u16, &'static str, &'static str) {
    match code {
        0 => (401, "AuthException", ""),
        1 => (400, "API Unknown", ""),
        2 => (503, "An unexpected error has occurred. Please retry your request later.", ""),
        3 => (500, "API Method", ""),
        4 => (400, "Application request limit reached", ""),
        10 => (403, "Application does not have permission for this action", ""),
        33 => (400, "Parameter value is not valid", ""),
        100 => (400, "Invalid parameter", ""),
        190 => (401, "Error validating access token", ""),
        200..=299 => (403, "API Permission", ""),
        368 => (
            403,
            "Temporarily blocked for policies violations",
            "The account has been restricted or disabled for violating a platform policy.",
        ),
        80_007 => (400, "Rate limit issues", ""),
        80_008 => (400, "There have been too many calls to this WhatsApp Business account.", ""),
        130_429 => (400, "Rate limit hit", "Cloud API message throughput has been reached."),
        130_472 => (
            400,
            "User's number is part of an experiment",
            "Failed to send message because this user's phone number is part of an experiment",
        ),
        130_497 => (403, "Business account is restricted from messaging users in this country.", ""),
        130_501 => (400, "Message type is not currently supported", ""),
        131_000 => (500, "Something went wrong", "Message failed to send due to an unknown error."),
        131_005 => (403, "Access denied", "Permission is either not granted or has been removed."),
        131_008 => (400, "Required parameter is missing", "Parameter is missing."),
        131_009 => (400, "Parameter value is not valid", "Parameter value is not valid."),
        131_016 => (500, "Service unavailable", "A service is temporarily unavailable."),
        131_021 => (400, "Recipient cannot be sender", "Sender and recipient phone number is the same."),
        131_026 => (400, "Message undeliverable", "Message Undeliverable."),
        131_030 => (400, "Recipient phone number not in allowed list", ""),
        131_031 => (403, "Business Account locked", "Account has been locked"),
        131_037 => (400, "Display name approval needed", ""),
        131_042 => (
            400,
            "Business eligibility payment issue",
            "Message failed to send because there were one or more errors related to your payment method.",
        ),
        131_045 => (500, "Incorrect certificate", ""),
        131_047 => (
            400,
            "Re-engagement message",
            "Message failed to send because more than 24 hours have passed since the customer last replied to \
             this number.",
        ),
        131_048 => (
            400,
            "Spam rate limit hit",
            "Message failed to send because there are restrictions on how many messages can be sent from this \
             phone number.",
        ),
        131_049 => (
            400,
            "This message was not delivered to maintain healthy ecosystem engagement.",
            "In order to maintain a healthy ecosystem engagement, the message failed to be delivered.",
        ),
        131_050 => (
            400,
            "User has stopped marketing messages",
            "User has opted out of receiving marketing messages from you.",
        ),
        131_051 => (400, "Unsupported message type", "Message type is not currently supported"),
        131_052 => (400, "Media download error", "Media file could not be downloaded from the link."),
        131_053 => (400, "Media upload error", ""),
        131_056 => (
            400,
            "(Business Account, Consumer Account) pair rate limit hit",
            "Message failed to send because too many messages were sent from this phone number to the same \
             recipient phone number in a short period of time.",
        ),
        131_057 => (500, "Account in maintenance mode", "Business Account is in maintenance mode."),
        131_059 => (400, "Paging cursor is not valid", ""),
        131_062 => {
            (400, "Business-scoped User ID (BSUID) recipients are not supported for this message.", "")
        }
        132_000 => (400, "Number of parameters does not match the expected number of params", ""),
        132_001 => (404, "Template name does not exist in the translation", ""),
        132_005 => (400, "Translated text too long", ""),
        132_007 => (400, "Template format character policy violated", ""),
        132_012 => (400, "Parameter format does not match format in the created template", ""),
        132_015 => (
            400,
            "Template is paused",
            "Template is paused due to low quality so it cannot be sent in a template message.",
        ),
        132_016 => (400, "Template is disabled", ""),
        132_018 => (400, "There is a problem with the template parameters", ""),
        132_068 => (400, "Flow is in blocked state", ""),
        132_069 => (400, "Flow is in throttled state", ""),
        133_010 => (
            400,
            "The account is not registered",
            "Phone number is not registered on the WhatsApp Business Platform.",
        ),
        133_016 => (400, "Too many registration attempts", ""),
        137_000 => (400, "Identity hash mismatch", ""),
        2_494_191 => (400, "Thread control take is not permitted", ""),
        _ => (400, "Error", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str) -> String {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/whatsapp/testdata");
        std::fs::read_to_string(format!("{dir}/{name}")).unwrap()
    }

    #[test]
    fn refusals_look_like_the_samples() {
        for code in [
            2, 368, 132015, 133010, 130429, 131000, 131005, 131008, 131009, 131016, 131021, 131030, 131031,
            131048, 131056, 131057,
        ] {
            let name = if code == 2 { "2_transient".to_owned() } else { code.to_string() };
            let expected: Value = serde_json::from_str(&sample(&format!("api/error_{name}.json"))).unwrap();
            let refusal = if code == 131008 {
                Refusal::because(code, "Parameter is missing: text.body")
            } else {
                Refusal::of(code)
            };
            assert_eq!(Value::from(refusal.status), expected["response"]["status"], "{code}");
            let strip = |mut body: Value| {
                body["error"].as_object_mut().unwrap().remove("fbtrace_id");
                body
            };
            assert_eq!(strip(refusal.body), strip(expected["response"]["body"].clone()), "{code}");
        }
    }
}
