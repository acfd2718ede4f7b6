//! The bag of components.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use super::supervise::Supervised;
use super::{Component, Context, Health, HealthBoard, HealthReporter, Running, Stopped};
use crate::backoff::BackoffPolicy;
use crate::clock::Clock;
use crate::random::Random;
use crate::stop::StopToken;

/// How long all components together have to stop, unless told otherwise.
pub const STOP_GRACE: Duration = Duration::from_secs(30);

/// When a component that failed is started again, unless told otherwise: at most about once in
/// half a minute in the long run, soon after a failure that comes alone.
pub const RESTART_BACKOFF: BackoffPolicy =
    BackoffPolicy::new(Duration::from_millis(200), Duration::from_secs(30))
        .jitter(0.2)
        .reset_after(Duration::from_secs(120));

/// A cluster as a value: components that are started in order, started again when they fail, and
/// stopped in reverse order. It shares nothing with another distribution in the same process.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use kcore::component::{Context, Distribution, component_fn};
/// let running = Distribution::new()
///     .with(component_fn("ticker", |ctx: Context| async move {
///         ctx.stop().stopped().await;
///         Ok(())
///     }))
///     .start();
/// running.ready().await;
/// assert_eq!(running.health().to_string(), "[+]ticker ok\n");
/// assert!(running.stop().await.is_clean());
/// # }
/// ```
#[derive(Debug)]
pub struct Distribution {
    parts: Vec<(Arc<dyn Component>, HealthReporter)>,
    board: HealthBoard,
    clock: Clock,
    random: Random,
    restart: BackoffPolicy,
    grace: Duration,
}

impl Default for Distribution {
    fn default() -> Self {
        Self::new()
    }
}

impl Distribution {
    /// An empty bag with the machine's clock and unpredictable randomness.
    #[must_use]
    pub fn new() -> Self {
        Self {
            parts: Vec::new(),
            board: HealthBoard::default(),
            clock: Clock::system(),
            random: Random::from_entropy(),
            restart: RESTART_BACKOFF,
            grace: STOP_GRACE,
        }
    }

    /// Adds a component.
    #[must_use]
    pub fn with(mut self, component: impl Component) -> Self {
        let reporter = HealthReporter::new(component.name());
        self.board.put(reporter.clone());
        self.parts.push((Arc::new(component), reporter));
        self
    }

    /// The clock that components see.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The randomness that components' own is forked from, in their order.
    #[must_use]
    pub fn random(mut self, random: Random) -> Self {
        self.random = random;
        self
    }

    /// When a component that failed is started again.
    #[must_use]
    pub fn restart_backoff(mut self, policy: BackoffPolicy) -> Self {
        self.restart = policy;
        self
    }

    /// How long all components together have to stop.
    #[must_use]
    pub fn stop_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The health of all components, for whoever serves it.
    #[must_use]
    pub fn board(&self) -> HealthBoard {
        self.board.clone()
    }

    /// The health now.
    #[must_use]
    pub fn health(&self) -> Health {
        self.board.health()
    }

    /// Starts the components in order, each in a task of its own. None waits for another's
    /// readiness.
    #[must_use = "dropping it tells all components to stop"]
    pub fn start(self) -> Running {
        let mut running = Running::new(self.board, self.grace);
        for (component, reporter) in self.parts {
            let random = self.random.fork();
            let stop = StopToken::new();
            let ctx = Context::new(self.clock.clone(), random)
                .with_stop(stop.clone())
                .with_health(reporter);
            let name = component.name().to_owned();
            let supervised = Supervised { component, ctx, restart: self.restart };
            running.push(name, stop, tokio::spawn(supervised.run()));
        }
        running
    }

    /// Starts the components, waits for `shutdown`, such as a [`StopToken`], and stops them.
    ///
    /// Dropping the future tells all components to stop without waiting for them.
    pub async fn run(self, shutdown: impl IntoFuture<Output = ()>) -> Stopped {
        let running = self.start();
        shutdown.await;
        running.stop().await
    }
}
