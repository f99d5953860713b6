//! One thing to say becomes the messages that carry it within every limit.

use std::collections::HashSet;

use domain::message::{
    Attachment, Buttons, Header, LinkButton, List, MediaKind, Outgoing, Section, Tap, Template,
    TemplateButton, split_text,
};
use unicode_segmentation::UnicodeSegmentation as _;

use super::kinds::kind_for;
use crate::client::MAX_TEXT_CHARS;

const BODY: usize = 1024;
const CAPTION: usize = 1024;
const HEADER: usize = 60;
const FOOTER: usize = 60;
const BUTTONS: usize = 3;
const BUTTON_TITLE: usize = 20;
const BUTTON_ID: usize = 256;
const ROWS: usize = 10;
const ROW_TITLE: usize = 24;
const ROW_DESCRIPTION: usize = 72;
const ROW_ID: usize = 200;
const SECTIONS: usize = 10;
const SECTION_TITLE: usize = 24;
/// Meta's page says 257, its OpenAPI file 5.
const CARDS: usize = 5;
/// What opens a list that its sender gave no name.
const OPENS: &str = "Options";
/// The body of a message whose words went out before it, because they were too long for it.
const CONTINUED: &str = "⬇️";

/// The messages, in order; none is beyond a limit. Their number and order depend on `body` alone.
pub fn fit(body: &Outgoing) -> Vec<Outgoing> {
    match body {
        Outgoing::Text(text) => texts(text),
        Outgoing::Attachment(attachment) => with_caption(attachment),
        Outgoing::Contacts(cards) => {
            cards.chunks(CARDS).map(|cards| Outgoing::Contacts(cards.to_vec())).collect()
        }
        Outgoing::Buttons(wanted) => buttons(wanted),
        Outgoing::List(wanted) => list(wanted).unwrap_or_else(|| {
            let rows = wanted.sections.iter().flat_map(|section| &section.rows);
            numbered(wanted.header.as_deref(), &wanted.body, rows, wanted.footer.as_deref())
        }),
        Outgoing::Link(wanted) => link(wanted).unwrap_or_else(|| texts(&body.as_text())),
        Outgoing::Template(template) => vec![Outgoing::Template(cleaned(template))],
        Outgoing::Location(_) | Outgoing::Reaction { .. } => vec![body.clone()],
    }
}

fn texts(text: &str) -> Vec<Outgoing> {
    split_text(text, MAX_TEXT_CHARS).into_iter().map(Outgoing::Text).collect()
}

/// Where nothing can be tapped on.
fn numbered<'a>(
    header: Option<&str>,
    body: &str,
    options: impl IntoIterator<Item = &'a Tap>,
    footer: Option<&str>,
) -> Vec<Outgoing> {
    let mut lines: Vec<String> = [header, Some(body)].into_iter().flatten().map(str::to_owned).collect();
    lines.extend((1..).zip(options).map(|(number, tap)| match &tap.description {
        Some(description) => format!("{number}. {}: {description}", tap.title),
        None => format!("{number}. {}", tap.title),
    }));
    lines.extend(footer.map(str::to_owned));
    lines.retain(|line| !line.trim().is_empty());
    texts(&lines.join("\n"))
}

/// Whether it may have a caption, and stand above buttons.
fn takes_caption(attachment: &Attachment) -> bool {
    // How large it is does not matter here: a document takes a caption too.
    let kind = kind_for(&attachment.mime, 1, attachment.kind).unwrap_or(MediaKind::Document);
    match kind {
        MediaKind::Image | MediaKind::Video | MediaKind::Document => true,
        MediaKind::Audio | MediaKind::Voice | MediaKind::Sticker => false,
    }
}

fn with_caption(attachment: &Attachment) -> Vec<Outgoing> {
    match &attachment.caption {
        Some(caption) if !takes_caption(attachment) || caption.chars().count() > CAPTION => {
            let bare = Outgoing::Attachment(Attachment { caption: None, ..attachment.clone() });
            std::iter::once(bare).chain(texts(caption)).collect()
        }
        Some(_) | None => vec![Outgoing::Attachment(attachment.clone())],
    }
}

