//! What may be sent: every type of `whatsapp-cloud-api.md` §5.3 with its limits, as a draft of what
//! the customer's phone will show.

use serde_json::Value;

use super::{
    content::{Choice, Content, ShownFile},
    errors::Refusal,
    form::Form,
    interactive,
    media::{Family, Library},
    templates::{self, Template},
};

/// A message whose form is right.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) text: String,
    pub(super) content: Content,
    /// The category of a template; absent for free-form messages.
    pub(super) category: Option<String>,
    /// `message_status` of the answer: templates have one.
    pub(super) standing: Option<&'static str>,
    /// It is accepted and fails afterwards.
    pub(super) fails: Option<(i64, String)>,
    /// A link to fetch before it is shown, and what it must be.
    pub(super) fetch: Option<(String, Family)>,
}

/// What a check may look at.
pub(super) struct Known<'a> {
    pub(super) number: &'a str,
    pub(super) library: &'a Library,
    pub(super) templates: &'a [Template],
    pub(super) strict: bool,
    pub(super) now_ms: i64,
}

impl Draft {
    pub(super) fn new(kind: &str, object: &Value, text: Option<&str>) -> Self {
        let content = Content::of(kind, object);
        Self {
            text: text.map_or_else(|| content.placeholder(), str::to_owned),
            content,
            category: None,
            standing: None,
            fails: None,
            fetch: None,
        }
    }
}

/// Types that only customers' messages have.
const INBOUND_ONLY: [&str; 8] =
    ["order", "system", "unsupported", "unknown", "button", "request_welcome", "edit", "revoke"];

/// Whether the real API knows the type and this one does not.
pub(super) fn not_simulated(body: &Value) -> bool {
    const INTERACTIVE: [&str; 7] = [
        "product",
        "product_list",
        "catalog_message",
        "carousel",
        "address_message",
        "voice_call",
        "call_permission_request",
    ];
    body["type"] == "interactive" && INTERACTIVE.iter().any(|kind| body["interactive"]["type"] == *kind)
}

/// Checks the form of a message.
pub(super) fn draft(body: &Value, known: &Known<'_>) -> Result<Draft, Refusal> {
    let form = Form::new(body);
    if form.has("recipient_type") {
        form.word("recipient_type", &["individual", "group"])?;
    }
    match form.get("biz_opaque_callback_data") {
        None => {}
        Some(Value::String(data)) if data.chars().count() <= 512 => {}
        Some(_) => return Err(form.invalid("biz_opaque_callback_data")),
    }
    let kind = form.text("type", 100)?;
    match kind {
        "text" => text(&form),
        "image" | "video" | "audio" | "document" | "sticker" => file_message(&form, kind, known),
        "location" => location(&form),
        "contacts" => contacts(&form),
        "reaction" => reaction(&form),
        "interactive" => interactive::draft(&form.object("interactive")?, known),
        "template" => templates::draft(&form.object("template")?, known),
        kind if INBOUND_ONLY.contains(&kind) => Err(Refusal::of(131_051)),
        _ => Err(form.invalid("type")),
    }
}

fn text(form: &Form<'_>) -> Result<Draft, Refusal> {
    let object = form.object("text").map_err(|_| form.missing("text.body"))?;
    let body = object.text("body", 4_096)?;
    if object.get("preview_url").is_some_and(|preview| !preview.is_boolean()) {
        return Err(object.invalid("preview_url"));
    }
    Ok(Draft::new("text", object.value(), Some(body)))
}

fn file_message(form: &Form<'_>, kind: &str, known: &Known<'_>) -> Result<Draft, Refusal> {
    let object = form.object(kind)?;
    let family = Family::of_type(kind);
    let caption = match family {
        Family::Audio | Family::Sticker if object.has("caption") => return Err(object.invalid("caption")),
        Family::Audio | Family::Sticker => None,
        Family::Image | Family::Video | Family::Document => object.maybe("caption", 1_024)?,
    };
    let mut draft = Draft::new(kind, object.value(), caption);
    attach(&mut draft, &object, family, known)?;
    Ok(draft)
}

