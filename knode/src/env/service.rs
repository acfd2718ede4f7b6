//! The environment variables that name Services.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

/// The Service that every pod is told about, in the namespace `default`.
const MASTER_SERVICE: (&str, &str) = ("default", "kubernetes");

/// The variables of the Services with an address: always those of `default/kubernetes`, and with
/// `links` also those of `namespace`, which win.
pub(super) fn compute_service_env(
    services: &[Arc<Service>],
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut chosen: BTreeMap<&str, &ServiceSpec> = BTreeMap::new();
    for service in services {
        let Some((name, spec)) = with_address(service) else { continue };
        let home = service.metadata.namespace.as_deref().unwrap_or_default();
        if (home, name) == MASTER_SERVICE {
            chosen.entry(name).or_insert(spec);
        } else if home == namespace && links {
            chosen.insert(name, spec);
        }
    }
    let mut env = BTreeMap::new();
    for (name, spec) in chosen {
        service_vars(name, spec, &mut env);
    }
    env
}

fn with_address(service: &Service) -> Option<(&str, &ServiceSpec)> {
    let name = service.metadata.name.as_deref()?;
    let spec = service.spec.as_ref()?;
    let address = spec.cluster_ip.as_deref().unwrap_or_default();
    (!address.is_empty() && address != "None").then_some((name, spec))
}

fn service_vars(name: &str, spec: &ServiceSpec, env: &mut BTreeMap<String, String>) {
    let prefix = variable_name(name);
    let address = spec.cluster_ip.as_deref().unwrap_or_default();
    let ports = spec.ports.as_deref().unwrap_or_default();
    env.insert(format!("{prefix}_SERVICE_HOST"), address.to_owned());
    if let Some(first) = ports.first() {
        env.insert(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
    }
    for port in ports {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let name = variable_name(name);
            env.insert(format!("{prefix}_SERVICE_PORT_{name}"), port.port.to_string());
        }
    }
    for (index, port) in ports.iter().enumerate() {
        link_vars(&prefix, address, port, index == 0, env);
    }
}

/// The variables that Docker's container links had.
fn link_vars(
    prefix: &str,
    address: &str,
    port: &ServicePort,
    first: bool,
    env: &mut BTreeMap<String, String>,
) {
    let protocol = port.protocol.as_deref().filter(|name| !name.is_empty()).unwrap_or("TCP");
    let (upper, lower) = (protocol.to_uppercase(), protocol.to_lowercase());
    let number = port.port;
    let url = match address.contains(':') {
        true => format!("{lower}://[{address}]:{number}"),
        false => format!("{lower}://{address}:{number}"),
    };
    if first {
        env.insert(format!("{prefix}_PORT"), url.clone());
    }
    let name = format!("{prefix}_PORT_{number}_{upper}");
    env.insert(format!("{name}_PROTO"), lower);
    env.insert(format!("{name}_PORT"), number.to_string());
    env.insert(format!("{name}_ADDR"), address.to_owned());
    env.insert(name, url);
}

fn variable_name(text: &str) -> String {
    text.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(namespace: &str, name: &str, spec: Value) -> Arc<Service> {
        let metadata = json!({"namespace": namespace, "name": name});
        Arc::new(serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap())
    }

    fn names(services: &[Arc<Service>], namespace: &str, links: bool) -> String {
        let env = compute_service_env(services, namespace, links);
        let hosts = env.keys().filter(|name| name.ends_with("_SERVICE_HOST"));
        hosts.map(|name| name.trim_end_matches("_SERVICE_HOST")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_service_has_its_own_and_the_link_variables() {
        let ports = json!([
            {"name": "p-1", "port": 8080},
            {"name": "q", "port": 53, "protocol": "UDP"},
        ]);
        let web = service("ns", "web-a", json!({"clusterIP": "10.0.0.1", "ports": ports}));
        let env = compute_service_env(&[web], "ns", true);
        let lines: Vec<_> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expect = [
            "WEB_A_PORT=tcp://10.0.0.1:8080",
            "WEB_A_PORT_53_UDP=udp://10.0.0.1:53",
            "WEB_A_PORT_53_UDP_ADDR=10.0.0.1",
            "WEB_A_PORT_53_UDP_PORT=53",
            "WEB_A_PORT_53_UDP_PROTO=udp",
            "WEB_A_PORT_8080_TCP=tcp://10.0.0.1:8080",
            "WEB_A_PORT_8080_TCP_ADDR=10.0.0.1",
            "WEB_A_PORT_8080_TCP_PORT=8080",
            "WEB_A_PORT_8080_TCP_PROTO=tcp",
            "WEB_A_SERVICE_HOST=10.0.0.1",
            "WEB_A_SERVICE_PORT=8080",
            "WEB_A_SERVICE_PORT_P_1=8080",
            "WEB_A_SERVICE_PORT_Q=53",
        ];
        assert_eq!(lines, expect);
        let six = service("ns", "six", json!({"clusterIP": "fd00::1", "ports": [{"port": 1}]}));
        let env = compute_service_env(&[six], "ns", true);
        assert_eq!(env["SIX_PORT"], "tcp://[fd00::1]:1");
        assert!(!env.keys().any(|name| name.starts_with("SIX_SERVICE_PORT_")));
    }

    #[test]
    fn links_choose_the_namespace_and_the_master_service_is_always_there() {
        let at = |namespace: &str, name: &str| {
            service(namespace, name, json!({"clusterIP": "10.0.0.1", "ports": [{"port": 1}]}))
        };
        let headless = service("ns", "none", json!({"clusterIP": "None", "ports": [{"port": 1}]}));
        let external = service("ns", "external", json!({"type": "ExternalName"}));
        let services = [
            at("default", "kubernetes"),
            at("default", "other"),
            at("ns", "web"),
            at("elsewhere", "web2"),
            headless,
            external,
        ];
        assert_eq!(names(&services, "ns", true), "KUBERNETES WEB");
        assert_eq!(names(&services, "ns", false), "KUBERNETES");
        assert_eq!(names(&services, "default", true), "KUBERNETES OTHER");
        assert_eq!(names(&[], "ns", true), "");
    }

    #[test]
    fn a_service_of_the_pods_namespace_wins_over_the_master_service() {
        let at = |namespace: &str, ip: &str| {
            service(namespace, "kubernetes", json!({"clusterIP": ip, "ports": [{"port": 1}]}))
        };
        let (own, master) = (at("ns", "10.0.0.2"), at("default", "10.0.0.1"));
        for services in [[own.clone(), master.clone()], [master, own]] {
            let env = compute_service_env(&services, "ns", true);
            assert_eq!(env["KUBERNETES_SERVICE_HOST"], "10.0.0.2");
            let env = compute_service_env(&services, "ns", false);
            assert_eq!(env["KUBERNETES_SERVICE_HOST"], "10.0.0.1");
        }
    }
}
