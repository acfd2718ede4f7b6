//! The reconciler and the stock controllers of Kubernetes.
//!
//! A controller of your own is a [`reconciler::Reconciler`] in a [`reconciler::Controller`], which
//! is a component like every other.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod claim;
pub mod deployment;
pub mod endpoints;
mod error;
mod pod;
pub mod reconciler;
pub mod replicaset;

pub use error::Error;

/// What the stock controllers return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
