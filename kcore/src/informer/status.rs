//! How an informer is doing, as a value.

/// What an informer did so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct InformerStatus {
    /// Whether a whole list has reached the cache and the handlers.
    pub synced: bool,
    /// The version up to which the cache has seen all; zero before the first list.
    pub resource_version: u64,
    /// Whole lists that reached the cache.
    pub lists: u64,
    /// Watches that were opened.
    pub watches: u64,
    /// Watch events that were seen, without bookmarks.
    pub events: u64,
    /// Lists and watches that failed.
    pub errors: u64,
    /// The last failure.
    pub last_error: Option<String>,
}
