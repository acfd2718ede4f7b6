//! The Endpoints object of a Service, as a plain function.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::facts::{Backend, Ports, backend, labels, ports_at};

/// The label that says who keeps an Endpoints object.
pub const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");
/// The most addresses of one Endpoints object.
/// <https://kubernetes.io/docs/concepts/services-networking/service/#over-capacity-endpoints>
pub const MAX_ADDRESSES: usize = 1000;
/// The annotation of an object that shows fewer addresses than there are.
pub const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// The Endpoints of a Service: ready addresses and others, by the ports they have. Ready ones
/// stay where there are too many.
#[must_use]
pub fn plan_endpoints(
    service: &Service,
    pods: &[Arc<Pod>],
    existing: Option<&Endpoints>,
) -> Endpoints {
    let ipv6 = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref()?.first());
    let ipv6 = ipv6.is_some_and(|family| family == "IPv6");
    let mut all: Vec<(Ports, Backend)> = pods
        .iter()
        .filter_map(|pod| Some((ports_at(service, pod), backend(service, pod, ipv6)?)))
        .filter(|(_, backend)| backend.ready || !backend.terminating)
        .collect();
    all.sort_by_key(|(_, backend)| (!backend.ready, backend.ip));
    let over = all.len() > MAX_ADDRESSES;
    all.truncate(MAX_ADDRESSES);
    let mut groups: BTreeMap<Ports, EndpointSubset> = BTreeMap::new();
    for (ports, backend) in all {
        let subset = groups.entry(ports).or_default();
        let list =
            if backend.ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        list.get_or_insert_default().push(EndpointAddress {
            ip: backend.ip.to_string(),
            hostname: backend.hostname,
            node_name: backend.node,
            target_ref: Some(backend.target),
        });
    }
    let subsets: Vec<EndpointSubset> = groups
        .into_iter()
        .map(|(ports, subset)| EndpointSubset { ports: subset_ports(ports), ..subset })
        .collect();
    let mut metadata = existing.map_or_else(
        || ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        |known| known.metadata.clone(),
    );
    metadata.labels = Some(labels(service, MANAGED_BY));
    let notes = metadata.annotations.get_or_insert_default();
    notes.remove(OVER_CAPACITY);
    if over {
        notes.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    }
    metadata.annotations = metadata.annotations.filter(|notes| !notes.is_empty());
    Endpoints { metadata, subsets: (!subsets.is_empty()).then_some(subsets) }
}

fn subset_ports(ports: Ports) -> Option<Vec<EndpointPort>> {
    let ports: Vec<EndpointPort> = ports
        .into_iter()
        .map(|(name, port, protocol, app_protocol)| EndpointPort {
            name,
            port,
            protocol: Some(protocol),
            app_protocol,
        })
        .collect();
    (!ports.is_empty()).then_some(ports)
}

/// Whether two say the same.
#[must_use]
pub fn same(a: &Endpoints, b: &Endpoints) -> bool {
    let notes = |one: &Endpoints| one.metadata.annotations.clone().unwrap_or_default();
    a.subsets.as_deref().unwrap_or_default() == b.subsets.as_deref().unwrap_or_default()
        && a.metadata.labels == b.metadata.labels
        && notes(a) == notes(b)
}
