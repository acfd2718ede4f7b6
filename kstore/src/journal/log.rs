//! The log while it is written: one frame a group commit, one sync a frame.

use std::sync::Arc;

use kcore::random::Random;

use super::disk::{Disk, DiskFile};
use super::frame::{self, Link, SECTOR};
use super::segment::{Header, UNFINISHED, log_name};
use super::{MAX_FRAME_BYTES, codec};
use crate::mvcc::Entry;
use crate::{Error, Result};

/// A file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) salt: u64,
    pub(super) file: Box<dyn DiskFile>,
    /// Where the next frame goes.
    pub(super) at: u64,
    pub(super) length: u64,
}

/// Where the log goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// The number of the next frame.
    pub(super) next: u64,
    /// The check of the frame before.
    pub(super) previous: u32,
    /// The file it is in.
    pub(super) segment: u64,
}

/// The log.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) cluster: u128,
    pub(super) random: Random,
    pub(super) segment_bytes: u64,
    pub(super) current: Segment,
    /// The file after the current one, made ahead, so that a full disk is found before what it
    /// has no room for was taken in.
    pub(super) spare: Option<Segment>,
    pub(super) next: u64,
    pub(super) previous: u32,
    /// Bytes of frames since the last snapshot.
    pub(super) grown: u64,
    pub(super) payload: Vec<u8>,
    pub(super) buffer: Vec<u8>,
}

impl Log {
    pub(super) fn position(&self) -> Position {
        Position { next: self.next, previous: self.previous, segment: self.current.number }
    }

    /// Makes what happened durable.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<()> {
        self.payload.clear();
        for entry in entries {
            codec::encode(&mut self.payload, entry);
        }
        let size = self.payload.len();
        if size > MAX_FRAME_BYTES {
            return Err(Error::TooLarge { what: "transaction", size, limit: MAX_FRAME_BYTES });
        }
        let bytes = (frame::sectors(size) * SECTOR) as u64;
        if self.current.at + bytes > self.current.length {
            self.go_on(bytes)?;
        }
        let link = Link { number: self.next, previous: self.previous, salt: self.current.salt };
        self.buffer.clear();
        let check = frame::encode(&mut self.buffer, &self.payload, link);
        let name = || self.disk.describe(&log_name(self.current.number));
        self.current
            .file
            .write(self.current.at, &self.buffer)
            .map_err(|source| Error::io(format!("write {}", name()))(source))?;
        self.current.file.sync().map_err(|source| Error::io(format!("sync {}", name()))(source))?;
        self.current.at += bytes;
        self.grown += bytes;
        self.next += 1;
        self.previous = check;
        // A large one is not kept for small ones to come.
        self.payload.shrink_to(MAX_KEPT_BYTES);
        self.buffer.shrink_to(MAX_KEPT_BYTES);
        Ok(())
    }

    /// Goes on in the next file, which has room for a frame of `bytes`.
    fn go_on(&mut self, bytes: u64) -> Result<()> {
        let needed = bytes + SECTOR as u64;
        let spare = match self.spare.take() {
            Some(spare) if spare.length >= needed => spare,
            Some(small) => {
                self.disk
                    .remove(&log_name(small.number))
                    .map_err(Error::io("remove a log file"))?;
                self.create(small.number, needed)?
            }
            None => self.create(self.current.number + 1, needed)?,
        };
        self.current = spare;
        Ok(())
    }

    /// Makes the file after the current one, if there is none yet.
    pub(super) fn prepare(&mut self) -> Result<()> {
        if self.spare.is_none() {
            self.spare = Some(self.create(self.current.number + 1, 0)?);
        }
        Ok(())
    }

    fn create(&self, number: u64, needed: u64) -> Result<Segment> {
        let length = self.segment_bytes.max(needed);
        create_segment(&*self.disk, self.cluster, &self.random, number, length)
    }
}

/// Buffers larger than this are given back after use.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// Makes a file of the log, durably (S12): it has its name once it is whole.
pub(super) fn create_segment(
    disk: &dyn Disk,
    cluster: u128,
    random: &Random,
    number: u64,
    length: u64,
) -> Result<Segment> {
    let (name, salt) = (log_name(number), random.next_u64());
    let header = Header { cluster, number, salt };
    let length = length.div_ceil(SECTOR as u64) * SECTOR as u64;
    let unfinished = format!("{name}{UNFINISHED}");
    let made = || {
        let file = disk.create(&unfinished, length)?;
        file.write(0, &header.encode())?;
        file.sync()?;
        disk.rename(&unfinished, &name)?;
        disk.sync()?;
        Ok(file)
    };
    let what = || format!("make room for {}: free space on its disk", disk.describe(&name));
    let file = made().map_err(|source| Error::io(what())(source))?;
    Ok(Segment { number, salt, file, at: SECTOR as u64, length })
}
