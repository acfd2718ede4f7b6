//! Extenders behind HTTP: processes that a `KubeSchedulerConfiguration` names, asked as upstream
//! asks them.
//!
//! <https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/#kubescheduler-config-k8s-io-v1-Extender>

mod call;
mod server;
mod tls;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::framework::{Extender, ExtenderError, Filtered, MAX_NODE_SCORE, NodeVictims, Verbs};
use crate::snapshot::{NodeInfo, PodInfo};
pub use call::CallError;
use server::Server;
pub use tls::ExtenderTls;

/// How long an extender may take to answer, unless told otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes: several times the nodes of a large cluster.
pub const MAX_ANSWER_BYTES: usize = 64 << 20;
/// The best score an extender gives; the scheduler's is ten times that.
pub const MAX_EXTENDER_PRIORITY: i64 = 10;

/// A process behind HTTP or HTTPS that has a say in where pods go.
///
/// Of the calls, those it has a verb for are made: a POST to the prefix with the verb as its last
/// part, with JSON in the form of `k8s.io/kube-scheduler/extender/v1`.
///
/// ```
/// use ksched::extender::HttpExtender;
/// let gpus = HttpExtender::new("http://127.0.0.1:8888/scheduler")?
///     .filter("filter")
///     .prioritize("prioritize", 2)
///     .manages(["example.com/gpu"])
///     .node_cache_capable();
/// # Ok::<(), ksched::extender::CallError>(())
/// ```
#[derive(Debug, Clone)]
pub struct HttpExtender {
    server: Arc<Server>,
    filter: String,
    prioritize: String,
    preempt: String,
    bind: String,
    weight: i64,
    timeout: Duration,
    form: wire::Form,
    managed: BTreeSet<String>,
    ignorable: bool,
}

impl HttpExtender {
    /// The extender at a URL, without any verb.
    ///
    /// # Errors
    /// If it is no URL of `http` or `https`.
    pub fn new(url_prefix: &str) -> Result<Self, CallError> {
        Self::with_tls(url_prefix, &ExtenderTls::default())
    }

    /// The same, with what TLS needs to know.
    ///
    /// # Errors
    /// If it is no URL of `http` or `https`, or certificates and keys are none.
    pub fn with_tls(url_prefix: &str, tls: &ExtenderTls) -> Result<Self, CallError> {
        Ok(Self {
            server: Arc::new(Server::new(url_prefix, tls)?),
            filter: String::new(),
            prioritize: String::new(),
            preempt: String::new(),
            bind: String::new(),
            weight: 1,
            timeout: DEFAULT_TIMEOUT,
            form: wire::Form::Whole,
            managed: BTreeSet::new(),
            ignorable: false,
        })
    }

    /// It turns nodes away.
    #[must_use]
    pub fn filter(mut self, verb: &str) -> Self {
        verb.clone_into(&mut self.filter);
        self
    }

    /// It ranks nodes, with a weight.
    #[must_use]
    pub fn prioritize(mut self, verb: &str, weight: i64) -> Self {
        verb.clone_into(&mut self.prioritize);
        self.weight = weight;
        self
    }

    /// It has a say in who makes room.
    #[must_use]
    pub fn preempt(mut self, verb: &str) -> Self {
        verb.clone_into(&mut self.preempt);
        self
    }

    /// It binds.
    #[must_use]
    pub fn bind(mut self, verb: &str) -> Self {
        verb.clone_into(&mut self.bind);
        self
    }

    /// How long it may take to answer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// It knows the nodes itself: it is told names, not whole objects.
    #[must_use]
    pub fn node_cache_capable(mut self) -> Self {
        self.form = wire::Form::Named;
        self
    }

    /// It has a say only in pods that ask for one of these resources.
    #[must_use]
    pub fn manages(mut self, resources: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.managed.extend(resources.into_iter().map(Into::into));
        self
    }

    /// Pods are scheduled without its word while it fails.
    #[must_use]
    pub fn ignorable(mut self) -> Self {
        self.ignorable = true;
        self
    }

    /// Asks, and reads the answer as JSON.
    async fn ask(&self, verb: &str, question: Vec<u8>) -> Result<serde_json::Value, CallError> {
        let url = format!("{}/{verb}", self.server.url());
        let call = self.server.post(verb, question);
        match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::Timeout { url, after: self.timeout }),
        }
    }

    fn unreadable(&self, verb: &str, why: String) -> CallError {
        CallError::Answer { url: format!("{}/{verb}", self.server.url()), why }
    }
}

/// Reads an answer as each of its forms.
#[cfg(feature = "fuzz")]
pub(crate) fn read_as_each(answer: &[u8]) {
    let Ok(answer) = serde_json::from_slice(answer) else { return };
    let _ = (wire::error(&answer), wire::priorities(&answer), wire::victims(&answer));
    let _ =
        (wire::filtered(&answer, wire::Form::Named), wire::filtered(&answer, wire::Form::Whole));
}

#[async_trait]
impl Extender for HttpExtender {
    fn name(&self) -> &str {
        self.server.url()
    }

    fn verbs(&self) -> Verbs {
        Verbs {
            filter: !self.filter.is_empty(),
            prioritize: !self.prioritize.is_empty(),
            preempt: !self.preempt.is_empty(),
            bind: !self.bind.is_empty(),
        }
    }

    fn is_interested(&self, pod: &PodInfo) -> bool {
        self.managed.is_empty() || wire::mentions(pod.pod(), &self.managed)
    }

    fn is_ignorable(&self) -> bool {
        self.ignorable
    }

    async fn filter(
        &self,
        pod: &PodInfo,
        nodes: &[Arc<NodeInfo>],
    ) -> Result<Filtered, ExtenderError> {
        let question = wire::about_nodes(pod, nodes, self.form);
        let answer = self.ask(&self.filter, question).await?;
        let filtered = wire::filtered(&answer, self.form);
        Ok(filtered.map_err(|why| self.unreadable(&self.filter, why))?)
    }

    async fn prioritize(
        &self,
        pod: &PodInfo,
        nodes: &[Arc<NodeInfo>],
    ) -> Result<Vec<(String, i64)>, ExtenderError> {
        let question = wire::about_nodes(pod, nodes, self.form);
        let answer = self.ask(&self.prioritize, question).await?;
        let scores = wire::priorities(&answer);
        let scores = scores.map_err(|why| self.unreadable(&self.prioritize, why))?;
        let scale = self.weight.saturating_mul(MAX_NODE_SCORE / MAX_EXTENDER_PRIORITY);
        let scaled = |(host, score): (String, i64)| (host, score.saturating_mul(scale));
        Ok(scores.into_iter().map(scaled).collect())
    }

    async fn preempt(
        &self,
        pod: &PodInfo,
        victims: &BTreeMap<String, NodeVictims>,
    ) -> Result<BTreeMap<String, (Vec<String>, usize)>, ExtenderError> {
        let question = wire::about_victims(pod, victims, self.form);
        let answer = self.ask(&self.preempt, question).await?;
        Ok(wire::victims(&answer).map_err(|why| self.unreadable(&self.preempt, why))?)
    }

    async fn bind(&self, pod: &PodInfo, node: &str) -> Result<(), ExtenderError> {
        let answer = self.ask(&self.bind, wire::about_binding(pod, node)).await?;
        match wire::error(&answer) {
            None => Ok(()),
            Some(error) => Err(error.into()),
        }
    }
}
