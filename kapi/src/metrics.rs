//! What the server counts, under upstream's names.
//! <https://kubernetes.io/docs/reference/instrumentation/metrics/>

use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::cache::Cache;

/// Upper bounds of the latency buckets, in seconds.
const LATENCY_BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    verb: String,
    group: String,
    resource: String,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verb {
    verb: String,
    resource: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabel {
    resource: String,
}

/// The counters of one server. Labels come from the table of kinds, so there is an end to them.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Request, Counter>,
    latency: Family<Verb, Histogram, fn() -> Histogram>,
    objects: Family<ResourceLabel, Gauge>,
    bytes: Family<ResourceLabel, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let this = Self {
            requests: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            objects: Family::default(),
            bytes: Family::default(),
            registry: Mutex::default(),
        };
        registry.register(
            "apiserver_request",
            "Requests by verb, resource and HTTP status",
            this.requests.clone(),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "Time until a reply began, by verb and resource",
            this.latency.clone(),
        );
        registry.register(
            "apiserver_storage_objects",
            "Stored objects by resource",
            this.objects.clone(),
        );
        registry.register(
            "apiserver_cache_bytes",
            "Bytes of the cached objects by resource, decoded views apart",
            this.bytes.clone(),
        );
        *this.registry.lock() = registry;
        this
    }
}

impl Metrics {
    /// Counts a request over HTTP.
    pub(crate) fn request(
        &self,
        verb: &str,
        group: &str,
        resource: &str,
        code: u16,
        latency: Duration,
    ) {
        let (verb, resource) = (verb.to_owned(), resource.to_owned());
        let labels = Verb { verb: verb.clone(), resource: resource.clone() };
        self.latency.get_or_create(&labels).observe(latency.as_secs_f64());
        let labels = Request { verb, group: group.to_owned(), resource, code };
        self.requests.get_or_create(&labels).inc();
    }

    /// All of it, as text.
    pub(crate) fn render(&self, cache: &Cache) -> String {
        for kind in cache.kinds() {
            let resource = kind.row().resource.group_resource().into_owned();
            let label = ResourceLabel { resource };
            let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
            self.objects.get_or_create(&label).set(count(kind.len()));
            self.bytes.get_or_create(&label).set(count(kind.counted_bytes()));
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry.lock());
        text
    }
}
