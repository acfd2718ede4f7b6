//! What a backend may also have: statistics and events.

use std::fmt::Debug;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt as _};
use jiff::Timestamp;

use tokio::sync::broadcast::{self, error::RecvError};

use crate::runtime::chain::chainable;
use crate::runtime::{ContainerFilter, ContainerId, SandboxId};
use crate::{Error, Result};

/// What containers use.
#[cfg_attr(
    not(feature = "mock"),
    diagnostic::on_unimplemented(
        message = "`{Self}` has no container statistics",
        note = "implement `knode::runtime::Stats`"
    )
)]
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Stats: Debug + Send + Sync + 'static {
    /// The use of every running container that passes `filter`, in the order of their ids.
    ///
    /// **Contract**
    /// - `stats_report_running_containers`
    async fn list(&self, filter: ContainerFilter) -> Result<Vec<ContainerStats>>;
}

/// The use of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerStats {
    /// Whose.
    pub id: ContainerId,
    /// When it was read.
    pub at: Timestamp,
    /// CPU time since it started, in nanoseconds.
    pub cpu_usage_ns: u64,
    /// Resident memory, in bytes.
    pub memory_bytes: u64,
    /// Processes.
    pub processes: u64,
}

impl ContainerStats {
    /// Nothing used yet.
    #[must_use]
    pub fn new(id: ContainerId, at: Timestamp) -> Self {
        Self { id, at, cpu_usage_ns: 0, memory_bytes: 0, processes: 0 }
    }
}

chainable!(ContainerStats { cpu_usage_ns: into u64, memory_bytes: into u64, processes: into u64 });

/// A stream of what happens to containers, so that nobody need list each second.
/// <https://kubernetes.io/docs/tasks/administer-cluster/switch-to-evented-pleg/>
#[cfg_attr(
    not(feature = "mock"),
    diagnostic::on_unimplemented(
        message = "`{Self}` has no container events",
        note = "implement `knode::runtime::Events`"
    )
)]
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait Events: Debug + Send + Sync + 'static {
    /// What happens from now on, in order. A subscriber that is too slow gets
    /// [`EventsLost`](crate::Error::EventsLost) in its place in the stream, lists, and goes on.
    ///
    /// **Contract**
    /// - `events_tell_the_life_of_a_container`
    fn subscribe(&self) -> BoxStream<'static, Result<ContainerEvent>>;
}

/// What happened to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContainerEventKind {
    /// It was created.
    Created,
    /// It began to run.
    Started,
    /// It ended, or could not be started.
    Stopped,
    /// It was removed.
    Deleted,
}

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerEvent {
    /// To which.
    pub container: ContainerId,
    /// In which sandbox.
    pub sandbox: SandboxId,
    /// What.
    pub kind: ContainerEventKind,
    /// When.
    pub at: Timestamp,
}

impl ContainerEvent {
    /// `kind` happened to `container` in `sandbox`.
    #[must_use]
    pub fn new(
        container: ContainerId,
        sandbox: SandboxId,
        kind: ContainerEventKind,
        at: Timestamp,
    ) -> Self {
        Self { container, sandbox, kind, at }
    }
}

/// The stream over a bounded channel; what overflowed is an error in its place.
pub(crate) fn event_stream(
    receiver: broadcast::Receiver<ContainerEvent>,
) -> BoxStream<'static, Result<ContainerEvent>> {
    futures::stream::unfold(receiver, |mut receiver| async move {
        match receiver.recv().await {
            Ok(event) => Some((Ok(event), receiver)),
            Err(RecvError::Lagged(count)) => Some((Err(Error::EventsLost { count }), receiver)),
            Err(RecvError::Closed) => None,
        }
    })
    .boxed()
}
