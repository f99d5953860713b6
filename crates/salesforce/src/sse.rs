//! Server-sent events, byte by byte: the parser of the HTML standard
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>),
//! with one difference: a frame has the `id` that stood in it, or none, never an earlier one. A
//! ping must not move the cursor (§7.2).

use std::{collections::VecDeque, time::Duration};

/// More than any entry; what is longer is cut off.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;
/// An id has to fit into a header.
const MAX_ID_BYTES: usize = 1024;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// One event of the stream.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// The cursor after this event. To be kept once the event is stored, not before.
    pub id: Option<String>,
    /// Such as `CONVERSATION_MESSAGE`, `ping`; `message` when the stream names none.
    pub event: String,
    pub data: String,
    /// It was longer than [`MAX_FRAME_BYTES`] and came without its data: the history has it.
    pub oversized: bool,
}

impl Frame {
    /// The heartbeat: says nothing but that the stream lives.
    pub fn is_ping(&self) -> bool {
        self.event == "ping"
    }
}

/// Data is what people wrote: never printed.
impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("id", &self.id)
            .field("event", &self.event)
            .field("bytes", &self.data.len())
            .field("oversized", &self.oversized)
            .finish()
    }
}

/// Takes bytes as they come, gives frames. Keeps at most [`MAX_FRAME_BYTES`], and nothing at all
/// between frames: most of 25,000 streams in a process are silent at any time.
#[derive(Debug, Default)]
pub struct Parser {
    /// The line that is not complete yet.
    line: Vec<u8>,
    /// More of the line came than could be kept.
    line_cut: bool,
    /// A CR ended the last line: an LF right behind it belongs to it.
    after_cr: bool,
    /// The stream began: a byte order mark is no mark any more.
    begun: bool,
    id: Option<String>,
    event: String,
    data: Vec<u8>,
    has_data: bool,
    oversized: bool,
    retry: Option<Duration>,
}

impl Parser {
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends to `frames` what `bytes` completes.
    pub fn feed(&mut self, mut bytes: &[u8], frames: &mut VecDeque<Frame>) {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|&b| matches!(b, b'\n' | b'\r')) else {
                self.keep(bytes);
                break;
            };
            self.keep(&bytes[..end]);
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            self.end_of_line(frames);
        }
        if self.line.is_empty() && self.data.is_empty() {
            (self.line, self.data) = (Vec::new(), Vec::new());
        }
    }

    /// The reconnection time that the server last asked for.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Bytes kept for the frame under way.
    pub fn buffered(&self) -> usize {
        self.line.capacity() + self.data.capacity()
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.line_cut {
            return;
        }
        if self.line.len() + self.data.len() + bytes.len() > MAX_FRAME_BYTES {
            self.line_cut = true;
            // Which field it is must still be seen.
            let room = 16_usize.saturating_sub(self.line.len()).min(bytes.len());
            self.line.extend_from_slice(&bytes[..room]);
            self.line.truncate(16);
            return;
        }
        self.line.extend_from_slice(bytes);
    }

    fn end_of_line(&mut self, frames: &mut VecDeque<Frame>) {
        let mut line = std::mem::take(&mut self.line);
        let cut = std::mem::take(&mut self.line_cut);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(BOM) {
            line.drain(..BOM.len());
        }
        if line.is_empty() {
            self.dispatch(frames);
        } else {
            let (name, value) = match line.iter().position(|&b| b == b':') {
                Some(colon) => {
                    let value = &line[colon + 1..];
                    (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
                }
                None => (&line[..], &[][..]),
            };
            self.field(name, value, cut);
        }
        // Keeps the room it has while a frame is under way.
        line.clear();
        self.line = line;
    }

    fn field(&mut self, name: &[u8], value: &[u8], cut: bool) {
        match name {
            b"data" if cut || self.oversized => {
                self.oversized = true;
                self.data = Vec::new();
            }
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                self.has_data = true;
            }
            b"event" if !cut && value.len() <= MAX_ID_BYTES => {
                self.event = String::from_utf8_lossy(value).into_owned();
            }
            b"id" if !cut && value.len() <= MAX_ID_BYTES && !value.contains(&0) => {
                self.id = Some(String::from_utf8_lossy(value).into_owned());
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let millis = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                self.retry = millis.map(Duration::from_millis).or(self.retry);
            }
            // Comments (no name) and fields invented later.
            _ => {}
        }
    }

    fn dispatch(&mut self, frames: &mut VecDeque<Frame>) {
        let data = std::mem::take(&mut self.data);
        let id = self.id.take();
        let event = std::mem::take(&mut self.event);
        let oversized = std::mem::take(&mut self.oversized);
        if !std::mem::take(&mut self.has_data) && !oversized {
            return;
        }
        frames.push_back(Frame {
            id,
            event: if event.is_empty() { "message".into() } else { event },
            // By line or as a whole is the same: a line end is never part of a character.
            data: String::from_utf8(data)
                .unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned()),
            oversized,
        });
    }
}
