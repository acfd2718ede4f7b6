//! The methods of `Maintenance`.

use tonic::Status;

use super::super::convert::{revision, signed};
use super::super::proto::{
    AlarmAction, AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentResponse,
    HashKvRequest, HashKvResponse, HashResponse, StatusResponse,
};
use super::refuse::status;
use super::{Shared, TERM};
use crate::digest::Digest;
use crate::{KeyRange, RangeOptions, Result, Revision, StoreStatus};

/// The version of etcd's API that the face has: the first of its line whose progress can be
/// trusted, which clients conclude from it.
const VERSION: &str = "3.5.13";

/// Records that are hashed at a time.
const PAGE: usize = 10_000;

impl Shared {
    pub(super) async fn status(&self) -> Result<StatusResponse, Status> {
        let told: StoreStatus = self.store.status().await.map_err(status)?;
        let full = *self.full.lock();
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let mut errors = Vec::new();
        if full.is_some() {
            errors.push(format!("memberID:{} alarm:NOSPACE ", self.options.member_id));
        }
        // A store whose majority is out of reach leads nobody.
        let leader = if told.healthy() { self.options.member_id } else { 0 };
        Ok(StatusResponse {
            header: self.header(told.revision),
            version: VERSION.to_owned(),
            db_size: number(told.bytes),
            leader,
            raft_index: told.revision.0,
            raft_term: TERM,
            raft_applied_index: told.revision.0,
            errors,
            db_size_in_use: number(told.bytes),
            is_learner: false,
            storage_version: String::new(),
            db_size_quota: full.map_or(0, |(_, quota)| number(quota)),
        })
    }

    /// The store defragments itself, or has nothing that would.
    pub(super) async fn defragment(&self) -> Result<DefragmentResponse, Status> {
        Ok(DefragmentResponse { header: self.header_now().await.map_err(status)? })
    }

    /// The one alarm there is: a write was refused for want of room, and none was taken since. It
    /// goes by itself with the next write that is taken.
    pub(super) async fn alarm(&self, request: AlarmRequest) -> Result<AlarmResponse, Status> {
        let (none, full) = (i32::from(AlarmType::None), i32::from(AlarmType::NoSpace));
        let mine = request.member_id == 0 || request.member_id == self.options.member_id;
        let asked = mine && (request.alarm == none || request.alarm == full);
        let raised = asked && self.full.lock().is_some();
        match AlarmAction::try_from(request.action) {
            Ok(AlarmAction::Get) => {}
            Ok(AlarmAction::Deactivate) if asked => *self.full.lock() = None,
            Ok(AlarmAction::Deactivate) => {}
            Ok(AlarmAction::Activate) => {
                return Err(Status::unimplemented("alarms are raised by the store alone"));
            }
            Err(_) => return Err(Status::invalid_argument("etcdserver: unknown alarm action")),
        }
        let alarm = AlarmMember { member_id: self.options.member_id, alarm: full };
        let alarms = if raised { vec![alarm] } else { Vec::new() };
        Ok(AlarmResponse { header: self.header_now().await.map_err(status)?, alarms })
    }

    pub(super) async fn hash(&self) -> Result<HashResponse, Status> {
        let (hash, at) = self.digest(None).await.map_err(status)?;
        Ok(HashResponse { header: self.header(at), hash })
    }

    pub(super) async fn hash_kv(&self, request: HashKvRequest) -> Result<HashKvResponse, Status> {
        let asked = Some(revision(request.revision)).filter(|at| at.0 > 0);
        let (hash, at) = self.digest(asked).await.map_err(status)?;
        let compacted = self.store.status().await.map_err(status)?.compacted;
        Ok(HashKvResponse {
            header: self.header_now().await.map_err(status)?,
            hash,
            compact_revision: signed(compacted),
            hash_revision: signed(at),
        })
    }

    /// The hash of what is there at a revision: two stores with the same one hold the same.
    async fn digest(&self, at: Option<Revision>) -> Result<(u32, Revision)> {
        let mut options = RangeOptions::default().limit(PAGE);
        options.at = at;
        let (mut digest, mut range) = (Digest::default(), KeyRange::all());
        loop {
            let page = self.store.range(range.clone(), options.clone()).await?;
            page.records.iter().for_each(|record| digest.add(record));
            options.at = Some(page.revision);
            match page.records.last().filter(|_| page.more) {
                Some(last) => range = range.after(&last.key),
                None => return Ok((digest.value(), page.revision)),
            }
        }
    }
}
