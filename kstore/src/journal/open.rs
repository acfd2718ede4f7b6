//! Opens a journal: the newest snapshot, then what was logged after it.

use std::sync::Arc;

use kcore::random::Random;

use super::JournalOptions;
use super::codec::{self, Logged};
use super::disk::Disk;
use super::frame::{self, Found, SECTOR};
use super::log::{Log, Segment, create_segment};
use super::segment::{Header, Name, log_name, parse, snapshot_name};
use crate::mvcc::State;
use crate::{Error, Result, Revision};

/// A journal as it was found.
pub(super) struct Opened {
    pub(super) state: State,
    pub(super) log: Log,
    /// No revision up to here comes again.
    pub(super) reserved: Revision,
}

/// What files there are.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) logs: Vec<u64>,
    pub(super) snapshots: Vec<u64>,
    /// What was never finished.
    unfinished: Vec<String>,
}

/// Opens what is on a disk, or begins anew on an empty one.
pub(super) fn open(disk: Arc<dyn Disk>, options: &JournalOptions) -> Result<Opened> {
    let JournalOptions { random, segment_bytes, existing, .. } = options;
    let (segment_bytes, files) = (*segment_bytes, look(&*disk)?);
    if *existing && files.logs.is_empty() && files.snapshots.is_empty() {
        return Err(Error::Missing { file: disk.describe(&log_name(1)) });
    }
    for name in &files.unfinished {
        let what = format!("remove {}", disk.describe(name));
        disk.remove(name).map_err(Error::io(what))?;
    }
    let mut replay = Replay::new(Arc::clone(&disk));
    if let Some(revision) = files.snapshots.last() {
        replay.snapshot(*revision)?;
    }
    if files.logs.is_empty() {
        if !files.snapshots.is_empty() {
            let file = disk.describe(&log_name(1));
            return Err(Error::Damaged { file, offset: 0, why: "the log is missing" });
        }
        let cluster = u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
        let first = create_segment(&*disk, cluster, random, 1, segment_bytes)?;
        return Ok(replay.finish(cluster, random, segment_bytes, first, None));
    }
    let mut segments = Vec::new();
    for number in &files.logs {
        segments.push(replay.segment(*number)?);
    }
    let (current, spare) = replay.tail(segments)?;
    let cluster = replay.cluster.unwrap_or_default();
    Ok(replay.finish(cluster, random, segment_bytes, current, spare))
}

/// Looks at what is there.
pub(super) fn look(disk: &dyn Disk) -> Result<Files> {
    let mut files = Files::default();
    for name in disk.list().map_err(Error::io("list the journal's directory"))? {
        match parse(&name) {
            Some(Name::Log(number)) => files.logs.push(number),
            Some(Name::Snapshot(revision)) => files.snapshots.push(revision),
            Some(Name::Unfinished) => files.unfinished.push(name),
            Some(Name::Lock) => {}
            None => return Err(Error::Foreign { file: disk.describe(&name) }),
        }
    }
    files.logs.sort_unstable();
    files.snapshots.sort_unstable();
    Ok(files)
}

/// A file of the log that was read.
struct Read {
    segment: Segment,
    /// Whether a frame of it was replayed, or is older than the snapshot.
    used: bool,
    /// The last sector that was ever written, behind the frames.
    dirty_until: usize,
}

impl Read {
    fn is_torn(&self) -> bool {
        self.dirty_until as u64 > self.segment.at
    }
}

/// Reads what is on a disk, and changes nothing there.
pub(super) fn inspect(disk: Arc<dyn Disk>) -> Result<(State, Files)> {
    let files = look(&*disk)?;
    let mut replay = Replay::new(Arc::clone(&disk));
    if let Some(revision) = files.snapshots.last() {
        replay.snapshot(*revision)?;
    }
    let segments = files.logs.iter().map(|number| replay.segment(*number));
    let segments = segments.collect::<Result<Vec<_>>>()?;
    if segments.is_empty() {
        let file = disk.describe(&log_name(1));
        return Err(Error::Damaged { file, offset: 0, why: "the log is missing" });
    }
    replay.check_tail(&segments)?;
    let mut state = replay.state;
    state.skip_reserved();
    Ok((state, files))
}

