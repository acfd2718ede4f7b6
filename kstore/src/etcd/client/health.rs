//! How a cluster is doing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::timeout;

use super::super::convert::revision;
use super::super::proto::{self, path};
use super::failure::Failure;
use super::metrics::{self, Histogram};
use super::refusal::About;
use super::{Answer, EtcdStore, MAX_SMALL_ANSWER, Shared, version};
use crate::{Error, KeyRange, RangeOptions, Result, StoreStatus};

/// Writes whose latency is remembered.
const REMEMBERED: usize = 512;

/// How long a defragmentation of one member may take.
const DEFRAGMENT_TIMEOUT: Duration = Duration::from_secs(600);

/// How the member that answers is doing, and its disk.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EtcdHealth {
    /// The client URL of the member that answered.
    pub endpoint: String,
    /// Its version.
    pub version: String,
    /// Whether it tells progress safely. If not, watches follow every key to know it themselves.
    pub native_progress: bool,
    /// Bytes of its database on disk, which only defragmentation makes less.
    pub db_bytes: u64,
    /// Bytes of them that hold something.
    pub db_bytes_in_use: u64,
    /// The 99th percentile of its syncs since the last look: out of its metrics, or, where those
    /// cannot be had, of whole writes, which is an upper bound. None if there was neither.
    pub sync_p99: Option<Duration>,
    /// Whether that is the syncs themselves, out of the member's metrics.
    pub sync_is_measured: bool,
    /// Whether it is over [`EtcdOptions::slow_sync`](super::EtcdOptions::slow_sync): 10 ms, as
    /// [etcd asks for](https://etcd.io/docs/v3.6/op-guide/hardware/#disks).
    pub slow: bool,
    /// What the member itself says is wrong, alarms included.
    pub errors: Vec<String>,
}

/// The status of one member, and who that is.
pub(super) struct MemberStatus {
    pub(super) url: String,
    pub(super) at: usize,
    pub(super) status: proto::StatusResponse,
}

/// What is known of sync latencies.
#[derive(Debug)]
pub(super) struct SyncWatch {
    slow: Duration,
    state: Mutex<SyncState>,
    p99: Gauge<f64, AtomicU64>,
    warning: Gauge<u64, AtomicU64>,
}

#[derive(Debug, Default)]
struct SyncState {
    writes: VecDeque<Duration>,
    members: BTreeMap<String, Histogram>,
}

/// Latencies of syncs since the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Syncs {
    p99: Option<Duration>,
    mean: Option<Duration>,
    measured: bool,
}

impl SyncWatch {
    pub(super) fn new(slow: Duration) -> Self {
        Self { slow, state: Mutex::default(), p99: Gauge::default(), warning: Gauge::default() }
    }

    /// Remembers how long a write took: no sync of its was longer.
    pub(super) fn wrote(&self, latency: Duration) {
        let writes = &mut self.state.lock().writes;
        if writes.len() == REMEMBERED {
            writes.pop_front();
        }
        writes.push_back(latency);
    }

    /// Takes note of a member's histogram, if there is one, and warns of a slow disk.
    fn look(&self, url: &str, histogram: Option<Histogram>) -> Syncs {
        let syncs = {
            let mut state = self.state.lock();
            match histogram {
                Some(now) => {
                    let earlier = state.members.insert(url.to_owned(), now.clone());
                    let since = earlier.map(|earlier| now.since(&earlier));
                    // Nothing was synced since: what was before still says most.
                    let shown = since.filter(|since| since.p99().is_some()).unwrap_or(now);
                    Syncs { p99: shown.p99(), mean: shown.mean(), measured: true }
                }
                None => of_writes(state.writes.iter().copied().collect()),
            }
        };
        let slow = syncs.p99.is_some_and(|p99| p99 > self.slow);
        self.p99.set(syncs.p99.unwrap_or_default().as_secs_f64());
        if slow && self.warning.set(1) == 0 {
            tracing::warn!(
                endpoint = url,
                p99_ms = syncs.p99.unwrap_or_default().as_millis(),
                limit_ms = self.slow.as_millis(),
                "etcd's disk is slow to sync: the cluster will lose leaders and requests"
            );
        }
        if !slow {
            self.warning.set(0);
        }
        syncs
    }
}

