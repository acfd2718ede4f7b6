//! The messages of `Maintenance`.

use std::fmt;

use bytes::Bytes;

use super::ResponseHeader;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AlarmType {
    /// Nothing, or any.
    None = 0,
    /// The quota is reached.
    NoSpace = 1,
    /// Members differ.
    Corrupt = 2,
}

/// What to do about alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AlarmAction {
    /// List them.
    Get = 0,
    /// Raise one.
    Activate = 1,
    /// Disarm one.
    Deactivate = 2,
}

/// Lists, raises or disarms alarms.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct AlarmRequest {
    /// Which of the three.
    #[prost(enumeration = "AlarmAction", tag = "1")]
    pub action: i32,
    /// Of which member; 0: of all.
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
    /// Which alarm.
    #[prost(enumeration = "AlarmType", tag = "3")]
    pub alarm: i32,
}

/// An alarm.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct AlarmMember {
    /// Of which member.
    #[prost(uint64, tag = "1")]
    pub member_id: u64,
    /// What is wrong.
    #[prost(enumeration = "AlarmType", tag = "2")]
    pub alarm: i32,
}

/// Alarms.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AlarmResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Each.
    #[prost(message, repeated, tag = "2")]
    pub alarms: Vec<AlarmMember>,
}

/// Asks a member how it is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct StatusRequest {}

/// How a member is doing.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StatusResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Bytes of its database on disk.
    #[prost(int64, tag = "3")]
    pub db_size: i64,
    /// Whom it takes for the leader; 0: nobody.
    #[prost(uint64, tag = "4")]
    pub leader: u64,
    /// Raft's committed index.
    #[prost(uint64, tag = "5")]
    pub raft_index: u64,
    /// Raft's term.
    #[prost(uint64, tag = "6")]
    pub raft_term: u64,
    /// Raft's applied index.
    #[prost(uint64, tag = "7")]
    pub raft_applied_index: u64,
    /// What is wrong with it.
    #[prost(string, repeated, tag = "8")]
    pub errors: Vec<String>,
    /// Bytes of its database that hold something.
    #[prost(int64, tag = "9")]
    pub db_size_in_use: i64,
    /// It does not vote yet.
    #[prost(bool, tag = "10")]
    pub is_learner: bool,
    /// The version of its files.
    #[prost(string, tag = "11")]
    pub storage_version: String,
    /// Bytes that its database may have; 0: it does not tell.
    #[prost(int64, tag = "12")]
    pub db_size_quota: i64,
}

/// Asks a member to give disk back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct DefragmentRequest {}

/// A member gave disk back.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DefragmentResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
}

/// Asks for the hash of everything.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct HashRequest {}

/// The hash of everything.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HashResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// The hash.
    #[prost(uint32, tag = "2")]
    pub hash: u32,
}

/// Asks for the hash of the keys up to a revision.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct HashKvRequest {
    /// The revision; 0: the current one.
    #[prost(int64, tag = "1")]
    pub revision: i64,
}

/// The hash of the keys up to a revision.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HashKvResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// The hash.
    #[prost(uint32, tag = "2")]
    pub hash: u32,
    /// The compacted revision.
    #[prost(int64, tag = "3")]
    pub compact_revision: i64,
    /// The revision it is of.
    #[prost(int64, tag = "4")]
    pub hash_revision: i64,
}

/// Asks for everything.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct SnapshotRequest {}

/// A part of everything.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct SnapshotResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// How much is left.
    #[prost(uint64, tag = "2")]
    pub remaining_bytes: u64,
    /// The next bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub blob: Bytes,
    /// The version of the files.
    #[prost(string, tag = "4")]
    pub version: String,
}

impl fmt::Debug for SnapshotResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotResponse")
            .field("remaining_bytes", &self.remaining_bytes)
            .field("blob_len", &self.blob.len())
            .finish_non_exhaustive()
    }
}
