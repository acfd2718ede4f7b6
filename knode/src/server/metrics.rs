//! What the node counts, under upstream's names.
//! <https://kubernetes.io/docs/reference/instrumentation/metrics/>

use std::sync::Arc;

use kcore::collections::{HashMap, HashSet};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::probe::{ProbeKind, Verdict};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ContainerLabels {
    container_state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProbeTotal {
    probe_type: &'static str,
    result: &'static str,
    container: String,
    pod: String,
    namespace: String,
    pod_uid: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    path: &'static str,
    code: u16,
}

/// Whose probe it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeLabels<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod's name.
    pub pod: &'a str,
    /// The pod's uid.
    pub pod_uid: &'a str,
    /// The container's name.
    pub container: &'a str,
}

/// The numbers of one node; cheap to clone, and every clone counts for the same node.
///
/// Labels of probes live as long as their pod: [`forget_pod`](Self::forget_pod) ends them.
#[derive(Debug, Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Mutex<Registry>,
    probe_registry: Registry,
    running_pods: Gauge,
    running_containers: Family<ContainerLabels, Gauge>,
    working_pods: Gauge,
    requests: Family<RequestLabels, Counter>,
    probes: Family<ProbeTotal, Counter>,
    /// The labels that a pod's probes have used, by its uid.
    pods: Mutex<HashMap<String, HashSet<ProbeTotal>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Numbers that all are zero.
    #[must_use]
    pub fn new() -> Self {
        let (mut registry, mut probe_registry) = (Registry::default(), Registry::default());
        let running_pods = Gauge::default();
        let (running_containers, working_pods) = (Family::default(), Gauge::default());
        let (requests, probes) = (Family::default(), Family::default());
        let help = "Number of pods that have a running pod sandbox";
        registry.register("kubelet_running_pods", help, running_pods.clone());
        let help = "Number of containers by state";
        registry.register("kubelet_running_containers", help, running_containers.clone());
        let help = "Number of pods that a worker is responsible for";
        registry.register("kubelet_working_pods", help, working_pods.clone());
        let help = "Number of requests of the node's API by root path and status";
        registry.register("kubelet_http_requests", help, requests.clone());
        let help = "Number of probes by their result";
        probe_registry.register("prober_probe", help, probes.clone());
        let inner = Inner {
            registry: Mutex::new(registry),
            probe_registry,
            running_pods,
            running_containers,
            working_pods,
            requests,
            probes,
            pods: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Sets how many pods have a running sandbox.
    pub fn set_running_pods(&self, count: usize) {
        self.inner.running_pods.set(clamp(count));
    }

    /// Sets how many containers are in a state: `created`, `running`, `exited` or `unknown`.
    pub fn set_containers(&self, container_state: &'static str, count: usize) {
        let labels = ContainerLabels { container_state };
        self.inner.running_containers.get_or_create(&labels).set(clamp(count));
    }

    /// Sets how many pods have a worker.
    pub fn set_workers(&self, count: usize) {
        self.inner.working_pods.set(clamp(count));
    }

    /// Counts a probe.
    pub fn count_probe(&self, kind: ProbeKind, verdict: Verdict, whose: ProbeLabels<'_>) {
        let probe_type = match kind {
            ProbeKind::Startup => "Startup",
            ProbeKind::Liveness => "Liveness",
            ProbeKind::Readiness => "Readiness",
        };
        let result = match verdict {
            Verdict::Success | Verdict::Warning => "successful",
            Verdict::Failure => "failed",
            Verdict::Unknown => "unknown",
        };
        let labels = ProbeTotal {
            probe_type,
            result,
            container: whose.container.to_owned(),
            pod: whose.pod.to_owned(),
            namespace: whose.namespace.to_owned(),
            pod_uid: whose.pod_uid.to_owned(),
        };
        self.inner.probes.get_or_create(&labels).inc();
        let mut pods = self.inner.pods.lock();
        pods.entry(whose.pod_uid.to_owned()).or_default().insert(labels);
    }

    /// Drops the numbers of a pod that is gone.
    pub fn forget_pod(&self, uid: &str) {
        let labels = self.inner.pods.lock().remove(uid).unwrap_or_default();
        for labels in labels {
            self.inner.probes.remove(&labels);
        }
    }

    /// Registers further metrics, shown at `/metrics`.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.inner.registry.lock());
    }

    pub(super) fn count_request(&self, path: &'static str, code: u16) {
        self.inner.requests.get_or_create(&RequestLabels { path, code }).inc();
    }

    /// The text of `/metrics`.
    pub(super) fn render(&self) -> String {
        render(&self.inner.registry.lock())
    }

    /// The text of `/metrics/probes`.
    pub(super) fn render_probes(&self) -> String {
        render(&self.inner.probe_registry)
    }
}

fn render(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, registry);
    text
}

fn clamp(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose<'a>(pod_uid: &'a str) -> ProbeLabels<'a> {
        ProbeLabels { namespace: "ns", pod: "p", pod_uid, container: "c" }
    }

    #[test]
    fn numbers_have_upstreams_names() {
        let metrics = Metrics::new();
        metrics.set_running_pods(3);
        metrics.set_containers("running", 5);
        metrics.set_workers(4);
        metrics.count_request("pods", 200);
        metrics.register(|registry| {
            registry.register("mine", "My own", Gauge::<i64>::default());
        });
        let text = metrics.render();
        for line in [
            "kubelet_running_pods 3",
            "kubelet_running_containers{container_state=\"running\"} 5",
            "kubelet_working_pods 4",
            "kubelet_http_requests_total{path=\"pods\",code=\"200\"} 1",
            "mine 0",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn probes_are_counted_while_their_pod_is_there() {
        let metrics = Metrics::new();
        metrics.count_probe(ProbeKind::Liveness, Verdict::Failure, whose("u1"));
        metrics.clone().count_probe(ProbeKind::Liveness, Verdict::Failure, whose("u1"));
        metrics.count_probe(ProbeKind::Readiness, Verdict::Warning, whose("u2"));
        let line = "prober_probe_total{probe_type=\"Liveness\",result=\"failed\",container=\"c\",\
                    pod=\"p\",namespace=\"ns\",pod_uid=\"u1\"} 2";
        assert!(metrics.render_probes().contains(line), "{}", metrics.render_probes());
        metrics.forget_pod("u1");
        let text = metrics.render_probes();
        assert!(!text.contains("u1") && text.contains("result=\"successful\""), "{text}");
        assert!(!Metrics::new().render_probes().contains("u2"), "a registry is a value");
    }
}
