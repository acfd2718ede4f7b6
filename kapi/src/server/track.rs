//! Who manages the fields that a write changes, and server-side apply.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>

use kcore::client::{Body, WriteOptions};
use kcore::kind::Typed;
use kcore::object::Object;
use kcore::status::{Cause, Reason, Status};
use serde_json::Value;
use serde_json::value::RawValue;

use super::decode::{to_stored, typed_of};
use super::update::{Change, Update};
use super::{Identity, Result, Server};
use crate::fields::{
    Conflict, LAST_APPLIED, Manager, Managers, Set, Shape, as_last_applied, beyond, blank_json,
    compare, is_reset, last_applied, managed,
};
use crate::registry::{Row, Subresource};
use crate::schema::{self, Tree};

/// The manager whose applies take over what client-side apply wrote.
const KUBECTL: &str = "kubectl";

/// How a write says who manages what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Track {
    /// Whoever writes manages what changes.
    Changes,
    /// The object says already who manages what.
    Done,
    /// Nobody manages what changes, and who managed something goes on: the server's own writes.
    Nobody,
}

/// Who manages what a request changes.
pub(super) fn manager_of<'a>(user: &'a Identity, options: &'a WriteOptions) -> &'a str {
    match options.field_manager.as_str() {
        "" => user.field_manager(),
        named => named,
    }
}

impl Server {
    /// Makes the creator of an object the manager of all that it holds. Returns the managers as
    /// JSON; nothing if there is nothing to manage.
    pub(super) fn track_create(
        &self,
        user: &Identity,
        row: &Row,
        typed: &mut dyn Typed,
        options: &WriteOptions,
    ) -> Result<Vec<u8>> {
        let meta = typed.meta_mut();
        meta.managed_fields = None;
        meta.resource_version = None;
        let json = encode(typed)?;
        let api_version = row.resource.api_version();
        let kind = format!("{api_version}/{}", row.resource.kind);
        let shape = Shape::of(&kind, row.schema.tree(), &json);
        let fields = self.shapes.get(shape, || fields_of_new(row, &json))?;
        let Some(fields) = fields.as_deref() else { return Ok(Vec::new()) };
        let name = manager_of(user, options);
        let now = self.options.clock.now();
        let who = Manager { name, api_version: &api_version, subresource: "", now };
        who.encode_creator(fields).map_err(|error| Status::internal(error).into())
    }

    /// Makes whoever updates an object the manager of what changes.
    pub(super) fn track_update(
        &self,
        update: &Update<'_>,
        row: &Row,
        new: &mut dyn Typed,
        old: &Object,
    ) -> Result<()> {
        let known = old.managed_fields().map_err(Status::internal)?;
        let meta = new.meta_mut();
        meta.resource_version = None;
        let sent = meta.managed_fields.take();
        let reset = is_reset(sent.as_deref()) && update.path.subresource.is_empty();
        let sent = sent.filter(|_| update.path.subresource.is_empty());
        let mut managers = match sent {
            _ if reset => Managers::default(),
            Some(sent) if Some(&sent) != known.as_ref() => Managers::decode(Some(sent)),
            _ => Managers::default(),
        };
        if managers.is_empty() && !reset {
            managers = Managers::known(known);
        }
        // Nobody tracks what was not tracked from the beginning, until somebody applies.
        if !managers.is_empty() {
            let json = encode(new)?;
            let tree = row.schema.tree();
            let changed = compare(tree, old.encoded().bytes(), &json).map_err(Status::internal)?;
            if !changed.is_empty() {
                let api_version = row.resource.api_version();
                managers.update(
                    changed,
                    &Manager {
                        name: manager_of(update.user, update.options),
                        api_version: &api_version,
                        subresource: update.path.subresource,
                        now: self.options.clock.now(),
                    },
                );
            }
        }
        new.meta_mut().managed_fields = managers.encode();
        Ok(())
    }
}

