//! What can be wrong with a Pod.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, PodSpec, PodTemplateSpec, Probe, ResourceRequirements,
    Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kcore::quantity::Quantity;

use super::super::{FieldErrors, FieldPath, meta};

/// Checks the template of a workload.
pub(in crate::strategy) fn validate_template(
    template: &PodTemplateSpec,
    field: &FieldPath,
    errors: &mut FieldErrors,
) {
    let metadata = field.child("metadata");
    if let Some(found) = &template.metadata {
        meta::validate_labels(found.labels.as_ref(), &metadata.child("labels"), errors);
        let annotations = metadata.child("annotations");
        meta::validate_annotations(found.annotations.as_ref(), &annotations, errors);
    }
    match &template.spec {
        Some(spec) => validate_spec(spec, &field.child("spec"), errors),
        None => errors.required(&field.child("spec.containers"), ""),
    }
}

pub(super) fn validate_spec(spec: &PodSpec, field: &FieldPath, errors: &mut FieldErrors) {
    let volumes = validate_volumes(spec.volumes.as_deref(), &field.child("volumes"), errors);
    validate_containers(spec, &volumes, field, errors);
    let policies = ["Always", "OnFailure", "Never"];
    one_of(&field.child("restartPolicy"), spec.restart_policy.as_deref(), &policies, errors);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(&field.child("dnsPolicy"), spec.dns_policy.as_deref(), &policies, errors);
    if spec.dns_policy.as_deref() == Some("None") {
        let servers = spec.dns_config.as_ref().and_then(|config| config.nameservers.as_ref());
        if servers.is_none_or(Vec::is_empty) {
            errors.required(
                &field.child("dnsConfig.nameservers"),
                "must provide at least one DNS nameserver when `dnsPolicy` is None",
            );
        }
    }
    if let Some(seconds) = spec.active_deadline_seconds.filter(|seconds| *seconds < 1) {
        let field = field.child("activeDeadlineSeconds");
        errors.invalid(&field, seconds, "must be between 1 and 2147483647, inclusive");
    }
    for (name, value) in [
        ("nodeName", &spec.node_name),
        ("serviceAccountName", &spec.service_account_name),
        ("hostname", &spec.hostname),
        ("subdomain", &spec.subdomain),
        ("priorityClassName", &spec.priority_class_name),
        ("runtimeClassName", &spec.runtime_class_name),
    ] {
        let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else { continue };
        let outcome = match name {
            "hostname" | "subdomain" => meta::dns_label(value),
            _ => meta::dns_subdomain(value),
        };
        errors.check(&field.child(name), value, outcome);
    }
    meta::validate_labels(spec.node_selector.as_ref(), &field.child("nodeSelector"), errors);
    for (at, toleration) in spec.tolerations.iter().flatten().enumerate() {
        validate_toleration(toleration, &field.child("tolerations").index(at), errors);
    }
    for (at, constraint) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        let field = field.child("topologySpreadConstraints").index(at);
        if constraint.max_skew <= 0 {
            let detail = "must be greater than zero";
            errors.invalid(&field.child("maxSkew"), constraint.max_skew, detail);
        }
        if constraint.topology_key.is_empty() {
            errors.required(&field.child("topologyKey"), "can not be empty");
        }
        let known = ["DoNotSchedule", "ScheduleAnyway"];
        let action = Some(constraint.when_unsatisfiable.as_str());
        one_of(&field.child("whenUnsatisfiable"), action, &known, errors);
    }
    let gates = field.child("schedulingGates");
    let mut seen = BTreeSet::new();
    for (at, gate) in spec.scheduling_gates.iter().flatten().enumerate() {
        let field = gates.index(at);
        errors.check(&field, &gate.name, meta::qualified_name(&gate.name));
        if !seen.insert(&gate.name) {
            errors.duplicate(&field, &gate.name);
        }
    }
}

fn one_of(field: &FieldPath, value: Option<&str>, known: &[&str], errors: &mut FieldErrors) {
    match value.unwrap_or_default() {
        "" => errors.required(field, ""),
        value if known.contains(&value) => {}
        value => errors.not_supported(field, value, known),
    }
}

