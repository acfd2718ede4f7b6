//! Containers as processes.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::launch::{self, Launch};
use super::record::{
    self, CONTAINER, CONTROL, ContainerRecord, EXIT, ROOT, RUNNING, Running, SHIM_VARIABLE,
};
use super::shim::{FAILED, STARTED};
use super::state::{Container, Inner, Phase, State};
use super::{NAME, ProcessRuntime, blocking};
use crate::runtime::{
    ContainerConfig, ContainerEventKind, ContainerFilter, ContainerId, ContainerStatus,
    ContainerSummary, Containers, Exit, MAX_GRACE, Resources, SandboxId, SandboxState,
};
use crate::{Error, Result};

/// How long a shim may take to say whether the process runs.
const START_LIMIT: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };
/// How long a shim may take beyond the grace period before it is taken for stuck and killed.
const STOP_SLACK: Duration = Duration::from_secs(10);
/// A shim says one short line; more is not read.
const MAX_REPORT_BYTES: usize = 4096;

#[async_trait]
impl Containers for ProcessRuntime {
    async fn create(&self, sandbox: &SandboxId, config: ContainerConfig) -> Result<ContainerId> {
        let (inner, sandbox) = (self.inner.clone(), sandbox.clone());
        blocking(move || inner.create_container(sandbox, config)).await
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        let (inner, id) = (self.inner.clone(), id.clone());
        blocking(move || inner.start_container(&id)).await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        self.stop_container(id, grace).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        self.stop_container(id, Duration::ZERO).await?;
        let (inner, id) = (self.inner.clone(), id.clone());
        blocking(move || inner.remove_container(&id)).await
    }

    async fn status(&self, id: &ContainerId) -> Result<ContainerStatus> {
        let container = self.inner.known_container(id)?;
        let record = &container.record;
        let phase = container.phase.borrow().clone();
        let mut status = ContainerStatus::new(summary(&container), record.config.image.clone())
            .log_path(record.log_path.clone())
            .mounts(record.config.mounts.clone());
        match phase {
            Phase::Running(running) => status.started_at = Some(running.started_at),
            Phase::Exited { started_at, exit } => {
                (status.started_at, status.exit) = (started_at, Some(exit));
            }
            Phase::Created | Phase::Starting => {}
        }
        Ok(status)
    }

    async fn list(&self, filter: ContainerFilter) -> Result<Vec<ContainerSummary>> {
        Ok(self.matching(&filter).iter().map(|container| summary(container)).collect())
    }

    async fn update(&self, id: &ContainerId, _resources: Resources) -> Result<()> {
        self.inner.known_container(id)?;
        Err(Error::Unsupported { operation: "updating resources", runtime: NAME })
    }

    async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
        let container = self.inner.known_container(id)?;
        if !matches!(*container.phase.borrow(), Phase::Running(_)) {
            return Err(invalid_state(&container, "Running"));
        }
        tell(&container, "reopen\n")
    }
}

fn summary(container: &Container) -> ContainerSummary {
    let record = &container.record;
    let (id, sandbox) = (container.id.clone(), record.sandbox.clone());
    ContainerSummary::new(id, sandbox, &record.config, container.state(), record.created_at)
}

pub(super) fn invalid_state(container: &Container, needed: &'static str) -> Error {
    let state = format!("{:?}", container.state());
    Error::InvalidState { kind: "container", id: container.id.to_string(), state, needed }
}

impl ProcessRuntime {
    pub(super) fn matching(&self, filter: &ContainerFilter) -> Vec<Arc<Container>> {
        let state = self.inner.state.lock();
        let matches = |container: &&Arc<Container>| {
            let record = &container.record;
            let labels = &record.config.labels;
            filter.matches(&container.id, &record.sandbox, container.state(), labels)
        };
        state.containers.values().filter(matches).cloned().collect()
    }

    /// The shim keeps the grace period, so that it holds whatever becomes of the caller.
    pub(super) async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let grace = grace.min(MAX_GRACE);
        let Some(container) = self.inner.container(id) else { return Ok(()) };
        let mut phase = container.phase.subscribe();
        // The sender lives in the container, which is held.
        let _ = phase.wait_for(|phase| !matches!(phase, Phase::Starting)).await;
        if !matches!(*phase.borrow(), Phase::Running(_)) {
            return Ok(());
        }
        let grace_ms = grace.as_millis();
        // A shim that is gone does not listen; the watcher is about to notice.
        let _ = tell(&container, &format!("stop {} {grace_ms}\n", Signal::TERM.as_raw()));
        let ended = |phase: &Phase| !matches!(phase, Phase::Running(_));
        let patience = grace.saturating_add(STOP_SLACK);
        if tokio::time::timeout(patience, phase.wait_for(ended)).await.is_ok() {
            return Ok(());
        }
        let stuck = container.clone();
        blocking(move || {
            stuck.kill_everything();
            Ok(())
        })
        .await?;
        match tokio::time::timeout(STOP_SLACK, phase.wait_for(ended)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::TimedOut {
                what: format!("killing container {id}"),
                after: patience + STOP_SLACK,
            }),
        }
    }
}

