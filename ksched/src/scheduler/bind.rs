//! What happens beside the scheduling loop: binding, and the report of failures.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use kcore::backoff::{Backoff, BackoffPolicy};
use kcore::client::{Api, Patch};
use kcore::event::reference_to;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::cycle::{Placement, Unplaced};
use super::shared::Shared;
use crate::framework::{
    Action, ClusterEvent, CycleState, Diagnosis, Effect, EventObject, EventResource, Happening,
    Status,
};
use crate::queue::Popped;
use crate::snapshot::PodInfo;

/// How the scheduler waits before it asks again what became of a binding.
const TRUTH_BACKOFF: BackoffPolicy =
    BackoffPolicy::new(Duration::from_millis(100), Duration::from_secs(10)).jitter(0.5);

/// A pod that is assumed to be on its node, and has to be bound there.
pub(super) struct Assumed {
    shared: Arc<Shared>,
    popped: Popped,
    node: Arc<str>,
    state: CycleState,
}

/// What became of a binding that seemed to fail.
enum Truth {
    Bound,
    Unbound,
    GoneOrElsewhere,
}

impl Assumed {
    /// Assumes and reserves.
    pub(super) fn take(
        shared: &Arc<Shared>,
        popped: Popped,
        placement: Placement,
    ) -> Result<Self, Box<Failure>> {
        let Placement { node, state, .. } = placement;
        {
            let mut locked = shared.state.lock();
            // A pod that is gone, or on a node, by now is no longer this scheduler's business.
            if locked.queue.current(&popped).is_none() || !locked.cache.assume(&popped.pod, &node) {
                return Err(Box::new(Failure::nothing(shared, popped)));
            }
            locked.queue.nominated.remove(popped.pod.uid());
        }
        let mut this = Self { shared: Arc::clone(shared), popped, node, state };
        let framework = Arc::clone(&this.popped.framework);
        match framework.reserve(&mut this.state, &this.popped.pod, &this.node) {
            Ok(()) => Ok(this),
            Err((plugin, status)) => Err(Box::new(this.undo(&plugin, &status))),
        }
    }

    /// Waits for permission, binds, and undoes everything if that fails. A pod that waits for
    /// permission gives its slot to others meanwhile.
    pub(super) async fn settle(self, slot: OwnedSemaphorePermit, slots: Arc<Semaphore>) {
        let framework = Arc::clone(&self.popped.framework);
        let pod = Arc::clone(&self.popped.pod);
        let mut slot = Some(slot);
        let outcome = {
            let mut permit = std::pin::pin!(framework.permit(&self.state, &pod, &self.node));
            match futures::poll!(&mut permit) {
                std::task::Poll::Ready(outcome) => outcome,
                std::task::Poll::Pending => {
                    slot = None;
                    permit.await
                }
            }
        };
        if slot.is_none() {
            slot = slots.acquire_owned().await.ok();
        }
        let outcome = match outcome {
            Ok(()) => match framework.bind(&self.state, &pod, &self.node).await {
                Ok(()) => Ok(()),
                Err(failed) => match self.truth().await {
                    Truth::Bound => Ok(()),
                    Truth::Unbound => Err(failed),
                    Truth::GoneOrElsewhere => {
                        tracing::debug!(pod = pod.key(), "gone or bound elsewhere");
                        drop(self.undo(&failed.0, &failed.1));
                        return;
                    }
                },
            },
            failed => failed,
        };
        match outcome {
            Ok(()) => self.bound(),
            Err((plugin, status)) => self.undo(&plugin, &status).report().await,
        }
        drop(slot);
    }

    fn bound(self) {
        let pod = &self.popped.pod;
        self.shared.state.lock().queue.done(&self.popped);
        if self.shared.tells_of_success() {
            let message = format!("Successfully assigned {} to {}", pod.key(), self.node);
            self.shared.recorder.normal(&reference_to(&**pod.pod()), "Scheduled", message);
        }
        self.popped.framework.post_bind(&self.state, pod, &self.node);
    }

