//! What an informer follows, and how.

use std::time::Duration;

use crate::backoff::BackoffPolicy;
use crate::client::{ListOptions, WatchOptions};
use crate::selector::{FieldSelector, LabelSelector};

/// Objects a page of a list, unless told otherwise.
pub const PAGE_SIZE: u64 = 500;

/// How a reflector waits after failures, unless told otherwise: client-go's 0.8 s to 30 s, up to
/// twice as long by jitter, and short again after two quiet minutes.
pub const RELIST_BACKOFF: BackoffPolicy =
    BackoffPolicy::new(Duration::from_millis(800), Duration::from_secs(30))
        .jitter(1.0)
        .reset_after(Duration::from_secs(120));

/// How the state before the first change is read.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InitialState {
    /// By a list in pages, which every server knows.
    #[default]
    List,
    /// By the initial events of the watch itself.
    Stream,
}

/// What an informer follows: everything of its resource unless told otherwise.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct InformerOptions {
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only objects with these labels.
    pub labels: LabelSelector,
    /// Only objects with these fields.
    pub fields: FieldSelector,
    /// Kind and metadata alone.
    pub metadata_only: bool,
    /// How the state before the first change is read.
    pub initial: InitialState,
    /// Objects a page of a list.
    pub page_size: u64,
    /// How failures are waited out.
    pub backoff: BackoffPolicy,
}

impl Default for InformerOptions {
    fn default() -> Self {
        Self {
            namespace: None,
            labels: LabelSelector::default(),
            fields: FieldSelector::default(),
            metadata_only: false,
            initial: InitialState::default(),
            page_size: PAGE_SIZE,
            backoff: RELIST_BACKOFF,
        }
    }
}

impl InformerOptions {
    /// Only this namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

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

    /// Kind and metadata alone.
    #[must_use]
    pub fn metadata_only(mut self) -> Self {
        self.metadata_only = true;
        self
    }

    /// How the state before the first change is read.
    #[must_use]
    pub fn initial(mut self, initial: InitialState) -> Self {
        self.initial = initial;
        self
    }

    /// Objects a page of a list; at least one.
    #[must_use]
    pub fn page_size(mut self, objects: u64) -> Self {
        self.page_size = objects.max(1);
        self
    }

    /// How failures are waited out.
    #[must_use]
    pub fn backoff(mut self, policy: BackoffPolicy) -> Self {
        self.backoff = policy;
        self
    }

    pub(super) fn list(&self) -> ListOptions {
        let options = ListOptions::default()
            .labels(self.labels.clone())
            .fields(self.fields.clone())
            .limit(self.page_size);
        if self.metadata_only { options.metadata_only() } else { options }
    }

    pub(super) fn watch(&self) -> WatchOptions {
        let options = WatchOptions::default()
            .labels(self.labels.clone())
            .fields(self.fields.clone())
            .bookmarks();
        if self.metadata_only { options.metadata_only() } else { options }
    }
}
