//! From the cluster's objects to a table.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Service, ServicePort as ApiPort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint as ApiEndpoint, EndpointSlice};

use super::{Endpoint, Protocol, ServicePort, ServicePortName, ServiceTable, TrafficPolicy};

/// The label that tells a slice's Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label that hands a Service to another router.
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";

/// The node a table is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
}

/// A member that is optional in some Kubernetes versions and required in others.
fn optional<T>(member: impl Into<Option<T>>) -> Option<T> {
    member.into()
}

/// Builds the table of a node from all Services and EndpointSlices.
#[must_use]
pub fn build(
    node: &Node,
    services: &[Arc<Service>],
    slices: &[Arc<EndpointSlice>],
) -> ServiceTable {
    let mut by_service: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices {
        let meta = &slice.metadata;
        let service = meta.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
        if let (Some(namespace), Some(service)) = (&meta.namespace, service) {
            by_service.entry((namespace, service)).or_default().push(slice);
        }
    }
    let mut table = ServiceTable { node_ips: node.ips.clone(), services: BTreeMap::new() };
    for service in services {
        let (namespace, name) = (
            service.metadata.namespace.as_deref().unwrap_or_default(),
            service.metadata.name.as_deref().unwrap_or_default(),
        );
        let Some(spec) = service.spec.as_ref().filter(|spec| routed(service, spec)) else {
            continue;
        };
        let slices = by_service.get(&(namespace, name)).map_or(&[][..], Vec::as_slice);
        for port in spec.ports.iter().flatten() {
            let key = ServicePortName {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                port: port.name.clone().unwrap_or_default(),
            };
            if let Some(entry) = entry(node, service, spec, port, slices) {
                table.services.insert(key, entry);
            }
        }
    }
    table
}

/// Whether a Service has an address that this router serves.
fn routed(service: &Service, spec: &ServiceSpec) -> bool {
    let other = service.metadata.labels.as_ref().is_some_and(|all| all.contains_key(PROXY_NAME));
    let address = spec.cluster_ip.as_deref().unwrap_or_default();
    !other && spec.type_.as_deref() != Some("ExternalName") && !matches!(address, "" | "None")
}

fn addresses<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<IpAddr> {
    texts.into_iter().filter_map(|text| text.parse().ok()).collect()
}

fn policy(text: Option<&str>) -> TrafficPolicy {
    if text == Some("Local") { TrafficPolicy::Local } else { TrafficPolicy::Cluster }
}

fn entry(
    node: &Node,
    service: &Service,
    spec: &ServiceSpec,
    port: &ApiPort,
    slices: &[&EndpointSlice],
) -> Option<ServicePort> {
    let listed = spec.cluster_ips.as_deref().unwrap_or_default();
    let cluster_ips = match listed {
        [] => addresses(&spec.cluster_ip),
        listed => addresses(listed),
    };
    let balancers = service.status.iter().flat_map(|status| {
        let ingress = status.load_balancer.iter().flat_map(|all| all.ingress.iter().flatten());
        ingress.filter_map(|one| one.ip.as_ref())
    });
    let mut external_ips = addresses(spec.external_ips.iter().flatten());
    external_ips.extend(addresses(balancers));
    let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        let config = spec.session_affinity_config.as_ref();
        let seconds = config.and_then(|c| c.client_ip.as_ref()).and_then(|c| c.timeout_seconds);
        Duration::from_secs(seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(10_800))
    });
    Some(ServicePort {
        cluster_ips,
        port: u16::try_from(port.port).ok()?,
        protocol: Protocol::from_api(port.protocol.as_deref()),
        node_port: port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|p| *p > 0),
        external_ips,
        affinity,
        internal_policy: policy(spec.internal_traffic_policy.as_deref()),
        external_policy: policy(spec.external_traffic_policy.as_deref()),
        endpoints: endpoints(node, port, slices),
    })
}

/// The endpoints of a port, each once, whichever slices name it.
fn endpoints(node: &Node, port: &ApiPort, slices: &[&EndpointSlice]) -> Vec<Endpoint> {
    let name = port.name.as_deref().unwrap_or_default();
    let protocol = Protocol::from_api(port.protocol.as_deref());
    let mut found: BTreeMap<SocketAddr, Endpoint> = BTreeMap::new();
    for slice in slices {
        let number = slice.ports.iter().flatten().find_map(|candidate| {
            let same = candidate.name.as_deref().unwrap_or_default() == name
                && Protocol::from_api(candidate.protocol.as_deref()) == protocol;
            candidate.port.filter(|_| same).and_then(|number| u16::try_from(number).ok())
        });
        let Some(number) = number else { continue };
        let endpoints: Vec<ApiEndpoint> = optional(slice.endpoints.clone()).unwrap_or_default();
        for endpoint in &endpoints {
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            // What is not said counts as ready, as the API documents.
            let ready = conditions.ready.unwrap_or(true);
            let local = endpoint.node_name.as_ref().is_some_and(|name| *name == node.name);
            for ip in addresses(&endpoint.addresses) {
                let address = SocketAddr::new(ip, number);
                let fresh = Endpoint {
                    address,
                    ready,
                    serving: conditions.serving.unwrap_or(ready),
                    terminating: conditions.terminating.unwrap_or(false),
                    local,
                };
                let known = found.entry(address).or_insert_with(|| fresh.clone());
                // An endpoint on its way from one slice to another may stand in both for a while.
                if fresh.ready && !known.ready {
                    *known = fresh;
                }
            }
        }
    }
    found.into_values().collect()
}