fn of_writes(mut writes: Vec<Duration>) -> Syncs {
    writes.sort_unstable();
    let last = writes.len() - writes.len() / 100;
    let p99 = last.checked_sub(1).map(|at| writes[at]);
    let count = u32::try_from(writes.len()).unwrap_or(u32::MAX);
    let mean = (count > 0).then(|| writes.iter().sum::<Duration>() / count);
    Syncs { p99, mean, measured: false }
}

impl EtcdStore {
    /// How the member that answers is doing. A slow disk is also told by a warning (through
    /// `tracing`) and by the metrics of [`EtcdStore::register`].
    pub async fn health(&self) -> Result<EtcdHealth> {
        self.shared.health().await
    }

    /// Puts `etcd_sync_p99_seconds` and `etcd_sync_slow` (1 while it is over the limit) into a
    /// registry; [`health`](Self::health) and [`status`](crate::Store::status) bring them up to
    /// date.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("etcd");
        let syncs = &self.shared.syncs;
        let help = "The 99th percentile of the cluster's syncs, as last seen";
        registry.register_with_unit("sync_p99", help, Unit::Seconds, syncs.p99.clone());
        let help = "Whether that is over the limit";
        registry.register("sync_slow", help, syncs.warning.clone());
    }
}

impl Shared {
    async fn syncs(&self, member: &MemberStatus) -> (Syncs, Option<u64>) {
        let base = self.options.metrics_endpoints.get(member.at).unwrap_or(&member.url);
        let told = metrics::fetch(base).await;
        let quota = told.as_ref().and_then(|metrics| metrics.quota);
        (self.syncs.look(&member.url, told.map(|metrics| metrics.syncs)), quota)
    }

    async fn health(&self) -> Result<EtcdHealth> {
        let member = self.first_status().await?;
        let (syncs, _) = self.syncs(&member).await;
        let status = member.status;
        Ok(EtcdHealth {
            native_progress: version::native_progress(&status.version),
            endpoint: member.url,
            version: status.version,
            db_bytes: u64::try_from(status.db_size).unwrap_or(0),
            db_bytes_in_use: u64::try_from(status.db_size_in_use).unwrap_or(0),
            sync_p99: syncs.p99,
            sync_is_measured: syncs.measured,
            slow: syncs.p99.is_some_and(|p99| p99 > self.options.slow_sync),
            errors: status.errors,
        })
    }

    /// The status of the first member that answers, from the current one on. A member answers
    /// without a leader, too.
    pub(super) async fn first_status(&self) -> Result<MemberStatus> {
        let mut last = None;
        for _ in 0..self.members.len() {
            let (at, member) = self.members.current();
            match self.status_of(member).await {
                Ok(status) => return Ok(MemberStatus { url: member.url.clone(), at, status }),
                Err(failure) => last = Some(failure.error),
            }
            self.members.turn_from(at);
        }
        Err(last.map_or_else(|| self.nonsense(), Error::from))
    }

    pub(super) async fn status_of(
        &self,
        member: &super::members::Member,
    ) -> Answer<proto::StatusResponse> {
        let mut request = self.members.request(proto::StatusRequest {});
        request.metadata_mut().remove("hasleader");
        let asking = self.members.ask(member, path::STATUS, request, MAX_SMALL_ANSWER);
        let patience = self.options.attempt_timeout;
        timeout(patience, asking).await.unwrap_or_else(|_| Err(Failure::late(&member.url)))
    }

    pub(super) async fn status(&self) -> Result<StoreStatus> {
        let member = self.first_status().await?;
        let (syncs, _) = self.syncs(&member).await;
        let status = &member.status;
        let mut told = StoreStatus::at(revision(status.header.unwrap_or_default().revision));
        told.bytes = u64::try_from(status.db_size_in_use).unwrap_or(0);
        told.watchers = self.watchers.load(Ordering::Relaxed);
        told.sync_latency = syncs.mean;
        if status.leader == 0 {
            told.compacted = crate::Revision(self.compacted.load(Ordering::Relaxed));
            told.quorum = Some(false);
            return Ok(told);
        }
        let members = self.member_list().await?;
        if members.len() > 1 {
            let leader = members.iter().find(|member| member.id == status.leader);
            let name = leader.map(|leader| leader.name.clone()).filter(|name| !name.is_empty());
            told.leader = Some(name.unwrap_or_else(|| format!("{:x}", status.leader)));
            told.quorum = Some(true);
        }
        let count = RangeOptions::default().count_only();
        let all = self.range(KeyRange::all(), count).await?;
        (told.revision, told.keys) = (all.revision, all.count);
        told.compacted = self.find_compacted().await?;
        Ok(told)
    }

