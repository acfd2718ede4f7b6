//! What every namespace has: the `default` ServiceAccount, and the cluster's root certificate.
//! <https://kubernetes.io/docs/concepts/security/service-accounts/#default-service-accounts>

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kcore::client::{Api, DynClient};
use kcore::name::NamespacedName;

use crate::Result;
use crate::reconciler::{Action, Context, Controller, Reconciler};

/// The name of every namespace's own ServiceAccount.
pub const DEFAULT_ACCOUNT: &str = "default";
/// The name of the ConfigMap with the cluster's root certificate.
pub const ROOT_CA: &str = "kube-root-ca.crt";
/// The key of the certificate in it.
pub const ROOT_CA_KEY: &str = "ca.crt";
const ROOT_CA_NOTE: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
     endpoints such as the internal service IP or kubernetes.default.svc. No other usage is \
     guaranteed across distributions of Kubernetes clusters.",
);

/// The namespace of a ServiceAccount or ConfigMap, as a key.
fn namespace_of(meta: &ObjectMeta, name: &str) -> Vec<NamespacedName> {
    let ours = meta.name.as_deref() == Some(name);
    let namespace = meta.namespace.clone().filter(|_| ours);
    namespace.map(|namespace| NamespacedName::new("", namespace)).into_iter().collect()
}

/// Whether the namespace is there to stay.
fn stays(ctx: &Context, key: &NamespacedName) -> bool {
    let namespace = ctx.lister::<Namespace>().get_key(key);
    namespace.is_some_and(|one| one.metadata.deletion_timestamp.is_none())
}

/// What another writer made, or a namespace that goes away, is no failure.
fn settle<T>(result: kcore::Result<Arc<T>>) -> Result<Action> {
    match result {
        Err(error) if error.is_already_exists() || error.is_not_found() => {}
        Err(error) if error.is(kcore::status::Reason::Forbidden) => {}
        result => drop(result?),
    }
    Ok(Action::await_change())
}

/// Gives every namespace its `default` ServiceAccount.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ServiceAccountReconciler;

/// The ServiceAccount controller.
#[must_use]
pub fn service_account_controller(client: DynClient) -> Controller<Namespace> {
    Controller::new(client, ServiceAccountReconciler)
        .watches::<ServiceAccount>(|account, _| namespace_of(&account.metadata, DEFAULT_ACCOUNT))
}

#[async_trait]
impl Reconciler for ServiceAccountReconciler {
    type Error = crate::Error;

    fn name(&self) -> &str {
        "service-account-controller"
    }

    async fn reconcile(&self, key: &NamespacedName, ctx: &Context) -> Result<Action> {
        let there = ctx.lister::<ServiceAccount>().get(&key.name, DEFAULT_ACCOUNT);
        if there.is_some() || !stays(ctx, key) {
            return Ok(Action::await_change());
        }
        let metadata =
            ObjectMeta { name: Some(DEFAULT_ACCOUNT.to_owned()), ..ObjectMeta::default() };
        let account = ServiceAccount { metadata, ..ServiceAccount::default() };
        settle(ctx.api::<ServiceAccount>(&key.name).create(account).await)
    }
}

/// Gives every namespace the cluster's root certificate.
#[derive(Debug, Clone)]
pub struct RootCaReconciler {
    certificate: Arc<str>,
}

impl RootCaReconciler {
    /// Publishes this certificate, or bundle of them, in PEM.
    #[must_use]
    pub fn new(certificate: impl Into<Arc<str>>) -> Self {
        Self { certificate: certificate.into() }
    }
}

/// The root CA publisher, for a certificate in PEM.
#[must_use]
pub fn root_ca_controller(
    client: DynClient,
    certificate: impl Into<Arc<str>>,
) -> Controller<Namespace> {
    Controller::new(client, RootCaReconciler::new(certificate))
        .watches::<ConfigMap>(|map, _| namespace_of(&map.metadata, ROOT_CA))
}

#[async_trait]
impl Reconciler for RootCaReconciler {
    type Error = crate::Error;

    fn name(&self) -> &str {
        "root-ca-certificate-publisher-controller"
    }

    async fn reconcile(&self, key: &NamespacedName, ctx: &Context) -> Result<Action> {
        if !stays(ctx, key) {
            return Ok(Action::await_change());
        }
        let api: Api<ConfigMap> = ctx.api(&key.name);
        let data = [(ROOT_CA_KEY.to_owned(), self.certificate.to_string())].into();
        let note = (ROOT_CA_NOTE.0.to_owned(), ROOT_CA_NOTE.1.to_owned());
        match ctx.lister::<ConfigMap>().get(&key.name, ROOT_CA) {
            None => {
                let metadata = ObjectMeta {
                    name: Some(ROOT_CA.to_owned()),
                    annotations: Some([note].into()),
                    ..ObjectMeta::default()
                };
                let map = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
                settle(api.create(map).await)
            }
            Some(known) if known.data.as_ref() == Some(&data) => Ok(Action::await_change()),
            Some(known) => {
                let mut changed = (*known).clone();
                changed.data = Some(data);
                changed.metadata.annotations.get_or_insert_default().insert(note.0, note.1);
                settle(api.update(changed).await)
            }
        }
    }
}
