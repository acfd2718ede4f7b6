//! Replacing objects, in whole or by their status.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kcore::client::{Body, Path, WriteOptions};
use kcore::kind::Typed;
use kcore::object::Object;
use kcore::status::{Cause, Status};

use super::commit::{Outcome, Place};
use super::create::adopt_namespace;
use super::decode::{encode_with, present, to_stored, typed_of};
use super::scale::Rescale;
use super::subresource::decode;
use super::track::Track;
use super::{
    AdmissionRequest, Identity, Operation, Result, Server, invalid, namespace_of, object_key,
};
use crate::registry::{Row, Subresource};
use crate::strategy::{FieldErrors, validate_meta, validate_meta_update};

/// Tries of a write that carries no version, before the client is told to try itself.
const MAX_TRIES: usize = 8;

pub(super) const STALE: &str = "the object has been modified; please apply your changes to the \
     latest version and try again";

/// What a write makes of the current state. It is called again if the state has moved on.
pub(super) trait Change: Sync {
    /// Whether a version that the new state names is one the client named.
    fn pins(&self) -> bool {
        true
    }

    /// Whether it is made of objects in the version in which they are stored.
    fn is_of_stored(&self) -> bool {
        false
    }

    /// The new state; it names the version it was based on, if it was on one.
    fn apply(&self, server: &Server, row: &Row, current: &Object) -> Result<Box<dyn Typed>>;
}

/// A replacement by an object that was sent whole.
struct Replacement(Box<dyn Typed>);

impl Change for Replacement {
    fn apply(&self, _: &Server, _: &Row, _: &Object) -> Result<Box<dyn Typed>> {
        Ok(self.0.boxed_clone())
    }
}

/// An update on its way: what does not change between tries.
pub(super) struct Update<'a> {
    pub(super) user: &'a Identity,
    pub(super) path: Path<'a>,
    pub(super) row: &'a Arc<Row>,
    pub(super) subresource: Option<Subresource>,
    pub(super) options: &'a WriteOptions,
    pub(super) track: Track,
}

/// What a write came to.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) object: Object,
    /// Whether there was none before.
    pub(crate) created: bool,
}

impl Written {
    fn changed(object: Object) -> Self {
        Self { object, created: false }
    }
}

impl Server {
    /// Replaces an object, or its status.
    pub(crate) async fn update(
        &self,
        user: &Identity,
        path: Path<'_>,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Written> {
        self.ready_to_write().await?;
        let row = self.row(path.resource)?;
        let subresource = self.writable(row, path, "update")?;
        self.authorize_path(user, "update", path).await?;
        if subresource == Some(Subresource::Scale) {
            let change = Rescale(decode(body, "Scale")?);
            let scale = self.set_scale(user, row, path, &change, (options, Track::Changes)).await?;
            return Ok(Written::changed(scale));
        }
        let mut typed = self.decode(row, body)?;
        adopt_namespace(path, typed.meta_mut())?;
        check_name(path, typed.meta_mut())?;
        let track = Track::Changes;
        let update = Update { user, path, row, subresource, options, track };
        self.change(&update, &Replacement(typed)).await
    }

    /// The subresource a write goes to, if it is one that is a part of the object.
    pub(super) fn writable(
        &self,
        row: &Row,
        path: Path<'_>,
        verb: &str,
    ) -> Result<Option<Subresource>> {
        if path.subresource.is_empty() {
            return Ok(None);
        }
        let refused =
            || Status::method_not_allowed(&row.resource.group, &row.resource.plural, verb);
        match row.subresource(path.subresource) {
            None => Err(Status::no_such_path().into()),
            Some(
                part @ (Subresource::Status
                | Subresource::Scale
                | Subresource::Finalize
                | Subresource::Approval
                | Subresource::EphemeralContainers
                | Subresource::Resize),
            ) => Ok(Some(part)),
            Some(_) => Err(refused().into()),
        }
    }

