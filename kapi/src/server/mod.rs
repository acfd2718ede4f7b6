//! The API server as a value: the pipeline every request goes through, whatever brought it.

mod allocate;
mod authenticate;
mod commit;
mod create;
mod decode;
mod delete;
mod evict;
mod log;
mod options;
mod patch;
mod read;
mod review;
mod scale;
mod subresource;
mod token;
mod track;
mod update;
mod watch;

use std::sync::Arc;

use kcore::client::Path;
use kcore::name::Resource;
use kcore::object::Object;
use kcore::status::Status;
use kstore::Store;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;

pub(crate) use decode::typed_of;
pub(crate) use log::LogOptions;
pub use options::ServerOptions;
pub(crate) use track::Track;
pub(crate) use update::Written;

use crate::admission::{AdmissionPlugin, AdmissionRequest, ClusterView, Operation};
use crate::auth::rbac::Rbac;
use crate::auth::service_account::Verified;
use crate::auth::{Attributes, Decision, Identity};
use crate::cache::{Cache, Feed, KindCache, Part};
use crate::fields::Shapes;
use crate::metrics::Metrics;
use crate::registry::{Registry, Row};
use crate::strategy::FieldErrors;

/// What the pipeline returns. The box keeps the good case small.
pub(crate) type Result<T> = std::result::Result<T, Box<Status>>;

/// Everything a running API server is made of.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Registry,
    pub(crate) cache: Arc<Cache>,
    pub(crate) options: ServerOptions,
    pub(crate) metrics: Metrics,
    rbac: Option<Rbac>,
    /// Which fields new objects have, as their managers hold them.
    shapes: Shapes<Option<Box<RawValue>>>,
    /// Tokens that need not be verified again.
    verified: Verified,
    started: OnceCell<()>,
    feed: Mutex<Option<AbortHandle>>,
}

impl Server {
    pub(crate) fn new(store: Arc<dyn Store>, options: ServerOptions) -> Self {
        let registry = Registry::new(&options);
        Self::with_registry(store, options, registry)
    }

    /// A server of the kinds of a registry.
    pub(crate) fn with_registry(
        store: Arc<dyn Store>,
        options: ServerOptions,
        registry: Registry,
    ) -> Self {
        let cache = Arc::new(Cache::new(&registry));
        let rbac = Rbac::new(&registry, &cache);
        Self {
            store,
            registry,
            cache,
            options,
            metrics: Metrics::default(),
            rbac,
            shapes: Shapes::default(),
            verified: Verified::default(),
            started: OnceCell::new(),
            feed: Mutex::default(),
        }
    }

    /// Fills the cache at the first call; afterwards returns at once.
    ///
    /// # Errors
    /// 503 while the store cannot be read.
    pub(crate) async fn ready(&self) -> Result<()> {
        if self.started.initialized() {
            return Ok(());
        }
        self.started.get_or_try_init(|| self.start()).await.copied()
    }

    async fn start(&self) -> Result<()> {
        let store = Arc::clone(&self.store);
        let mut feed = Feed::new(store, Arc::clone(&self.cache), self.options.random.fork());
        let revision = feed.fill().await.map_err(|error| commit::store_status(&error))?;
        let task = tokio::spawn(feed.follow(revision)).abort_handle();
        if let Some(old) = self.feed.lock().replace(task) {
            old.abort();
        }
        self.bootstrap().await
    }

    /// The row of a resource.
    ///
    /// # Errors
    /// 404 if the server does not serve it.
    pub(crate) fn row(&self, resource: &Resource) -> Result<&Arc<Row>> {
        self.registry.of(resource).ok_or_else(|| Status::no_such_path().into())
    }

    /// The cache of a row's objects, under whatever version they are stored.
    ///
    /// # Errors
    /// 405 for kinds that are never stored.
    pub(crate) fn kind(&self, row: &Arc<Row>, verb: &str) -> Result<&Arc<KindCache>> {
        self.cache.of(self.registry.storage_row(row)).ok_or_else(|| {
            Status::method_not_allowed(&row.resource.group, &row.resource.plural, verb).into()
        })
    }

