//! Makes the victims leave.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kcore::client::{Api, DeleteOptions, Patch};
use kcore::event::reference_to;
use serde_json::json;

use crate::framework::{Effect, Handle, Status};
use crate::snapshot::PodInfo;
use crate::telling::Telling;

/// The reason of the condition that tells a pod's owner why it leaves.
/// <https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions>
pub(super) const REASON: &str = "PreemptionByScheduler";

/// How often, and after what pauses, it is looked whether the victims were seen to go.
const SEEN_TRIES: u32 = 100;
const SEEN_PAUSE: Duration = Duration::from_millis(2);

/// Deletes the victims, gracefully, and tells of it; takes back the nominations of less important
/// pods that the node was kept for, since they may not fit any more.
pub(super) fn effect<'a>(
    (handle, telling): (&Handle, &Arc<Telling>),
    pod: &PodInfo,
    node: &str,
    victims: &[Arc<PodInfo>],
    lesser: impl Iterator<Item = &'a Arc<PodInfo>>,
) -> Effect {
    let (handle, node, pod) = (handle.clone(), node.to_owned(), pod.clone());
    let telling = Arc::clone(telling);
    let (victims, lesser) = (victims.to_vec(), lesser.cloned().collect::<Vec<_>>());
    Box::pin(async move {
        let teller = (&handle, &*telling);
        let evictions = victims.iter().map(|victim| evict(teller, &pod, &node, victim));
        let mut outcome = Status::success();
        for result in futures::future::join_all(evictions).await {
            if let Err(error) = result {
                outcome = Status::error(error.to_string());
            }
        }
        seen(&handle, &victims).await;
        for other in &lesser {
            let api = api(&handle, other);
            let patch = json!({"metadata": {"uid": other.pod().metadata.uid},
                "status": {"nominatedNodeName": null}});
            if let Err(error) = api.patch_status(other.name(), merge(&patch)).await
                && !error.is_not_found()
            {
                tracing::warn!(pod = other.key(), %error, "the nomination stays");
            }
        }
        outcome
    })
}

/// Waits, for a moment, until the scheduler itself has seen the victims go: tried before that, the
/// pod would find them still there, and look for others.
async fn seen(handle: &Handle, victims: &[Arc<PodInfo>]) {
    let pods = handle.informers().of::<Pod>().lister();
    let leaves = |victim: &Arc<PodInfo>| {
        pods.get(victim.namespace(), victim.name()).is_none_or(|now| {
            now.metadata.uid != victim.pod().metadata.uid
                || now.metadata.deletion_timestamp.is_some()
        })
    };
    for _ in 0..SEEN_TRIES {
        if victims.iter().all(leaves) {
            return;
        }
        tokio::time::sleep(SEEN_PAUSE).await;
    }
}

fn api(handle: &Handle, pod: &PodInfo) -> Api<Pod> {
    Api::namespaced(Arc::clone(handle.client()), pod.namespace())
}

fn merge(patch: &serde_json::Value) -> Patch {
    Patch::Strategic(patch.to_string().into())
}

async fn evict(
    (handle, telling): (&Handle, &Telling),
    pod: &PodInfo,
    node: &str,
    victim: &PodInfo,
) -> kcore::Result<()> {
    let waiting = handle.waiting_pods();
    if waiting.reject(victim.uid(), "DefaultPreemption", "preempted") {
        return Ok(());
    }
    let api = api(handle, victim);
    let now = handle.clock().now();
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": REASON,
        "message": format!("{}: preempting to accommodate a higher priority pod",
            pod.spec().scheduler_name.as_deref().unwrap_or(handle.profile())),
        "lastTransitionTime": format!("{now:.0}"),
    });
    let patch = json!({"metadata": {"uid": victim.pod().metadata.uid},
        "status": {"conditions": [condition]}});
    match api.patch_status(victim.name(), merge(&patch)).await {
        // It is gone, or another one by now: nothing is left to do.
        Err(error) if error.is_not_found() || error.is_conflict() => return Ok(()),
        result => drop(result?),
    }
    let mut options = DeleteOptions::default();
    if let Some(uid) = &victim.pod().metadata.uid {
        options = options.uid(uid);
    }
    match api.delete(victim.name(), &options).await {
        Err(error) if error.is_not_found() || error.is_conflict() => return Ok(()),
        result => drop(result?),
    }
    if telling.one_more() {
        let message = format!("Preempted by pod {} on node {node}", pod.uid());
        handle.recorder().normal(&reference_to(&**victim.pod()), "Preempted", message);
    }
    Ok(())
}
