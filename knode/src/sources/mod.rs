//! What a pod mentions: its ConfigMaps, its Secrets, its ServiceAccount's tokens, and the Services
//! it is told about.
//!
//! [`mentioned`] finds the names, [`Sources`] reads the objects, [`PodSources`] is the snapshot
//! that decisions are made from.

mod mentioned;
mod resolve;
mod token;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};

pub use mentioned::{Mentioned, mentioned};
pub use resolve::{MAX_CACHED_PODS, MAX_PARALLEL_READS, Sources};
pub use token::{DEFAULT_EXPIRATION_SECONDS, Token, TokenWish};

use crate::{Error, Result};

/// An object that a pod mentions, as it was last seen.
pub enum Source<K> {
    /// It is there.
    Found(Arc<K>),
    /// The API server says that there is none.
    Missing,
    /// The API server did not say, now or ever, and why.
    Unavailable(String),
}

impl<K> Source<K> {
    /// One that is there.
    #[must_use]
    pub fn found(object: K) -> Self {
        Self::Found(Arc::new(object))
    }
}

impl<K> Clone for Source<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Found(object) => Self::Found(Arc::clone(object)),
            Self::Missing => Self::Missing,
            Self::Unavailable(reason) => Self::Unavailable(reason.clone()),
        }
    }
}

/// Says whether it is there and never what it holds.
impl<K> fmt::Debug for Source<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(_) => f.write_str("Found"),
            Self::Missing => f.write_str("Missing"),
            Self::Unavailable(reason) => write!(f, "Unavailable({reason:?})"),
        }
    }
}

/// A snapshot of what a pod mentions, in the pod's namespace.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PodSources {
    /// ConfigMaps by name.
    pub config_maps: BTreeMap<String, Source<ConfigMap>>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, Source<Secret>>,
    /// Tokens of the pod's ServiceAccount, by what its volumes want of them.
    pub tokens: BTreeMap<TokenWish, Source<Token>>,
    /// The Services of the pod's namespace, and `default/kubernetes`.
    pub services: Vec<Arc<Service>>,
}

impl PodSources {
    /// Sets what is known of the ConfigMap `name`.
    #[must_use]
    pub fn config_map(mut self, name: impl Into<String>, source: Source<ConfigMap>) -> Self {
        self.config_maps.insert(name.into(), source);
        self
    }

    /// Sets what is known of the Secret `name`.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, source: Source<Secret>) -> Self {
        self.secrets.insert(name.into(), source);
        self
    }

    /// Sets what is known of a token.
    #[must_use]
    pub fn token(mut self, wish: TokenWish, source: Source<Token>) -> Self {
        self.tokens.insert(wish, source);
        self
    }

    /// Sets the Services.
    #[must_use]
    pub fn services(mut self, services: impl IntoIterator<Item = Arc<Service>>) -> Self {
        self.services = services.into_iter().collect();
        self
    }

    /// The ConfigMap `name`; none only if it is missing and `need` allows that.
    ///
    /// # Errors
    /// [`NotFound`](Error::NotFound), or [`Unavailable`](Error::Unavailable) if nobody knows.
    pub fn find_config_map(&self, name: &str, need: Need) -> Result<Option<&Arc<ConfigMap>>> {
        find(&self.config_maps, "configmap", name, need)
    }

    /// The token that a volume wants.
    ///
    /// # Errors
    /// [`Unavailable`](Error::Unavailable) if there is none.
    pub fn find_token(&self, wish: &TokenWish) -> Result<&Arc<Token>> {
        match self.tokens.get(wish) {
            Some(Source::Found(token)) => Ok(token),
            Some(Source::Unavailable(reason)) => Err(Error::Unavailable { reason: reason.clone() }),
            Some(Source::Missing) | None => Err(Error::Unavailable { reason: not_synced("token") }),
        }
    }

    /// The Secret `name`; none only if it is missing and `need` allows that.
    ///
    /// # Errors
    /// [`NotFound`](Error::NotFound), or [`Unavailable`](Error::Unavailable) if nobody knows.
    pub fn find_secret(&self, name: &str, need: Need) -> Result<Option<&Arc<Secret>>> {
        find(&self.secrets, "secret", name, need)
    }
}

/// Whether a pod can do without something it mentions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It waits for it.
    Required,
    /// It starts without.
    Optional,
}

impl Need {
    /// What the API's `optional` says.
    #[must_use]
    pub fn of(optional: Option<bool>) -> Self {
        if optional.unwrap_or_default() { Self::Optional } else { Self::Required }
    }
}

fn find<'a, K>(
    sources: &'a BTreeMap<String, Source<K>>,
    kind: &'static str,
    name: &str,
    need: Need,
) -> Result<Option<&'a Arc<K>>> {
    match sources.get(name) {
        Some(Source::Found(object)) => Ok(Some(object)),
        Some(Source::Missing) if need == Need::Optional => Ok(None),
        Some(Source::Missing) => Err(Error::NotFound { kind, id: name.to_owned() }),
        Some(Source::Unavailable(reason)) => Err(Error::Unavailable { reason: reason.clone() }),
        None => Err(Error::Unavailable { reason: not_synced(kind) }),
    }
}

/// What upstream says while the API server has not answered.
fn not_synced(kind: &str) -> String {
    format!("failed to sync {kind} cache: timed out waiting for the condition")
}
