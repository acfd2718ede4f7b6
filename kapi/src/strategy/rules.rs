//! Kinds whose rules are those of every kind.

use k8s_openapi::api;

use super::KindStrategy;

macro_rules! plain {
    ($($name:ident: $kind:ty),* $(,)?) => {$(
        #[derive(Debug)]
        pub(crate) struct $name;
        impl KindStrategy for $name {
            type Object = $kind;
        }
    )*};
}

plain! {
    ConfigMapStrategy: api::core::v1::ConfigMap,
    EndpointsStrategy: api::core::v1::Endpoints,
    CoreEventStrategy: api::core::v1::Event,
    NamespaceStrategy: api::core::v1::Namespace,
    NodeStrategy: api::core::v1::Node,
    PodStrategy: api::core::v1::Pod,
    SecretStrategy: api::core::v1::Secret,
    ServiceAccountStrategy: api::core::v1::ServiceAccount,
    ServiceStrategy: api::core::v1::Service,
    LeaseStrategy: api::coordination::v1::Lease,
    EndpointSliceStrategy: api::discovery::v1::EndpointSlice,
    DeploymentStrategy: api::apps::v1::Deployment,
    ReplicaSetStrategy: api::apps::v1::ReplicaSet,
    PodDisruptionBudgetStrategy: api::policy::v1::PodDisruptionBudget,
    PriorityClassStrategy: api::scheduling::v1::PriorityClass,
    ClusterRoleStrategy: api::rbac::v1::ClusterRole,
    ClusterRoleBindingStrategy: api::rbac::v1::ClusterRoleBinding,
    RoleStrategy: api::rbac::v1::Role,
    RoleBindingStrategy: api::rbac::v1::RoleBinding,
}