    async fn member_list(&self) -> Result<Vec<proto::Member>> {
        let message = proto::MemberListRequest { linearizable: false };
        let answer: Answer<proto::MemberListResponse> =
            self.ask(path::MEMBER_LIST, message, MAX_SMALL_ANSWER).await;
        match answer {
            Ok(answer) => Ok(answer.members),
            Err(failure) => Err(self.explain(failure, About::default()).await),
        }
    }

    /// The quota's error, with numbers: what the member tells, or etcd's default.
    pub(super) async fn over_quota(&self) -> Result<Error> {
        let member = self.first_status().await?;
        let told = u64::try_from(member.status.db_size_quota).ok().filter(|quota| *quota > 0);
        let quota = match told {
            Some(quota) => quota,
            None => self.syncs(&member).await.1.unwrap_or(DEFAULT_QUOTA),
        };
        let used = u64::try_from(member.status.db_size).unwrap_or(0);
        Ok(Error::OverQuota { used, quota })
    }

    pub(super) async fn defragment(&self) -> Result<()> {
        for member in self.members.all() {
            let mut request = self.members.request(proto::DefragmentRequest {});
            request.metadata_mut().remove("hasleader");
            let asking = self.members.ask(member, path::DEFRAGMENT, request, MAX_SMALL_ANSWER);
            let answer: Answer<proto::DefragmentResponse> = timeout(DEFRAGMENT_TIMEOUT, asking)
                .await
                .unwrap_or_else(|_| Err(Failure::late(&member.url)));
            answer.map_err(|failure| Error::from(failure.error))?;
        }
        Ok(())
    }

    /// Disarms the quota's alarm of every member that raised one: etcd takes no "all of them".
    pub(super) async fn disarm(&self) -> Result<()> {
        let none = proto::AlarmType::None;
        let raised = self.alarms(proto::AlarmAction::Get, 0, none).await?;
        let no_space = i32::from(proto::AlarmType::NoSpace);
        for alarm in raised.iter().filter(|alarm| alarm.alarm == no_space) {
            let (action, full) = (proto::AlarmAction::Deactivate, proto::AlarmType::NoSpace);
            self.alarms(action, alarm.member_id, full).await?;
        }
        Ok(())
    }

    async fn alarms(
        &self,
        action: proto::AlarmAction,
        member_id: u64,
        alarm: proto::AlarmType,
    ) -> Result<Vec<proto::AlarmMember>> {
        let message = proto::AlarmRequest { action: action.into(), member_id, alarm: alarm.into() };
        let answer: Answer<proto::AlarmResponse> =
            self.ask(path::ALARM, message, MAX_SMALL_ANSWER).await;
        answer.map(|answer| answer.alarms).map_err(|failure| failure.error.into())
    }
}

/// etcd's default `--quota-backend-bytes`.
const DEFAULT_QUOTA: u64 = 2 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_metrics_whole_writes_bound_the_syncs() {
        let syncs = SyncWatch::new(Duration::from_millis(10));
        assert_eq!(syncs.look("http://a", None), Syncs::default());
        for ms in 1..=100 {
            syncs.wrote(Duration::from_millis(ms));
        }
        let told = syncs.look("http://a", None);
        assert_eq!((told.p99, told.measured), (Some(Duration::from_millis(99)), false));
        assert_eq!(syncs.warning.get(), 1, "99 ms is slow");
        for _ in 0..REMEMBERED {
            syncs.wrote(Duration::from_millis(2));
        }
        assert_eq!(syncs.look("http://a", None).p99, Some(Duration::from_millis(2)));
        assert_eq!(syncs.warning.get(), 0, "it got better");
    }
}
