//! What every cluster holds from its first moment: namespaces, roles, priorities, its own Service.

mod objects;
mod roles;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kcore::client::{Path, WriteOptions};
use kcore::kind::{Kind, Typed};
use kcore::name::Resource;

use crate::auth::Identity;
use crate::server::{Result, Server, Track};

impl Server {
    /// Creates what is missing. Several servers may do so at once.
    pub(crate) async fn bootstrap(&self) -> Result<()> {
        for object in objects::namespaces() {
            self.ensure(object).await?;
        }
        for account in objects::service_accounts() {
            self.ensure(account).await?;
        }
        for role in roles::cluster_roles() {
            self.ensure(role).await?;
        }
        for binding in roles::cluster_role_bindings() {
            self.ensure(binding).await?;
        }
        for role in roles::roles() {
            self.ensure(role).await?;
        }
        for binding in roles::role_bindings() {
            self.ensure(binding).await?;
        }
        for class in objects::priority_classes() {
            self.ensure(class).await?;
        }
        self.ensure(objects::service_cidr(&self.options.service_cidr)).await?;
        self.ensure(objects::kubernetes_service(&self.options.service_cidr)).await?;
        Ok(())
    }

    /// Publishes where this server is reached, behind the `kubernetes` Service.
    pub(crate) async fn advertise(&self, address: std::net::SocketAddr) -> Result<()> {
        self.ready().await?;
        let (endpoints, slice) =
            (objects::kubernetes_endpoints(address), objects::kubernetes_endpoint_slice(address));
        if address.ip().is_loopback() && self.options.loopback_pod_cidr.is_some() {
            // A cluster that lives on loopback has its server there too, outside the Pods' range.
            self.create_own(self.row(&Resource::of::<Endpoints>())?, Box::new(endpoints)).await?;
            return self
                .create_own(self.row(&Resource::of::<EndpointSlice>())?, Box::new(slice))
                .await;
        }
        self.ensure(endpoints).await?;
        self.ensure(slice).await
    }

    /// Creates an object unless one of its name exists.
    async fn ensure<K: Kind>(&self, object: K) -> Result<()> {
        let resource = Resource::of::<K>();
        let row = Arc::clone(self.row(&resource)?);
        let meta = object.metadata();
        let (namespace, name) = (meta.namespace.clone(), meta.name.clone().unwrap_or_default());
        let kind = self.kind(&row, "create")?;
        let key = match &namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name,
        };
        if kind.get(&key).is_some() {
            return Ok(());
        }
        let path = Path::collection(&resource, namespace.as_deref());
        let body: Box<dyn Typed> = Box::new(object);
        let options = WriteOptions::default();
        match self
            .create_typed(&Identity::admin(), &row, path, body, (&options, Track::Nobody))
            .await
        {
            Ok(_) => Ok(()),
            // Another server was quicker; what comes next may lean on what it wrote.
            Err(status) if status.code == 409 => self.catch_up().await,
            Err(status) => Err(status),
        }
    }
}
