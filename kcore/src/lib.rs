//! API machinery and client-go in miniature.
//!
//! A component of a cluster sees it through [`client::Client`]; the typed handle
//! [`client::Api`] is where most programs start. What it reads are [`object::Object`]s, shared and
//! never copied. Whatever reads time or draws chance does so through [`clock::Clock`] and
//! [`random::Random`], which is what lets a whole cluster be simulated from one seed.
//!
//! A controller reads through [`informer`]s, is woken through a [`queue`] and runs as a
//! [`component::Component`] in a [`component::Distribution`]; the README shows one whole.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod backoff;
#[cfg(feature = "api")]
pub mod client;
pub mod clock;
pub mod collections;
pub mod component;
#[cfg(feature = "api")]
mod error;
#[cfg(feature = "api")]
pub mod event;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
#[cfg(feature = "api")]
pub mod informer;
#[cfg(feature = "api")]
pub mod kind;
#[cfg(feature = "api")]
pub mod leader;
mod macros;
#[cfg(feature = "api")]
pub mod name;
#[cfg(feature = "api")]
pub mod object;
#[cfg(feature = "api")]
pub mod quantity;
pub mod queue;
pub mod random;
#[cfg(feature = "api")]
pub mod selector;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(feature = "api")]
pub mod status;
pub mod stop;
#[cfg(all(test, feature = "api"))]
mod testing;
#[cfg(feature = "tls")]
pub mod tls;

#[cfg(feature = "api")]
pub use error::Error;
#[cfg(feature = "api")]
pub use k8s_openapi;

/// What fallible calls of this crate return.
#[cfg(feature = "api")]
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[doc(hidden)]
pub use tokio as __tokio;

#[cfg(all(doctest, feature = "api"))]
#[doc = include_str!("../README.md")]
mod readme {}
