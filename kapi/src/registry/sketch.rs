//! A custom resource in two versions behind a conversion that waits: what the table of kinds must
//! carry once definitions are served.

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kcore::client::{
    Body, Client, GetOptions, ListOptions, Patch, Path, WatchOptions, WriteOptions,
};
use kcore::collections::HashMap;
use kcore::kind::{Codec, Typed};
use kcore::name::Resource;
use kcore::status::Status;
use kstore::MemoryStore;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::conversion::{Conversion, StoredAs, Way};
use super::{Registry, Row, Subresource};
use crate::auth::Identity;
use crate::client::LocalClient;
use crate::schema::SchemaSource;
use crate::server::{Result, Server, ServerOptions};
use crate::strategy::{FieldErrors, Strategy};

/// An object of a kind that no Rust type describes.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Custom {
    #[serde(rename = "apiVersion", default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Typed for Custom {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
    fn encode(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        serde_json::to_writer(out, self)
    }
    fn boxed_clone(&self) -> Box<dyn Typed> {
        Box::new(self.clone())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
    fn into_shared(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send + Sync> {
        self
    }
}

fn custom(object: &dyn Typed) -> &Custom {
    object.as_any().downcast_ref().unwrap()
}

/// The rules of a custom resource: none of its own.
#[derive(Debug)]
struct CustomStrategy;

impl Strategy for CustomStrategy {
    fn apply_defaults(&self, _: &mut dyn Typed) {}
    fn prepare_create(&self, _: &mut dyn Typed) {}
    fn prepare_update(&self, _: &mut dyn Typed, _: &dyn Typed) {}
    fn prepare_status(&self, _: &mut dyn Typed, _: &dyn Typed) {}
    fn take_part(&self, _: Subresource, _: &mut dyn Typed, _: &dyn Typed) {}
    fn keeps_status_on_create(&self) -> bool {
        false
    }
    fn validate(&self, _: &dyn Typed, _: &mut FieldErrors) {}
    fn validate_update(&self, _: &dyn Typed, _: &dyn Typed, _: &mut FieldErrors) {}
    fn validate_status(&self, _: &dyn Typed, _: &dyn Typed, _: &mut FieldErrors) {}
    fn check_name(&self, _: &str) -> std::result::Result<(), String> {
        Ok(())
    }
    fn selectable(&self) -> &'static [&'static str] {
        &[]
    }
    fn indexed(&self) -> &'static [&'static str] {
        &[]
    }
    fn fields(&self, _: &dyn Typed) -> Vec<(&'static str, String)> {
        Vec::new()
    }
    fn unconditional_update(&self) -> bool {
        false
    }
    fn create_on_update(&self) -> bool {
        false
    }
    fn grace_period(&self, _: &dyn Typed, _: Option<i64>) -> Option<i64> {
        None
    }
    fn holds_deletion(&self, _: &dyn Typed) -> bool {
        false
    }
    fn begin_deletion(&self, _: &mut dyn Typed) {}
    fn returns_deleted(&self) -> bool {
        false
    }
    fn orphans_by_default(&self) -> bool {
        false
    }
    fn changes_generation(&self, _: &dyn Typed, _: &dyn Typed) -> bool {
        false
    }
}

/// Stands for a webhook: it takes its time, and knows `spec.size` of the old version as
/// `spec.replicas` of the stored one.
#[derive(Debug, Clone, Default)]
struct Webhook {
    calls: Arc<AtomicUsize>,
}

#[async_trait]
impl Conversion for Webhook {
    async fn convert(&self, objects: Vec<Box<dyn Typed>>, way: Way) -> Result<Vec<Box<dyn Typed>>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        let (version, from, to) = match way {
            Way::ToStored => ("v1", "size", "replicas"),
            Way::FromStored => ("v1beta1", "replicas", "size"),
        };
        let convert = |object: Box<dyn Typed>| {
            let mut object = custom(&*object).clone();
            object.api_version = format!("example.com/{version}");
            let spec = object.rest.get_mut("spec").and_then(Value::as_object_mut);
            let spec = spec.ok_or_else(|| Box::new(Status::bad_request("spec is missing")))?;
            if let Some(value) = spec.remove(from) {
                spec.insert(to.to_owned(), value);
            }
            Ok(Box::new(object) as Box<dyn Typed>)
        };
        objects.into_iter().map(convert).collect()
    }
}

