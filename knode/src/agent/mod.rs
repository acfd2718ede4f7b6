//! The node agent: registers its node and runs the pods that are bound to it.
//!
//! | module | is |
//! | --- | --- |
//! | `record`, `hub` | what is known of one pod, and what the agent's parts share |
//! | `worker` | one task a pod: look, plan, act |
//! | `start`, `pull`, `stop` | effects: images, containers, hooks, ends |
//! | `pleg`, `observe` | what happens in the runtime |
//! | `prober` | asks probes |
//! | `statuses` | writes what is said of pods |
//! | `heartbeat`, `node`, `machine` | the Node and its Lease |
//! | `view` | what the agent's own API shows |
//!
//! What to do is decided in [`crate::pod`]; here it is done.
//! <https://kubernetes.io/docs/concepts/architecture/#kubelet>

mod files;
mod heartbeat;
mod hub;
mod inbox;
mod machine;
mod node;
mod observe;
mod options;
mod pleg;
mod prober;
mod pull;
mod record;
mod run;
mod start;
mod statuses;
mod stop;
#[cfg(feature = "server")]
mod view;
mod words;
mod worker;

use std::sync::Arc;

use async_trait::async_trait;
use kcore::client::DynClient;
use kcore::component::{self, Component, Context};

pub use options::{
    AgentOptions, DEFAULT_MAX_PODS, LEASE_DURATION_SECONDS, LEASE_RENEW_INTERVAL, STATUS_INTERVAL,
    STATUS_REPORT_INTERVAL,
};
pub use pleg::{EVENTED_RELIST_INTERVAL, RELIST_INTERVAL, RELIST_THRESHOLD};
pub use start::PULL_BACKOFF;
pub use statuses::STATUS_WRITERS;
pub use worker::{START_RETRY, VOLUME_REFRESH};

use crate::runtime::Runtime;

/// Registers a node and runs the pods that are bound to it.
///
/// Its client should be the node's own: `system:node:<name>` in the group `system:nodes`. Stopping
/// or dropping an agent leaves its containers running, for its successor to adopt (N1).
///
/// ```no_run
/// # async fn f(client: kcore::client::DynClient) -> Result<(), Box<dyn std::error::Error>> {
/// use knode::process::{Options, ProcessRuntime};
/// use knode::{AgentOptions, NodeAgent};
/// let runtime = ProcessRuntime::new("data/runtime", Options::default())?;
/// let options = AgentOptions::default().name("node-1").data_dir(Some("data/node".into()));
/// let agent = NodeAgent::new(client, runtime, options);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct NodeAgent {
    client: DynClient,
    runtime: Arc<dyn Runtime>,
    options: AgentOptions,
    #[cfg(feature = "server")]
    listener: Option<Arc<crate::server::Listener>>,
}

impl NodeAgent {
    /// An agent that runs pods on `runtime`.
    #[must_use]
    pub fn new(client: DynClient, runtime: impl Runtime, options: AgentOptions) -> Self {
        Self {
            client,
            runtime: Arc::new(runtime),
            options,
            #[cfg(feature = "server")]
            listener: None,
        }
    }

    /// Serves the kubelet's API at `listener`, whose port the Node tells.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn listen(mut self, listener: crate::server::Listener) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// The options, with the port that the agent listens on.
    fn options(&self) -> AgentOptions {
        let options = self.options.clone();
        #[cfg(feature = "server")]
        if let Some(listener) = &self.listener {
            return options.port(listener.address().port());
        }
        options
    }

    /// The node's name.
    #[must_use]
    pub fn node_name(&self) -> String {
        if self.options.name.is_empty() { machine::hostname() } else { self.options.name.clone() }
    }
}

#[async_trait]
impl Component for NodeAgent {
    fn name(&self) -> &str {
        "node-agent"
    }

    async fn run(&self, ctx: Context) -> component::Result {
        run::run(self, ctx).await
    }
}