    /// Asks the authorizers, in order.
    ///
    /// # Errors
    /// 403.
    pub(crate) async fn authorize(&self, attributes: &Attributes<'_>) -> Result<()> {
        match self.decide(attributes).await {
            Decision::Allow => Ok(()),
            Decision::Deny(why) | Decision::NoOpinion(why) => Err(refusal(attributes, &why).into()),
        }
    }

    /// What the authorizers say, in order.
    pub(crate) async fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        let mut silence = String::new();
        if let Some(rbac) = self.rbac.as_ref().filter(|_| self.options.rbac) {
            match rbac.authorize(attributes) {
                Decision::NoOpinion(why) => silence = why,
                decision => return decision,
            }
        }
        for authorizer in &self.options.authorizers {
            match authorizer.authorize(attributes).await {
                Decision::NoOpinion(why) if silence.is_empty() => silence = why,
                Decision::NoOpinion(_) => {}
                decision => return decision,
            }
        }
        Decision::NoOpinion(silence)
    }

    async fn authorize_path(&self, user: &Identity, verb: &str, path: Path<'_>) -> Result<()> {
        self.authorize(&attributes(user, verb, path)).await
    }

    fn plugins(&self) -> &[Arc<dyn AdmissionPlugin>] {
        &self.options.admission
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(feed) = self.feed.lock().take() {
            feed.abort();
        }
    }
}

impl ClusterView for Server {
    fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Object> {
        let row = self.registry.of(resource)?;
        self.cache.of(self.registry.storage_row(row))?.get(&object_key(row, namespace, name))
    }

    fn list(&self, resource: &Resource, namespace: Option<&str>) -> Vec<Object> {
        let part = namespace.map_or(Part::All, |namespace| Part::Namespace(namespace.to_owned()));
        self.registry
            .of(resource)
            .and_then(|row| self.cache.of(self.registry.storage_row(row)))
            .map(|kind| kind.list(&part, None).0)
            .unwrap_or_default()
    }
}

/// What a request for a resource wants to do.
fn attributes<'a>(user: &'a Identity, verb: &'a str, path: Path<'a>) -> Attributes<'a> {
    Attributes {
        user,
        verb,
        group: &path.resource.group,
        resource: &path.resource.plural,
        subresource: path.subresource,
        namespace: namespace_of(path),
        name: path.name,
        path: "",
    }
}

/// The namespace a request acts in: for Namespaces themselves, the one it names.
fn namespace_of<'a>(path: Path<'a>) -> &'a str {
    match path.namespace {
        Some(namespace) => namespace,
        None if path.resource.plural == "namespaces" && path.resource.group.is_empty() => path.name,
        None => "",
    }
}

/// The key of an object within its kind.
fn object_key(row: &Row, namespace: &str, name: &str) -> String {
    if row.resource.namespaced { format!("{namespace}/{name}") } else { name.to_owned() }
}

fn invalid(row: &Row, name: &str, errors: FieldErrors) -> Result<()> {
    if errors.is_empty() {
        return Ok(());
    }
    let resource = &row.resource;
    Err(Status::invalid(&resource.group, &resource.kind, name, errors.into_causes()).into())
}

/// The 403 of a request that nobody allowed, in upstream's words.
fn refusal(attributes: &Attributes<'_>, why: &str) -> Status {
    let because = if why.is_empty() { String::new() } else { format!(": {why}") };
    let user = &attributes.user.name;
    if attributes.resource.is_empty() {
        let words =
            format!("User {user:?} cannot {} path {:?}{because}", attributes.verb, attributes.path);
        return Status::forbidden("", "", "", &words);
    }
    let resource = match attributes.subresource {
        "" => attributes.resource.to_owned(),
        subresource => format!("{}/{subresource}", attributes.resource),
    };
    let scope = match attributes.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let words = format!(
        "User {user:?} cannot {} resource {resource:?} in API group {:?} {scope}{because}",
        attributes.verb, attributes.group
    );
    let mut status =
        Status::forbidden(attributes.group, attributes.resource, attributes.name, &words);
    if attributes.name.is_empty()
        && let Some(details) = &mut status.details
    {
        details.name.clear();
    }
    status
}
