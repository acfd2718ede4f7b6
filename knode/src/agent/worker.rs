//! A pod's worker: one task that makes the runtime agree with what the API asks for.
//!
//! It goes from syncing to ending to gone, and never back. While the pod lives it looks, plans,
//! acts and looks again until a plan is empty, then sleeps until something happens. When the pod
//! is to end, whatever it was doing is dropped: every operation of a runtime can be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kcore::backoff::{Backoff, BackoffPolicy};
use tokio::time::Instant;

use super::hub::Hub;
use super::observe::look;
use super::record::Record;
use super::start::{Images, StartFailure};
use super::{prober, start, stop};
use crate::Result;
use crate::pod::backoff::Backoffs;
use crate::pod::plan::{Hold, PodActions, Situation, compute_pod_actions};
use crate::pod::{Waiting, described};

/// How long a container waits that could not be started for a reason outside of it.
pub const START_RETRY: Duration = Duration::from_secs(10);
/// How often volumes are made to agree with what they show.
/// <https://kubernetes.io/docs/tasks/configure-pod-container/configure-pod-configmap/#mounted-configmaps-are-updated-automatically>
pub const VOLUME_REFRESH: Duration = Duration::from_secs(60);
/// Plans that are carried out one after another before the worker takes a breath.
const MAX_ROUNDS: usize = 64;
/// How long a pod waits whose sandbox or volumes could not be made, and whose runtime failed.
const RETRY: BackoffPolicy =
    BackoffPolicy::new(Duration::from_millis(500), Duration::from_secs(120)).jitter(0.1);
/// How often ending a pod is tried again that could not be ended.
const END_RETRY: BackoffPolicy =
    BackoffPolicy::new(Duration::from_millis(100), Duration::from_secs(10)).jitter(0.1);

/// One pod's worker.
pub(super) struct Worker {
    pub(super) hub: Arc<Hub>,
    pub(super) record: Arc<Record>,
    backoffs: Backoffs,
    pub(super) images: Images,
    /// Containers that are not to be started before then.
    not_before: BTreeMap<String, Instant>,
    retry: Backoff,
    refreshed_at: Option<Instant>,
}

impl Worker {
    pub(super) fn new(hub: Arc<Hub>, record: Arc<Record>) -> Self {
        let retry = Backoff::new(RETRY, hub.random.fork());
        Self {
            hub,
            record,
            backoffs: Backoffs::new(),
            images: Images::default(),
            not_before: BTreeMap::new(),
            retry,
            refreshed_at: None,
        }
    }

    /// Works for the pod, and asks its probes, until nothing of it is left, here or in the API.
    pub(super) async fn run(self) {
        let probes = prober::run(Arc::clone(&self.hub), Arc::clone(&self.record));
        kcore::select! {
            () = self.work() => {}
            () = probes => {}
        }
    }

    async fn work(mut self) {
        let record = Arc::clone(&self.record);
        loop {
            kcore::select! {
                () = record.ends() => break,
                () = self.live() => {}
            }
        }
        self.end().await;
        // What is left is the pod in the API, whose logs can still be read here.
        let mut ending = record.ending();
        while !record.is_removed() && record.pod().metadata.deletion_timestamp.is_none() {
            kcore::select! {
                () = record.woken() => {}
                changed = ending.changed() => if changed.is_err() { return },
            }
        }
        self.clean_up().await;
        record.set_gone();
        self.hub.statuses.add(record.uid.clone());
        while !record.is_removed() {
            record.woken().await;
        }
        self.hub.forget(&record.uid);
    }

    /// Syncs, then waits for something to happen.
    async fn live(&mut self) {
        let next = match self.sync().await {
            Ok(next) => {
                self.retry.reset();
                next
            }
            Err(error) => {
                let pod = Hub::described(&self.record);
                tracing::warn!(pod, %error, "a pod cannot be synced");
                Some(self.retry.next_delay())
            }
        };
        self.hub.publish(&self.record);
        let record = Arc::clone(&self.record);
        match next {
            Some(delay) => kcore::select! {
                () = record.woken() => {}
                () = tokio::time::sleep(delay) => {}
            },
            None => record.woken().await,
        }
    }

