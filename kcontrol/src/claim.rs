//! Adoption and release: whose an object is.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#non-template-pod-acquisitions>

use std::sync::Arc;

use kcore::client::{Api, Patch};
use kcore::informer::Index;
use kcore::kind::Kind;
use kcore::object::{controller_of, controller_reference};
use kcore::selector::LabelSelector;
use serde_json::json;

use crate::reconciler::Context;
use crate::{Error, Result};

/// What is to be done about the objects that an owner has or could have.
#[derive(Debug)]
pub struct Claims<K> {
    /// Objects it has, and that its selector selects.
    pub keep: Vec<Arc<K>>,
    /// Objects that nobody manages and that its selector selects.
    pub adopt: Vec<Arc<K>>,
    /// Objects it has, and that its selector does not select any more.
    pub release: Vec<Arc<K>>,
}

/// Decides whose the objects are. An owner that is being deleted adopts nothing and releases
/// nothing, and nobody adopts what is being deleted.
#[must_use]
pub fn plan_claims<O: Kind, K: Kind>(
    owner: &O,
    selector: &LabelSelector,
    objects: Vec<Arc<K>>,
) -> Claims<K> {
    let uid = owner.metadata().uid.as_deref().unwrap_or_default();
    let owner_stays = owner.metadata().deletion_timestamp.is_none();
    let none = std::collections::BTreeMap::new();
    let mut claims = Claims { keep: Vec::new(), adopt: Vec::new(), release: Vec::new() };
    for object in objects {
        let meta = object.metadata();
        let selected = selector.matches(meta.labels.as_ref().unwrap_or(&none));
        let object_stays = meta.deletion_timestamp.is_none();
        match controller_of(meta) {
            Some(manager) if manager.uid != uid => {}
            Some(_) if selected => claims.keep.push(object),
            Some(_) if owner_stays => claims.release.push(object),
            None if selected && owner_stays && object_stays => claims.adopt.push(object),
            _ => {}
        }
    }
    claims
}

/// The cached objects that `owner` has or could have: its own, and those nobody manages.
pub(crate) fn candidates<O: Kind, K: Kind>(ctx: &Context, owner: &O) -> Vec<Arc<K>> {
    let meta = owner.metadata();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let informer = ctx.informers().of::<K>();
    let orphans = informer.objects().add_index("orphans", |object| {
        let free = object.meta().controller().is_none();
        free.then(|| object.meta().namespace.clone()).into_iter().collect()
    });
    let lister = ctx.lister::<K>();
    let mut found = lister.by_index(Index::OWNER_UID, meta.uid.as_deref().unwrap_or_default());
    found.retain(|object| object.metadata().namespace.as_deref() == Some(namespace));
    found.retain(|object| controller_of(object.metadata()).is_some());
    found.extend(lister.by_index(orphans, namespace));
    found
}

/// Adopts and releases, and returns what the owner has then.
///
/// # Errors
/// Those of the API; [`Error::Replaced`] if the owner is another one by now.
pub(crate) async fn claim<O: Kind, K: Kind>(
    ctx: &Context,
    owner: &O,
    selector: &LabelSelector,
    objects: Vec<Arc<K>>,
) -> Result<Vec<Arc<K>>> {
    let namespace = owner.metadata().namespace.clone().unwrap_or_default();
    let api: Api<K> = ctx.api(&namespace);
    let Claims { keep: mut owned, adopt, release } = plan_claims(owner, selector, objects);
    if !adopt.is_empty() {
        // A cache that lags must not make a deleted owner adopt.
        recheck(ctx, owner).await?;
    }
    for object in adopt {
        let patch = json!({"metadata": {
            "uid": object.metadata().uid, "ownerReferences": [controller_reference(owner)]}});
        owned.extend(patch_owner(&api, &*object, &patch).await?);
    }
    for object in release {
        let patch = json!({"metadata": {"uid": object.metadata().uid, "ownerReferences": [
            {"$patch": "delete", "uid": owner.metadata().uid}]}});
        patch_owner(&api, &*object, &patch).await?;
    }
    Ok(owned)
}

/// Patches an object's owners; one that is gone or another by now is nobody's business.
async fn patch_owner<K: Kind>(
    api: &Api<K>,
    object: &K,
    patch: &serde_json::Value,
) -> Result<Option<Arc<K>>> {
    let name = object.metadata().name.as_deref().unwrap_or_default();
    match api.patch(name, Patch::Strategic(patch.to_string().into())).await {
        Ok(patched) => Ok(Some(patched)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn recheck<O: Kind>(ctx: &Context, owner: &O) -> Result<()> {
    let meta = owner.metadata();
    let api: Api<O> = ctx.api(meta.namespace.as_deref().unwrap_or_default());
    let name = meta.name.as_deref().unwrap_or_default();
    let live = api.get_opt(name).await?;
    let same = |live: &Arc<O>| {
        live.metadata().uid == meta.uid && live.metadata().deletion_timestamp.is_none()
    };
    if live.as_ref().is_some_and(same) {
        return Ok(());
    }
    Err(Error::Replaced { object: format!("{} {name:?}", O::KIND) })
}

/// Reads an object's selector.
///
/// # Errors
/// [`Error::Selector`] if it cannot be read.
pub(crate) fn selector_of<K: Kind>(
    object: &K,
    selector: &k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector,
) -> Result<LabelSelector> {
    LabelSelector::from_api(Some(selector)).map_err(|source| Error::Selector {
        object: format!("{} {:?}", K::KIND, object.metadata().name.as_deref().unwrap_or_default()),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::ReplicaSet;
    use k8s_openapi::api::core::v1::Pod;

    #[test]
    fn objects_are_kept_adopted_and_released_by_selector_and_owner() {
        let owner = |deleting: bool| -> ReplicaSet {
            let mut meta = json!({"name": "web", "uid": "u1"});
            if deleting {
                meta["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            serde_json::from_value(json!({"metadata": meta, "spec": {"selector": {}}})).unwrap()
        };
        let pod = |name: &str, app: &str, uid: Option<&str>| -> Arc<Pod> {
            let owners = uid.map(|uid| {
                json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet",
                "name": "web", "uid": uid, "controller": true}])
            });
            Arc::new(
                serde_json::from_value(json!({"metadata": {"name": name,
                    "labels": {"app": app}, "ownerReferences": owners}}))
                .unwrap(),
            )
        };
        let selector: LabelSelector = "app=web".parse().unwrap();
        let pods = || {
            vec![
                pod("mine", "web", Some("u1")),
                pod("strayed", "other", Some("u1")),
                pod("free", "web", None),
                pod("free-other", "other", None),
                pod("theirs", "web", Some("u2")),
            ]
        };
        let names = |pods: &[Arc<Pod>]| -> Vec<String> {
            pods.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect()
        };
        let claims = plan_claims(&owner(false), &selector, pods());
        assert_eq!(names(&claims.keep), ["mine"]);
        assert_eq!(names(&claims.adopt), ["free"]);
        assert_eq!(names(&claims.release), ["strayed"]);
        let claims = plan_claims(&owner(true), &selector, pods());
        assert_eq!(names(&claims.keep), ["mine"]);
        assert!(claims.adopt.is_empty() && claims.release.is_empty());
    }
}
