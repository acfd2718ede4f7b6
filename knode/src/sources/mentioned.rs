//! Which ConfigMaps and Secrets a pod mentions, by name.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, Pod, Volume, VolumeProjection};

use super::TokenWish;

/// Names in a pod's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mentioned {
    /// ConfigMaps.
    pub config_maps: BTreeSet<String>,
    /// Secrets.
    pub secrets: BTreeSet<String>,
    /// Tokens of its own ServiceAccount.
    pub tokens: BTreeSet<TokenWish>,
}

impl Mentioned {
    fn env(&mut self, env: &[EnvVar]) {
        for from in env.iter().filter_map(|var| var.value_from.as_ref()) {
            self.config_maps.extend(from.config_map_key_ref.iter().map(|key| key.name.clone()));
            self.secrets.extend(from.secret_key_ref.iter().map(|key| key.name.clone()));
        }
    }

    fn env_from(&mut self, env_from: &[EnvFromSource]) {
        for from in env_from {
            self.config_maps.extend(from.config_map_ref.iter().map(|map| map.name.clone()));
            self.secrets.extend(from.secret_ref.iter().map(|secret| secret.name.clone()));
        }
    }

    fn volume(&mut self, volume: &Volume) {
        self.config_maps.extend(volume.config_map.iter().map(|map| map.name.clone()));
        self.secrets.extend(volume.secret.iter().filter_map(|secret| secret.secret_name.clone()));
        let projected = volume.projected.iter().flat_map(|volume| volume.sources.iter().flatten());
        projected.for_each(|source| self.projection(source));
    }

    fn projection(&mut self, source: &VolumeProjection) {
        self.config_maps.extend(source.config_map.iter().map(|map| map.name.clone()));
        self.secrets.extend(source.secret.iter().map(|secret| secret.name.clone()));
        self.tokens.extend(source.service_account_token.iter().map(TokenWish::of));
    }
}

/// The ConfigMaps and Secrets that `pod` mentions: in the environment of its init, ordinary and
/// ephemeral containers, in its volumes, and as image pull secrets.
#[must_use]
pub fn mentioned(pod: &Pod) -> Mentioned {
    let mut names = Mentioned::default();
    let Some(spec) = &pod.spec else { return names };
    let ordinary = spec.init_containers.iter().flatten().chain(&spec.containers);
    for container in ordinary {
        names.env(container.env.as_deref().unwrap_or_default());
        names.env_from(container.env_from.as_deref().unwrap_or_default());
    }
    for container in spec.ephemeral_containers.iter().flatten() {
        names.env(container.env.as_deref().unwrap_or_default());
        names.env_from(container.env_from.as_deref().unwrap_or_default());
    }
    spec.volumes.iter().flatten().for_each(|volume| names.volume(volume));
    let pull_secrets = spec.image_pull_secrets.iter().flatten();
    names.secrets.extend(pull_secrets.map(|secret| secret.name.clone()));
    // The API allows a reference without a name, which is a reference to nothing.
    names.config_maps.remove("");
    names.secrets.remove("");
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_place_of_a_pod_is_searched() {
        let container = |name: &str| {
            json!({
                "name": name,
                "env": [
                    {"name": "A", "value": "plain"},
                    {"name": "B", "valueFrom": {
                        "configMapKeyRef": {"name": format!("{name}-env"), "key": "k"}}},
                    {"name": "C", "valueFrom": {
                        "secretKeyRef": {"name": format!("{name}-env"), "key": "k"}}},
                ],
                "envFrom": [
                    {"configMapRef": {"name": format!("{name}-from")}},
                    {"secretRef": {"name": format!("{name}-from")}},
                ],
            })
        };
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "containers": [container("main")],
            "initContainers": [container("init")],
            "ephemeralContainers": [container("debug")],
            "imagePullSecrets": [{"name": "pull"}, {}],
            "volumes": [
                {"name": "a", "configMap": {"name": "volume"}},
                {"name": "b", "secret": {"secretName": "volume"}},
                {"name": "c", "projected": {"sources": [
                    {"configMap": {"name": "projected"}},
                    {"secret": {"name": "projected"}},
                    {"downwardAPI": {}},
                    {"serviceAccountToken": {"path": "t", "audience": "vault"}},
                ]}},
                {"name": "d", "emptyDir": {}},
            ],
        }}))
        .unwrap();
        let names = mentioned(&pod);
        let maps = "debug-env debug-from init-env init-from main-env main-from projected volume";
        assert_eq!(names.config_maps.into_iter().collect::<Vec<_>>().join(" "), maps);
        let secrets =
            "debug-env debug-from init-env init-from main-env main-from projected pull volume";
        assert_eq!(names.secrets.into_iter().collect::<Vec<_>>().join(" "), secrets);
        let wish = TokenWish { audience: "vault".to_owned(), expiration_seconds: 3600 };
        assert_eq!(names.tokens, [wish].into());
        assert_eq!(mentioned(&Pod::default()), Mentioned::default());
    }
}
