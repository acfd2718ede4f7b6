//! Managed fields and server-side apply: who has which field of an object.
//!
//! Everything here is a plain function of JSON, a kind's schema and the managers so far.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>

mod blank;
mod compare;
mod content;
mod managers;
mod merge;
mod places;
mod relation;
mod set;
mod shape;

#[cfg(test)]
mod tests;

pub(crate) use blank::blank_json;
pub(crate) use compare::compare;
pub(crate) use managers::{
    Conflict, LAST_APPLIED, Manager, Managers, as_last_applied, beyond, is_reset, last_applied,
    managed,
};
pub(crate) use set::Set;
pub(crate) use shape::{Shape, Shapes};
