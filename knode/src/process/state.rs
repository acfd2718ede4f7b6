//! What the runtime knows, and what it finds when it is opened.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;

use super::address::AddressPool;
use super::options::Options;
use super::procfs::{self, Stat};
use super::record::{
    self, CONTAINER, CONTAINER_VARIABLE, CONTROL, ContainerRecord, EXIT, ProcessId, REMOVED_PREFIX,
    RUNNING, Running, SANDBOX, SHIM_VARIABLE, SandboxRecord,
};
use crate::runtime::{
    ContainerEvent, ContainerEventKind, ContainerId, ContainerState, Exit, SandboxId,
};
use crate::{Error, Result};

/// Events that a subscriber may lag behind.
const EVENT_CAPACITY: usize = 4096;
/// How often the directory's lock is tried, and the pause between.
const LOCK_ATTEMPTS: u32 = 20;
const LOCK_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
/// How often a shim is looked at on a kernel without handles for processes.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Where a container is in its life.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    Created,
    /// Its shim has been asked for, and has not said yet how it went.
    Starting,
    Running(Running),
    Exited {
        started_at: Option<Timestamp>,
        exit: Exit,
    },
}

impl Phase {
    pub(super) fn state(&self) -> ContainerState {
        match self {
            Self::Created | Self::Starting => ContainerState::Created,
            Self::Running(_) => ContainerState::Running,
            Self::Exited { .. } => ContainerState::Exited,
        }
    }
}

#[derive(Debug)]
pub(super) struct Container {
    pub(super) id: ContainerId,
    pub(super) dir: PathBuf,
    pub(super) record: ContainerRecord,
    pub(super) phase: watch::Sender<Phase>,
    /// Commands were run in it, which its shim does not know.
    pub(super) has_execs: std::sync::atomic::AtomicBool,
    watcher: Mutex<Option<AbortHandle>>,
}

impl Container {
    pub(super) fn new(
        id: ContainerId,
        dir: PathBuf,
        record: ContainerRecord,
        phase: Phase,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            dir,
            record,
            phase: watch::Sender::new(phase),
            has_execs: false.into(),
            watcher: Mutex::new(None),
        })
    }

    pub(super) fn state(&self) -> ContainerState {
        self.phase.borrow().state()
    }

    /// Kills every process of it, the shim included.
    pub(super) fn kill_everything(&self) {
        kill_everything(&self.dir, self.id.as_str());
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) sandboxes: BTreeMap<SandboxId, SandboxRecord>,
    pub(super) containers: BTreeMap<ContainerId, Arc<Container>>,
    pub(super) addresses: AddressPool,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) root: PathBuf,
    pub(super) options: Options,
    pub(super) handle: Handle,
    pub(super) state: Mutex<State>,
    pub(super) events: broadcast::Sender<ContainerEvent>,
    lock: File,
}

