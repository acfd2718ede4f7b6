//! Informers: a live, indexed copy of a collection, shared by all who read it.
//!
//! A [`Reflector`] lists a collection and watches it from there, for ever. What it sees goes into
//! an [`Indexer`] and then, as [`Change`]s, to handlers. [`SharedInformer`] is the typed face,
//! [`ObjectInformer`] the one without a type, and [`Informers`] is the bag through which several
//! controllers share one informer per kind.
//!
//! Reads through a [`Lister`] are shared handles, never copies, and lag behind the server: treat
//! them as a state that was true a moment ago.

mod change;
mod indexer;
mod informers;
mod lister;
mod object;
mod options;
mod reflector;
mod shared;
mod status;
#[cfg(test)]
mod tests;

pub use change::Change;
pub use indexer::{Index, Indexer};
pub use informers::Informers;
pub use lister::Lister;
pub use object::{ObjectInformer, Registration};
pub use options::{InformerOptions, InitialState, PAGE_SIZE, RELIST_BACKOFF};
pub use reflector::{Reflector, SHORT_WATCH, Sink};
pub use shared::SharedInformer;
pub use status::InformerStatus;