fn buttons(wanted: &Buttons) -> Vec<Outgoing> {
    let Buttons { header, body, footer, options } = wanted;
    let short = options.iter().all(|tap| tap.title.chars().count() <= BUTTON_TITLE);
    let as_buttons = short && (1..=BUTTONS).contains(&options.len()) && are_good(options.iter(), BUTTON_ID);
    // A file that cannot stand at the top, or has words of its own, goes before.
    let (mut first, header) = match header {
        Some(Header::Attachment(attachment))
            if !as_buttons || !takes_caption(attachment) || attachment.caption.is_some() =>
        {
            (with_caption(attachment), None)
        }
        Some(header) => (Vec::new(), Some(header.clone())),
        None => (Vec::new(), None),
    };
    let footer = footer.as_deref().filter(|text| !text.trim().is_empty());
    if as_buttons {
        let (words, body) = apart(body);
        first.extend(words);
        let header = header.and_then(|header| match header {
            Header::Text(text) => (!text.trim().is_empty()).then(|| Header::Text(cut(&text, HEADER))),
            Header::Attachment(attachment) => Some(Header::Attachment(attachment)),
        });
        let footer = footer.map(|text| cut(text, FOOTER));
        first.push(Outgoing::Buttons(Buttons { header, body, footer, options: options.clone() }));
        return first;
    }
    // More, or longer ones, as a list.
    let header = header.and_then(|header| match header {
        Header::Text(text) => Some(text),
        Header::Attachment(_) => None,
    });
    let sections = vec![Section { title: None, rows: options.clone() }];
    let footer = footer.map(str::to_owned);
    let as_list = List { header, body: body.clone(), footer, button: OPENS.into(), sections };
    let rest = list(&as_list)
        .unwrap_or_else(|| numbered(as_list.header.as_deref(), body, options, as_list.footer.as_deref()));
    first.extend(rest);
    first
}

/// `None`: no list can carry it.
fn list(wanted: &List) -> Option<Vec<Outgoing>> {
    let rows: Vec<&Tap> = wanted.sections.iter().flat_map(|section| &section.rows).collect();
    let good = (1..=ROWS).contains(&rows.len())
        && wanted.sections.len() <= SECTIONS
        && are_good(rows.iter().copied(), ROW_ID);
    if !good {
        return None;
    }
    let several = wanted.sections.len() > 1;
    let sections = wanted.sections.iter().map(|section| Section {
        // Needed where there are several.
        title: section.title.as_deref().or(several.then_some(OPENS)).map(|title| cut(title, SECTION_TITLE)),
        rows: section.rows.iter().map(row).collect(),
    });
    let (mut messages, body) = apart(&wanted.body);
    messages.push(Outgoing::List(List {
        header: wanted.header.as_deref().filter(|text| !text.trim().is_empty()).map(|text| cut(text, HEADER)),
        body,
        footer: wanted.footer.as_deref().filter(|text| !text.trim().is_empty()).map(|text| cut(text, FOOTER)),
        button: if wanted.button.trim().is_empty() {
            OPENS.into()
        } else {
            cut(&wanted.button, BUTTON_TITLE)
        },
        sections: sections.filter(|section| !section.rows.is_empty()).collect(),
    }));
    Some(messages)
}

/// A title that is too long is cut, and stands whole below itself.
fn row(tap: &Tap) -> Tap {
    let long = tap.title.chars().count() > ROW_TITLE;
    let whole = match &tap.description {
        Some(description) if long => Some(format!("{}: {description}", tap.title)),
        Some(description) => Some(description.clone()),
        None => long.then(|| tap.title.clone()),
    };
    Tap {
        id: tap.id.clone(),
        title: cut(&tap.title, ROW_TITLE),
        description: whole.map(|text| cut(&text, ROW_DESCRIPTION)),
    }
}

fn link(wanted: &LinkButton) -> Option<Vec<Outgoing>> {
    let url = url::Url::parse(&wanted.url).ok()?;
    if !matches!(url.scheme(), "https" | "http") || wanted.label.trim().is_empty() {
        return None;
    }
    let (mut messages, body) = apart(&wanted.body);
    let label = cut(&wanted.label, BUTTON_TITLE);
    messages.push(Outgoing::Link(LinkButton { body, label, url: wanted.url.clone() }));
    Some(messages)
}

