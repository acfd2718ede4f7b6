//! Holds an election and runs what only the leader may do.

use std::future::Future;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::lease::LeaseHandle;
use super::{JITTER, LeaderConfig};
use crate::client::DynClient;
use crate::clock::Clock;
use crate::random::Random;
use crate::stop::StopToken;

/// How a time as leader, or the wait for it, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term<T> {
    /// The work ended, by itself or because it was told to stop. The lease is given up.
    Ended(T),
    /// The lease could not be renewed, or is another's: the work was stopped, and dropped if it
    /// did not end in time.
    Lost,
    /// The candidate was told to stop before it led.
    NeverLed,
}

/// A replica of a component of which only one may work.
#[derive(Debug, Clone)]
pub struct LeaderElector {
    client: DynClient,
    config: LeaderConfig,
    clock: Clock,
    random: Random,
}

impl LeaderElector {
    /// A candidate. The clock's time is written into the lease for others to read, and believed
    /// by nobody; `random` is drawn from for jitter.
    #[must_use]
    pub fn new(client: DynClient, config: LeaderConfig, clock: Clock, random: Random) -> Self {
        Self { client, config, clock, random }
    }

    /// Waits to be leader, then does `work`, for one term.
    ///
    /// The work is told to stop when `stop` is given, and the lease is renewed until it ended. If
    /// the lease cannot be renewed, the work is told to stop [`STOP_MARGIN`](super::STOP_MARGIN)
    /// before the renew deadline and dropped at the deadline, counted from the beginning of the
    /// last renewal that succeeded (C9). Dropping this future drops the work; the lease then ends
    /// by itself.
    ///
    /// # Panics
    /// If the work does.
    pub async fn run<T, F, Fut>(&self, stop: &StopToken, work: F) -> Term<T>
    where
        T: Send + 'static,
        F: FnOnce(StopToken) -> Fut,
        Fut: Future<Output = T> + Send + 'static,
    {
        let client = DynClient::clone(&self.client);
        let mut lease = LeaseHandle::new(client, self.config.clone(), self.clock.clone());
        let renewed = crate::select! {
            () = stop.stopped() => return Term::NeverLed,
            renewed = self.acquire(&mut lease) => renewed,
        };
        tracing::info!(lease = self.config.name, identity = self.config.identity, "leading");
        let told = StopToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(work(told.clone()));
        self.lead(stop, &told, &mut lease, &mut tasks, renewed).await
    }

    async fn acquire(&self, lease: &mut LeaseHandle) -> Instant {
        loop {
            match lease.try_hold().await {
                Ok(Some(began)) => return began,
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(lease = self.config.name, %error, "cannot get the lease");
                }
            }
            tokio::time::sleep(self.random.jitter(self.config.retry_period, JITTER)).await;
        }
    }

    async fn lead<T: 'static>(
        &self,
        stop: &StopToken,
        told: &StopToken,
        lease: &mut LeaseHandle,
        tasks: &mut JoinSet<T>,
        mut renewed: Instant,
    ) -> Term<T> {
        loop {
            let deadline = renewed + self.config.renew_deadline;
            let give_up = deadline - self.config.stop_margin();
            crate::select! {
                ended = tasks.join_next() => return self.end(lease, ended).await,
                () = tokio::time::sleep_until(give_up) => {
                    tracing::warn!(lease = self.config.name, "cannot renew the lease in time");
                    return lose(told, tasks, deadline).await;
                }
                () = stop.stopped(), if !told.is_stopped() => told.stop(),
                again = self.renew(lease) => match again {
                    Some(again) => renewed = again,
                    None => {
                        tracing::warn!(lease = self.config.name, "another holds the lease");
                        return lose(told, tasks, Instant::now()).await;
                    }
                }
            }
        }
    }

    /// Waits and renews, until it succeeds or another holds the lease.
    async fn renew(&self, lease: &mut LeaseHandle) -> Option<Instant> {
        loop {
            tokio::time::sleep(self.config.retry_period).await;
            match lease.try_hold().await {
                Ok(Some(began)) => return Some(began),
                Ok(None) if lease.is_held_by_another() => return None,
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(lease = self.config.name, %error, "cannot renew the lease");
                }
            }
        }
    }

    async fn end<T>(
        &self,
        lease: &mut LeaseHandle,
        ended: Option<Result<T, tokio::task::JoinError>>,
    ) -> Term<T> {
        let released = tokio::time::timeout(self.config.retry_period, lease.release()).await;
        if !matches!(released, Ok(Ok(()))) {
            tracing::debug!(lease = self.config.name, "the lease ends by itself");
        }
        match ended {
            Some(Ok(output)) => Term::Ended(output),
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            _ => Term::Lost,
        }
    }
}

/// Tells the work to stop, and drops it at `deadline`. Returns when nothing of it works on.
async fn lose<T: 'static>(told: &StopToken, tasks: &mut JoinSet<T>, deadline: Instant) -> Term<T> {
    told.stop();
    let ended = tokio::time::timeout_at(deadline, tasks.join_next()).await;
    if let Ok(Some(Err(error))) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
    tasks.shutdown().await;
    Term::Lost
}
