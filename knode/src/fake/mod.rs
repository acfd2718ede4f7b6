//! Scripted containers in memory, for simulation and tests.
//!
//! Nothing runs: a container is a few hundred bytes and, if it is to end, an entry in its
//! runtime's timer set. There is no task and no thread; what is due is done by whoever looks next,
//! and an event stream sleeps until then. Under tokio's paused time it is deterministic.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! use std::time::Duration;
//! use knode::fake::{Behavior, FakeRuntime, Options};
//! use knode::runtime::{ContainerConfig, PullOptions, Runtime, SandboxConfig};
//!
//! let job = Behavior::default().exit_after(Duration::from_secs(3600)).exit_code(3);
//! let runtime = FakeRuntime::new(Options::default().image("job", job));
//! let pod = runtime.sandboxes().run(SandboxConfig::default().uid("1")).await.unwrap();
//! runtime.images().pull("job", PullOptions::default()).await.unwrap();
//! let config = ContainerConfig::default().name("job").image("job");
//! let container = runtime.containers().create(&pod, config).await.unwrap();
//! runtime.containers().start(&container).await.unwrap();
//! tokio::time::sleep(Duration::from_secs(3600)).await;
//! let status = runtime.containers().status(&container).await.unwrap();
//! assert_eq!(status.exit.unwrap().code, 3);
//! # }
//! ```

mod backend;
mod behavior;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcore::clock::Clock;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

pub use behavior::{Behavior, Command, OnRequest};

use crate::logs::{Entry, Stream, write_entry};
use crate::probe::{Outcome, ProbeSpec, Prober, Target, Verdict};
use crate::runtime::chain::chainable;
use crate::runtime::{ContainerConfig, ContainerId, ContainerState};
use crate::{Error, Result};

/// Says what containers do; closures over the config implement it.
pub trait Script: Send + Sync + 'static {
    /// What a container made from `config` does. Sharing one behavior among many keeps it cheap.
    fn behavior(&self, config: &ContainerConfig) -> Arc<Behavior>;
}

impl<F: Fn(&ContainerConfig) -> Arc<Behavior> + Send + Sync + 'static> Script for F {
    fn behavior(&self, config: &ContainerConfig) -> Arc<Behavior> {
        self(config)
    }
}

/// A behavior per image, and one for all others.
#[derive(Debug, Clone, Default)]
struct ByImage {
    images: BTreeMap<String, Arc<Behavior>>,
    other: Arc<Behavior>,
}

impl Script for ByImage {
    fn behavior(&self, config: &ContainerConfig) -> Arc<Behavior> {
        self.images.get(&config.image).unwrap_or(&self.other).clone()
    }
}

/// How a [`FakeRuntime`] works. The default runs every image until it is stopped. Clones share the
/// script, so a thousand nodes cost one.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// What containers do.
    pub script: Arc<dyn Script>,
    /// Images that cannot be pulled.
    pub absent: Arc<BTreeSet<String>>,
    /// How long a pull takes.
    pub pull_delay: Duration,
    /// How long making a sandbox takes.
    pub sandbox_delay: Duration,
    /// The first pod's address; the others follow.
    pub first_address: Ipv4Addr,
    /// The wall clock; `None` for one that starts at 2026-01-01.
    pub clock: Option<Clock>,
    by_image: ByImage,
}

impl Default for Options {
    fn default() -> Self {
        let by_image = ByImage::default();
        Self {
            script: Arc::new(by_image.clone()),
            absent: Arc::default(),
            pull_delay: Duration::ZERO,
            sandbox_delay: Duration::ZERO,
            first_address: Ipv4Addr::new(10, 244, 0, 1),
            clock: None,
            by_image,
        }
    }
}

impl Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("first_address", &self.first_address)
            .finish_non_exhaustive()
    }
}

chainable!(Options {
    pull_delay: into Duration,
    sandbox_delay: into Duration,
    first_address: into Ipv4Addr,
    clock: into Option<Clock>,
});

impl Options {
    /// Containers of `image` behave so.
    #[must_use]
    pub fn image(mut self, image: impl Into<String>, behavior: Behavior) -> Self {
        self.by_image.images.insert(image.into(), Arc::new(behavior));
        self.script = Arc::new(self.by_image.clone());
        self
    }

    /// A script decides instead of the images.
    #[must_use]
    pub fn script(mut self, script: impl Script) -> Self {
        self.script = Arc::new(script);
        self
    }

