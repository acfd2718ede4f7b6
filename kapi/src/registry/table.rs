//! The built-in kinds: names, categories, subresources, strategies.
//!
//! Names and categories follow `kubectl api-resources` of Kubernetes 1.37. Versions that upstream
//! does not serve by default (alpha and beta) are left out.

use k8s_openapi::api::{
    admissionregistration, apps, authentication, authorization, autoscaling, batch, certificates,
    coordination, core, discovery, events, flowcontrol, networking, node, policy, rbac, scheduling,
    storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;

use super::{Row, ScalePart, StatusPart, Subresource, cast, cast_mut};
use crate::loopback::LoopbackCidr;
use crate::strategy;

/// A row; `spec` counts generations over that member, `status` keeps that member apart.
macro_rules! row {
    ($kind:ty $(, $part:ident)*) => {
        Row::of::<$kind>()$(.$part($part!($kind)))*
    };
}

/// How the status member of a kind is kept apart.
macro_rules! status {
    ($kind:ty) => {
        StatusPart {
            copy: |to, from| {
                cast_mut::<$kind>(to).status.clone_from(&cast::<$kind>(from).status);
            },
            clear: |object| cast_mut::<$kind>(object).status = Default::default(),
        }
    };
}

/// How the replicas of a kind are read and set.
macro_rules! scale {
    ($kind:ty) => {
        ScalePart::of::<$kind>()
    };
}

/// Whether the spec member of two objects of a kind is the same.
macro_rules! counted {
    ($kind:ty) => {
        |one, other| cast::<$kind>(one).spec == cast::<$kind>(other).spec
    };
}

/// Every built-in kind.
pub(super) fn rows(loopback: Option<LoopbackCidr>) -> Vec<Row> {
    [
        core_rows(loopback),
        workload_rows(),
        policy_rows(),
        network_rows(),
        storage_rows(),
        access_rows(),
        extension_rows(),
        device_rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn core_rows(loopback: Option<LoopbackCidr>) -> Vec<Row> {
    use Subresource as Sub;
    vec![
        row!(core::v1::ComponentStatus).short("cs"),
        row!(core::v1::ConfigMap).short("cm").strategy(strategy::ConfigMapStrategy),
        row!(core::v1::Endpoints).short("ep").strategy(strategy::EndpointsStrategy { loopback }),
        row!(core::v1::Event).short("ev").volatile().strategy(strategy::CoreEventStrategy),
        row!(core::v1::LimitRange).short("limits"),
        row!(core::v1::Namespace, status)
            .short("ns")
            .sub(Sub::Finalize)
            .strategy(strategy::NamespaceStrategy),
        row!(core::v1::Node, status).short("no").strategy(strategy::NodeStrategy),
        row!(core::v1::PersistentVolumeClaim, status).short("pvc"),
        row!(core::v1::PersistentVolume, status).short("pv"),
        row!(core::v1::Pod, status, counted)
            .short("po")
            .category("all")
            .sub(Sub::Binding)
            .sub(Sub::Eviction)
            .sub(Sub::EphemeralContainers)
            .sub(Sub::Resize)
            .sub(Sub::Log)
            .strategy(strategy::PodStrategy),
        row!(core::v1::PodTemplate),
        row!(core::v1::ReplicationController, status, counted, scale).short("rc").category("all"),
        row!(core::v1::ResourceQuota, status).short("quota"),
        row!(core::v1::Secret).strategy(strategy::SecretStrategy),
        row!(core::v1::ServiceAccount).short("sa").strategy(strategy::ServiceAccountStrategy),
        row!(core::v1::Service, status)
            .short("svc")
            .category("all")
            .strategy(strategy::ServiceStrategy),
        row!(events::v1::Event).short("ev").stored_as(
            "",
            "v1",
            strategy::convert::event_to_core,
            strategy::convert::event_from_core,
        ),
        row!(coordination::v1::Lease).volatile().strategy(strategy::LeaseStrategy),
        row!(discovery::v1::EndpointSlice).strategy(strategy::EndpointSliceStrategy { loopback }),
    ]
}

fn workload_rows() -> Vec<Row> {
    vec![
        row!(apps::v1::ControllerRevision),
        row!(apps::v1::DaemonSet, status, counted).short("ds").category("all"),
        row!(apps::v1::Deployment, status, counted, scale)
            .short("deploy")
            .category("all")
            .strategy(strategy::DeploymentStrategy),
        row!(apps::v1::ReplicaSet, status, counted, scale)
            .short("rs")
            .category("all")
            .strategy(strategy::ReplicaSetStrategy),
        row!(apps::v1::StatefulSet, status, counted, scale).short("sts").category("all"),
        row!(batch::v1::CronJob, status, counted).short("cj").category("all"),
        row!(batch::v1::Job, status, counted).category("all"),
        row!(autoscaling::v2::HorizontalPodAutoscaler, status).short("hpa").category("all"),
        row!(autoscaling::v1::HorizontalPodAutoscaler, status)
            .short("hpa")
            .category("all")
            .stored_as(
                "autoscaling",
                "v2",
                strategy::convert::autoscaler_to_v2,
                strategy::convert::autoscaler_from_v2,
            ),
    ]
}

fn policy_rows() -> Vec<Row> {
    vec![
        row!(policy::v1::PodDisruptionBudget, status, counted)
            .short("pdb")
            .strategy(strategy::PodDisruptionBudgetStrategy),
        row!(scheduling::v1::PriorityClass).short("pc").strategy(strategy::PriorityClassStrategy),
        row!(flowcontrol::v1::FlowSchema, status, counted),
        row!(flowcontrol::v1::PriorityLevelConfiguration, status, counted),
        row!(node::v1::RuntimeClass),
    ]
}

fn network_rows() -> Vec<Row> {
    vec![
        row!(networking::v1::Ingress, status, counted).short("ing"),
        row!(networking::v1::IngressClass, counted),
        row!(networking::v1::IPAddress, counted).short("ip"),
        row!(networking::v1::NetworkPolicy, counted).short("netpol"),
        row!(networking::v1::ServiceCIDR, status, counted),
    ]
}

fn storage_rows() -> Vec<Row> {
    let rows = vec![
        row!(storage::v1::CSIDriver, counted),
        row!(storage::v1::CSINode),
        row!(storage::v1::CSIStorageCapacity),
        row!(storage::v1::StorageClass).short("sc"),
        row!(storage::v1::VolumeAttachment, status),
    ];
    k8s_openapi::k8s_if_ge_1_34! {
        let rows = with(rows, [row!(storage::v1::VolumeAttributesClass).short("vac")]);
    }
    rows
}

fn access_rows() -> Vec<Row> {
    vec![
        row!(authentication::v1::SelfSubjectReview).create_only(),
        row!(authentication::v1::TokenReview).create_only(),
        row!(authorization::v1::LocalSubjectAccessReview).create_only(),
        row!(authorization::v1::SelfSubjectAccessReview).create_only(),
        row!(authorization::v1::SelfSubjectRulesReview).create_only(),
        row!(authorization::v1::SubjectAccessReview).create_only(),
        row!(certificates::v1::CertificateSigningRequest, status)
            .short("csr")
            .sub(Subresource::Approval),
        row!(rbac::v1::ClusterRole).strategy(strategy::ClusterRoleStrategy),
        row!(rbac::v1::ClusterRoleBinding).strategy(strategy::ClusterRoleBindingStrategy),
        row!(rbac::v1::Role).strategy(strategy::RoleStrategy),
        row!(rbac::v1::RoleBinding).strategy(strategy::RoleBindingStrategy),
    ]
}

fn extension_rows() -> Vec<Row> {
    use admissionregistration::v1;
    let rows = vec![
        row!(v1::MutatingWebhookConfiguration).category("api-extensions"),
        row!(v1::ValidatingWebhookConfiguration).category("api-extensions"),
        row!(v1::ValidatingAdmissionPolicy, status, counted).category("api-extensions"),
        row!(v1::ValidatingAdmissionPolicyBinding, counted).category("api-extensions"),
        row!(CustomResourceDefinition, status, counted)
            .short("crd")
            .short("crds")
            .category("api-extensions"),
        row!(APIService, status).category("api-extensions"),
    ];
    k8s_openapi::k8s_if_ge_1_36! {
        let rows = with(rows, [
            row!(v1::MutatingAdmissionPolicy, counted).category("api-extensions"),
            row!(v1::MutatingAdmissionPolicyBinding, counted).category("api-extensions"),
        ]);
    }
    rows
}

fn device_rows() -> Vec<Row> {
    let rows = Vec::new();
    k8s_openapi::k8s_if_ge_1_34! {
        use k8s_openapi::api::resource;
        let rows = with(rows, [
            row!(resource::v1::DeviceClass, counted),
            row!(resource::v1::ResourceClaim, status),
            row!(resource::v1::ResourceClaimTemplate),
            row!(resource::v1::ResourceSlice, counted),
        ]);
    }
    k8s_openapi::k8s_if_ge_1_37! {
        use k8s_openapi::api::storagemigration;
        let rows = with(rows, [
            row!(resource::v1::DeviceTaintRule, status, counted),
            row!(certificates::v1::ClusterTrustBundle),
            row!(certificates::v1::PodCertificateRequest, status),
            row!(storagemigration::v1::StorageVersionMigration, status),
        ]);
    }
    rows
}

/// PodGroups and Workloads, which upstream does not serve by default either.
pub(super) fn group_rows() -> Vec<Row> {
    let rows = Vec::new();
    k8s_openapi::k8s_if_ge_1_37! {
        let rows = with(rows, [
            row!(scheduling::v1beta1::PodGroup, status, counted)
                .strategy(strategy::PodGroupStrategy),
            row!(scheduling::v1beta1::Workload, counted).strategy(strategy::WorkloadStrategy),
        ]);
    }
    rows
}

k8s_openapi::k8s_if_ge_1_34! {
    /// Rows with those that a later version added.
    fn with(rows: Vec<Row>, more: impl IntoIterator<Item = Row>) -> Vec<Row> {
        rows.into_iter().chain(more).collect()
    }
}
