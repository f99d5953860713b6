//! Against the simulator, with a cache that is away.

use e2e::sim::{Options, PublicKey, Sim};
use runtime::settings::Live;
use salesforce::keys::generate_key_pair;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokens::Tokens;

#[tokio::test]
async fn without_the_cache_a_person_costs_one_token_not_one_a_call() {
    runtime::init_crypto();
    let keys = generate_key_pair(2048).unwrap();
    let mut options = Options::default();
    options.salesforce_config.keys = vec![PublicKey::pem("key-1", &keys.public_pem)];
    options.salesforce_config.issuer = "baton".into();
    // A second one within the minute would be refused.
    options.salesforce_config.tokens_per_minute = 1;
    let sim = Sim::start(options).await.unwrap();
    let settings = serde_json::from_value(json!({
        "channels": [{
            "phone_number_id": "1", "waba_id": "2", "display_phone_number": "+1", "name": "Support",
            "access_token": "t", "integration": "main",
        }],
        "integrations": [{
            "id": "main", "instance_url": "https://acme.my.salesforce.com",
            "messaging_url": sim.addresses().salesforce,
            "es_developer_name": "Phone_Bridge_Client", "org_id": "00DRT0000004QhW", "auth_key_id": "key-1",
            "jwt_private_key": keys.private_pem.expose_secret(), "jwt_public_key": keys.public_pem,
        }],
    }))
    .unwrap();
    let closed = devstack::free_port().unwrap();
    let store = store::Store::connect(&store::Config {
        redis_url: format!("redis://127.0.0.1:{closed}").into(),
        redis_prefix: "t".into(),
        master_key: "a:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned().into(),
    })
    .unwrap();
    let tokens = Tokens::new(Live::fixed(settings), store).unwrap();
    let contact = domain::ContactId(domain::derive::uuid("contact", &[]));
    let number = domain::PhoneNumberId::new("1");
    let mut seen = Vec::new();
    for _ in 0..3 {
        // As handoff does: an access for each call, dropped after it.
        let held = tokens.access(&number, contact).unwrap().token().await.unwrap();
        seen.push(held.token.token.expose_secret().to_owned());
    }
    seen.dedup();
    assert_eq!(seen.len(), 1);
}
