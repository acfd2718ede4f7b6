//! Creating objects.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kcore::client::{Body, Path, WriteOptions};
use kcore::kind::Typed;
use kcore::object::Object;
use kcore::status::{Reason, Status};

use super::commit::{Extras, Outcome, Place};
use super::decode::{encode, encode_with, present, to_stored};
use super::track::Track;
use super::{
    AdmissionRequest, Identity, Operation, Result, Server, invalid, namespace_of, object_key,
};
use crate::registry::{Row, Verbs};
use crate::strategy::{FieldErrors, validate_meta};

/// Letters that a generated name gets behind its prefix, and the longest prefix that leaves room.
const SUFFIX_LETTERS: usize = 5;
const MAX_GENERATED_PREFIX: usize = 63 - SUFFIX_LETTERS;
/// Tries to find a free name, or a free address, for an object that wants one.
const MAX_TRIES: usize = 8;

impl Server {
    /// Creates an object.
    pub(crate) async fn create(
        &self,
        user: &Identity,
        path: Path<'_>,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Object> {
        self.ready_to_write().await?;
        let row = self.row(path.resource)?;
        self.authorize_path(user, "create", path).await?;
        if !path.subresource.is_empty() {
            return self.create_subresource(user, row, path, body, options).await;
        }
        let typed = self.decode(row, body)?;
        if row.verbs == Verbs::CreateOnly {
            return self.review(user, path, typed).await;
        }
        self.create_typed(user, row, path, typed, (options, Track::Changes)).await
    }

