//! Role-based access control, compiled per caller.
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/>

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use kcore::collections::HashMap;
use kcore::kind::Kind;
use kcore::name::Resource;
use parking_lot::Mutex;

use super::{Attributes, Decision, Identity};
use crate::cache::{Cache, KindCache, Part};
use crate::registry::Registry;

/// Callers whose rules are kept compiled.
const MAX_CALLERS: usize = 4_096;
/// Who may do everything, whatever the roles say.
const MASTERS: &str = "system:masters";

/// The authorizer that reads Roles and Bindings from the cache.
#[derive(Debug)]
pub(crate) struct Rbac {
    roles: Arc<KindCache>,
    cluster_roles: Arc<KindCache>,
    bindings: Arc<KindCache>,
    cluster_bindings: Arc<KindCache>,
    compiled: Mutex<Compiled>,
}

#[derive(Debug, Default)]
struct Compiled {
    /// Sum of the kinds' change counters the callers were compiled at.
    version: u64,
    callers: HashMap<Identity, Arc<Permissions>>,
}

/// What one caller may do, kept where its requests come from, so that nothing is looked up.
#[derive(Debug, Default)]
pub(crate) struct Held(ArcSwapOption<(u64, Arc<Permissions>)>);

/// What one caller may do.
#[derive(Debug, Default)]
pub(crate) struct Permissions {
    /// Everything, whatever the roles say.
    all: bool,
    /// Everywhere.
    cluster: Rules,
    /// In one namespace.
    namespaced: HashMap<String, Rules>,
}

#[derive(Debug, Default)]
struct Rules {
    /// Rules by resource (`pods`, `pods/log`, `*`), so that a thousand roles are not walked.
    by_resource: HashMap<String, Vec<PolicyRule>>,
    paths: Vec<PolicyRule>,
}

impl Rbac {
    pub(crate) fn new(registry: &Registry, cache: &Cache) -> Option<Self> {
        fn kind<K: Kind>(registry: &Registry, cache: &Cache) -> Option<Arc<KindCache>> {
            registry.of(&Resource::of::<K>()).and_then(|row| cache.of(row)).cloned()
        }
        Some(Self {
            roles: kind::<Role>(registry, cache)?,
            cluster_roles: kind::<ClusterRole>(registry, cache)?,
            bindings: kind::<RoleBinding>(registry, cache)?,
            cluster_bindings: kind::<ClusterRoleBinding>(registry, cache)?,
            compiled: Mutex::default(),
        })
    }

    pub(crate) fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        if attributes.user.is_in(MASTERS) || self.permissions(attributes.user).allow(attributes) {
            return Decision::Allow;
        }
        Decision::NoOpinion(String::new())
    }

    /// Whether the roles allow a request of a caller whose permissions are held.
    pub(crate) fn allows(&self, held: &Held, attributes: &Attributes<'_>) -> bool {
        // The counts only grow, so equal sums are equal states.
        let version = self.version();
        if let Some(current) = &*held.0.load()
            && current.0 == version
        {
            return current.1.allow(attributes);
        }
        let permissions = self.permissions(attributes.user);
        let allowed = permissions.allow(attributes);
        held.0.store(Some(Arc::new((version, permissions))));
        allowed
    }

    /// Counts the changes of roles and bindings.
    fn version(&self) -> u64 {
        self.roles.changes()
            + self.cluster_roles.changes()
            + self.bindings.changes()
            + self.cluster_bindings.changes()
    }

    /// What a caller may do as of now.
    pub(crate) fn permissions(&self, user: &Identity) -> Arc<Permissions> {
        let version = self.version();
        {
            let mut compiled = self.compiled.lock();
            if compiled.version != version || compiled.callers.len() > MAX_CALLERS {
                compiled.callers.clear();
                compiled.version = version;
            }
            if let Some(permissions) = compiled.callers.get(user) {
                return Arc::clone(permissions);
            }
        }
        let permissions = Arc::new(self.compile(user));
        let mut compiled = self.compiled.lock();
        if compiled.version == version {
            compiled.callers.insert(user.clone(), Arc::clone(&permissions));
        }
        permissions
    }

    fn compile(&self, user: &Identity) -> Permissions {
        let mut permissions = Permissions { all: user.is_in(MASTERS), ..Permissions::default() };
        for object in self.cluster_bindings.list(&Part::All, None).0 {
            let Ok(binding) = object.view::<ClusterRoleBinding>() else { continue };
            if applies(binding.subjects.as_deref(), user, "") {
                permissions.cluster.add(self.rules(&binding.role_ref, ""));
            }
        }
        for object in self.bindings.list(&Part::All, None).0 {
            let Ok(binding) = object.view::<RoleBinding>() else { continue };
            let namespace = object.meta().namespace.as_str();
            if applies(binding.subjects.as_deref(), user, namespace) {
                let rules = self.rules(&binding.role_ref, namespace);
                permissions.namespaced.entry(namespace.to_owned()).or_default().add(rules);
            }
        }
        permissions
    }

    fn rules(&self, role: &RoleRef, namespace: &str) -> Vec<PolicyRule> {
        let rules = match role.kind.as_str() {
            "ClusterRole" => self
                .cluster_roles
                .get(&role.name)
                .and_then(|object| object.view::<ClusterRole>().ok()?.rules.clone()),
            "Role" => self
                .roles
                .get(&format!("{namespace}/{}", role.name))
                .and_then(|object| object.view::<Role>().ok()?.rules.clone()),
            _ => None,
        };
        rules.unwrap_or_default()
    }
}

