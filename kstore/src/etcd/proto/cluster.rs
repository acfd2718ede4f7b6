//! The messages of `Cluster`.

use super::ResponseHeader;

/// One of the cluster.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Member {
    /// Its number.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Where its peers reach it.
    #[prost(string, repeated, tag = "3")]
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    #[prost(string, repeated, tag = "4")]
    pub client_urls: Vec<String>,
    /// It does not vote yet.
    #[prost(bool, tag = "5")]
    pub is_learner: bool,
}

/// Asks who is of the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct MemberListRequest {
    /// The answer has to be up to date.
    #[prost(bool, tag = "1")]
    pub linearizable: bool,
}

/// Who is of the cluster.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MemberListResponse {
    /// Where and when.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Each.
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<Member>,
}