    /// Looks, plans and acts until there is nothing to do, and says when to come back at the
    /// latest.
    async fn sync(&mut self) -> Result<Option<Duration>> {
        let mut delay = self.deadline();
        if delay == Some(Duration::ZERO) {
            let message = "Pod was active on the node longer than the specified deadline";
            self.record.fail("DeadlineExceeded", message);
            self.event("DeadlineExceeded", message);
            return Ok(None);
        }
        if !self.prepare_volumes().await {
            return Ok(Some(self.retry.next_delay()));
        }
        for _ in 0..MAX_ROUNDS {
            look(&self.hub, &self.record).await?;
            let pod = self.record.pod();
            let mut actions = self.plan(&pod);
            let held = self.hold(&pod, &mut actions);
            let until = [delay, held, self.refresh_in()].into_iter().flatten().min();
            if actions.is_empty() {
                return Ok(until);
            }
            if actions.finish {
                self.record.finish();
                return Ok(None);
            }
            self.act(&pod, actions).await?;
            delay = self.deadline();
        }
        Ok(Some(Duration::ZERO))
    }

    fn plan(&self, pod: &Pod) -> PodActions {
        let (observed, health) = (self.record.observed(), self.record.health());
        let now = self.hub.now();
        let backoffs = &self.backoffs;
        compute_pod_actions(pod, Situation { observed: &observed, health: &health, backoffs, now })
    }

    /// Takes out what is not to be started yet. How long until the first of it is.
    fn hold(&mut self, pod: &Pod, actions: &mut PodActions) -> Option<Duration> {
        let now = Instant::now();
        self.not_before.retain(|_, until| *until > now);
        let mut first: Option<Duration> = None;
        let mut wait = |left: Duration| first = Some(first.map_or(left, |known| known.min(left)));
        actions.start.retain(|start| match self.not_before.get(&start.name) {
            Some(until) => {
                wait(until.saturating_duration_since(now));
                false
            }
            None => true,
        });
        for held in &actions.hold {
            wait(held.remaining);
            self.tell_of_backoff(pod, held);
        }
        first
    }

    fn tell_of_backoff(&self, pod: &Pod, held: &Hold) {
        let (name, pod_name) = (&held.name, described(pod));
        let wait = super::words::go_duration(held.wait);
        let message = format!("back-off {wait} restarting failed container={name} pod={pod_name}");
        if self.record.waits(name, Some(Waiting::new("CrashLoopBackOff", message))) {
            let message = format!("Back-off restarting failed container {name} in pod {pod_name}");
            let reference = self.container_reference(name);
            self.hub.recorder.warning(&reference, "BackOff", message);
        }
    }

    /// Carries a plan out.
    async fn act(&mut self, pod: &Arc<Pod>, actions: PodActions) -> Result<()> {
        let hub = Arc::clone(&self.hub);
        for id in &actions.remove_sandboxes {
            hub.runtime.sandboxes().stop(id).await?;
            hub.runtime.sandboxes().remove(id).await?;
        }
        if let Some(attempt) = actions.create_sandbox {
            self.create_sandbox(pod, attempt).await?;
            return Ok(());
        }
        stop::kill_some(self, pod, &actions.kill).await?;
        for id in &actions.remove {
            hub.runtime.containers().remove(id).await?;
        }
        for planned in actions.start {
            // Those that wait for the one before would see only an older look at it.
            let name = planned.name.clone();
            if planned.last_run.is_some() {
                self.backoffs.tried(&name, planned.last_run);
            }
            match start::start_container(self, pod, planned).await {
                Ok(()) => {
                    self.not_before.remove(&name);
                    self.record.waits(&name, None);
                }
                Err(failure) => self.failed(&name, failure),
            }
        }
        Ok(())
    }

    fn failed(&mut self, name: &str, failure: StartFailure) {
        let delay = failure.retry_in.unwrap_or(START_RETRY);
        let jittered = self.hub.random.jitter(delay, 0.1);
        self.not_before.insert(name.to_owned(), Instant::now() + jittered);
        self.record.waits(name, Some(failure.waiting));
        self.hub.publish(&self.record);
    }

