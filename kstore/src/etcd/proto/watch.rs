//! The messages of `Watch`.

use bytes::Bytes;

use super::{Event, ResponseHeader};

/// What a watcher sends.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchRequest {
    /// One of three.
    #[prost(oneof = "WatchRequestUnion", tags = "1, 2, 3")]
    pub request_union: Option<WatchRequestUnion>,
}

/// What a watcher asks for.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum WatchRequestUnion {
    /// A new watch.
    #[prost(message, tag = "1")]
    Create(WatchCreateRequest),
    /// The end of one.
    #[prost(message, tag = "2")]
    Cancel(WatchCancelRequest),
    /// How far the stream is.
    #[prost(message, tag = "3")]
    Progress(WatchProgressRequest),
}

/// What a watch leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum FilterType {
    /// Writes.
    NoPut = 0,
    /// Deletions.
    NoDelete = 1,
}

/// Asks for a watch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchCreateRequest {
    /// The first key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The key after the last, as in a range.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
    /// The first revision to tell; 0: the next one.
    #[prost(int64, tag = "3")]
    pub start_revision: i64,
    /// Tell the progress now and then.
    #[prost(bool, tag = "4")]
    pub progress_notify: bool,
    /// What to leave out.
    #[prost(enumeration = "FilterType", repeated, tag = "5")]
    pub filters: Vec<i32>,
    /// Tell what was there before.
    #[prost(bool, tag = "6")]
    pub prev_kv: bool,
    /// The name of the watch; 0: the server chooses.
    #[prost(int64, tag = "7")]
    pub watch_id: i64,
    /// Large answers may come in parts.
    #[prost(bool, tag = "8")]
    pub fragment: bool,
}

/// Ends a watch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct WatchCancelRequest {
    /// Which.
    #[prost(int64, tag = "1")]
    pub watch_id: i64,
}

/// Asks how far the stream is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct WatchProgressRequest {}

/// Changes, or news of a watch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Which; -1: all of the stream.
    #[prost(int64, tag = "2")]
    pub watch_id: i64,
    /// It was created.
    #[prost(bool, tag = "3")]
    pub created: bool,
    /// It has ended.
    #[prost(bool, tag = "4")]
    pub canceled: bool,
    /// It asked for less than this, which is gone.
    #[prost(int64, tag = "5")]
    pub compact_revision: i64,
    /// Why it has ended.
    #[prost(string, tag = "6")]
    pub cancel_reason: String,
    /// The rest follows.
    #[prost(bool, tag = "7")]
    pub fragment: bool,
    /// The changes.
    #[prost(message, repeated, tag = "11")]
    pub events: Vec<Event>,
}
