//! A container's environment and command, from the pod, what it mentions and what the node knows.
//!
//! Everything here is a plain function. <https://kubernetes.io/docs/tasks/inject-data-application/>

mod expand;
mod facts;
mod field;
mod resource;
mod service;

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod};

pub use expand::{compute_command, compute_sub_path, expand};
pub use facts::{Allocatable, PodFacts};

pub(crate) use field::compute_metadata_field;
pub(crate) use resource::compute_resource;

use crate::sources::{Need, PodSources};
use crate::{Error, Result};

/// What a container's environment is, and what was left out of it.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Environment {
    /// Names and values, each name once, in the order of the names.
    pub vars: Vec<(String, String)>,
    /// Keys that are no names of variables; each is an event of the pod, of the reason
    /// [`InvalidKeys::REASON`].
    pub skipped: Vec<InvalidKeys>,
}

/// Names alone: values may come out of Secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.vars.iter().map(|(name, _)| name).collect();
        f.debug_struct("Environment")
            .field("names", &names)
            .field("skipped", &self.skipped)
            .finish()
    }
}

/// Keys of one `envFrom` source that were skipped. Its Display is the message of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidKeys {
    /// `configMap` or `secret`.
    pub kind: &'static str,
    /// The source's namespace.
    pub namespace: String,
    /// The source's name.
    pub name: String,
    /// The keys, with their prefix, sorted.
    pub keys: Vec<String>,
}

impl InvalidKeys {
    /// The event's reason.
    pub const REASON: &'static str = "InvalidEnvironmentVariableNames";
}

impl fmt::Display for InvalidKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name, keys } = self;
        write!(
            f,
            "Keys [{}] from the EnvFrom {kind} {namespace}/{name} were skipped since they are \
             considered invalid environment variable names.",
            keys.join(", ")
        )
    }
}

/// The environment of `container`: what `envFrom` gives, then `env`, then the Services'
/// variables that neither has named. `$(NAME)` sees what comes before it in this order and all
/// of the Services' variables.
///
/// # Errors
/// In upstream's words, as `CreateContainerConfigError` shows them:
/// [`NotFound`](Error::NotFound), [`KeyNotFound`](Error::KeyNotFound),
/// [`Unavailable`](Error::Unavailable), and [`InvalidConfig`](Error::InvalidConfig) naming a
/// field that cannot be given.
pub fn compute_env(
    pod: &Pod,
    container: &Container,
    sources: &PodSources,
    facts: &PodFacts,
) -> Result<Environment> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let services = service::compute_service_env(&sources.services, namespace, links);
    let mut env = Builder { namespace, vars: BTreeMap::new(), skipped: Vec::new() };
    env.add_env_from(container, sources)?;
    for (index, var) in container.env.iter().flatten().enumerate() {
        let field = format!("spec.containers{{{}}}.env[{index}].valueFrom", container.name);
        let value = match (var.value.as_deref().unwrap_or_default(), &var.value_from) {
            ("", None) => Some(String::new()),
            ("", Some(from)) => {
                let place = Place { pod, container, sources, facts, namespace, field: &field };
                place.value_from(from)?
            }
            (text, _) => Some(expand(text, |name| {
                env.vars.get(name).or_else(|| services.get(name)).map(String::as_str)
            })),
        };
        env.set(var, value);
    }
    let mut vars = services;
    vars.extend(env.vars);
    Ok(Environment { vars: vars.into_iter().collect(), skipped: env.skipped })
}

struct Builder<'a> {
    namespace: &'a str,
    vars: BTreeMap<String, String>,
    skipped: Vec<InvalidKeys>,
}