/// Sends a line to a container's shim, whole or not at all.
fn tell(container: &Container, line: &str) -> Result<()> {
    let path = container.dir.join(CONTROL);
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let tell = || -> std::io::Result<()> {
        let pipe = rustix::fs::open(&path, flags, Mode::empty())?;
        fs::File::from(pipe).write_all(line.as_bytes())
    };
    tell().map_err(Error::io("write", &path))
}

impl Inner {
    fn create_container(
        self: &Arc<Self>,
        sandbox: SandboxId,
        config: ContainerConfig,
    ) -> Result<ContainerId> {
        let id = ContainerId::from(self.new_id());
        let dir = self.container_dir(&id);
        let record = self.compute_record(&id, &dir.join(ROOT), sandbox, config)?;
        let links = launch::plan_links(&dir.join(ROOT), &record.config.mounts)?;
        let container = Container::new(id.clone(), dir.clone(), record, Phase::Created);
        let made = make_dir(&container, &links).and_then(|()| self.insert_container(&container));
        if let Err(error) = made {
            let _ = record::remove_dir(&dir);
            return Err(error);
        }
        self.emit(&container, ContainerEventKind::Created);
        Ok(id)
    }

    fn compute_record(
        &self,
        id: &ContainerId,
        root: &Path,
        sandbox: SandboxId,
        config: ContainerConfig,
    ) -> Result<ContainerRecord> {
        let pod = {
            let state = self.state.lock();
            let missing = || Error::NotFound { kind: "sandbox", id: sandbox.to_string() };
            state.sandboxes.get(&sandbox).ok_or_else(missing)?.clone()
        };
        let log_path = match &pod.config.log_directory {
            Some(dir) if !config.log_path.as_os_str().is_empty() => {
                Some(dir.join(&config.log_path))
            }
            _ => None,
        };
        let hostname = match pod.config.hostname.is_empty() {
            true => &pod.config.name,
            false => &pod.config.hostname,
        };
        let own_user = rustix::process::geteuid();
        let launch = Launch {
            id: id.as_str(),
            root,
            config: &config,
            hostname,
            pod_ip: pod.ips.first().map(ToString::to_string),
            log_path: log_path.clone(),
            is_root: own_user.is_root(),
            own_user: own_user.as_raw(),
        };
        let spec = launch::compute_spec(&self.options, launch)?;
        Ok(ContainerRecord { sandbox, config, created_at: self.now(), log_path, spec })
    }

    /// Makes a container known, if its sandbox still takes it and its name is free.
    fn insert_container(&self, container: &Arc<Container>) -> Result<()> {
        let mut state = self.state.lock();
        let record = &container.record;
        self.check_ready(&state, &record.sandbox)?;
        let same = |other: &Arc<Container>| {
            other.record.sandbox == record.sandbox
                && other.record.config.name == record.config.name
                && other.record.config.attempt == record.config.attempt
        };
        if state.containers.values().any(same) {
            let name = format!("{}_{}", record.config.name, record.config.attempt);
            return Err(Error::AlreadyExists { kind: "container", name });
        }
        state.containers.insert(container.id.clone(), container.clone());
        Ok(())
    }

    fn check_ready(&self, state: &State, sandbox: &SandboxId) -> Result<()> {
        let id = sandbox.to_string();
        match state.sandboxes.get(sandbox) {
            None => Err(Error::NotFound { kind: "sandbox", id }),
            Some(pod) if pod.state != SandboxState::Ready => {
                let state = format!("{:?}", pod.state);
                Err(Error::InvalidState { kind: "sandbox", id, state, needed: "Ready" })
            }
            Some(_) => Ok(()),
        }
    }

