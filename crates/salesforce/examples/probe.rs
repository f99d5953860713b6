//! Tries an integration against the real thing: a token for a made-up end user, then the event
//! stream. Creates no conversation, so nobody is disturbed.
//!
//! ```sh
//! cargo run -p salesforce --example probe -- settings.json main
//! ```

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::{
    error::Error,
    time::{SystemTime, UNIX_EPOCH},
};

use domain::{IntegrationId, settings::Settings};
use salesforce::{Client, EventStream, Options};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(id)) = (arguments.next(), arguments.next()) else {
        return Err("usage: probe SETTINGS_FILE INTEGRATION_ID".into());
    };
    let settings: Settings = serde_json::from_slice(&std::fs::read(path)?)?;
    let integration = settings.integration(&IntegrationId::new(id)).ok_or("no such integration")?;
    let client = Client::new(integration, Options::default())?;
    println!("calling {}", integration.messaging_url()?);

    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let token = client.authenticate("baton-probe", now).await?;
    println!("token: valid for {} s", (token.expires_at - now) / 1000);
    let open = client.list_conversations(&token, false).await?;
    println!("conversations: {} open", open.len());
    let mut stream = EventStream::connect(&client, &token, &token.last_event_id).await?;
    println!("stream: up; its frames follow (pings show their period)");
    while let Some(frame) = stream.next().await? {
        println!("{frame:?}");
    }
    println!("stream: ended by the server");
    Ok(())
}
