//! The Kubernetes scheduling framework and its plugins.
//!
//! [`Scheduler`] is where most programs start: a component that follows nodes and pods through
//! any [`Client`](kcore::client::Client) and binds what waits. A plugin of your own is a Rust type
//! that implements the traits of [`framework`] it needs; [`testing`] runs it over a snapshot in a
//! line.
//!
//! Every node is filtered and scored for every pod; nothing is sampled. What decides is pure, a
//! function of a [`snapshot`]; what acts runs beside it.
//!
//! | module | is |
//! | --- | --- |
//! | [`framework`] | the seam: extension points, statuses, cycle state, profiles |
//! | [`snapshot`] | nodes and pods at one moment, as objects and as columns |
//! | [`cache`] | what the API server told, plus what is assumed |
//! | [`queue`] | active, backoff, unschedulable and in-flight pods |
//! | [`scheduler`] | the loop, the pure cycle, binding |
//! | [`plugins`] | the stock plugins |
//! | [`what_if`] | where pods would go, and why not elsewhere |
//! | [`config`] | `KubeSchedulerConfiguration` |
//! | `extender` | extenders behind HTTP, with the feature `extenders` |
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod cache;
#[cfg(doc)]
pub mod chapters;
pub mod config;
mod error;
#[cfg(feature = "extenders")]
pub mod extender;
pub mod framework;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod offline;
pub mod plugins;
pub mod queue;
pub mod scheduler;
pub mod snapshot;
mod telling;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod what_if;

pub use error::Error;
pub use scheduler::Scheduler;

#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("writing_a_plugin.md")]
mod chapter {}