/// What the creator of an object manages of it, as JSON; `None` if that is nothing.
fn fields_of_new(row: &Row, json: &[u8]) -> Result<Option<Box<RawValue>>> {
    let tree = row.schema.tree();
    let changed = compare(tree, blank_json(tree), json).map_err(Status::internal)?;
    let mut fields = managed(changed);
    if row.status.is_some() && !row.strategy.keeps_status_on_create() {
        // The status of a new object is not the creator's.
        let mut status = Set::default();
        status.insert(&["f:status"]);
        fields.subtract_below(&status);
    }
    let fields = Some(fields.into_tree()).filter(|tree| !tree.is_empty());
    let json = fields.as_ref().map(serde_json::value::to_raw_value).transpose();
    json.map_err(|error| Status::internal(error).into())
}

fn encode(typed: &dyn Typed) -> Result<Vec<u8>> {
    let mut json = Vec::with_capacity(1024);
    typed.encode(&mut json).map_err(Status::internal)?;
    Ok(json)
}

/// A part of an object that somebody applies.
pub(super) struct Applied<'a> {
    config: Value,
    user: &'a Identity,
    options: &'a WriteOptions,
    subresource: &'a str,
}

impl<'a> Applied<'a> {
    /// Takes what was sent: YAML or JSON.
    pub(super) fn new(
        row: &Row,
        sent: &[u8],
        user: &'a Identity,
        options: &'a WriteOptions,
        subresource: Option<Subresource>,
    ) -> Result<Self> {
        let mut config = parse(sent)?;
        let api_version = row.resource.api_version();
        let tree = row.schema.tree();
        check_config(
            ApiKind { api_version: &api_version, kind: &row.resource.kind, tree },
            &config,
        )?;
        let subresource = subresource.map_or("", Subresource::name);
        restrict(row, &mut config, subresource);
        Ok(Self { config, user, options, subresource })
    }

    /// Brings what was applied into the version in which objects are stored.
    pub(super) async fn stored(mut self, server: &Server, row: &Row) -> Result<Self> {
        if row.stored_as.is_some() {
            let json = self.config.to_string().into_bytes();
            let typed = to_stored(row, server.decode(row, Body::Json(json.into()))?).await?;
            self.config = serde_json::from_slice(&encode(&*typed)?).map_err(Status::internal)?;
        }
        Ok(self)
    }
}

impl Change for Applied<'_> {
    fn pins(&self) -> bool {
        self.config["metadata"]["resourceVersion"].is_string()
    }

    fn is_of_stored(&self) -> bool {
        true
    }

    fn apply(&self, server: &Server, row: &Row, current: &Object) -> Result<Box<dyn Typed>> {
        let config = &self.config;
        let mut live = typed_of(current)?.boxed_clone();
        let meta = live.meta_mut();
        let version = meta.resource_version.take();
        let known = current.managed_fields().map_err(Status::internal)?;
        let mut managers = Managers::known(known);
        let exists = meta.uid.is_some();
        let live: Value = match exists {
            true => serde_json::from_slice(&encode(&*live)?).map_err(Status::internal)?,
            false => Value::Object(serde_json::Map::new()),
        };
        let api_version = row.resource.api_version();
        let name = manager_of(self.user, self.options);
        let now = server.options.clock.now();
        let who = Manager { name, api_version: &api_version, subresource: self.subresource, now };
        let tree = row.schema.tree();
        if exists {
            managers.begin(tree, &live, &who);
        }
        let merged = match managers.apply(tree, &live, config, &who, self.options.force) {
            Err(conflicts) if name == KUBECTL => {
                let allowed = last_applied(tree, &live).unwrap_or_default();
                let conflicts = beyond(conflicts, &allowed);
                if !conflicts.is_empty() {
                    return Err(conflict(&conflicts).into());
                }
                managers.apply(tree, &live, config, &who, true)
            }
            outcome => outcome,
        };
        let mut merged = merged.map_err(|conflicts| conflict(&conflicts))?;
        let annotations = &mut merged["metadata"]["annotations"];
        if name == KUBECTL && annotations[LAST_APPLIED].is_string() {
            annotations[LAST_APPLIED] = as_last_applied(config).into();
        }
        let json = merged.to_string().into_bytes();
        let mut typed = server.decode(row, Body::Json(json.into()))?;
        let meta = typed.meta_mut();
        meta.managed_fields = managers.encode();
        if meta.resource_version.is_none() {
            meta.resource_version = version;
        }
        Ok(typed)
    }
}

