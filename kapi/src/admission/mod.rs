//! Admission: what may be changed about, and said against, a write before it is stored.

mod namespace_lifecycle;
mod pods;
mod priority;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use kcore::kind::{Kind, Typed};
use kcore::name::Resource;
use kcore::object::Object;
use kcore::status::Status;

use crate::auth::Identity;

pub use namespace_lifecycle::NamespaceLifecycle;
pub use pods::{DefaultTolerationSeconds, ServiceAccount};
pub use priority::Priority;

/// The plugins a server has unless it is told otherwise, in their order.
#[must_use]
pub fn stock() -> Vec<Arc<dyn AdmissionPlugin>> {
    vec![
        Arc::new(NamespaceLifecycle),
        Arc::new(ServiceAccount),
        Arc::new(DefaultTolerationSeconds::default()),
        Arc::new(Priority),
    ]
}

/// What a write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// A change.
    Update,
    /// A deletion.
    Delete,
    /// A connection, such as `exec`.
    Connect,
}

/// A write on its way into the store.
/// <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/>
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct AdmissionRequest<'a> {
    /// Who asks.
    pub user: &'a Identity,
    /// What is done.
    pub operation: Operation,
    /// The resource.
    pub resource: &'a Resource,
    /// The subresource, or empty.
    pub subresource: &'a str,
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// The name; empty if it is still to be generated.
    pub name: &'a str,
    /// The state before; none for a create.
    pub old: Option<&'a dyn Typed>,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// The cluster as the server sees it.
    pub cluster: &'a dyn ClusterView,
}

impl AdmissionRequest<'_> {
    /// Whether the object itself, not a subresource, is a `K`.
    #[must_use]
    pub fn is<K: Kind>(&self) -> bool {
        self.subresource.is_empty()
            && self.resource.kind == K::KIND
            && self.resource.group == K::GROUP
    }
}

/// The cluster's state, read without waiting.
pub trait ClusterView: Debug + Send + Sync {
    /// An object as of the last write the server has seen.
    fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Object>;
    /// All objects of a resource, in one namespace or in all.
    fn list(&self, resource: &Resource, namespace: Option<&str>) -> Vec<Object>;
}

/// Changes or refuses writes.
///
/// **Contract**: `admit` may be called again after another plugin changed the object, and then
/// changes nothing more; `validate` sees the final object and changes nothing; a refusal is a
/// [`Status`] that names the object and the rule.
#[async_trait]
#[diagnostic::on_unimplemented(message = "`{Self}` is no admission plugin")]
pub trait AdmissionPlugin: Debug + Send + Sync + 'static {
    /// The plugin's name, as messages have it.
    fn name(&self) -> &str;

    /// Whether the plugin cares about a request at all.
    fn handles(&self, request: &AdmissionRequest<'_>) -> bool;

    /// Changes an object, or refuses it. A deletion has no object.
    ///
    /// # Errors
    /// The refusal.
    async fn admit(
        &self,
        _request: &AdmissionRequest<'_>,
        _object: Option<&mut dyn Typed>,
    ) -> Result<(), Status> {
        Ok(())
    }

    /// Refuses an object that breaks a rule.
    ///
    /// # Errors
    /// The refusal.
    async fn validate(
        &self,
        _request: &AdmissionRequest<'_>,
        _object: Option<&dyn Typed>,
    ) -> Result<(), Status> {
        Ok(())
    }
}
