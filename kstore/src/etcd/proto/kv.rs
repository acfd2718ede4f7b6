//! Keys, events and the methods of `KV`.

use std::fmt;

use bytes::Bytes;

/// What every answer begins with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct ResponseHeader {
    /// The cluster.
    #[prost(uint64, tag = "1")]
    pub cluster_id: u64,
    /// The member that answers.
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
    /// The revision when it answers.
    #[prost(int64, tag = "3")]
    pub revision: i64,
    /// Raft's term when it answers.
    #[prost(uint64, tag = "4")]
    pub raft_term: u64,
}

/// A key and what it holds (`mvccpb.KeyValue`).
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct KeyValue {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The revision that created it.
    #[prost(int64, tag = "2")]
    pub create_revision: i64,
    /// The revision that wrote it last.
    #[prost(int64, tag = "3")]
    pub mod_revision: i64,
    /// How often it was written since; 0 in a deletion.
    #[prost(int64, tag = "4")]
    pub version: i64,
    /// The value.
    #[prost(bytes = "bytes", tag = "5")]
    pub value: Bytes,
    /// The lease it is attached to, or 0.
    #[prost(int64, tag = "6")]
    pub lease: i64,
}

impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyValue")
            .field("key", &self.key)
            .field("mod_revision", &self.mod_revision)
            .field("version", &self.version)
            .field("value_len", &self.value.len())
            .finish_non_exhaustive()
    }
}

/// Whether a key was written or deleted (`mvccpb.Event.EventType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum EventType {
    /// It was written.
    Put = 0,
    /// It was deleted, or its lease ended.
    Delete = 1,
}

/// One change of one key (`mvccpb.Event`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct Event {
    /// What happened.
    #[prost(enumeration = "EventType", tag = "1")]
    pub r#type: i32,
    /// The key after it.
    #[prost(message, optional, tag = "2")]
    pub kv: Option<KeyValue>,
    /// The key before it, if asked for.
    #[prost(message, optional, tag = "3")]
    pub prev_kv: Option<KeyValue>,
}

/// In which order a range is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum SortOrder {
    /// By key.
    None = 0,
    /// The least first.
    Ascend = 1,
    /// The greatest first.
    Descend = 2,
}

/// By what a range is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum SortTarget {
    /// By key.
    Key = 0,
    /// By version.
    Version = 1,
    /// By creation revision.
    Create = 2,
    /// By modification revision.
    Mod = 3,
    /// By value.
    Value = 4,
}

/// Asks for keys.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RangeRequest {
    /// The first key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The key after the last; empty: one key; a zero byte: no end.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
    /// The most keys to return; 0: all.
    #[prost(int64, tag = "3")]
    pub limit: i64,
    /// The revision to read; 0: the current one.
    #[prost(int64, tag = "4")]
    pub revision: i64,
    /// The order.
    #[prost(enumeration = "SortOrder", tag = "5")]
    pub sort_order: i32,
    /// What the order is of.
    #[prost(enumeration = "SortTarget", tag = "6")]
    pub sort_target: i32,
    /// The answering member need not be up to date.
    #[prost(bool, tag = "7")]
    pub serializable: bool,
    /// Without values.
    #[prost(bool, tag = "8")]
    pub keys_only: bool,
    /// Only the count.
    #[prost(bool, tag = "9")]
    pub count_only: bool,
    /// Leaves out what was written before.
    #[prost(int64, tag = "10")]
    pub min_mod_revision: i64,
    /// Leaves out what was written after.
    #[prost(int64, tag = "11")]
    pub max_mod_revision: i64,
    /// Leaves out what was created before.
    #[prost(int64, tag = "12")]
    pub min_create_revision: i64,
    /// Leaves out what was created after.
    #[prost(int64, tag = "13")]
    pub max_create_revision: i64,
}

/// Keys.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RangeResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// The keys.
    #[prost(message, repeated, tag = "2")]
    pub kvs: Vec<KeyValue>,
    /// The limit cut some off.
    #[prost(bool, tag = "3")]
    pub more: bool,
    /// How many keys match.
    #[prost(int64, tag = "4")]
    pub count: i64,
}

/// Writes a key.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct PutRequest {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// What it will hold.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// The lease to attach it to, or 0.
    #[prost(int64, tag = "3")]
    pub lease: i64,
    /// Return what it held.
    #[prost(bool, tag = "4")]
    pub prev_kv: bool,
    /// Keep the value it has.
    #[prost(bool, tag = "5")]
    pub ignore_value: bool,
    /// Keep the lease it has.
    #[prost(bool, tag = "6")]
    pub ignore_lease: bool,
}

impl fmt::Debug for PutRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutRequest")
            .field("key", &self.key)
            .field("value_len", &self.value.len())
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// A key was written.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PutResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// What it held.
    #[prost(message, optional, tag = "2")]
    pub prev_kv: Option<KeyValue>,
}

