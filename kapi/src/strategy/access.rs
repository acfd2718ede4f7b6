//! Roles and their bindings.
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/>

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};

use super::{FieldErrors, FieldPath, KindStrategy, meta};

const GROUP: &str = "rbac.authorization.k8s.io";

fn validate_rules(rules: Option<&Vec<PolicyRule>>, cluster: bool, errors: &mut FieldErrors) {
    for (at, rule) in rules.into_iter().flatten().enumerate() {
        let field = FieldPath::new("rules").index(at);
        if rule.verbs.is_empty() {
            errors.required(&field.child("verbs"), "verbs must contain at least one value");
        }
        let urls = rule.non_resource_urls.as_deref().unwrap_or_default();
        let groups = rule.api_groups.as_deref().unwrap_or_default();
        let resources = rule.resources.as_deref().unwrap_or_default();
        if !urls.is_empty() {
            if !cluster {
                errors.invalid(
                    &field.child("nonResourceURLs"),
                    urls,
                    "namespaced rules cannot apply to non-resource URLs",
                );
            }
            if !groups.is_empty() || !resources.is_empty() {
                errors.invalid(
                    &field.child("nonResourceURLs"),
                    urls,
                    "rules cannot apply to both regular resources and non-resource URLs",
                );
            }
            continue;
        }
        if groups.is_empty() {
            errors.required(
                &field.child("apiGroups"),
                "resource rules must supply at least one api group",
            );
        }
        if resources.is_empty() {
            errors.required(
                &field.child("resources"),
                "resource rules must supply at least one resource",
            );
        }
    }
}

fn default_ref(role: &mut RoleRef) {
    let group: Option<String> = super::optional(role.api_group.clone());
    if group.is_none_or(|group| group.is_empty()) {
        role.api_group = GROUP.to_owned().into();
    }
}

fn default_subjects(subjects: Option<&mut Vec<Subject>>) {
    for subject in subjects.into_iter().flatten() {
        if subject.api_group.is_none() && matches!(subject.kind.as_str(), "User" | "Group") {
            subject.api_group = Some(GROUP.to_owned());
        }
    }
}

fn validate_binding(
    role: &RoleRef,
    subjects: Option<&Vec<Subject>>,
    kinds: &[&str],
    namespaced: bool,
    errors: &mut FieldErrors,
) {
    let field = FieldPath::new("roleRef");
    if !kinds.contains(&role.kind.as_str()) {
        errors.not_supported(&field.child("kind"), &role.kind, kinds);
    }
    match role.name.as_str() {
        "" => errors.required(&field.child("name"), ""),
        name => errors.check(&field.child("name"), name, meta::path_segment(name)),
    }
    for (at, subject) in subjects.into_iter().flatten().enumerate() {
        let field = FieldPath::new("subjects").index(at);
        if subject.name.is_empty() {
            errors.required(&field.child("name"), "");
        }
        match subject.kind.as_str() {
            "ServiceAccount" => {
                if !namespaced && subject.namespace.as_deref().unwrap_or_default().is_empty() {
                    errors.required(&field.child("namespace"), "");
                }
            }
            "User" | "Group" => {}
            other => errors.not_supported(
                &field.child("kind"),
                other,
                &["ServiceAccount", "User", "Group"],
            ),
        }
    }
}

fn fixed_ref(new: &RoleRef, old: &RoleRef, errors: &mut FieldErrors) {
    if new != old {
        // X2: a binding cannot be turned into one of another role.
        errors.invalid(&FieldPath::new("roleRef"), new, "cannot change roleRef");
    }
}

macro_rules! role {
    ($name:ident, $kind:ty, $cluster:literal) => {
        /// Rules of roles.
        #[derive(Debug)]
        pub(crate) struct $name;

        impl KindStrategy for $name {
            type Object = $kind;

            fn check_name(&self, name: &str) -> Result<(), String> {
                meta::path_segment(name)
            }

            fn validate(&self, object: &$kind, errors: &mut FieldErrors) {
                validate_rules(object.rules.as_ref(), $cluster, errors);
            }
        }
    };
}

macro_rules! binding {
    ($name:ident, $kind:ty, $kinds:expr, $namespaced:literal) => {
        /// Rules of bindings.
        #[derive(Debug)]
        pub(crate) struct $name;

        impl KindStrategy for $name {
            type Object = $kind;

            fn check_name(&self, name: &str) -> Result<(), String> {
                meta::path_segment(name)
            }

            fn apply_defaults(&self, object: &mut $kind) {
                default_ref(&mut object.role_ref);
                default_subjects(object.subjects.as_mut());
            }

            fn validate(&self, object: &$kind, errors: &mut FieldErrors) {
                let subjects = object.subjects.as_ref();
                validate_binding(&object.role_ref, subjects, &$kinds, $namespaced, errors);
            }

            fn validate_update(&self, new: &$kind, old: &$kind, errors: &mut FieldErrors) {
                fixed_ref(&new.role_ref, &old.role_ref, errors);
            }
        }
    };
}

role!(RoleStrategy, Role, false);
role!(ClusterRoleStrategy, ClusterRole, true);
binding!(RoleBindingStrategy, RoleBinding, ["Role", "ClusterRole"], true);
binding!(ClusterRoleBindingStrategy, ClusterRoleBinding, ["ClusterRole"], false);
