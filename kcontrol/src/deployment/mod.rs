//! Deployments: rollouts of ReplicaSets.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/>

pub mod facts;
mod hash;
pub mod plan;
mod revision;
pub mod status;
mod sync;

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kcore::client::DynClient;
use kcore::informer::Informers;
use kcore::name::NamespacedName;
use kcore::object::controller_of;

pub use hash::template_hash;
pub use revision::{annotate_new, annotate_size, new_set, next_revision};

use crate::claim::{candidates, claim, selector_of};
use crate::reconciler::{Action, Context, Controller, Reconciler};
use crate::{Result, pod};
use sync::Rollout;

/// Rolls a Deployment's template out.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct DeploymentReconciler;

/// The Deployment controller.
#[must_use]
pub fn controller(client: DynClient) -> Controller<Deployment> {
    Controller::new(client, DeploymentReconciler)
        .owns::<ReplicaSet>()
        .watches::<Pod>(owner_of_owner)
}

/// The Deployment of a pod's ReplicaSet: a Recreate rollout waits for old pods to go.
fn owner_of_owner(pod: &Pod, informers: &Informers) -> Vec<NamespacedName> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let set = controller_of(&pod.metadata).filter(|owner| owner.kind == "ReplicaSet");
    let set =
        set.and_then(|owner| informers.of::<ReplicaSet>().lister().get(namespace, &owner.name));
    let owner = set.as_ref().and_then(|set| controller_of(&set.metadata));
    let owner = owner.filter(|owner| owner.kind == "Deployment");
    owner.map(|owner| NamespacedName::new(namespace, &owner.name)).into_iter().collect()
}

#[async_trait]
impl Reconciler for DeploymentReconciler {
    type Error = crate::Error;

    fn name(&self) -> &str {
        "deployment-controller"
    }

    async fn reconcile(&self, key: &NamespacedName, ctx: &Context) -> Result<Action> {
        let Some(deployment) = ctx.lister::<Deployment>().get_key(key) else {
            return Ok(Action::await_change());
        };
        let selector = selector_of(&*deployment, &deployment.spec.selector)?;
        if selector.is_empty() {
            let about = kcore::event::reference_to(&*deployment);
            let message =
                "This deployment is selecting all pods. A non-empty selector is required.";
            ctx.recorder().warning(&about, "SelectingAll", message);
            return Ok(Action::await_change());
        }
        let sets = candidates::<_, ReplicaSet>(ctx, &*deployment);
        let sets = claim(ctx, &*deployment, &selector, sets).await?;
        Rollout::new(ctx, deployment, sets).sync().await
    }
}

/// Whether a pod of an old set may still run.
fn old_pods_run(ctx: &Context, old: &[Arc<ReplicaSet>]) -> bool {
    let pods = ctx.lister::<Pod>();
    old.iter().any(|set| {
        let pods = pods.owned_by(set.metadata.uid.as_deref().unwrap_or_default());
        pods.iter().any(|pod| !pod::is_finished(pod))
    })
}
