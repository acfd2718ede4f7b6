//! Which EndpointSlices a Service should have, as plain functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kcore::object::controller_reference;

use super::facts::{Backend, Ports, SERVICE_NAME, backend, labels, ports_at};

/// The most endpoints of one slice.
/// <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#distribution-of-endpointslices>
pub const MAX_ENDPOINTS: usize = 100;
/// The label that says who keeps a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// What it says of slices that are kept here.
pub const MANAGER: &str = "endpointslice-controller.k8s.io";

/// What is to be written: creates and updates first, so that no backend is ever missing (N6).
#[derive(Debug, Default)]
pub struct SlicePlan {
    /// Slices to create.
    pub create: Vec<EndpointSlice>,
    /// Slices to update.
    pub update: Vec<EndpointSlice>,
    /// Slices to delete.
    pub delete: Vec<Arc<EndpointSlice>>,
}

/// The slices of a Service, from its pods and what slices there are. `zone` gives a node's zone.
#[must_use]
pub fn plan_slices(
    service: &Service,
    pods: &[Arc<Pod>],
    existing: &[Arc<EndpointSlice>],
    zone: &dyn Fn(&str) -> Option<String>,
) -> SlicePlan {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.clone());
    let families = families.filter(|all| !all.is_empty()).unwrap_or_else(|| vec!["IPv4".into()]);
    let mut plan = SlicePlan::default();
    for slice in existing {
        if !families.contains(&slice.address_type) {
            plan.delete.push(Arc::clone(slice));
        }
    }
    for family in &families {
        let mut groups: BTreeMap<Ports, Vec<Endpoint>> = BTreeMap::new();
        for pod in pods {
            if let Some(backend) = backend(service, pod, family == "IPv6") {
                let endpoint = endpoint(backend, zone);
                groups.entry(ports_at(service, pod)).or_default().push(endpoint);
            }
        }
        let of_family = existing.iter().filter(|slice| slice.address_type == *family);
        plan_family(service, family, groups, of_family.cloned().collect(), &mut plan);
    }
    plan
}

fn endpoint(backend: Backend, zone: &dyn Fn(&str) -> Option<String>) -> Endpoint {
    let zone = backend.node.as_deref().and_then(zone);
    Endpoint {
        addresses: vec![backend.ip.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(backend.ready),
            serving: Some(backend.serving),
            terminating: Some(backend.terminating),
        }),
        hostname: backend.hostname,
        node_name: backend.node,
        target_ref: Some(backend.target),
        zone,
        ..Endpoint::default()
    }
}

fn uid(endpoint: &Endpoint) -> Option<&str> {
    endpoint.target_ref.as_ref()?.uid.as_deref()
}

/// Endpoints stay in the slice they are in; new ones fill what has room, then new slices.
fn plan_family(
    service: &Service,
    family: &str,
    mut groups: BTreeMap<Ports, Vec<Endpoint>>,
    existing: Vec<Arc<EndpointSlice>>,
    plan: &mut SlicePlan,
) {
    if groups.is_empty() {
        // A Service without pods has one empty slice, which says so.
        let ports = existing.first().map(|slice| ports_of(slice)).unwrap_or_default();
        groups.insert(ports, Vec::new());
    }
    let mut left = existing;
    for (ports, wanted) in groups {
        let (mut own, rest): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|slice| ports_of(slice) == ports);
        left = rest;
        own.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        let lone = wanted.is_empty();
        let mut fill = Fill::new(wanted, &own);
        let mut kept = 0;
        for (at, slice) in own.iter().enumerate() {
            let endpoints = fill.take(at);
            if endpoints.is_empty() && !(lone && at == 0) {
                plan.delete.push(Arc::clone(slice));
                continue;
            }
            kept += 1;
            let new = slice_of(service, family, &ports, endpoints, Some(slice));
            if differs(&new, slice) {
                plan.update.push(new);
            }
        }
        let rest = fill.rest();
        for chunk in rest.chunks(MAX_ENDPOINTS) {
            plan.create.push(slice_of(service, family, &ports, chunk.to_vec(), None));
        }
        if kept == 0 && rest.is_empty() {
            plan.create.push(slice_of(service, family, &ports, Vec::new(), None));
        }
    }
    plan.delete.extend(left);
}

/// The endpoints that each existing slice gets.
struct Fill {
    slices: Vec<Vec<Endpoint>>,
    rest: Vec<Endpoint>,
}

impl Fill {
    fn new(wanted: Vec<Endpoint>, own: &[Arc<EndpointSlice>]) -> Self {
        let mut at: BTreeMap<String, usize> = BTreeMap::new();
        for (number, slice) in own.iter().enumerate() {
            for known in &slice.endpoints.iter().flatten().filter_map(uid).collect::<Vec<_>>() {
                at.insert((*known).to_owned(), number);
            }
        }
        let mut slices = vec![Vec::new(); own.len()];
        let mut rest = Vec::new();
        for endpoint in wanted {
            match uid(&endpoint).and_then(|uid| at.get(uid)) {
                Some(number) if slices[*number].len() < MAX_ENDPOINTS => {
                    slices[*number].push(endpoint);
                }
                _ => rest.push(endpoint),
            }
        }
        // The fullest first, so that few slices change.
        let mut order: Vec<usize> = (0..slices.len()).collect();
        order.sort_by_key(|number| std::cmp::Reverse(slices[*number].len()));
        for number in order {
            while slices[number].len() < MAX_ENDPOINTS && !rest.is_empty() {
                slices[number].push(rest.remove(0));
            }
        }
        Self { slices, rest }
    }

