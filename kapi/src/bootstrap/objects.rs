//! The objects of a new cluster, its roles apart.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Namespace, Service, ServiceAccount,
    ServicePort, ServiceSpec,
};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointPort as SlicePort, EndpointSlice,
};
use k8s_openapi::api::networking::v1::{ServiceCIDR, ServiceCIDRSpec};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::service_cidr::ServiceCidr;
use crate::versions::of;

/// The name of the cluster's own Service.
const KUBERNETES: &str = "kubernetes";
/// The port that Service answers on.
const HTTPS_PORT: i32 = 443;

fn named(namespace: Option<&str>, name: &str, labels: &[(&str, &str)]) -> ObjectMeta {
    let labels: BTreeMap<String, String> =
        labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(ToOwned::to_owned),
        labels: Some(labels).filter(|labels| !labels.is_empty()),
        ..ObjectMeta::default()
    }
}

/// The namespaces that always exist.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/#initial-namespaces>
pub(super) fn namespaces() -> Vec<Namespace> {
    ["default", "kube-system", "kube-public", "kube-node-lease"]
        .map(|name| Namespace { metadata: named(None, name, &[]), ..Namespace::default() })
        .to_vec()
}

/// The accounts of the first namespaces, so that Pods can be created before any controller runs.
pub(super) fn service_accounts() -> Vec<ServiceAccount> {
    namespaces()
        .iter()
        .map(|namespace| ServiceAccount {
            metadata: named(namespace.metadata.name.as_deref(), "default", &[]),
            ..ServiceAccount::default()
        })
        .collect()
}

/// The priorities of what the cluster itself needs.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/>
pub(super) fn priority_classes() -> Vec<PriorityClass> {
    [
        ("system-cluster-critical", 2_000_000_000, "Pods the cluster cannot do without."),
        ("system-node-critical", 2_000_001_000, "Pods their node cannot do without."),
    ]
    .map(|(name, value, description)| PriorityClass {
        metadata: named(None, name, &[]),
        value: value.into(),
        description: Some(description.to_owned()),
        ..PriorityClass::default()
    })
    .to_vec()
}

/// The range that Services get their addresses from.
pub(super) fn service_cidr(cidr: &ServiceCidr) -> ServiceCIDR {
    ServiceCIDR {
        metadata: named(None, KUBERNETES, &[]),
        spec: Some(ServiceCIDRSpec { cidrs: Some(vec![cidr.to_string()]) }),
        ..ServiceCIDR::default()
    }
}

/// The Service behind which Pods find the API server: it has the range's first address.
pub(super) fn kubernetes_service(cidr: &ServiceCidr) -> Service {
    let labels = [("component", "apiserver"), ("provider", KUBERNETES)];
    Service {
        metadata: named(Some("default"), KUBERNETES, &labels),
        spec: Some(ServiceSpec {
            cluster_ip: Some(cidr.first().to_string()),
            type_: Some("ClusterIP".to_owned()),
            ports: Some(vec![ServicePort {
                name: Some("https".to_owned()),
                port: HTTPS_PORT,
                target_port: Some(IntOrString::Int(HTTPS_PORT)),
                protocol: Some("TCP".to_owned()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Where the API server is reached, in the old form.
pub(super) fn kubernetes_endpoints(address: SocketAddr) -> Endpoints {
    let labels = [("endpointslice.kubernetes.io/skip-mirror", "true")];
    Endpoints {
        metadata: named(Some("default"), KUBERNETES, &labels),
        subsets: Some(vec![EndpointSubset {
            addresses: Some(vec![EndpointAddress {
                ip: address.ip().to_string(),
                ..EndpointAddress::default()
            }]),
            ports: Some(vec![EndpointPort {
                name: Some("https".to_owned()),
                port: i32::from(address.port()),
                protocol: Some("TCP".to_owned()),
                ..EndpointPort::default()
            }]),
            ..EndpointSubset::default()
        }]),
    }
}

/// Where the API server is reached.
pub(super) fn kubernetes_endpoint_slice(address: SocketAddr) -> EndpointSlice {
    let labels = [("kubernetes.io/service-name", KUBERNETES)];
    EndpointSlice {
        metadata: named(Some("default"), KUBERNETES, &labels),
        address_type: if address.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
        endpoints: of(vec![Endpoint {
            addresses: vec![address.ip().to_string()],
            conditions: Some(EndpointConditions {
                ready: Some(true),
                ..EndpointConditions::default()
            }),
            ..Endpoint::default()
        }]),
        ports: Some(vec![SlicePort {
            name: Some("https".to_owned()),
            port: Some(i32::from(address.port())),
            protocol: Some("TCP".to_owned()),
            ..SlicePort::default()
        }]),
    }
}
