//! Reading objects and collections.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list>

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kcore::client::{GetOptions, List, ListOptions, Path, VersionMatch};
use kcore::object::Object;
use kcore::status::{Reason, Status};
use kstore::{KeyRange, RangeOptions, Revision};
use serde::{Deserialize, Serialize};

use super::commit::store_status;
use super::decode::{present, present_all};
use super::{Identity, Result, Server, attributes, object_key};
use crate::auth::rbac::Held;
use crate::cache::{Filter, KindCache};
use crate::registry::Row;

/// How long a read waits for a version that is not there yet.
const FUTURE_WAIT: Duration = Duration::from_secs(3);
/// Records read from the store at once for a page at an older revision.
const STORE_PAGE: usize = 500;

/// Where a chunked list goes on. Opaque to clients.
#[derive(Debug, Serialize, Deserialize)]
struct Continue {
    #[serde(rename = "v")]
    version: String,
    /// The revision all pages show; -1 for the most recent one, after the first was compacted.
    #[serde(rename = "rv")]
    revision: i64,
    /// The last key of the page before.
    #[serde(rename = "start")]
    after: String,
}

impl Continue {
    const VERSION: &'static str = "meta.k8s.io/v1";

    fn token(revision: i64, after: &str) -> String {
        let this = Self { version: Self::VERSION.to_owned(), revision, after: after.to_owned() };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&this).unwrap_or_default())
    }

    fn parse(token: &str) -> Result<Self> {
        let bad = |why: String| Status::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD
            .decode(token.trim_end_matches('='))
            .map_err(|error| bad(error.to_string()))?;
        let this: Self = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        if this.version != Self::VERSION {
            return Err(bad(format!(
                "server does not recognize this encoded version {:?}",
                this.version
            ))
            .into());
        }
        Ok(this)
    }
}

impl Server {
    /// Reads an object at once, for a caller whose permissions are held: nothing if the roles
    /// alone do not allow it, or something must be waited for.
    pub(crate) fn get_now(
        &self,
        user: &Identity,
        held: &Held,
        path: Path<'_>,
        options: &GetOptions,
    ) -> Option<Result<Object>> {
        let rbac = self.rbac.as_ref().filter(|_| self.options.rbac)?;
        let row = self.registry.of(path.resource)?;
        let at_hand = match options.resource_version {
            None => !self.options.shared_store,
            Some(version) => version == 0,
        };
        let plain = at_hand && path.subresource.is_empty() && row.stored_as.is_none();
        if !plain
            || !self.started.initialized()
            || !rbac.allows(held, &attributes(user, "get", path))
        {
            return None;
        }
        let kind = self.cache.of(row)?;
        Some(kind.find(path.namespace.unwrap_or_default(), path.name).ok_or_else(|| {
            let resource = &row.resource;
            Status::not_found(&resource.group, &resource.plural, path.name).into()
        }))
    }

    /// Reads an object.
    pub(crate) async fn get(
        &self,
        user: &Identity,
        path: Path<'_>,
        options: &GetOptions,
    ) -> Result<Object> {
        self.ready().await?;
        let row = self.row(path.resource)?;
        self.authorize_path(user, "get", path).await?;
        if !path.subresource.is_empty() {
            let sub = row.subresource(path.subresource).ok_or_else(Status::no_such_path)?;
            if !sub.is_readable() {
                let resource = &row.resource;
                return Err(
                    Status::method_not_allowed(&resource.group, &resource.plural, "get").into()
                );
            }
        }
        self.get_authorized(row, path, options).await
    }

    /// Reads an object for a caller who needs no permission to read it, or has it.
    pub(super) async fn get_authorized(
        &self,
        row: &Arc<Row>,
        path: Path<'_>,
        options: &GetOptions,
    ) -> Result<Object> {
        self.fresh(options.resource_version).await?;
        let kind = self.kind(row, "get")?;
        match kind.find(path.namespace.unwrap_or_default(), path.name) {
            Some(object) if path.subresource == "scale" => self.scale_of(row, &object),
            Some(object) => present(row, object).await,
            None => {
                let resource = &row.resource;
                Err(Status::not_found(&resource.group, &resource.plural, path.name).into())
            }
        }
    }

