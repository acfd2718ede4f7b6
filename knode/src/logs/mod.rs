//! Container logs in CRI's format.
//!
//! One entry a line: `<RFC 3339 time> <stdout|stderr> <F|P> <content>`, where `P` marks a piece of
//! a line that goes on in the next entry of the same stream.
//! <https://kubernetes.io/docs/concepts/cluster-administration/logging/>

mod format;
mod reader;
mod writer;

pub use format::{Entry, LineSplitter, MAX_ENTRY_BYTES, Stream, parse, write_entry};
pub use reader::{
    CHUNK_BYTES, FOLLOW_POLL_INTERVAL, LogOptions, StreamSelection, never_ends, read,
};
pub use writer::{LogWriter, Rotation, rotated_files};
