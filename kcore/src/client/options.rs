//! What a request can ask for besides its path.

use crate::selector::{FieldSelector, LabelSelector};

/// How much of each object is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Representation {
    /// All of it.
    #[default]
    Full,
    /// Kind and metadata alone.
    MetadataOnly,
}

/// How a list's resource version is meant.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#the-resourceversion-parameter>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionMatch {
    /// At least as new as the version.
    NotOlderThan,
    /// Exactly the version.
    Exact,
}

/// Options of a read of one object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GetOptions {
    /// At least this version; `Some(0)` takes whatever the server has at hand, `None` the most
    /// recent.
    pub resource_version: Option<u64>,
    /// How much of the object is wanted.
    pub representation: Representation,
}

impl GetOptions {
    /// Accepts a state at least as new as `version`; zero accepts any.
    #[must_use]
    pub fn resource_version(mut self, version: u64) -> Self {
        self.resource_version = Some(version);
        self
    }

    /// Asks for kind and metadata alone.
    #[must_use]
    pub fn metadata_only(mut self) -> Self {
        self.representation = Representation::MetadataOnly;
        self
    }
}

/// Options of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ListOptions {
    /// Only objects with these labels.
    pub labels: LabelSelector,
    /// Only objects with these fields.
    pub fields: FieldSelector,
    /// The version asked for; `Some(0)` takes whatever the server has at hand.
    pub resource_version: Option<u64>,
    /// How the version is meant.
    pub version_match: Option<VersionMatch>,
    /// At most so many objects a page.
    pub limit: Option<u64>,
    /// The token of the page wanted.
    pub continue_token: Option<String>,
    /// How much of each object is wanted.
    pub representation: Representation,
}

impl ListOptions {
    /// Only objects with these labels.
    #[must_use]
    pub fn labels(mut self, labels: LabelSelector) -> Self {
        self.labels = labels;
        self
    }

    /// Only objects with these fields.
    #[must_use]
    pub fn fields(mut self, fields: FieldSelector) -> Self {
        self.fields = fields;
        self
    }

    /// The version asked for; zero takes whatever the server has at hand.
    #[must_use]
    pub fn resource_version(mut self, version: u64) -> Self {
        self.resource_version = Some(version);
        self
    }

    /// How the version is meant.
    #[must_use]
    pub fn version_match(mut self, version_match: VersionMatch) -> Self {
        self.version_match = Some(version_match);
        self
    }

    /// At most so many objects a page.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The page behind `token`.
    #[must_use]
    pub fn continue_token(mut self, token: impl Into<String>) -> Self {
        self.continue_token = Some(token.into());
        self
    }

    /// Asks for kind and metadata alone.
    #[must_use]
    pub fn metadata_only(mut self) -> Self {
        self.representation = Representation::MetadataOnly;
        self
    }
}

/// Options of a watch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WatchOptions {
    /// Only objects with these labels.
    pub labels: LabelSelector,
    /// Only objects with these fields.
    pub fields: FieldSelector,
    /// Changes after this version. `Some(0)` starts with the state at hand, `None` with the most
    /// recent one, both as added objects.
    pub resource_version: Option<u64>,
    /// Whether bookmarks are wanted.
    pub bookmarks: bool,
    /// Whether the state comes first as added objects, ended by an annotated bookmark.
    pub send_initial_events: bool,
    /// How much of each object is wanted.
    pub representation: Representation,
}

impl WatchOptions {
    /// Only objects with these labels.
    #[must_use]
    pub fn labels(mut self, labels: LabelSelector) -> Self {
        self.labels = labels;
        self
    }

    /// Only objects with these fields.
    #[must_use]
    pub fn fields(mut self, fields: FieldSelector) -> Self {
        self.fields = fields;
        self
    }

    /// Changes after `version`.
    #[must_use]
    pub fn after(mut self, version: u64) -> Self {
        self.resource_version = Some(version);
        self
    }

    /// Asks for bookmarks.
    #[must_use]
    pub fn bookmarks(mut self) -> Self {
        self.bookmarks = true;
        self
    }

    /// Asks for the state first, ended by an annotated bookmark.
    #[must_use]
    pub fn initial_events(mut self) -> Self {
        self.send_initial_events = true;
        self.bookmarks = true;
        self
    }

    /// Asks for kind and metadata alone.
    #[must_use]
    pub fn metadata_only(mut self) -> Self {
        self.representation = Representation::MetadataOnly;
        self
    }
}

/// Options of a create, an update or a patch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WriteOptions {
    /// Do everything but store it.
    pub dry_run: bool,
    /// Who manages the fields that are written; empty for the client's own name.
    pub field_manager: String,
    /// Take over fields that others manage; for server-side apply alone.
    pub force: bool,
    /// What is done about unknown and duplicate fields: `Strict`, `Warn` or `Ignore`; empty for
    /// the server's default.
    pub field_validation: String,
}

impl WriteOptions {
    /// Does everything but store it.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Names who manages the fields that are written.
    #[must_use]
    pub fn field_manager(mut self, manager: impl Into<String>) -> Self {
        self.field_manager = manager.into();
        self
    }

    /// Takes over fields that others manage.
    #[must_use]
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }

    /// What is done about unknown and duplicate fields.
    #[must_use]
    pub fn field_validation(mut self, directive: impl Into<String>) -> Self {
        self.field_validation = directive.into();
        self
    }
}

/// What becomes of an object's dependents.
/// <https://kubernetes.io/docs/concepts/architecture/garbage-collection/#cascading-deletion>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They stay, without their owner.
    Orphan,
    /// They go after their owner.
    Background,
    /// They go before their owner.
    Foreground,
}

/// What must be true of an object for a delete to go ahead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preconditions {
    /// The object's uid.
    pub uid: Option<String>,
    /// The object's resource version.
    pub resource_version: Option<u64>,
}

/// Options of a delete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// Seconds the object has to end; `None` for its own, `Some(0)` at once.
    pub grace_period_seconds: Option<i64>,
    /// What must be true of the object.
    pub preconditions: Preconditions,
    /// What becomes of its dependents; `None` for the kind's default.
    pub propagation: Option<Propagation>,
    /// Do everything but delete it.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Seconds the object has to end; zero deletes at once.
    #[must_use]
    pub fn grace_period_seconds(mut self, seconds: i64) -> Self {
        self.grace_period_seconds = Some(seconds);
        self
    }

    /// Only the object with this uid.
    #[must_use]
    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.preconditions.uid = Some(uid.into());
        self
    }

    /// Only the object at this version.
    #[must_use]
    pub fn resource_version(mut self, version: u64) -> Self {
        self.preconditions.resource_version = Some(version);
        self
    }

    /// What becomes of its dependents.
    #[must_use]
    pub fn propagation(mut self, propagation: Propagation) -> Self {
        self.propagation = Some(propagation);
        self
    }

    /// Does everything but delete it.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }
}
