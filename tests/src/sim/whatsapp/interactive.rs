//! Interactive messages (`whatsapp-cloud-api.md` §5.3).

use super::{
    check::{Draft, Known, attach, choice},
    content::Choice,
    errors::Refusal,
    form::Form,
    media::Family,
};

/// The page says 4,096 for lists, the OpenAPI file 1,024: the smaller.
const BODY: usize = 1_024;
const FOOTER: usize = 60;

pub(super) fn draft(form: &Form<'_>, known: &Known<'_>) -> Result<Draft, Refusal> {
    let kind = form.text("type", 100)?;
    let body = form.text("body.text", BODY)?;
    let mut draft = Draft::new(&format!("interactive/{kind}"), form.value(), Some(body));
    draft.content.footer = form.maybe("footer.text", FOOTER)?.map(str::to_owned);
    let action = form.object("action")?;
    if form.has("header") {
        header(&mut draft, &form.object("header")?, kind, known)?;
    }
    match kind {
        "button" => {
            for button in action.list("buttons", 1..=3)? {
                button.word("type", &["reply"])?;
                let made = choice(&button.object("reply")?, 256, 20, &draft.content.buttons)?;
                if draft.content.buttons.iter().any(|known| known.title == made.title) {
                    return Err(button.invalid("reply.title"));
                }
                draft.content.buttons.push(made);
            }
        }
        "list" => list(&mut draft, &action)?,
        "cta_url" => {
            action.word("name", &["cta_url"])?;
            let title = action.text("parameters.display_text", 20)?.to_owned();
            let id = action.link("parameters.url")?.to_owned();
            draft.content.buttons.push(Choice { id, title, description: None });
        }
        "location_request_message" => {
            action.word("name", &["send_location"])?;
        }
        // Called `contact_request` until 28 May 2026.
        "request_contact_info" => {
            action.word("name", &["request_contact_info"])?;
        }
        "flow" => flow(&mut draft, &action)?,
        _ => return Err(form.invalid("type")),
    }
    Ok(draft)
}

fn header(draft: &mut Draft, header: &Form<'_>, kind: &str, known: &Known<'_>) -> Result<(), Refusal> {
    let allowed: &[&str] = match kind {
        "button" | "cta_url" | "flow" => &["text", "image", "video", "document"],
        "list" => &["text"],
        _ => &[],
    };
    let what = header.word("type", allowed)?;
    if what == "text" {
        draft.content.header = Some(header.text("text", 60)?.to_owned());
        return Ok(());
    }
    attach(draft, &header.object(what)?, Family::of_type(what), known)
}

fn list(draft: &mut Draft, action: &Form<'_>) -> Result<(), Refusal> {
    let open = action.text("button", 20)?.to_owned();
    draft.content.buttons.push(Choice { id: String::new(), title: open, description: None });
    let sections = action.list("sections", 1..=10)?;
    for section in &sections {
        match section.maybe("title", 24)? {
            None if sections.len() > 1 => return Err(section.missing("title")),
            _ => {}
        }
        for row in section.list("rows", 1..=10)? {
            let mut made = choice(&row, 200, 24, &draft.content.rows)?;
            made.description = row.maybe("description", 72)?.map(str::to_owned);
            draft.content.rows.push(made);
        }
    }
    // Ten in all, not in each.
    if draft.content.rows.len() > 10 {
        return Err(action.invalid("sections"));
    }
    Ok(())
}

fn flow(draft: &mut Draft, action: &Form<'_>) -> Result<(), Refusal> {
    action.word("name", &["flow"])?;
    let parameters = action.object("parameters")?;
    parameters.word("flow_message_version", &["3"])?;
    let flow = match (parameters.maybe("flow_id", 200)?, parameters.maybe("flow_name", 200)?) {
        (Some(_), Some(_)) => return Err(parameters.invalid("flow_name")),
        (None, None) => return Err(parameters.missing("flow_id")),
        (Some(flow), None) | (None, Some(flow)) => flow,
    };
    let title = parameters.text("flow_cta", 30)?.to_owned();
    if parameters.has("flow_action") {
        parameters.word("flow_action", &["navigate", "data_exchange"])?;
    }
    if parameters.has("mode") {
        parameters.word("mode", &["draft", "published"])?;
    }
    draft.content.buttons.push(Choice { id: flow.to_owned(), title, description: None });
    Ok(())
}