    async fn create_sandbox(&mut self, pod: &Pod, attempt: u32) -> Result<()> {
        // What the pod is called in the API is told before anything is made for it.
        let config = crate::pod::sandbox_config(pod, attempt, self.hub.log_root().as_deref());
        match self.hub.runtime.sandboxes().run(config).await {
            Ok(id) => {
                self.hub.own_sandbox(&self.record.uid, &id);
                Ok(())
            }
            Err(error) => {
                let message =
                    format!("Failed to create pod sandbox: {}", super::words::chain(&error));
                let reference = self.record.reference();
                self.hub.recorder.warning(&reference, "FailedCreatePodSandBox", message);
                Err(error)
            }
        }
    }

    /// Makes the pod's volumes agree with what they show. False if the pod has to wait for them.
    async fn prepare_volumes(&mut self) -> bool {
        let due = self.refreshed_at.is_none_or(|at| at.elapsed() >= VOLUME_REFRESH);
        if !due {
            return true;
        }
        let pod = self.record.pod();
        let first = self.refreshed_at.is_none();
        let sources = self.hub.sources.resolve(&pod).await;
        let facts = self.hub.pod_facts(&pod, &self.record.observed());
        match self.hub.volumes.set_up(&pod, &sources, &facts).await {
            Ok(_) => {
                self.refreshed_at = Some(Instant::now());
                true
            }
            Err(error) => {
                self.tell_of_volume(&error);
                if !first {
                    // What was there stays there: the pod goes on with it.
                    self.refreshed_at = Some(Instant::now());
                }
                !first
            }
        }
    }

    fn tell_of_volume(&self, error: &crate::Error) {
        let message = super::words::chain(error);
        self.hub.recorder.warning(&self.record.reference(), "FailedMount", message);
    }

    fn refresh_in(&self) -> Option<Duration> {
        let pod = self.record.pod();
        let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref());
        let changes = volumes.unwrap_or_default().iter().any(|volume| {
            volume.config_map.is_some()
                || volume.secret.is_some()
                || volume.projected.is_some()
                || volume.downward_api.is_some()
        });
        let at = self.refreshed_at.filter(|_| changes)?;
        Some(VOLUME_REFRESH.saturating_sub(at.elapsed()))
    }

    /// How long the pod may go on, if that is limited.
    fn deadline(&self) -> Option<Duration> {
        let pod = self.record.pod();
        let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
        let status = self.record.status();
        let known = status.as_deref().or(pod.status.as_ref());
        let started = known.and_then(|status| status.start_time.as_ref()).map(|time| time.0);
        let ran = self.hub.now().duration_since(started.unwrap_or(self.record.seen_at()));
        let ran = Duration::try_from(ran).unwrap_or_default();
        let limit = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        Some(limit.saturating_sub(ran))
    }

    /// Ends everything of the pod, however often that has to be tried.
    async fn end(&mut self) {
        let mut retry = Backoff::new(END_RETRY, self.hub.random.fork());
        self.hub.publish(&self.record);
        loop {
            match stop::end_pod(&self.hub, &self.record).await {
                Ok(()) => break,
                Err(error) => {
                    let pod = Hub::described(&self.record);
                    tracing::warn!(pod, %error, "a pod cannot be ended");
                    retry.wait().await;
                }
            }
        }
        self.hub.publish(&self.record);
    }

    /// Removes everything of the pod from the node.
    async fn clean_up(&mut self) {
        let mut retry = Backoff::new(END_RETRY, self.hub.random.fork());
        while let Err(error) = stop::clean_up(&self.hub, &self.record).await {
            tracing::warn!(pod = Hub::described(&self.record), %error, "a pod leaves something");
            retry.wait().await;
        }
    }

    fn event(&self, reason: &str, message: &str) {
        self.hub.recorder.normal(&self.record.reference(), reason, message);
    }

    /// What events of a container refer to.
    pub(super) fn container_reference(
        &self,
        name: &str,
    ) -> k8s_openapi::api::core::v1::ObjectReference {
        let pod = self.record.pod();
        let member = pod.spec.as_ref().and_then(|spec| crate::pod::member(spec, name));
        let mut reference = self.record.reference();
        reference.field_path = member.map(|member| crate::pod::field_path(&member));
        reference
    }
}