    /// Applies a change to the current state of an object until it sticks.
    pub(super) async fn change(&self, update: &Update<'_>, change: &dyn Change) -> Result<Written> {
        let row = update.row;
        let kind = self.kind(row, "update")?;
        let storage = Arc::clone(self.registry.storage_row(row));
        let (namespace, name) = (update.path.namespace.unwrap_or_default(), update.path.name);
        let key = object_key(&storage, namespace, name);
        let store_key = storage.key(namespace, name);
        let mut current = kind.get(&key);
        for _ in 0..MAX_TRIES {
            let Some(old) = current else {
                return self.create_instead(update, change).await;
            };
            let mut new = if change.is_of_stored() {
                change.apply(self, &storage, &old)?
            } else {
                let presented = present(row, old.clone()).await?;
                change.apply(self, row, &presented)?
            };
            let named = check_version(&storage, name, new.meta_mut(), &old)?;
            let pinned = named && change.pins();
            if !change.is_of_stored() {
                new = to_stored(row, new).await?;
            }
            let old_typed = typed_of(&old)?;
            self.prepare_update(update, &storage, &mut new, (&old, &*old_typed)).await?;
            let gone = self.ends_deletion(&storage, &*new);
            let extras = if gone {
                self.allocate(None, Some(&*old_typed))?
            } else {
                self.allocate(Some(&mut *new), Some(&*old_typed))?
            };
            let managers = (update.track == Track::Nobody).then(|| old.encoded().managers());
            let encoded = encode_with(&storage, new, managers)?;
            if update.options.dry_run {
                let object = Object::new(encoded, old.resource_version(), Some(storage.codec));
                return present(row, object).await.map(Written::changed);
            }
            let at = Place { row: &storage, key: &store_key, expected: old.resource_version() };
            let outcome = if gone {
                // The last finalizer went: the object goes in the same request (D1).
                self.remove(at, extras).await?
            } else if encoded.bytes() == old.encoded().bytes() {
                // Nothing changed: no write, no event (A4).
                return present(row, old).await.map(Written::changed);
            } else {
                self.commit(at, &encoded, extras).await?
            };
            match outcome {
                Outcome::Written(revision) => {
                    let object = self.written(&storage, kind, &key, encoded, revision);
                    return present(row, object).await.map(Written::changed);
                }
                Outcome::Stale(_) if pinned => return Err(stale(&storage, name).into()),
                Outcome::Stale(record) => {
                    current = record
                        .map(|record| kind.decode(&record.value, record.modified.0))
                        .transpose()
                        .map_err(Status::internal)?;
                }
                // Something it was given went to another one meanwhile: choose again.
                Outcome::Taken => current = kind.get(&key),
            }
        }
        Err(stale(&storage, name).into())
    }

    /// An update of an object that does not exist creates it, for kinds that say so.
    async fn create_instead(&self, update: &Update<'_>, change: &dyn Change) -> Result<Written> {
        let (row, path) = (update.row, update.path);
        let resource = &row.resource;
        let missing = || Status::not_found(&resource.group, &resource.plural, path.name);
        let applies = update.track == Track::Done;
        if update.subresource.is_some() || !(applies || row.strategy.create_on_update()) {
            return Err(missing().into());
        }
        let made_of = if change.is_of_stored() { self.registry.storage_of(row) } else { row };
        let blank = Object::from_json(b"{}", Some(made_of.codec)).map_err(Status::internal)?;
        // A patch has nothing to work on and says so itself.
        let mut typed = change
            .apply(self, made_of, &blank)
            .map_err(|status| if applies { status } else { missing().into() })?;
        if applies {
            adopt_namespace(path, typed.meta_mut())?;
            typed.meta_mut().name.get_or_insert_with(|| path.name.to_owned());
            check_name(path, typed.meta_mut())?;
        }
        if typed.meta().uid.as_deref().is_some_and(|uid| !uid.is_empty()) {
            return Err(missing().into());
        }
        self.authorize_path(update.user, "create", path).await?;
        typed.meta_mut().resource_version = None;
        let (user, options) = (update.user, update.options);
        let object = self.create_typed(user, row, path, typed, (options, update.track)).await?;
        Ok(Written { object, created: true })
    }

    /// Keeps what an update may not change, admits and validates.
    async fn prepare_update(
        &self,
        update: &Update<'_>,
        row: &Row,
        new: &mut Box<dyn Typed>,
        (old_object, old): (&Object, &dyn Typed),
    ) -> Result<()> {
        keep_meta(new.meta_mut(), old.meta());
        let managed = new.meta_mut().managed_fields.take();
        match (update.subresource, &row.status) {
            (Some(Subresource::Status), Some(status)) => {
                let mut next = old.boxed_clone();
                (status.copy)(&mut *next, &**new);
                next.meta_mut().annotations = new.meta_mut().annotations.take();
                row.strategy.prepare_status(&mut *next, old);
                *new = next;
            }
            (Some(Subresource::Binding), _) => {}
            (Some(part), _) if part != Subresource::Scale => {
                row.strategy.take_part(part, &mut **new, old);
                row.strategy.apply_defaults(&mut **new);
            }
            (_, status) => {
                if let Some(status) = status {
                    (status.copy)(&mut **new, old);
                }
                row.strategy.apply_defaults(&mut **new);
                row.strategy.prepare_update(&mut **new, old);
            }
        }
        new.meta_mut().managed_fields = managed;
        if update.track == Track::Changes {
            self.track_update(update, row, &mut **new, old_object)?;
        }
        let request = AdmissionRequest {
            user: update.user,
            operation: Operation::Update,
            resource: update.path.resource,
            subresource: update.path.subresource,
            namespace: namespace_of(update.path),
            name: update.path.name,
            old: Some(old),
            dry_run: update.options.dry_run,
            cluster: self,
        };
        self.admit(&request, Some(&mut **new)).await?;
        count_generation(row, &mut **new, old);
        new.meta_mut().resource_version = None;
        let mut errors = FieldErrors::default();
        let any_name = |name: &str| row.strategy.check_name(name);
        validate_meta(new.meta(), row.resource.namespaced, any_name, &mut errors);
        validate_meta_update(new.meta(), old.meta(), &mut errors);
        match update.subresource {
            Some(Subresource::Status) => row.strategy.validate_status(&**new, old, &mut errors),
            None | Some(Subresource::Scale) => {
                row.strategy.validate(&**new, &mut errors);
                row.strategy.validate_update(&**new, old, &mut errors);
            }
            // All it sets are the node, annotations and a condition.
            Some(Subresource::Binding) => {}
            // The part alone was taken, so nothing else can have changed.
            Some(_) => row.strategy.validate(&**new, &mut errors),
        }
        invalid(row, update.path.name, errors)?;
        self.admit_final(&request, Some(&**new)).await
    }