/// Returns the names of the volumes.
fn validate_volumes<'a>(
    volumes: Option<&'a [Volume]>,
    field: &FieldPath,
    errors: &mut FieldErrors,
) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (at, volume) in volumes.unwrap_or_default().iter().enumerate() {
        let field = field.index(at);
        let name = field.child("name");
        match volume.name.as_str() {
            "" => errors.required(&name, ""),
            text => errors.check(&name, text, meta::dns_label(text)),
        }
        if !names.insert(volume.name.as_str()) {
            errors.duplicate(&name, &volume.name);
        }
        if let Some(source) = &volume.config_map
            && source.name.is_empty()
        {
            errors.required(&field.child("configMap.name"), "");
        }
        if let Some(source) = &volume.secret
            && source.secret_name.as_deref().unwrap_or_default().is_empty()
        {
            errors.required(&field.child("secret.secretName"), "");
        }
        if let Some(source) = &volume.host_path {
            let path = field.child("hostPath.path");
            if source.path.is_empty() {
                errors.required(&path, "");
            } else if source.path.split('/').any(|part| part == "..") {
                errors.invalid(&path, &source.path, "must not contain '..'");
            }
        }
        if let Some(source) = &volume.persistent_volume_claim
            && source.claim_name.is_empty()
        {
            errors.required(&field.child("persistentVolumeClaim.claimName"), "");
        }
    }
    names
}

fn validate_containers(
    spec: &PodSpec,
    volumes: &BTreeSet<&str>,
    field: &FieldPath,
    errors: &mut FieldErrors,
) {
    if spec.containers.is_empty() {
        errors.required(&field.child("containers"), "");
    }
    let mut names = BTreeSet::new();
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let main = spec.containers.iter().enumerate().map(|(at, c)| ("containers", at, c));
    let first = init.iter().enumerate().map(|(at, c)| ("initContainers", at, c));
    for (list, at, container) in first.chain(main) {
        let field = field.child(list).index(at);
        let name = field.child("name");
        match container.name.as_str() {
            "" => errors.required(&name, ""),
            text => errors.check(&name, text, meta::dns_label(text)),
        }
        if !names.insert(container.name.as_str()) {
            errors.duplicate(&name, &container.name);
        }
        validate_container(container, volumes, &field, errors);
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        if list == "initContainers" && !sidecar {
            for (name, set) in [
                ("livenessProbe", container.liveness_probe.is_some()),
                ("readinessProbe", container.readiness_probe.is_some()),
                ("startupProbe", container.startup_probe.is_some()),
                ("lifecycle", container.lifecycle.is_some()),
            ] {
                if set {
                    let field = field.child(name);
                    errors.forbidden(
                        &field,
                        "may not be set for init containers without restartPolicy=Always",
                    );
                }
            }
        }
    }
}

fn validate_container(
    container: &Container,
    volumes: &BTreeSet<&str>,
    field: &FieldPath,
    errors: &mut FieldErrors,
) {
    let image = container.image.as_deref().unwrap_or_default();
    if image.is_empty() {
        errors.required(&field.child("image"), "");
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.invalid(&field.child("image"), image, detail);
    }
    let policies = ["Always", "IfNotPresent", "Never"];
    let policy = container.image_pull_policy.as_deref();
    one_of(&field.child("imagePullPolicy"), policy, &policies, errors);
    let policies = ["File", "FallbackToLogsOnError"];
    let policy = container.termination_message_policy.as_deref();
    one_of(&field.child("terminationMessagePolicy"), policy, &policies, errors);
    validate_ports(container.ports.as_deref(), &field.child("ports"), errors);
    for (at, variable) in container.env.iter().flatten().enumerate() {
        validate_variable(variable, &field.child("env").index(at), errors);
    }
    validate_mounts(container.volume_mounts.as_deref(), volumes, field, errors);
    for (name, probe) in [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ] {
        let Some(probe) = probe else { continue };
        let field = field.child(name);
        validate_probe(probe, &field, errors);
        if name != "readinessProbe" && probe.success_threshold.is_some_and(|count| count != 1) {
            let field = field.child("successThreshold");
            errors.invalid(&field, probe.success_threshold, "must be 1");
        }
    }
    if let Some(resources) = &container.resources {
        validate_resources(resources, &field.child("resources"), errors);
    }
}

