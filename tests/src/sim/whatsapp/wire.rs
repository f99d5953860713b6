//! The Cloud API's bytes: escaped JSON, signatures, wamids, errors. Shapes and texts are those of
//! `crates/whatsapp/testdata`.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::super::server::{Answer, answer};

/// JSON as Meta writes it: compact, ASCII only, `\/`.
pub fn escape(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if c == '/' {
            out.push_str("\\/");
        } else if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

/// The value of `X-Hub-Signature-256`.
pub fn sign(app_secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, app_secret.as_bytes());
    format!("sha256={}", hex::encode(hmac::sign(&key, body)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Inbound,
    Outbound,
}

/// A wamid as recorded traffic shows it: a few bytes around the peer's id in ASCII, the direction,
/// and upper-case hex. `counter` makes it unique.
pub(super) fn wamid(peer: &str, direction: Direction, counter: u64) -> String {
    let (mark, tail) = match direction {
        Direction::Inbound => (0x12, format!("3EB0{:06X}{:010X}", fastrand::u32(..) & 0xff_ffff, counter)),
        Direction::Outbound => (0x11, format!("{:08X}{:010X}", fastrand::u32(..), counter)),
    };
    let mut bytes = vec![0x1c, 0x18, u8::try_from(peer.len()).unwrap_or(u8::MAX)];
    bytes.extend_from_slice(peer.as_bytes());
    bytes.extend_from_slice(&[0x15, 0x02, 0x00, mark, 0x18]);
    bytes.push(u8::try_from(tail.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(tail.as_bytes());
    bytes.push(0);
    format!("wamid.{}", STANDARD.encode(bytes))
}

/// An answer of the Graph API, with its headers and its style of JSON.
pub(super) fn graph(status: u16, version: &str, body: &Value) -> Answer {
    let mut response = answer(status, "application/json; charset=UTF-8", escape(&body.to_string()));
    let headers = response.headers_mut();
    let trace = format!("D{:010X}", fastrand::u64(..) & 0xff_ffff_ffff);
    for (name, value) in [("facebook-api-version", version), ("x-fb-trace-id", trace.as_str())] {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    }
    if let Some(message) = body["error"]["message"].as_str().filter(|_| status == 401) {
        let authenticate = format!("OAuth \"Facebook Platform\" \"invalid_token\" \"{message}\"");
        if let Ok(value) = authenticate.parse() {
            headers.insert("www-authenticate", value);
        }
    }
    response
}

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
        let (_, _, details) = known(code);
        Self::because(code, details)
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
                error.as_object_mut().map(|error| error.remove("error_data"));
            }
            2 => {
                error["message"] = title.into();
                error["is_transient"] = true.into();
                error.as_object_mut().map(|error| error.remove("error_data"));
            }
            _ => {}
        }
        Self { code, status, body: json!({ "error": error }) }
    }

    pub(super) fn unknown_object(id: &str) -> Self {
        let message = format!(
            "Unsupported post request. Object with ID '{id}' does not exist, cannot be loaded due to missing \
             permissions, or does not support this operation. Please read the Graph API documentation at \
             https://developers.facebook.com/docs/graph-api"
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

/// The error object of a failed status.
pub(super) fn status_error(code: i64) -> Value {
    let (_, title, details) = known(code);
    json!({
        "code": code, "title": title, "message": title, "error_data": { "details": details },
        "href": "/documentation/business-messaging/whatsapp/support/error-codes",
    })
}

/// HTTP status, title, details (`whatsapp-cloud-api.md` §9.2).
fn known(code: i64) -> (u16, &'static str, &'static str) {
    match code {
        2 => (503, "An unexpected error has occurred. Please retry your request later.", ""),
        100 => (400, "Invalid parameter", "Invalid parameter"),
        190 => (401, "Error validating access token", ""),
        368 => (
            403,
            "Temporarily blocked for policies violations",
            "The account has been restricted from certain activity.",
        ),
        130429 => (400, "Rate limit hit", "Cloud API message throughput has been reached."),
        131000 => (500, "Something went wrong", "Message failed to send due to an unknown error."),
        131005 => (403, "Access denied", "Permission is either not granted or has been removed."),
        131008 => (400, "Required parameter is missing", "Parameter is missing."),
        131009 => (400, "Parameter value is not valid", "Parameter value is not valid."),
        131016 => (500, "Service unavailable", "A service is temporarily unavailable."),
        131021 => (400, "Recipient cannot be sender", "Sender and recipient phone number is the same."),
        131026 => (400, "Message undeliverable", "Message Undeliverable."),
        131030 => {
            (400, "Recipient phone number not in allowed list", "Recipient phone number not in allowed list")
        }
        131031 => (403, "Business Account locked", "Account has been locked"),
        131047 => (
            400,
            "Re-engagement message",
            "Message failed to send because more than 24 hours have passed since the customer last replied to \
             this number.",
        ),
        131048 => (
            400,
            "Spam rate limit hit",
            "Message failed to send because there are restrictions on how many messages can be sent from this \
             phone number.",
        ),
        131051 => (400, "Unsupported message type", "Message type is not currently supported"),
        131056 => (
            400,
            "(Business Account, Consumer Account) pair rate limit hit",
            "Message failed to send because too many messages were sent from this phone number to the same \
             recipient phone number in a short period of time.",
        ),
        131057 => (500, "Account in maintenance mode", "Business Account is in maintenance mode."),
        _ => (400, "Error", "Error"),
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
    fn bodies_are_escaped_and_signed_as_the_vectors_say() {
        let vectors: Value = serde_json::from_str(&sample("signature/vectors.json")).unwrap();
        let secret = vectors["app_secret"].as_str().unwrap();
        let escaped = escape(&sample("signature/compact_utf8.body"));
        assert_eq!(escaped, sample("signature/compact_ascii_escaped_slash.body"));
        let valid = vectors["vectors"].as_array().unwrap().iter().filter(|v| v["valid"] == true);
        for vector in valid {
            let body = sample(&format!("signature/{}", vector["file"].as_str().unwrap()));
            assert_eq!(sign(secret, body.as_bytes()), vector["x_hub_signature_256"]);
        }
    }

    #[test]
    fn refusals_look_like_the_samples() {
        for code in [
            2, 130429, 131000, 131005, 131008, 131009, 131016, 131021, 131030, 131031, 131048, 131056, 131057,
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

    #[test]
    fn a_wamid_carries_the_peer_like_recorded_ones() {
        let id = wamid("15550100199", Direction::Inbound, 7);
        let bytes = STANDARD.decode(id.strip_prefix("wamid.").unwrap()).unwrap();
        let recorded = STANDARD.decode("HBgLMTU1NTAxMDAxOTkVAgASGBQzRUIwRjIzRUQ1MjVCQ0M0QUI2QgA=").unwrap();
        assert_eq!(bytes[..20], recorded[..20]);
        assert_eq!(bytes.len(), recorded.len());
    }
}
