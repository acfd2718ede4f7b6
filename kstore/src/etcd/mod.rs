//! etcd, from both sides: a store over real etcd, and etcd's face for any store.
//!
//! | feature | gives |
//! | --- | --- |
//! | `etcd` | [`EtcdStore`]: a [`Store`](crate::Store) over an etcd cluster |
//! | `etcd-server` | [`EtcdFace`]: any store as an etcd server |
//!
//! Both speak the same messages, which are in [`proto`].

#[cfg(feature = "etcd")]
pub(crate) mod client;
mod convert;
#[cfg(feature = "etcd-server")]
pub(crate) mod face;
pub mod proto;
mod span;
mod text;

#[cfg(feature = "etcd")]
pub use client::{EtcdError, EtcdHealth, EtcdOptions, EtcdStore};
#[cfg(feature = "etcd-server")]
pub use face::{EtcdFace, EtcdFaceOptions};
