//! What a state amounts to, in one number.

use crate::Record;

/// A checksum of records in key order: two states with the same one hold the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Digest(u32);

impl Digest {
    pub(crate) fn add(&mut self, record: &Record) {
        let Record { key, value, created, modified, version, lease } = record;
        self.add_bytes(key);
        self.add_bytes(&value.bytes);
        for number in [created.0, modified.0, *version, lease.map_or(0, |lease| lease.0)] {
            self.0 = crc32c::crc32c_append(self.0, &number.to_le_bytes());
        }
    }

    fn add_bytes(&mut self, bytes: &[u8]) {
        // Lengths keep what is next to each other apart.
        self.0 = crc32c::crc32c_append(self.0, &(bytes.len() as u64).to_le_bytes());
        self.0 = crc32c::crc32c_append(self.0, bytes);
    }

    pub(crate) fn value(self) -> u32 {
        self.0
    }
}