impl Inner {
    pub(super) fn open(root: &Path, options: Options, handle: Handle) -> Result<Arc<Self>> {
        record::create_private_dir(root)?;
        let root = fs::canonicalize(root).map_err(Error::io("open", root))?;
        for kind in ["sandboxes", "containers"] {
            record::create_private_dir(&root.join(kind))?;
        }
        let lock = File::create(root.join("lock")).map_err(Error::io("open", &root))?;
        take_lock(&lock).map_err(|_| Error::InUse { path: root.clone() })?;
        let addresses = AddressPool::new(options.pod_cidr);
        let state = State { sandboxes: BTreeMap::new(), containers: BTreeMap::new(), addresses };
        let inner = Arc::new(Self {
            root,
            options,
            handle,
            state: Mutex::new(state),
            events: broadcast::Sender::new(EVENT_CAPACITY),
            lock,
        });
        inner.adopt_sandboxes()?;
        inner.adopt_containers()?;
        Ok(inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    /// A new id: 64 hexadecimal digits, as other runtimes have.
    pub(super) fn new_id(&self) -> String {
        (0..4).map(|_| format!("{:016x}", self.options.random.next_u64())).collect()
    }

    pub(super) fn sandbox_dir(&self, id: &SandboxId) -> PathBuf {
        self.root.join("sandboxes").join(id.as_str())
    }

    pub(super) fn container_dir(&self, id: &ContainerId) -> PathBuf {
        self.root.join("containers").join(id.as_str())
    }

    pub(super) fn container(&self, id: &ContainerId) -> Option<Arc<Container>> {
        self.state.lock().containers.get(id).cloned()
    }

    pub(super) fn known_container(&self, id: &ContainerId) -> Result<Arc<Container>> {
        let missing = || Error::NotFound { kind: "container", id: id.to_string() };
        self.container(id).ok_or_else(missing)
    }

    pub(super) fn emit(&self, container: &Container, kind: ContainerEventKind) {
        let sandbox = container.record.sandbox.clone();
        let event = ContainerEvent::new(container.id.clone(), sandbox, kind, self.now());
        // Nobody need listen.
        let _ = self.events.send(event);
    }

    fn adopt_sandboxes(&self) -> Result<()> {
        let mut state = self.state.lock();
        for (name, dir) in entries(&self.root.join("sandboxes"))? {
            match record::read::<SandboxRecord>(&dir.join(SANDBOX))? {
                Some(record) => {
                    for ip in &record.ips {
                        if let IpAddr::V4(ip) = ip {
                            state.addresses.adopt(*ip);
                        }
                    }
                    state.sandboxes.insert(name.into(), record);
                }
                // It was being made when the last runtime ended, and nobody was told of it (N4).
                None => record::empty_dir(&dir)?,
            }
        }
        Ok(())
    }

    fn adopt_containers(self: &Arc<Self>) -> Result<()> {
        for (name, dir) in entries(&self.root.join("containers"))? {
            let record = record::read::<ContainerRecord>(&dir.join(CONTAINER))?;
            let known = |record: &ContainerRecord| {
                self.state.lock().sandboxes.contains_key(&record.sandbox)
            };
            let Some(record) = record.filter(known) else {
                kill_everything(&dir, &name);
                record::empty_dir(&dir)?;
                continue;
            };
            let (phase, shim) = find_phase(&dir, &name, self.now())?;
            let container = Container::new(name.as_str().into(), dir, record, phase);
            self.state.lock().containers.insert(container.id.clone(), container.clone());
            if let Some(shim) = shim {
                self.watch(&container, shim);
            }
        }
        Ok(())
    }

    /// Notices the end of a container's shim. The task ends with the runtime.
    pub(super) fn watch(self: &Arc<Self>, container: &Arc<Container>, shim: OwnedFd) {
        let inner = Arc::downgrade(self);
        let watched = container.clone();
        let task = self.handle.spawn(async move {
            let shim = wait_for_end(shim).await;
            let _ = waitid(
                WaitId::PidFd(shim_fd(&shim)),
                WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
            );
            let _ = tokio::task::spawn_blocking(move || note_end(&inner, &watched)).await;
        });
        *container.watcher.lock() = Some(task.abort_handle());
    }
}

fn shim_fd(shim: &OwnedFd) -> rustix::fd::BorrowedFd<'_> {
    use std::os::fd::AsFd as _;
    shim.as_fd()
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Closing is not enough: a process that is just being started may still share the lock.
        let _ = flock(&self.lock, FlockOperation::Unlock);
        for container in self.state.get_mut().containers.values() {
            if let Some(watcher) = container.watcher.lock().take() {
                watcher.abort();
            }
        }
    }
}

/// A killed predecessor may leave a process behind that shares the lock until it has become
/// another program, which takes a moment.
fn take_lock(lock: &File) -> rustix::io::Result<()> {
    let mut attempt = 1;
    loop {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(_) if attempt < LOCK_ATTEMPTS => attempt += 1,
            taken => return taken,
        }
        let _ = poll(&mut [], Some(&LOCK_PAUSE));
    }
}

