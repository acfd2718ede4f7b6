//! Ends containers and pods, and removes what they leave.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::hub::Hub;
use super::observe::look;
use super::record::Record;
use super::words::chain;
use super::worker::Worker;
use crate::hooks::run_hook;
use crate::pod::config::log_directory;
use crate::pod::plan::{Kill, KillReason};
use crate::pod::{self, DEFAULT_GRACE, Role, member};
use crate::probe::Target;
use crate::runtime::{ContainerFilter, ContainerId, ContainerState, SandboxId, SandboxState};
use crate::{Error, Result};

/// What a container has at least after its hook has taken all of its time.
const MIN_GRACE: Duration = Duration::from_secs(2);

/// Ends containers of a pod that goes on, all at once.
pub(super) async fn kill_some(worker: &Worker, pod: &Pod, kills: &[Kill]) -> Result<()> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    let ends = kills.iter().map(|kill| async move {
        let reference = worker.container_reference(&kill.name);
        worker.hub.recorder.normal(&reference, "Killing", kill.message());
        let grace = kill_grace(pod, spec, kill);
        let hooked = Mutex::default();
        let end = Ending { hub: &worker.hub, record: &worker.record, pod, hooked: &hooked };
        end.container(&kill.id, &kill.name, Instant::now() + grace).await
    });
    join_all(ends).await.into_iter().collect()
}

/// How long a container has that is killed by itself: its probe may say so.
/// <https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/#probe-level-terminationgraceperiodseconds>
fn kill_grace(pod: &Pod, spec: &PodSpec, kill: &Kill) -> Duration {
    let member = member(spec, &kill.name);
    let probe = |container: &Container| match kill.reason {
        KillReason::Liveness => container.liveness_probe.clone(),
        KillReason::Startup => container.startup_probe.clone(),
        KillReason::Changed | KillReason::Unknown => None,
    };
    let own = member.and_then(|member| probe(&member.container)?.termination_grace_period_seconds);
    let own = own.and_then(|seconds| u64::try_from(seconds).ok());
    own.map_or_else(|| pod::grace(pod), |seconds| Duration::from_secs(seconds.max(1)))
}

/// What ending containers needs to know.
struct Ending<'a> {
    hub: &'a Hub,
    record: &'a Record,
    pod: &'a Pod,
    /// Containers whose hook has begun: it runs once, however often the grace shrinks.
    hooked: &'a Mutex<BTreeSet<ContainerId>>,
}

impl Ending<'_> {
    /// Ends one container by `deadline`, its hook first.
    async fn container(&self, id: &ContainerId, name: &str, deadline: Instant) -> Result<()> {
        self.pre_stop(id, name, deadline).await;
        let left = deadline.saturating_duration_since(Instant::now());
        let all = self.record.ending().borrow().unwrap_or(DEFAULT_GRACE);
        let grace = left.max(MIN_GRACE.min(all));
        self.hub.runtime.containers().stop(id, grace).await
    }

    /// Runs the hook that precedes the end, inside the grace (N8).
    async fn pre_stop(&self, id: &ContainerId, name: &str, deadline: Instant) {
        let Some(member) = self.pod.spec.as_ref().and_then(|spec| member(spec, name)) else {
            return;
        };
        let lifecycle = member.container.lifecycle.as_ref();
        let Some(hook) = lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref()) else {
            return;
        };
        let observed = self.record.observed();
        let Some(address) = self.hub.address(self.pod, &observed) else { return };
        if !self.hooked.lock().insert(id.clone()) {
            return;
        }
        let target = Target::new(address, id, self.hub.runtime.exec());
        let left = deadline.saturating_duration_since(Instant::now());
        let message = match timeout(left, run_hook(hook, self.pod, &member.container, target)).await
        {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("PreStopHook failed: {}", chain(&error)),
            Err(_) => "PreStopHook not completed in grace period".to_owned(),
        };
        let mut reference = self.record.reference();
        reference.field_path = Some(pod::field_path(&member));
        self.hub.recorder.warning(&reference, "FailedPreStopHook", message);
    }

    /// Ends everything that runs by `deadline`: the pod's work first, then its sidecars, the last
    /// one first.
    async fn everything(&self, deadline: Instant) -> Result<()> {
        let Some(spec) = &self.pod.spec else { return Ok(()) };
        let observed = self.record.observed();
        let running = |role: fn(Role) -> bool| -> Vec<(ContainerId, String)> {
            let members = pod::members(spec).filter(|member| role(member.role));
            let names: Vec<String> = members.map(|member| member.name().to_owned()).collect();
            let of = |name: &String| {
                let runs = observed.runs(name).find(|it| it.state() == ContainerState::Running);
                runs.map(|it| (it.summary.id.clone(), name.clone()))
            };
            names.iter().filter_map(of).collect()
        };
        let work = running(|role| role != Role::Sidecar);
        let ends = work.iter().map(|(id, name)| self.container(id, name, deadline));
        join_all(ends).await.into_iter().collect::<Result<()>>()?;
        for (id, name) in running(|role| role == Role::Sidecar).iter().rev() {
            self.container(id, name, deadline).await?;
        }
        Ok(())
    }

    fn tell(&self) {
        let Some(spec) = &self.pod.spec else { return };
        for status in self.record.observed().running() {
            let name = &status.summary.name;
            let Some(member) = member(spec, name) else { continue };
            let mut reference = self.record.reference();
            reference.field_path = Some(pod::field_path(&member));
            let message = format!("Stopping container {name}");
            self.hub.recorder.normal(&reference, "Killing", message);
        }
    }
}

