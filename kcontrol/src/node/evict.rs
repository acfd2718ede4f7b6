//! Evicts pods from nodes whose NoExecute taints they do not tolerate, or no longer do.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions>

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use kcore::client::{Api, DeleteOptions, DynClient};
use kcore::event::reference_to;
use kcore::informer::Informers;
use kcore::name::NamespacedName;

use super::plan::NO_EXECUTE;
use crate::Result;
use crate::reconciler::{Action, Context, Controller, Reconciler};

/// Whether a toleration is for a taint.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let effect = set(&toleration.effect).is_none_or(|effect| effect == taint.effect);
    let key = set(&toleration.key).is_none_or(|key| key == taint.key);
    let value = match toleration.operator.as_deref() {
        Some("Exists") => true,
        _ => {
            toleration.key.is_some()
                && toleration.value.as_deref().unwrap_or_default()
                    == taint.value.as_deref().unwrap_or_default()
        }
    };
    effect && key && value
}

/// When a pod has to leave a node with these taints; `None` if never. A taint is tolerated for as
/// long as the shortest of its tolerations says; the taint that ends first counts.
#[must_use]
pub fn plan_eviction(
    tolerations: &[Toleration],
    taints: &[Taint],
    now: Timestamp,
) -> Option<Timestamp> {
    let leave = |taint: &Taint| {
        let matching: Vec<&Toleration> =
            tolerations.iter().filter(|one| tolerates(one, taint)).collect();
        if matching.is_empty() {
            return Some(now);
        }
        let seconds = matching.iter().filter_map(|one| one.toleration_seconds).min()?;
        let since = taint.time_added.as_ref().map_or(now, |time| time.0);
        Some(since + SignedDuration::from_secs(seconds.clamp(0, i64::from(u32::MAX))))
    };
    taints.iter().filter(|taint| taint.effect == NO_EXECUTE).filter_map(leave).min()
}

/// Evicts pods by taint, and pods of nodes that are gone.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TaintEvictionReconciler;

/// The taint eviction controller.
#[must_use]
pub fn eviction_controller(client: DynClient) -> Controller<Pod> {
    Controller::new(client, TaintEvictionReconciler).watches::<Node>(pods_on)
}

fn pods_on(node: &Node, informers: &Informers) -> Vec<NamespacedName> {
    let pods = informers.of::<Pod>();
    let by_node = pods.objects().add_index("nodeName", |object| {
        let pod = object.view::<Pod>().ok();
        let node = pod.and_then(|pod| pod.spec.as_ref()?.node_name.clone());
        node.into_iter().collect()
    });
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let pods = pods.objects().indexer().by_index(by_node, name);
    pods.iter().map(|pod| pod.meta().key()).collect()
}

#[async_trait]
impl Reconciler for TaintEvictionReconciler {
    type Error = crate::Error;

    fn name(&self) -> &str {
        "taint-eviction-controller"
    }

    async fn reconcile(&self, key: &NamespacedName, ctx: &Context) -> Result<Action> {
        let Some(pod) = ctx.lister::<Pod>().get_key(key) else {
            return Ok(Action::await_change());
        };
        let Some(spec) = pod.spec.as_ref() else { return Ok(Action::await_change()) };
        let name = spec.node_name.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Ok(Action::await_change());
        }
        let Some(node) = ctx.lister::<Node>().get("", name) else {
            return collect(ctx, &pod, name).await;
        };
        if pod.metadata.deletion_timestamp.is_some() {
            return Ok(Action::await_change());
        }
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref());
        let tolerations = spec.tolerations.as_deref().unwrap_or_default();
        let now = ctx.now();
        let Some(due) = plan_eviction(tolerations, taints.unwrap_or_default(), now) else {
            return Ok(Action::await_change());
        };
        if due > now {
            let left = Duration::try_from(due.duration_since(now)).unwrap_or_default();
            return Ok(Action::requeue_after(left));
        }
        let message = format!("Marking for deletion Pod {key}");
        ctx.recorder().normal(&reference_to(&*pod), "TaintManagerEviction", message);
        delete(ctx, &pod, DeleteOptions::default()).await
    }
}

/// Deletes a pod of a node that is gone: nobody is left to end it.
async fn collect(ctx: &Context, pod: &Arc<Pod>, node: &str) -> Result<Action> {
    // A cache that lags must not make a new node's pods go.
    if ctx.api::<Node>("").get_opt(node).await?.is_some() {
        return Ok(Action::requeue_after(Duration::from_secs(1)));
    }
    delete(ctx, pod, DeleteOptions::default().grace_period_seconds(0)).await
}

async fn delete(ctx: &Context, pod: &Arc<Pod>, options: DeleteOptions) -> Result<Action> {
    let api: Api<Pod> = ctx.api(pod.metadata.namespace.as_deref().unwrap_or_default());
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    match api.delete(name, &options.uid(uid)).await {
        Err(error) if error.is_not_found() => Ok(Action::await_change()),
        result => Ok(result.map(|_| Action::await_change())?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_pod_leaves_when_the_first_taint_is_tolerated_no_longer() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let check = |tolerations: Value, taints: Value, expect: Option<i64>| {
            let tolerations: Vec<Toleration> = serde_json::from_value(tolerations).unwrap();
            let taints: Vec<Taint> = serde_json::from_value(taints).unwrap();
            let due = plan_eviction(&tolerations, &taints, now);
            assert_eq!(due.map(|due| due.duration_since(now).as_secs()), expect);
        };
        let added = "2026-01-01T00:00:00Z";
        let taint = |key: &str, effect: &str| -> Value {
            let mut taint = json!({"key": key, "effect": effect});
            taint["timeAdded"] = json!(added);
            taint
        };
        let for_seconds = |key: &str, seconds: i64| -> Value {
            let mut toleration = json!({"key": key, "operator": "Exists"});
            toleration["tolerationSeconds"] = json!(seconds);
            toleration
        };
        check(json!([]), json!([taint("a", "NoSchedule")]), None);
        check(json!([]), json!([taint("a", "NoExecute")]), Some(0));
        check(json!([{"operator": "Exists"}]), json!([taint("a", "NoExecute")]), None);
        check(json!([for_seconds("a", 300)]), json!([taint("a", "NoExecute")]), Some(300));
        check(
            json!([for_seconds("a", 300), for_seconds("b", 20)]),
            json!([taint("a", "NoExecute"), taint("b", "NoExecute")]),
            Some(20),
        );
        check(json!([{"key": "a", "value": "x"}]), json!([taint("a", "NoExecute")]), Some(0));
    }
}