/// Words that are too long for a message with buttons go out before it.
fn apart(body: &str) -> (Vec<Outgoing>, String) {
    match body.trim() {
        "" => (Vec::new(), CONTINUED.to_owned()),
        body if body.chars().count() > BODY => (texts(body), CONTINUED.to_owned()),
        body => (Vec::new(), body.to_owned()),
    }
}

fn are_good<'a>(taps: impl Iterator<Item = &'a Tap> + Clone, longest_id: usize) -> bool {
    let (mut ids, mut titles) = (HashSet::new(), HashSet::new());
    taps.into_iter().all(|tap| {
        (1..=longest_id).contains(&tap.id.chars().count())
            && !tap.title.trim().is_empty()
            && ids.insert(tap.id.as_str())
            && titles.insert(tap.title.as_str())
    })
}

/// At most `limit` characters, an ellipsis included, never inside a grapheme.
fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut kept = String::new();
    for grapheme in text.graphemes(true) {
        if kept.chars().count() + grapheme.chars().count() >= limit {
            break;
        }
        kept.push_str(grapheme);
    }
    format!("{}…", kept.trim_end())
}

/// A variable holds no line break, no tab and at most four blanks in a row (§7.3).
fn cleaned(template: &Template) -> Template {
    let clean = |text: &str| {
        let mut words = String::new();
        let mut blanks = 0;
        for c in text.trim().chars().map(|c| if c.is_whitespace() { ' ' } else { c }) {
            blanks = if c == ' ' { blanks + 1 } else { 0 };
            if blanks <= 4 {
                words.push(c);
            }
        }
        words
    };
    let mut template = template.clone();
    for parameter in &mut template.body {
        parameter.text = clean(&parameter.text);
    }
    if let Some(Header::Text(text)) = &mut template.header {
        *text = clean(text);
    }
    for button in &mut template.buttons {
        match button {
            TemplateButton::Url { text, .. } => *text = clean(text),
            TemplateButton::QuickReply { .. } => {}
        }
    }
    template
}

#[cfg(test)]
mod tests {
    use domain::message::{ContactCard, File, Parameter};
    use proptest::prelude::*;

    use super::*;

    fn tap(id: &str, title: &str) -> Tap {
        Tap { id: id.into(), title: title.into(), description: None }
    }

    fn with(options: Vec<Tap>, body: &str) -> Outgoing {
        Outgoing::Buttons(Buttons { body: body.into(), options, ..Buttons::default() })
    }

    fn kinds(body: &Outgoing) -> Vec<String> {
        fit(body).iter().map(|message| format!("{message:?}")).collect()
    }

    #[test]
    fn options_take_the_richest_form_that_holds_them() {
        let many = |n: usize| (0..n).map(|i| tap(&i.to_string(), &format!("Option {i}"))).collect::<Vec<_>>();
        assert_eq!(kinds(&with(many(3), "Which?")), ["Buttons"]);
        assert_eq!(kinds(&with(many(4), "Which?")), ["List"]);
        assert_eq!(kinds(&with(vec![tap("1", "longer than twenty characters")], "Which?")), ["List"]);
        assert_eq!(kinds(&with(many(11), "Which?")), ["Text"]);
        assert_eq!(
            kinds(&with(vec![tap("1", "Yes"), tap("1", "No")], "Which?")),
            ["Text"],
            "ids that are the same"
        );
        assert_eq!(kinds(&with(many(2), &"x".repeat(2_000))), ["Text", "Buttons"]);
    }

    #[test]
    fn a_cut_title_stands_whole_below_itself() {
        let title = "Change the delivery address";
        let [Outgoing::List(list)] = &fit(&with(vec![tap("1", title)], "Which?"))[..] else { panic!() };
        let row = &list.sections[0].rows[0];
        assert_eq!((row.title.chars().count(), row.description.as_deref()), (24, Some(title)));
    }

