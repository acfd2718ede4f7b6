//! One kind, as the pipeline sees it.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::api::autoscaling::v1::Scale;
use kcore::kind::{Codec, Kind, Typed};
use kcore::name::Resource;
use kstore::Durability;

use super::conversion::{Convert, StoredAs};
use crate::schema::SchemaSource;
use crate::strategy::{Adapter, KindStrategy, Plain, Scalable, Strategy};

/// Which verbs a resource has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbs {
    /// All of them: its objects are stored.
    All,
    /// Create alone: it is a question that is answered and never stored.
    CreateOnly,
}

/// What hangs below an object's own path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subresource {
    /// `status`, read and written apart from the rest.
    Status,
    /// `scale`: the replicas of any scalable kind in one shape.
    Scale,
    /// `binding` of a Pod to its node.
    Binding,
    /// `eviction` of a Pod.
    Eviction,
    /// `finalize` of a Namespace.
    Finalize,
    /// `ephemeralcontainers` of a Pod.
    EphemeralContainers,
    /// `resize` of a Pod's containers in place.
    Resize,
    /// `approval` of a certificate signing request.
    Approval,
    /// `log` of a Pod's container, read from its node.
    Log,
    /// `token` of a ServiceAccount.
    Token,
}

impl Subresource {
    /// Whether it is read as an object: as its own, or as the object's scale.
    pub(crate) const fn is_readable(self) -> bool {
        matches!(
            self,
            Self::Status | Self::Scale | Self::EphemeralContainers | Self::Resize | Self::Approval
        )
    }

    /// Its name in paths.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Binding => "binding",
            Self::Eviction => "eviction",
            Self::Finalize => "finalize",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Resize => "resize",
            Self::Approval => "approval",
            Self::Log => "log",
            Self::Token => "token",
        }
    }
}

/// How a kind's status is kept apart from the rest of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StatusPart {
    /// Gives `to` the status of `from`.
    pub(crate) copy: fn(to: &mut dyn Typed, from: &dyn Typed),
    /// Takes the status away.
    pub(crate) clear: fn(&mut dyn Typed),
}

/// How a kind's replicas are read and set through `scale`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScalePart {
    /// The object's scale.
    pub(crate) get: fn(&dyn Typed) -> Scale,
    /// Sets the replicas.
    pub(crate) set: fn(&mut dyn Typed, i32),
}

impl ScalePart {
    pub(crate) fn of<K: Scalable>() -> Self {
        Self {
            get: |object| cast::<K>(object).scale(),
            set: |object, replicas| cast_mut::<K>(object).set_replicas(replicas),
        }
    }
}

/// Whether the desired state of two objects is the same.
pub(crate) type SameSpec = fn(&dyn Typed, &dyn Typed) -> bool;

/// One kind in one version.
pub(crate) struct Row {
    pub(crate) resource: Resource,
    /// Its number in the table.
    pub(crate) number: usize,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<Cow<'static, str>>,
    pub(crate) categories: Vec<Cow<'static, str>>,
    pub(crate) verbs: Verbs,
    pub(crate) subresources: Vec<Subresource>,
    pub(crate) codec: Codec,
    pub(crate) schema: SchemaSource,
    pub(crate) status: Option<StatusPart>,
    pub(crate) scale: Option<ScalePart>,
    /// Whether the desired state of two objects is the same.
    pub(crate) same_spec: Option<SameSpec>,
    pub(crate) strategy: Box<dyn Strategy>,
    pub(crate) stored_as: Option<StoredAs>,
    /// What a crash may do to its last writes.
    pub(crate) durability: Durability,
    /// Turns an object into the version whose columns it prints, if that is another one.
    pub(crate) print_as: Option<Convert>,
}

