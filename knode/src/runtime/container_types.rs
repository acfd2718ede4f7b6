//! What containers are made from and what they report.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::runtime::SandboxId;
use crate::runtime::chain::{chainable, id};
use crate::runtime::sandbox::holds;

id! {
    /// The name a runtime gave to a container.
    ContainerId
}

/// What a container is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ContainerConfig {
    /// Its name in the pod.
    pub name: String,
    /// How often it was restarted before; with the name it is unique in its sandbox.
    pub attempt: u32,
    /// The image.
    pub image: String,
    /// Replaces the image's entry point unless empty.
    pub command: Vec<String>,
    /// Replaces the image's arguments unless empty.
    pub args: Vec<String>,
    /// Where it starts; empty for the image's choice.
    pub working_dir: String,
    /// The environment, in order; a later value of a name wins.
    pub envs: Vec<(String, String)>,
    /// What of the host it sees.
    pub mounts: Vec<Mount>,
    /// Labels, by which containers are listed.
    pub labels: BTreeMap<String, String>,
    /// Annotations, kept as they are.
    pub annotations: BTreeMap<String, String>,
    /// The log file, relative to the sandbox's log directory: `<container>/<attempt>.log`.
    pub log_path: PathBuf,
    /// Keeps standard input open for attach.
    pub stdin: bool,
    /// Gives it a terminal; standard error then goes to standard output.
    pub tty: bool,
    /// As whom and with which rights it runs.
    pub security: SecurityContext,
    /// Its limits.
    pub resources: Resources,
}

chainable!(ContainerConfig {
    name: into String,
    attempt: into u32,
    image: into String,
    command: each String,
    args: each String,
    working_dir: into String,
    envs: pairs String,
    mounts: each Mount,
    labels: pairs String,
    annotations: pairs String,
    log_path: into PathBuf,
    stdin: into bool,
    tty: into bool,
    security: into SecurityContext,
    resources: into Resources,
});

/// A directory or file of the host inside a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mount {
    /// Where it is on the host, absolute.
    pub host_path: PathBuf,
    /// Where the container sees it, absolute.
    pub container_path: PathBuf,
    /// The container may only read it.
    pub read_only: bool,
}

impl Mount {
    /// The host's `host_path`, seen at `container_path`, writable.
    #[must_use]
    pub fn new(host_path: impl Into<PathBuf>, container_path: impl Into<PathBuf>) -> Self {
        let (host_path, container_path) = (host_path.into(), container_path.into());
        Self { host_path, container_path, read_only: false }
    }
}

chainable!(Mount { read_only: into bool });

/// As whom and with which rights a container runs.
/// <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/>
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SecurityContext {
    /// The user; `None` for the image's.
    pub run_as_user: Option<u32>,
    /// The primary group; `None` for the image's.
    pub run_as_group: Option<u32>,
    /// Further groups.
    pub supplemental_groups: Vec<u32>,
    /// The container's own files cannot be changed.
    pub read_only_root: bool,
    /// All rights of the host.
    pub privileged: bool,
    /// Children may not gain rights.
    pub no_new_privs: bool,
    /// Capabilities added to the default set, without `CAP_`.
    pub add_capabilities: Vec<String>,
    /// Capabilities taken from the default set, without `CAP_`.
    pub drop_capabilities: Vec<String>,
}

chainable!(SecurityContext {
    run_as_user: into Option<u32>,
    run_as_group: into Option<u32>,
    supplemental_groups: each u32,
    read_only_root: into bool,
    privileged: into bool,
    no_new_privs: into bool,
    add_capabilities: each String,
    drop_capabilities: each String,
});

/// Limits of a container; `None` means no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Resources {
    /// Relative weight of CPU time (cgroup v1 shares, 1024 a CPU).
    pub cpu_shares: Option<u64>,
    /// CPU time in a period, in microseconds.
    pub cpu_quota_us: Option<i64>,
    /// The period of the quota, in microseconds.
    pub cpu_period_us: Option<u64>,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// The kernel's eagerness to kill it when memory is short, −1000 to 1000.
    pub oom_score_adj: Option<i32>,
}

chainable!(Resources {
    cpu_shares: into Option<u64>,
    cpu_quota_us: into Option<i64>,
    cpu_period_us: into Option<u64>,
    memory_bytes: into Option<u64>,
    oom_score_adj: into Option<i32>,
});

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ContainerState {
    /// Not started yet.
    Created,
    /// Running.
    Running,
    /// Ended, or could not be started.
    Exited,
    /// The runtime cannot say.
    Unknown,
}

