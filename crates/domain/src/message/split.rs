//! Long texts in parts.

/// Cuts a text into parts of at most `limit` characters, at a paragraph if possible, else at a
/// word, never inside a grapheme. Parts keep every character except the blanks they were cut at.
pub fn split_text(text: &str, limit: usize) -> Vec<String> {
    use unicode_segmentation::UnicodeSegmentation as _;

    let mut parts = Vec::new();
    let mut rest = text;
    while rest.chars().count() > limit {
        let mut head_end = 0; // bytes that surely fit
        let mut used = 0;
        for (at, grapheme) in rest.grapheme_indices(true) {
            used += grapheme.chars().count();
            if used > limit {
                break;
            }
            head_end = at + grapheme.len();
        }
        if head_end == 0 {
            // One grapheme longer than the limit (a hostile pile of marks): cut inside it.
            head_end = rest.char_indices().nth(limit).map_or(rest.len(), |(at, _)| at);
        }
        let head = &rest[..head_end];
        // A cut in the first half would make many tiny parts: prefer a later, plainer border.
        let cut = ["\n\n", "\n", " "]
            .iter()
            .filter_map(|border| head.rfind(border))
            .find(|&at| at > head_end / 2)
            .unwrap_or(head_end);
        parts.push(rest[..cut].trim_end().to_owned());
        rest = rest[cut..].trim_start();
    }
    if !rest.is_empty() {
        parts.push(rest.to_owned());
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn long_texts_are_cut_at_paragraphs_then_words() {
        let text = format!("{}\n\n{}", "a".repeat(60), "b ".repeat(40));
        let parts = split_text(&text, 100);
        assert_eq!(parts[0], "a".repeat(60));
        assert!(parts[1..].iter().all(|p| p.chars().count() <= 100));
    }

    proptest! {
        #[test]
        fn parts_fit_and_no_character_but_blanks_is_lost(text in "(\\PC|\n| ){0,300}", limit in 1usize..50) {
            let parts = split_text(&text, limit);
            prop_assert!(parts.iter().all(|p| p.chars().count() <= limit && !p.is_empty()));
            let squeeze = |s: &str| s.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(squeeze(&parts.concat()), squeeze(&text));
        }
    }
}
