//! Whether the broker syncs to disk before it acknowledges. Nothing that a client can ask over NATS
//! tells; the monitoring endpoint does (`/jsz?config=1`, `config.sync_always`).

use std::time::Duration;

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::Error;

const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The answer is about 700 bytes.
const ANSWER_BYTES: u64 = 64 * 1024;

#[derive(Deserialize)]
struct Jsz {
    config: Settings,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    sync_always: bool,
}

/// Every broker that answers must sync always, and one has to answer. `addresses`: `host:port`.
pub(crate) async fn require(addresses: &[String]) -> Result<(), Error> {
    let mut answered = addresses.is_empty();
    for address in addresses {
        match tokio::time::timeout(ANSWER_WITHIN, ask(address)).await {
            Ok(Ok(Jsz { config })) if config.sync_always => answered = true,
            Ok(Ok(_)) => {
                return Err(Error::Config(format!(
                    "the broker at {address} acknowledges before it has synced to disk: a power cut would lose \
                     what was promised to be kept. Set `sync_interval: always` in its jetstream block"
                )));
            }
            Ok(Err(e)) => tracing::warn!(address, error = %e, "broker's settings not read"),
            Err(_) => tracing::warn!(address, "broker's settings not read in time"),
        }
    }
    if answered {
        return Ok(());
    }
    Err(Error::Config("no address of NATS_MONITORING answers: is `http_port` set in the broker?".into()))
}

async fn ask(address: &str) -> Result<Jsz, Box<dyn std::error::Error + Send + Sync>> {
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0: the answer is one piece and ends with the connection.
    stream.write_all(b"GET /jsz?config=1 HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES).read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("not an HTTP answer")?;
    Ok(serde_json::from_str(body)?)
}
