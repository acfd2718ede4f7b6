//! Reads a log back, as `kubectl logs` wants it.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use futures::stream::{BoxStream, StreamExt as _};
use jiff::Timestamp;

use super::format::{self, MAX_ENTRY_BYTES, Stream};
use super::writer::rotated_files;
use crate::runtime::chain::chainable;
use crate::{Error, Result};

/// How much of a file is read at once, and about the largest piece a reader yields, in bytes.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// How often a reader that follows looks for more.
pub const FOLLOW_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// A line longer than this is no entry of ours, and is passed over in pieces.
const MAX_LINE_BYTES: usize = MAX_ENTRY_BYTES + 256;

/// What to read of a log: the query of the `log` subresource. The default reads all of it once.
/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#read-log>
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogOptions {
    /// Goes on until the container ended.
    pub follow: bool,
    /// Only the last so many entries.
    pub tail_lines: Option<u64>,
    /// Only entries from then on.
    pub since: Option<Timestamp>,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// Ends after so many bytes.
    pub limit_bytes: Option<u64>,
    /// Which streams.
    pub stream: StreamSelection,
    /// Begins with the files that were rotated away; `kubectl logs` does not.
    pub rotated: bool,
}

chainable!(LogOptions {
    follow: into bool,
    tail_lines: into Option<u64>,
    since: into Option<Timestamp>,
    timestamps: into bool,
    limit_bytes: into Option<u64>,
    stream: into StreamSelection,
    rotated: into bool,
});

/// Which of a container's streams to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StreamSelection {
    /// Both, in the order they were written.
    #[default]
    All,
    /// Standard output alone.
    Stdout,
    /// Standard error alone.
    Stderr,
}

impl StreamSelection {
    fn has(self, stream: Stream) -> bool {
        match self {
            Self::All => true,
            Self::Stdout => stream == Stream::Stdout,
            Self::Stderr => stream == Stream::Stderr,
        }
    }
}

/// The `ended` of a log whose container never ends.
pub fn never_ends() -> impl Future<Output = ()> + Send + 'static {
    futures::future::pending()
}

/// Reads the log at `path` in pieces of about [`CHUNK_BYTES`].
///
/// With [`follow`](LogOptions::follow) the stream goes on, over rotations too, until `ended`
/// resolves and the rest is read. Nothing is read ahead: a slow reader holds one piece. The
/// caller picks the file; the one of the previous attempt for `--previous`.
///
/// # Errors
/// The stream yields [`Io`](Error::Io) once and ends if a file cannot be read.
pub fn read(
    path: impl Into<PathBuf>,
    options: LogOptions,
    ended: impl Future<Output = ()> + Send + 'static,
) -> BoxStream<'static, Result<Bytes>> {
    let reader = Reader {
        path: path.into(),
        render: Render::new(&options),
        options,
        pending: VecDeque::new(),
        open: None,
        rotated_away: false,
        state: State::Fresh,
    };
    let ended: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(ended);
    futures::stream::unfold(Some((reader, ended)), |state| async move {
        let (mut reader, mut ended) = state?;
        loop {
            let (back, step) = match in_background(reader).await {
                Ok(done) => done,
                Err(error) => return Some((Err(error), None)),
            };
            reader = back;
            match step {
                Ok(Step::Data(bytes)) => return Some((Ok(bytes), Some((reader, ended)))),
                Ok(Step::Done) => return None,
                Err(error) => return Some((Err(error), None)),
                Ok(Step::Wait) => {
                    let pause = std::pin::pin!(tokio::time::sleep(FOLLOW_POLL_INTERVAL));
                    // The end is looked at first, so that it is not put off by the pause.
                    if let Either::Left(_) = select(&mut ended, pause).await {
                        reader.state = State::Draining;
                    }
                }
            }
        }
    })
    .boxed()
}

async fn in_background(mut reader: Reader) -> Result<(Reader, Result<Step>)> {
    let path = reader.path.clone();
    tokio::task::spawn_blocking(move || {
        let step = reader.step();
        (reader, step)
    })
    .await
    .map_err(|error| Error::io("read", path)(std::io::Error::other(error)))
}

