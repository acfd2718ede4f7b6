//! The journal's format: frames in sectors. Plain functions over bytes.
//!
//! One sync makes one frame durable, and no second one is written before. A frame begins at a
//! sector and fills whole ones; each sector begins with a stamp that is never zero, so that one
//! that was never written (files are allocated as zeros) can be told from a damaged one. That is
//! what tells a write that a power cut tore, which nobody was told of, from a bit that flipped in
//! what somebody was promised (S10).

use crate::journal::MAX_FRAME_BYTES;

/// What a disk writes whole or not at all, in bytes.
pub(super) const SECTOR: usize = 512;
/// What of a sector a frame fills.
const ROOM: usize = SECTOR - 1;
/// The first byte of every sector that was written.
const STAMP: u8 = 0xA5;
const MAGIC: u32 = u32::from_le_bytes(*b"KJF1");
/// Magic, length, number, the check of the frame before, the check of these, the check of all.
const HEADER: usize = 4 + 4 + 8 + 4 + 4 + 4;
/// Where the check of the header is, and that of the whole frame.
const HEADER_CHECK: usize = 20;
const CHECK: usize = 24;

/// Where a frame stands in the chain of all frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    /// The number of the frame; each is one more than the one before.
    pub(super) number: u64,
    /// The check of the frame before.
    pub(super) previous: u32,
    /// The salt of the file, without which no bytes that a stranger stores look like a frame.
    pub(super) salt: u64,
}

/// A frame as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) number: u64,
    pub(super) previous: u32,
    pub(super) check: u32,
    pub(super) payload: Vec<u8>,
    /// How many sectors it fills.
    pub(super) sectors: usize,
}

/// What is found at a sector.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole frame.
    Frame(Frame),
    /// Nothing was written here.
    Nothing,
    /// A frame of which sectors were never written.
    Torn,
    /// Bytes that nobody wrote so.
    Damaged(&'static str),
}

/// How many sectors a frame with such a payload fills.
pub(super) fn sectors(payload: usize) -> usize {
    (HEADER + payload).div_ceil(ROOM)
}

fn check(header: &[u8], payload: &[u8], salt: u64) -> u32 {
    let seed = crc32c::crc32c(&salt.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(seed, header), payload)
}

/// Appends a frame to `out`, and returns its check.
pub(super) fn encode(out: &mut Vec<u8>, payload: &[u8], link: Link) -> u32 {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut header = [0; HEADER];
    header[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    header[4..8].copy_from_slice(&length.to_le_bytes());
    header[8..16].copy_from_slice(&link.number.to_le_bytes());
    header[16..20].copy_from_slice(&link.previous.to_le_bytes());
    let own = check(&header[..HEADER_CHECK], &[], link.salt);
    header[HEADER_CHECK..CHECK].copy_from_slice(&own.to_le_bytes());
    let check = check(&header[..CHECK], payload, link.salt);
    header[CHECK..].copy_from_slice(&check.to_le_bytes());
    let start = out.len();
    out.reserve(sectors(payload.len()) * SECTOR);
    let first = payload.len().min(ROOM - HEADER);
    out.push(STAMP);
    out.extend_from_slice(&header);
    out.extend_from_slice(&payload[..first]);
    for part in payload[first..].chunks(ROOM) {
        out.push(STAMP);
        out.extend_from_slice(part);
    }
    out.resize(start + sectors(payload.len()) * SECTOR, 0);
    check
}

/// Reads what is at the start of `bytes`, a file from some sector on.
pub(super) fn decode(bytes: &[u8], salt: u64) -> Found {
    let Some(first) = bytes.get(..SECTOR) else { return Found::Nothing };
    if is_unwritten(first) {
        return Found::Nothing;
    }
    if first[0] != STAMP {
        return Found::Damaged("a sector does not begin with its stamp");
    }
    let header = &first[1..=HEADER];
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap_or_default());
    if word(0) != MAGIC {
        return Found::Damaged("no frame begins here");
    }
    // Before the length is believed: a wrong one would make what follows look unwritten.
    if check(&header[..HEADER_CHECK], &[], salt) != word(HEADER_CHECK) {
        return Found::Damaged("the check of a frame's beginning does not fit");
    }
    let length = word(4) as usize;
    let count = sectors(length);
    if length > MAX_FRAME_BYTES || bytes.len() / SECTOR < count {
        return Found::Damaged("a frame is longer than its file");
    }
    let (mut data, mut torn) = (Vec::with_capacity(count * ROOM), false);
    for sector in bytes.chunks_exact(SECTOR).take(count) {
        match sector[0] {
            STAMP => data.extend_from_slice(&sector[1..]),
            0 if is_unwritten(sector) => {
                torn = true;
                data.resize(data.len() + ROOM, 0);
            }
            _ => return Found::Damaged("a sector does not begin with its stamp"),
        }
    }
    if torn {
        return Found::Torn;
    }
    let number = u64::from_le_bytes(data[8..16].try_into().unwrap_or_default());
    let (previous, known) = (word(16), word(CHECK));
    let payload = data[HEADER..HEADER + length].to_vec();
    if check(&data[..CHECK], &payload, salt) != known {
        return Found::Damaged("the check does not fit");
    }
    // What fills the last sector is checked too, so that no flipped bit goes unnoticed.
    if data[HEADER + length..].iter().any(|byte| *byte != 0) {
        return Found::Damaged("there is something behind a frame");
    }
    Found::Frame(Frame { number, previous, check: known, payload, sectors: count })
}

/// Whether a sector is as it was allocated.
pub(super) fn is_unwritten(sector: &[u8]) -> bool {
    sector.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link = Link { number: 7, previous: 9, salt: 11 };

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, payload, LINK);
        out.resize(out.len() + 4 * SECTOR, 0);
        out
    }

    #[test]
    fn frames_come_back_whatever_their_length() {
        for length in [0, 1, ROOM - HEADER - 1, ROOM - HEADER, ROOM - HEADER + 1, 2000, 5 * ROOM] {
            let payload: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let bytes = frame(&payload);
            let Found::Frame(found) = decode(&bytes, LINK.salt) else { panic!("{length}") };
            assert_eq!((found.number, found.previous), (7, 9));
            assert_eq!(found.payload, payload);
            assert_eq!(decode(&bytes[found.sectors * SECTOR..], LINK.salt), Found::Nothing);
            assert!(matches!(decode(&bytes, 12), Found::Damaged(_)), "another file's salt");
        }
    }

    /// S10: no flipped bit goes unnoticed, and none looks like a torn write.
    #[test]
    fn every_flipped_bit_is_damage() {
        let bytes = frame(&[0; 1500]);
        for at in 0..sectors(1500) * SECTOR {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                assert!(matches!(decode(&bytes, LINK.salt), Found::Damaged(_)), "{at}.{bit}");
            }
        }
    }

    /// S10: whatever sectors of a write a power cut keeps, it is whole, torn or nothing.
    #[test]
    fn every_torn_write_is_told_from_damage() {
        let bytes = frame(&[0; 1500]);
        let count = sectors(1500);
        for kept in 0..1 << count {
            let mut bytes = bytes.clone();
            for sector in 0..count {
                if kept & (1 << sector) == 0 {
                    bytes[sector * SECTOR..(sector + 1) * SECTOR].fill(0);
                }
            }
            let found = decode(&bytes, LINK.salt);
            let expect = if kept & 1 == 0 { Found::Nothing } else { Found::Torn };
            if kept + 1 == 1 << count {
                assert!(matches!(found, Found::Frame(_)));
            } else {
                assert_eq!(found, expect, "{kept:b}");
            }
        }
    }
}