/// Puts the file that `object` names by `id` or `link` into the draft.
pub(super) fn attach(
    draft: &mut Draft,
    object: &Form<'_>,
    family: Family,
    known: &Known<'_>,
) -> Result<(), Refusal> {
    let filename = if family == Family::Document { object.maybe("filename", 255)? } else { None };
    let voice = family == Family::Audio && object.get("voice").and_then(Value::as_bool).unwrap_or_default();
    let mut file = ShownFile { filename: filename.map(str::to_owned), voice, ..ShownFile::default() };
    match (object.has("id"), object.has("link")) {
        (true, true) => return Err(object.invalid("link")),
        (false, false) => return Err(object.missing("id")),
        (true, false) => {
            let id = match object.get("id") {
                Some(Value::Number(id)) => id.to_string(),
                _ => object.text("id", 100)?.to_owned(),
            };
            let stored = known.library.live(&id, known.now_ms).filter(|stored| stored.number == known.number);
            let stored = stored.ok_or_else(|| object.invalid("id"))?;
            draft.fails = family.judge(&stored.mime_type, &stored.bytes, voice, known.strict).err();
            file = ShownFile {
                source: id,
                mime_type: stored.mime_type.clone(),
                sha256: stored.hex(),
                bytes: stored.bytes.len() as u64,
                ..file
            };
        }
        (false, true) => {
            file.source = object.link("link")?.to_owned();
            draft.fetch = Some((file.source.clone(), family));
        }
    }
    draft.content.file = Some(file);
    Ok(())
}

fn location(form: &Form<'_>) -> Result<Draft, Refusal> {
    let object = form.object("location")?;
    object.number("latitude", -90.0..=90.0)?;
    object.number("longitude", -180.0..=180.0)?;
    let name = object.maybe("name", 1_000)?;
    object.maybe("address", 1_000)?;
    Ok(Draft::new("location", object.value(), name))
}

fn contacts(form: &Form<'_>) -> Result<Draft, Refusal> {
    // The page says 257, the OpenAPI file 5: the smaller.
    let cards = form.list("contacts", 1..=5)?;
    for card in &cards {
        card.text("name.formatted_name", 1_000)?;
        let parts = ["first_name", "last_name", "middle_name", "suffix", "prefix"];
        if !parts.iter().any(|part| card.has(&format!("name.{part}"))) {
            return Err(card.missing("name.first_name"));
        }
        for lists in ["phones", "emails", "addresses", "urls"] {
            if card.has(lists) {
                card.list(lists, 0..=100)?;
            }
        }
    }
    let name = cards.first().and_then(|card| card.get("name.formatted_name")).and_then(Value::as_str);
    Ok(Draft::new("contacts", form.get("contacts").unwrap_or(&Value::Null), name))
}

fn reaction(form: &Form<'_>) -> Result<Draft, Refusal> {
    let object = form.object("reaction")?;
    let target = object.text("message_id", 500)?.to_owned();
    if form.has("context") {
        return Err(form.invalid("context"));
    }
    let emoji = match object.get("emoji") {
        Some(Value::String(emoji))
            if emoji.chars().count() <= 16 && !emoji.chars().any(char::is_alphabetic) =>
        {
            emoji
        }
        Some(_) => return Err(object.invalid("emoji")),
        None => return Err(object.missing("emoji")),
    };
    let mut draft = Draft::new("reaction", object.value(), Some(emoji));
    draft.content.target = Some(target);
    Ok(draft)
}

/// A button or row with its limits; ids and titles may come once only.
pub(super) fn choice(
    form: &Form<'_>,
    id_max: usize,
    title_max: usize,
    before: &[Choice],
) -> Result<Choice, Refusal> {
    let (id, title) = (form.text("id", id_max)?, form.text("title", title_max)?);
    if before.iter().any(|known| known.id == id) {
        return Err(form.invalid("id"));
    }
    Ok(Choice { id: id.to_owned(), title: title.to_owned(), description: None })
}