    fn take(&mut self, at: usize) -> Vec<Endpoint> {
        std::mem::take(&mut self.slices[at])
    }

    fn rest(self) -> Vec<Endpoint> {
        self.rest
    }
}

fn ports_of(slice: &EndpointSlice) -> Ports {
    let ports = slice.ports.iter().flatten().map(|port| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        let name = port.name.clone().filter(|name| !name.is_empty());
        (name, port.port.unwrap_or(0), protocol, port.app_protocol.clone())
    });
    ports.collect()
}

fn slice_of(
    service: &Service,
    family: &str,
    ports: &Ports,
    mut endpoints: Vec<Endpoint>,
    existing: Option<&EndpointSlice>,
) -> EndpointSlice {
    endpoints.sort_by(|a, b| a.addresses.cmp(&b.addresses));
    let name = service.metadata.name.clone().unwrap_or_default();
    let mut labels = labels(service, (MANAGED_BY, MANAGER));
    labels.insert(SERVICE_NAME.to_owned(), name.clone());
    let metadata = match existing {
        Some(slice) => slice.metadata.clone(),
        None => ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: service.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
    };
    let ports = ports.iter().map(|(name, port, protocol, app)| EndpointPort {
        name: Some(name.clone().unwrap_or_default()),
        port: Some(*port),
        protocol: Some(protocol.clone()),
        app_protocol: app.clone(),
    });
    EndpointSlice {
        metadata: ObjectMeta {
            labels: Some(labels),
            owner_references: Some(vec![controller_reference(service)]),
            ..metadata
        },
        address_type: family.to_owned(),
        endpoints: Some(endpoints),
        ports: Some(ports.collect()),
    }
}

fn differs(new: &EndpointSlice, old: &EndpointSlice) -> bool {
    let mut known = old.endpoints.clone().unwrap_or_default();
    known.sort_by(|a, b| a.addresses.cmp(&b.addresses));
    new.metadata.labels != old.metadata.labels
        || new.metadata.owner_references != old.metadata.owner_references
        || new.endpoints.as_deref().unwrap_or_default() != known
        || ports_of(new) != ports_of(old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn service() -> Service {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "default",
            "uid": "s"}, "spec": {"selector": {"app": "web"}, "ipFamilies": ["IPv4"],
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}))
        .unwrap()
    }

    fn pod(number: usize, port: i32, more: Value) -> Arc<Pod> {
        let ip = format!("10.0.{}.{}", number / 200, number % 200 + 1);
        let mut pod: Pod = serde_json::from_value(json!({"metadata": more,
            "spec": {"nodeName": "n1", "containers": [{"name": "c",
                "ports": [{"name": "http", "containerPort": port}]}]},
            "status": {"phase": "Running", "podIP": ip,
                "conditions": [{"type": "Ready", "status": "True"}]}}))
        .unwrap();
        pod.metadata.name = Some(format!("p{number}"));
        pod.metadata.uid = Some(format!("u{number}"));
        Arc::new(pod)
    }

    fn stored(plan: SlicePlan) -> Vec<Arc<EndpointSlice>> {
        let name = |(at, mut slice): (usize, EndpointSlice)| {
            slice.metadata.name = Some(format!("web-{at}"));
            Arc::new(slice)
        };
        plan.create.into_iter().enumerate().map(name).collect()
    }

    fn zone(_: &str) -> Option<String> {
        Some("z1".to_owned())
    }

    #[test]
    fn slices_hold_a_hundred_endpoints_and_change_little() {
        let mut pods: Vec<_> = (0..250).map(|number| pod(number, 8080, json!({}))).collect();
        let slices = stored(plan_slices(&service(), &pods, &[], &zone));
        let count = |slice: &EndpointSlice| slice.endpoints.as_ref().unwrap().len();
        assert_eq!(slices.iter().map(|slice| count(slice)).collect::<Vec<_>>(), [100, 100, 50]);
        let one = &slices[0].endpoints.as_ref().unwrap()[0];
        assert_eq!((one.zone.as_deref(), one.node_name.as_deref()), (Some("z1"), Some("n1")));
        let again = plan_slices(&service(), &pods, &slices, &zone);
        assert!(again.create.is_empty() && again.update.is_empty() && again.delete.is_empty());
        pods.remove(3);
        let less = plan_slices(&service(), &pods, &slices, &zone);
        assert_eq!((less.create.len(), less.update.len(), less.delete.len()), (0, 1, 0));
        assert_eq!(count(&less.update[0]), 99);
    }

    #[test]
    fn a_named_port_may_differ_by_pod_and_a_pod_that_goes_serves_on() {
        let gone = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        let pods = [pod(1, 8080, json!({})), pod(2, 9090, gone)];
        let slices = stored(plan_slices(&service(), &pods, &[], &zone));
        let port = |slice: &EndpointSlice| slice.ports.as_ref().unwrap()[0].port;
        assert_eq!(
            slices.iter().map(|slice| port(slice)).collect::<Vec<_>>(),
            [Some(8080), Some(9090)]
        );
        let leaving = slices[1].endpoints.as_ref().unwrap()[0].conditions.clone().unwrap();
        assert_eq!(
            (leaving.ready, leaving.serving, leaving.terminating),
            (Some(false), Some(true), Some(true))
        );
    }

    #[test]
    fn a_service_without_pods_has_one_empty_slice() {
        let slices = stored(plan_slices(&service(), &[], &[], &zone));
        assert_eq!(slices.len(), 1);
        let again = plan_slices(&service(), &[], &slices, &zone);
        assert!(again.create.is_empty() && again.update.is_empty() && again.delete.is_empty());
    }
}
