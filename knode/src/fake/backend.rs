//! The seam over the scripted state.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::select;
use futures::stream::{BoxStream, StreamExt as _};
use tokio::time::Instant;

use super::FakeRuntime;
use super::state::{State, container_id, number, sandbox_id};
use crate::runtime::{
    ContainerConfig, ContainerEvent, ContainerFilter, ContainerId, ContainerState, ContainerStats,
    ContainerStatus, ContainerSummary, Containers, Events, Exec, ExecOptions, ExecOutput, FsUsage,
    Image, Images, MAX_GRACE, PullOptions, Resources, Runtime, RuntimeCondition, RuntimeStatus,
    SandboxConfig, SandboxFilter, SandboxId, SandboxState, SandboxStatus, SandboxSummary,
    Sandboxes, Stats, Streaming, Version,
};
use crate::{Error, Result};

fn no_sandbox(id: &SandboxId) -> Error {
    Error::NotFound { kind: "sandbox", id: id.to_string() }
}

fn no_container(id: &ContainerId) -> Error {
    Error::NotFound { kind: "container", id: id.to_string() }
}

fn wrong_state(id: &ContainerId, state: ContainerState, needed: &'static str) -> Error {
    let (id, state) = (id.to_string(), format!("{state:?}"));
    Error::InvalidState { kind: "container", id, state, needed }
}

/// Sleeps, unless for no time: even that takes a tick of the timer.
async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

fn ready(state: &State, sandbox: u64) -> Result<()> {
    let id = sandbox_id(sandbox);
    let found = state.sandboxes.get(&sandbox).ok_or_else(|| no_sandbox(&id))?;
    if found.state == SandboxState::Ready {
        return Ok(());
    }
    let (id, state) = (id.to_string(), format!("{:?}", found.state));
    Err(Error::InvalidState { kind: "sandbox", id, state, needed: "Ready" })
}

#[async_trait]
impl Sandboxes for FakeRuntime {
    async fn run(&self, config: SandboxConfig) -> Result<SandboxId> {
        pause(self.shared.options.sandbox_delay).await;
        let mut state = self.state();
        let same = state
            .sandboxes
            .values()
            .any(|other| *other.uid == *config.uid && other.attempt == config.attempt);
        if same {
            let name = format!("{}_{}", config.name, config.attempt);
            return Err(Error::AlreadyExists { kind: "sandbox", name });
        }
        Ok(sandbox_id(state.add_sandbox(&config)))
    }

    async fn stop(&self, id: &SandboxId) -> Result<()> {
        let mut state = self.state();
        let Some(number) = number(id.as_str()) else { return Ok(()) };
        let Some(sandbox) = state.sandboxes.get_mut(&number) else { return Ok(()) };
        sandbox.state = SandboxState::NotReady;
        for container in state.containers_of(number) {
            state.request_end(container, Duration::ZERO);
        }
        Ok(())
    }

    async fn remove(&self, id: &SandboxId) -> Result<()> {
        if let Some(number) = number(id.as_str()) {
            self.state().remove_sandbox(number);
        }
        Ok(())
    }

    async fn status(&self, id: &SandboxId) -> Result<SandboxStatus> {
        let status = number(id.as_str()).and_then(|number| self.state().sandbox_status(number));
        status.ok_or_else(|| no_sandbox(id))
    }

    async fn list(&self, filter: SandboxFilter) -> Result<Vec<SandboxSummary>> {
        let state = self.state();
        let all = state.sandboxes.keys().filter_map(|id| state.sandbox_status(*id));
        let summaries = all.map(|status| status.summary);
        let matches = |s: &SandboxSummary| filter.matches(&s.id, s.state, &s.labels);
        Ok(summaries.filter(matches).collect())
    }
}

#[async_trait]
impl Containers for FakeRuntime {
    async fn create(&self, sandbox: &SandboxId, config: ContainerConfig) -> Result<ContainerId> {
        let mut state = self.state();
        let pod = number(sandbox.as_str()).ok_or_else(|| no_sandbox(sandbox))?;
        ready(&state, pod)?;
        if !state.images.contains(config.image.as_str()) {
            return Err(Error::NotFound { kind: "image", id: config.image });
        }
        let same = state.containers.values().any(|other| {
            other.sandbox == pod && *other.name == *config.name && other.attempt == config.attempt
        });
        if same {
            let name = format!("{}_{}", config.name, config.attempt);
            return Err(Error::AlreadyExists { kind: "container", name });
        }
        let behavior = self.shared.options.script.behavior(&config);
        Ok(container_id(state.add_container(pod, &config, behavior)))
    }

    /// Dropped while it waits, it has done nothing.
    async fn start(&self, id: &ContainerId) -> Result<()> {
        let number = number(id.as_str()).ok_or_else(|| no_container(id))?;
        let delay = {
            let state = self.state();
            let found = state.containers.get(&number).ok_or_else(|| no_container(id))?;
            found.behavior.start_delay
        };
        pause(delay).await;
        let mut state = self.state();
        let found = state.containers.get(&number).ok_or_else(|| no_container(id))?;
        if found.state() != ContainerState::Created {
            return Err(wrong_state(id, found.state(), "Created"));
        }
        ready(&state, found.sandbox)?;
        let container = id.to_string();
        state.start(number).map_err(|message| Error::StartFailed { container, message })
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let Some(number) = number(id.as_str()) else { return Ok(()) };
        self.state().request_end(number, grace);
        let killed_at = Instant::now() + grace.min(MAX_GRACE);
        loop {
            let next = {
                let state = self.state();
                match state.containers.get(&number) {
                    Some(container) if container.state() == ContainerState::Running => {
                        state.end_of(number).unwrap_or(killed_at)
                    }
                    _ => return Ok(()),
                }
            };
            tokio::time::sleep_until(next).await;
        }
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        if let Some(number) = number(id.as_str()) {
            self.state().remove_container(number);
        }
        Ok(())
    }