    /// `image` cannot be pulled.
    #[must_use]
    pub fn absent(mut self, image: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.absent).insert(image.into());
        self
    }
}

#[derive(Debug)]
struct Shared {
    options: Options,
    state: Mutex<state::State>,
}

/// A runtime whose containers follow a script; see the [module](self).
///
/// Clones are the same runtime: one that an agent drops and its successor is given lives on.
#[derive(Debug, Clone)]
pub struct FakeRuntime {
    shared: Arc<Shared>,
}

impl FakeRuntime {
    /// A runtime without pods.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let clock = options.clock.clone().unwrap_or_else(|| {
            // 2026-01-01T00:00:00Z is in the range of timestamps.
            let wall = jiff::Timestamp::from_second(1_767_225_600).expect("a valid time");
            Clock::starting_at(wall)
        });
        let state = Mutex::new(state::State::new(clock, options.first_address));
        Self { shared: Arc::new(Shared { options, state }) }
    }

    /// Ends a running container with `code`, as if by itself.
    ///
    /// # Errors
    /// [`NotFound`](Error::NotFound) or [`InvalidState`](Error::InvalidState) if it does not run.
    pub fn exit(&self, id: &ContainerId, code: i32) -> Result<()> {
        self.running(id)?;
        let mut state = self.state();
        if let Some(number) = state::number(id.as_str()) {
            state.plan_end(number, Instant::now(), code);
            state.advance();
        }
        Ok(())
    }

    /// From now on probes of a running container find this, whatever the script says.
    ///
    /// # Errors
    /// [`NotFound`](Error::NotFound) or [`InvalidState`](Error::InvalidState) if it does not run.
    pub fn set_healthy(&self, id: &ContainerId, healthy: bool) -> Result<()> {
        self.running(id)?;
        let mut state = self.state();
        let number = state::number(id.as_str());
        if let Some(container) = number.and_then(|number| state.containers.get_mut(&number)) {
            container.healthy = Some(healthy);
        }
        Ok(())
    }

    /// The log of a container that was started, in CRI's format; nothing is on disk.
    ///
    /// # Errors
    /// [`NotFound`](Error::NotFound) if there is no such container.
    pub fn log(&self, id: &ContainerId) -> Result<Vec<u8>> {
        let state = self.state();
        let container = state::number(id.as_str()).and_then(|number| state.containers.get(&number));
        let missing = || Error::NotFound { kind: "container", id: id.to_string() };
        let container = container.ok_or_else(missing)?;
        let mut log = Vec::new();
        if let Some(started) = container.started {
            for line in &container.behavior.log {
                let (at, content) = (state.clock.at(started), line.as_bytes());
                write_entry(
                    &mut log,
                    Entry { at, stream: Stream::Stdout, partial: false, content },
                );
            }
        }
        Ok(log)
    }

    fn state(&self) -> MutexGuard<'_, state::State> {
        let mut state = self.shared.state.lock();
        state.advance();
        state
    }

    fn running(&self, id: &ContainerId) -> Result<Arc<Behavior>> {
        let state = self.state();
        let found = state::number(id.as_str()).and_then(|number| state.containers.get(&number));
        let missing = || Error::NotFound { kind: "container", id: id.to_string() };
        let found = found.ok_or_else(missing)?;
        match found.state() {
            ContainerState::Running => Ok(found.behavior.clone()),
            other => Err(Error::InvalidState {
                kind: "container",
                id: id.to_string(),
                state: format!("{other:?}"),
                needed: "Running",
            }),
        }
    }
}

/// Probes find what the script says, without a network.
#[async_trait]
impl Prober for FakeRuntime {
    async fn probe(&self, _spec: &ProbeSpec, target: Target<'_>) -> Outcome {
        let state = self.state();
        let number = state::number(target.container.as_str());
        let container = number.and_then(|number| state.containers.get(&number));
        let Some((container, started)) = container.and_then(|c| Some((c, c.started?))) else {
            return Outcome::new(Verdict::Failure, "the container does not run");
        };
        let ran = Instant::now().saturating_duration_since(started);
        let behavior = &container.behavior;
        let scripted = ran >= behavior.healthy_after
            && behavior.unhealthy_after.is_none_or(|after| ran < after);
        if container.state() == ContainerState::Running && container.healthy.unwrap_or(scripted) {
            Outcome::new(Verdict::Success, "")
        } else {
            Outcome::new(Verdict::Failure, "the script says that it is unhealthy")
        }
    }
}