/// Ends everything of a pod within its grace, which may shrink meanwhile (D6).
pub(super) async fn end_pod(hub: &Hub, record: &Record) -> Result<()> {
    look(hub, record).await?;
    hub.publish(record);
    let (pod, hooked) = (record.pod(), Mutex::default());
    let ending = Ending { hub, record, pod: &pod, hooked: &hooked };
    ending.tell();
    let mut graces = record.ending();
    let began = Instant::now();
    loop {
        let grace = graces.borrow_and_update().unwrap_or(DEFAULT_GRACE);
        kcore::select! {
            ended = ending.everything(began + grace) => {
                ended?;
                break;
            }
            // What was asked to end is asked again, with less time.
            Ok(()) = graces.changed() => {}
        }
    }
    for status in record.observed().sandboxes() {
        if status.summary.state == SandboxState::Ready {
            hub.runtime.sandboxes().stop(&status.summary.id).await?;
        }
    }
    look(hub, record).await?;
    hub.publish(record);
    Ok(())
}

/// Removes everything of a pod that ended from the node.
pub(super) async fn clean_up(hub: &Hub, record: &Record) -> Result<()> {
    look(hub, record).await?;
    hub.publish(record);
    for status in record.observed().sandboxes() {
        hub.runtime.sandboxes().remove(&status.summary.id).await?;
    }
    hub.volumes.tear_down(&record.uid).await?;
    hub.sources.forget(&record.uid);
    let Some(root) = hub.log_root() else { return Ok(()) };
    let logs = log_directory(&root, &record.pod());
    let work = tokio::task::spawn_blocking(move || match std::fs::remove_dir_all(&logs) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", logs)(error))
        }
        _ => Ok(()),
    });
    work.await.map_err(|error| Error::Backend {
        what: "removing a pod's logs broke off".to_owned(),
        source: error.into(),
    })?
}

/// Ends a sandbox of a pod that nobody knows.
pub(super) async fn stop_orphan(hub: &Hub, sandbox: &SandboxId) -> Result<()> {
    let running = ContainerFilter::default()
        .sandbox(Some(sandbox.clone()))
        .state(Some(ContainerState::Running));
    let containers = hub.runtime.containers().list(running).await?;
    let stops = containers.iter().map(|it| hub.runtime.containers().stop(&it.id, DEFAULT_GRACE));
    join_all(stops).await.into_iter().collect::<Result<()>>()?;
    hub.runtime.sandboxes().stop(sandbox).await
}
