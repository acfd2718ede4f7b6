//! A `Runtime` from scratch: containers are functions of this program, found by image name.
//!
//! A container is a task; asking it to end is a message, killing it drops it where it waits. Pods
//! have addresses, behind which nothing listens, and logs. There are no commands inside
//! containers, no limits, and nothing outlives this process.

mod function;
mod state;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use kcore::clock::Clock;
use knode::logs::{LogWriter, Rotation};
use knode::runtime::{
    ContainerConfig, ContainerFilter, ContainerId, ContainerState, ContainerStatus,
    ContainerSummary, Containers, Events, Exec, ExecOptions, ExecOutput, Exit, FsUsage, Image,
    Images, PullOptions, Resources, Runtime, RuntimeCondition, RuntimeStatus, SandboxConfig,
    SandboxFilter, SandboxId, SandboxState, SandboxStatus, SandboxSummary, Sandboxes, Stats,
    Streaming, Version,
};
use knode::{Error, Result};

pub use function::{Call, Function};
use state::{Shared, no_sandbox, not_created};

/// The runtime's name.
const NAME: &str = "functions";
/// The exit code of a function that panicked: what a process that aborts has.
const PANICKED: i32 = 134;

/// Runs functions of this program as containers.
#[derive(Debug, Clone)]
pub struct FunctionRuntime {
    functions: Arc<BTreeMap<String, Function>>,
    state: Shared,
    clock: Clock,
}

impl FunctionRuntime {
    /// A runtime whose images are `functions`.
    pub fn new(
        clock: Clock,
        functions: impl IntoIterator<Item = (&'static str, Function)>,
    ) -> Self {
        let functions = functions.into_iter().map(|(image, it)| (image.to_owned(), it));
        Self { functions: Arc::new(functions.collect()), state: Shared::default(), clock }
    }

    fn unsupported<T>(&self, operation: &'static str) -> Result<T> {
        Err(Error::Unsupported { operation, runtime: NAME })
    }
}

#[async_trait]
impl Sandboxes for FunctionRuntime {
    async fn run(&self, config: SandboxConfig) -> Result<SandboxId> {
        self.state.lock().add_sandbox(config, &self.clock)
    }

    async fn stop(&self, id: &SandboxId) -> Result<()> {
        let mut state = self.state.lock();
        if let Some(sandbox) = state.sandboxes.get_mut(id) {
            sandbox.status.summary.state = SandboxState::NotReady;
        }
        for container in state.containers_of(id) {
            state.kill(&container, &self.clock);
        }
        Ok(())
    }

    async fn remove(&self, id: &SandboxId) -> Result<()> {
        let mut state = self.state.lock();
        state.sandboxes.remove(id);
        for container in state.containers_of(id) {
            state.containers.remove(&container);
        }
        Ok(())
    }

    async fn status(&self, id: &SandboxId) -> Result<SandboxStatus> {
        let state = self.state.lock();
        Ok(state.sandboxes.get(id).ok_or_else(|| no_sandbox(id))?.status.clone())
    }

    async fn list(&self, filter: SandboxFilter) -> Result<Vec<SandboxSummary>> {
        let state = self.state.lock();
        let all = state.sandboxes.values().map(|sandbox| &sandbox.status.summary);
        Ok(all.filter(|it| filter.matches(&it.id, it.state, &it.labels)).cloned().collect())
    }
}

#[async_trait]
impl Containers for FunctionRuntime {
    async fn create(&self, sandbox: &SandboxId, config: ContainerConfig) -> Result<ContainerId> {
        if !self.functions.contains_key(&config.image) {
            return Err(Error::NotFound { kind: "image", id: config.image });
        }
        self.state.lock().add_container(sandbox, config, &self.clock)
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        let mut state = self.state.lock();
        let container = state.container(id)?;
        if container.status.state() != ContainerState::Created {
            return Err(not_created(container));
        }
        state.ready(&container.status.summary.sandbox)?;
        if let Some(path) = &container.status.log_path {
            *container.log.lock() = Some(LogWriter::open(path, Rotation::default())?);
        }
        let Some(function) = self.functions.get(&container.config.image) else {
            return Err(Error::NotFound { kind: "image", id: container.config.image.clone() });
        };
        let call = Call {
            args: container.config.args.clone(),
            env: container.config.envs.iter().cloned().collect(),
            asked: container.asked.subscribe(),
            log: Arc::clone(&container.log),
            clock: self.clock.clone(),
        };
        let function = function.call(call);
        // Weak, so that dropping the runtime drops what runs on it.
        let (shared, clock) = (Arc::downgrade(&self.state), self.clock.clone());
        let name = id.clone();
        let task = tokio::spawn(async move {
            let code = AssertUnwindSafe(function).catch_unwind().await.unwrap_or(PANICKED);
            if let Some(state) = shared.upgrade() {
                state.lock().end(&name, Exit::with_code(code, clock.now()));
            }
        });
        // It was there a moment ago, under this lock.
        if let Some(container) = state.containers.get_mut(id) {
            container.status.summary.state = ContainerState::Running;
            container.status.started_at = Some(self.clock.now());
            container.task = Some(task.abort_handle());
        }
        Ok(())
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let mut ended = {
            let mut state = self.state.lock();
            let Ok(container) = state.container(id) else { return Ok(()) };
            if container.status.state() != ContainerState::Running {
                return Ok(());
            }
            if grace.is_zero() {
                state.kill(id, &self.clock);
                return Ok(());
            }
            container.asked.send_replace(true);
            container.ended.subscribe()
        };
        // A task of its own: who asked may be gone before the grace period is over.
        let (shared, clock, name) = (Arc::clone(&self.state), self.clock.clone(), id.clone());
        let mut watched = ended.clone();
        tokio::spawn(async move {
            let in_time = tokio::time::timeout(grace, watched.wait_for(|ended| *ended)).await;
            if in_time.is_err() {
                shared.lock().kill(&name, &clock);
            }
        });
        // An error says that it was removed, and with that it ended.
        let _ = ended.wait_for(|ended| *ended).await;
        Ok(())
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        self.state.lock().containers.remove(id);
        Ok(())
    }