/// Reads what was sent to be applied.
pub(super) fn parse(sent: &[u8]) -> Result<Value> {
    let bad = |why| Status::bad_request(format!("error decoding YAML: {why}")).into();
    crate::yaml::parse(sent).map_err(bad)
}

/// The kind of which something is applied.
#[derive(Clone, Copy)]
pub(super) struct ApiKind<'a> {
    pub(super) api_version: &'a str,
    pub(super) kind: &'a str,
    pub(super) tree: &'a Tree,
}

/// Refuses what cannot be applied at all.
pub(super) fn check_config(of: ApiKind<'_>, config: &Value) -> Result<()> {
    let text = |name: &str| config[name].as_str().unwrap_or_default();
    if text("kind").is_empty() {
        return Err(Status::bad_request(format!("Object 'Kind' is missing in '{config}'")).into());
    }
    let (sent, expected) = (text("apiVersion"), of.api_version);
    if sent != expected || text("kind") != of.kind {
        let words = match sent == expected {
            false => format!(
                "Incorrect version specified in apply patch. Specified patch version: {sent}, \
                 expected: {expected}"
            ),
            true => format!(
                "the kind in the data ({}) does not match the expected kind ({})",
                text("kind"),
                of.kind
            ),
        };
        return Err(Status::bad_request(words).into());
    }
    if !config["metadata"]["managedFields"].is_null() {
        return Err(Status::bad_request("metadata.managedFields must be nil").into());
    }
    let json = config.to_string();
    let unknown: Vec<String> = schema::check(of.tree, json.as_bytes())
        .into_iter()
        .filter_map(|problem| match problem {
            schema::Problem::Unknown(path) => {
                Some(format!(".{path}: field not declared in schema"))
            }
            _ => None,
        })
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let meta = &config["metadata"];
    let part = |name: &str| meta[name].as_str().unwrap_or_default();
    Err(Status::failure(
        500,
        Reason::Unknown,
        format!(
            "failed to create typed patch object ({}/{}; {expected}, Kind={}): {}",
            part("namespace"),
            part("name"),
            of.kind,
            unknown.join("\n")
        ),
    )
    .into())
}

/// Leaves of what was applied what the path writes: the status, or everything else.
fn restrict(row: &Row, config: &mut Value, subresource: &str) {
    let Some(members) = config.as_object_mut() else { return };
    if subresource == Subresource::Status.name() {
        members.retain(|name, _| {
            matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status")
        });
        if let Some(meta) = members.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.retain(|name, _| {
                matches!(
                    name.as_str(),
                    "name" | "namespace" | "annotations" | "uid" | "resourceVersion"
                )
            });
        }
    } else if row.status.is_some() {
        members.remove("status");
    }
}

/// 409, naming who has which of the fields.
pub(super) fn conflict(conflicts: &[Conflict]) -> Status {
    let mut causes = Vec::new();
    let mut by_manager: Vec<(&str, Vec<String>)> = Vec::new();
    for conflict in conflicts {
        let paths = conflict.fields.paths();
        causes.extend(paths.iter().map(|path| Cause {
            reason: "FieldManagerConflict".to_owned(),
            message: format!("conflict with {}", conflict.manager),
            field: path.clone(),
        }));
        by_manager.push((&conflict.manager, paths));
    }
    by_manager.sort();
    let words = match causes.as_slice() {
        [only] => format!("Apply failed with 1 conflict: {}: {}", only.message, only.field),
        all => {
            let list: Vec<String> = by_manager
                .iter()
                .map(|(manager, paths)| {
                    let paths: Vec<String> = paths.iter().map(|path| format!("- {path}")).collect();
                    format!("conflicts with {manager}:\n{}", paths.join("\n"))
                })
                .collect();
            format!("Apply failed with {} conflicts: {}", all.len(), list.join("\n"))
        }
    };
    Status::failure(409, Reason::Conflict, words).because(causes)
}
