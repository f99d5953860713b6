//! What the tests against a real server share.
#![allow(
    clippy::allow_attributes,
    dead_code,
    unreachable_pub,
    reason = "every test binary uses a part of it"
)]

use devstack::Valkey;
use domain::{ContactId, ConversationKey, derive, message::Customer};
use secrecy::SecretString;
use store::{Config, Store};

pub fn connect(valkey: &Valkey) -> Store {
    connect_under(valkey, "test")
}

pub fn connect_under(valkey: &Valkey, prefix: &str) -> Store {
    Store::connect(&Config {
        redis_url: valkey.url().into(),
        redis_prefix: prefix.into(),
        master_key: format!("k1:{}", "A".repeat(43) + "=").into(),
    })
    .expect("the address and the key are well formed")
}

pub fn keying() -> derive::Keying {
    derive::Keying::new(&SecretString::from("a secret for this test only, 32+"))
}

pub fn contact(name: &str) -> ContactId {
    ContactId(derive::uuid("contact", &[name.as_bytes()]))
}

pub fn customer(bsuid: Option<&str>, phone: Option<&str>) -> Customer {
    Customer { bsuid: bsuid.map(Into::into), phone: phone.map(Into::into), ..Customer::default() }
}

pub fn pair(n: u32) -> ConversationKey {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    ConversationKey::from_bytes(bytes)
}

pub async fn raw(valkey: &Valkey) -> redis::aio::MultiplexedConnection {
    redis::Client::open(valkey.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// All that the server holds, as text.
pub async fn dump(valkey: &Valkey) -> String {
    let mut connection = raw(valkey).await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    let mut dump = keys.join("\n");
    for key in &keys {
        let kind: String = redis::cmd("TYPE").arg(key).query_async(&mut connection).await.unwrap();
        let mut read = match kind.as_str() {
            "string" => redis::cmd("GET"),
            "hash" => redis::cmd("HGETALL"),
            "list" => redis::cmd("LRANGE"),
            "zset" => redis::cmd("ZRANGE"),
            kind => panic!("{kind} is not read by this test"),
        };
        read.arg(key);
        if ["list", "zset"].contains(&kind.as_str()) {
            read.arg(0).arg(-1);
        }
        let value: redis::Value = read.query_async(&mut connection).await.unwrap();
        dump.push_str(&format!("\n{value:?}"));
    }
    dump
}

/// Keys that would stay for ever.
pub async fn without_expiry(valkey: &Valkey) -> Vec<String> {
    let mut connection = raw(valkey).await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    let mut found = Vec::new();
    for key in keys {
        let left: i64 = redis::cmd("TTL").arg(&key).query_async(&mut connection).await.unwrap();
        if left == -1 {
            found.push(key);
        }
    }
    found
}
