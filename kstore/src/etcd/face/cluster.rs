//! The reading half of `Cluster`: a face is a cluster of one.

use tonic::Status;

use super::super::proto::{Member, MemberListResponse};
use super::Shared;
use super::refuse::status;

impl Shared {
    pub(super) async fn member_list(&self) -> Result<MemberListResponse, Status> {
        let member = Member {
            id: self.options.member_id,
            name: self.options.name.clone(),
            peer_urls: Vec::new(),
            client_urls: self.options.client_urls.clone(),
            is_learner: false,
        };
        let header = self.header_now().await.map_err(status)?;
        Ok(MemberListResponse { header, members: vec![member] })
    }
}
