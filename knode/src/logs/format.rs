//! One entry of a log: text to bytes and back.

use std::io::Write as _;

use jiff::Timestamp;

use crate::{Error, Result};

/// The longest content of one entry, in bytes; a longer line is split, as containerd does.
pub const MAX_ENTRY_BYTES: usize = 16 * 1024;

/// Which stream an entry came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The stream's name in a log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One entry of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When it was read from the container.
    pub at: Timestamp,
    /// Where from.
    pub stream: Stream,
    /// The line goes on in the next entry of this stream.
    pub partial: bool,
    /// The text, without its line end.
    pub content: &'a [u8],
}

/// Appends an entry to `out`.
pub fn write_entry(out: &mut Vec<u8>, entry: Entry<'_>) {
    let tag = if entry.partial { 'P' } else { 'F' };
    // Writing into a vector cannot fail.
    let _ = write!(out, "{} {} {tag} ", entry.at, entry.stream.as_str());
    out.extend_from_slice(entry.content);
    out.push(b'\n');
}

/// Reads an entry from a line, with or without its line end.
///
/// ```
/// use knode::logs::{Stream, parse};
/// let entry = parse(b"2026-10-06T00:17:09.669794202Z stderr F hello\n").unwrap();
/// assert_eq!((entry.stream, entry.content), (Stream::Stderr, &b"hello"[..]));
/// ```
///
/// # Errors
/// [`MalformedLog`](Error::MalformedLog), naming the part that is wrong.
pub fn parse(line: &[u8]) -> Result<Entry<'_>> {
    let malformed = |reason| Error::MalformedLog { reason };
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut parts = line.splitn(4, |&byte| byte == b' ');
    let mut next = || parts.next();
    let at = next()
        .and_then(|part| std::str::from_utf8(part).ok())
        .and_then(|part| part.parse().ok())
        .ok_or(malformed("the time is not RFC 3339"))?;
    let stream = match next() {
        Some(b"stdout") => Stream::Stdout,
        Some(b"stderr") => Stream::Stderr,
        _ => return Err(malformed("the stream is neither stdout nor stderr")),
    };
    // Tags are separated by colons; the first says whether the line is whole.
    let partial = match next().and_then(|tags| tags.split(|&byte| byte == b':').next()) {
        Some(b"F") => false,
        Some(b"P") => true,
        _ => return Err(malformed("the tag is neither F nor P")),
    };
    let content = next().ok_or(malformed("there is no content"))?;
    Ok(Entry { at, stream, partial, content })
}

/// Cuts what a stream yields into entries: at line ends, and at [`MAX_ENTRY_BYTES`].
///
/// At most that much is held back, so memory is bounded whatever the container writes.
#[derive(Debug)]
pub struct LineSplitter {
    stream: Stream,
    held: Vec<u8>,
}

impl LineSplitter {
    /// Nothing read yet from `stream`.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self { stream, held: Vec::new() }
    }

    /// Takes `input`, read at `now`, and appends each entry that became complete to `out`.
    pub fn push(&mut self, mut input: &[u8], now: Timestamp, out: &mut Vec<u8>) {
        while !input.is_empty() {
            let room = MAX_ENTRY_BYTES - self.held.len();
            let window = &input[..input.len().min(room + 1)];
            if let Some(end) = window.iter().position(|&byte| byte == b'\n') {
                self.held.extend_from_slice(&window[..end]);
                self.emit(false, now, out);
                input = &input[end + 1..];
            } else {
                let take = window.len().min(room);
                self.held.extend_from_slice(&window[..take]);
                input = &input[take..];
                if self.held.len() == MAX_ENTRY_BYTES && !input.is_empty() {
                    self.emit(true, now, out);
                }
            }
        }
    }

    /// The stream ended: what is held becomes a partial entry, so that a reader gives back
    /// exactly what the container wrote.
    pub fn finish(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        if !self.held.is_empty() {
            self.emit(true, now, out);
        }
    }

    fn emit(&mut self, partial: bool, at: Timestamp, out: &mut Vec<u8>) {
        write_entry(out, Entry { at, stream: self.stream, partial, content: &self.held });
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joined(log: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        for line in log.split_inclusive(|&byte| byte == b'\n') {
            let entry = parse(line).unwrap();
            assert!(entry.content.len() <= MAX_ENTRY_BYTES);
            text.extend_from_slice(entry.content);
            if !entry.partial {
                text.push(b'\n');
            }
        }
        text
    }

    #[test]
    fn parse_names_the_part_that_is_wrong() {
        let check = |line: &str, reason: &str| match parse(line.as_bytes()) {
            Err(Error::MalformedLog { reason: got }) => assert!(got.contains(reason), "{line}"),
            other => panic!("{line}: {other:?}"),
        };
        check("yesterday stdout F x", "time");
        check("2026-01-01T00:00:00Z stdin F x", "stream");
        check("2026-01-01T00:00:00Z stdout X x", "tag");
        check("2026-01-01T00:00:00Z stdout F", "content");
        check("", "time");
    }

    #[test]
    fn an_empty_line_is_an_entry() {
        let entry = parse(b"2026-01-01T00:00:00Z stdout F \n").unwrap();
        assert_eq!((entry.content, entry.partial), (&b""[..], false));
    }

    proptest! {
        #[test]
        fn what_was_written_is_what_is_read(
            pieces in prop::collection::vec((0usize..40_000, any::<bool>()), 1..6),
        ) {
            let mut splitter = LineSplitter::new(Stream::Stdout);
            let (mut log, mut all) = (Vec::new(), Vec::new());
            for (length, ends) in pieces {
                let mut piece = vec![b'x'; length];
                if ends { piece.push(b'\n'); }
                splitter.push(&piece, Timestamp::UNIX_EPOCH, &mut log);
                all.extend(piece);
            }
            splitter.finish(Timestamp::UNIX_EPOCH, &mut log);
            prop_assert_eq!(joined(&log), all);
        }

        #[test]
        fn no_bytes_make_the_parser_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&line);
        }
    }
}