async fn wait_for_end(shim: OwnedFd) -> OwnedFd {
    #[allow(deprecated, reason = "its successor is unsafe; an owned descriptor meets its terms")]
    let registered = AsyncFd::try_with_interest(shim, Interest::READABLE);
    match registered {
        Ok(shim) => {
            while shim.readable().await.is_err() {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            shim.into_inner()
        }
        // A kernel whose handles cannot be waited for can still be asked.
        Err(refused) => {
            let (shim, _) = refused.into_parts();
            while !has_ended(&shim) {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            shim
        }
    }
}

fn has_ended(shim: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(shim, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

fn kill_everything(dir: &Path, id: &str) {
    let dir = dir.to_string_lossy();
    procfs::kill_marked(&[(SHIM_VARIABLE, &dir), (CONTAINER_VARIABLE, id)]);
}

/// The shim has ended: what is on disk is final, unless the shim was killed before it wrote.
fn note_end(inner: &Weak<Inner>, container: &Container) {
    let Some(inner) = inner.upgrade() else { return };
    let started_at = match &*container.phase.borrow() {
        Phase::Running(running) => Some(running.started_at),
        _ => None,
    };
    if container.has_execs.load(std::sync::atomic::Ordering::Acquire) {
        procfs::kill_marked(&[(CONTAINER_VARIABLE, container.id.as_str())]);
    }
    let exit = match record::read_exit(&container.dir) {
        Ok(Some(exit)) => exit,
        _ => lost(&container.dir, container.id.as_str(), inner.now()),
    };
    container.phase.send_replace(Phase::Exited { started_at, exit });
    inner.emit(container, ContainerEventKind::Stopped);
}

/// The end of a container whose shim was killed: nobody knows its exit code, and nothing of it may
/// go on unseen.
fn lost(dir: &Path, id: &str, now: Timestamp) -> Exit {
    procfs::kill_marked(&[(CONTAINER_VARIABLE, id)]);
    let exit = Exit::with_signal(9, now).message("the container's shim was killed");
    if let Err(error) = record::write(&dir.join(EXIT), &exit) {
        tracing::warn!(container = id, %error, "cannot note the end of a container");
    }
    exit
}

/// What the records of a container say, and its shim if that lives.
fn find_phase(dir: &Path, id: &str, now: Timestamp) -> Result<(Phase, Option<OwnedFd>)> {
    let running = record::read::<Running>(&dir.join(RUNNING))?;
    let started_at = running.map(|running| running.started_at);
    let shim = running.and_then(|running| open_process(running.shim));
    // Read after the shim was looked at: one that ended in between has written before.
    if let Some(exit) = record::read_exit(dir)? {
        return Ok((Phase::Exited { started_at, exit }, None));
    }
    if let (Some(running), Some(shim)) = (running, shim) {
        return Ok((Phase::Running(running), Some(shim)));
    }
    if running.is_some() {
        return Ok((Phase::Exited { started_at, exit: lost(dir, id, now) }, None));
    }
    if dir.join(CONTROL).exists() {
        // The last runtime ended while it started this one, and nobody was told it runs.
        kill_everything(dir, id);
        for name in [RUNNING, EXIT, CONTROL] {
            let _ = fs::remove_file(dir.join(name));
        }
    }
    Ok((Phase::Created, None))
}

/// A handle of a process, if that very process still lives.
pub(super) fn open_process(process: ProcessId) -> Option<OwnedFd> {
    let handle = pidfd_open(Pid::from_raw(process.pid)?, PidfdFlags::empty()).ok()?;
    let stat = Stat::of(process.pid)?;
    (stat.start_time == process.start_time && !stat.zombie).then_some(handle)
}

/// The directories in `dir` by name; half-removed ones are removed.
fn entries(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let entry = entry.map_err(Error::io("read", dir))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(REMOVED_PREFIX) {
            record::empty_dir(&entry.path())?;
        } else if entry.path().is_dir() {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}
