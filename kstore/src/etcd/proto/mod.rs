//! etcd's v3 messages and method paths, written by hand after
//! [its protocol](https://etcd.io/docs/v3.6/dev-guide/api_reference_v3/): fields keep etcd's names
//! and numbers.
//!
//! `Debug` never shows a value, because values carry secrets.

mod auth;
mod cluster;
mod kv;
mod lease;
mod maintenance;
pub mod path;
#[cfg(test)]
mod tests;
mod watch;

pub use auth::{AuthenticateRequest, AuthenticateResponse};
pub use cluster::{Member, MemberListRequest, MemberListResponse};
pub use kv::{
    CompactionRequest, CompactionResponse, Compare, CompareResult, CompareTarget,
    DeleteRangeRequest, DeleteRangeResponse, Event, EventType, KeyValue, PutRequest, PutResponse,
    RangeRequest, RangeResponse, Request, RequestOp, Response, ResponseHeader, ResponseOp,
    SortOrder, SortTarget, TargetUnion, TxnRequest, TxnResponse,
};
pub use lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
pub use maintenance::{
    AlarmAction, AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest,
    DefragmentResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse, SnapshotRequest,
    SnapshotResponse, StatusRequest, StatusResponse,
};
pub use watch::{
    FilterType, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest,
    WatchRequestUnion, WatchResponse,
};
