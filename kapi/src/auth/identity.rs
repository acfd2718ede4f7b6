//! Callers, as authentication names them.

use std::collections::BTreeMap;

/// The group of everybody who is known.
const AUTHENTICATED: &str = "system:authenticated";

/// A caller: a name, groups, and what else the authenticator knows.
/// <https://kubernetes.io/docs/reference/access-authn-authz/authentication/>
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Identity {
    /// The name, such as `system:kube-scheduler`.
    pub name: String,
    /// The uid, for ServiceAccounts; empty otherwise.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// What else is known.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// A user in groups. Everybody who is known belongs to `system:authenticated` besides.
    #[must_use]
    pub fn user<G: Into<String>>(
        name: impl Into<String>,
        groups: impl IntoIterator<Item = G>,
    ) -> Self {
        let mut groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// A component of the control plane, by its short name: `scheduler` is
    /// `system:kube-scheduler`. The bootstrap roles give each what it needs.
    #[must_use]
    pub fn component(name: &str) -> Self {
        let user = match name {
            "scheduler" | "controller-manager" | "proxy" => format!("system:kube-{name}"),
            other => format!("system:{other}"),
        };
        Self::user(user, [] as [String; 0])
    }

    /// The agent of a node.
    #[must_use]
    pub fn node(name: &str) -> Self {
        Self::user(format!("system:node:{name}"), ["system:nodes"])
    }

    /// Who may do everything.
    #[must_use]
    pub fn admin() -> Self {
        Self::user("kubernetes-admin", ["system:masters"])
    }

    /// A ServiceAccount.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let mut this = Self::user(
            format!("system:serviceaccount:{namespace}:{name}"),
            ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")],
        );
        uid.clone_into(&mut this.uid);
        this
    }

    /// Whoever did not say who they are.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            ..Self::default()
        }
    }

    /// The name under which the caller manages fields, unless a write names another: without the
    /// parts that every caller of its sort has.
    #[must_use]
    pub fn field_manager(&self) -> &str {
        if self.name.starts_with("system:node:") {
            return "kubelet";
        }
        self.name.rsplit(':').next().filter(|name| !name.is_empty()).unwrap_or("unknown")
    }

    /// Whether the caller belongs to a group.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|known| known == group)
    }
}
