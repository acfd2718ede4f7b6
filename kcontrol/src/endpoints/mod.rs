//! EndpointSlices and Endpoints: the pods behind each Service.
//! <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/>

pub mod facts;
pub mod plan;
pub mod subsets;

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kcore::client::{Api, DeleteOptions, DynClient};
use kcore::name::NamespacedName;
use kcore::selector::LabelSelector;

use crate::Result;
use crate::reconciler::{Action, Context, Controller, Reconciler};
use facts::{SERVICE_NAME, is_kept, selected, services_of};
use plan::{MANAGED_BY, MANAGER, plan_slices};

/// The label of a node's zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// Keeps the EndpointSlices of Services that select pods.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct EndpointSliceReconciler;

/// The EndpointSlice controller.
#[must_use]
pub fn slice_controller(client: DynClient) -> Controller<Service> {
    Controller::new(client, EndpointSliceReconciler)
        .owns::<EndpointSlice>()
        .watches::<Pod>(services_of)
        .reads::<Node>()
}

#[async_trait]
impl Reconciler for EndpointSliceReconciler {
    type Error = crate::Error;

    fn name(&self) -> &str {
        "endpoint-slice-controller"
    }

    async fn reconcile(&self, key: &NamespacedName, ctx: &Context) -> Result<Action> {
        let Some(service) = ctx.lister::<Service>().get_key(key) else {
            return Ok(Action::await_change());
        };
        if !is_kept(&service) || service.metadata.deletion_timestamp.is_some() {
            return Ok(Action::await_change());
        }
        let labels = [
            (SERVICE_NAME.to_owned(), key.name.clone()),
            (MANAGED_BY.to_owned(), MANAGER.to_owned()),
        ];
        let own = LabelSelector::from_labels(labels.iter().map(|(key, value)| (key, value)));
        let mut existing = ctx.lister::<EndpointSlice>().list_in(&key.namespace, &own);
        existing.retain(|slice| slice.metadata.deletion_timestamp.is_none());
        let nodes = ctx.lister::<Node>();
        let zone =
            move |name: &str| nodes.get("", name)?.metadata.labels.as_ref()?.get(ZONE).cloned();
        let plan = plan_slices(&service, &selected(&service, ctx.informers()), &existing, &zone);
        let api: Api<EndpointSlice> = ctx.api(&key.namespace);
        for slice in plan.create {
            api.create(slice).await?;
        }
        for slice in plan.update {
            api.update(slice).await?;
        }
        for slice in plan.delete {
            let name = slice.metadata.name.as_deref().unwrap_or_default();
            let uid = slice.metadata.uid.clone().unwrap_or_default();
            match api.delete(name, &DeleteOptions::default().uid(uid)).await {
                Err(error) if error.is_not_found() => {}
                result => drop(result?),
            }
        }
        Ok(Action::await_change())
    }
}

/// Keeps the Endpoints of Services that select pods.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct EndpointsReconciler;

/// The Endpoints controller.
#[must_use]
pub fn controller(client: DynClient) -> Controller<Service> {
    Controller::new(client, EndpointsReconciler)
        .watches::<Endpoints>(|endpoints, _| {
            let meta = &endpoints.metadata;
            vec![NamespacedName::new(
                meta.namespace.clone().unwrap_or_default(),
                meta.name.clone().unwrap_or_default(),
            )]
        })
        .watches::<Pod>(services_of)
}

#[async_trait]
impl Reconciler for EndpointsReconciler {
    type Error = crate::Error;

    fn name(&self) -> &str {
        "endpoint-controller"
    }

    async fn reconcile(&self, key: &NamespacedName, ctx: &Context) -> Result<Action> {
        let api: Api<Endpoints> = ctx.api(&key.namespace);
        let known = ctx.lister::<Endpoints>().get_key(key);
        let Some(service) = ctx.lister::<Service>().get_key(key) else {
            if let Some(known) = known {
                delete_orphaned(&api, &known).await?;
            }
            return Ok(Action::await_change());
        };
        if !is_kept(&service) || service.metadata.deletion_timestamp.is_some() {
            return Ok(Action::await_change());
        }
        let pods: Vec<Arc<Pod>> = selected(&service, ctx.informers());
        let wanted = subsets::plan_endpoints(&service, &pods, known.as_deref());
        match known {
            None => drop(api.create(wanted).await?),
            Some(known) if subsets::same(&known, &wanted) => {}
            Some(_) => drop(api.update(wanted).await?),
        }
        Ok(Action::await_change())
    }
}

/// Deletes what this controller made for a Service that is gone.
async fn delete_orphaned(api: &Api<Endpoints>, known: &Endpoints) -> Result<()> {
    let (label, manager) = subsets::MANAGED_BY;
    let labels = known.metadata.labels.as_ref();
    if labels.and_then(|labels| labels.get(label)).map(String::as_str) != Some(manager) {
        return Ok(());
    }
    let name = known.metadata.name.as_deref().unwrap_or_default();
    let uid = known.metadata.uid.clone().unwrap_or_default();
    match api.delete(name, &DeleteOptions::default().uid(uid)).await {
        Err(error) if error.is_not_found() => Ok(()),
        result => Ok(result.map(drop)?),
    }
}
