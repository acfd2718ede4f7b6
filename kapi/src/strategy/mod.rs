//! The rules of each kind: defaults, what a create and an update may set, validation.
//!
//! A strategy is a plain set of functions over the kind's Rust type. The pipeline calls them in
//! the order of <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/>:
//! default, admit, default, prepare, validate.

mod access;
mod cluster;
mod config;
pub(crate) mod convert;
mod errors;
mod meta;
mod pod;
mod scale;
mod selector;
mod service;
mod workload;

use std::fmt::Debug;
use std::marker::PhantomData;

use kcore::kind::{Kind, Typed};

pub(crate) use access::{
    ClusterRoleBindingStrategy, ClusterRoleStrategy, RoleBindingStrategy, RoleStrategy,
};
pub(crate) use cluster::{
    CoreEventStrategy, LeaseStrategy, NamespaceStrategy, NodeStrategy, PodDisruptionBudgetStrategy,
    PriorityClassStrategy,
};
pub(crate) use config::{ConfigMapStrategy, SecretStrategy, ServiceAccountStrategy};
pub(crate) use errors::{FieldErrors, FieldPath};
pub(crate) use meta::{validate_meta, validate_meta_update};
pub(crate) use pod::PodStrategy;
pub(crate) use scale::Scalable;
pub(crate) use service::{EndpointSliceStrategy, EndpointsStrategy, NONE, ServiceStrategy};
pub(crate) use workload::{DeploymentStrategy, ReplicaSetStrategy};

use crate::registry::{Subresource, cast, cast_mut};

k8s_openapi::k8s_if_ge_1_37! {
    mod scheduling;
    pub(crate) use scheduling::{PodGroupStrategy, WorkloadStrategy};
}

/// The rules of one kind, over its Rust type. Every method has the behavior of a kind without
/// rules as its default.
pub(crate) trait KindStrategy: Debug + Send + Sync + 'static {
    /// The kind.
    type Object: Kind;

    /// Fills in what was left out. Calling it twice changes nothing more.
    fn apply_defaults(&self, _object: &mut Self::Object) {}

    /// Drops what a create may not set, and sets what only the server sets.
    fn prepare_create(&self, _object: &mut Self::Object) {}

    /// Drops what an update may not change. Status and generation are kept by the pipeline.
    fn prepare_update(&self, _new: &mut Self::Object, _old: &Self::Object) {}

    /// Adjusts a status that is about to replace `old`'s. Everything else is kept by the pipeline.
    fn prepare_status(&self, _new: &mut Self::Object, _old: &Self::Object) {}

    /// Keeps everything of `old` but the part that a subresource other than `status` writes.
    fn take_part(&self, _part: Subresource, _new: &mut Self::Object, _old: &Self::Object) {}

    /// Whether the status that a create brings is kept: of kinds that come into being elsewhere.
    fn keeps_status_on_create(&self) -> bool {
        false
    }

    /// What is wrong with an object, its metadata apart.
    fn validate(&self, _object: &Self::Object, _errors: &mut FieldErrors) {}

    /// What is wrong with the step from `old` to `new`; `validate` is called besides.
    fn validate_update(&self, _new: &Self::Object, _old: &Self::Object, _errors: &mut FieldErrors) {
    }

    /// What is wrong with the status of `new`.
    fn validate_status(&self, _new: &Self::Object, _old: &Self::Object, _errors: &mut FieldErrors) {
    }

    /// What is wrong with a name, in upstream's words; most kinds want a DNS subdomain.
    fn check_name(&self, name: &str) -> Result<(), String> {
        meta::dns_subdomain(name)
    }

    /// The kind's selectable fields besides name and namespace.
    fn selectable(&self) -> &'static [&'static str] {
        &[]
    }

    /// Those selectable fields by which a watch or list finds its objects without a scan.
    fn indexed(&self) -> &'static [&'static str] {
        &[]
    }

    /// The values of the selectable fields that are not empty.
    fn fields(&self, _object: &Self::Object) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Whether an update without resource version is let through.
    fn unconditional_update(&self) -> bool {
        true
    }

    /// Whether an update of an object that does not exist creates it.
    fn create_on_update(&self) -> bool {
        false
    }

    /// Seconds an object gets to end once its deletion is asked for with `asked` seconds; `None`
    /// for kinds that are deleted at once.
    fn grace_period(&self, _object: &Self::Object, _asked: Option<i64>) -> Option<i64> {
        None
    }

    /// Whether something in the object itself, its finalizers apart, holds its deletion up.
    fn holds_deletion(&self, _object: &Self::Object) -> bool {
        false
    }

    /// Marks an object whose deletion begins and is held up.
    fn begin_deletion(&self, _object: &mut Self::Object) {}

    /// Whether a delete answers with the object and not with a bare success.
    fn returns_deleted(&self) -> bool {
        false
    }

    /// Whether a deletion without a word on dependents leaves them behind.
    fn orphans_by_default(&self) -> bool {
        false
    }

    /// Whether the step counts as a new generation although the desired state is the same.
    fn changes_generation(&self, _new: &Self::Object, _old: &Self::Object) -> bool {
        false
    }
}

