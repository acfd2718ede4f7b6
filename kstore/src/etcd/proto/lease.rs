//! The messages of `Lease`.

use bytes::Bytes;

use super::ResponseHeader;

/// Asks for a lease.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseGrantRequest {
    /// Its time to live in seconds.
    #[prost(int64, tag = "1")]
    pub ttl: i64,
    /// Its name; 0: the server chooses.
    #[prost(int64, tag = "2")]
    pub id: i64,
}

/// A lease.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseGrantResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Its name.
    #[prost(int64, tag = "2")]
    pub id: i64,
    /// Its time to live in seconds.
    #[prost(int64, tag = "3")]
    pub ttl: i64,
    /// Why there is none.
    #[prost(string, tag = "4")]
    pub error: String,
}

/// Ends a lease.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseRevokeRequest {
    /// Which.
    #[prost(int64, tag = "1")]
    pub id: i64,
}

/// A lease has ended.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseRevokeResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
}

/// Renews a lease.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseKeepAliveRequest {
    /// Which.
    #[prost(int64, tag = "1")]
    pub id: i64,
}

/// A lease was renewed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseKeepAliveResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Which.
    #[prost(int64, tag = "2")]
    pub id: i64,
    /// Its time to live in seconds; 0: there is no such lease.
    #[prost(int64, tag = "3")]
    pub ttl: i64,
}

/// Asks what is left of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseTimeToLiveRequest {
    /// Which.
    #[prost(int64, tag = "1")]
    pub id: i64,
    /// With the keys attached to it.
    #[prost(bool, tag = "2")]
    pub keys: bool,
}

/// What is left of a lease.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseTimeToLiveResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Which.
    #[prost(int64, tag = "2")]
    pub id: i64,
    /// Seconds until it ends; -1: there is no such lease.
    #[prost(int64, tag = "3")]
    pub ttl: i64,
    /// Seconds it was granted.
    #[prost(int64, tag = "4")]
    pub granted_ttl: i64,
    /// The keys attached to it.
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub keys: Vec<Bytes>,
}

/// Asks for all leases.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseLeasesRequest {}

/// A lease.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseStatus {
    /// Its name.
    #[prost(int64, tag = "1")]
    pub id: i64,
}

/// All leases.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseLeasesResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Each.
    #[prost(message, repeated, tag = "2")]
    pub leases: Vec<LeaseStatus>,
}