impl Builder<'_> {
    /// An optional source that is missing leaves the variable as it was.
    fn set(&mut self, var: &EnvVar, value: Option<String>) {
        if let Some(value) = value {
            self.vars.insert(var.name.clone(), value);
        }
    }

    fn add_env_from(&mut self, container: &Container, sources: &PodSources) -> Result<()> {
        for from in container.env_from.iter().flatten() {
            let prefix = from.prefix.as_deref().unwrap_or_default();
            if let Some(source) = &from.config_map_ref {
                let need = Need::of(source.optional);
                let Some(map) = sources.find_config_map(&source.name, need)? else { continue };
                let data = map.data.iter().flatten();
                let data = data.map(|(key, value)| (key, value.clone()));
                self.add_keys("configMap", &source.name, prefix, data);
            } else if let Some(source) = &from.secret_ref {
                let need = Need::of(source.optional);
                let Some(secret) = sources.find_secret(&source.name, need)? else { continue };
                let data = secret.data.iter().flatten();
                let data = data.map(|(key, value)| (key, text(value)));
                self.add_keys("secret", &source.name, prefix, data);
            }
        }
        Ok(())
    }

    fn add_keys<'a>(
        &mut self,
        kind: &'static str,
        name: &str,
        prefix: &str,
        data: impl Iterator<Item = (&'a String, String)>,
    ) {
        let mut keys = Vec::new();
        for (key, value) in data {
            let key = format!("{prefix}{key}");
            match is_variable_name(&key) {
                true => _ = self.vars.insert(key, value),
                false => keys.push(key),
            }
        }
        if !keys.is_empty() {
            keys.sort();
            let (namespace, name) = (self.namespace.to_owned(), name.to_owned());
            self.skipped.push(InvalidKeys { kind, namespace, name, keys });
        }
    }
}

/// Where a `valueFrom` stands and what it can see.
struct Place<'a> {
    pod: &'a Pod,
    container: &'a Container,
    sources: &'a PodSources,
    facts: &'a PodFacts,
    namespace: &'a str,
    field: &'a str,
}

impl Place<'_> {
    /// The value; none if it is optional and not there.
    fn value_from(&self, from: &EnvVarSource) -> Result<Option<String>> {
        if let Some(selector) = &from.field_ref {
            let field = format!("{}.fieldRef", self.field);
            return field::compute_field(selector, self.pod, self.facts, &field).map(Some);
        }
        if let Some(selector) = &from.resource_field_ref {
            let field = format!("{}.resourceFieldRef", self.field);
            let (name, allocatable) = (&self.container.name, &self.facts.allocatable);
            let value = compute_resource(selector, self.pod, Some(name), allocatable, &field);
            return value.map(Some);
        }
        if let Some(key) = &from.config_map_key_ref {
            let need = Need::of(key.optional);
            let Some(map) = self.sources.find_config_map(&key.name, need)? else { return Ok(None) };
            let value = map.data.as_ref().and_then(|data| data.get(&key.key)).cloned();
            return self.required(value, need, "ConfigMap", &key.name, &key.key);
        }
        if let Some(key) = &from.secret_key_ref {
            let need = Need::of(key.optional);
            let Some(secret) = self.sources.find_secret(&key.name, need)? else { return Ok(None) };
            let value = secret.data.as_ref().and_then(|data| data.get(&key.key)).map(text);
            return self.required(value, need, "Secret", &key.name, &key.key);
        }
        self.other(from)
    }

    fn required(
        &self,
        value: Option<String>,
        need: Need,
        kind: &'static str,
        name: &str,
        key: &str,
    ) -> Result<Option<String>> {
        if value.is_some() || need == Need::Optional {
            return Ok(value);
        }
        Err(Error::KeyNotFound {
            key: key.to_owned(),
            kind,
            namespace: self.namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    fn other(&self, from: &EnvVarSource) -> Result<Option<String>> {
        // The value of a variable whose source says nothing is empty, as upstream has it.
        if *from == EnvVarSource::default() {
            return Ok(Some(String::new()));
        }
        Err(Error::InvalidConfig {
            field: self.field.to_owned(),
            reason: "this source is not supported by this node, use fieldRef, resourceFieldRef, \
                     configMapKeyRef or secretKeyRef"
                .into(),
        })
    }
}

/// A Secret's bytes as a process can have them in its environment.
fn text(value: &ByteString) -> String {
    String::from_utf8_lossy(&value.0).into_owned()
}

/// Any printable ASCII but `=`, since Kubernetes relaxed its rule.
fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'=')
}

#[cfg(test)]
mod tests;