/// Reads one file by itself: how many frames it has.
pub(super) fn check_file(disk: &Arc<dyn Disk>, name: Name) -> Result<u64> {
    let (name, number) = match name {
        Name::Log(number) => (log_name(number), number),
        Name::Snapshot(revision) => (snapshot_name(revision), revision),
        Name::Unfinished | Name::Lock => return Ok(0),
    };
    let mut replay = Replay::new(Arc::clone(disk));
    let bytes = replay.read(&name)?;
    let header = replay.header(&name, &bytes, number)?;
    let (mut at, mut frames) = (SECTOR, 0);
    loop {
        match frame::decode(&bytes[at..], header.salt) {
            Found::Frame(frame) => {
                at += frame.sectors * SECTOR;
                frames += 1;
            }
            Found::Nothing | Found::Torn => return Ok(frames),
            Found::Damaged(why) => return Err(replay.damaged(&name, at, why)),
        }
    }
}

/// Reads a snapshot by itself, wherever it is.
pub(super) fn read_snapshot(disk: Arc<dyn Disk>, name: &str) -> Result<State> {
    let mut replay = Replay::new(disk);
    replay.snapshot_in(name, None)?;
    Ok(replay.state)
}

struct Replay {
    disk: Arc<dyn Disk>,
    state: State,
    cluster: Option<u128>,
    next: u64,
    previous: u32,
    /// Bytes of frames since the snapshot.
    grown: u64,
}

