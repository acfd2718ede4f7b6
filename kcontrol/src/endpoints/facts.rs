//! Which pods stand behind a Service, and how they are told of.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kcore::informer::Informers;
use kcore::name::NamespacedName;
use kcore::selector::LabelSelector;

use crate::pod;

/// The label with the name of an object's Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label of what belongs to a Service without a ClusterIP.
pub const HEADLESS: &str = "service.kubernetes.io/headless";

/// One pod behind a Service, under one of its addresses.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    /// The address.
    pub ip: IpAddr,
    /// Its node.
    pub node: Option<String>,
    /// Its host name, if it has one in the Service's domain.
    pub hostname: Option<String>,
    /// The pod.
    pub target: ObjectReference,
    /// Whether it can be sent traffic.
    pub ready: bool,
    /// Whether its pod says it is ready, be it going away or not.
    pub serving: bool,
    /// Whether it is going away.
    pub terminating: bool,
}

/// Whether this Service's endpoints are kept by us: it selects pods, and is not just a name.
#[must_use]
pub fn is_kept(service: &Service) -> bool {
    let Some(spec) = &service.spec else { return false };
    let selects = spec.selector.as_ref().is_some_and(|selector| !selector.is_empty());
    selects && spec.type_.as_deref() != Some("ExternalName")
}

/// Whether the Service has no ClusterIP.
#[must_use]
pub fn is_headless(service: &Service) -> bool {
    let ip = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
    ip == Some("None")
}

/// The pods of a Service's selector, in the order of their names.
#[must_use]
pub fn selected(service: &Service, informers: &Informers) -> Vec<Arc<Pod>> {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let selector = LabelSelector::from_labels(selector.into_iter().flatten());
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    informers.of::<Pod>().lister().list_in(namespace, &selector)
}

/// The Services that select a pod.
#[must_use]
pub fn services_of(pod: &Pod, informers: &Informers) -> Vec<NamespacedName> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let services = informers.of::<Service>().lister();
    let services = services.list_in(namespace, &LabelSelector::everything()).into_iter();
    services
        .filter(|service| is_kept(service))
        .filter(|service| {
            let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            LabelSelector::from_labels(selector.into_iter().flatten()).matches(&labels)
        })
        .map(|one| NamespacedName::new(namespace, one.metadata.name.clone().unwrap_or_default()))
        .collect()
}

/// A pod as a backend of a Service, under its address of a family; `None` if it has none, or
/// ended for good. <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions>
#[must_use]
pub fn backend(service: &Service, pod: &Pod, ipv6: bool) -> Option<Backend> {
    if pod::is_finished(pod) {
        return None;
    }
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|one| one.ip.as_str());
    let mut all = all.chain(status.pod_ip.as_deref()).filter_map(|ip| ip.parse::<IpAddr>().ok());
    let ip = all.find(|ip| ip.is_ipv6() == ipv6)?;
    let spec = service.spec.as_ref()?;
    let always = spec.publish_not_ready_addresses == Some(true);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let serving = pod::is_ready(pod);
    let own = pod.spec.as_ref()?;
    let in_domain = own.subdomain.is_some() && own.subdomain == service.metadata.name;
    Some(Backend {
        ip,
        node: own.node_name.clone().filter(|name| !name.is_empty()),
        hostname: own.hostname.clone().filter(|name| in_domain && !name.is_empty()),
        target: ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        },
        ready: always || (serving && !terminating),
        serving,
        terminating,
    })
}

/// The port of a pod that a Service's port leads to; `None` if the pod has no port of that name.
#[must_use]
pub fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let spec = pod.spec.as_ref()?;
            let sidecars = spec.init_containers.iter().flatten();
            let sidecars = sidecars.filter(|one| one.restart_policy.as_deref() == Some("Always"));
            let ports = spec.containers.iter().chain(sidecars);
            ports
                .flat_map(|container| container.ports.iter().flatten())
                .find(|one| {
                    one.name.as_deref() == Some(name)
                        && one.protocol.as_deref().unwrap_or("TCP") == protocol
                })
                .map(|one| one.container_port)
        }
    }
}

/// The ports a Service leads to at one pod: name, number, protocol, application protocol.
pub type Ports = Vec<(Option<String>, i32, String, Option<String>)>;

/// The Service's ports as this pod has them. A headless Service may have none.
#[must_use]
pub fn ports_at(service: &Service, pod: &Pod) -> Ports {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    ports
        .into_iter()
        .flatten()
        .filter_map(|port| {
            let number = target_port(port, pod)?;
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            Some((port.name.clone(), number, protocol, port.app_protocol.clone()))
        })
        .collect()
}

/// The labels of what belongs to a Service: its own, who manages it, and more.
#[must_use]
pub fn labels(service: &Service, managed_by: (&str, &str)) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(managed_by.0.to_owned(), managed_by.1.to_owned());
    labels
}
