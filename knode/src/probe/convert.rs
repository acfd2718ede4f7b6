//! A Pod's probes as this crate asks them: API objects in, [`ProbeSpec`]s out.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Probe>

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ContainerPort, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Action, HttpGet, ProbeKind, ProbeSpec, Scheme};
use crate::{Error, Result};

/// Seconds between questions where a probe does not say.
const DEFAULT_PERIOD_SECONDS: u64 = 10;
/// Seconds to wait for an answer where a probe does not say.
const DEFAULT_TIMEOUT_SECONDS: u64 = 1;

impl ProbeKind {
    /// The probe of this kind that a container has.
    #[must_use]
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }

    /// The name of the field that holds it.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Startup => "startupProbe",
            Self::Liveness => "livenessProbe",
            Self::Readiness => "readinessProbe",
        }
    }
}

/// How this crate asks `probe` of `container`, with the API's defaults where it is silent and
/// named ports looked up among the container's.
///
/// # Errors
/// [`InvalidConfig`](Error::InvalidConfig) naming the field if the probe asks nothing, names a
/// port that the container does not have, or one that is no port.
pub fn probe_spec(probe: &Probe, container: &Container) -> Result<ProbeSpec> {
    let seconds = |given: Option<i32>, default: u64| {
        let given = given.and_then(|given| u64::try_from(given).ok()).filter(|given| *given > 0);
        Duration::from_secs(given.unwrap_or(default))
    };
    let times = |given: Option<i32>, default: u32| {
        let given = given.and_then(|given| u32::try_from(given).ok());
        given.filter(|given| *given > 0).unwrap_or(default)
    };
    let mut spec = ProbeSpec::new(action(probe, container)?)
        .initial_delay(seconds(probe.initial_delay_seconds, 0))
        .period(seconds(probe.period_seconds, DEFAULT_PERIOD_SECONDS))
        .timeout(seconds(probe.timeout_seconds, DEFAULT_TIMEOUT_SECONDS))
        .success_threshold(times(probe.success_threshold, 1))
        .failure_threshold(times(probe.failure_threshold, 3));
    let grace = probe.termination_grace_period_seconds.and_then(|grace| u64::try_from(grace).ok());
    spec.termination_grace = grace.map(Duration::from_secs);
    Ok(spec)
}

fn action(probe: &Probe, container: &Container) -> Result<Action> {
    let field = |name: &str| format!("{}.{name}", field_of(probe, container));
    if let Some(exec) = &probe.exec {
        return Ok(Action::Exec { command: exec.command.clone().unwrap_or_default() });
    }
    if let Some(get) = &probe.http_get {
        return http_get(get, container, &field("httpGet")).map(Action::HttpGet);
    }
    if let Some(tcp) = &probe.tcp_socket {
        let port = resolve_port(&tcp.port, container, &field("tcpSocket.port"))?;
        return Ok(Action::TcpSocket { host: some_text(tcp.host.as_deref()), port });
    }
    if let Some(grpc) = &probe.grpc {
        return grpc_action(grpc, &field("grpc"));
    }
    Err(Error::InvalidConfig {
        field: field_of(probe, container),
        reason: "missing probe handler, give one of exec, httpGet, tcpSocket, grpc".into(),
    })
}

#[cfg(feature = "grpc-probe")]
fn grpc_action(grpc: &k8s_openapi::api::core::v1::GRPCAction, field: &str) -> Result<Action> {
    let port = port_number(i64::from(grpc.port), &format!("{field}.port"))?;
    Ok(Action::Grpc { port, service: grpc.service.clone().unwrap_or_default() })
}

#[cfg(not(feature = "grpc-probe"))]
fn grpc_action(_grpc: &k8s_openapi::api::core::v1::GRPCAction, field: &str) -> Result<Action> {
    Err(Error::InvalidConfig {
        field: field.to_owned(),
        reason: "grpc probes need knode's feature grpc-probe".into(),
    })
}

/// How this crate asks an HTTP handler; `field` is where it stands, for errors.
pub(crate) fn http_get(get: &HTTPGetAction, container: &Container, field: &str) -> Result<HttpGet> {
    let headers = get.http_headers.iter().flatten();
    let https = get.scheme.as_deref().is_some_and(|name| name.eq_ignore_ascii_case("https"));
    Ok(HttpGet::default()
        .scheme(if https { Scheme::Https } else { Scheme::Http })
        .host(some_text(get.host.as_deref()))
        .port(resolve_port(&get.port, container, &format!("{field}.port"))?)
        .path(some_text(get.path.as_deref()).unwrap_or_else(|| "/".into()))
        .headers(headers.map(|header| (header.name.clone(), header.value.clone()))))
}

fn some_text(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The field a probe stands in. A probe that is not the container's own has no better name.
fn field_of(probe: &Probe, container: &Container) -> String {
    let kinds = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];
    let is_it = |kind: &ProbeKind| kind.of(container).is_some_and(|own| own == probe);
    let name = kinds.into_iter().find(is_it).map_or("probe", ProbeKind::field);
    format!("spec.containers{{{}}}.{name}", container.name)
}