    /// Lists a collection.
    pub(crate) async fn list(
        &self,
        user: &Identity,
        path: Path<'_>,
        options: &ListOptions,
    ) -> Result<List> {
        self.ready().await?;
        let row = self.row(path.resource)?;
        self.authorize_path(user, "list", path).await?;
        self.list_authorized(row, path, options).await
    }

    pub(super) async fn list_authorized(
        &self,
        row: &Arc<Row>,
        path: Path<'_>,
        options: &ListOptions,
    ) -> Result<List> {
        let kind = self.kind(row, "list")?;
        check_fields(row, &options.fields)?;
        check_version_options(options)?;
        let filter = Filter {
            namespace: path.namespace.map(ToOwned::to_owned),
            labels: options.labels.clone(),
            fields: options.fields.clone(),
        };
        let limit = options.limit.filter(|limit| *limit > 0);
        let token = options.continue_token.as_deref().filter(|token| !token.is_empty());
        let mut list = match token.map(Continue::parse).transpose()? {
            Some(token) if token.revision > 0 => self
                .list_at(kind, &filter, token.revision as u64, Some(&token.after), limit)
                .await
                .map_err(|status| with_inconsistent_token(status, &token.after))?,
            Some(token) => self.list_now(kind, &filter, Some(&token.after), limit),
            None => match (options.resource_version, options.version_match) {
                (Some(version), Some(VersionMatch::Exact)) => {
                    self.list_at(kind, &filter, version, None, limit).await?
                }
                (version, _) => {
                    self.fresh(version).await?;
                    self.list_now(kind, &filter, None, limit)
                }
            },
        };
        if row.stored_as.is_some() {
            list.items = present_all(row, std::mem::take(&mut list.items)).await?;
        }
        Ok(list)
    }

    /// Waits until the cache is as fresh as a read asks for.
    pub(super) async fn fresh(&self, version: Option<u64>) -> Result<()> {
        match version {
            None => self.catch_up().await,
            Some(0) => Ok(()),
            Some(version) => {
                let reached = self.cache.applied().reach(version);
                let waited = tokio::time::timeout(FUTURE_WAIT, reached).await;
                waited.map_err(|_| self.too_large(version).into())
            }
        }
    }

    fn too_large(&self, version: u64) -> Status {
        let message = format!(
            "Too large resource version: {version}, current: {}",
            self.cache.applied().revision()
        );
        let mut status = Status::failure(504, Reason::Timeout, message).retry_after(1);
        if let Some(details) = &mut status.details {
            details.causes.push(kcore::status::Cause {
                reason: "ResourceVersionTooLarge".to_owned(),
                message: "Too large resource version".to_owned(),
                field: String::new(),
            });
        }
        status
    }

    /// A page of the state at hand.
    fn list_now(
        &self,
        kind: &KindCache,
        filter: &Filter,
        after: Option<&str>,
        limit: Option<u64>,
    ) -> List {
        let part = kind.part(filter.namespace.as_deref(), &filter.fields);
        let (mut items, revision) = kind.list(&part, after);
        items.retain(|object| filter.matches(object));
        page(kind.row(), items, revision, filter, limit)
    }

