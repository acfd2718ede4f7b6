//! Namespaces that do not exist, or are going, take no new objects (D7).

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Namespace;
use kcore::kind::Typed;
use kcore::name::Resource;
use kcore::status::{Cause, Status};

use super::{AdmissionPlugin, AdmissionRequest, Operation};

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Refuses objects in namespaces that are missing or terminating, and deletions of the namespaces
/// a cluster cannot do without.
/// <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#namespacelifecycle>
#[derive(Debug, Default, Clone, Copy)]
pub struct NamespaceLifecycle;

#[async_trait]
impl AdmissionPlugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        match request.operation {
            Operation::Create => request.resource.namespaced,
            Operation::Delete => request.is::<Namespace>(),
            _ => false,
        }
    }

    async fn admit(
        &self,
        request: &AdmissionRequest<'_>,
        _object: Option<&mut dyn Typed>,
    ) -> Result<(), Status> {
        let resource = request.resource;
        let forbidden =
            |why: &str| Status::forbidden(&resource.group, &resource.plural, request.name, why);
        if request.operation == Operation::Delete {
            return match IMMORTAL.contains(&request.name) {
                true => Err(forbidden("this namespace may not be deleted")),
                false => Ok(()),
            };
        }
        let name = request.namespace;
        let found = request.cluster.get(&Resource::of::<Namespace>(), "", name);
        let Some(namespace) = found else {
            return Err(Status::not_found("", "namespaces", name));
        };
        if namespace.meta().deletion.is_none() {
            return Ok(());
        }
        let why = format!(
            "unable to create new content in namespace {name} because it is being terminated"
        );
        Err(forbidden(&why).because(vec![Cause {
            reason: "NamespaceTerminating".to_owned(),
            message: format!("namespace {name} is being terminated"),
            field: "metadata.namespace".to_owned(),
        }]))
    }
}
