//! HTTP/1.1 answers, byte by byte (RFC 9112): heads, and the framing of bodies.
//!
//! hyper keeps two buffers of 8 KiB for every connection. An event stream is silent most of the
//! time and one of tens of thousands: this keeps nothing.

use std::io;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// Of a head.
const MAX_HEAD_BYTES: usize = 32 * 1024;
const MAX_HEADERS: usize = 96;
/// Of the line that begins a chunk, and of all trailers.
const MAX_LINE_BYTES: u32 = 4 * 1024;

pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Framing,
}

/// Looks for a whole head at the beginning of `bytes`: it, and how long it was. Interim answers
/// (1xx) are left out.
pub(super) fn head(bytes: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let mut start = 0;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&bytes[start..]).map_err(|_| bad("no HTTP answer"))?;
        let httparse::Status::Complete(length) = parsed else {
            return if bytes.len() < MAX_HEAD_BYTES { Ok(None) } else { Err(bad("a head without end")) };
        };
        start += length;
        let status = response.code.unwrap_or_default();
        // 101 was not asked for.
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let status = StatusCode::from_u16(status).map_err(|_| bad("no HTTP status"))?;
        let mut map = HeaderMap::new();
        for header in &*response.headers {
            let name = HeaderName::from_bytes(header.name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(header.value)) {
                map.append(name, value);
            }
        }
        let body = Framing::of(status, &map)?;
        return Ok(Some((Head { status, headers: map, body }, start)));
    }
}

/// Where a body ends, and which bytes are it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    UntilClose,
    Length(u64),
    Chunked(Chunk),
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    /// Reading a chunk's size.
    Size {
        size: u64,
        digits: u32,
    },
    /// Behind the size: extensions, which say nothing to us.
    Extension {
        size: u64,
        seen: u32,
    },
    Data {
        left: u64,
    },
    /// Behind the data: CR, LF.
    AfterData {
        cr: bool,
    },
    /// Behind the last chunk: trailers, then an empty line.
    Trailer {
        /// Of the line.
        length: u32,
        seen: u32,
    },
}

impl Framing {
    fn of(status: StatusCode, headers: &HeaderMap) -> io::Result<Self> {
        if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
            return Ok(Self::Done);
        }
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter().peekable();
        if codings.peek().is_some() {
            let chunked =
                |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
            return match (codings.next().is_some_and(chunked), codings.next()) {
                (true, None) => Ok(Self::Chunked(Chunk::Size { size: 0, digits: 0 })),
                _ => Err(bad("a transfer coding that was not asked for")),
            };
        }
        let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        let Some(length) = lengths.next() else { return Ok(Self::UntilClose) };
        let number = length.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
        match number.filter(|_| lengths.all(|other| other == length)) {
            Some(0) => Ok(Self::Done),
            Some(length) => Ok(Self::Length(length)),
            None => Err(bad("no content length")),
        }
    }

    pub(super) fn is_done(self) -> bool {
        self == Self::Done
    }

    /// Whether the connection may be closed here.
    pub(super) fn may_end(self) -> bool {
        matches!(self, Self::Done | Self::UntilClose)
    }

    /// Gives the body's bytes among `bytes` to `sink`. What comes behind the body is dropped.
    pub(super) fn feed(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(&[u8])) -> io::Result<()> {
        while !bytes.is_empty() {
            match self {
                Self::Done => return Ok(()),
                Self::UntilClose => {
                    sink(bytes);
                    return Ok(());
                }
                Self::Length(left) => {
                    bytes = pass(bytes, left, sink);
                    if *left == 0 {
                        *self = Self::Done;
                    }
                }
                Self::Chunked(Chunk::Data { left }) => {
                    bytes = pass(bytes, left, sink);
                    if *left == 0 {
                        *self = Self::Chunked(Chunk::AfterData { cr: false });
                    }
                }
                Self::Chunked(chunk) => {
                    *self = chunk.step(bytes[0])?;
                    bytes = &bytes[1..];
                }
            }
        }
        Ok(())
    }
}

fn pass<'a>(bytes: &'a [u8], left: &mut u64, sink: &mut impl FnMut(&[u8])) -> &'a [u8] {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    let (body, rest) = bytes.split_at(count);
    sink(body);
    *left -= count as u64;
    rest
}