/// Deletes keys.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeleteRangeRequest {
    /// The first key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The key after the last, as in a range.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
    /// Return what they held.
    #[prost(bool, tag = "3")]
    pub prev_kv: bool,
}

/// Keys were deleted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeleteRangeResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// How many.
    #[prost(int64, tag = "2")]
    pub deleted: i64,
    /// What they held.
    #[prost(message, repeated, tag = "3")]
    pub prev_kvs: Vec<KeyValue>,
}

/// What one operation of a transaction asks for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RequestOp {
    /// The operation.
    #[prost(oneof = "Request", tags = "1, 2, 3, 4")]
    pub request: Option<Request>,
}

/// What one operation of a transaction asks for.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Request {
    /// A read.
    #[prost(message, tag = "1")]
    Range(RangeRequest),
    /// A write.
    #[prost(message, tag = "2")]
    Put(PutRequest),
    /// A deletion.
    #[prost(message, tag = "3")]
    DeleteRange(DeleteRangeRequest),
    /// A transaction within.
    #[prost(message, tag = "4")]
    Txn(TxnRequest),
}

/// What one operation of a transaction did.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResponseOp {
    /// The operation.
    #[prost(oneof = "Response", tags = "1, 2, 3, 4")]
    pub response: Option<Response>,
}

/// What one operation of a transaction did.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Response {
    /// A read.
    #[prost(message, tag = "1")]
    Range(RangeResponse),
    /// A write.
    #[prost(message, tag = "2")]
    Put(PutResponse),
    /// A deletion.
    #[prost(message, tag = "3")]
    DeleteRange(DeleteRangeResponse),
    /// A transaction within.
    #[prost(message, tag = "4")]
    Txn(TxnResponse),
}

/// How a comparison must come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CompareResult {
    /// Both are the same.
    Equal = 0,
    /// What the store holds is greater.
    Greater = 1,
    /// What the store holds is less.
    Less = 2,
    /// They differ.
    NotEqual = 3,
}

/// What of a key is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CompareTarget {
    /// Its version.
    Version = 0,
    /// Its creation revision.
    Create = 1,
    /// Its modification revision.
    Mod = 2,
    /// Its value.
    Value = 3,
    /// Its lease.
    Lease = 4,
}

/// A condition of a transaction.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Compare {
    /// How it must come out.
    #[prost(enumeration = "CompareResult", tag = "1")]
    pub result: i32,
    /// What is compared.
    #[prost(enumeration = "CompareTarget", tag = "2")]
    pub target: i32,
    /// The key, or the first of a range.
    #[prost(bytes = "bytes", tag = "3")]
    pub key: Bytes,
    /// What it is compared with.
    #[prost(oneof = "TargetUnion", tags = "4, 5, 6, 7, 8")]
    pub target_union: Option<TargetUnion>,
    /// The key after the last; empty: one key.
    #[prost(bytes = "bytes", tag = "64")]
    pub range_end: Bytes,
}

/// The operand of a condition.
#[derive(Clone, PartialEq, prost::Oneof)]
#[prost(skip_debug)]
pub enum TargetUnion {
    /// A version.
    #[prost(int64, tag = "4")]
    Version(i64),
    /// A creation revision.
    #[prost(int64, tag = "5")]
    CreateRevision(i64),
    /// A modification revision.
    #[prost(int64, tag = "6")]
    ModRevision(i64),
    /// A value.
    #[prost(bytes = "bytes", tag = "7")]
    Value(Bytes),
    /// A lease.
    #[prost(int64, tag = "8")]
    Lease(i64),
}

impl fmt::Debug for TargetUnion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "Version({version})"),
            Self::CreateRevision(revision) => write!(f, "CreateRevision({revision})"),
            Self::ModRevision(revision) => write!(f, "ModRevision({revision})"),
            Self::Value(value) => write!(f, "Value({} bytes)", value.len()),
            Self::Lease(lease) => write!(f, "Lease({lease})"),
        }
    }
}

/// A transaction.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TxnRequest {
    /// What must hold.
    #[prost(message, repeated, tag = "1")]
    pub compare: Vec<Compare>,
    /// What is done if it does.
    #[prost(message, repeated, tag = "2")]
    pub success: Vec<RequestOp>,
    /// What is done if it does not.
    #[prost(message, repeated, tag = "3")]
    pub failure: Vec<RequestOp>,
}

/// What a transaction did.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TxnResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Whether all compares held.
    #[prost(bool, tag = "2")]
    pub succeeded: bool,
    /// One answer per operation done.
    #[prost(message, repeated, tag = "3")]
    pub responses: Vec<ResponseOp>,
}

/// Forgets history.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct CompactionRequest {
    /// Up to here.
    #[prost(int64, tag = "1")]
    pub revision: i64,
    /// Answer when the space is free.
    #[prost(bool, tag = "2")]
    pub physical: bool,
}

/// History was forgotten.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CompactionResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
}
