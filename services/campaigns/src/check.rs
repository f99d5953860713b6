//! What Meta knows of a campaign's template and number.

use campaign::{Definition, Known};
use domain::settings::Channel;
use whatsapp::{
    Client,
    client::{CallError, TemplateInfo},
};

use crate::limits;

/// Everything that keeps it from being sent, for people; nothing: it may start. The text of the template
/// is noted in the definition, for transcripts.
pub(crate) async fn problems(
    whatsapp: &Client,
    channel: Option<&Channel>,
    definition: &mut Definition,
) -> Result<Vec<String>, CallError> {
    let Some(channel) = channel else {
        return Ok(vec!["the number is not in the settings".to_owned()]);
    };
    let template = &mut definition.plan.template;
    let found = whatsapp
        .template(&channel.waba_id, &channel.access_token, &template.name, &template.language)
        .await?
        .map(known);
    if let Some(found) = &found {
        template.text.clone_from(&found.body);
    }
    let mut problems = template.check(found.as_ref());
    let number = whatsapp.phone_number(&channel.phone_number_id, &channel.access_token).await?;
    if matches!(number.status.as_str(), "BANNED" | "DISCONNECTED" | "DELETED" | "RESTRICTED" | "RATE_LIMITED")
    {
        problems.push(format!("the number is {}", number.status.to_lowercase()));
    }
    Ok(problems)
}

/// The portfolio's messaging limit, as the number tells it; `None`: there is none.
pub(crate) async fn limit(whatsapp: &Client, channel: &Channel) -> Result<Option<u32>, CallError> {
    /// Of businesses that Meta knows nothing about.
    const SMALLEST: u32 = 250;
    let number = whatsapp.phone_number(&channel.phone_number_id, &channel.access_token).await?;
    Ok(limits::tier(&number.whatsapp_business_manager_messaging_limit).unwrap_or_else(|()| {
        tracing::warn!("Meta calls the messaging limit something new: taken for the smallest");
        Some(SMALLEST)
    }))
}

fn known(info: TemplateInfo) -> Known {
    let mut known = Known {
        status: info.status,
        category: info.category,
        named: info.parameter_format == "NAMED",
        ..Known::default()
    };
    for component in info.components {
        match component.kind.as_str() {
            "HEADER" => {
                known.header_format = component.format;
                known.header_text = component.text;
            }
            "BODY" => known.body = component.text,
            "FOOTER" => {}
            "BUTTONS" => {
                known.buttons =
                    component.buttons.into_iter().map(|button| (button.kind, button.url)).collect();
            }
            _ => known.others.push(component.kind),
        }
    }
    known
}

/// `message_template_status_update` (§7.5) that ends sending it.
#[derive(serde::Deserialize)]
struct StatusUpdate {
    event: String,
    message_template_name: String,
    message_template_language: String,
}

/// Name and language of a template that cannot be sent any more, as the event's value says.
pub(crate) fn stopped_template(raw: &[u8]) -> Option<(String, String)> {
    let update: StatusUpdate = serde_json::from_slice(raw).ok()?;
    let stops = matches!(
        update.event.as_str(),
        "PAUSED" | "DISABLED" | "REJECTED" | "PENDING_DELETION" | "DELETED" | "ARCHIVED" | "LOCKED"
    );
    stops.then_some((update.message_template_name, update.message_template_language))
}