    /// Asks the server what became of the binding: an answer that was lost must not free the
    /// room (C11). It is asked until it answers; until then the pod counts as being there.
    async fn truth(&self) -> Truth {
        let pod = &self.popped.pod;
        let api: Api<Pod> = Api::namespaced(Arc::clone(&self.shared.client), pod.namespace());
        let mut backoff = Backoff::new(TRUTH_BACKOFF, self.shared.random.fork());
        loop {
            match api.get_opt(pod.name()).await {
                Ok(None) => return Truth::GoneOrElsewhere,
                Ok(Some(found)) => {
                    let found = PodInfo::new(found);
                    return match found.node_name() {
                        _ if found.uid() != pod.uid() => Truth::GoneOrElsewhere,
                        "" => Truth::Unbound,
                        node if node == &*self.node => Truth::Bound,
                        _ => Truth::GoneOrElsewhere,
                    };
                }
                Err(error) if error.status().is_some_and(|status| status.code < 500) => {
                    return Truth::Unbound;
                }
                Err(error) => {
                    tracing::warn!(pod = pod.key(), %error, "the pod cannot be read");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    /// Gives back what was reserved and forgets the assumption.
    fn undo(mut self, plugin: &Arc<str>, status: &Status) -> Failure {
        let pod = Arc::clone(&self.popped.pod);
        self.popped.framework.unreserve(&mut self.state, &pod, &self.node);
        {
            let mut state = self.shared.state.lock();
            state.cache.forget(pod.uid());
            // The room it had taken may help others.
            let happening = Happening {
                event: ClusterEvent::new(EventResource::AssignedPod, Action::DELETE),
                old: Some(EventObject::Pod(Arc::clone(&pod))),
                new: None,
            };
            state.queue.happened(&happening, Instant::now());
        }
        self.shared.more.notify_one();
        let mut diagnosis = Diagnosis { nodes: 1, ..Diagnosis::default() };
        let (message, rejected_by) = if status.is_rejected() {
            diagnosis.rejected.push(0, plugin, status.clone());
            (diagnosis.message(), [Arc::clone(plugin)].into())
        } else {
            (status.message(), BTreeSet::new())
        };
        Failure {
            unschedulable: status.is_rejected(),
            message: Some(message),
            rejected_by,
            nominated: None,
            effect: Mutex::new(None),
            popped: self.popped,
            shared: self.shared,
        }
    }
}

/// An attempt that failed, and what has to be told of it.
pub(super) struct Failure {
    shared: Arc<Shared>,
    popped: Popped,
    /// Whether the pod does not fit, or something went wrong.
    unschedulable: bool,
    /// What to tell; nothing if the pod needs no node any more.
    message: Option<String>,
    rejected_by: BTreeSet<Arc<str>>,
    nominated: Option<String>,
    /// A future is not `Sync`; behind a lock the failure is.
    effect: Mutex<Option<Effect>>,
}

impl Failure {
    pub(super) fn of(shared: &Arc<Shared>, popped: Popped, unplaced: Unplaced) -> Self {
        let Unplaced { diagnosis, status, nominated, effect, .. } = unplaced;
        let unschedulable = status.is_rejected();
        let message = if unschedulable { diagnosis.message() } else { status.message() };
        let rejected_by = if unschedulable { diagnosis.plugins } else { BTreeSet::new() };
        if let Some(node) = &nominated {
            shared.state.lock().queue.nominated.set(&popped.pod, node);
        }
        let shared = Arc::clone(shared);
        let message = Some(message);
        let effect = Mutex::new(effect);
        Self { shared, popped, unschedulable, message, rejected_by, nominated, effect }
    }

    fn nothing(shared: &Arc<Shared>, popped: Popped) -> Self {
        Self {
            shared: Arc::clone(shared),
            popped,
            unschedulable: false,
            message: None,
            rejected_by: BTreeSet::new(),
            nominated: None,
            effect: Mutex::new(None),
        }
    }

    /// Tells of the failure and puts the pod back. The condition is written first: written any
    /// later, it could overwrite the one of a binding that has succeeded meanwhile.
    pub(super) async fn report(mut self) {
        let effect = self.effect.get_mut().take();
        if let Some(effect) = effect {
            let status = effect.await;
            if !status.is_success() {
                tracing::warn!(pod = self.popped.pod.key(), %status, "making room failed");
            }
        }
        let current = self.shared.state.lock().queue.current(&self.popped).cloned();
        if let (Some(pod), Some(message)) = (current, &self.message) {
            // Whoever has a node kept for it will be told of success soon.
            let kept = self.nominated.as_deref().is_some_and(|node| !node.is_empty());
            if !kept || self.shared.tells_of_success() {
                let reference = reference_to(&**pod.pod());
                self.shared.recorder.warning(&reference, "FailedScheduling", message.clone());
            }
            let nominated = self.nominated.as_deref();
            let reason = if self.unschedulable { "Unschedulable" } else { "SchedulerError" };
            write_condition(&self.shared, &pod, (reason, message), nominated).await;
        }
        let now = Instant::now();
        self.shared.state.lock().queue.put_back(&self.popped, self.rejected_by, now);
        self.shared.more.notify_one();
    }
}

/// Tells a pod why it has no node, and which one is kept for it, where that is not what it was told
/// before.
pub(super) async fn write_condition(
    shared: &Shared,
    pod: &PodInfo,
    (reason, message): (&str, &str),
    nominated: Option<&str>,
) {
    let status = pod.pod().status.as_ref();
    let known = status.and_then(|status| status.conditions.as_ref());
    let known = known.and_then(|known| known.iter().find(|c| c.type_ == "PodScheduled"));
    let same = |known: &PodCondition| {
        known.status == "False"
            && known.reason.as_deref() == Some(reason)
            && known.message.as_deref() == Some(message)
    };
    let nominated = nominated.filter(|node| *node != pod.nominated_node());
    let nominated = nominated.map(|node| match node {
        "" => serde_json::Value::Null,
        node => node.into(),
    });
    if known.is_some_and(same) && nominated.is_none() {
        return;
    }
    let since = known
        .filter(|known| known.status == "False")
        .and_then(|known| Some(known.last_transition_time.as_ref()?.0.to_string()));
    // The API keeps whole seconds.
    let now = || format!("{:.0}", shared.clock.now());
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
        "lastTransitionTime": since.unwrap_or_else(now),
    });
    let mut patch = json!({"metadata": {"uid": pod.pod().metadata.uid},
        "status": {"conditions": [condition]}});
    if let Some(node) = nominated {
        patch["status"]["nominatedNodeName"] = node;
    }
    let api: Api<Pod> = Api::namespaced(Arc::clone(&shared.client), pod.namespace());
    let patch = Patch::Strategic(patch.to_string().into());
    if let Err(error) = api.patch_status(pod.name(), patch).await
        && !error.is_not_found()
    {
        tracing::warn!(pod = pod.key(), %error, "the condition cannot be written");
    }
}