enum Step {
    Data(Bytes),
    Wait,
    Done,
}

#[derive(PartialEq, Eq)]
enum State {
    Fresh,
    Reading,
    /// The container ended: the next end of file is the end.
    Draining,
}

struct OpenLog {
    file: std::fs::File,
    inode: Inode,
    carry: Vec<u8>,
}

struct Reader {
    path: PathBuf,
    options: LogOptions,
    render: Render,
    pending: VecDeque<PathBuf>,
    open: Option<OpenLog>,
    /// The open file was seen to be rotated away, and is read to its end once more.
    rotated_away: bool,
    state: State,
}

impl Reader {
    /// Reads until there is something to yield, to wait for, or nothing left.
    fn step(&mut self) -> Result<Step> {
        if self.state == State::Fresh {
            self.begin()?;
        }
        loop {
            if self.render.exhausted() {
                return Ok(Step::Done);
            }
            let Some(open) = &mut self.open else {
                match self.open_next()? {
                    true => continue,
                    false if self.options.follow && self.state != State::Draining => {
                        return Ok(Step::Wait);
                    }
                    false => return Ok(Step::Done),
                }
            };
            let (end, out) = read_chunk(open, &mut self.render, &self.path)?;
            if !out.is_empty() {
                return Ok(Step::Data(out.into()));
            }
            if end && !self.move_on()? {
                let more = self.options.follow && self.state != State::Draining;
                return Ok(if more { Step::Wait } else { Step::Done });
            }
        }
    }

    fn begin(&mut self) -> Result<()> {
        self.state = State::Reading;
        if self.options.rotated {
            self.pending.extend(rotated_files(&self.path)?);
        }
        self.pending.push_back(self.path.clone());
        let Some(lines) = self.options.tail_lines else { return Ok(()) };
        // Whole files from the front are passed over while the ones behind hold enough.
        let mut wanted = lines;
        for index in (0..self.pending.len()).rev() {
            let (offset, found) = tail_offset(&self.pending[index], wanted)?;
            wanted -= found;
            if wanted == 0 {
                self.pending.drain(..index);
                self.open_next()?;
                if let Some(open) = &mut self.open {
                    open.file
                        .seek(SeekFrom::Start(offset))
                        .map_err(Error::io("seek", &self.path))?;
                }
                break;
            }
        }
        Ok(())
    }

    /// Opens the next file; false if there is none (yet).
    fn open_next(&mut self) -> Result<bool> {
        while let Some(path) = self.pending.front() {
            match std::fs::File::open(path) {
                Ok(file) => {
                    let meta = file.metadata().map_err(Error::io("inspect", path))?;
                    let inode = (meta.dev(), meta.ino());
                    self.open = Some(OpenLog { file, inode, carry: Vec::new() });
                    self.pending.pop_front();
                    return Ok(true);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    // Only the current file may still come to be.
                    if self.pending.len() == 1 {
                        return Ok(false);
                    }
                    self.pending.pop_front();
                }
                Err(error) => return Err(Error::io("open", path)(error)),
            }
        }
        Ok(false)
    }

    /// At the end of a file: true if there is more to read.
    fn move_on(&mut self) -> Result<bool> {
        if !self.pending.is_empty() {
            self.open = None;
            return Ok(true);
        }
        if !self.options.follow {
            return Ok(false);
        }
        let Some(ours) = self.open.as_ref().map(|open| open.inode) else { return Ok(false) };
        let Some(mut next) = self.file_after(ours)? else { return Ok(false) };
        if !std::mem::replace(&mut self.rotated_away, true) {
            // Something may have been written between our end of file and the rotation.
            return Ok(true);
        }
        // The path may be rotated between looking and opening: look again until it was not.
        loop {
            self.pending = VecDeque::from([next.clone()]);
            let opened = self.open_next()?;
            self.pending.clear();
            match self.file_after(ours)? {
                Some(again) if opened && inode_of(&again) == self.open_inode() => break,
                Some(again) => next = again,
                None => return Ok(false),
            }
        }
        self.rotated_away = false;
        Ok(true)
    }

