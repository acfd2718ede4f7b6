//! Snapshots: what is durable, in a file of its own, so that the log before it can go.

use std::sync::Arc;

use kcore::random::Random;

use super::codec;
use super::disk::{Disk, DiskFile};
use super::frame::{self, Link, SECTOR};
use super::log::Position;
use super::segment::{Header, Name, UNFINISHED, parse, snapshot_name};
use crate::mvcc::{Core, Saved};
use crate::{Error, Result, Revision};

/// Records that are read under one lock.
const PAGE: usize = 512;
/// About how large the frames of a snapshot are, in bytes.
const FRAME_BYTES: usize = 1 << 20;

/// What of a snapshot is written before it is synced, in bytes: the log's syncs wait for no more
/// of it than that.
const MAX_UNSYNCED_BYTES: u64 = 1 << 20;

/// A snapshot that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The revision it shows.
    pub revision: Revision,
    /// How many records it has.
    pub records: u64,
    /// How large it is, in bytes.
    pub bytes: u64,
}

/// A snapshot that is to be written: what it shows stays readable until it is done.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) core: Arc<Core>,
    pub(super) cluster: u128,
    pub(super) random: Random,
    pub(super) saved: Saved,
    pub(super) position: Position,
}

impl Job {
    /// Writes it, unless `stopped` says so meanwhile, and removes what it replaces.
    pub(super) fn run(self, stopped: impl Fn() -> bool) -> Result<()> {
        let name = snapshot_name(self.saved.revision.0);
        let written = self.write(&name, &mut |_, _| !stopped());
        self.core.unpin(self.saved.revision);
        if written?.is_none() {
            return Ok(());
        }
        self.remove_older()
    }

    /// Writes it, and returns how large it is; `None` if `goes_on`, which is told how many of how
    /// many records are written, said no.
    pub(super) fn write(
        &self,
        name: &str,
        goes_on: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Option<Written>> {
        let unfinished = format!("{name}{UNFINISHED}");
        let written = self.write_as(&unfinished, name, goes_on);
        if !matches!(written, Ok(Some(_))) {
            // It must not take the room that it may have failed for. It may not be there, either.
            let _ = self.disk.remove(&unfinished);
        }
        written
    }

    fn write_as(
        &self,
        unfinished: &str,
        name: &str,
        goes_on: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Option<Written>> {
        let failed = || Error::io(format!("write {}", self.disk.describe(name)));
        let file = self.disk.create(unfinished, 0).map_err(failed())?;
        let header = Header {
            cluster: self.cluster,
            number: self.saved.revision.0,
            salt: self.random.next_u64(),
        };
        file.write(0, &header.encode()).map_err(failed())?;
        let mut writer = Writer::new(&*file, header.salt);
        codec::encode_saved(&mut writer.payload, &self.saved);
        codec::encode_position(&mut writer.payload, self.position.next, self.position.previous);
        let (mut after, mut records, all) = (None, 0, self.core.status().keys);
        loop {
            let page = self.core.page(after.as_deref(), self.saved.revision, PAGE);
            for record in &page {
                codec::encode_record(&mut writer.payload, record);
                if writer.payload.len() >= FRAME_BYTES {
                    writer.flush().map_err(failed())?;
                }
            }
            records += page.len() as u64;
            if !goes_on(records, all.max(records)) {
                return Ok(None);
            }
            match page.last() {
                Some(last) => after = Some(last.key.clone()),
                None => break,
            }
        }
        codec::encode_finish(&mut writer.payload, records);
        writer.flush().map_err(failed())?;
        file.sync().map_err(failed())?;
        // It has its name once it is whole (S12).
        self.disk.rename(unfinished, name).map_err(failed())?;
        self.disk.sync().map_err(failed())?;
        Ok(Some(Written { revision: self.saved.revision, records, bytes: writer.at }))
    }

    /// Removes older snapshots, and the files of the log that nobody needs any more.
    fn remove_older(&self) -> Result<()> {
        let failed = || Error::io("remove what a snapshot replaces");
        for name in self.disk.list().map_err(failed())? {
            let old = match parse(&name) {
                Some(Name::Log(number)) => number < self.position.segment,
                Some(Name::Snapshot(revision)) => revision < self.saved.revision.0,
                _ => false,
            };
            if old {
                self.disk.remove(&name).map_err(failed())?;
            }
        }
        self.disk.sync().map_err(failed())
    }
}

/// Writes the frames of a snapshot one behind another.
struct Writer<'a> {
    file: &'a dyn DiskFile,
    salt: u64,
    at: u64,
    synced: u64,
    number: u64,
    previous: u32,
    payload: Vec<u8>,
    buffer: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(file: &'a dyn DiskFile, salt: u64) -> Self {
        let (payload, buffer) = (Vec::new(), Vec::new());
        let at = SECTOR as u64;
        Self { file, salt, at, synced: at, number: 0, previous: 0, payload, buffer }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let link = Link { number: self.number, previous: self.previous, salt: self.salt };
        self.buffer.clear();
        self.previous = frame::encode(&mut self.buffer, &self.payload, link);
        self.file.write(self.at, &self.buffer)?;
        self.at += self.buffer.len() as u64;
        if self.at - self.synced >= MAX_UNSYNCED_BYTES {
            self.file.sync()?;
            self.synced = self.at;
        }
        self.number += 1;
        self.payload.clear();
        Ok(())
    }
}
