//! Who may do what.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject};

use super::cell::{NONE, age_of, human, name_of};
use super::printer::{Printer, age, cells, name, printer, text, wide};

pub(super) fn printer(group: &str, kind: &str) -> Option<&'static Printer> {
    Some(match (group, kind) {
        ("rbac.authorization.k8s.io", "RoleBinding") => &ROLE_BINDING,
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => &CLUSTER_ROLE_BINDING,
        ("certificates.k8s.io", "CertificateSigningRequest") => &SIGNING_REQUEST,
        _ => return None,
    })
}

/// The subjects of one kind, separated by commas.
fn subjects(subjects: Option<&Vec<Subject>>, kind: &str) -> String {
    let all = subjects.into_iter().flatten().filter(|subject| subject.kind == kind);
    let names: Vec<String> = all
        .map(|subject| match &subject.namespace {
            Some(namespace) if kind == "ServiceAccount" => format!("{namespace}/{}", subject.name),
            _ => subject.name.clone(),
        })
        .collect();
    names.join(", ")
}

fn role(role: &RoleRef) -> String {
    format!("{}/{}", role.kind, role.name)
}

macro_rules! binding {
    ($kind:ty) => {
        printer!(
            $kind,
            |object, now| {
                cells![
                    name_of(&object.metadata),
                    role(&object.role_ref),
                    age_of(&object.metadata, now),
                    subjects(object.subjects.as_ref(), "User"),
                    subjects(object.subjects.as_ref(), "Group"),
                    subjects(object.subjects.as_ref(), "ServiceAccount"),
                ]
            },
            [
                name(),
                text("Role", "The role that is given."),
                age(),
                wide("Users", "The users it is given to."),
                wide("Groups", "The groups it is given to."),
                wide("ServiceAccounts", "The service accounts it is given to."),
            ]
        )
    };
}

static ROLE_BINDING: Printer = binding!(RoleBinding);
static CLUSTER_ROLE_BINDING: Printer = binding!(ClusterRoleBinding);

static SIGNING_REQUEST: Printer = printer!(
    CertificateSigningRequest,
    |object, now| {
        let lifetime = object.spec.expiration_seconds.map(i64::from).map(human);
        let signer = match object.spec.signer_name.as_str() {
            "" => NONE,
            signer => signer,
        };
        cells![
            name_of(&object.metadata),
            age_of(&object.metadata, now),
            signer,
            object.spec.username.clone().unwrap_or_default(),
            lifetime.unwrap_or_else(|| NONE.to_owned()),
            state(object),
        ]
    },
    [
        name(),
        age(),
        text("SignerName", "Who is asked to sign."),
        text("Requestor", "Who asks."),
        text("RequestedDuration", "How long the certificate should be good."),
        text("Condition", "What was decided."),
    ]
);

fn state(request: &CertificateSigningRequest) -> String {
    let status = request.status.clone().unwrap_or_default();
    let has = |wanted: &str| {
        let mut all = status.conditions.iter().flatten();
        all.any(|condition| condition.type_ == wanted)
    };
    let mut words = vec![match () {
        () if has("Denied") => "Denied",
        () if has("Approved") => "Approved",
        () => "Pending",
    }];
    if has("Failed") {
        words.push("Failed");
    }
    if status.certificate.is_some_and(|certificate| !certificate.0.is_empty()) {
        words.push("Issued");
    }
    words.join(",")
}
