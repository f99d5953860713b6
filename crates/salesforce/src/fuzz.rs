//! What must hold for any bytes whatsoever. Driven by `tests/fuzz.rs`.

use std::collections::VecDeque;

use crate::{
    event::Envelope,
    sse::{Frame, MAX_FRAME_BYTES, Parser},
};

/// Parses `bytes` whole and in pieces (their sizes are taken from the bytes themselves), and reads
/// what comes out.
///
/// # Panics
/// When the pieces give other frames than the whole, when more is kept than allowed, or when an
/// entry means nothing at all.
pub fn sse(bytes: &[u8]) -> Vec<Frame> {
    let whole = frames(std::iter::once(bytes));
    assert_eq!(whole, frames(pieces(bytes)), "frames depend on how the bytes were cut");
    for frame in &whole {
        let _ = format!("{frame:?}");
        if let Ok(envelope) = Envelope::parse(&frame.data) {
            assert!(!envelope.happened().is_empty(), "an entry that means nothing");
            let _ = format!("{envelope:?} {:?}", envelope.happened());
        }
    }
    whole
}

fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Frame> {
    let (mut parser, mut frames) = (Parser::new(), VecDeque::new());
    for piece in pieces {
        parser.feed(piece, &mut frames);
        assert!(parser.buffered() <= 4 * MAX_FRAME_BYTES, "{} bytes kept", parser.buffered());
    }
    frames.into()
}

fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let size = usize::from(*rest.first()? % 9).clamp(1, rest.len());
        let (piece, left) = rest.split_at(size);
        rest = left;
        Some(piece)
    })
}
