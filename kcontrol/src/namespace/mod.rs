//! Namespaces that are deleted: emptied, then let go.
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/>

pub mod plan;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Namespace;
use kcore::client::{Api, DeleteOptions, DynClient, ListOptions, Path, Propagation};
use kcore::name::{NamespacedName, Resource};

use crate::Result;
use crate::reconciler::{Action, Context, Controller, Reconciler};
use plan::{FINALIZER, Remains, conditions, phases};

/// When a namespace that still has content is looked at again.
pub const RETRY: Duration = Duration::from_secs(1);

/// Empties namespaces that are being deleted.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct NamespaceReconciler;

/// The namespace controller.
#[must_use]
pub fn controller(client: DynClient) -> Controller<Namespace> {
    Controller::new(client, NamespaceReconciler)
}

#[async_trait]
impl Reconciler for NamespaceReconciler {
    type Error = crate::Error;

    fn name(&self) -> &str {
        "namespace-controller"
    }

    async fn reconcile(&self, key: &NamespacedName, ctx: &Context) -> Result<Action> {
        let Some(namespace) = ctx.lister::<Namespace>().get_key(key) else {
            return Ok(Action::await_change());
        };
        let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone());
        let finalizers = finalizers.unwrap_or_default();
        let ours = finalizers.iter().any(|one| one == FINALIZER);
        if namespace.metadata.deletion_timestamp.is_none() || !ours {
            return Ok(Action::await_change());
        }
        let mut remains = Vec::new();
        let mut failure = None;
        for phase in phases(ctx.client().discover().await?) {
            for resource in phase {
                match empty(ctx, &resource, &key.name).await {
                    Ok(left) => remains.extend(left),
                    Err(error) => failure = Some(error),
                }
            }
            if !remains.is_empty() || failure.is_some() {
                break;
            }
        }
        let api: Api<Namespace> = ctx.api("");
        let words = failure.as_ref().map(ToString::to_string);
        let said = conditions(&namespace, words.as_deref(), &remains, ctx.now());
        let mut changed = (*namespace).clone();
        let status = changed.status.get_or_insert_default();
        if status.conditions.as_ref() != Some(&said) {
            status.conditions = Some(said);
            changed = (*api.update_status(changed).await?).clone();
        }
        if let Some(error) = failure {
            return Err(error.into());
        }
        if !remains.is_empty() {
            return Ok(Action::requeue_after(RETRY));
        }
        let left = finalizers.into_iter().filter(|one| one != FINALIZER).collect();
        changed.spec.get_or_insert_default().finalizers = Some(left);
        match api.update_subresource("finalize", changed).await {
            Err(error) if error.is_not_found() => Ok(Action::await_change()),
            result => Ok(result.map(|_| Action::await_change())?),
        }
    }
}

/// Deletes a resource's objects in a namespace; says what is left.
async fn empty(
    ctx: &Context,
    resource: &Resource,
    namespace: &str,
) -> kcore::Result<Option<Remains>> {
    let path = Path::collection(resource, Some(namespace));
    let everything = ListOptions::default().metadata_only();
    let client = ctx.client();
    let there = client.list(path, &everything).await?;
    if there.items.is_empty() {
        return Ok(None);
    }
    if there.items.iter().any(|object| object.meta().deletion.is_none()) {
        let options = DeleteOptions::default().propagation(Propagation::Background);
        client.delete_collection(path, &options, &ListOptions::default()).await?;
    }
    let left = client.list(path, &everything).await?.items;
    let mut finalizers: BTreeMap<String, usize> = BTreeMap::new();
    for name in left.iter().flat_map(|object| &object.meta().finalizers) {
        *finalizers.entry(name.clone()).or_default() += 1;
    }
    Ok((!left.is_empty()).then(|| Remains {
        resource: resource.group_resource().into_owned(),
        count: left.len(),
        finalizers: finalizers.into_iter().collect(),
    }))
}
