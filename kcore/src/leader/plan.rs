//! Decides what a candidate does about the lease it sees.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use tokio::time::Instant;

use super::LeaderConfig;

/// A lease as a candidate saw it, and when it saw it change.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// What the lease said.
    pub spec: LeaseSpec,
    /// When it was first seen to say so, by the candidate's own clock.
    pub at: Instant,
}

/// What a candidate does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is no lease: make one.
    Create,
    /// Nobody holds the lease, or its holder has not renewed it in time: take it.
    Take,
    /// It is this replica's already: renew it.
    Renew,
    /// Another holds it, no shorter than this.
    Wait(Duration),
}

impl Observation {
    /// Takes note of a lease. Its time starts anew when it says something else than before.
    #[must_use]
    pub fn next(before: Option<Self>, spec: &LeaseSpec, now: Instant) -> Self {
        match before {
            Some(before) if before.spec == *spec => before,
            _ => Self { spec: spec.clone(), at: now },
        }
    }
}

/// What a candidate does about what it sees (C9): it never believes another clock, so a lease is
/// over only when it was not seen to change for as long as it says, or as this replica thinks it
/// should say, whichever is longer.
pub(super) fn plan(seen: Option<&Observation>, config: &LeaderConfig, now: Instant) -> Step {
    let Some(Observation { spec, at }) = seen else { return Step::Create };
    match spec.holder_identity.as_deref().unwrap_or_default() {
        "" => Step::Take,
        holder if holder == config.identity => Step::Renew,
        _ => {
            let said = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
            let duration = Duration::from_secs(said.unwrap_or_default());
            let duration = duration.max(config.lease_duration);
            let gone = now.saturating_duration_since(*at);
            match duration.checked_sub(gone) {
                None | Some(Duration::ZERO) => Step::Take,
                Some(left) => Step::Wait(left),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_over_when_it_did_not_change_for_its_duration_c9() {
        let now = Instant::now();
        let config = LeaderConfig::new("ns", "lease", "me");
        let seen = |holder: &str, seconds| Observation {
            spec: LeaseSpec {
                holder_identity: Some(holder.into()),
                lease_duration_seconds: Some(seconds),
                ..LeaseSpec::default()
            },
            at: now,
        };
        let check = |seen: Option<Observation>, later, step| {
            assert_eq!(plan(seen.as_ref(), &config, now + Duration::from_secs(later)), step);
        };
        check(None, 0, Step::Create);
        check(Some(seen("", 1)), 0, Step::Take);
        check(Some(seen("me", 15)), 0, Step::Renew);
        check(Some(seen("other", 15)), 5, Step::Wait(Duration::from_secs(10)));
        check(Some(seen("other", 15)), 15, Step::Take);
        check(Some(seen("other", 60)), 59, Step::Wait(Duration::from_secs(1)));
        check(Some(seen("other", 1)), 14, Step::Wait(Duration::from_secs(1)));
        check(Some(seen("other", -3)), 15, Step::Take);
    }
}
