//! Starts a container: its image, its configuration, its process, its hook.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use kcore::backoff::BackoffPolicy;
use tokio::time::Instant;

use super::hub::Hub;
use super::pull;
use super::words::{chain, go_duration};
use super::worker::Worker;
use crate::env::{InvalidKeys, compute_command, compute_env};
use crate::hooks::run_hook;
use crate::pod::config::{MESSAGE_PATH, container_config};
use crate::pod::plan::Start;
use crate::pod::{ContainerParts, Member, Waiting, described, grace, member, uid};
use crate::probe::Target;
use crate::runtime::{ContainerId, Mount, SandboxId};
use crate::volume::ContainerMounts;
use crate::{Error, Result};

/// How long an image waits that could not be pulled.
/// <https://kubernetes.io/docs/concepts/containers/images/#imagepullbackoff>
pub const PULL_BACKOFF: BackoffPolicy =
    BackoffPolicy::new(Duration::from_secs(10), Duration::from_secs(300));

/// What keeps the paths of mounts good.
type Pins = Vec<OwnedFd>;

/// Why a container did not start.
pub(super) struct StartFailure {
    pub(super) waiting: Waiting,
    /// When to try again; `None` for the usual.
    pub(super) retry_in: Option<Duration>,
}

impl StartFailure {
    pub(super) fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { waiting: Waiting::new(reason, message), retry_in: None }
    }
}

/// How often pulling each image of a pod has failed in a row. Bounded by the pod's containers.
#[derive(Debug, Default)]
pub(super) struct Images {
    pub(super) failures: BTreeMap<String, (u32, Instant, String)>,
}

/// Starts a container, and tells what happens to it.
pub(super) async fn start_container(
    worker: &mut Worker,
    pod: &Arc<Pod>,
    start: Start,
) -> Result<(), StartFailure> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    let Some(member) = member(spec, &start.name) else { return Ok(()) };
    let observed = worker.record.observed();
    let Some(sandbox) = observed.ready_sandbox().map(|it| it.summary.id.clone()) else {
        return Ok(());
    };
    // What keeps the mounts' paths good is held until the container has started.
    let (id, _pins) = match &start.created {
        Some(id) => (id.clone(), Pins::new()),
        None => {
            let image = pull::ensure(worker, pod, &member).await?;
            create(worker, pod, &member, &sandbox, &start, image).await?
        }
    };
    let hub = Arc::clone(&worker.hub);
    let reference = worker.container_reference(&start.name);
    if let Err(error) = hub.runtime.containers().start(&id).await {
        let message = chain(&error);
        hub.recorder.warning(&reference, "Failed", format!("Error: {message}"));
        return Err(StartFailure {
            waiting: Waiting::new("RunContainerError", message),
            // How long it waits is decided by how often it has failed.
            retry_in: Some(Duration::ZERO),
        });
    }
    hub.recorder.normal(&reference, "Started", "Container started");
    post_start(worker, pod, &member, &id).await
}

async fn create(
    worker: &Worker,
    pod: &Arc<Pod>,
    member: &Member<'_>,
    sandbox: &SandboxId,
    start: &Start,
    image: String,
) -> Result<(ContainerId, Pins), StartFailure> {
    let reference = worker.container_reference(&start.name);
    let failed = |reason: &str, error: &Error| {
        let message = chain(error);
        worker.hub.recorder.warning(&reference, "Failed", format!("Error: {message}"));
        StartFailure::new(reason, message)
    };
    let parts = parts(worker, pod, member, start.attempt, image).await;
    let config = parts.and_then(|(parts, pins)| Ok((container_config(pod, member, parts)?, pins)));
    let (config, pins) = config.map_err(|error| failed("CreateContainerConfigError", &error))?;
    let created = worker.hub.runtime.containers().create(sandbox, config).await;
    let id = created.map_err(|error| failed("CreateContainerError", &error))?;
    worker.hub.recorder.normal(&reference, "Created", "Container created");
    Ok((id, pins))
}

