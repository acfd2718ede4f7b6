//! What handlers are told.

/// A change of one object, as a cache saw it.
///
/// Several changes on the server may be one here, also after a gap: what counts is the last state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<T> {
    /// It is new to the cache.
    Added(T),
    /// It changed.
    Updated {
        /// The state the cache had.
        old: T,
        /// The state it has now.
        new: T,
    },
    /// It is gone: the last state that is known. After a relist that may not be the state it was
    /// deleted in.
    Deleted(T),
}

impl<T> Change<T> {
    /// The latest state: the new one, or the last one of what is gone.
    pub fn latest(&self) -> &T {
        match self {
            Self::Added(object) | Self::Deleted(object) => object,
            Self::Updated { new, .. } => new,
        }
    }

    /// The state before, unless it is new to the cache.
    pub fn before(&self) -> Option<&T> {
        match self {
            Self::Added(_) => None,
            Self::Updated { old, .. } => Some(old),
            Self::Deleted(object) => Some(object),
        }
    }

    /// The state now, unless it is gone.
    pub fn after(&self) -> Option<&T> {
        match self {
            Self::Added(object) => Some(object),
            Self::Updated { new, .. } => Some(new),
            Self::Deleted(_) => None,
        }
    }

    /// Whether the object is gone.
    pub fn is_deleted(&self) -> bool {
        matches!(self, Self::Deleted(_))
    }

    /// The same change of another form of the object.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn try_map<U, E>(&self, mut f: impl FnMut(&T) -> Result<U, E>) -> Result<Change<U>, E> {
        Ok(match self {
            Self::Added(object) => Change::Added(f(object)?),
            Self::Updated { old, new } => Change::Updated { old: f(old)?, new: f(new)? },
            Self::Deleted(object) => Change::Deleted(f(object)?),
        })
    }
}