    /// A page of the state at a revision: the cache's if it still shows it, else the store's.
    async fn list_at(
        &self,
        kind: &KindCache,
        filter: &Filter,
        revision: u64,
        after: Option<&str>,
        limit: Option<u64>,
    ) -> Result<List> {
        self.fresh(Some(revision)).await?;
        if kind.unchanged_since(revision) {
            let mut list = self.list_now(kind, filter, after, limit);
            if kind.unchanged_since(revision) {
                pin(&mut list, revision);
                return Ok(list);
            }
        }
        let mut prefix = kind.row().prefix();
        if let Some(namespace) =
            filter.namespace.as_deref().filter(|_| kind.row().resource.namespaced)
        {
            prefix.push_str(namespace);
            prefix.push('/');
        }
        let whole = KeyRange::prefix(prefix);
        let mut range = match after {
            Some(after) => whole.after(format!("{}{after}", kind.row().prefix()).as_bytes()),
            None => whole.clone(),
        };
        let mut items: Vec<Object> = Vec::new();
        loop {
            let options = RangeOptions::default().at(Revision(revision)).limit(STORE_PAGE);
            let found =
                self.store.range(range, options).await.map_err(|error| store_status(&error))?;
            for record in &found.records {
                let object =
                    kind.decode(&record.value, record.modified.0).map_err(Status::internal)?;
                if filter.matches(&object) {
                    items.push(object);
                }
            }
            let enough = limit.is_some_and(|limit| items.len() as u64 > limit);
            match found.records.last().filter(|_| found.more && !enough) {
                Some(last) => range = whole.after(&last.key),
                None => break,
            }
        }
        Ok(page(kind.row(), items, revision, filter, limit))
    }
}

/// Cuts a page off the front of what was found.
fn page(
    row: &Row,
    mut items: Vec<Object>,
    revision: u64,
    filter: &Filter,
    limit: Option<u64>,
) -> List {
    let all = items.len() as u64;
    let mut list = List { resource_version: revision, ..List::default() };
    if let Some(limit) = limit.filter(|limit| *limit < all) {
        items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let last = items.last().map(Object::meta);
        list.continue_token = last.map(|meta| {
            let key = object_key(row, &meta.namespace, &meta.name);
            Continue::token(i64::try_from(revision).unwrap_or(-1), &key)
        });
        // With a selector nobody knows how many are left without looking at them.
        let plain = filter.labels.is_empty() && filter.fields.is_empty();
        list.remaining = plain.then_some(all - limit);
    }
    list.items = items;
    list
}

/// Makes a page of the present state one of the revision it was asked for.
fn pin(list: &mut List, revision: u64) {
    list.resource_version = revision;
    if let Some(token) = &mut list.continue_token
        && let Ok(parsed) = Continue::parse(token)
    {
        *token = Continue::token(i64::try_from(revision).unwrap_or(-1), &parsed.after);
    }
}

/// A continue token whose revision is gone comes back with one that goes on at the present state.
fn with_inconsistent_token(mut status: Box<Status>, after: &str) -> Box<Status> {
    if status.reason == Reason::Expired {
        status.continue_token = Some(Continue::token(-1, after));
    }
    status
}

/// Refuses fields that the kind cannot be selected by.
pub(super) fn check_fields(row: &Row, fields: &kcore::selector::FieldSelector) -> Result<()> {
    for requirement in fields.requirements() {
        let path = requirement.path.as_str();
        let known = path == "metadata.name"
            || (path == "metadata.namespace" && row.resource.namespaced)
            || row.strategy.selectable().contains(&path);
        if !known {
            return Err(Status::bad_request(format!(
                "Unable to find {:?} that match label selector \"\", field selector \"{fields}\": \
                 field label not supported: {path}",
                row.resource.api_version() + ", Resource=" + &*row.resource.plural
            ))
            .into());
        }
    }
    Ok(())
}

/// Refuses combinations of version, match and continue that mean nothing.
fn check_version_options(options: &ListOptions) -> Result<()> {
    let forbidden = |what: &str| Err(Status::bad_request(what.to_owned()).into());
    let token = options.continue_token.as_deref().is_some_and(|token| !token.is_empty());
    match (options.version_match, options.resource_version) {
        (Some(_), None) => forbidden(
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless \
             resourceVersion is provided",
        ),
        (Some(_), _) if token => forbidden(
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is \
             provided",
        ),
        (Some(VersionMatch::Exact), Some(0)) => forbidden(
            "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for \
             resourceVersion \"0\"",
        ),
        (None, Some(version)) if token && version > 0 => {
            forbidden("specifying resource version is not allowed when using continue")
        }
        _ => Ok(()),
    }
}
