//! The error of the stock controllers.

use kcore::selector::ParseError;

/// Why a stock controller could not finish a reconcile; it is tried again, with backoff.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API server said no, or could not be reached.
    #[error(transparent)]
    Api(#[from] kcore::Error),
    /// An object's selector cannot be read: correct it.
    #[error("the selector of {object} cannot be read")]
    Selector {
        /// Whose selector it is.
        object: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// An object was replaced by another one of its name while it was worked on.
    #[error("{object} is not the object it was, or is being deleted")]
    Replaced {
        /// The object.
        object: String,
    },
    /// A name is taken by an object of somebody else.
    #[error("{object} exists already and is not controlled by its namesake")]
    Collision {
        /// The object.
        object: String,
    },
}

/// Whether a create was refused because its namespace is being deleted.
pub(crate) fn is_namespace_terminating(error: &kcore::Error) -> bool {
    let causes = error.status().and_then(|status| status.details.as_ref());
    causes.is_some_and(|details| {
        details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
    })
}
