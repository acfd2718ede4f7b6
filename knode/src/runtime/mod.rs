//! The seam between a node and what runs its containers.
//!
//! It is split as the [Container Runtime Interface][cri]
//! splits it, so that containerd and CRI-O fit behind it without loss: [`Sandboxes`],
//! [`Containers`], [`Images`] and [`Exec`] are what every backend has, [`Stats`] and [`Events`]
//! what it may have. [`Runtime`] holds them together. The log format is CRI's and part of the
//! contract: see [`crate::logs`].
//!
//! [cri]: https://kubernetes.io/docs/concepts/containers/cri/

pub(crate) mod chain;
mod container;
mod container_types;
mod exec;
mod forward;
mod image;
#[cfg(feature = "mock")]
mod mock;
mod observe;
mod sandbox;

use std::fmt::Debug;

use async_trait::async_trait;

pub use container::Containers;
pub use container_types::{
    ContainerConfig, ContainerFilter, ContainerId, ContainerState, ContainerStatus,
    ContainerSummary, Exit, Mount, REASON_COMPLETED, REASON_ERROR, REASON_OOM_KILLED,
    REASON_START_ERROR, Resources, START_ERROR_EXIT_CODE, SecurityContext,
};
pub use exec::{
    DEFAULT_EXEC_OUTPUT_BYTES, Exec, ExecOptions, ExecOutput, Session, StreamOptions, Streaming,
    TerminalSize,
};
pub use image::{FsUsage, Image, Images, PullOptions, RegistryAuth};
#[cfg(feature = "mock")]
pub use mock::MockRuntime;
pub(crate) use observe::event_stream;
pub use observe::{ContainerEvent, ContainerEventKind, ContainerStats, Events, Stats};
pub use sandbox::{
    DnsConfig, PortMapping, Protocol, SandboxConfig, SandboxFilter, SandboxId, SandboxState,
    SandboxStatus, SandboxSummary, Sandboxes,
};
#[cfg(feature = "mock")]
pub use {
    container::MockContainers, exec::MockExec, image::MockImages, observe::MockEvents,
    observe::MockStats, sandbox::MockSandboxes,
};

use crate::Result;

/// A longer grace period is taken for this one: seven weeks.
pub(crate) const MAX_GRACE: std::time::Duration = std::time::Duration::from_secs(49 * 24 * 3600);

/// What runs the containers of a node.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a container runtime",
    note = "implement `knode::runtime::Runtime`, or pass an `Arc` or `Box` of a type that does; \
            `knode::process::ProcessRuntime` and `knode::fake::FakeRuntime` are two"
)]
#[async_trait]
pub trait Runtime: Debug + Send + Sync + 'static {
    /// Its pod sandboxes.
    fn sandboxes(&self) -> &dyn Sandboxes;

    /// Its containers.
    fn containers(&self) -> &dyn Containers;

    /// Its images.
    fn images(&self) -> &dyn Images;

    /// Its commands inside containers.
    fn exec(&self) -> &dyn Exec;

    /// Its statistics, if it has any.
    fn stats(&self) -> Option<&dyn Stats>;

    /// Its events, if it has any; who has none is listed every second.
    fn events(&self) -> Option<&dyn Events>;

    /// Who it is.
    ///
    /// **Contract**
    /// - `version_names_the_runtime`
    async fn version(&self) -> Result<Version>;

    /// Whether it can run pods.
    ///
    /// **Contract**
    /// - `status_reports_a_ready_runtime`
    async fn status(&self) -> Result<RuntimeStatus>;
}

/// Who a runtime is; a Node shows it as `<name>://<version>`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// Its name, as `containerd`.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Version {
    /// The runtime `name` at `version`.
    #[must_use]
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into() }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.name, self.version)
    }
}

/// One half of a runtime's readiness.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeCondition {
    /// It is ready.
    pub ready: bool,
    /// Why not, in one word.
    pub reason: String,
    /// Why not, for people.
    pub message: String,
}

impl RuntimeCondition {
    /// Ready.
    #[must_use]
    pub fn ready() -> Self {
        Self { ready: true, ..Self::default() }
    }

    /// Not ready, and why.
    #[must_use]
    pub fn not_ready(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { ready: false, reason: reason.into(), message: message.into() }
    }
}

/// Whether a runtime can run pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeStatus {
    /// CRI's `RuntimeReady`.
    pub runtime: RuntimeCondition,
    /// CRI's `NetworkReady`.
    pub network: RuntimeCondition,
}

impl RuntimeStatus {
    /// A status of these two halves.
    #[must_use]
    pub fn new(runtime: RuntimeCondition, network: RuntimeCondition) -> Self {
        Self { runtime, network }
    }
}
