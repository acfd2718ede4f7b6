//! Services, Endpoints and EndpointSlices.
//! <https://kubernetes.io/docs/concepts/services-networking/service/>

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Endpoints, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{FieldErrors, FieldPath, KindStrategy, meta};
use crate::loopback::LoopbackCidr;

/// The cluster address of a headless Service.
pub(crate) const NONE: &str = "None";
/// Endpoints that one slice may have.
const MAX_ENDPOINTS: usize = 1_000;
/// Ports that one slice may have.
const MAX_PORTS: usize = 20_000;

fn is_external(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some("ExternalName")
}

/// Rules of Services. Addresses and node ports are handed out where the Service is stored.
#[derive(Debug)]
pub(crate) struct ServiceStrategy;

impl KindStrategy for ServiceStrategy {
    type Object = Service;

    fn check_name(&self, name: &str) -> Result<(), String> {
        meta::dns_1035_label(name)
    }

    fn apply_defaults(&self, object: &mut Service) {
        let spec = object.spec.get_or_insert_default();
        let text = |slot: &mut Option<String>, value: &str| {
            if slot.as_deref().unwrap_or_default().is_empty() {
                *slot = Some(value.to_owned());
            }
        };
        text(&mut spec.type_, "ClusterIP");
        text(&mut spec.session_affinity, "None");
        if spec.session_affinity.as_deref() == Some("ClientIP") {
            let config = spec.session_affinity_config.get_or_insert_default();
            config.client_ip.get_or_insert_default().timeout_seconds.get_or_insert(10_800);
        } else {
            spec.session_affinity_config = None;
        }
        for port in spec.ports.iter_mut().flatten() {
            text(&mut port.protocol, "TCP");
            let unset = |target: &IntOrString| match target {
                IntOrString::Int(number) => *number == 0,
                IntOrString::String(name) => name.is_empty(),
            };
            if port.target_port.as_ref().is_none_or(unset) {
                port.target_port = Some(IntOrString::Int(port.port));
            }
        }
        let kind = spec.type_.clone().unwrap_or_default();
        if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
            text(&mut spec.internal_traffic_policy, "Cluster");
        }
        if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
            text(&mut spec.external_traffic_policy, "Cluster");
        }
        if kind == "LoadBalancer" {
            spec.allocate_load_balancer_node_ports.get_or_insert(true);
        }
    }

    fn prepare_update(&self, new: &mut Service, old: &Service) {
        let (Some(new), Some(old)) = (&mut new.spec, &old.spec) else { return };
        keep_addresses(new, old);
    }

    fn validate(&self, object: &Service, errors: &mut FieldErrors) {
        if let Some(spec) = &object.spec {
            validate_spec(spec, &FieldPath::new("spec"), errors);
        }
    }

    fn validate_update(&self, new: &Service, old: &Service, errors: &mut FieldErrors) {
        let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
        let address = |spec: &ServiceSpec| spec.cluster_ip.clone().unwrap_or_default();
        let (now, before) = (address(new), address(old));
        if !before.is_empty() && now != before && !is_external(new) && !is_external(old) {
            errors.invalid(
                &FieldPath::new("spec.clusterIPs").index(0),
                &now,
                "may not change once set",
            );
        }
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }

    fn fields(&self, object: &Service) -> Vec<(&'static str, String)> {
        let Some(spec) = &object.spec else { return Vec::new() };
        [("spec.clusterIP", &spec.cluster_ip), ("spec.type", &spec.type_)]
            .into_iter()
            .filter_map(|(path, value)| Some((path, value.clone()?)))
            .collect()
    }
}

/// What was handed out stays where an update says nothing of it.
fn keep_addresses(new: &mut ServiceSpec, old: &ServiceSpec) {
    if is_external(new) {
        new.cluster_ip = None;
        new.cluster_ips = None;
        new.ip_families = None;
        new.ip_family_policy = None;
        return;
    }
    if !is_external(old) {
        if new.cluster_ip.as_deref().unwrap_or_default().is_empty() {
            new.cluster_ip.clone_from(&old.cluster_ip);
        }
        if new.cluster_ips.as_ref().is_none_or(Vec::is_empty) {
            new.cluster_ips.clone_from(&old.cluster_ips);
        }
        new.ip_families = new.ip_families.take().or_else(|| old.ip_families.clone());
        new.ip_family_policy = new.ip_family_policy.take().or_else(|| old.ip_family_policy.clone());
    }
    let wants_node_ports =
        |spec: &ServiceSpec| matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer"));
    let wants = wants_node_ports(new);
    let keep = wants && wants_node_ports(old);
    for port in new.ports.iter_mut().flatten() {
        if !wants {
            port.node_port = None;
            continue;
        }
        let same =
            |before: &&ServicePort| before.port == port.port && before.protocol == port.protocol;
        let before = old.ports.iter().flatten().find(same).and_then(|before| before.node_port);
        if keep && port.node_port.unwrap_or_default() == 0 {
            port.node_port = before;
        }
    }
}

