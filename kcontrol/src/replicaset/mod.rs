//! ReplicaSets: so many pods of one template.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/>

pub mod plan;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kcore::client::{Api, DeleteOptions, DynClient};
use kcore::event::reference_to;
use kcore::informer::Informers;
use kcore::name::NamespacedName;
use kcore::object::{controller_of, controller_reference};
use kcore::selector::LabelSelector;

use crate::claim::{candidates, claim, selector_of};
use crate::error::is_namespace_terminating;
use crate::reconciler::{Action, Context, Controller, Reconciler};
use crate::{Result, pod};
use plan::{Failure, Scale};

/// Keeps as many pods of a ReplicaSet's template as it says.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ReplicaSetReconciler;

/// The ReplicaSet controller.
#[must_use]
pub fn controller(client: DynClient) -> Controller<ReplicaSet> {
    Controller::new(client, ReplicaSetReconciler).owns::<Pod>().watches::<Pod>(selecting)
}

/// The sets that could adopt a pod that nobody manages.
fn selecting(pod: &Pod, informers: &Informers) -> Vec<NamespacedName> {
    if controller_of(&pod.metadata).is_some() {
        return Vec::new();
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let sets = informers.of::<ReplicaSet>().lister();
    let sets = sets.list_in(namespace, &LabelSelector::everything()).into_iter();
    sets.filter(|set| {
        LabelSelector::from_api(Some(&set.spec.selector)).is_ok_and(|own| own.matches(&labels))
    })
    .map(|set| NamespacedName::new(namespace, set.metadata.name.clone().unwrap_or_default()))
    .collect()
}

#[async_trait]
impl Reconciler for ReplicaSetReconciler {
    type Error = crate::Error;

    fn name(&self) -> &str {
        "replicaset-controller"
    }

    async fn reconcile(&self, key: &NamespacedName, ctx: &Context) -> Result<Action> {
        let Some(set) = ctx.lister::<ReplicaSet>().get_key(key) else {
            return Ok(Action::await_change());
        };
        let selector = selector_of(&*set, &set.spec.selector)?;
        let mut pods = candidates::<_, Pod>(ctx, &*set);
        pods.retain(|pod| !pod::is_finished(pod));
        let mut active = claim(ctx, &*set, &selector, pods).await?;
        let all = active.len();
        active.retain(|pod| pod::is_active(pod));
        let terminating = all - active.len();
        let failure = if set.metadata.deletion_timestamp.is_none() {
            scale(ctx, &set, &active).await
        } else {
            None
        };
        report(ctx, &set, &active, terminating, failure.as_ref().map(|(words, _)| words)).await?;
        if let Some((_, error)) = failure {
            return Err(error);
        }
        Ok(Action::requeue_opt(next_available(&set, &active, ctx)))
    }
}

/// When the next ready pod becomes available.
fn next_available(set: &ReplicaSet, active: &[Arc<Pod>], ctx: &Context) -> Option<Duration> {
    let seconds = set.spec.min_ready_seconds.filter(|seconds| *seconds > 0)?;
    let now = ctx.now();
    let waiting = active.iter().filter(|pod| !pod::is_available(pod, seconds, now));
    let left = |pod: &Arc<Pod>| {
        let due = pod::ready_since(pod)? + jiff::SignedDuration::from_secs(seconds.into());
        Duration::try_from(due.duration_since(now)).ok()
    };
    waiting.filter_map(left).min()
}

type Failed = Option<(Failure, crate::Error)>;

async fn scale(ctx: &Context, set: &ReplicaSet, active: &[Arc<Pod>]) -> Failed {
    match plan::plan_scale(active.len(), set.spec.replicas.unwrap_or(1)) {
        Scale::Keep => None,
        Scale::Create(count) => create(ctx, set, count).await,
        Scale::Delete(count) => {
            let related = related(ctx, set);
            let victims = plan::choose_victims(active.to_vec(), &related, count, ctx.now());
            delete(ctx, set, victims).await
        }
    }
}

/// The pods of all sets that the set's own owner manages.
fn related(ctx: &Context, set: &ReplicaSet) -> Vec<Arc<Pod>> {
    let sets = match controller_of(&set.metadata) {
        None => vec![set.metadata.uid.clone().unwrap_or_default()],
        Some(owner) => ctx
            .lister::<ReplicaSet>()
            .owned_by(&owner.uid)
            .iter()
            .map(|set| set.metadata.uid.clone().unwrap_or_default())
            .collect(),
    };
    let pods = ctx.lister::<Pod>();
    sets.iter().flat_map(|uid| pods.owned_by(uid)).collect()
}

async fn create(ctx: &Context, set: &ReplicaSet, count: usize) -> Failed {
    let api: Api<Pod> = ctx.api(set.metadata.namespace.as_deref().unwrap_or_default());
    let about = reference_to(set);
    for batch in plan::slow_start(count) {
        let creates = (0..batch).map(|_| api.create(pod_of(set, controller_reference(set))));
        let mut failed = None;
        for result in join_all(creates).await {
            match result {
                Ok(pod) => {
                    let name = pod.metadata.name.as_deref().unwrap_or_default();
                    let message = format!("Created pod: {name}");
                    ctx.recorder().normal(&about, "SuccessfulCreate", message);
                }
                // In a namespace that goes away there is nothing to tell.
                Err(error) if is_namespace_terminating(&error) => return None,
                Err(error) => {
                    ctx.recorder().warning(
                        &about,
                        "FailedCreate",
                        format!("Error creating: {error}"),
                    );
                    failed = Some(error);
                }
            }
        }
        if let Some(error) = failed {
            let failure = Failure { reason: "FailedCreate", message: error.to_string() };
            return Some((failure, error.into()));
        }
    }
    None
}

fn pod_of(set: &ReplicaSet, owner: OwnerReference) -> Pod {
    let template = set.spec.template.clone().unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.metadata.name.as_deref().unwrap_or_default())),
            namespace: set.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

async fn delete(ctx: &Context, set: &ReplicaSet, victims: Vec<Arc<Pod>>) -> Failed {
    let api: Api<Pod> = ctx.api(set.metadata.namespace.as_deref().unwrap_or_default());
    let about = reference_to(set);
    let deletes = victims.iter().map(|pod| {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let (api, name) = (&api, pod.metadata.name.as_deref().unwrap_or_default());
        async move { (name, api.delete(name, &DeleteOptions::default().uid(uid)).await) }
    });
    let mut failed = None;
    for (name, result) in join_all(deletes).await {
        match result {
            Ok(_) => {
                let message = format!("Deleted pod: {name}");
                ctx.recorder().normal(&about, "SuccessfulDelete", message);
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                ctx.recorder().warning(&about, "FailedDelete", format!("Error deleting: {error}"));
                let failure = Failure { reason: "FailedDelete", message: error.to_string() };
                failed = Some((failure, error.into()));
            }
        }
    }
    failed
}

/// Writes the status if it says something new.
async fn report(
    ctx: &Context,
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    terminating: usize,
    failure: Option<&Failure>,
) -> Result<()> {
    let status = plan::compute_status(set, active, terminating, failure, ctx.now());
    if plan::same_status(&status, &set.status.clone().unwrap_or_default()) {
        return Ok(());
    }
    let api: Api<ReplicaSet> = ctx.api(set.metadata.namespace.as_deref().unwrap_or_default());
    let mut new = set.clone();
    new.status = Some(status);
    match api.update_status(new).await {
        Err(error) if error.is_not_found() => Ok(()),
        result => Ok(result.map(drop)?),
    }
}
