//! The reconciler and the stock controllers of Kubernetes.
//!
//! A controller of your own is a [`reconciler::Reconciler`] in a [`reconciler::Controller`], which
//! is a component like every other.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod accounts;
pub mod claim;
pub mod deployment;
pub mod endpoints;
mod error;
pub mod garbage;
pub mod namespace;
pub mod node;
mod pod;
pub mod reconciler;
pub mod replicaset;
mod stock;

pub use error::Error;
pub use stock::Controllers;

/// What the stock controllers return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