/// The `reason` of a container that ended well.
pub const REASON_COMPLETED: &str = "Completed";
/// The `reason` of a container that ended with another code than zero.
pub const REASON_ERROR: &str = "Error";
/// The `reason` of a container that the kernel killed for want of memory.
pub const REASON_OOM_KILLED: &str = "OOMKilled";
/// The `reason` of a container whose command could not be run.
pub const REASON_START_ERROR: &str = "StartError";
/// The exit code of a container whose command could not be run.
pub const START_ERROR_EXIT_CODE: i32 = 128;

/// A container in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerSummary {
    /// Its id.
    pub id: ContainerId,
    /// Its sandbox.
    pub sandbox: SandboxId,
    /// Its name in the pod.
    pub name: String,
    /// Its attempt.
    pub attempt: u32,
    /// The image it was made from.
    pub image: String,
    /// Its state.
    pub state: ContainerState,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

impl ContainerSummary {
    /// The summary of a container made from `config`.
    #[must_use]
    pub fn new(
        id: ContainerId,
        sandbox: SandboxId,
        config: &ContainerConfig,
        state: ContainerState,
        created_at: Timestamp,
    ) -> Self {
        Self {
            id,
            sandbox,
            name: config.name.clone(),
            attempt: config.attempt,
            image: config.image.clone(),
            state,
            created_at,
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
        }
    }
}

/// A container in full.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerStatus {
    /// What a list shows.
    pub summary: ContainerSummary,
    /// The image's identity.
    pub image_id: String,
    /// When it began to run.
    pub started_at: Option<Timestamp>,
    /// How it ended; `None` until it did.
    pub exit: Option<Exit>,
    /// Its log file on the host; `None` if it has none.
    pub log_path: Option<PathBuf>,
    /// Its mounts.
    pub mounts: Vec<Mount>,
}

impl ContainerStatus {
    /// The status of a container that has not started and has no log.
    #[must_use]
    pub fn new(summary: ContainerSummary, image_id: impl Into<String>) -> Self {
        Self {
            summary,
            image_id: image_id.into(),
            started_at: None,
            exit: None,
            log_path: None,
            mounts: Vec::new(),
        }
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> ContainerState {
        self.summary.state
    }
}

chainable!(ContainerStatus {
    started_at: into Option<Timestamp>,
    exit: into Option<Exit>,
    log_path: into Option<PathBuf>,
    mounts: each Mount,
});

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Exit {
    /// The exit code; 128 + n for signal n.
    pub code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`.
    pub reason: String,
    /// More words, often none.
    pub message: String,
    /// When it ended.
    pub finished_at: Timestamp,
}

impl Exit {
    /// Ended by itself with `code`.
    #[must_use]
    pub fn with_code(code: i32, finished_at: Timestamp) -> Self {
        let reason = if code == 0 { REASON_COMPLETED } else { REASON_ERROR }.to_owned();
        Self { code, signal: None, reason, message: String::new(), finished_at }
    }

    /// Ended by `signal`.
    #[must_use]
    pub fn with_signal(signal: i32, finished_at: Timestamp) -> Self {
        Self { signal: Some(signal), ..Self::with_code(128 + signal, finished_at) }
    }

    /// Could not be started, for the reason in `message`.
    #[must_use]
    pub fn start_error(message: impl Into<String>, finished_at: Timestamp) -> Self {
        let mut exit = Self::with_code(START_ERROR_EXIT_CODE, finished_at);
        exit.reason = REASON_START_ERROR.to_owned();
        exit.message = message.into();
        exit
    }
}

chainable!(Exit { reason: into String, message: into String });

/// Which containers to list. The default lists all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerFilter {
    /// Only this one.
    pub id: Option<ContainerId>,
    /// Only those of this sandbox.
    pub sandbox: Option<SandboxId>,
    /// Only those in this state.
    pub state: Option<ContainerState>,
    /// Only those with all of these labels.
    pub labels: BTreeMap<String, String>,
}

chainable!(ContainerFilter {
    id: into Option<ContainerId>,
    sandbox: into Option<SandboxId>,
    state: into Option<ContainerState>,
    labels: pairs String,
});

impl ContainerFilter {
    /// Whether a container passes.
    #[must_use]
    pub fn matches(
        &self,
        id: &ContainerId,
        sandbox: &SandboxId,
        state: ContainerState,
        labels: &BTreeMap<String, String>,
    ) -> bool {
        self.id.as_ref().is_none_or(|wanted| wanted == id)
            && self.sandbox.as_ref().is_none_or(|wanted| wanted == sandbox)
            && self.state.is_none_or(|wanted| wanted == state)
            && holds(labels, &self.labels)
    }
}
