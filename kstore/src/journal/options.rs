//! How a journal works.

use kcore::random::Random;

use crate::MemoryOptions;

/// How a [`JournalStore`](crate::JournalStore) works.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JournalOptions {
    /// The bounds of what is held in memory.
    pub memory: MemoryOptions,
    /// How large the files of the log are made, in bytes: 64 MiB. They take their place on the
    /// disk at once.
    pub segment_bytes: u64,
    /// A snapshot is made once the log has grown by so many bytes, and by as much as is live:
    /// 64 MiB.
    pub snapshot_bytes: u64,
    /// Where the names of clusters and files come from.
    pub random: Random,
    /// Refuses a directory that holds no journal, instead of beginning one there.
    pub existing: bool,
    /// Writes and syncs in the caller's task instead of a thread of its own: for simulations,
    /// where a run must be the same each time.
    pub inline: bool,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            memory: MemoryOptions::default(),
            segment_bytes: 64 << 20,
            snapshot_bytes: 64 << 20,
            random: Random::from_entropy(),
            existing: false,
            inline: false,
        }
    }
}

impl JournalOptions {
    /// Bounds what is held in memory.
    #[must_use]
    pub fn memory(mut self, options: MemoryOptions) -> Self {
        self.memory = options;
        self
    }

    /// Makes the files of the log of `bytes`, at least 4 KiB.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes.max(4096);
        self
    }

    /// Makes a snapshot once the log has grown by `bytes`.
    #[must_use]
    pub fn snapshot_bytes(mut self, bytes: u64) -> Self {
        self.snapshot_bytes = bytes;
        self
    }

    /// Draws names from this source.
    #[must_use]
    pub fn random(mut self, random: Random) -> Self {
        self.random = random;
        self
    }

    /// Refuses to begin a journal where there is none: for whoever knows that there was one, so
    /// that a disk that is not mounted is no empty cluster.
    #[must_use]
    pub fn existing(mut self) -> Self {
        self.existing = true;
        self
    }

    /// Writes and syncs in the caller's task.
    #[must_use]
    pub fn inline(mut self) -> Self {
        self.inline = true;
        self
    }
}
