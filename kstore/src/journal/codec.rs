//! What happened, as bytes: the payloads of frames.

use std::time::Duration;

use bytes::Bytes;

use crate::mvcc::{Entry, Saved, SavedLease, Written};
use crate::{LeaseId, Record, Revision, Value};

const COMMIT: u8 = 1;
const GRANT: u8 = 2;
const END: u8 = 3;
const COMPACT: u8 = 4;
const SAVED: u8 = 5;
const RECORD: u8 = 6;
const FINISH: u8 = 7;
const POSITION: u8 = 8;
const RESERVE: u8 = 9;

const DELETED: u8 = 0;
const PUT: u8 = 1;

/// What a journal says happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Logged {
    /// Keys changed at one revision: put if they have a value.
    Commit { revision: Revision, changes: Vec<Written> },
    /// A lease began.
    Grant { lease: LeaseId, ttl: Duration },
    /// A lease ended.
    End { lease: LeaseId },
    /// History was forgotten.
    Compact { through: Revision },
    /// No revision up to here comes again.
    Reserve { through: Revision },
    /// A snapshot begins.
    Saved(Saved),
    /// Where the log goes on after a snapshot: its next frame, and the check of the one before.
    Position { next: u64, previous: u32 },
    /// A record of a snapshot.
    Record(Record),
    /// A snapshot is whole: it had so many records.
    Finish { records: u64 },
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_lease(out: &mut Vec<u8>, lease: Option<LeaseId>) {
    // No lease is called zero.
    put_number(out, lease.map_or(0, |lease| lease.0));
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Appends an entry.
pub(super) fn encode(out: &mut Vec<u8>, entry: &Entry) {
    match entry {
        Entry::Commit(commit) => {
            out.push(COMMIT);
            put_number(out, commit.revision.0);
            put_number(out, commit.changes.len() as u64);
            for change in &commit.changes {
                let record = &change.record;
                put_bytes(out, &record.key);
                if record.version == 0 {
                    out.push(DELETED);
                } else {
                    out.push(PUT);
                    put_lease(out, record.lease);
                    put_bytes(out, &record.value.bytes);
                }
            }
        }
        Entry::Grant { lease, ttl } => {
            out.push(GRANT);
            put_number(out, lease.0);
            put_number(out, millis(*ttl));
        }
        Entry::End { lease } => {
            out.push(END);
            put_number(out, lease.0);
        }
        Entry::Compact { through } => {
            out.push(COMPACT);
            put_number(out, through.0);
        }
        Entry::Reserve { through } => {
            out.push(RESERVE);
            put_number(out, through.0);
        }
    }
}

/// Appends what a snapshot begins with.
pub(super) fn encode_saved(out: &mut Vec<u8>, saved: &Saved) {
    out.push(SAVED);
    put_number(out, saved.revision.0);
    put_number(out, saved.reserved.0);
    put_number(out, saved.last_lease);
    put_number(out, saved.leases.len() as u64);
    for SavedLease { lease, ttl } in &saved.leases {
        put_number(out, lease.0);
        put_number(out, millis(*ttl));
    }
}

/// Appends where the log goes on after a snapshot.
pub(super) fn encode_position(out: &mut Vec<u8>, next: u64, previous: u32) {
    out.push(POSITION);
    put_number(out, next);
    put_number(out, previous.into());
}

/// Appends a record of a snapshot.
pub(super) fn encode_record(out: &mut Vec<u8>, record: &Record) {
    out.push(RECORD);
    put_bytes(out, &record.key);
    put_number(out, record.created.0);
    put_number(out, record.modified.0);
    put_number(out, record.version);
    put_lease(out, record.lease);
    put_bytes(out, &record.value.bytes);
}

/// Appends what a snapshot ends with.
pub(super) fn encode_finish(out: &mut Vec<u8>, records: u64) {
    out.push(FINISH);
    put_number(out, records);
}

/// Reads payloads.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let length = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        Some(Bytes::copy_from_slice(self.take(length as usize)?))
    }

    fn lease(&mut self) -> Option<Option<LeaseId>> {
        let number = self.number()?;
        Some((number != 0).then_some(LeaseId(number)))
    }

    fn ttl(&mut self) -> Option<Duration> {
        self.number().map(Duration::from_millis)
    }

    fn change(&mut self) -> Option<Written> {
        let key = self.bytes()?;
        match self.byte()? {
            DELETED => Some((key, None)),
            PUT => {
                let lease = self.lease()?;
                Some((key, Some((self.bytes()?, lease))))
            }
            _ => None,
        }
    }

    fn logged(&mut self) -> Option<Logged> {
        Some(match self.byte()? {
            COMMIT => {
                let (revision, count) = (Revision(self.number()?), self.number()?);
                let changes = (0..count).map(|_| self.change()).collect::<Option<_>>()?;
                Logged::Commit { revision, changes }
            }
            GRANT => Logged::Grant { lease: LeaseId(self.number()?), ttl: self.ttl()? },
            END => Logged::End { lease: LeaseId(self.number()?) },
            COMPACT => Logged::Compact { through: Revision(self.number()?) },
            RESERVE => Logged::Reserve { through: Revision(self.number()?) },
            SAVED => {
                let (revision, reserved) = (Revision(self.number()?), Revision(self.number()?));
                let last_lease = self.number()?;
                let count = self.number()?;
                let mut lease =
                    || Some(SavedLease { lease: LeaseId(self.number()?), ttl: self.ttl()? });
                let leases = (0..count).map(|_| lease()).collect::<Option<_>>()?;
                Logged::Saved(Saved { revision, reserved, last_lease, leases })
            }
            RECORD => Logged::Record(Record {
                key: self.bytes()?,
                created: Revision(self.number()?),
                modified: Revision(self.number()?),
                version: self.number()?,
                lease: self.lease()?,
                value: Value::new(self.bytes()?),
            }),
            POSITION => Logged::Position {
                next: self.number()?,
                previous: u32::try_from(self.number()?).ok()?,
            },
            FINISH => Logged::Finish { records: self.number()? },
            _ => return None,
        })
    }
}

/// Reads a payload; `None` if it is none.
pub(super) fn decode(payload: &[u8]) -> Option<Vec<Logged>> {
    let mut reader = Reader(payload);
    let mut all = Vec::new();
    while !reader.0.is_empty() {
        all.push(reader.logged()?);
    }
    Some(all)
}
