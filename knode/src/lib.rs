//! The node agent: runtimes, pod workers, probes, volumes.
//!
//! Start at [`runtime::Runtime`], the seam between a node and what runs its containers, and at
//! [`process::ProcessRuntime`], which runs them as host processes without root.
//!
//! | module | is |
//! | --- | --- |
//! | [`agent`] | the node agent: registration, pod workers, probes, status |
//! | [`pod`] | what to do for a pod and what to say of it, as plain functions |
//! | [`runtime`] | the seam, split as [CRI] splits it |
//! | [`process`] | a container is a host process behind a shim; survives its agent |
//! | [`fake`] | scripted containers in memory, for simulation |
//! | [`logs`] | CRI's log format: write, rotate, read, follow |
//! | [`probe`] | probe decisions as plain functions, and the network probers |
//! | [`sources`] | what a pod mentions, read and remembered: ConfigMaps, Secrets, Services |
//! | [`env`](mod@env) | a container's environment and command, as plain functions |
//! | [`volume`] | a pod's volumes on the host, and a container's mounts of them |
//! | [`hooks`] | what a container runs after its start and before its stop |
//! | `server` | the kubelet's HTTPS API (feature `server`) |
//! | `conformance` | the suite that every [`runtime::Runtime`] runs (feature `conformance`) |
//!
//! [CRI]: https://kubernetes.io/docs/concepts/containers/cri/
//!
//! The seam, its backends and [`logs`] know no Kubernetes API object; [`probe`] and [`hooks`]
//! read a Pod's handlers; [`sources`], [`env`](mod@env) and [`volume`] decide what
//! containers see; `server` shows them. What is deliberately absent: any other way to the cluster
//! than [`kcore::client::Client`].

pub mod agent;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod env;
mod error;
pub mod fake;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
pub mod hooks;
pub mod logs;
pub mod pod;
pub mod probe;
pub mod process;
pub mod runtime;
#[cfg(feature = "server")]
pub mod server;
pub mod sources;
pub mod volume;

pub use agent::{AgentOptions, NodeAgent};
pub use error::{Error, Result};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