/// Everything a container is made from that is not in its specification.
async fn parts(
    worker: &Worker,
    pod: &Arc<Pod>,
    member: &Member<'_>,
    attempt: u32,
    image: String,
) -> Result<(ContainerParts, Pins)> {
    let hub = &worker.hub;
    let container: &Container = &member.container;
    let sources = hub.sources.resolve(pod).await;
    let facts = hub.pod_facts(pod, &worker.record.observed());
    let volumes = hub.volumes.set_up(pod, &sources, &facts).await?;
    let env = compute_env(pod, container, &sources, &facts)?;
    for skipped in &env.skipped {
        let reference = worker.container_reference(&container.name);
        hub.recorder.warning(&reference, InvalidKeys::REASON, skipped.to_string());
    }
    let (command, args) = compute_command(container, &env.vars);
    let ContainerMounts { mut mounts, pins, .. } =
        hub.volumes.mounts(container, &volumes, &env.vars).await?;
    let message_path = message_file(hub, pod, container, attempt).await?;
    if let Some(path) = &message_path {
        let inner = container.termination_message_path.as_deref().unwrap_or(MESSAGE_PATH);
        mounts.push(Mount::new(path, inner));
    }
    let parts = ContainerParts {
        attempt,
        image,
        command,
        args,
        envs: env.vars,
        mounts,
        message_path,
        node_memory_bytes: hub.node.memory_bytes,
    };
    Ok((parts, pins))
}

/// Makes the file that a container leaves its message in.
async fn message_file(
    hub: &Hub,
    pod: &Pod,
    container: &Container,
    attempt: u32,
) -> Result<Option<PathBuf>> {
    let Some(root) = &hub.options.data_dir else { return Ok(None) };
    let folder = root.join("pods").join(uid(pod)).join("containers").join(&container.name);
    let path = folder.join(attempt.to_string());
    let made = path.clone();
    let work = tokio::task::spawn_blocking(move || {
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
        std::fs::create_dir_all(&folder)?;
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o666)
            .open(&made)?;
        // Whoever the container runs as may write to it, whatever this process's mask says.
        file.set_permissions(std::fs::Permissions::from_mode(0o666))
    });
    match work.await {
        Ok(Ok(())) => Ok(Some(path)),
        Ok(Err(error)) => Err(Error::io("create", path)(error)),
        Err(error) => Err(Error::Backend {
            what: "making a container's message file broke off".to_owned(),
            source: error.into(),
        }),
    }
}

/// Runs the hook that follows a start. A container whose hook fails is killed.
async fn post_start(
    worker: &Worker,
    pod: &Pod,
    member: &Member<'_>,
    id: &ContainerId,
) -> Result<(), StartFailure> {
    let lifecycle = member.container.lifecycle.as_ref();
    let Some(hook) = lifecycle.and_then(|lifecycle| lifecycle.post_start.as_ref()) else {
        return Ok(());
    };
    let hub = &worker.hub;
    let observed = worker.record.observed();
    let Some(address) = hub.address(pod, &observed) else { return Ok(()) };
    let target = Target::new(address, id, hub.runtime.exec());
    let Err(error) = run_hook(hook, pod, &member.container, target).await else { return Ok(()) };
    let reference = worker.container_reference(member.name());
    let message = format!("PostStartHook failed: {}", chain(&error));
    hub.recorder.warning(&reference, "FailedPostStartHook", message.as_str());
    let killing =
        format!("FailedPostStartHook: Container {} failed post start hook", member.name());
    hub.recorder.normal(&reference, "Killing", killing);
    if let Err(error) = hub.runtime.containers().stop(id, grace(pod)).await {
        tracing::warn!(pod = described(pod), %error, "a container cannot be stopped");
    }
    let mut failure = StartFailure::new("PostStartHookError", message);
    failure.retry_in = Some(Duration::ZERO);
    Err(failure)
}

/// How long a pull took, as its event says it.
pub(super) fn took(began: Instant) -> String {
    // Milliseconds are what people read.
    go_duration(Duration::from_millis(u64::try_from(began.elapsed().as_millis()).unwrap_or(0)))
}