fn validate_spec(spec: &ServiceSpec, field: &FieldPath, errors: &mut FieldErrors) {
    let types = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    let kind = spec.type_.as_deref().unwrap_or_default();
    if !types.contains(&kind) {
        errors.not_supported(&field.child("type"), kind, &types);
    }
    let headless = spec.cluster_ip.as_deref() == Some(NONE);
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.required(&field.child("ports"), "");
    }
    if kind == "ExternalName" {
        let name = spec.external_name.as_deref().unwrap_or_default();
        let path = field.child("externalName");
        match name.trim_end_matches('.') {
            "" => errors.required(&path, ""),
            name => errors.check(&path, name, meta::dns_subdomain(name)),
        }
    }
    if headless && matches!(kind, "NodePort" | "LoadBalancer") {
        errors.invalid(
            &field.child("clusterIPs").index(0),
            NONE,
            format!("may not be set to 'None' for {kind} services"),
        );
    }
    let address = spec.cluster_ip.as_deref().unwrap_or_default();
    if !address.is_empty() && !headless && address.parse::<IpAddr>().is_err() {
        errors.invalid(
            &field.child("clusterIPs").index(0),
            address,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        );
    }
    validate_ports(ports, kind, field, errors);
    meta::validate_labels(spec.selector.as_ref(), &field.child("selector"), errors);
    for (name, value, known) in [
        ("sessionAffinity", &spec.session_affinity, ["ClientIP", "None"]),
        ("internalTrafficPolicy", &spec.internal_traffic_policy, ["Cluster", "Local"]),
        ("externalTrafficPolicy", &spec.external_traffic_policy, ["Cluster", "Local"]),
    ] {
        if let Some(value) = value.as_deref().filter(|value| !known.contains(value)) {
            errors.not_supported(&field.child(name), value, &known);
        }
    }
    let timeout = spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref())
        .and_then(|client| client.timeout_seconds);
    if let Some(seconds) = timeout.filter(|seconds| !(1..=86_400).contains(seconds)) {
        errors.invalid(
            &field.child("sessionAffinityConfig.clientIP.timeoutSeconds"),
            seconds,
            "must be greater than 0 and less than 86400",
        );
    }
}

fn validate_ports(ports: &[ServicePort], kind: &str, spec: &FieldPath, errors: &mut FieldErrors) {
    let (mut names, mut pairs) = (BTreeSet::new(), BTreeSet::new());
    for (at, port) in ports.iter().enumerate() {
        let field = spec.child("ports").index(at);
        let name = port.name.as_deref().unwrap_or_default();
        if name.is_empty() {
            if ports.len() > 1 {
                errors.required(&field.child("name"), "");
            }
        } else {
            errors.check(&field.child("name"), name, meta::dns_label(name));
            if !names.insert(name) {
                errors.duplicate(&field.child("name"), name);
            }
        }
        if !(1..=65_535).contains(&port.port) {
            let detail = "must be between 1 and 65535, inclusive";
            errors.invalid(&field.child("port"), port.port, detail);
        }
        let protocols = ["SCTP", "TCP", "UDP"];
        let protocol = port.protocol.as_deref().unwrap_or_default();
        if !protocols.contains(&protocol) {
            errors.not_supported(&field.child("protocol"), protocol, &protocols);
        }
        if let Some(IntOrString::Int(number)) = port.target_port
            && !(1..=65_535).contains(&number)
        {
            let detail = "must be between 1 and 65535, inclusive";
            errors.invalid(&field.child("targetPort"), number, detail);
        }
        if kind == "ClusterIP" && port.node_port.is_some_and(|number| number != 0) {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.forbidden(&field.child("nodePort"), detail);
        }
        if !pairs.insert((port.port, protocol)) {
            errors.duplicate(&field, port);
        }
    }
}

/// Rules of Endpoints.
#[derive(Debug)]
pub(crate) struct EndpointsStrategy {
    /// The loopback addresses that endpoints may have.
    pub(crate) loopback: Option<LoopbackCidr>,
}

impl KindStrategy for EndpointsStrategy {
    type Object = Endpoints;

    fn create_on_update(&self) -> bool {
        true
    }

