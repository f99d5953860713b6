//! The Cloud API's bytes: escaped JSON, signatures, wamids. Shapes are those of `crates/whatsapp/testdata`.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

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
    let version = if version.is_empty() { "v25.0" } else { version };
    for (name, value) in [("facebook-api-version", version), ("x-fb-trace-id", trace.as_str())] {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    }
    if let Some(message) = body["error"]["message"].as_str().filter(|_| (400..500).contains(&status)) {
        let reason = if status == 401 { "invalid_token" } else { "invalid_request" };
        let authenticate = format!("OAuth \"Facebook Platform\" \"{reason}\" \"{message}\"");
        if let Ok(value) = authenticate.parse() {
            headers.insert("www-authenticate", value);
        }
    }
    response
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
    fn a_wamid_carries_the_peer_like_recorded_ones() {
        let id = wamid("15550100199", Direction::Inbound, 7);
        let bytes = STANDARD.decode(id.strip_prefix("wamid.").unwrap()).unwrap();
        let recorded = STANDARD.decode("HBgLMTU1NTAxMDAxOTkVAgASGBQzRUIwRjIzRUQ1MjVCQ0M0QUI2QgA=").unwrap();
        assert_eq!(bytes[..20], recorded[..20]);
        assert_eq!(bytes.len(), recorded.len());
    }
}
