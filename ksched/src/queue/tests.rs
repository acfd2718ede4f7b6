//! The queue loses nothing.