    fn open_inode(&self) -> Option<Inode> {
        self.open.as_ref().map(|open| open.inode)
    }

    /// The file that came after `ours`, if that has been rotated away.
    fn file_after(&self, ours: Inode) -> Result<Option<PathBuf>> {
        match inode_of(&self.path) {
            current if current.is_none() || current == Some(ours) => return Ok(None),
            _ => {}
        }
        let rotated = rotated_files(&self.path)?;
        // If ours was removed, all that is left came after it.
        let after = rotated.iter().position(|path| inode_of(path) == Some(ours));
        let next = rotated.into_iter().nth(after.map_or(0, |at| at + 1));
        Ok(Some(next.unwrap_or_else(|| self.path.clone())))
    }
}

type Inode = (u64, u64);

fn inode_of(path: &Path) -> Option<Inode> {
    std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

fn read_chunk(open: &mut OpenLog, render: &mut Render, path: &Path) -> Result<(bool, Vec<u8>)> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let count = open.file.read(&mut buffer).map_err(Error::io("read", path))?;
    open.carry.extend_from_slice(&buffer[..count]);
    let whole = match open.carry.iter().rposition(|&byte| byte == b'\n') {
        Some(end) => end + 1,
        None if open.carry.len() > MAX_LINE_BYTES => open.carry.len(),
        None => 0,
    };
    let mut out = Vec::with_capacity(whole);
    for line in open.carry[..whole].split_inclusive(|&byte| byte == b'\n') {
        render.line(line, &mut out);
    }
    open.carry.drain(..whole);
    Ok((count == 0, out))
}

/// Where the last `lines` lines of a file begin, and how many it has of them.
fn tail_offset(path: &Path, lines: u64) -> Result<(u64, u64)> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((0, 0)),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    let mut position = file.seek(SeekFrom::End(0)).map_err(Error::io("seek", path))?;
    if lines == 0 {
        return Ok((position, 0));
    }
    let (end, mut found) = (position, 0);
    let mut buffer = vec![0; CHUNK_BYTES];
    while position > 0 {
        let take = position.min(CHUNK_BYTES as u64);
        position -= take;
        let chunk = &mut buffer[..usize::try_from(take).unwrap_or(CHUNK_BYTES)];
        file.seek(SeekFrom::Start(position)).map_err(Error::io("seek", path))?;
        file.read_exact(chunk).map_err(Error::io("read", path))?;
        for (index, _) in chunk.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = position + index as u64 + 1;
            if after == end {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok((after, found));
            }
        }
    }
    // The first line has no line end before it.
    Ok((0, if end == 0 { 0 } else { (found + 1).min(lines) }))
}

/// Turns entries into what a user sees.
struct Render {
    since: Option<Timestamp>,
    timestamps: bool,
    stream: StreamSelection,
    left: Option<u64>,
    mid_line: bool,
}

impl Render {
    fn new(options: &LogOptions) -> Self {
        Self {
            since: options.since,
            timestamps: options.timestamps,
            stream: options.stream,
            left: options.limit_bytes,
            mid_line: false,
        }
    }

    fn exhausted(&self) -> bool {
        self.left == Some(0)
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        // A line that is no entry (a torn write) is passed over, as the kubelet does.
        let Ok(entry) = format::parse(line) else { return };
        if !self.stream.has(entry.stream) || self.since.is_some_and(|since| entry.at < since) {
            return;
        }
        if self.timestamps && !self.mid_line {
            self.put(format!("{} ", entry.at).as_bytes(), out);
        }
        self.put(entry.content, out);
        if !entry.partial {
            self.put(b"\n", out);
        }
        self.mid_line = entry.partial;
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let take = self.left.map_or(bytes.len(), |left| {
            usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())
        });
        out.extend_from_slice(&bytes[..take]);
        if let Some(left) = &mut self.left {
            *left -= take as u64;
        }
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