fn row(version: &str, member: &str) -> Row {
    let schema = json!({"type": "object", "properties": {
        "apiVersion": {"type": "string"}, "kind": {"type": "string"},
        "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
        "spec": {"type": "object", "properties": {member: {"type": "integer"}}}}});
    Row {
        resource: Resource {
            group: "example.com".into(),
            version: version.to_owned().into(),
            plural: "widgets".into(),
            kind: "Widget".into(),
            namespaced: true,
        },
        number: 0,
        singular: "widget".to_owned(),
        short_names: vec!["wd".to_owned().into()],
        categories: Vec::new(),
        verbs: super::Verbs::All,
        subresources: Vec::new(),
        codec: Codec {
            type_id: TypeId::of::<Custom>(),
            decode: |bytes| {
                serde_json::from_slice::<Custom>(bytes).map(|object| Box::new(object) as _)
            },
        },
        schema: SchemaSource::published(format!("com.example.{version}.Widget"), schema),
        status: None,
        scale: None,
        same_spec: Some(|one, other| {
            custom(one).rest.get("spec") == custom(other).rest.get("spec")
        }),
        strategy: Box::new(CustomStrategy),
        durability: kstore::Durability::Durable,
        stored_as: None,
        print_as: None,
    }
}

/// A server that serves the built-in kinds and widgets in two versions.
fn server(webhook: &Webhook) -> Server {
    let mut rows = super::table::rows(None);
    let mut beta = row("v1beta1", "size");
    beta.stored_as =
        Some(StoredAs::new("example.com".to_owned(), "v1".to_owned(), webhook.clone()));
    rows.push(row("v1", "replicas"));
    rows.push(beta);
    let options = ServerOptions::default();
    Server::with_registry(Arc::new(MemoryStore::new()), options, Registry::of_rows(rows))
}

fn widget(version: &str, member: &str, count: i32) -> Body {
    let object = json!({"apiVersion": format!("example.com/{version}"), "kind": "Widget",
        "metadata": {"name": format!("w{count}")}, "spec": {member: count}});
    Body::Json(object.to_string().into())
}

#[tokio::test(start_paused = true)]
async fn a_custom_resource_is_served_in_two_versions_behind_a_webhook() {
    let webhook = Webhook::default();
    let client = LocalClient::new(Arc::new(server(&webhook)), Identity::admin());
    let (v1, beta) = (row("v1", "replicas").resource, row("v1beta1", "size").resource);
    let all = |resource| Path::collection(resource, Some("default"));
    let options = WriteOptions::default();
    for (resource, body) in [
        (&beta, widget("v1beta1", "size", 1)),
        (&beta, widget("v1beta1", "size", 2)),
        (&v1, widget("v1", "replicas", 3)),
    ] {
        client.create(all(resource), body, &options).await.unwrap();
    }
    let specs = async |resource| -> HashMap<String, Value> {
        let list = client.list(all(resource), &ListOptions::default()).await.unwrap();
        let spec = |object: &kcore::object::Object| {
            let value: Value = serde_json::from_slice(&object.to_json()).unwrap();
            assert_eq!(value["apiVersion"], *resource.api_version());
            (object.meta().name.clone(), value["spec"].clone())
        };
        list.items.iter().map(spec).collect()
    };
    assert_eq!(specs(&v1).await["w1"], json!({"replicas": 1}));
    let before = webhook.calls.load(Ordering::Relaxed);
    let found = specs(&beta).await;
    assert_eq!((found.len(), &found["w3"]), (3, &json!({"size": 3})));
    assert_eq!(webhook.calls.load(Ordering::Relaxed), before + 1, "a list is one batch");
    // Watched, patched and applied in either version, it is one object.
    let mut watch = client.watch(all(&beta), &WatchOptions::default()).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().len(), 3);
    let path = Path::object(&v1, Some("default"), "w1");
    let patch = Patch::Merge(r#"{"spec":{"replicas":7}}"#.into());
    client.patch(path, patch, &options).await.unwrap();
    let batch = watch.next().await.unwrap().unwrap();
    let seen: Value = serde_json::from_slice(&batch[0].object().unwrap().to_json()).unwrap();
    assert_eq!(seen["spec"], json!({"size": 7}));
    assert_eq!(seen["metadata"]["generation"], 2);
    let apply = json!({"apiVersion": "example.com/v1beta1", "kind": "Widget", "spec": {"size": 8}});
    let path = Path::object(&beta, Some("default"), "w1");
    let options = WriteOptions::default().field_manager("ours").force();
    let applied =
        client.patch(path, Patch::Apply(apply.to_string().into()), &options).await.unwrap();
    let applied: Value = serde_json::from_slice(&applied.to_json()).unwrap();
    assert_eq!(applied["spec"], json!({"size": 8}));
    let entry = &applied["metadata"]["managedFields"][0];
    assert_eq!(entry["apiVersion"], "example.com/v1");
    assert_eq!(entry["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    let stored = client.get(Path::object(&v1, Some("default"), "w1"), &GetOptions::default()).await;
    let stored: Value = serde_json::from_slice(&stored.unwrap().to_json()).unwrap();
    assert_eq!(stored["spec"], json!({"replicas": 8}));
}