impl Replay {
    fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, state: State::new(), cluster: None, next: 0, previous: 0, grown: 0 }
    }

    fn damaged(&self, name: &str, offset: usize, why: &'static str) -> Error {
        Error::Damaged { file: self.disk.describe(name), offset: offset as u64, why }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let what = format!("read {}", self.disk.describe(name));
        let file = self.disk.open(name).map_err(Error::io(what.clone()))?;
        file.read().map_err(Error::io(what))
    }

    /// Reads a file's header: it has to be of this journal and to be what its name says.
    fn header(
        &mut self,
        name: &str,
        bytes: &[u8],
        number: impl Into<Option<u64>>,
    ) -> Result<Header> {
        let header = Header::decode(bytes).map_err(|why| self.damaged(name, 0, why))?;
        if *self.cluster.get_or_insert(header.cluster) != header.cluster {
            return Err(self.damaged(name, 0, "it is of another journal"));
        }
        if number.into().is_some_and(|number| number != header.number) {
            return Err(self.damaged(name, 0, "it has another file's name"));
        }
        Ok(header)
    }

    fn snapshot(&mut self, revision: u64) -> Result<()> {
        self.snapshot_in(&snapshot_name(revision), Some(revision))
    }

    /// Reads a snapshot of a revision, or of any.
    fn snapshot_in(&mut self, name: &str, revision: Option<u64>) -> Result<()> {
        let bytes = self.read(name)?;
        let header = self.header(name, &bytes, revision)?;
        let (mut at, mut number, mut previous) = (SECTOR, 0, 0);
        let (mut records, mut whole) = (0, false);
        while !whole {
            let frame = match frame::decode(&bytes[at..], header.salt) {
                Found::Frame(frame) if frame.number == number && frame.previous == previous => {
                    frame
                }
                Found::Damaged(why) => return Err(self.damaged(name, at, why)),
                _ => return Err(self.damaged(name, at, "a part of the snapshot is missing")),
            };
            let all = codec::decode(&frame.payload);
            let all = all.ok_or_else(|| self.damaged(name, at, "it cannot be read"))?;
            for logged in all {
                match logged {
                    Logged::Saved(saved) => self.state = State::restore(&saved),
                    Logged::Position { next, previous } => {
                        (self.next, self.previous) = (next, previous);
                    }
                    Logged::Record(record) => {
                        records += 1;
                        self.state.restore_record(record);
                    }
                    Logged::Finish { records: expected } => {
                        if expected != records {
                            return Err(self.damaged(name, at, "records are missing"));
                        }
                        whole = true;
                    }
                    _ => return Err(self.damaged(name, at, "it is no snapshot")),
                }
            }
            at += frame.sectors * SECTOR;
            (number, previous) = (number + 1, frame.check);
        }
        Ok(())
    }

    /// Replays a file of the log.
    fn segment(&mut self, number: u64) -> Result<Read> {
        let name = log_name(number);
        let bytes = self.read(&name)?;
        let header = self.header(&name, &bytes, number)?;
        let (mut at, mut used, mut before) = (SECTOR, false, None);
        loop {
            match frame::decode(&bytes[at..], header.salt) {
                Found::Frame(frame) => {
                    // Frames that the snapshot holds are a chain of their own.
                    let fits = match before {
                        Some((number, check)) => frame.number == number && frame.previous == check,
                        None => frame.number <= self.next,
                    };
                    if !fits || frame.number > self.next {
                        return Err(self.damaged(&name, at, "a frame before this one is missing"));
                    }
                    before = Some((frame.number + 1, frame.check));
                    used = true;
                    let size = frame.sectors * SECTOR;
                    if frame.number == self.next {
                        self.apply(&name, at, &frame)?;
                        self.grown += size as u64;
                    }
                    at += size;
                }
                Found::Nothing | Found::Torn => break,
                Found::Damaged(why) => return Err(self.damaged(&name, at, why)),
            }
        }
        let dirty_until = self.check_behind(&name, &bytes, at, header.salt)?;
        let what = format!("open {}", self.disk.describe(&name));
        let file = self.disk.open(&name).map_err(Error::io(what))?;
        let (at, length) = (at as u64, bytes.len() as u64);
        let segment = Segment { number, salt: header.salt, file, at, length };
        Ok(Read { segment, used, dirty_until })
    }

    fn apply(&mut self, name: &str, at: usize, frame: &frame::Frame) -> Result<()> {
        if frame.previous != self.previous {
            return Err(self.damaged(name, at, "a frame before this one is another one"));
        }
        let all = codec::decode(&frame.payload);
        for logged in all.ok_or_else(|| self.damaged(name, at, "it cannot be read"))? {
            let fits = match logged {
                Logged::Commit { revision, changes } => self.state.replay_commit(revision, changes),
                Logged::Grant { lease, ttl } => {
                    self.state.replay_grant(lease, ttl);
                    true
                }
                Logged::End { lease } => {
                    self.state.replay_end(lease);
                    true
                }
                Logged::Compact { through } => {
                    self.state.replay_compact(through);
                    true
                }
                Logged::Reserve { through } => {
                    self.state.replay_reserve(through);
                    true
                }
                _ => false,
            };
            if !fits {
                return Err(self.damaged(name, at, "it does not follow what is before it"));
            }
        }
        (self.next, self.previous) = (frame.number + 1, frame.check);
        Ok(())
    }

    /// Behind the frames there may be a torn write and nothing else: where a whole frame follows,
    /// what is missing before it was promised (S10). Returns the end of what was written.
    fn check_behind(&self, name: &str, bytes: &[u8], at: usize, salt: u64) -> Result<usize> {
        let mut dirty_until = at;
        for (offset, sector) in (at..).step_by(SECTOR).zip(bytes[at..].chunks_exact(SECTOR)) {
            if frame::is_unwritten(sector) {
                continue;
            }
            dirty_until = offset + SECTOR;
            let later = match frame::decode(&bytes[offset..], salt) {
                Found::Frame(frame) => offset > at && frame.number >= self.next,
                _ => false,
            };
            if later {
                return Err(self.damaged(name, at, "a frame is missing"));
            }
        }
        Ok(dirty_until)
    }

    /// Which file is written to. Only that, or the one it goes on in, can hold a torn write.
    fn check_tail(&self, segments: &[Read]) -> Result<usize> {
        let last = segments.iter().rposition(|read| read.used).unwrap_or(0);
        match segments[..last].iter().find(|read| read.is_torn()) {
            Some(Read { segment, .. }) => {
                let name = log_name(segment.number);
                Err(self.damaged(&name, segment.at as usize, "a frame is missing"))
            }
            None => Ok(last),
        }
    }

    /// Which file is written to, and which after it. A torn write is made undone.
    fn tail(&mut self, mut segments: Vec<Read>) -> Result<(Segment, Option<Segment>)> {
        let last = self.check_tail(&segments)?;
        for read in &segments {
            let (offset, name) = (read.segment.at as usize, log_name(read.segment.number));
            if read.is_torn() {
                let zeros = vec![0; read.dirty_until - offset];
                let undone = read.segment.file.write(read.segment.at, &zeros);
                let what = format!("undo a torn write in {}", self.disk.describe(&name));
                undone.and_then(|()| read.segment.file.sync()).map_err(Error::io(what))?;
            }
        }
        let mut rest = segments.split_off(last).into_iter().map(|read| read.segment);
        let Some(current) = rest.next() else {
            return Err(self.damaged(&log_name(1), 0, "the log is missing"));
        };
        Ok((current, rest.next()))
    }

    fn finish(
        self,
        cluster: u128,
        random: &Random,
        segment_bytes: u64,
        current: Segment,
        spare: Option<Segment>,
    ) -> Opened {
        let log = Log {
            disk: self.disk,
            cluster,
            random: random.fork(),
            segment_bytes,
            current,
            spare,
            next: self.next,
            previous: self.previous,
            grown: self.grown,
            payload: Vec::new(),
            buffer: Vec::new(),
        };
        let mut state = self.state;
        let reserved = state.reserved();
        state.skip_reserved();
        Opened { state, log, reserved }
    }
}
