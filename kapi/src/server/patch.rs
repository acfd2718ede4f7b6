//! Changing objects in place.

use kcore::client::{Body, Patch, Path, WriteOptions};
use kcore::kind::Typed;
use kcore::object::Object;
use kcore::status::{Reason, Status};

use super::subresource::{Rescale, decode};
use super::update::{Change, Update};
use super::{Identity, Result, Server};
use crate::patch;
use crate::registry::{Row, Subresource};

/// A change that a patch describes.
struct Patched(Patch);

impl Change for Patched {
    fn apply(&self, server: &Server, row: &Row, current: &Object) -> Result<Box<dyn Typed>> {
        let json = current.to_json();
        let patched = match &self.0 {
            Patch::Json(patch) => patch::json(&json, patch),
            Patch::Merge(patch) => patch::merge(&json, patch),
            Patch::Strategic(patch) => patch::strategic(&json, patch, &(row.schema.name)()),
            _ => return Err(unsupported().into()),
        };
        let patched = patched.map_err(|error| error.into_status(row, current))?;
        server.decode(row, Body::Json(patched.into()))
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

impl Server {
    /// Changes an object, or its status, in place.
    pub(crate) async fn patch(
        &self,
        user: &Identity,
        path: Path<'_>,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Object> {
        self.ready().await?;
        let row = self.row(path.resource)?;
        let subresource = self.writable(row, path, "patch")?;
        self.authorize_path(user, "patch", path).await?;
        if matches!(patch, Patch::Apply(_)) {
            return Err(unsupported().into());
        }
        if subresource == Some(Subresource::Scale) {
            return self.set_scale(user, row, path, &PatchedScale(patch), options).await;
        }
        let update = Update { user, path, row, subresource, options };
        self.change(&update, &Patched(patch)).await
    }
}

fn unsupported() -> Status {
    Status::failure(
        415,
        Reason::UnsupportedMediaType,
        "the body of the request was in an unknown format - accepted media types include: \
         application/json-patch+json, application/merge-patch+json, \
         application/strategic-merge-patch+json",
    )
}
