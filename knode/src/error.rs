//! The one error of this crate.

use std::path::PathBuf;
use std::time::Duration;

/// What an operation of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a runtime, a log or a prober could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such thing, or no longer.
    #[error("{kind} {id:?} not found")]
    NotFound {
        /// `sandbox`, `container` or `image`.
        kind: &'static str,
        /// The name that was asked for.
        id: String,
    },
    /// The name is taken by another one that has not been removed.
    #[error("{kind} {name:?} already exists, remove it or raise the attempt")]
    AlreadyExists {
        /// `sandbox` or `container`.
        kind: &'static str,
        /// The name that is taken.
        name: String,
    },
    /// The operation does not fit the state.
    #[error("{kind} {id:?} is {state}, not {needed}")]
    InvalidState {
        /// `sandbox` or `container`.
        kind: &'static str,
        /// Which one.
        id: String,
        /// The state it is in.
        state: String,
        /// The state the operation needs.
        needed: &'static str,
    },
    /// A configuration that this runtime cannot honor.
    #[error("{field}: {reason}")]
    InvalidConfig {
        /// The field, as `containers.mounts[0].container_path`.
        field: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A ConfigMap or Secret lacks a key that a pod asks for; the kubelet shows it as
    /// `CreateContainerConfigError`.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    KeyNotFound {
        /// The key.
        key: String,
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// What a pod mentions could not be read, and was never read before.
    #[error("{reason}")]
    Unavailable {
        /// Why, naming what.
        reason: String,
    },
    /// A volume could not be made ready; the kubelet shows it as `FailedMount`.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {source}")]
    Mount {
        /// The volume's name in the pod.
        volume: String,
        /// Why.
        source: Box<Error>,
    },
    /// A container's `postStart` or `preStop` failed. The message may quote what the container
    /// answered, so events say only [`POST_START_FAILED`](crate::hooks::POST_START_FAILED) and
    /// [`PRE_STOP_FAILED`](crate::hooks::PRE_STOP_FAILED).
    #[error("{message}")]
    Hook {
        /// Which hook of which container failed, and how, in upstream's words.
        message: String,
    },
    /// The image cannot be pulled; the kubelet shows it as `ErrImagePull`.
    #[error("failed to pull image {image:?}: {reason}")]
    ImagePull {
        /// The image.
        image: String,
        /// Why.
        reason: String,
    },
    /// The process could not be started; the kubelet shows it as `StartError`.
    #[error("failed to start container {container:?}: {message}")]
    StartFailed {
        /// The container's id.
        container: String,
        /// Why, in upstream's words.
        message: String,
    },
    /// It took too long.
    #[error("{what} timed out after {after:?}")]
    TimedOut {
        /// What did.
        what: String,
        /// The limit.
        after: Duration,
    },
    /// This backend cannot do that.
    #[error("{operation} is not supported by the {runtime} runtime")]
    Unsupported {
        /// The operation.
        operation: &'static str,
        /// The backend's name.
        runtime: &'static str,
    },
    /// A bounded resource is used up.
    #[error("no {what} left, all {limit} are in use")]
    Exhausted {
        /// What ran out.
        what: &'static str,
        /// How many there are.
        limit: u64,
    },
    /// A subscriber was too slow; list again.
    #[error("{count} events were lost, list again")]
    EventsLost {
        /// How many.
        count: u64,
    },
    /// A line that is not in CRI's log format.
    #[error("not a log line in CRI's format: {reason}")]
    MalformedLog {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The directory is in use by another runtime.
    #[error("{} is in use by another runtime, stop it or choose another", .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried: `read`, `create`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The backend failed in its own way.
    #[error("{what}")]
    Backend {
        /// What was tried.
        what: String,
        /// The backend's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// True if the thing does not exist, which the idempotent operations take for done.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
