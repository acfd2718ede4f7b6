//! The order in which a namespace is emptied, and what is said of it, as plain functions.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kcore::client::DiscoveredResource;
use kcore::name::Resource;

/// The finalizer that a namespace's emptying takes away.
pub const FINALIZER: &str = "kubernetes";
/// What must outlive the pods it restrains (D7).
const POLICIES: [(&str, &str); 4] = [
    ("networking.k8s.io", "networkpolicies"),
    ("policy", "poddisruptionbudgets"),
    ("", "resourcequotas"),
    ("", "limitranges"),
];

/// The namespaced resources that can be emptied, in phases: pods, then everything else, policies
/// last. A phase begins when the one before has left nothing.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/>
#[must_use]
pub fn phases(discovered: Vec<DiscoveredResource>) -> [Vec<Resource>; 3] {
    let mut phases: [Vec<Resource>; 3] = Default::default();
    for DiscoveredResource { resource, verbs } in discovered {
        let can = |verb: &str| verbs.iter().any(|known| known == verb);
        let whole = !resource.plural.contains('/');
        if !resource.namespaced || !whole || !can("list") || !can("delete") {
            continue;
        }
        let name = (&*resource.group, &*resource.plural);
        let phase = match name {
            ("", "pods") => 0,
            name if POLICIES.contains(&name) => 2,
            _ => 1,
        };
        phases[phase].push(resource);
    }
    phases
}

/// What is left of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remains {
    /// The resource, as `pods` or `deployments.apps`.
    pub resource: String,
    /// How many objects there are.
    pub count: usize,
    /// The finalizers that hold them, each with the number of objects it holds.
    pub finalizers: Vec<(String, usize)>,
}

/// The conditions of a namespace that is being emptied.
#[must_use]
pub fn conditions(
    namespace: &Namespace,
    failure: Option<&str>,
    remains: &[Remains],
    now: Timestamp,
) -> Vec<NamespaceCondition> {
    let mut finalizers: std::collections::BTreeMap<&str, usize> = Default::default();
    for (name, count) in remains.iter().flat_map(|one| &one.finalizers) {
        *finalizers.entry(name).or_default() += count;
    }
    let left: Vec<String> = remains
        .iter()
        .map(|one| format!("{} has {} resource instances", one.resource, one.count))
        .collect();
    let held: Vec<String> = finalizers
        .iter()
        .map(|(name, count)| format!("{name} in {count} resource instances"))
        .collect();
    let says = says(failure, &left, &held);
    let known = namespace.status.as_ref().and_then(|status| status.conditions.as_ref());
    says.into_iter()
        .map(|(kind, bad, good, words)| {
            let status = if bad.is_some() { "True" } else { "False" };
            let (reason, message) = bad.unwrap_or((good, words));
            let before = known.into_iter().flatten().find(|one| one.type_ == kind);
            let before = before.filter(|one| one.status == status);
            let since = before.and_then(|one| one.last_transition_time.clone());
            NamespaceCondition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                last_transition_time: Some(since.unwrap_or(Time(now))),
            }
        })
        .collect()
}

/// A condition that is bad news, or says that there is none: type, the bad reason and message, and
/// the good ones.
type Saying = (&'static str, Option<(&'static str, String)>, &'static str, String);

fn says(failure: Option<&str>, left: &[String], held: &[String]) -> [Saying; 5] {
    let list = |intro: &str, items: &[String]| format!("{intro}: {}", items.join(", "));
    [
        (
            "NamespaceDeletionDiscoveryFailure",
            None,
            "ResourcesDiscovered",
            "All resources successfully discovered".to_owned(),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned(),
        ),
        (
            "NamespaceDeletionContentFailure",
            failure.map(|error| {
                (
                    "ContentDeletionFailed",
                    format!("Failed to delete all resource types, 1 remaining: {error}"),
                )
            }),
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".to_owned(),
        ),
        (
            "NamespaceContentRemaining",
            (!left.is_empty())
                .then(|| ("SomeResourcesRemain", list("Some resources are remaining", left))),
            "ContentRemoved",
            "All content successfully removed".to_owned(),
        ),
        (
            "NamespaceFinalizersRemaining",
            (!held.is_empty()).then(|| {
                (
                    "SomeFinalizersRemain",
                    list("Some content in the namespace has finalizers remaining", held),
                )
            }),
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished".to_owned(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_go_first_and_policies_last_d7() {
        let resource =
            |group: &'static str, plural: &'static str, verbs: &[&str]| DiscoveredResource {
                resource: Resource {
                    group: group.into(),
                    version: "v1".into(),
                    plural: plural.into(),
                    kind: "K".into(),
                    namespaced: plural != "nodes",
                },
                verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
            };
        let all = ["list", "delete"];
        let found = phases(vec![
            resource("networking.k8s.io", "networkpolicies", &all),
            resource("", "configmaps", &all),
            resource("", "pods", &all),
            resource("", "pods/log", &["get"]),
            resource("", "nodes", &all),
            resource("", "bindings", &["create"]),
        ]);
        let names = found.map(|phase| {
            phase.iter().map(|one| one.plural.to_string()).collect::<Vec<_>>().join(",")
        });
        assert_eq!(names, ["pods", "configmaps", "networkpolicies"]);
    }

    #[test]
    fn what_remains_is_told() {
        let remains = [Remains {
            resource: "pods".into(),
            count: 2,
            finalizers: vec![("example.com/hold".into(), 1)],
        }];
        let said = conditions(&Namespace::default(), None, &remains, Timestamp::UNIX_EPOCH);
        let of = |kind: &str| said.iter().find(|one| one.type_ == kind).unwrap();
        assert_eq!(
            of("NamespaceContentRemaining").message.as_deref(),
            Some("Some resources are remaining: pods has 2 resource instances")
        );
        assert_eq!(of("NamespaceFinalizersRemaining").status, "True");
        assert_eq!(of("NamespaceDeletionContentFailure").status, "False");
    }
}