fn port_number(field: &FieldPath, port: i32, errors: &mut FieldErrors) {
    if !(1..=65_535).contains(&port) {
        errors.invalid(field, port, "must be between 1 and 65535, inclusive");
    }
}

fn validate_ports(ports: Option<&[ContainerPort]>, field: &FieldPath, errors: &mut FieldErrors) {
    let mut names = BTreeSet::new();
    for (at, port) in ports.unwrap_or_default().iter().enumerate() {
        let field = field.index(at);
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let text = field.child("name");
            errors.check(&text, name, port_name(name));
            if !names.insert(name) {
                errors.duplicate(&text, name);
            }
        }
        port_number(&field.child("containerPort"), port.container_port, errors);
        if let Some(number) = port.host_port.filter(|number| *number != 0) {
            port_number(&field.child("hostPort"), number, errors);
        }
        let known = ["SCTP", "TCP", "UDP"];
        one_of(&field.child("protocol"), port.protocol.as_deref(), &known, errors);
    }
}

/// An IANA service name: at most 15 lower-case letters, digits and dashes, with a letter.
fn port_name(name: &str) -> Result<(), String> {
    match name {
        name if name.len() > 15 => Err("must be no more than 15 characters".to_owned()),
        name if !name.bytes().any(|b| b.is_ascii_lowercase()) => {
            Err("must contain at least one letter (a-z)".to_owned())
        }
        name if meta::dns_label(name).is_err() => {
            Err("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned())
        }
        name if name.contains("--") => Err("must not contain consecutive hyphens".to_owned()),
        _ => Ok(()),
    }
}

fn validate_variable(variable: &EnvVar, field: &FieldPath, errors: &mut FieldErrors) {
    if variable.name.is_empty() {
        errors.required(&field.child("name"), "");
    } else if variable.name.contains('=')
        || !variable.name.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
    {
        let detail = "a valid environment variable name must consist only of printable ASCII \
                      characters other than '='";
        errors.invalid(&field.child("name"), &variable.name, detail);
    }
    let Some(from) = &variable.value_from else { return };
    let field = field.child("valueFrom");
    if variable.value.as_deref().is_some_and(|value| !value.is_empty()) {
        errors.invalid(&field, "", "may not be specified when `value` is not empty");
    }
    let sources = [
        from.field_ref.is_some(),
        from.resource_field_ref.is_some(),
        from.config_map_key_ref.is_some(),
        from.secret_key_ref.is_some(),
    ];
    match sources.into_iter().filter(|set| *set).count() {
        0 => errors.invalid(
            &field,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, \
             `secretKeyRef` or `fileKeyRef`",
        ),
        1 => {}
        _ => errors.invalid(&field, "", "may not have more than one field specified at a time"),
    }
}

fn validate_mounts(
    mounts: Option<&[VolumeMount]>,
    volumes: &BTreeSet<&str>,
    container: &FieldPath,
    errors: &mut FieldErrors,
) {
    let mut paths = BTreeSet::new();
    for (at, mount) in mounts.unwrap_or_default().iter().enumerate() {
        let field = container.child("volumeMounts").index(at);
        if mount.name.is_empty() {
            errors.required(&field.child("name"), "");
        } else if !volumes.contains(mount.name.as_str()) {
            errors.not_found(&field.child("name"), &mount.name);
        }
        let path = field.child("mountPath");
        if mount.mount_path.is_empty() {
            errors.required(&path, "");
        }
        if !paths.insert(mount.mount_path.as_str()) {
            errors.invalid(&path, &mount.mount_path, "must be unique");
        }
        let sub = mount.sub_path.as_deref().unwrap_or_default();
        if sub.starts_with('/') {
            errors.invalid(&field.child("subPath"), sub, "must be a relative path");
        }
        if sub.split('/').any(|part| part == "..") {
            errors.invalid(&field.child("subPath"), sub, "must not contain '..'");
        }
    }
}

fn validate_probe(probe: &Probe, field: &FieldPath, errors: &mut FieldErrors) {
    let handlers = [
        probe.exec.is_some(),
        probe.http_get.is_some(),
        probe.tcp_socket.is_some(),
        probe.grpc.is_some(),
    ];
    match handlers.into_iter().filter(|set| *set).count() {
        0 => errors.required(field, "must specify a handler type"),
        1 => {}
        _ => errors.forbidden(field, "may not specify more than 1 handler type"),
    }
    for (name, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        if let Some(value) = value.filter(|value| *value < 0) {
            errors.invalid(&field.child(name), value, "must be greater than or equal to 0");
        }
    }
    if probe.exec.as_ref().is_some_and(|exec| exec.command.as_ref().is_none_or(Vec::is_empty)) {
        errors.required(&field.child("exec.command"), "");
    }
    let ports = [
        ("httpGet.port", probe.http_get.as_ref().map(|get| &get.port)),
        ("tcpSocket.port", probe.tcp_socket.as_ref().map(|socket| &socket.port)),
    ];
    for (name, port) in ports {
        match port {
            Some(IntOrString::Int(number)) => port_number(&field.child(name), *number, errors),
            Some(IntOrString::String(text)) => {
                errors.check(&field.child(name), text, port_name(text));
            }
            None => {}
        }
    }
}

fn validate_resources(
    resources: &ResourceRequirements,
    field: &FieldPath,
    errors: &mut FieldErrors,
) {
    for (list, values) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        for (name, value) in values.iter().flatten() {
            let field = field.child(list).key(name);
            match Quantity::from_api(value) {
                Err(error) => errors.invalid(&field, &value.0, error),
                Ok(quantity) if quantity.signum() < 0 => {
                    errors.invalid(&field, &value.0, "must be greater than or equal to 0");
                }
                Ok(request) if list == "requests" => {
                    let limit = resources.limits.as_ref().and_then(|limits| limits.get(name));
                    let limit = limit.and_then(|limit| Quantity::from_api(limit).ok());
                    if limit.is_some_and(|limit| request > limit) {
                        let detail = format!(
                            "must be less than or equal to {name} limit of {}",
                            limit.unwrap_or_default()
                        );
                        errors.invalid(&field, &value.0, detail);
                    }
                }
                Ok(_) => {}
            }
        }
    }
}

