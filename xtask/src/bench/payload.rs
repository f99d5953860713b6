//! Webhooks as Meta sends them, signed, ready to be written to a socket.

use secrecy::SecretString;
use whatsapp::signature;

/// How many customers write in turns.
const CUSTOMERS: usize = 1000;

pub(super) const NUMBER: &str = "220011223344001";

pub(super) fn app_secret() -> SecretString {
    SecretString::from("bench_app_secret")
}

/// HTTP requests, each with `batch` messages that nobody has sent before.
pub(super) fn requests(run: &str, bodies: usize, batch: usize) -> Vec<Vec<u8>> {
    let secret = app_secret();
    (0..bodies).map(|body| request(&secret, &body_of(run, body * batch, batch))).collect()
}

fn request(secret: &SecretString, body: &str) -> Vec<u8> {
    let signature = signature::sign(secret, body.as_bytes());
    format!(
        "POST /webhooks/whatsapp HTTP/1.1\r\nhost: localhost\r\nuser-agent: facebookexternalua\r\n\
         accept: */*\r\ncontent-type: application/json\r\nx-hub-signature-256: {signature}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// One change per message: Meta's own batches are entries and changes side by side.
fn body_of(run: &str, first: usize, batch: usize) -> String {
    let changes: Vec<_> = (first..first + batch).map(|message| change(run, message)).collect();
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"104857600000001","changes":[{}]}}]}}"#,
        changes.join(",")
    )
}

fn change(run: &str, message: usize) -> String {
    let customer = message % CUSTOMERS;
    let phone = format!("1555{customer:07}");
    let bsuid = format!("US.701319244660{customer:08}");
    let wamid = format!("wamid.HBgLMTU1NTAxMDAxOTkVAgASGBQz{run}{message:012}AA==");
    format!(
        r#"{{"value":{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"15550100200","phone_number_id":"{NUMBER}"}},"contacts":[{{"profile":{{"name":"Customer {customer}"}},"wa_id":"{phone}","user_id":"{bsuid}"}}],"messages":[{{"from":"{phone}","from_user_id":"{bsuid}","id":"{wamid}","timestamp":"1795400000","type":"text","text":{{"body":"Hello, where is my order {message}? I have been waiting since Monday \u2014 thank you."}}}}]}},"field":"messages"}}"#
    )
}