    async fn status(&self, id: &ContainerId) -> Result<ContainerStatus> {
        let status = number(id.as_str()).and_then(|number| self.state().container_status(number));
        status.ok_or_else(|| no_container(id))
    }

    async fn list(&self, filter: ContainerFilter) -> Result<Vec<ContainerSummary>> {
        let state = self.state();
        let all = state.containers.keys().filter_map(|id| state.container_summary(*id));
        let matches = |s: &ContainerSummary| filter.matches(&s.id, &s.sandbox, s.state, &s.labels);
        Ok(all.filter(matches).collect())
    }

    async fn update(&self, id: &ContainerId, _resources: Resources) -> Result<()> {
        self.running(id).map(|_| ())
    }

    async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
        self.running(id).map(|_| ())
    }
}

#[async_trait]
impl Images for FakeRuntime {
    async fn pull(&self, image: &str, _options: PullOptions) -> Result<String> {
        pause(self.shared.options.pull_delay).await;
        if self.shared.options.absent.contains(image) {
            let reason = "the script says that it is absent".to_owned();
            return Err(Error::ImagePull { image: image.to_owned(), reason });
        }
        self.state().images.insert(image.into());
        Ok(image.to_owned())
    }

    async fn status(&self, image: &str) -> Result<Option<Image>> {
        Ok(self.state().images.contains(image).then(|| Image::new(image, image)))
    }

    async fn list(&self) -> Result<Vec<Image>> {
        Ok(self.state().images.iter().map(|image| Image::new(&**image, &**image)).collect())
    }

    async fn remove(&self, image: &str) -> Result<()> {
        self.state().images.remove(image);
        Ok(())
    }

    async fn fs_info(&self) -> Result<Vec<FsUsage>> {
        Ok(vec![FsUsage::new("/fake")])
    }
}

#[async_trait]
impl Exec for FakeRuntime {
    async fn exec_sync(
        &self,
        id: &ContainerId,
        command: &[String],
        options: ExecOptions,
    ) -> Result<ExecOutput> {
        let behavior = self.running(id)?;
        let scripted = behavior.commands.iter().find(|(words, _)| command.starts_with(words));
        let scripted = scripted.map(|(_, command)| command.clone()).unwrap_or_default();
        if let Some(timeout) = options.timeout.filter(|timeout| *timeout < scripted.takes) {
            tokio::time::sleep(timeout).await;
            let what = format!("command {:?}", command.join(" "));
            return Err(Error::TimedOut { what, after: timeout });
        }
        pause(scripted.takes).await;
        let keep = |text: String| {
            let mut bytes = text.into_bytes();
            bytes.truncate(options.output_limit);
            bytes
        };
        let (stdout, stderr) = (keep(scripted.stdout), keep(scripted.stderr));
        Ok(ExecOutput::default().stdout(stdout).stderr(stderr).exit_code(scripted.exit_code))
    }

    fn streaming(&self) -> Option<Box<dyn Streaming>> {
        None
    }
}

#[async_trait]
impl Stats for FakeRuntime {
    async fn list(&self, filter: ContainerFilter) -> Result<Vec<ContainerStats>> {
        let running = Containers::list(self, filter.state(ContainerState::Running)).await?;
        let (now, state) = (Instant::now(), self.state());
        let stats = running.into_iter().filter_map(|summary| {
            let container = state.containers.get(&number(summary.id.as_str())?)?;
            let ran = now.saturating_duration_since(container.started?);
            let cpu = ran.mul_f64(container.behavior.cpu.max(0.0)).as_nanos();
            let stats = ContainerStats::new(summary.id, state.clock.now())
                .cpu_usage_ns(u64::try_from(cpu).unwrap_or(u64::MAX))
                .memory_bytes(container.behavior.memory_bytes)
                .processes(1u64);
            Some(stats)
        });
        Ok(stats.collect())
    }
}

impl Events for FakeRuntime {
    /// The stream keeps the time itself: who listens is woken when a script says so.
    fn subscribe(&self) -> BoxStream<'static, Result<ContainerEvent>> {
        let subscriber = self.state().subscribe();
        let shared = Arc::downgrade(&self.shared);
        futures::stream::unfold((shared, subscriber), |(shared, subscriber)| async move {
            loop {
                let next = shared.upgrade()?.state.lock().advance();
                {
                    let mut queue = subscriber.queue.lock();
                    let lost = std::mem::take(&mut queue.1);
                    let item = match lost {
                        0 => queue.0.pop_front().map(Ok),
                        count => Some(Err(Error::EventsLost { count })),
                    };
                    drop(queue);
                    if let Some(item) = item {
                        return Some((item, (shared, subscriber)));
                    }
                }
                let timer = async {
                    match next {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                let changed = std::pin::pin!(subscriber.changed.notified());
                select(changed, std::pin::pin!(timer)).await;
            }
        })
        .boxed()
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
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
        Some(self)
    }

    fn events(&self) -> Option<&dyn Events> {
        Some(self)
    }

    async fn version(&self) -> Result<Version> {
        Ok(Version::new("kubrick-fake", env!("CARGO_PKG_VERSION")))
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        Ok(RuntimeStatus::new(RuntimeCondition::ready(), RuntimeCondition::ready()))
    }
}