fn validate_toleration(toleration: &Toleration, field: &FieldPath, errors: &mut FieldErrors) {
    let key = toleration.key.as_deref().unwrap_or_default();
    let operator = toleration.operator.as_deref().unwrap_or_default();
    if !key.is_empty() {
        errors.check(&field.child("key"), key, meta::qualified_name(key));
    } else if operator != "Exists" {
        errors.invalid(
            &field.child("operator"),
            operator,
            "operator must be Exists when `key` is empty, which means \"match all values and all \
             keys\"",
        );
    }
    if toleration.toleration_seconds.is_some() && toleration.effect.as_deref() != Some("NoExecute")
    {
        errors.invalid(
            &field.child("effect"),
            &toleration.effect,
            "effect must be 'NoExecute' when `tolerationSeconds` is set",
        );
    }
    match operator {
        "" | "Equal" => {
            let value = toleration.value.as_deref().unwrap_or_default();
            errors.check(&field.child("value"), value, meta::label_value(value));
        }
        "Exists" => {
            if toleration.value.as_deref().is_some_and(|value| !value.is_empty()) {
                let detail = "value must be empty when `operator` is 'Exists'";
                errors.invalid(field, &toleration.value, detail);
            }
        }
        other => errors.not_supported(&field.child("operator"), other, &["Equal", "Exists"]),
    }
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if let Some(effect) = toleration.effect.as_deref().filter(|effect| !effect.is_empty())
        && !effects.contains(&effect)
    {
        errors.not_supported(&field.child("effect"), effect, &effects);
    }
}
