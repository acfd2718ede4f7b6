//! Leases of an etcd cluster.

use std::time::Duration;

use async_trait::async_trait;
use http::uri::PathAndQuery;
use tokio::time::{Instant, timeout_at};
use tonic_prost::ProstCodec;

use super::super::convert::{lease as named, lease_id};
use super::super::proto::{self, path};
use super::failure::{Failure, Kind};
use super::members::Safety;
use super::refusal::About;
use super::{Answer, EtcdStore, MAX_SMALL_ANSWER, MAX_TXN_ANSWER, Shared};
use crate::{Error, LeaseId, LeaseStatus, Leases, Result};

/// etcd's longest time to live, in seconds.
const MAX_TTL: u64 = 9_000_000_000;

/// The most tries to renew a lease.
const MAX_RENEWALS: u32 = 16;

/// The pause between them.
const RENEWAL_PAUSE: Duration = Duration::from_millis(50);

/// Seconds as etcd counts them: whole, and none too few.
fn seconds(ttl: Duration) -> i64 {
    let whole = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0));
    i64::try_from(whole.clamp(1, MAX_TTL)).unwrap_or(i64::MAX)
}

fn duration(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

impl Shared {
    /// Renews a lease by one member.
    async fn renew_once(&self, lease: LeaseId) -> Answer<Option<Duration>> {
        let (at, member) = self.members.current();
        let until = Instant::now() + self.options.attempt_timeout;
        let failed = |status| Failure::of(&member.url, status);
        self.members.authenticate(member, until).await?;
        let renewing = async {
            let mut grpc = tonic::client::Grpc::new(member.channel.clone());
            grpc.ready()
                .await
                .map_err(|error| failed(tonic::Status::from_error(Box::new(error))))?;
            let message = proto::LeaseKeepAliveRequest { id: lease_id(Some(lease)) };
            let request = self.members.request(tokio_stream::once(message));
            let codec: ProstCodec<_, proto::LeaseKeepAliveResponse> = ProstCodec::default();
            let path = PathAndQuery::from_static(path::LEASE_KEEP_ALIVE);
            let mut answers =
                grpc.streaming(request, path, codec).await.map_err(failed)?.into_inner();
            match answers.message().await.map_err(failed)? {
                Some(answer) if answer.ttl > 0 => Ok(Some(duration(answer.ttl))),
                Some(_) => Ok(None),
                None => Err(failed(tonic::Status::unavailable("the stream ended"))),
            }
        };
        let answer =
            timeout_at(until, renewing).await.unwrap_or_else(|_| Err(Failure::late(&member.url)));
        match answer.as_ref().map_err(|failure| failure.kind) {
            Ok(_) | Err(Kind::Refused(_)) => {}
            Err(Kind::Token) => self.members.forget_token(),
            Err(_) => self.members.turn_from(at),
        }
        answer
    }

    async fn time_to_live(&self, lease: LeaseId) -> Result<LeaseStatus> {
        let message = proto::LeaseTimeToLiveRequest { id: lease_id(Some(lease)), keys: true };
        let answer: Answer<proto::LeaseTimeToLiveResponse> =
            self.ask(path::LEASE_TIME_TO_LIVE, message, MAX_TXN_ANSWER).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => return Err(self.explain(failure, About::lease(lease)).await),
        };
        if answer.ttl < 0 {
            return Err(Error::LeaseNotFound { lease });
        }
        let mut keys = answer.keys;
        keys.sort_unstable();
        Ok(LeaseStatus {
            lease,
            granted: duration(answer.granted_ttl),
            remaining: duration(answer.ttl),
            keys,
        })
    }
}

#[async_trait]
impl Leases for EtcdStore {
    async fn grant(&self, ttl: Duration) -> Result<LeaseId> {
        let message = proto::LeaseGrantRequest { ttl: seconds(ttl), id: 0 };
        // A lease that was granted twice is one that nobody renews: it ends by itself.
        let answer: Answer<proto::LeaseGrantResponse> =
            self.shared.ask(path::LEASE_GRANT, message, MAX_SMALL_ANSWER).await;
        match answer {
            Ok(answer) => named(answer.id).ok_or_else(|| self.shared.nonsense()),
            Err(failure) => Err(self.shared.explain(failure, About::default()).await),
        }
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        let deadline = Instant::now() + self.shared.options.timeout;
        for attempt in 1.. {
            match self.shared.renew_once(lease).await {
                Ok(granted) => return granted.ok_or(Error::LeaseNotFound { lease }),
                Err(failure) => {
                    let refused = matches!(failure.kind, Kind::Refused(_));
                    if refused || attempt >= MAX_RENEWALS || Instant::now() >= deadline {
                        return Err(self.shared.explain(failure, About::lease(lease)).await);
                    }
                }
            }
            tokio::time::sleep_until(deadline.min(Instant::now() + RENEWAL_PAUSE)).await;
        }
        Err(self.shared.nonsense())
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        let message = proto::LeaseRevokeRequest { id: lease_id(Some(lease)) };
        let members = &self.shared.members;
        let answer: Answer<proto::LeaseRevokeResponse> =
            members.call(path::LEASE_REVOKE, message, MAX_SMALL_ANSWER, Safety::Once).await;
        match answer {
            Ok(_) => Ok(()),
            Err(failure) => Err(self.shared.explain(failure, About::lease(lease)).await),
        }
    }

    async fn time_to_live(&self, lease: LeaseId) -> Result<LeaseStatus> {
        self.shared.time_to_live(lease).await
    }

    async fn list(&self) -> Result<Vec<LeaseId>> {
        let message = proto::LeaseLeasesRequest {};
        let answer: Answer<proto::LeaseLeasesResponse> =
            self.shared.ask(path::LEASE_LEASES, message, MAX_TXN_ANSWER).await;
        match answer {
            Ok(answer) => {
                let mut leases: Vec<LeaseId> =
                    answer.leases.iter().filter_map(|lease| named(lease.id)).collect();
                leases.sort_unstable();
                Ok(leases)
            }
            Err(failure) => Err(self.shared.explain(failure, About::default()).await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_live_are_rounded_up_to_seconds() {
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_secs(60)), 60);
        assert_eq!(seconds(Duration::from_millis(60_001)), 61);
        assert_eq!(seconds(Duration::MAX), 9_000_000_000);
    }
}