    #[test]
    fn captions_that_do_not_fit_follow_as_texts() {
        let attachment = |mime: &str, caption: &str| {
            Outgoing::Attachment(Attachment {
                file: File::Stored { object: "o".into() },
                kind: None,
                name: "a".into(),
                mime: mime.into(),
                caption: Some(caption.into()),
            })
        };
        assert_eq!(kinds(&attachment("image/jpeg", "look")), ["Attachment"]);
        assert_eq!(kinds(&attachment("image/jpeg", &"x".repeat(1_025))), ["Attachment", "Text"]);
        assert_eq!(kinds(&attachment("audio/mpeg", "listen")), ["Attachment", "Text"]);
    }

    #[test]
    fn what_nothing_can_be_tapped_on_is_numbered() {
        let mut options = vec![tap("1", "Yes"), tap("1", "No")];
        options[1].description = Some("not today".into());
        let Outgoing::Buttons(mut buttons) = with(options, "Which?") else { panic!() };
        buttons.header = Some(Header::Text("Order".into()));
        buttons.footer = Some(" ".into());
        let [Outgoing::Text(text)] = &fit(&Outgoing::Buttons(buttons))[..] else { panic!() };
        assert_eq!(text, "Order\nWhich?\n1. Yes\n2. No: not today");
    }

    #[test]
    fn a_file_stands_above_buttons_where_it_can() {
        let on_top = |mime: &str, caption: Option<&str>| {
            let Outgoing::Buttons(mut buttons) = with(vec![tap("1", "Yes")], "Which?") else { panic!() };
            buttons.header = Some(Header::Attachment(Attachment {
                file: File::Stored { object: "o".into() },
                kind: None,
                name: "a".into(),
                mime: mime.into(),
                caption: caption.map(Into::into),
            }));
            kinds(&Outgoing::Buttons(buttons))
        };
        assert_eq!(on_top("image/png", None), ["Buttons"]);
        assert_eq!(on_top("image/png", Some("words")), ["Attachment", "Buttons"]);
        assert_eq!(on_top("audio/mpeg", Some("words")), ["Attachment", "Text", "Buttons"]);
    }

    #[test]
    fn cards_and_variables_keep_to_their_limits() {
        let cards = Outgoing::Contacts(vec![ContactCard::default(); 12]);
        assert_eq!(kinds(&cards).len(), 3);
        let parameter = Parameter { name: None, text: " a\n\tb        c ".into() };
        let template = Template { body: vec![parameter], ..Template::default() };
        let [Outgoing::Template(clean)] = &fit(&Outgoing::Template(template))[..] else { panic!() };
        assert_eq!(clean.body[0].text, "a  b    c");
    }

    proptest! {
        #[test]
        fn nothing_is_ever_beyond_a_limit(
            body in "(\\PC|\n){0,3000}",
            taps in prop::collection::vec(("\\PC{0,300}", "\\PC{0,60}", prop::option::of("\\PC{0,100}")), 0..14),
        ) {
            let options: Vec<Tap> =
                taps.into_iter().map(|(id, title, description)| Tap { id, title, description }).collect();
            for message in fit(&with(options, &body)) {
                match message {
                    Outgoing::Text(text) => prop_assert!((1..=MAX_TEXT_CHARS).contains(&text.chars().count())),
                    Outgoing::Buttons(Buttons { body, options, .. }) => {
                        prop_assert!((1..=BODY).contains(&body.chars().count()));
                        prop_assert!((1..=BUTTONS).contains(&options.len()));
                        prop_assert!(options.iter().all(|tap| tap.title.chars().count() <= BUTTON_TITLE));
                    }
                    Outgoing::List(List { body, sections, button, .. }) => {
                        prop_assert!((1..=BODY).contains(&body.chars().count()) && button.chars().count() <= 20);
                        let rows: Vec<&Tap> = sections.iter().flat_map(|section| &section.rows).collect();
                        prop_assert!((1..=ROWS).contains(&rows.len()));
                        prop_assert!(rows.iter().all(|row| row.title.chars().count() <= ROW_TITLE
                            && row.description.as_ref().is_none_or(|text| text.chars().count() <= ROW_DESCRIPTION)));
                    }
                    other @ (Outgoing::Attachment(_)
                    | Outgoing::Location(_)
                    | Outgoing::Contacts(_)
                    | Outgoing::Link(_)
                    | Outgoing::Reaction { .. }
                    | Outgoing::Template(_)) => prop_assert!(false, "{other:?}"),
                }
            }
        }
    }
}