impl Row {
    /// A stored kind without a strategy of its own.
    pub(crate) fn of<K: Kind + schemars::JsonSchema>() -> Self {
        Self {
            resource: Resource::of::<K>(),
            number: 0,
            singular: K::KIND.to_lowercase(),
            short_names: Vec::new(),
            categories: Vec::new(),
            verbs: Verbs::All,
            subresources: Vec::new(),
            codec: Codec::of::<K>(),
            schema: SchemaSource::of::<K>(),
            status: None,
            scale: None,
            same_spec: None,
            strategy: Box::new(Adapter(Plain::<K>::default())),
            stored_as: None,
            durability: Durability::Durable,
            print_as: None,
        }
    }

    /// A crash may undo its last writes: its writers repeat themselves, or nobody needs them.
    pub(crate) fn volatile(mut self) -> Self {
        self.durability = Durability::Volatile;
        self
    }

    /// Names it goes by on a command line.
    pub(crate) fn short(mut self, name: &'static str) -> Self {
        self.short_names.push(name.into());
        self
    }

    /// A category it is listed with, such as `all`.
    pub(crate) fn category(mut self, name: &'static str) -> Self {
        self.categories.push(name.into());
        self
    }

    /// A subresource it has.
    pub(crate) fn sub(mut self, subresource: Subresource) -> Self {
        self.subresources.push(subresource);
        self
    }

    /// Its status is a part of its own, at `status`.
    pub(crate) fn status(mut self, part: StatusPart) -> Self {
        self.status = Some(part);
        self.sub(Subresource::Status)
    }

    /// Its replicas can be set at `scale`.
    pub(crate) fn scale(mut self, part: ScalePart) -> Self {
        self.scale = Some(part);
        self.sub(Subresource::Scale)
    }

    /// Its generation counts the changes of its desired state.
    pub(crate) fn counted(mut self, same_spec: SameSpec) -> Self {
        self.same_spec = Some(same_spec);
        self
    }

    /// The rules of the kind.
    pub(crate) fn strategy<S: KindStrategy>(mut self, strategy: S) -> Self {
        self.strategy = Box::new(Adapter(strategy));
        self
    }

    /// A question, answered and never stored.
    pub(crate) fn create_only(mut self) -> Self {
        self.verbs = Verbs::CreateOnly;
        self
    }

    /// Its objects are stored, and printed, under another group and version of the same plural.
    pub(super) fn stored_as(
        mut self,
        group: &'static str,
        version: &'static str,
        to_stored: Convert,
        from_stored: Convert,
    ) -> Self {
        self.print_as = Some(to_stored);
        self.stored_as = Some(StoredAs::by(group, version, to_stored, from_stored));
        self
    }

    /// The subresource of a name, if the kind has it.
    pub(crate) fn subresource(&self, name: &str) -> Option<Subresource> {
        self.subresources.iter().copied().find(|known| known.name() == name)
    }

    /// The prefix of its objects' keys in the store.
    pub(crate) fn prefix(&self) -> String {
        let group = match &self.resource.group {
            group if group.is_empty() => "core",
            group => group,
        };
        format!("/registry/{group}/{}/", self.resource.plural)
    }

    /// The key of an object in the store.
    pub(crate) fn key(&self, namespace: &str, name: &str) -> String {
        let mut key = self.prefix();
        if self.resource.namespaced {
            key.push_str(namespace);
            key.push('/');
        }
        key.push_str(name);
        key
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("resource", &self.resource).finish_non_exhaustive()
    }
}

/// The object behind its type.
///
/// # Panics
/// If the object is of another kind. A row's functions meet only what its own codec decoded.
pub(crate) fn cast<K: Kind>(object: &dyn Typed) -> &K {
    object
        .as_any()
        .downcast_ref()
        .unwrap_or_else(|| unreachable!("a row's functions meet its own kind, {}", K::KIND))
}

/// The object behind its type, to be changed.
///
/// # Panics
/// If the object is of another kind. A row's functions meet only what its own codec decoded.
pub(crate) fn cast_mut<K: Kind>(object: &mut dyn Typed) -> &mut K {
    object
        .as_any_mut()
        .downcast_mut()
        .unwrap_or_else(|| unreachable!("a row's functions meet its own kind, {}", K::KIND))
}