    async fn status(&self, id: &ContainerId) -> Result<ContainerStatus> {
        Ok(self.state.lock().container(id)?.status.clone())
    }

    async fn list(&self, filter: ContainerFilter) -> Result<Vec<ContainerSummary>> {
        let state = self.state.lock();
        let all = state.containers.values().map(|container| &container.status.summary);
        let matches =
            |it: &&ContainerSummary| filter.matches(&it.id, &it.sandbox, it.state, &it.labels);
        Ok(all.filter(matches).cloned().collect())
    }

    async fn update(&self, _id: &ContainerId, _resources: Resources) -> Result<()> {
        self.unsupported("changing the limits of a container")
    }

    async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
        let state = self.state.lock();
        match &mut *state.container(id)?.log.lock() {
            Some(log) => log.reopen(),
            None => Ok(()),
        }
    }
}

/// Every function is an image, and none can be removed.
#[async_trait]
impl Images for FunctionRuntime {
    async fn pull(&self, image: &str, _options: PullOptions) -> Result<String> {
        if self.functions.contains_key(image) {
            return Ok(image.to_owned());
        }
        let known = self.functions.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let reason = format!("no such function, known are {known}");
        Err(Error::ImagePull { image: image.to_owned(), reason })
    }

    async fn status(&self, image: &str) -> Result<Option<Image>> {
        Ok(self.functions.contains_key(image).then(|| Image::new(image, image).pinned(true)))
    }

    async fn list(&self) -> Result<Vec<Image>> {
        Ok(self.functions.keys().map(|name| Image::new(name, name).pinned(true)).collect())
    }

    async fn remove(&self, _image: &str) -> Result<()> {
        Ok(())
    }

    /// They are part of this program's file.
    async fn fs_info(&self) -> Result<Vec<FsUsage>> {
        let what = || "finding this program's file".to_owned();
        let here = std::env::current_exe()
            .map_err(|error| Error::Backend { what: what(), source: error.into() })?;
        Ok(vec![FsUsage::new(here)])
    }
}

#[async_trait]
impl Exec for FunctionRuntime {
    async fn exec_sync(
        &self,
        _id: &ContainerId,
        _command: &[String],
        _options: ExecOptions,
    ) -> Result<ExecOutput> {
        self.unsupported("running a command in a container")
    }

    fn streaming(&self) -> Option<Box<dyn Streaming>> {
        None
    }
}

#[async_trait]
impl Runtime for FunctionRuntime {
    fn sandboxes(&self) -> &dyn Sandboxes {
        self
    }

    fn containers(&self) -> &dyn Containers {
        self
    }

    fn images(&self) -> &dyn Images {
        self
    }

    fn exec(&self) -> &dyn Exec {
        self
    }

    fn stats(&self) -> Option<&dyn Stats> {
        None
    }

    fn events(&self) -> Option<&dyn Events> {
        None
    }

    async fn version(&self) -> Result<Version> {
        Ok(Version::new(NAME, env!("CARGO_PKG_VERSION")))
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        Ok(RuntimeStatus::new(RuntimeCondition::ready(), RuntimeCondition::ready()))
    }
}
