//! Templates as Meta has them, kept for a moment: management calls have a budget of their own, 200 an hour
//! at worst (`whatsapp-cloud-api.md` §10).

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use campaign::Known;
use domain::{WabaId, settings::Channel};
use tokio::{sync::Mutex, time::timeout};
use whatsapp::client::TemplateInfo;

/// So long a list is believed.
const FRESH: Duration = Duration::from_secs(300);
/// What is missing or not approved may have been mended just now; and who does not answer is not asked
/// more often.
const FRESH_ENOUGH: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(8);
/// A verified account has no more (§7.1).
const MOST: usize = 6_000;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Templates(Arc<Inner>);

struct Inner {
    client: Option<whatsapp::Client>,
    /// Of the accounts in the settings.
    lists: Mutex<HashMap<WabaId, Looked>>,
}

struct Looked {
    at: Instant,
    /// None: Meta did not tell.
    list: Option<Arc<[TemplateInfo]>>,
}

impl Templates {
    pub(crate) fn new(client: Option<whatsapp::Client>) -> Self {
        Self(Arc::new(Inner { client, lists: Mutex::default() }))
    }

    /// All of the channel's account; `None`: Meta cannot be asked right now.
    pub(crate) async fn all(&self, channel: &Channel) -> Option<Arc<[TemplateInfo]>> {
        self.list(channel, FRESH).await
    }

    /// `None`: Meta cannot be asked right now; `Some(None)`: there is no such template.
    pub(crate) async fn find(&self, channel: &Channel, name: &str, language: &str) -> Option<Option<Known>> {
        let list = self.list(channel, FRESH).await?;
        if let Some(found) = find(&list, name, language).filter(|found| found.status == "APPROVED") {
            return Some(Some(found));
        }
        let list = self.list(channel, FRESH_ENOUGH).await?;
        Some(find(&list, name, language))
    }

    /// One asks, the others wait for the answer.
    async fn list(&self, channel: &Channel, fresh: Duration) -> Option<Arc<[TemplateInfo]>> {
        let client = self.0.client.as_ref()?;
        let mut lists = self.0.lists.lock().await;
        if let Some(looked) = lists.get(&channel.waba_id) {
            let fresh = if looked.list.is_some() { fresh } else { FRESH_ENOUGH };
            if looked.at.elapsed() < fresh {
                return looked.list.clone();
            }
        }
        let asked = timeout(PATIENCE, client.templates(&channel.waba_id, &channel.access_token, MOST)).await;
        let list: Option<Arc<[TemplateInfo]>> = match asked {
            Ok(Ok(templates)) => Some(templates.list.into()),
            Ok(Err(error)) => {
                tracing::warn!(error = runtime::error_chain(&error), "templates cannot be listed");
                None
            }
            Err(_) => {
                tracing::warn!("templates cannot be listed in time");
                None
            }
        };
        // Accounts that left the settings are not kept.
        lists.retain(|_, looked| looked.at.elapsed() < FRESH);
        lists.insert(channel.waba_id.clone(), Looked { at: Instant::now(), list: list.clone() });
        list
    }
}

fn find(list: &[TemplateInfo], name: &str, language: &str) -> Option<Known> {
    list.iter().find(|found| found.name == name && found.language == language).map(known)
}

/// As far as it matters to filling it in.
pub(crate) fn known(info: &TemplateInfo) -> Known {
    let mut known = Known {
        status: info.status.clone(),
        category: info.category.clone(),
        named: info.parameter_format == "NAMED",
        ..Known::default()
    };
    for component in &info.components {
        match component.kind.as_str() {
            "HEADER" => {
                known.header_format =
                    if component.format.is_empty() { "TEXT".into() } else { component.format.clone() };
                known.header_text.clone_from(&component.text);
            }
            "BODY" => known.body.clone_from(&component.text),
            "FOOTER" => {}
            "BUTTONS" => {
                let of =
                    |button: &whatsapp::client::TemplateButtonInfo| (button.kind.clone(), button.url.clone());
                known.buttons = component.buttons.iter().map(of).collect();
            }
            other => known.others.push(other.to_owned()),
        }
    }
    known
}
