//! What a case works with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Capabilities, Capability, Fixture, Program};
use crate::runtime::{
    ContainerConfig, ContainerId, ContainerState, ContainerStatus, Exit, PullOptions, Runtime,
    SandboxConfig, SandboxId,
};

/// How long a case waits for what must come; only a broken backend lets it.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A backend in its place.
pub struct World {
    fixture: Arc<dyn Fixture>,
    capabilities: Capabilities,
    runtime: Option<Arc<dyn Runtime>>,
}

impl World {
    pub(super) async fn new(fixture: Arc<dyn Fixture>, capabilities: Capabilities) -> Self {
        let runtime = Some(fixture.open().await);
        Self { fixture, capabilities, runtime }
    }

    pub(super) fn fixture(&self) -> &dyn Fixture {
        &*self.fixture
    }

    pub(super) fn runtime(&self) -> &dyn Runtime {
        self.runtime.as_deref().unwrap()
    }

    pub(super) fn has(&self, capability: Capability) -> bool {
        self.capabilities.has(capability)
    }

    /// The agent crashes, and its successor opens the same place.
    pub(super) async fn restart(&mut self) {
        self.runtime = None;
        self.runtime = Some(self.fixture.open().await);
    }

    /// Nobody is there until the next [`restart`](Self::restart).
    pub(super) fn crash(&mut self) {
        self.runtime = None;
    }

    pub(super) fn pod(&self, name: &str) -> SandboxConfig {
        SandboxConfig::default()
            .name(name)
            .namespace("suite")
            .uid(format!("uid-{name}"))
            .labels([("pod", name)])
            .log_directory(self.fixture.scratch().join("logs").join(name))
    }

    pub(super) async fn sandbox(&self, name: &str) -> SandboxId {
        self.runtime().sandboxes().run(self.pod(name)).await.unwrap()
    }

    pub(super) fn config(&self, name: &str, program: &Program) -> ContainerConfig {
        self.fixture
            .program(program)
            .name(name)
            .labels([("container", name)])
            .log_path(PathBuf::from(name).join("0.log"))
    }

    pub(super) async fn create(&self, sandbox: &SandboxId, config: ContainerConfig) -> ContainerId {
        self.runtime().images().pull(&config.image, PullOptions::default()).await.unwrap();
        self.runtime().containers().create(sandbox, config).await.unwrap()
    }

    /// A container that was started.
    pub(super) async fn start(
        &self,
        sandbox: &SandboxId,
        name: &str,
        program: Program,
    ) -> ContainerId {
        let container = self.create(sandbox, self.config(name, &program)).await;
        self.runtime().containers().start(&container).await.unwrap();
        container
    }

    /// A container that has said `ready`.
    pub(super) async fn ready(
        &self,
        sandbox: &SandboxId,
        name: &str,
        program: Program,
    ) -> ContainerId {
        let container = self.start(sandbox, name, program).await;
        if self.capabilities.has(Capability::Logs) {
            self.log_with(&container, "ready").await;
        }
        container
    }

    pub(super) async fn status(&self, id: &ContainerId) -> ContainerStatus {
        self.runtime().containers().status(id).await.unwrap()
    }

    pub(super) async fn exit(&self, id: &ContainerId) -> Exit {
        let ended = async || {
            let status = self.status(id).await;
            (status.state() == ContainerState::Exited).then(|| status.exit.unwrap())
        };
        until(&format!("container {id} has ended"), ended).await
    }

    /// The container's log, once it holds `text`.
    pub(super) async fn log_with(&self, id: &ContainerId, text: &str) -> String {
        let path = self.status(id).await.log_path.expect("a container with a log path has a log");
        let holds = async || {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            log.contains(text).then_some(log)
        };
        until(&format!("{} holds {text:?}", path.display()), holds).await
    }

    /// The program as a command to run inside a container.
    pub(super) fn command(&self, program: &Program) -> Vec<String> {
        let config = self.fixture.program(program);
        config.command.into_iter().chain(config.args).collect()
    }
}

/// Looks until there is something.
pub(super) async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(found) => found,
        Err(_) => panic!("waited in vain until {what}"),
    }
}
