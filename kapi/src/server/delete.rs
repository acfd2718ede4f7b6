//! Deleting objects: at once, after a grace period, or when their finalizers are done.

use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kcore::client::{DeleteOptions, Deleted, List, ListOptions, Path, Propagation};
use kcore::kind::Typed;
use kcore::object::Object;
use kcore::status::Status;

use super::commit::{Extras, Outcome, Place};
use super::decode::{encode, present, typed_of};
use super::{AdmissionRequest, Identity, Operation, Result, Server, namespace_of, object_key};
use crate::registry::Row;

/// Tries of a deletion before the client is told to try itself.
const MAX_TRIES: usize = 8;
/// The finalizer that holds an owner until its dependents are gone.
const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer that holds an owner until its dependents have forgotten it.
const ORPHAN: &str = "orphan";

impl Server {
    /// Deletes an object.
    pub(crate) async fn delete(
        &self,
        user: &Identity,
        path: Path<'_>,
        options: &DeleteOptions,
    ) -> Result<Deleted> {
        self.ready_to_write().await?;
        let row = self.row(path.resource)?;
        if !path.subresource.is_empty() {
            let resource = &row.resource;
            return Err(
                Status::method_not_allowed(&resource.group, &resource.plural, "delete").into()
            );
        }
        self.authorize_path(user, "delete", path).await?;
        self.delete_authorized(user, row, path, options).await
    }

    /// Deletes every object of a collection that a list selects.
    pub(crate) async fn delete_collection(
        &self,
        user: &Identity,
        path: Path<'_>,
        options: &DeleteOptions,
        list: &ListOptions,
    ) -> Result<List> {
        self.ready_to_write().await?;
        let row = self.row(path.resource)?;
        self.authorize_path(user, "deletecollection", path).await?;
        let mut found = self.list_authorized(row, path, list).await?;
        for object in &found.items {
            let meta = object.meta();
            let namespace = row.resource.namespaced.then_some(meta.namespace.as_str());
            let one = Path::object(path.resource, namespace, &meta.name);
            match self.delete_authorized(user, row, one, options).await {
                Err(status) if status.code != 404 => return Err(status),
                _ => {}
            }
        }
        found.continue_token = None;
        Ok(found)
    }

    pub(super) async fn delete_authorized(
        &self,
        user: &Identity,
        row: &Arc<Row>,
        path: Path<'_>,
        options: &DeleteOptions,
    ) -> Result<Deleted> {
        let kind = self.kind(row, "delete")?;
        let storage = Arc::clone(self.registry.storage_row(row));
        let (namespace, name) = (path.namespace.unwrap_or_default(), path.name);
        let key = object_key(&storage, namespace, name);
        let store_key = storage.key(namespace, name);
        let mut current = kind.get(&key);
        for _ in 0..MAX_TRIES {
            let Some(old) = current else {
                let resource = &row.resource;
                return Err(Status::not_found(&resource.group, &resource.plural, name).into());
            };
            check_preconditions(row, name, &old, options)?;
            let typed = typed_of(&old)?;
            let request = AdmissionRequest {
                user,
                operation: Operation::Delete,
                resource: path.resource,
                subresource: "",
                namespace: namespace_of(path),
                name,
                old: Some(&*typed),
                dry_run: options.dry_run,
                cluster: self,
            };
            self.admit(&request, None).await?;
            self.admit_final(&request, None).await?;
            let version = old.resource_version();
            let plan = plan_deletion(&storage, &*typed, options, self.options.clock.now());
            let at = Place { row: &storage, key: &store_key, expected: version };
            let (outcome, left) = match plan {
                _ if options.dry_run => return Ok(Deleted::Pending(present(row, old).await?)),
                Plan::Nothing => return Ok(Deleted::Pending(present(row, old).await?)),
                Plan::Remove => {
                    let extras = self.allocate(None, Some(&*typed))?;
                    (self.remove(at, extras).await?, None)
                }
                Plan::Mark(mut marked) => {
                    let managers = old.managed_fields().map_err(Status::internal)?;
                    marked.meta_mut().managed_fields = managers;
                    let encoded = encode(&storage, marked)?;
                    let outcome = self.commit(at, &encoded, Extras::default()).await?;
                    (outcome, Some(encoded))
                }
            };
            match (outcome, left) {
                (Outcome::Written(revision), None) => {
                    return self.gone(row, &old.at_version(revision)).await;
                }
                (Outcome::Written(revision), Some(encoded)) => {
                    let object = self.written(&storage, kind, &key, encoded, revision);
                    return Ok(Deleted::Pending(present(row, object).await?));
                }
                (Outcome::Stale(record), _) => {
                    current = record
                        .map(|record| kind.decode(&record.value, record.modified.0))
                        .transpose()
                        .map_err(Status::internal)?;
                }
                (Outcome::Taken, _) => break,
            }
        }
        Err(super::update::stale(&storage, name).into())
    }

