//! Services, endpoints, ingresses and policies.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Endpoints, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{
    IPAddress, Ingress, IngressClass, NetworkPolicy, ServiceCIDR,
};
use serde_json::Value;

use super::cell::{NONE, UNSET, age_of, labels, list_or_none, name_of, or_none, selector, some_of};
use super::printer::{Printer, age, cells, name, printer, text, wide};
use crate::versions::read;

/// Items of a list that a cell shows.
const MAX_SHOWN: usize = 3;

pub(super) fn printer(group: &str, kind: &str) -> Option<&'static Printer> {
    Some(match (group, kind) {
        ("", "Service") => &SERVICE,
        ("", "Endpoints") => &ENDPOINTS,
        ("discovery.k8s.io", "EndpointSlice") => &ENDPOINT_SLICE,
        ("networking.k8s.io", "Ingress") => &INGRESS,
        ("networking.k8s.io", "IngressClass") => &INGRESS_CLASS,
        ("networking.k8s.io", "NetworkPolicy") => &NETWORK_POLICY,
        ("networking.k8s.io", "IPAddress") => &IP_ADDRESS,
        ("networking.k8s.io", "ServiceCIDR") => &SERVICE_CIDR,
        _ => return None,
    })
}

static SERVICE: Printer = printer!(
    Service,
    |object, now| {
        let spec = object.spec.clone().unwrap_or_default();
        let address = spec.cluster_ips.iter().flatten().next().or(spec.cluster_ip.as_ref());
        cells![
            name_of(&object.metadata),
            spec.type_.clone().unwrap_or_default(),
            or_none(address.map(String::as_str)),
            external(object, &spec),
            ports(&spec),
            age_of(&object.metadata, now),
            labels(spec.selector.as_ref()),
        ]
    },
    [
        name(),
        text("Type", "How the service is reached."),
        text("Cluster-IP", "Its address within the cluster."),
        text("External-IP", "Its addresses for the outside."),
        text("Port(s)", "Its ports, with those of the nodes behind a colon."),
        age(),
        wide("Selector", "The labels that select the pods."),
    ]
);

fn external(service: &Service, spec: &ServiceSpec) -> String {
    let own = spec.external_ips.iter().flatten();
    match spec.type_.as_deref() {
        Some("ExternalName") => or_none(spec.external_name.as_deref()),
        Some("LoadBalancer") => {
            let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
            let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref());
            let given = ingress.into_iter().flatten();
            let given = given.filter_map(|one| one.ip.as_ref().or(one.hostname.as_ref()));
            let all: Vec<&String> = given.chain(own).collect();
            if all.is_empty() { "<pending>".to_owned() } else { list_or_none(all) }
        }
        _ => list_or_none(own),
    }
}

fn ports(spec: &ServiceSpec) -> String {
    list_or_none(spec.ports.iter().flatten().map(|port| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        match port.node_port {
            Some(node_port) if node_port > 0 => format!("{}:{node_port}/{protocol}", port.port),
            _ => format!("{}/{protocol}", port.port),
        }
    }))
}

static ENDPOINTS: Printer = printer!(
    Endpoints,
    |object, now| {
        cells![name_of(&object.metadata), endpoints(object), age_of(&object.metadata, now)]
    },
    [name(), text("Endpoints", "The addresses and ports that are ready."), age()]
);

fn endpoints(object: &Endpoints) -> String {
    let mut all = Vec::new();
    for subset in object.subsets.iter().flatten() {
        let addresses = || subset.addresses.iter().flatten().map(|address| &address.ip);
        let ports = subset.ports.as_deref().unwrap_or_default();
        if ports.is_empty() {
            all.extend(addresses().cloned());
        }
        for port in ports {
            all.extend(addresses().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{}", port.port),
                false => format!("{ip}:{}", port.port),
            }));
        }
    }
    some_of(&all, MAX_SHOWN, NONE)
}

