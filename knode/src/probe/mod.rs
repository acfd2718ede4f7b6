//! Probes: what is asked of a container, when, and what the answers mean.
//!
//! [`ProbeState`] decides and never waits; [`probe`] asks once over the network or in the
//! container and never decides. The engine that drives both with a timer is the node agent's.
//! <https://kubernetes.io/docs/concepts/workloads/pods/probes/>

mod convert;
mod exec;
#[cfg(feature = "grpc-probe")]
mod grpc;
mod http;
mod state;
mod tcp;
#[cfg(feature = "https-probe")]
mod tls;

use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub(crate) use convert::http_get;
pub use convert::probe_spec;
pub(crate) use http::{fetch, url};
pub use state::{
    Gate, MAX_PROBE_ATTEMPTS, ProbeKind, ProbeResult, ProbeState, Situation, compute_gate,
    compute_result,
};

use crate::runtime::chain::chainable;
use crate::runtime::{ContainerId, Exec};

/// How much of an answer is kept for people, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 10 * 1024;
/// Who an HTTP probe says it is, unless its headers say otherwise.
pub const USER_AGENT: &str = "kube-probe/1.37";
/// Redirects that an HTTP probe follows.
pub const MAX_REDIRECTS: usize = 10;

/// A probe of a container, with the API's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeSpec {
    /// What to ask.
    pub action: Action,
    /// How long after the container started to ask first.
    pub initial_delay: Duration,
    /// How often to ask.
    pub period: Duration,
    /// How long to wait for an answer.
    pub timeout: Duration,
    /// Successes in a row that make a failing container succeed.
    pub success_threshold: u32,
    /// Failures in a row that make a container fail.
    pub failure_threshold: u32,
    /// How long a container that this probe condemned has to end; `None` for the pod's time.
    pub termination_grace: Option<Duration>,
}

impl ProbeSpec {
    /// Asks `action` each 10 s, waits 1 s, believes one success and three failures.
    #[must_use]
    pub fn new(action: Action) -> Self {
        Self {
            action,
            initial_delay: Duration::ZERO,
            period: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            success_threshold: 1,
            failure_threshold: 3,
            termination_grace: None,
        }
    }
}

chainable!(ProbeSpec {
    initial_delay: into Duration,
    period: into Duration,
    timeout: into Duration,
    success_threshold: into u32,
    failure_threshold: into u32,
    termination_grace: into Option<Duration>,
});

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// A GET that must be answered with 200 to 399.
    HttpGet(HttpGet),
    /// A connection that must be accepted.
    TcpSocket {
        /// Where; `None` for the pod.
        host: Option<String>,
        /// The port.
        port: u16,
    },
    /// A health check that must be answered with `SERVING`.
    #[cfg(feature = "grpc-probe")]
    Grpc {
        /// The pod's port.
        port: u16,
        /// The service; empty for the server as a whole.
        service: String,
    },
    /// A command in the container that must end with zero.
    Exec {
        /// The command and its arguments; no shell.
        command: Vec<String>,
    },
}

/// An HTTP probe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpGet {
    /// HTTP or HTTPS; certificates are not verified.
    pub scheme: Scheme,
    /// Where; `None` for the pod.
    pub host: Option<String>,
    /// The port.
    pub port: u16,
    /// The path, with a query if there is one.
    pub path: String,
    /// Headers; `Host` names the host to ask for.
    pub headers: Vec<(String, String)>,
}

chainable!(HttpGet {
    scheme: into Scheme,
    host: into Option<String>,
    port: into u16,
    path: into String,
    headers: pairs String,
});

/// How an HTTP probe connects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// Over TLS, trusting anybody.
    Https,
}

/// What one probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// The answer, for people; at most [`MAX_MESSAGE_BYTES`].
    pub message: String,
}

impl Outcome {
    /// A verdict with a message, cut to [`MAX_MESSAGE_BYTES`].
    #[must_use]
    pub fn new(verdict: Verdict, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MAX_MESSAGE_BYTES {
            let end = (0..=MAX_MESSAGE_BYTES).rev().find(|at| message.is_char_boundary(*at));
            message.truncate(end.unwrap_or_default());
        }
        Self { verdict, message }
    }
}

/// What an answer says about a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It does well.
    Success,
    /// It does well, but somebody should look: a redirect to another host.
    Warning,
    /// It does not.
    Failure,
    /// Nobody knows: asking itself failed. It counts for nothing.
    Unknown,
}

/// Whom to probe.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Target<'a> {
    /// The pod's address.
    pub address: IpAddr,
    /// The container.
    pub container: &'a ContainerId,
    /// What runs commands in it.
    pub exec: &'a dyn Exec,
}

impl<'a> Target<'a> {
    /// The `container` of the pod at `address`.
    #[must_use]
    pub fn new(address: IpAddr, container: &'a ContainerId, exec: &'a dyn Exec) -> Self {
        Self { address, container, exec }
    }
}

/// Who asks. [`NetworkProber`] does so for real; a simulation has its own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot probe containers",
    note = "implement `knode::probe::Prober`, or pass `knode::probe::NetworkProber`"
)]
#[async_trait]
pub trait Prober: Debug + Send + Sync + 'static {
    /// Asks once, within the spec's timeout. Dropping the future ends the question.
    async fn probe(&self, spec: &ProbeSpec, target: Target<'_>) -> Outcome;
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<T: Prober + ?Sized> Prober for Arc<T> {
    async fn probe(&self, spec: &ProbeSpec, target: Target<'_>) -> Outcome {
        (**self).probe(spec, target).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<T: Prober + ?Sized> Prober for Box<T> {
    async fn probe(&self, spec: &ProbeSpec, target: Target<'_>) -> Outcome {
        (**self).probe(spec, target).await
    }
}

/// Asks over the network, and in the container.
#[derive(Debug, Clone, Copy, Default)]
pub struct NetworkProber;

#[async_trait]
impl Prober for NetworkProber {
    async fn probe(&self, spec: &ProbeSpec, target: Target<'_>) -> Outcome {
        probe(spec, target).await
    }
}

/// Asks once, within the spec's timeout. Dropping the future ends the connection or command.
pub async fn probe(spec: &ProbeSpec, target: Target<'_>) -> Outcome {
    match &spec.action {
        Action::HttpGet(get) => http::probe(get, target.address, spec.timeout).await,
        Action::TcpSocket { host, port } => {
            let host = host.clone().unwrap_or_else(|| target.address.to_string());
            tcp::probe(&host, *port, spec.timeout).await
        }
        #[cfg(feature = "grpc-probe")]
        Action::Grpc { port, service } => {
            grpc::probe(target.address, *port, service, spec.timeout).await
        }
        Action::Exec { command } => {
            exec::probe(target.exec, target.container, command, spec.timeout).await
        }
    }
}

#[cfg(test)]
mod tests;
