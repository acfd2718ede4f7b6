//! Carries out what the collector decides, after a live read of all it concerns (D5).

use std::sync::Arc;

use kcore::client::{DeleteOptions, DynClient, GetOptions, Patch, Path};
use kcore::name::Resource;
use kcore::object::{Meta, Object, Owner};
use serde_json::{Value, json};

use super::graph::{Graph, Item};
use super::plan::{FOREGROUND, ORPHAN, OwnerState, Verdict, judge};
use crate::{Error, Result};

/// One look at one object.
pub(super) struct Collect<'a> {
    pub(super) client: &'a DynClient,
    pub(super) graph: &'a Graph,
}

fn path<'a>(resource: &'a Resource, namespace: &'a str, name: &'a str) -> Path<'a> {
    Path::object(resource, resource.namespaced.then_some(namespace), name)
}

impl Collect<'_> {
    pub(super) async fn process(&self, item: &Item) -> Result<()> {
        let Some(cached) = self.graph.get(item) else { return Ok(()) };
        let meta = cached.meta();
        let has = |finalizer: &str| meta.finalizers.iter().any(|one| one == finalizer);
        if meta.deletion.is_some() {
            if has(FOREGROUND) {
                return self.finish_foreground(item, meta).await;
            }
            if has(ORPHAN) {
                return self.finish_orphan(item, meta).await;
            }
            return Ok(());
        }
        if self.graph.is_settled(meta) {
            return Ok(());
        }
        self.attempt(item).await
    }

    /// The object as the server has it now, if it is still that one.
    async fn live(&self, item: &Item) -> Result<Option<Object>> {
        let at = path(&item.resource, &item.key.namespace, &item.key.name);
        match self.client.get(at, &GetOptions::default().metadata_only()).await {
            Ok(object) => Ok((object.meta().uid == item.uid).then_some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn owner_state(&self, item: &Item, owner: &Owner) -> Result<OwnerState> {
        let Some(resource) = self.graph.resource_of(owner) else {
            return Ok(OwnerState::Unresolvable);
        };
        if resource.namespaced && !item.resource.namespaced {
            return Ok(OwnerState::Unresolvable);
        }
        let at = path(&resource, &item.key.namespace, &owner.name);
        let live = match self.client.get(at, &GetOptions::default().metadata_only()).await {
            Ok(live) => live,
            Err(error) if error.is_not_found() => return Ok(OwnerState::Absent),
            Err(error) => return Err(error.into()),
        };
        let meta = live.meta();
        if meta.uid != owner.uid {
            return Ok(OwnerState::Absent);
        }
        let waiting =
            meta.deletion.is_some() && meta.finalizers.iter().any(|one| one == FOREGROUND);
        Ok(if waiting { OwnerState::Waiting } else { OwnerState::Solid })
    }

    async fn attempt(&self, item: &Item) -> Result<()> {
        let Some(live) = self.live(item).await? else { return Ok(()) };
        let meta = live.meta();
        let mut states = Vec::with_capacity(meta.owners.len());
        for owner in &meta.owners {
            states.push(self.owner_state(item, owner).await?);
        }
        let dependents = self.graph.dependents(&item.resource, meta);
        match judge(meta, &states, !dependents.is_empty()) {
            Verdict::Keep => Ok(()),
            Verdict::Unlink => {
                let solid = states.iter().zip(&meta.owners);
                let solid = solid.filter(|(state, _)| **state == OwnerState::Solid);
                let owners: Vec<Value> = solid.map(|(_, owner)| render(owner, None)).collect();
                self.patch(item, &live, json!({ "ownerReferences": owners })).await
            }
            Verdict::Delete(propagation) => {
                let circle = dependents.iter().any(|(_, one)| {
                    let meta = one.meta();
                    meta.deletion.is_some() && meta.finalizers.iter().any(|one| one == FOREGROUND)
                });
                let mut version = live.resource_version();
                if circle && meta.owners.iter().any(|owner| owner.block_deletion) {
                    // Two that wait for each other would wait for ever.
                    let owners: Vec<Value> =
                        meta.owners.iter().map(|owner| render(owner, Some(false))).collect();
                    self.patch(item, &live, json!({ "ownerReferences": owners })).await?;
                    let Some(again) = self.live(item).await? else { return Ok(()) };
                    version = again.resource_version();
                }
                let options = DeleteOptions::default().uid(item.uid.as_str());
                let options = options.resource_version(version).propagation(propagation);
                let at = path(&item.resource, &item.key.namespace, &item.key.name);
                ignore_gone(self.client.delete(at, &options).await.map(drop))
            }
        }
    }

    /// Lets an owner go whose blocking dependents are gone; has the others looked at.
    async fn finish_foreground(&self, item: &Item, meta: &Meta) -> Result<()> {
        let dependents = self.graph.dependents(&item.resource, meta);
        let blocks = |object: &Object| {
            let owners = &object.meta().owners;
            owners.iter().any(|owner| owner.uid == item.uid && owner.block_deletion)
        };
        if dependents.iter().any(|(_, object)| blocks(object)) {
            for (resource, object) in &dependents {
                if object.meta().deletion.is_none() {
                    self.graph.queue_dependent(resource, object);
                }
            }
            return Ok(());
        }
        self.remove_finalizer(item, FOREGROUND).await
    }

    /// Makes the dependents forget their owner, then lets it go (D2).
    async fn finish_orphan(&self, item: &Item, meta: &Meta) -> Result<()> {
        for (resource, object) in self.graph.dependents(&item.resource, meta) {
            let key = object.meta().key();
            let uid = object.meta().uid.clone();
            let dependent = Item { resource: Arc::clone(&resource), key, uid };
            let Some(live) = self.live(&dependent).await? else { continue };
            let others = live.meta().owners.iter().filter(|owner| owner.uid != item.uid);
            let owners: Vec<Value> = others.map(|owner| render(owner, None)).collect();
            if owners.len() < live.meta().owners.len() {
                self.patch(&dependent, &live, json!({ "ownerReferences": owners })).await?;
            }
        }
        self.remove_finalizer(item, ORPHAN).await
    }

    async fn remove_finalizer(&self, item: &Item, finalizer: &str) -> Result<()> {
        let Some(live) = self.live(item).await? else { return Ok(()) };
        let left: Vec<&String> =
            live.meta().finalizers.iter().filter(|one| *one != finalizer).collect();
        if left.len() == live.meta().finalizers.len() {
            return Ok(());
        }
        self.patch(item, &live, json!({ "finalizers": left })).await
    }

    /// Changes an object's metadata, if it is still as it was read (C8).
    async fn patch(&self, item: &Item, live: &Object, mut metadata: Value) -> Result<()> {
        metadata["uid"] = json!(item.uid);
        metadata["resourceVersion"] = json!(live.resource_version().to_string());
        let patch = json!({ "metadata": metadata }).to_string();
        let at = path(&item.resource, &item.key.namespace, &item.key.name);
        let result = self.client.patch(at, Patch::Merge(patch.into()), &Default::default()).await;
        ignore_gone(result.map(drop))
    }
}

fn render(owner: &Owner, block: Option<bool>) -> Value {
    let mut value = json!({"apiVersion": owner.api_version, "kind": owner.kind,
        "name": owner.name, "uid": owner.uid});
    if owner.controller {
        value["controller"] = json!(true);
    }
    let block = block.or(owner.block_deletion.then_some(true));
    if let Some(block) = block {
        value["blockOwnerDeletion"] = json!(block);
    }
    value
}

fn ignore_gone(result: kcore::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        result => result.map_err(Error::from),
    }
}