    /// What a client is told of an object that is gone.
    async fn gone(&self, row: &Row, last: &Object) -> Result<Deleted> {
        if row.strategy.returns_deleted() {
            return Ok(Deleted::Pending(present(row, last.clone()).await?));
        }
        let resource = &row.resource;
        let mut status =
            Status::success().about(&resource.group, &resource.plural, &last.meta().name);
        if let Some(details) = &mut status.details {
            details.uid.clone_from(&last.meta().uid);
        }
        Ok(Deleted::Gone(Box::new(status)))
    }
}

/// What a deletion does to the object.
enum Plan {
    /// It is under way already, and this request does not hasten it.
    Nothing,
    /// The object goes.
    Remove,
    /// The object stays for now, marked.
    Mark(Box<dyn Typed>),
}

/// Decides a deletion: a pure function of the object, the options and the time.
fn plan_deletion(
    row: &Row,
    old: &dyn Typed,
    options: &DeleteOptions,
    now: jiff::Timestamp,
) -> Plan {
    let mut new = old.boxed_clone();
    let grace = row.strategy.grace_period(old, options.grace_period_seconds).unwrap_or(0).max(0);
    let meta = new.meta_mut();
    meta.resource_version = None;
    set_finalizers(meta, options.propagation, row.strategy.orphans_by_default());
    let changed_finalizers = meta.finalizers != old.meta().finalizers;
    let held = meta.finalizers.as_ref().is_some_and(|list| !list.is_empty())
        || row.strategy.holds_deletion(old);
    let marked = meta.deletion_timestamp.is_some();
    let shorter = meta.deletion_grace_period_seconds.is_some_and(|before| grace < before);
    if grace == 0 && !held {
        return Plan::Remove;
    }
    if marked && !shorter && !changed_finalizers {
        return Plan::Nothing;
    }
    if !marked || shorter {
        let end = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(now);
        // A deletion that is under way can only come sooner (D6).
        let sooner = |before: &Time| before.0.min(end);
        let end = meta.deletion_timestamp.as_ref().map_or(end, sooner);
        meta.deletion_timestamp = Some(Time(end));
        meta.deletion_grace_period_seconds = Some(grace);
        if !marked && let Some(generation) = &mut meta.generation {
            *generation += 1;
        }
        row.strategy.begin_deletion(&mut *new);
    }
    Plan::Mark(new)
}

/// Puts the finalizer of a propagation policy on an object, and the others' away.
fn set_finalizers(
    meta: &mut ObjectMeta,
    propagation: Option<Propagation>,
    orphans_by_default: bool,
) {
    let list = meta.finalizers.get_or_insert_default();
    let collected = list.iter().any(|known| known == FOREGROUND || known == ORPHAN);
    let wanted = match propagation {
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Background) => None,
        // Without a word, finalizers that are there stay.
        None if collected => {
            return;
        }
        None => orphans_by_default.then_some(ORPHAN),
    };
    list.retain(|known| known != FOREGROUND && known != ORPHAN);
    list.extend(wanted.map(ToOwned::to_owned));
    if list.is_empty() {
        meta.finalizers = None;
    }
}

fn check_preconditions(row: &Row, name: &str, old: &Object, options: &DeleteOptions) -> Result<()> {
    let resource = &row.resource;
    let conflict = |why: String| Status::conflict(&resource.group, &resource.plural, name, &why);
    if let Some(uid) = &options.preconditions.uid
        && *uid != old.meta().uid
    {
        let found = &old.meta().uid;
        return Err(conflict(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {found}"
        ))
        .into());
    }
    if let Some(version) = options.preconditions.resource_version
        && version != old.resource_version()
    {
        return Err(conflict(format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in \
             object meta: {}",
            old.resource_version()
        ))
        .into());
    }
    Ok(())
}
