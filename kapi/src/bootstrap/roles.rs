//! The roles of a new cluster: for people, and for each component what it needs.
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings>

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

const RBAC: &str = "rbac.authorization.k8s.io";
const ALL: &str = "*";
const READ: &str = "get,list,watch";
const WRITE: &str = "create,delete,deletecollection,patch,update";
const READ_WRITE: &str = "create,delete,deletecollection,get,list,patch,update,watch";

/// What people work with inside a namespace, by group; secrets and roles apart.
const WORKLOADS: [(&str, &str); 8] = [
    (
        "",
        "bindings,configmaps,endpoints,events,limitranges,namespaces/status,\
         persistentvolumeclaims,persistentvolumeclaims/status,pods,pods/log,pods/status,\
         replicationcontrollers,replicationcontrollers/scale,replicationcontrollers/status,\
         resourcequotas,resourcequotas/status,serviceaccounts,services,services/status",
    ),
    ("discovery.k8s.io", "endpointslices"),
    (
        "apps",
        "controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,\
         deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,\
         statefulsets/scale,statefulsets/status",
    ),
    ("autoscaling", "horizontalpodautoscalers,horizontalpodautoscalers/status"),
    ("batch", "cronjobs,cronjobs/status,jobs,jobs/status"),
    ("policy", "poddisruptionbudgets,poddisruptionbudgets/status"),
    ("networking.k8s.io", "ingresses,ingresses/status,networkpolicies"),
    ("events.k8s.io", "events"),
];

fn split(list: &str) -> Vec<String> {
    list.split(',').map(ToOwned::to_owned).collect()
}

fn rule(verbs: &str, groups: &str, resources: &str) -> PolicyRule {
    PolicyRule {
        verbs: split(verbs),
        api_groups: Some(split(groups)),
        resources: Some(split(resources)),
        ..PolicyRule::default()
    }
}

fn paths(verbs: &str, urls: &str) -> PolicyRule {
    PolicyRule {
        verbs: split(verbs),
        non_resource_urls: Some(split(urls)),
        ..PolicyRule::default()
    }
}

fn meta(namespace: Option<&str>, name: &str) -> ObjectMeta {
    let labels = [("kubernetes.io/bootstrapping", "rbac-defaults")];
    let note = [("rbac.authorization.kubernetes.io/autoupdate", "true")];
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(ToOwned::to_owned),
        labels: Some(map(&labels)),
        annotations: Some(map(&note)),
        ..ObjectMeta::default()
    }
}

fn cluster_role(name: &str, rules: Vec<PolicyRule>) -> ClusterRole {
    ClusterRole { metadata: meta(None, name), rules: Some(rules), ..ClusterRole::default() }
}

/// Every ClusterRole.
pub(super) fn cluster_roles() -> Vec<ClusterRole> {
    let mut roles = vec![
        cluster_role("cluster-admin", vec![rule(ALL, ALL, ALL), paths(ALL, ALL)]),
        cluster_role("admin", people(true, true)),
        cluster_role("edit", people(true, false)),
        cluster_role("view", people(false, false)),
    ];
    roles.extend(everybody());
    roles.extend(components());
    roles
}

fn people(write: bool, roles: bool) -> Vec<PolicyRule> {
    let mut rules: Vec<PolicyRule> =
        WORKLOADS.iter().map(|(group, resources)| rule(READ, group, resources)).collect();
    rules.push(rule(READ, "", "namespaces"));
    if write {
        for (group, resources) in WORKLOADS {
            let writable: Vec<&str> = resources
                .split(',')
                .filter(|one| !one.ends_with("/status") && *one != "limitranges")
                .filter(|one| !matches!(*one, "bindings" | "resourcequotas" | "pods/log"))
                .collect();
            rules.push(rule(WRITE, group, &writable.join(",")));
        }
        rules.push(rule(READ_WRITE, "", "secrets"));
        rules.push(rule("create", "", "pods/eviction,serviceaccounts/token"));
        rules.push(rule(READ_WRITE, "coordination.k8s.io", "leases"));
    }
    if roles {
        rules.push(rule(READ_WRITE, RBAC, "roles,rolebindings"));
        rules.push(rule("create", "authorization.k8s.io", "localsubjectaccessreviews"));
    }
    rules
}

fn everybody() -> Vec<ClusterRole> {
    let health = "/healthz,/livez,/readyz,/version,/version/";
    vec![
        cluster_role("system:public-info-viewer", vec![paths("get", health)]),
        cluster_role(
            "system:discovery",
            vec![paths("get", &format!("/api,/api/*,/apis,/apis/*,/openapi,/openapi/*,{health}"))],
        ),
        cluster_role(
            "system:basic-user",
            vec![
                rule(
                    "create",
                    "authorization.k8s.io",
                    "selfsubjectaccessreviews,selfsubjectrulesreviews",
                ),
                rule("create", "authentication.k8s.io", "selfsubjectreviews"),
            ],
        ),
        cluster_role(
            "system:service-account-issuer-discovery",
            vec![paths(
                "get",
                "/.well-known/openid-configuration,/.well-known/openid-configuration/,\
                 /openid/v1/jwks,/openid/v1/jwks/",
            )],
        ),
        cluster_role("system:monitoring", vec![paths("get", "/metrics,/metrics/slis,/healthz/*")]),
    ]
}

