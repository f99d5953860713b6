//! The parser of the event stream against the HTML standard's rules.

use std::{collections::VecDeque, time::Duration};

use proptest::prelude::*;
use salesforce::{
    Frame,
    sse::{MAX_FRAME_BYTES, Parser},
};

fn parse(bytes: impl AsRef<[u8]>) -> Vec<Frame> {
    salesforce::fuzz::sse(bytes.as_ref())
}

fn frame(id: Option<&str>, event: &str, data: &str) -> Frame {
    Frame { id: id.map(str::to_owned), event: event.into(), data: data.into(), oversized: false }
}

#[test]
fn the_recorded_stream_comes_apart() {
    let frames = parse(include_bytes!("../testdata/sse-wire-transcript.txt"));
    let summary: Vec<String> = frames
        .iter()
        .map(|f| format!("{} {} {}", f.id.as_deref().unwrap_or("-"), f.event, f.data.len()))
        .collect();
    insta::assert_snapshot!(summary.join("\n"));
}

#[test]
fn every_line_end_counts_once() {
    let wanted = [frame(Some("1"), "a", "x\ny"), frame(None, "ping", "0")];
    let text = "id:1\nevent:a\ndata:x\ndata: y\n\nevent:ping\ndata:0\n\n";
    for end in ["\n", "\r\n", "\r"] {
        assert_eq!(parse(text.replace('\n', end)), wanted, "{end:?}");
    }
}

#[test]
fn an_event_is_told_at_its_blank_line_not_a_byte_later() {
    let (mut parser, mut frames) = (Parser::new(), VecDeque::new());
    parser.feed(b"data:x\r\r", &mut frames);
    assert_eq!(frames.pop_front(), Some(frame(None, "message", "x")));
    // The LF belongs to the CR before it: no second blank line.
    parser.feed(b"\ndata:y\n\n", &mut frames);
    assert_eq!(Vec::from(frames), [frame(None, "message", "y")]);
}

#[test]
fn comments_unknown_fields_and_events_without_data_say_nothing() {
    assert_eq!(parse(":keep-alive\n\nevent:x\n\nid:5\n\nwhatever:1\nnothing\n\n"), []);
}

#[test]
fn only_the_first_three_bytes_can_be_a_byte_order_mark() {
    assert_eq!(parse("\u{feff}data:x\n\n"), [frame(None, "message", "x")]);
    assert_eq!(parse("data:x\n\n\u{feff}data:y\n\n"), [frame(None, "message", "x")]);
}

#[test]
fn an_id_stays_with_its_own_event() {
    let frames = parse("id:7\ndata:x\n\nevent:ping\ndata:0\n\nid:bad\0\ndata:y\n\n");
    let ids: Vec<_> = frames.into_iter().map(|f| f.id).collect();
    assert_eq!(ids, [Some("7".to_owned()), None, None]);
}

#[test]
fn what_was_cut_off_at_the_end_is_dropped() {
    assert_eq!(parse("data:x\n\ndata:y\n"), [frame(None, "message", "x")]);
}

#[test]
fn the_servers_reconnection_time_is_kept() {
    let (mut parser, mut frames) = (Parser::new(), VecDeque::new());
    parser.feed(b"retry:2500\nretry:soon\nretry:99999999999999999999\n\n", &mut frames);
    assert_eq!((parser.retry(), frames.len()), (Some(Duration::from_millis(2500)), 0));
}

#[test]
fn characters_may_be_split_and_broken() {
    assert_eq!(parse("data:größer 👩‍👧\n\n"), [frame(None, "message", "größer 👩‍👧")]);
    assert_eq!(parse(b"data:\xf0\x9f\n\n"), [frame(None, "message", "\u{fffd}")]);
}

#[test]
fn an_oversized_event_is_told_without_its_data_and_the_next_one_is_whole() {
    let long = "x".repeat(MAX_FRAME_BYTES + 1);
    let lines = "data:0123456789abcdef\n".repeat(MAX_FRAME_BYTES / 16 + 1);
    for data in [format!("data:{long}\n"), format!("data:a\ndata:{long}\ndata:b\n"), lines] {
        let (mut parser, mut frames) = (Parser::new(), VecDeque::new());
        let text = format!("id:1\nevent:a\n{data}\nid:2\ndata:y\n\n");
        for piece in text.as_bytes().chunks(8192) {
            parser.feed(piece, &mut frames);
            assert!(parser.buffered() <= 2 * MAX_FRAME_BYTES + 8192);
        }
        let cut = Frame { oversized: true, ..frame(Some("1"), "a", "") };
        assert_eq!(Vec::from(frames), [cut, frame(Some("2"), "message", "y")]);
        assert_eq!(parser.buffered(), 0);
    }
}

#[test]
fn a_long_comment_disturbs_nothing() {
    let (mut parser, mut frames) = (Parser::new(), VecDeque::new());
    parser.feed(format!(":{}\ndata:y\n\n", "x".repeat(MAX_FRAME_BYTES + 1)).as_bytes(), &mut frames);
    assert_eq!(Vec::from(frames), [frame(None, "message", "y")]);
}

#[test]
fn nothing_is_kept_between_events() {
    let (mut parser, mut frames) = (Parser::new(), VecDeque::new());
    parser.feed(b"data:0123456789\n\n", &mut frames);
    assert_eq!(parser.buffered(), 0);
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just(b"data:x".to_vec()),
        Just(b"data: \xc3\xa9".to_vec()),
        Just(b"id:12".to_vec()),
        Just(b"event:ping".to_vec()),
        Just(b":".to_vec()),
        Just(b"retry:10".to_vec()),
        Just(b"\xef\xbb\xbf".to_vec()),
        Just(Vec::new()),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    let end = prop_oneof![Just(&b"\n"[..]), Just(&b"\r"[..]), Just(&b"\r\n"[..])];
    proptest::collection::vec((line, end), 0..40)
        .prop_map(|lines| lines.into_iter().flat_map(|(line, end)| [line, end.to_vec()].concat()).collect())
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_events(bytes in stream(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..30)) {
        let mut whole = VecDeque::new();
        Parser::new().feed(&bytes, &mut whole);

        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let (mut parser, mut frames, mut from) = (Parser::new(), VecDeque::new(), 0);
        for to in cuts {
            parser.feed(&bytes[from..to], &mut frames);
            from = to;
        }
        prop_assert_eq!(whole, frames);
    }
}