fn resolve_port(port: &IntOrString, container: &Container, field: &str) -> Result<u16> {
    match port {
        IntOrString::Int(number) => port_number(i64::from(*number), field),
        // As upstream: a name first, then a number that was written as text.
        IntOrString::String(name) => match named_port(name, container) {
            Some(port) => port_number(i64::from(port.container_port), field),
            None => match name.parse() {
                Ok(number) => port_number(number, field),
                Err(_) => Err(Error::InvalidConfig {
                    field: field.to_owned(),
                    reason: format!(
                        "couldn't find port {name:?} among the ports of container {:?}",
                        container.name
                    ),
                }),
            },
        },
    }
}

fn named_port<'a>(name: &str, container: &'a Container) -> Option<&'a ContainerPort> {
    container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name))
}

fn port_number(number: i64, field: &str) -> Result<u16> {
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    port.ok_or_else(|| Error::InvalidConfig {
        field: field.to_owned(),
        reason: format!("invalid port number {number}, must be between 1 and 65535"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn container() -> Container {
        serde_json::from_value(json!({
            "name": "web",
            "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 9}],
        }))
        .unwrap()
    }

    fn convert(probe: Value) -> Result<ProbeSpec> {
        let probe: Probe = serde_json::from_value(probe).unwrap();
        let mut container = container();
        container.liveness_probe = Some(probe.clone());
        probe_spec(&probe, &container)
    }

    #[test]
    fn a_probe_that_says_nothing_else_has_the_apis_defaults() {
        let spec = convert(json!({"tcpSocket": {"port": 80}})).unwrap();
        assert_eq!(spec, ProbeSpec::new(Action::TcpSocket { host: None, port: 80 }));
        let zeros = json!({
            "exec": {"command": ["true"]}, "initialDelaySeconds": 0, "periodSeconds": 0,
            "timeoutSeconds": 0, "successThreshold": 0, "failureThreshold": 0,
        });
        let action = Action::Exec { command: vec!["true".into()] };
        assert_eq!(convert(zeros).unwrap(), ProbeSpec::new(action));
    }

    #[test]
    fn what_a_probe_says_is_kept() {
        let spec = convert(json!({
            "exec": {"command": ["a", "b"]}, "initialDelaySeconds": 5, "periodSeconds": 7,
            "timeoutSeconds": 3, "successThreshold": 2, "failureThreshold": 4,
            "terminationGracePeriodSeconds": 9,
        }))
        .unwrap();
        let seconds = Duration::from_secs;
        let expect = ProbeSpec::new(Action::Exec { command: vec!["a".into(), "b".into()] })
            .initial_delay(seconds(5))
            .period(seconds(7))
            .timeout(seconds(3))
            .success_threshold(2u32)
            .failure_threshold(4u32)
            .termination_grace(seconds(9));
        assert_eq!(spec, expect);
    }

    #[test]
    fn actions_are_found_with_their_ports_and_headers() {
        let check = |probe: Value, expect: Action| {
            assert_eq!(convert(probe.clone()).unwrap().action, expect, "{probe}");
        };
        let get = HttpGet::default().port(8080u16).path("/");
        check(json!({"httpGet": {"port": "http"}}), Action::HttpGet(get.clone()));
        check(json!({"httpGet": {"port": "8080", "path": ""}}), Action::HttpGet(get.clone()));
        check(
            json!({"httpGet": {
                "port": 8080, "path": "/ok?x", "scheme": "HTTPS", "host": "h",
                "httpHeaders": [{"name": "Host", "value": "example.org"}],
            }}),
            Action::HttpGet(
                get.scheme(Scheme::Https)
                    .path("/ok?x")
                    .host("h".to_owned())
                    .headers([("Host", "example.org")]),
            ),
        );
        let tcp = Action::TcpSocket { host: Some("h".into()), port: 8080 };
        check(json!({"tcpSocket": {"port": "http", "host": "h"}}), tcp);
        #[cfg(feature = "grpc-probe")]
        {
            let grpc = Action::Grpc { port: 5, service: "s".into() };
            check(json!({"grpc": {"port": 5, "service": "s"}}), grpc);
            let grpc = Action::Grpc { port: 5, service: String::new() };
            check(json!({"grpc": {"port": 5}}), grpc);
        }
    }

    #[test]
    fn what_cannot_be_asked_names_its_field() {
        let check = |probe: Value, expect: &str| {
            let text = convert(probe.clone()).unwrap_err().to_string();
            assert!(text.starts_with("spec.containers{web}.livenessProbe"), "{text}");
            assert!(text.contains(expect), "{probe}: {text}");
        };
        check(json!({}), "livenessProbe: missing probe handler");
        check(json!({"httpGet": {"port": "nope"}}), "httpGet.port: couldn't find port \"nope\"");
        check(json!({"httpGet": {"port": 0}}), "httpGet.port: invalid port number 0");
        check(json!({"tcpSocket": {"port": 65536}}), "tcpSocket.port: invalid port number 65536");
        check(json!({"tcpSocket": {"port": "-1"}}), "tcpSocket.port: invalid port number -1");
        #[cfg(feature = "grpc-probe")]
        check(json!({"grpc": {"port": 70000}}), "grpc.port: invalid port number 70000");
    }
}