static ENDPOINT_SLICE: Printer = printer!(
    EndpointSlice,
    |object, now| {
        let ports: Vec<String> = object
            .ports
            .iter()
            .flatten()
            .map(|port| match (port.port, port.name.as_deref()) {
                (Some(port), _) => port.to_string(),
                (None, Some(name)) if !name.is_empty() => name.to_owned(),
                _ => "*".to_owned(),
            })
            .collect();
        let all = read(&object.endpoints);
        let addresses: Vec<String> =
            all.iter().flat_map(|one| one.addresses.iter().cloned()).collect();
        cells![
            name_of(&object.metadata),
            object.address_type.clone(),
            some_of(&ports, MAX_SHOWN, UNSET),
            some_of(&addresses, MAX_SHOWN, UNSET),
            age_of(&object.metadata, now),
        ]
    },
    [
        name(),
        text("AddressType", "What kind of addresses it holds."),
        text("Ports", "The ports of the endpoints."),
        text("Endpoints", "The addresses of the endpoints."),
        age(),
    ]
);

static INGRESS: Printer = printer!(
    Ingress,
    ingress,
    [
        name(),
        text("Class", "Which controller carries it out."),
        text("Hosts", "The hosts it answers for."),
        text("Address", "Where it is reached."),
        text("Ports", "The ports it listens on."),
        age(),
    ]
);

fn ingress(object: &Ingress, now: Timestamp) -> Vec<Value> {
    let spec = object.spec.clone().unwrap_or_default();
    let rules = spec.rules.iter().flatten();
    let hosts: Vec<String> =
        rules.filter_map(|rule| rule.host.clone()).filter(|host| !host.is_empty()).collect();
    let balancer = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let given = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    let given: Vec<&str> =
        given.filter_map(|one| one.ip.as_deref().or(one.hostname.as_deref())).collect();
    let secured = spec.tls.as_ref().is_some_and(|tls| !tls.is_empty());
    cells![
        name_of(&object.metadata),
        or_none(spec.ingress_class_name.as_deref()),
        some_of(&hosts, MAX_SHOWN, "*"),
        given.join(","),
        if secured { "80, 443" } else { "80" },
        age_of(&object.metadata, now),
    ]
}

static INGRESS_CLASS: Printer = printer!(
    IngressClass,
    |object, now| {
        let spec = object.spec.clone().unwrap_or_default();
        let parameters = spec.parameters.map(|parameters| {
            let group = parameters.api_group.filter(|group| !group.is_empty());
            let dot = group.map(|group| format!(".{group}")).unwrap_or_default();
            format!("{}{dot}/{}", parameters.kind, parameters.name)
        });
        cells![
            name_of(&object.metadata),
            spec.controller.unwrap_or_default(),
            or_none(parameters.as_deref()),
            age_of(&object.metadata, now),
        ]
    },
    [
        name(),
        text("Controller", "Who carries out ingresses of the class."),
        text("Parameters", "What configures the controller."),
        age(),
    ]
);

static NETWORK_POLICY: Printer = printer!(
    NetworkPolicy,
    |object, now| {
        let pods = object.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
        cells![
            name_of(&object.metadata),
            pods.map_or_else(|| NONE.to_owned(), selector),
            age_of(&object.metadata, now),
        ]
    },
    [name(), text("Pod-Selector", "The pods it is about."), age()]
);

static IP_ADDRESS: Printer = printer!(
    IPAddress,
    |object, now| {
        let spec = read(&object.spec);
        let parent = read(&spec.parent_ref);
        let group = parent.group.as_deref().filter(|group| !group.is_empty());
        let mut parts = vec![match group {
            Some(group) => format!("{}.{group}", parent.resource),
            None => parent.resource.clone(),
        }];
        parts.extend(parent.namespace.clone().filter(|namespace| !namespace.is_empty()));
        parts.push(parent.name.clone());
        cells![name_of(&object.metadata), parts.join("/"), age_of(&object.metadata, now)]
    },
    [name(), text("ParentRef", "What the address belongs to."), age()]
);

static SERVICE_CIDR: Printer = printer!(
    ServiceCIDR,
    |object, now| {
        let ranges = object.spec.as_ref().and_then(|spec| spec.cidrs.as_ref());
        cells![
            name_of(&object.metadata),
            list_or_none(ranges.into_iter().flatten()),
            age_of(&object.metadata, now),
        ]
    },
    [name(), text("CIDRs", "The ranges of addresses for services."), age()]
);
