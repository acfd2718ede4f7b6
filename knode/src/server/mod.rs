//! The kubelet's HTTPS API: health, pods, metrics and container logs.
//!
//! [`KubeletService`] is a `tower::Service` from requests to responses; [`Listener`] puts it
//! behind TLS. Who asks is known by a client certificate or a bearer token, and the API server is
//! asked whether they may: [`auth`]. What the service shows comes from a [`NodeView`].
//! <https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/>
//!
//! `exec`, `attach` and `portForward` are not served: runtimes have no interactive sessions yet.

pub mod auth;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod health;
mod listener;
mod logs;
mod metrics;
mod query;
mod service;

use std::fmt::{self, Debug};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::{BoxFuture, FutureExt as _};
use k8s_openapi::api::core::v1::Pod;

pub use kcore::tls::{Certificate, ServerTls};

pub use listener::{Listener, MAX_CONNECTIONS, MAX_STREAMS};
pub use logs::compute_log_container;
pub use metrics::{Metrics, ProbeLabels};
pub use service::{Body, KubeletService};

use crate::Result;

/// What the server shows of a node; the agent has it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has nothing for the kubelet's API to show",
    note = "implement `knode::server::NodeView`"
)]
#[async_trait]
pub trait NodeView: Debug + Send + Sync + 'static {
    /// The pods this node is to run, with the status the agent last made, in any order.
    fn pods(&self) -> Vec<Arc<Pod>>;

    /// The pods that the runtime runs, as far as the runtime knows them.
    ///
    /// # Errors
    /// Those of the runtime.
    async fn running_pods(&self) -> Result<Vec<Arc<Pod>>>;

    /// Where a container's log is. `container_id` is the run of the container that was chosen
    /// from the pod's status by [`compute_log_container`], as `<runtime>://<id>`.
    ///
    /// # Errors
    /// If there is no such run, or no longer.
    async fn log(&self, pod: &Pod, container: &str, container_id: &str) -> Result<LogSource>;

    /// Whether the agent's loop goes on, and if not, since when or why.
    ///
    /// # Errors
    /// The reason, for `/healthz/syncloop`.
    fn sync_loop(&self) -> Result<(), String>;
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<T: NodeView + ?Sized> NodeView for Arc<T> {
    fn pods(&self) -> Vec<Arc<Pod>> {
        (**self).pods()
    }
    async fn running_pods(&self) -> Result<Vec<Arc<Pod>>> {
        (**self).running_pods().await
    }
    async fn log(&self, pod: &Pod, container: &str, container_id: &str) -> Result<LogSource> {
        (**self).log(pod, container, container_id).await
    }
    fn sync_loop(&self) -> Result<(), String> {
        (**self).sync_loop()
    }
}

/// A container's log and its end.
pub struct LogSource {
    /// The current file; what was rotated away is beside it.
    pub path: PathBuf,
    /// Resolves once the container has ended, so that whoever follows ends too. It is dropped
    /// when the reader goes away.
    pub ended: BoxFuture<'static, ()>,
}

impl LogSource {
    /// The log at `path` of a container that ends when `ended` resolves.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, ended: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { path: path.into(), ended: ended.boxed() }
    }
}

impl Debug for LogSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSource").field("path", &self.path).finish_non_exhaustive()
    }
}