fn components() -> Vec<ClusterRole> {
    let reviews = || {
        vec![
            rule("create", "authentication.k8s.io", "tokenreviews"),
            rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        ]
    };
    let events = || rule("create,patch,update", ",events.k8s.io", "events");
    let leases = || rule("create,get,list,patch,update,watch", "coordination.k8s.io", "leases");
    let mut scheduler = vec![
        events(),
        leases(),
        rule(READ, "", "namespaces,nodes,persistentvolumeclaims,persistentvolumes"),
        rule("delete,get,list,watch", "", "pods"),
        rule("create", "", "bindings,pods/binding"),
        rule("patch,update", "", "pods/status"),
        rule("patch,update", "", "persistentvolumeclaims,persistentvolumes"),
        rule(READ, "", "replicationcontrollers,services"),
        rule(READ, "apps", "replicasets,statefulsets"),
        rule(READ, "policy", "poddisruptionbudgets"),
        rule(READ, "storage.k8s.io", ALL),
        rule(READ, "resource.k8s.io", ALL),
        rule("patch,update", "resource.k8s.io", "resourceclaims,resourceclaims/status"),
        rule(READ, "scheduling.k8s.io", "podgroups,priorityclasses,workloads"),
    ];
    scheduler.extend(reviews());
    let mut manager = vec![
        events(),
        leases(),
        rule(READ, ALL, ALL),
        rule(WRITE, ALL, ALL),
        rule("escalate,bind", RBAC, "clusterroles,roles"),
    ];
    manager.extend(reviews());
    let mut node = vec![
        events(),
        leases(),
        rule(READ, "", "configmaps,nodes,persistentvolumeclaims,persistentvolumes,pods"),
        rule(READ, "", "secrets,serviceaccounts,services"),
        rule("create,patch,update", "", "nodes,nodes/status"),
        rule("create,delete", "", "pods"),
        rule("patch,update", "", "pods/status"),
        rule("create", "", "pods/eviction,serviceaccounts/token"),
        rule(READ, "node.k8s.io", "runtimeclasses"),
        rule("create,get,list,watch", "certificates.k8s.io", "certificatesigningrequests"),
        rule(READ, "storage.k8s.io", "csidrivers,volumeattachments"),
        rule("create,delete,get,patch,update", "storage.k8s.io", "csinodes"),
    ];
    node.extend(reviews());
    vec![
        cluster_role("system:kube-scheduler", scheduler),
        cluster_role("system:kube-controller-manager", manager),
        cluster_role("system:node", node),
        cluster_role(
            "system:node-proxier",
            vec![
                events(),
                rule(READ, "", "endpoints,nodes,services"),
                rule(READ, "discovery.k8s.io", "endpointslices"),
                rule(READ, "networking.k8s.io", "servicecidrs"),
            ],
        ),
        cluster_role("system:auth-delegator", reviews()),
    ]
}

fn subject(kind: &str, name: &str) -> Subject {
    Subject {
        api_group: Some(RBAC.to_owned()),
        kind: kind.to_owned(),
        name: name.to_owned(),
        namespace: None,
    }
}

fn cluster_binding(role: &str, subjects: Vec<Subject>) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: meta(None, role),
        role_ref: RoleRef {
            api_group: RBAC.to_owned().into(),
            kind: "ClusterRole".to_owned(),
            name: role.to_owned(),
        },
        subjects: Some(subjects),
    }
}

/// Every ClusterRoleBinding.
pub(super) fn cluster_role_bindings() -> Vec<ClusterRoleBinding> {
    let group = |name| vec![subject("Group", name)];
    let user = |name| vec![subject("User", name)];
    let known = "system:authenticated";
    vec![
        cluster_binding("cluster-admin", group("system:masters")),
        cluster_binding("system:discovery", group(known)),
        cluster_binding("system:basic-user", group(known)),
        cluster_binding(
            "system:public-info-viewer",
            vec![subject("Group", known), subject("Group", "system:unauthenticated")],
        ),
        cluster_binding("system:service-account-issuer-discovery", group("system:serviceaccounts")),
        cluster_binding("system:monitoring", group("system:monitoring")),
        cluster_binding("system:kube-scheduler", user("system:kube-scheduler")),
        cluster_binding("system:kube-controller-manager", user("system:kube-controller-manager")),
        cluster_binding("system:node", group("system:nodes")),
        cluster_binding("system:node-proxier", user("system:kube-proxy")),
    ]
}

/// Every Role.
pub(super) fn roles() -> Vec<Role> {
    vec![Role {
        metadata: meta(Some("kube-system"), "extension-apiserver-authentication-reader"),
        rules: Some(vec![PolicyRule {
            resource_names: Some(vec!["extension-apiserver-authentication".to_owned()]),
            ..rule(READ, "", "configmaps")
        }]),
    }]
}

/// Every RoleBinding.
pub(super) fn role_bindings() -> Vec<RoleBinding> {
    let name = "extension-apiserver-authentication-reader";
    vec![RoleBinding {
        metadata: meta(Some("kube-system"), name),
        role_ref: RoleRef {
            api_group: RBAC.to_owned().into(),
            kind: "Role".to_owned(),
            name: name.to_owned(),
        },
        subjects: Some(vec![
            subject("User", "system:kube-controller-manager"),
            subject("User", "system:kube-scheduler"),
        ]),
    }]
}