    fn apply_defaults(&self, object: &mut Endpoints) {
        let subsets = object.subsets.iter_mut().flatten();
        for port in subsets.flat_map(|subset| subset.ports.iter_mut().flatten()) {
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
    }

    fn validate(&self, object: &Endpoints, errors: &mut FieldErrors) {
        for (at, subset) in object.subsets.iter().flatten().enumerate() {
            let field = FieldPath::new("subsets").index(at);
            let ready = subset.addresses.as_deref().unwrap_or_default();
            let waiting = subset.not_ready_addresses.as_deref().unwrap_or_default();
            if ready.is_empty() && waiting.is_empty() {
                errors.required(&field, "must specify `addresses` or `notReadyAddresses`");
            }
            for (list, all) in [("addresses", ready), ("notReadyAddresses", waiting)] {
                for (at, address) in all.iter().enumerate() {
                    let field = field.child(list).index(at).child("ip");
                    validate_address(&field, &address.ip, self.loopback, errors);
                }
            }
        }
    }
}

/// Refuses addresses that are not an endpoint's own. Traffic to them would reach whoever sends it,
/// or its host: that is how the check came to be.
fn validate_address(
    field: &FieldPath,
    text: &str,
    loopback: Option<LoopbackCidr>,
    errors: &mut FieldErrors,
) {
    let Ok(address) = text.parse::<IpAddr>() else {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        return errors.invalid(field, text, detail);
    };
    // An IPv4 address in IPv6's clothes is the same address.
    let address = address.to_canonical();
    let (link_local, multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    let detail = if address.is_unspecified() {
        format!("may not be unspecified ({text})")
    } else if address.is_loopback() && !loopback.is_some_and(|range| range.contains(address)) {
        "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()
    } else if link_local {
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()
    } else if multicast {
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()
    } else {
        return;
    };
    errors.invalid(field, text, detail);
}

/// Rules of EndpointSlices.
#[derive(Debug)]
pub(crate) struct EndpointSliceStrategy {
    /// The loopback addresses that endpoints may have.
    pub(crate) loopback: Option<LoopbackCidr>,
}

impl KindStrategy for EndpointSliceStrategy {
    type Object = EndpointSlice;

    fn apply_defaults(&self, object: &mut EndpointSlice) {
        for port in object.ports.iter_mut().flatten() {
            port.name.get_or_insert_default();
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
    }

    fn validate(&self, object: &EndpointSlice, errors: &mut FieldErrors) {
        let types = ["FQDN", "IPv4", "IPv6"];
        if !types.contains(&object.address_type.as_str()) {
            let field = FieldPath::new("addressType");
            errors.not_supported(&field, &object.address_type, &types);
        }
        let field = FieldPath::new("endpoints");
        // The endpoints are optional from Kubernetes 1.37 on.
        let endpoints: Vec<Endpoint> =
            super::optional(object.endpoints.clone()).unwrap_or_default();
        if endpoints.len() > MAX_ENDPOINTS {
            errors.too_many(&field, endpoints.len(), MAX_ENDPOINTS);
        }
        for (at, endpoint) in endpoints.iter().enumerate() {
            let field = field.index(at).child("addresses");
            if endpoint.addresses.is_empty() {
                errors.required(&field, "must contain at least 1 address");
            }
            for (at, address) in endpoint.addresses.iter().enumerate() {
                if object.address_type != "FQDN" {
                    validate_address(&field.index(at), address, self.loopback, errors);
                }
            }
        }
        let ports = object.ports.as_deref().unwrap_or_default();
        if ports.len() > MAX_PORTS {
            errors.too_many(&FieldPath::new("ports"), ports.len(), MAX_PORTS);
        }
        let mut names = BTreeSet::new();
        for (at, port) in ports.iter().enumerate() {
            let name = port.name.as_deref().unwrap_or_default();
            if !names.insert(name) {
                errors.duplicate(&FieldPath::new("ports").index(at).child("name"), name);
            }
        }
    }

    fn validate_update(&self, new: &EndpointSlice, old: &EndpointSlice, errors: &mut FieldErrors) {
        if new.address_type != old.address_type {
            let field = FieldPath::new("addressType");
            errors.invalid(&field, &new.address_type, "field is immutable");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_on_nobody_elses_loopback_or_link() {
        let range: LoopbackCidr = "127.64.0.0/10".parse().unwrap();
        let check = |address: &str, loopback: Option<LoopbackCidr>| {
            let mut errors = FieldErrors::default();
            validate_address(&FieldPath::new("ip"), address, loopback, &mut errors);
            errors.into_causes().pop().map(|cause| cause.message)
        };
        for (address, words) in [
            ("10.0.0.1", None),
            ("fd00::1", None),
            ("239.1.1.1", None),
            ("x", Some("must be a valid IP address")),
            ("0.0.0.0", Some("\"0.0.0.0\": may not be unspecified (0.0.0.0)")),
            ("::", Some("may not be unspecified (::)")),
            ("127.0.0.1", Some("may not be in the loopback range (127.0.0.0/8, ::1/128)")),
            ("127.64.0.1", Some("may not be in the loopback range (127.0.0.0/8, ::1/128)")),
            ("::1", Some("may not be in the loopback range (127.0.0.0/8, ::1/128)")),
            ("::ffff:127.0.0.1", Some("loopback range")),
            ("169.254.0.1", Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)")),
            ("fe80::1", Some("may not be in the link-local range")),
            ("224.0.0.1", Some("link-local multicast range (224.0.0.0/24, ff02::/10)")),
            ("ff02::1", Some("may not be in the link-local multicast range")),
        ] {
            let found = check(address, None).unwrap_or_default();
            match words {
                Some(words) => assert!(found.contains(words), "{address}: {found}"),
                None => assert_eq!(found, "", "{address}"),
            }
        }
        assert_eq!(check("127.64.0.1", Some(range)), None);
        assert!(check("127.0.0.1", Some(range)).is_some(), "the range alone is let through");
    }
}
