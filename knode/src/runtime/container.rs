//! The `Containers` half of the seam; its data is in [`super::container_types`].

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::Result;
use crate::runtime::{
    ContainerConfig, ContainerFilter, ContainerId, ContainerStatus, ContainerSummary, Resources,
    SandboxId,
};

/// The containers of a runtime.
///
/// Every operation is idempotent as CRI asks. A future that is dropped never loses anything: what
/// it had begun is either finished by the backend or undone by the next call.
#[cfg_attr(
    not(feature = "mock"),
    diagnostic::on_unimplemented(
        message = "`{Self}` is not a backend of containers",
        note = "implement `knode::runtime::Containers`, or pass an `Arc` or `Box` of one that does"
    )
)]
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Containers: Debug + Send + Sync + 'static {
    /// Creates a container in a ready sandbox, without starting it.
    ///
    /// Its image must be present ([`NotFound`](crate::Error::NotFound) otherwise). Fails with
    /// [`AlreadyExists`](crate::Error::AlreadyExists) while one of the same name and attempt in
    /// this sandbox has not been removed.
    ///
    /// **Contract**
    /// - `create_reports_a_created_container`
    /// - `create_refuses_a_stopped_or_unknown_sandbox`
    /// - `create_refuses_a_second_container_of_the_same_attempt`
    /// - `create_refuses_an_absent_image`
    async fn create(&self, sandbox: &SandboxId, config: ContainerConfig) -> Result<ContainerId>;

    /// Starts a created container and returns once it runs.
    ///
    /// A command that cannot be run is [`StartFailed`](crate::Error::StartFailed), and the
    /// container is then `Exited` with code 128 and the reason `StartError`.
    ///
    /// **Contract**
    /// - `start_runs_the_container`
    /// - `start_refuses_a_container_that_ran_or_is_unknown`
    /// - `start_of_a_missing_command_is_a_start_error`
    /// - `containers_see_their_environment_and_nothing_else`
    /// - `containers_see_their_mounts`
    /// - `logs_hold_stdout_and_stderr_in_cri_format`
    /// - `a_running_container_is_adopted_with_its_log`
    /// - `a_dropped_start_starts_or_can_be_repeated`
    async fn start(&self, id: &ContainerId) -> Result<()>;

    /// Asks the container to end (`SIGTERM`, or the image's stop signal), kills all of it when
    /// `grace` is over, and returns once it ended. Zero kills at once. Stopping an ended or
    /// unknown container is fine.
    ///
    /// **Contract**
    /// - `stop_asks_before_it_kills`
    /// - `stop_kills_what_ignores_the_request`
    /// - `stop_container_is_idempotent`
    /// - `an_adopted_container_can_be_stopped`
    /// - `a_dropped_stop_still_ends_the_container`
    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()>;

    /// Kills the container if it runs and removes it, except its log. Removing an unknown one is
    /// fine.
    ///
    /// **Contract**
    /// - `remove_kills_a_running_container`
    /// - `remove_container_is_idempotent`
    async fn remove(&self, id: &ContainerId) -> Result<()>;

    /// The container as it is now; [`NotFound`](crate::Error::NotFound) if there is none.
    ///
    /// **Contract**
    /// - `status_reports_exit_codes`
    /// - `status_of_an_unknown_container_is_not_found`
    /// - `an_exit_that_nobody_watched_is_reported`
    async fn status(&self, id: &ContainerId) -> Result<ContainerStatus>;

    /// The containers that pass `filter`, in any state, in the order of their ids.
    ///
    /// **Contract**
    /// - `list_containers_filters_by_id_sandbox_state_and_labels`
    async fn list(&self, filter: ContainerFilter) -> Result<Vec<ContainerSummary>>;

    /// Changes the limits of a running container; a backend without limits answers
    /// [`Unsupported`](crate::Error::Unsupported).
    ///
    /// **Contract**
    /// - `update_changes_the_resources_of_a_running_container`
    async fn update(&self, id: &ContainerId, resources: Resources) -> Result<()>;

    /// Opens the log path anew, after whoever rotates has moved the file away.
    ///
    /// **Contract**
    /// - `reopen_log_continues_in_a_new_file`
    async fn reopen_log(&self, id: &ContainerId) -> Result<()>;
}
