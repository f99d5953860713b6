//! Rows of a CSV file as they come, whatever the length of the file.

use csv_core::{ReadRecordResult, ReaderBuilder};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Longer rows are skipped, and told.
pub(crate) const MAX_ROW_BYTES: usize = 64 * 1024;
const MAX_FIELDS: usize = 256;
const BUFFER_BYTES: usize = 64 * 1024;
const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

pub(crate) struct Rows<R> {
    input: R,
    core: csv_core::Reader,
    buffer: Vec<u8>,
    /// What of the buffer was not looked at yet.
    from: usize,
    through: usize,
    ended: bool,
    fields: Vec<u8>,
    ends: Vec<usize>,
    line_ends: u64,
    last: u8,
}

/// One row. Fields are not trimmed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Row<'a> {
    Fields(Vec<&'a str>),
    TooLong,
    NotUtf8,
}

/// Where the row ends in the file, from 1.
pub(crate) type Line = u64;

impl<R: AsyncRead + Unpin> Rows<R> {
    /// Looks at the beginning, for the delimiter and the byte order mark.
    pub(crate) async fn open(input: R) -> std::io::Result<Self> {
        let mut rows = Self {
            input,
            core: csv_core::Reader::new(),
            buffer: vec![0; BUFFER_BYTES],
            from: 0,
            through: 0,
            ended: false,
            fields: vec![0; MAX_ROW_BYTES],
            ends: vec![0; MAX_FIELDS],
            line_ends: 0,
            last: 0,
        };
        while rows.through < BUFFER_BYTES && !rows.ended && !rows.buffer[..rows.through].contains(&b'\n') {
            let read = rows.input.read(&mut rows.buffer[rows.through..]).await?;
            rows.through += read;
            rows.ended = read == 0;
        }
        if rows.buffer[..rows.through].starts_with(&BYTE_ORDER_MARK) {
            rows.from = BYTE_ORDER_MARK.len();
        }
        let head = &rows.buffer[rows.from..rows.through];
        rows.core = ReaderBuilder::new().delimiter(delimiter(head)).build();
        Ok(rows)
    }

    /// Of what [`line`] wrote.
    pub(crate) async fn ours(input: R) -> std::io::Result<Self> {
        let mut rows = Self::open(input).await?;
        rows.core = csv_core::Reader::new();
        Ok(rows)
    }

    /// The next row; blank lines are none.
    pub(crate) async fn next(&mut self) -> std::io::Result<Option<(Line, Row<'_>)>> {
        let (mut bytes, mut count, mut too_long) = (0, 0, false);
        loop {
            if self.from == self.through && !self.ended {
                self.from = 0;
                self.through = self.input.read(&mut self.buffer).await?;
                self.ended = self.through == 0;
            }
            let input = &self.buffer[self.from..self.through];
            let (result, used, written, ended) =
                self.core.read_record(input, &mut self.fields[bytes..], &mut self.ends[count..]);
            let used_bytes = &input[..used];
            self.line_ends += used_bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
            self.last = used_bytes.last().copied().unwrap_or(self.last);
            self.from += used;
            bytes += written;
            count += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                // Read on, only to find its end.
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    (bytes, count, too_long) = (0, 0, true);
                }
                ReadRecordResult::End => return Ok(None),
                ReadRecordResult::Record => break,
            }
        }
        let line = self.line_ends + u64::from(self.last != b'\n');
        if too_long {
            return Ok(Some((line, Row::TooLong)));
        }
        let mut start = 0;
        let mut fields = Vec::with_capacity(count);
        for end in &self.ends[..count] {
            match std::str::from_utf8(&self.fields[start..*end]) {
                Ok(field) => fields.push(field),
                Err(_) => return Ok(Some((line, Row::NotUtf8))),
            }
            start = *end;
        }
        Ok(Some((line, Row::Fields(fields))))
    }
}

