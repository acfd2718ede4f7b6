//! Replicas of objects, read and written through their `scale`.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#subresources>

use std::sync::Arc;

use k8s_openapi::api::autoscaling::v1::Scale;
use kcore::client::{Body, Patch, Path, WriteOptions};
use kcore::kind::Typed;
use kcore::object::Object;
use kcore::status::Status;
use serde_json::Value;

use super::decode::typed_of;
use super::patch::unsupported;
use super::subresource::decode;
use super::track::{ApiKind, Track, check_config, conflict, manager_of, parse};
use super::update::{Change, Update};
use super::{Identity, Result, Server};
use crate::fields::{Manager, Managers};
use crate::patch;
use crate::registry::{Row, ScalePart, Subresource};
use crate::schema::SchemaSource;

/// What a scale is checked and merged by.
static SCHEMA: SchemaSource = SchemaSource::of::<Scale>();

impl Server {
    /// Reads the scale of an object.
    pub(super) fn scale_of(&self, row: &Row, object: &Object) -> Result<Object> {
        let part = scale_part(row)?;
        let typed = typed_of(object)?;
        let scale = (part.get)(&*typed);
        Object::from_typed(scale).map_err(|error| Status::internal(error).into())
    }

    /// Sets the replicas of an object through its scale.
    pub(super) async fn set_scale(
        &self,
        user: &Identity,
        row: &Arc<Row>,
        path: Path<'_>,
        change: &dyn Change,
        (options, track): (&WriteOptions, Track),
    ) -> Result<Object> {
        scale_part(row)?;
        let subresource = Some(Subresource::Scale);
        let update = Update { user, path, row, subresource, options, track };
        let written = self.change(&update, change).await?;
        self.scale_of(row, &written.object)
    }

    /// Changes the scale of an object in place.
    pub(super) async fn patch_scale(
        &self,
        user: &Identity,
        row: &Arc<Row>,
        path: Path<'_>,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Object> {
        if let Patch::Apply(sent) = &patch {
            let change = AppliedScale::new(sent, user, options)?;
            return self.set_scale(user, row, path, &change, (options, Track::Done)).await;
        }
        let change = PatchedScale(patch);
        self.set_scale(user, row, path, &change, (options, Track::Changes)).await
    }
}

fn scale_part(row: &Row) -> Result<&ScalePart> {
    row.scale.as_ref().ok_or_else(|| Status::no_such_path().into())
}

/// Replaces the replicas by a scale's.
pub(super) struct Rescale(pub(super) Scale);

impl Change for Rescale {
    fn apply(&self, _: &Server, row: &Row, current: &Object) -> Result<Box<dyn Typed>> {
        let mut typed = typed_of(current)?.boxed_clone();
        let replicas = self.0.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
        if replicas < 0 {
            let cause = kcore::status::Cause {
                reason: "FieldValueInvalid".to_owned(),
                message: format!("Invalid value: {replicas}: must be greater than or equal to 0"),
                field: "spec.replicas".to_owned(),
            };
            let name = &current.meta().name;
            return Err(Status::invalid("autoscaling", "Scale", name, vec![cause]).into());
        }
        (scale_part(row)?.set)(&mut *typed, replicas);
        // The version the scale was read at is the one the write is based on.
        let meta = typed.meta_mut();
        meta.resource_version.clone_from(&self.0.metadata.resource_version);
        if self.0.metadata.uid.is_some() {
            meta.uid.clone_from(&self.0.metadata.uid);
        }
        Ok(typed)
    }
}

/// A patch of an object's scale.
struct PatchedScale(Patch);

impl Change for PatchedScale {
    fn apply(&self, server: &Server, row: &Row, current: &Object) -> Result<Box<dyn Typed>> {
        let scale = server.scale_of(row, current)?.to_json();
        let patched = match &self.0 {
            Patch::Json(patch) => patch::json(&scale, patch),
            // A scale has no lists that strategies would merge.
            Patch::Merge(patch) | Patch::Strategic(patch) => patch::merge(&scale, patch),
            _ => return Err(unsupported().into()),
        };
        let patched = patched.map_err(|error| error.into_status(row, current))?;
        let scale = decode(Body::Json(patched.into()), "Scale")?;
        Rescale(scale).apply(server, row, current)
    }
}

/// A scale that somebody applies: of what its object says of managers, the replicas count.
struct AppliedScale<'a> {
    config: Value,
    user: &'a Identity,
    options: &'a WriteOptions,
}

impl<'a> AppliedScale<'a> {
    fn new(sent: &[u8], user: &'a Identity, options: &'a WriteOptions) -> Result<Self> {
        let mut config = parse(sent)?;
        let kind = ApiKind { api_version: "autoscaling/v1", kind: "Scale", tree: SCHEMA.tree() };
        check_config(kind, &config)?;
        if let Some(members) = config.as_object_mut() {
            members.remove("status");
        }
        Ok(Self { config, user, options })
    }
}

impl Change for AppliedScale<'_> {
    fn pins(&self) -> bool {
        self.config["metadata"]["resourceVersion"].is_string()
    }

    fn apply(&self, server: &Server, row: &Row, current: &Object) -> Result<Box<dyn Typed>> {
        let scale = server.scale_of(row, current)?;
        let live: Value =
            serde_json::from_slice(scale.encoded().bytes()).map_err(Status::internal)?;
        let all = Managers::known(current.managed_fields().map_err(Status::internal)?);
        let mut managers = all.of_scale();
        let api_version = row.resource.api_version();
        let who = Manager {
            name: manager_of(self.user, self.options),
            api_version: &api_version,
            subresource: Subresource::Scale.name(),
            now: server.options.clock.now(),
        };
        let tree = SCHEMA.tree();
        managers.begin(tree, &live, &who);
        let merged = managers
            .apply(tree, &live, &self.config, &who, self.options.force)
            .map_err(|conflicts| conflict(&conflicts))?;
        let merged = decode(Body::Json(merged.to_string().into()), "Scale")?;
        let mut typed = Rescale(merged).apply(server, row, current)?;
        let meta = typed.meta_mut();
        meta.managed_fields = all.with_scale(managers).encode();
        if meta.resource_version.is_none() {
            meta.resource_version = Some(current.resource_version().to_string());
        }
        Ok(typed)
    }
}