    /// Creates an object that has been decoded and authorized.
    pub(crate) async fn create_typed(
        &self,
        user: &Identity,
        row: &Arc<Row>,
        path: Path<'_>,
        mut typed: Box<dyn Typed>,
        (options, track): (&WriteOptions, Track),
    ) -> Result<Object> {
        let kind = self.kind(row, "create")?;
        check_meta(path, typed.meta_mut())?;
        if track != Track::Done {
            typed = to_stored(row, typed).await?;
        }
        let storage = Arc::clone(self.registry.storage_row(row));
        let generated = generate_name(&self.options.random, typed.meta_mut());
        let request = AdmissionRequest {
            user,
            operation: Operation::Create,
            resource: path.resource,
            subresource: "",
            namespace: namespace_of(path),
            name: &typed.meta().name.clone().unwrap_or_default(),
            old: None,
            dry_run: options.dry_run,
            cluster: self,
        };
        storage.strategy.apply_defaults(&mut *typed);
        let managers = match track {
            Track::Changes => Some(self.track_create(user, &storage, &mut *typed, options)?),
            Track::Nobody => Some(Vec::new()),
            Track::Done => None,
        };
        self.admit(&request, Some(&mut *typed)).await?;
        self.prepare_create(&storage, &mut *typed)?;
        self.admit_final(&request, Some(&*typed)).await?;
        for attempt in 1.. {
            let meta = typed.meta();
            let (namespace, name) =
                (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
            // What a lost race needs to try again: without what was handed out to it.
            let again = (generated || Self::allocates(&*typed)).then(|| typed.boxed_clone());
            let extras = self.allocate(Some(&mut *typed), None)?;
            let encoded = encode_with(&storage, typed, managers.as_deref())?;
            if options.dry_run {
                return present(row, Object::new(encoded, 0, Some(storage.codec))).await;
            }
            let key = storage.key(&namespace, &name);
            let at = Place { row: &storage, key: &key, expected: 0 };
            match self.commit(at, &encoded, extras).await? {
                Outcome::Written(revision) => {
                    let key = object_key(&storage, &namespace, &name);
                    let object = self.written(&storage, kind, &key, encoded, revision);
                    return present(row, object).await;
                }
                outcome => match again.filter(|_| attempt < MAX_TRIES) {
                    // What it was given went to another one meanwhile: choose again.
                    Some(again) if matches!(outcome, Outcome::Taken) => typed = again,
                    Some(again) if generated => {
                        typed = again;
                        typed.meta_mut().name = None;
                        generate_name(&self.options.random, typed.meta_mut());
                    }
                    _ => return Err(exists(&storage, &name).into()),
                },
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// Stores an object of the server's own as it is, unless one of its name exists: what its
    /// kind's rules keep others from writing.
    pub(crate) async fn create_own(&self, row: &Row, mut typed: Box<dyn Typed>) -> Result<()> {
        row.strategy.apply_defaults(&mut *typed);
        self.stamp(row, &mut *typed);
        let meta = typed.meta();
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let key = row.key(namespace, meta.name.as_deref().unwrap_or_default());
        let encoded = encode(row, typed)?;
        let at = Place { row, key: &key, expected: 0 };
        self.commit(at, &encoded, Extras::default()).await?;
        Ok(())
    }

    /// Sets what only the server sets.
    fn stamp(&self, row: &Row, typed: &mut dyn Typed) {
        let now = self.options.clock.now();
        let meta = typed.meta_mut();
        meta.uid = Some(self.options.random.uuid());
        meta.creation_timestamp = Some(Time(now));
        meta.deletion_timestamp = None;
        meta.deletion_grace_period_seconds = None;
        meta.self_link = None;
        meta.generation = row.same_spec.is_some().then_some(1);
        let keeps = row.strategy.keeps_status_on_create();
        if let Some(status) = row.status.as_ref().filter(|_| !keeps) {
            (status.clear)(typed);
        }
        row.strategy.prepare_create(typed);
    }

    /// Sets what only the server sets, and validates.
    fn prepare_create(&self, row: &Row, typed: &mut dyn Typed) -> Result<()> {
        self.stamp(row, typed);
        let mut errors = FieldErrors::default();
        let check_name = |name: &str| row.strategy.check_name(name);
        validate_meta(typed.meta(), row.resource.namespaced, check_name, &mut errors);
        row.strategy.validate(typed, &mut errors);
        let name = typed.meta().name.as_deref().unwrap_or_default();
        invalid(row, name, errors)
    }

    /// Lets the plugins change an object.
    pub(super) async fn admit(
        &self,
        request: &AdmissionRequest<'_>,
        mut object: Option<&mut dyn Typed>,
    ) -> Result<()> {
        for plugin in self.plugins().iter().filter(|plugin| plugin.handles(request)) {
            plugin.admit(request, object.as_deref_mut()).await?;
        }
        if let (Some(object), Ok(row)) = (object, self.row(request.resource)) {
            self.registry.storage_row(row).strategy.apply_defaults(object);
        }
        Ok(())
    }

    /// Lets the plugins refuse an object.
    pub(super) async fn admit_final(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&dyn Typed>,
    ) -> Result<()> {
        for plugin in self.plugins().iter().filter(|plugin| plugin.handles(request)) {
            plugin.validate(request, object).await?;
        }
        Ok(())
    }
}

/// Brings namespace and version of a new object in line with the path.
fn check_meta(path: Path<'_>, meta: &mut ObjectMeta) -> Result<()> {
    if meta.resource_version.as_deref().is_some_and(|version| !version.is_empty()) {
        return Err(Status::failure(
            500,
            Reason::Unknown,
            "resourceVersion should not be set on objects to be created",
        )
        .into());
    }
    meta.resource_version = None;
    adopt_namespace(path, meta)
}

/// Fills in the path's namespace, or refuses another one.
pub(super) fn adopt_namespace(path: Path<'_>, meta: &mut ObjectMeta) -> Result<()> {
    let sent = meta.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    match (path.namespace, sent) {
        (Some(namespace), None) => meta.namespace = Some(namespace.to_owned()),
        (Some(namespace), Some(sent)) if sent != namespace => {
            return Err(Status::bad_request(format!(
                "the namespace of the provided object does not match the namespace sent on the \
                 request: {sent:?} is not {namespace:?}"
            ))
            .into());
        }
        (None, None) if path.resource.namespaced => {
            return Err(Status::bad_request("namespace is required on this request").into());
        }
        _ => {}
    }
    Ok(())
}

/// Makes a name up if one is wanted.
fn generate_name(random: &kcore::random::Random, meta: &mut ObjectMeta) -> bool {
    let named = meta.name.as_deref().is_some_and(|name| !name.is_empty());
    let Some(prefix) = meta.generate_name.as_deref().filter(|p| !named && !p.is_empty()) else {
        return false;
    };
    let mut end = prefix.len().min(MAX_GENERATED_PREFIX);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    meta.name = Some(format!("{}{}", &prefix[..end], random.name_suffix(SUFFIX_LETTERS)));
    true
}

fn exists(row: &Row, name: &str) -> Status {
    Status::already_exists(&row.resource.group, &row.resource.plural, name)
}