/// Comma, semicolon or tab: what is the most frequent in the first line.
fn delimiter(head: &[u8]) -> u8 {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut quoted = false;
    let mut counts = [(b',', 0_usize), (b';', 0), (b'\t', 0)];
    for byte in line {
        quoted ^= *byte == b'"';
        if !quoted && let Some((_, count)) = counts.iter_mut().find(|(delimiter, _)| delimiter == byte) {
            *count += 1;
        }
    }
    // The first of equals: a comma where there is none at all.
    counts.iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(delimiter, _)| *delimiter)
}

/// A line of a CSV file; what a spreadsheet would run as a formula is made text.
pub fn line<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    let mut line = String::new();
    for (place, field) in fields.into_iter().enumerate() {
        if place > 0 {
            line.push(',');
        }
        // `+49…` stays a number.
        let number =
            field.strip_prefix('+').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']) && !number;
        if formula || field.contains([',', ';', '"', '\n', '\r', '\t']) {
            line.push('"');
            if formula {
                line.push('\'');
            }
            line.push_str(&field.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(field);
        }
    }
    line.push_str("\r\n");
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn read(text: &[u8]) -> Vec<(Line, Option<Vec<String>>)> {
        let mut rows = Rows::open(text).await.unwrap();
        let mut all = Vec::new();
        while let Some((line, row)) = rows.next().await.unwrap() {
            all.push((
                line,
                match row {
                    Row::Fields(fields) => Some(fields.into_iter().map(str::to_owned).collect()),
                    Row::TooLong | Row::NotUtf8 => None,
                },
            ));
        }
        all
    }

    fn row(line: Line, fields: &[&str]) -> (Line, Option<Vec<String>>) {
        (line, Some(fields.iter().map(|field| (*field).to_owned()).collect()))
    }

    #[tokio::test]
    async fn delimiters_marks_and_line_ends_of_all_spreadsheets() {
        let expected = [row(1, &["a", "b"]), row(2, &["1", "2"]), row(4, &["x\ny", "3"])];
        assert_eq!(read(b"a,b\n1,2\n\"x\ny\",3\n").await, expected);
        assert_eq!(read("\u{feff}a;b\n1;2\n\"x\ny\";3".as_bytes()).await, expected);
        assert_eq!(read(b"a\tb\n1\t2\n\"x\ny\"\t3").await, expected);
        assert_eq!(read(b"a,b\r\n1,2\r\n").await[1], row(2, &["1", "2"]));
        assert_eq!(read(b"phone\n\n1\n").await, [row(1, &["phone"]), row(3, &["1"])]);
        assert_eq!(read(b"").await, []);
    }

    #[tokio::test]
    async fn what_cannot_be_read_costs_one_row() {
        let text =
            [b"a,b\n".to_vec(), vec![b'x'; MAX_ROW_BYTES + 1], b"\n1,2\n\xff,3\n4,5\n".to_vec()].concat();
        let all = read(&text).await;
        let lines: Vec<_> = all.iter().map(|(line, fields)| (*line, fields.is_some())).collect();
        assert_eq!(lines, [(1, true), (2, false), (3, true), (4, false), (5, true)]);
        let wide = format!("a,b\n{}\n1,2\n", ",".repeat(MAX_FIELDS + 1));
        let all = read(wide.as_bytes()).await;
        assert_eq!((all[1].1.is_none(), &all[2]), (true, &row(3, &["1", "2"])));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(rows in prop::collection::vec(prop::collection::vec("[a-z\", ;\n]{1,9}", 3), 1..20)) {
            let text: String = std::iter::once(line(["p", "q", "r"]))
                .chain(rows.iter().map(|row| line(row.iter().map(String::as_str)))).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = runtime.block_on(read(text.as_bytes()));
            let read: Vec<_> = read.into_iter().skip(1).map(|(_, row)| row.unwrap()).collect();
            prop_assert_eq!(read, rows);
        }
    }

    #[test]
    fn no_formula_reaches_a_spreadsheet() {
        assert_eq!(line(["=1+1", "+491761", "-1", "a"]), "\"'=1+1\",+491761,\"'-1\",a\r\n");
    }
}