/// A kind without rules of its own: metadata is checked, nothing else is known of it.
#[derive(Debug)]
pub(crate) struct Plain<K>(PhantomData<fn() -> K>);

impl<K> Default for Plain<K> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<K: Kind> KindStrategy for Plain<K> {
    type Object = K;
}

/// The same rules behind the type, as the pipeline calls them.
pub(crate) trait Strategy: Debug + Send + Sync + 'static {
    fn apply_defaults(&self, object: &mut dyn Typed);
    fn prepare_create(&self, object: &mut dyn Typed);
    fn prepare_update(&self, new: &mut dyn Typed, old: &dyn Typed);
    fn prepare_status(&self, new: &mut dyn Typed, old: &dyn Typed);
    fn take_part(&self, part: Subresource, new: &mut dyn Typed, old: &dyn Typed);
    fn keeps_status_on_create(&self) -> bool;
    fn validate(&self, object: &dyn Typed, errors: &mut FieldErrors);
    fn validate_update(&self, new: &dyn Typed, old: &dyn Typed, errors: &mut FieldErrors);
    fn validate_status(&self, new: &dyn Typed, old: &dyn Typed, errors: &mut FieldErrors);
    fn check_name(&self, name: &str) -> Result<(), String>;
    fn selectable(&self) -> &'static [&'static str];
    fn indexed(&self) -> &'static [&'static str];
    fn fields(&self, object: &dyn Typed) -> Vec<(&'static str, String)>;
    fn unconditional_update(&self) -> bool;
    fn create_on_update(&self) -> bool;
    fn grace_period(&self, object: &dyn Typed, asked: Option<i64>) -> Option<i64>;
    fn holds_deletion(&self, object: &dyn Typed) -> bool;
    fn begin_deletion(&self, object: &mut dyn Typed);
    fn returns_deleted(&self) -> bool;
    fn orphans_by_default(&self) -> bool;
    fn changes_generation(&self, new: &dyn Typed, old: &dyn Typed) -> bool;
}

/// Puts a kind's rules behind its type.
#[derive(Debug)]
pub(crate) struct Adapter<S>(pub(crate) S);

impl<S: KindStrategy> Strategy for Adapter<S> {
    fn apply_defaults(&self, object: &mut dyn Typed) {
        self.0.apply_defaults(cast_mut(object));
    }

    fn prepare_create(&self, object: &mut dyn Typed) {
        self.0.prepare_create(cast_mut(object));
    }

    fn prepare_update(&self, new: &mut dyn Typed, old: &dyn Typed) {
        self.0.prepare_update(cast_mut(new), cast(old));
    }

    fn prepare_status(&self, new: &mut dyn Typed, old: &dyn Typed) {
        self.0.prepare_status(cast_mut(new), cast(old));
    }

    fn take_part(&self, part: Subresource, new: &mut dyn Typed, old: &dyn Typed) {
        self.0.take_part(part, cast_mut(new), cast(old));
    }

    fn keeps_status_on_create(&self) -> bool {
        self.0.keeps_status_on_create()
    }

    fn validate(&self, object: &dyn Typed, errors: &mut FieldErrors) {
        self.0.validate(cast(object), errors);
    }

    fn validate_update(&self, new: &dyn Typed, old: &dyn Typed, errors: &mut FieldErrors) {
        self.0.validate_update(cast(new), cast(old), errors);
    }

    fn validate_status(&self, new: &dyn Typed, old: &dyn Typed, errors: &mut FieldErrors) {
        self.0.validate_status(cast(new), cast(old), errors);
    }

    fn check_name(&self, name: &str) -> Result<(), String> {
        self.0.check_name(name)
    }

    fn selectable(&self) -> &'static [&'static str] {
        self.0.selectable()
    }

    fn indexed(&self) -> &'static [&'static str] {
        self.0.indexed()
    }

    fn fields(&self, object: &dyn Typed) -> Vec<(&'static str, String)> {
        self.0.fields(cast(object))
    }

    fn unconditional_update(&self) -> bool {
        self.0.unconditional_update()
    }

    fn create_on_update(&self) -> bool {
        self.0.create_on_update()
    }

    fn grace_period(&self, object: &dyn Typed, asked: Option<i64>) -> Option<i64> {
        self.0.grace_period(cast(object), asked)
    }

    fn holds_deletion(&self, object: &dyn Typed) -> bool {
        self.0.holds_deletion(cast(object))
    }

    fn begin_deletion(&self, object: &mut dyn Typed) {
        self.0.begin_deletion(cast_mut(object));
    }

    fn returns_deleted(&self) -> bool {
        self.0.returns_deleted()
    }

    fn orphans_by_default(&self) -> bool {
        self.0.orphans_by_default()
    }

    fn changes_generation(&self, new: &dyn Typed, old: &dyn Typed) -> bool {
        self.0.changes_generation(cast(new), cast(old))
    }
}

/// A member that is optional in some Kubernetes versions and required in others.
pub(crate) fn optional<T>(member: impl Into<Option<T>>) -> Option<T> {
    member.into()
}
