//! Changing objects in place.

use kcore::client::{Body, Patch, Path, WriteOptions};
use kcore::kind::Typed;
use kcore::object::Object;
use kcore::status::{Reason, Status};
use parking_lot::Mutex;

use super::track::{Applied, Track};
use super::update::{Change, Update, Written};
use super::{Identity, Result, Server};
use crate::patch;
use crate::registry::{Row, Subresource};
use crate::schema::{self, FieldValidation};

/// What a patch holds that is to be applied to one version alone.
const VERSION: &[u8] = b"resourceVersion";

/// What a patch holds that has to do with managers; one that merges and does not works on an object
/// without them.
const MANAGERS: &[u8] = b"managed";

/// A change that a patch describes.
struct Patched {
    patch: Patch,
    /// What is done about fields that are unknown or occur twice; nothing for a client that does
    /// not ask.
    fields: Option<FieldValidation>,
    /// What the client is warned of, by the last try.
    warnings: Mutex<Vec<String>>,
}

impl Patched {
    /// Whether the patch holds a text, wherever. What cannot be looked through holds any.
    fn mentions(&self, text: &[u8]) -> bool {
        let (Patch::Json(sent) | Patch::Merge(sent) | Patch::Strategic(sent)) = &self.patch else {
            return true;
        };
        sent.windows(text.len()).any(|window| window == text)
    }
}

impl Change for Patched {
    fn pins(&self) -> bool {
        // Otherwise the version is only what the patch was applied to, and it can be again.
        self.mentions(VERSION)
    }

    fn apply(&self, server: &Server, row: &Row, current: &Object) -> Result<Box<dyn Typed>> {
        let merges = matches!(self.patch, Patch::Merge(_) | Patch::Strategic(_));
        let json = match merges && !self.mentions(MANAGERS) {
            true => current.to_unmanaged_json(),
            false => current.to_json(),
        };
        let (sent, patched) = match &self.patch {
            Patch::Json(patch) => (patch, patch::json(&json, patch)),
            Patch::Merge(patch) => (patch, patch::merge(&json, patch)),
            Patch::Strategic(patch) => (patch, patch::strategic(&json, patch, row.schema.tree())),
            _ => return Err(unsupported().into()),
        };
        let patched = patched.map_err(|error| error.into_status(row, current))?;
        if let Some(directive) = self.fields.filter(|one| *one != FieldValidation::Ignore) {
            let mut problems = schema::duplicates(sent);
            problems.extend(schema::check(row.schema.tree(), &patched));
            let warnings = patch::judge_fields(sent, &problems, directive)?;
            *self.warnings.lock() = warnings;
        }
        server.decode(row, Body::Json(patched.into()))
    }
}

impl Server {
    /// Changes an object, or its status, in place; also returns what to warn the client of.
    pub(crate) async fn patch(
        &self,
        user: &Identity,
        path: Path<'_>,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<(Written, Vec<String>)> {
        self.ready_to_write().await?;
        let row = self.row(path.resource)?;
        let subresource = self.writable(row, path, "patch")?;
        self.authorize_path(user, "patch", path).await?;
        if subresource == Some(Subresource::Scale) {
            let scale = self.patch_scale(user, row, path, patch, options).await?;
            return Ok((Written { object: scale, created: false }, Vec::new()));
        }
        if let Patch::Apply(sent) = &patch {
            let change = Applied::new(row, sent, user, options, subresource)?;
            let change = change.stored(self, row).await?;
            let update = Update { user, path, row, subresource, options, track: Track::Done };
            return Ok((self.change(&update, &change).await?, Vec::new()));
        }
        let track = Track::Changes;
        let update = Update { user, path, row, subresource, options, track };
        let fields = match options.field_validation.as_str() {
            "" => None,
            text => Some(text.parse().map_err(Status::bad_request)?),
        };
        let change = Patched { patch, fields, warnings: Mutex::default() };
        let written = self.change(&update, &change).await?;
        Ok((written, change.warnings.into_inner()))
    }
}

pub(super) fn unsupported() -> Status {
    Status::failure(
        415,
        Reason::UnsupportedMediaType,
        "the body of the request was in an unknown format - accepted media types include: \
         application/json-patch+json, application/merge-patch+json, \
         application/strategic-merge-patch+json",
    )
}
