//! Checkers of recorded histories: what clients were told is held against what a correct store
//! could have told them.
//!
//! They know no backend. [`check_linearizable`] takes what concurrent clients asked and were
//! answered; the functions of [`watch`] take what a watch told, and the [`Truth`] of what was
//! written.

mod linear;
mod truth;
pub mod watch;

pub use linear::{Action, Operation, Recorder, check_linearizable};
pub use truth::{Change, Truth};

/// How a history is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{property}: {detail}")]
pub struct Violation {
    /// What should have held.
    pub property: &'static str,
    /// Where it did not.
    pub detail: String,
}

impl Violation {
    fn new(property: &'static str, detail: impl Into<String>) -> Self {
        Self { property, detail: detail.into() }
    }
}
