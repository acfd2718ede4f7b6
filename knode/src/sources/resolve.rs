//! Reads what pods mention, and remembers it for the time without an API server.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use futures::stream::{self, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kcore::client::{Api, DynClient};
use kcore::clock::Clock;
use kcore::collections::HashMap;
use kcore::informer::Lister;
use kcore::kind::Kind;
use kcore::selector::LabelSelector;
use parking_lot::Mutex;

use super::token::{Token, TokenWish, read_tokens};
use super::{PodSources, Source, mentioned, not_synced};

/// How many pods' objects are remembered; the one that was read longest ago is forgotten first.
/// Each pod's share is bounded by what its own specification mentions.
pub const MAX_CACHED_PODS: usize = 1024;
/// How many objects of one pod are read at once.
pub const MAX_PARALLEL_READS: usize = 8;

/// Reads what pods mention through a client, with what was last seen as the answer of an API
/// server that does not answer (N2).
///
/// A server that says "not found" is believed: the object is missing. One that is unreachable,
/// busy or broken is not, and what was last seen stays. An immutable object is read once a pod.
pub struct Sources {
    client: DynClient,
    services: Lister<Service>,
    clock: Clock,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    pods: HashMap<String, Seen>,
    reads: u64,
}

#[derive(Clone, Default)]
struct Seen {
    config_maps: BTreeMap<String, Source<ConfigMap>>,
    secrets: BTreeMap<String, Source<Secret>>,
    tokens: BTreeMap<TokenWish, Source<Token>>,
    read: u64,
}

impl Sources {
    /// Reads ConfigMaps and Secrets through `client`, asks it for tokens, and has Services out of
    /// `services`. The clock tells when a token is to be renewed.
    #[must_use]
    pub fn new(client: DynClient, services: Lister<Service>, clock: Clock) -> Self {
        Self { client, services, clock, cache: Mutex::default() }
    }

    /// What `pod` mentions, now. Never fails as a whole: what could not be read is
    /// [`Unavailable`](Source::Unavailable) in the answer, so a pod that does not need it starts.
    ///
    /// Dropping the future forgets nothing.
    pub async fn resolve(&self, pod: &Pod) -> PodSources {
        let names = mentioned(pod);
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let seen = self.cache.lock().pods.get(&uid).cloned().unwrap_or_default();
        let config_maps = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        let secrets = Api::<Secret>::namespaced(self.client.clone(), namespace);
        let config_maps = read_all("configmap", &config_maps, names.config_maps, &seen.config_maps);
        let secrets = read_all("secret", &secrets, names.secrets, &seen.secrets);
        let now = self.clock.now();
        let tokens = read_tokens(&*self.client, pod, names.tokens, &seen.tokens, now);
        let (config_maps, secrets, tokens) = futures::join!(config_maps, secrets, tokens);
        self.remember(
            uid,
            Seen {
                config_maps: known(&config_maps, seen.config_maps),
                secrets: known(&secrets, seen.secrets),
                tokens: known(&tokens, seen.tokens),
                read: 0,
            },
        );
        PodSources { config_maps, secrets, tokens, services: self.services_of(namespace) }
    }

    /// Forgets a pod that is gone.
    pub fn forget(&self, uid: &str) {
        self.cache.lock().pods.remove(uid);
    }

    fn services_of(&self, namespace: &str) -> Vec<std::sync::Arc<Service>> {
        let mut services = self.services.list_in(namespace, &LabelSelector::everything());
        if namespace != "default" {
            services.extend(self.services.get("default", "kubernetes"));
        }
        services
    }

    fn remember(&self, uid: String, seen: Seen) {
        let nothing =
            seen.config_maps.is_empty() && seen.secrets.is_empty() && seen.tokens.is_empty();
        if uid.is_empty() || nothing {
            return;
        }
        let mut cache = self.cache.lock();
        cache.reads += 1;
        let read = cache.reads;
        cache.pods.insert(uid, Seen { read, ..seen });
        if cache.pods.len() > MAX_CACHED_PODS {
            let oldest = cache.pods.iter().min_by_key(|(_, seen)| seen.read);
            if let Some(oldest) = oldest.map(|(uid, _)| uid.clone()) {
                cache.pods.remove(&oldest);
            }
        }
    }
}

impl Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pods = self.cache.lock().pods.len();
        f.debug_struct("Sources").field("cached_pods", &pods).finish_non_exhaustive()
    }
}

/// What the API server last said of what is mentioned now; silence is not worth remembering.
fn known<N: Ord + Clone, K>(
    sources: &BTreeMap<N, Source<K>>,
    mut before: BTreeMap<N, Source<K>>,
) -> BTreeMap<N, Source<K>> {
    let last = |(name, source): (&N, &Source<K>)| match source {
        Source::Unavailable(_) => before.remove_entry(name),
        known => Some((name.clone(), known.clone())),
    };
    sources.iter().filter_map(last).collect()
}

/// What can be declared never to change.
trait Freeze: Kind {
    fn is_frozen(&self) -> bool;
}

impl Freeze for ConfigMap {
    fn is_frozen(&self) -> bool {
        self.immutable.unwrap_or_default()
    }
}

impl Freeze for Secret {
    fn is_frozen(&self) -> bool {
        self.immutable.unwrap_or_default()
    }
}

async fn read_all<K: Freeze>(
    kind: &'static str,
    api: &Api<K>,
    names: impl IntoIterator<Item = String>,
    seen: &BTreeMap<String, Source<K>>,
) -> BTreeMap<String, Source<K>> {
    let reads = names.into_iter().map(|name| async move {
        let source = read(kind, api, &name, seen.get(&name)).await;
        (name, source)
    });
    stream::iter(reads).buffer_unordered(MAX_PARALLEL_READS).collect().await
}

async fn read<K: Freeze>(
    kind: &'static str,
    api: &Api<K>,
    name: &str,
    last: Option<&Source<K>>,
) -> Source<K> {
    match last {
        Some(Source::Found(object)) if object.is_frozen() => return Source::Found(object.clone()),
        _ => {}
    }
    let error = match api.get(name).await {
        Ok(object) => return Source::Found(object),
        Err(error) if error.is_not_found() => return Source::Missing,
        Err(error) => error,
    };
    tracing::warn!(kind, name, %error, "what a pod mentions cannot be read");
    match (last, error.status()) {
        (Some(last), Some(status)) if is_busy(status.code) => last.clone(),
        (Some(last), None) => last.clone(),
        (_, Some(status)) => Source::Unavailable(status.message.clone()),
        (None, None) => Source::Unavailable(not_synced(kind)),
    }
}

/// A server that answers but does not know: overloaded, or broken.
fn is_busy(code: u16) -> bool {
    code == 429 || code >= 500
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