impl Chunk {
    fn step(self, byte: u8) -> io::Result<Framing> {
        let after_size = |size: u64| match size {
            0 => Self::Trailer { length: 0, seen: 0 },
            left => Self::Data { left },
        };
        let next = match (self, byte) {
            (Self::Size { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < 15 => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(bad("no chunk size")),
            (Self::Size { size, .. } | Self::Extension { size, .. }, b'\n') => after_size(size),
            (Self::Size { size, .. }, b'\r' | b';' | b' ' | b'\t') => Self::Extension { size, seen: 0 },
            (Self::Extension { size, seen }, _) if seen < MAX_LINE_BYTES => {
                Self::Extension { size, seen: seen + 1 }
            }
            (Self::AfterData { cr: false }, b'\r') => Self::AfterData { cr: true },
            (Self::AfterData { .. }, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::Trailer { length: 0, .. }, b'\n') => return Ok(Framing::Done),
            (Self::Trailer { seen, .. }, b'\n') => Self::Trailer { length: 0, seen },
            (Self::Trailer { .. }, b'\r') => self,
            (Self::Trailer { length, seen }, _) if seen < MAX_LINE_BYTES => {
                Self::Trailer { length: length + 1, seen: seen + 1 }
            }
            _ => return Err(bad("chunks that are none")),
        };
        Ok(Framing::Chunked(next))
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OK: &str = "HTTP/1.1 200 OK\r\n";

    fn framing(headers: &str) -> io::Result<Framing> {
        let text = format!("{OK}{headers}\r\n");
        Ok(head(text.as_bytes())?.unwrap().0.body)
    }

    fn read(mut framing: Framing, pieces: &[&[u8]]) -> io::Result<(Vec<u8>, Framing)> {
        let mut body = Vec::new();
        for piece in pieces {
            framing.feed(piece, &mut |bytes| body.extend_from_slice(bytes))?;
        }
        Ok((body, framing))
    }

    fn chunked() -> Framing {
        framing("Transfer-Encoding: chunked\r\n").unwrap()
    }

    #[test]
    fn a_head_says_where_its_body_ends() {
        assert_eq!(framing("").unwrap(), Framing::UntilClose);
        assert_eq!(framing("content-length: 12\r\n").unwrap(), Framing::Length(12));
        assert_eq!(framing("content-length: 0\r\n").unwrap(), Framing::Done);
        assert_eq!(framing("content-length: 12\r\nTransfer-Encoding: Chunked\r\n").unwrap(), chunked());
        for bad in [
            "content-length: x\r\n",
            "content-length: 1\r\ncontent-length: 2\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
        ] {
            assert!(framing(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn interim_answers_are_left_out_and_half_heads_waited_for() {
        let text = format!("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n{OK}a: b\r\n\r\nbody");
        let (found, length) = head(text.as_bytes()).unwrap().unwrap();
        assert_eq!((found.status, &found.headers["a"]), (StatusCode::OK, &HeaderValue::from_static("b")));
        assert_eq!(&text[length..], "body");
        assert!(head(&text.as_bytes()[..length - 1]).unwrap().is_none());
        assert!(head(b"SSH-2.0-x\r\n").is_err());
        let endless = format!("{OK}a: {}", "b".repeat(MAX_HEAD_BYTES));
        assert!(head(endless.as_bytes()).is_err());
    }

    #[test]
    fn chunks_end_where_they_say() {
        let (body, end) =
            read(chunked(), &[b"3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nt: x\r\n\r\nmore"]).unwrap();
        assert_eq!((body.as_slice(), end), (&b"abc0123456789"[..], Framing::Done));
        assert!(!read(chunked(), &[b"3\r\nab"]).unwrap().1.may_end());
        let endless = [b"1;".to_vec(), vec![b'x'; 5_000]].concat();
        for bad in [&b"\r\n"[..], b"x\r\n", b"3\r\nabcd", b"fffffffffffffffff\r\n", &endless] {
            assert!(read(chunked(), &[bad]).is_err());
        }
        assert_eq!(read(Framing::Length(2), &[b"abc"]).unwrap(), (b"ab".to_vec(), Framing::Done));
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_is_of_no_matter(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cut in 1_usize..7,
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let pieces: Vec<&[u8]> = wire.chunks(cut).collect();
            prop_assert_eq!(read(chunked(), &pieces).unwrap(), (chunks.concat(), Framing::Done));
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(chunked(), &[&bytes]);
            let _ = head(&bytes);
        }
    }
}
