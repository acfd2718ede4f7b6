//! Files of the journal: their names and what they begin with.

use super::frame::SECTOR;

const STAMP: u8 = 0xA5;
const MAGIC: &[u8; 8] = b"KJOURNL2";
const LOG: &str = "log-";
const SNAPSHOT: &str = "snapshot-";
/// What files are called until they are whole.
pub(super) const UNFINISHED: &str = ".new";

/// What a file's name says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// A part of the log, by its number.
    Log(u64),
    /// A snapshot, by its revision.
    Snapshot(u64),
    /// One that was not finished.
    Unfinished,
    /// The file that is locked.
    Lock,
}

pub(super) fn parse(name: &str) -> Option<Name> {
    let number = |digits: &str| (digits.len() == 20).then(|| digits.parse().ok()).flatten();
    if name == super::disk::LOCK {
        return Some(Name::Lock);
    }
    if let Some(whole) = name.strip_suffix(UNFINISHED) {
        return parse(whole).map(|_| Name::Unfinished);
    }
    if let Some(digits) = name.strip_prefix(LOG) {
        return number(digits).map(Name::Log);
    }
    number(name.strip_prefix(SNAPSHOT)?).map(Name::Snapshot)
}

pub(super) fn log_name(number: u64) -> String {
    format!("{LOG}{number:020}")
}

pub(super) fn snapshot_name(revision: u64) -> String {
    format!("{SNAPSHOT}{revision:020}")
}

/// What a file begins with: one sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Whose it is: the same in all files of a journal.
    pub(super) cluster: u128,
    /// Its number, or its revision.
    pub(super) number: u64,
    /// What makes its frames its own.
    pub(super) salt: u64,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; SECTOR] {
        let mut sector = [0; SECTOR];
        sector[0] = STAMP;
        sector[1..9].copy_from_slice(MAGIC);
        sector[9..25].copy_from_slice(&self.cluster.to_le_bytes());
        sector[25..33].copy_from_slice(&self.number.to_le_bytes());
        sector[33..41].copy_from_slice(&self.salt.to_le_bytes());
        let check = crc32c::crc32c(&sector[..41]);
        sector[41..45].copy_from_slice(&check.to_le_bytes());
        sector
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let Some(sector) = bytes.get(..SECTOR) else { return Err("the file is too short") };
        if sector[0] != STAMP || sector[1..9] != MAGIC[..] {
            return Err("the file does not begin as a journal's");
        }
        let check = u32::from_le_bytes(sector[41..45].try_into().unwrap_or_default());
        if check != crc32c::crc32c(&sector[..41]) || sector[45..].iter().any(|byte| *byte != 0) {
            return Err("the check of the file's beginning does not fit");
        }
        let number =
            |at: usize| u64::from_le_bytes(sector[at..at + 8].try_into().unwrap_or_default());
        Ok(Self {
            cluster: u128::from_le_bytes(sector[9..25].try_into().unwrap_or_default()),
            number: number(25),
            salt: number(33),
        })
    }
}