    /// Whether nothing holds the deletion of an object up any longer.
    pub(super) fn ends_deletion(&self, row: &Row, object: &dyn Typed) -> bool {
        let meta = object.meta();
        meta.deletion_timestamp.is_some()
            && meta.finalizers.as_deref().unwrap_or_default().is_empty()
            && meta.deletion_grace_period_seconds.unwrap_or_default() == 0
            && !row.strategy.holds_deletion(object)
    }
}

/// The generation moves when the desired state does.
fn count_generation(row: &Row, new: &mut dyn Typed, old: &dyn Typed) {
    let Some(same) = row.same_spec else { return };
    let moved = !same(new, old) || row.strategy.changes_generation(new, old);
    let generation = old.meta().generation.unwrap_or_default();
    new.meta_mut().generation = Some(generation + i64::from(moved));
}

/// What of the metadata a client cannot change.
fn keep_meta(new: &mut ObjectMeta, old: &ObjectMeta) {
    new.uid.clone_from(&old.uid);
    new.creation_timestamp.clone_from(&old.creation_timestamp);
    new.deletion_timestamp.clone_from(&old.deletion_timestamp);
    new.deletion_grace_period_seconds = old.deletion_grace_period_seconds;
    new.generation = old.generation;
    new.generate_name.clone_from(&old.generate_name);
    new.self_link = None;
    if new.finalizers.as_ref().is_some_and(Vec::is_empty) {
        new.finalizers = None;
    }
}

/// The name in the body must be the path's.
fn check_name(path: Path<'_>, meta: &mut ObjectMeta) -> Result<()> {
    match meta.name.as_deref().unwrap_or_default() {
        "" => Err(Status::bad_request("name must be provided").into()),
        name if name == path.name => Ok(()),
        name => Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            path.name
        ))
        .into()),
    }
}

/// Checks the version and uid that a write was based on. Returns whether it names a version.
fn check_version(row: &Row, name: &str, meta: &mut ObjectMeta, old: &Object) -> Result<bool> {
    let resource = &row.resource;
    if let Some(uid) = meta.uid.as_deref().filter(|uid| !uid.is_empty())
        && uid != old.meta().uid
    {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            old.meta().uid
        );
        return Err(Status::conflict(&resource.group, &resource.plural, name, &why).into());
    }
    match meta.resource_version.as_deref().unwrap_or_default() {
        "" if row.strategy.unconditional_update() => Ok(false),
        "" => {
            let cause = Cause {
                reason: "FieldValueInvalid".to_owned(),
                message: "Invalid value: 0: must be specified for an update".to_owned(),
                field: "metadata.resourceVersion".to_owned(),
            };
            Err(Status::invalid(&resource.group, &resource.kind, name, vec![cause]).into())
        }
        version => match version.parse::<u64>() {
            Ok(version) if version == old.resource_version() => Ok(true),
            Ok(0) => Ok(false),
            Ok(_) => Err(stale(row, name).into()),
            Err(_) => {
                let cause = Cause {
                    reason: "FieldValueInvalid".to_owned(),
                    message: format!("Invalid value: {version:?}: must be a decimal number"),
                    field: "metadata.resourceVersion".to_owned(),
                };
                Err(Status::invalid(&resource.group, &resource.kind, name, vec![cause]).into())
            }
        },
    }
}

pub(super) fn stale(row: &Row, name: &str) -> Status {
    Status::conflict(&row.resource.group, &row.resource.plural, name, STALE)
}