/// Whether a binding in `namespace` names the caller.
fn applies(subjects: Option<&[Subject]>, user: &Identity, namespace: &str) -> bool {
    subjects.into_iter().flatten().any(|subject| match subject.kind.as_str() {
        "User" => subject.name == user.name,
        "Group" => user.is_in(&subject.name),
        "ServiceAccount" => {
            let home = subject.namespace.as_deref().unwrap_or(namespace);
            user.name
                .strip_prefix("system:serviceaccount:")
                .and_then(|rest| rest.split_once(':'))
                .is_some_and(|(space, name)| space == home && name == subject.name)
        }
        _ => false,
    })
}

impl Rules {
    fn add(&mut self, rules: Vec<PolicyRule>) {
        for rule in rules {
            if rule.non_resource_urls.as_ref().is_some_and(|urls| !urls.is_empty()) {
                self.paths.push(rule.clone());
            }
            for resource in rule.resources.iter().flatten() {
                self.by_resource.entry(resource.clone()).or_default().push(rule.clone());
            }
        }
    }

    fn allow(&self, attributes: &Attributes<'_>) -> bool {
        if attributes.resource.is_empty() {
            return self.paths.iter().any(|rule| allows_path(rule, attributes));
        }
        let of = |resource: &str| {
            self.by_resource
                .get(resource)
                .is_some_and(|rules| rules.iter().any(|rule| allows(rule, attributes)))
        };
        if attributes.subresource.is_empty() {
            return of(attributes.resource) || of("*");
        }
        of(&format!("{}/{}", attributes.resource, attributes.subresource))
            || of(&format!("*/{}", attributes.subresource))
            || of("*")
    }
}

impl Permissions {
    /// The rules that hold in a namespace.
    pub(crate) fn rules(&self, namespace: &str) -> Vec<PolicyRule> {
        let local = self.namespaced.get(namespace);
        let mut rules: Vec<PolicyRule> = Vec::new();
        for set in std::iter::once(&self.cluster).chain(local) {
            let all = set.by_resource.values().flatten().chain(&set.paths);
            for rule in all {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
        rules
    }

    fn allow(&self, attributes: &Attributes<'_>) -> bool {
        self.all
            || self.cluster.allow(attributes)
            || (!attributes.namespace.is_empty()
                && self
                    .namespaced
                    .get(attributes.namespace)
                    .is_some_and(|rules| rules.allow(attributes)))
    }
}

fn has(list: Option<&Vec<String>>, wanted: &str) -> bool {
    list.is_some_and(|list| list.iter().any(|entry| entry == "*" || entry == wanted))
}

/// The resource has matched already.
fn allows(rule: &PolicyRule, attributes: &Attributes<'_>) -> bool {
    let named = rule.resource_names.as_deref().unwrap_or_default();
    has(Some(&rule.verbs), attributes.verb)
        && has(rule.api_groups.as_ref(), attributes.group)
        && (named.is_empty() || named.iter().any(|name| name == attributes.name))
}

fn allows_path(rule: &PolicyRule, attributes: &Attributes<'_>) -> bool {
    has(Some(&rule.verbs), attributes.verb)
        && rule.non_resource_urls.iter().flatten().any(|url| match url.strip_suffix('*') {
            Some(prefix) => attributes.path.starts_with(prefix),
            None => attributes.path == url,
        })
}