    fn start_container(self: &Arc<Self>, id: &ContainerId) -> Result<()> {
        let container = self.known_container(id)?;
        let claimed = container.phase.send_if_modified(|phase| {
            let free = matches!(phase, Phase::Created);
            if free {
                *phase = Phase::Starting;
            }
            free
        });
        if !claimed {
            return Err(invalid_state(&container, "Created"));
        }
        // Looked at after the claim: a sandbox that is stopped from here on waits for this start.
        if let Err(error) = self.check_ready(&self.state.lock(), &container.record.sandbox) {
            container.phase.send_replace(Phase::Created);
            return Err(error);
        }
        match self.launch(&container) {
            Ok((running, shim)) => {
                container.phase.send_replace(Phase::Running(running));
                self.emit(&container, ContainerEventKind::Started);
                self.watch(&container, shim);
                Ok(())
            }
            Err(message) => {
                container.kill_everything();
                let exit = match record::read_exit(&container.dir) {
                    Ok(Some(exit)) => exit,
                    _ => Exit::start_error(&message, self.now()),
                };
                let written = record::write(&container.dir.join(EXIT), &exit);
                container.phase.send_replace(Phase::Exited { started_at: None, exit });
                self.emit(&container, ContainerEventKind::Stopped);
                written?;
                Err(Error::StartFailed { container: id.to_string(), message })
            }
        }
    }

    fn launch(&self, container: &Container) -> Result<(Running, rustix::fd::OwnedFd), String> {
        let show = |error: Error| error.to_string();
        let dir = &container.dir;
        let working_dir = &container.record.spec.working_dir;
        fs::create_dir_all(working_dir).map_err(|e| format!("{}: {e}", working_dir.display()))?;
        mkfifoat(CWD, dir.join(CONTROL), Mode::RUSR | Mode::WUSR).map_err(|e| e.to_string())?;
        let path = match &self.options.shim_path {
            Some(path) => path.clone(),
            None => std::env::current_exe().map_err(|e| format!("no shim: {e}"))?,
        };
        let mut child = Command::new(&path)
            .env_clear()
            .env(SHIM_VARIABLE, dir)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot run the shim {}: {error}", path.display()))?;
        let report = read_report(&mut child);
        // A child that is not reaped keeps its number.
        let shim = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        match (report.trim_end(), shim) {
            (STARTED, Ok(shim)) => {
                let running = record::read::<Running>(&dir.join(RUNNING)).map_err(show)?;
                Ok((running.ok_or("the shim left no record")?, shim))
            }
            (report, _) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(match report.strip_prefix(FAILED) {
                    Some(message) => message.to_owned(),
                    None => format!("the shim {} did not answer", path.display()),
                })
            }
        }
    }

    fn remove_container(&self, id: &ContainerId) -> Result<()> {
        let Some(container) = self.container(id) else { return Ok(()) };
        // Commands that were run in it, and what escaped its shim's notice.
        container.kill_everything();
        record::remove_dir(&container.dir)?;
        if self.state.lock().containers.remove(id).is_some() {
            self.emit(&container, ContainerEventKind::Deleted);
        }
        Ok(())
    }
}

/// The line that a shim says once it knows how the start went; empty if it says none.
fn read_report(child: &mut Child) -> String {
    let Some(stdout) = child.stdout.take() else { return String::new() };
    let mut text = Vec::new();
    let mut buffer = [0; MAX_REPORT_BYTES];
    while text.last() != Some(&b'\n') && text.len() < MAX_REPORT_BYTES {
        let waited = poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&START_LIMIT));
        match waited.and_then(|_| rustix::io::read(&stdout, &mut buffer[..])) {
            Ok(0) | Err(_) => break,
            Ok(count) => text.extend_from_slice(&buffer[..count]),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Makes a container's directory: its root with a link per mount, and, last, its record.
fn make_dir(
    container: &Container,
    links: &[(std::path::PathBuf, std::path::PathBuf)],
) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    record::create_private_dir(&container.dir)?;
    let root = container.dir.join(ROOT);
    record::create_private_dir(&root)?;
    for (link, target) in links {
        if !target.exists() {
            fs::create_dir_all(target).map_err(Error::io("create", target))?;
        }
        let parent = link.parent().unwrap_or(&root);
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        std::os::unix::fs::symlink(target, link).map_err(Error::io("create", link))?;
    }
    let security = &container.record.config.security;
    let mode = if security.read_only_root { 0o500 } else { 0o700 };
    if let (Some(user), true) = (container.record.spec.user, rustix::process::geteuid().is_root()) {
        // Another user must reach its own directory through the private ones above it.
        std::os::unix::fs::chown(&root, Some(user), container.record.spec.group)
            .map_err(Error::io("give away", &root))?;
        open_path_to(&root)?;
    }
    fs::set_permissions(&root, fs::Permissions::from_mode(mode))
        .map_err(Error::io("protect", &root))?;
    record::write(&container.dir.join(CONTAINER), &container.record)
}

/// Lets others pass through, not look into, the runtime's directories above `root`.
fn open_path_to(root: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for dir in root.ancestors().skip(1).take(3) {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o711))
            .map_err(Error::io("protect", dir))?;
    }
    Ok(())
}
