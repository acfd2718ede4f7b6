//! What hangs below an object and is no part of it: scale, binding, eviction.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Binding, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kcore::client::{Body, Path, WriteOptions};
use kcore::kind::Typed;
use kcore::object::Object;
use kcore::status::Status;

use super::decode::typed_of;
use super::track::Track;
use super::update::{Change, Update};
use super::{Identity, Result, Server};
use crate::registry::{Row, Subresource, cast_mut};
use crate::schema;

impl Server {
    /// Posts to a subresource.
    pub(super) async fn create_subresource(
        &self,
        user: &Identity,
        row: &Arc<Row>,
        path: Path<'_>,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Object> {
        match row.subresource(path.subresource) {
            Some(Subresource::Binding) => self.bind(user, row, path, body, options).await,
            Some(Subresource::Eviction) => self.evict(user, row, path, body).await,
            Some(Subresource::Token) => self.issue_token(user, path, body, options).await,
            Some(_) => {
                let resource = &row.resource;
                Err(Status::method_not_allowed(&resource.group, &resource.plural, "create").into())
            }
            None => Err(Status::no_such_path().into()),
        }
    }

    /// Binds a Pod to a node. A Pod is bound once (C11).
    async fn bind(
        &self,
        user: &Identity,
        row: &Arc<Row>,
        path: Path<'_>,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Object> {
        let binding: Binding = decode(body, "Binding")?;
        let node = binding.target.name.clone().unwrap_or_default();
        if binding.target.kind.as_deref().is_some_and(|kind| !matches!(kind, "" | "Node")) {
            return Err(Status::bad_request(format!(
                "target.kind: Unsupported value: {:?}: supported values: \"Node\"",
                binding.target.kind
            ))
            .into());
        }
        if node.is_empty() {
            return Err(Status::bad_request("target.name: Required value").into());
        }
        let change = Bind { binding, node, now: Time(self.options.clock.now()) };
        let subresource = Some(Subresource::Binding);
        // As upstream: no manager is told of where a Pod was bound.
        let track = Track::Nobody;
        let update = Update { user, path, row, subresource, options, track };
        self.change(&update, &change).await?;
        Object::from_json(&Status::success().to_json(), None)
            .map_err(|error| Status::internal(error).into())
    }
}

/// Decodes the body of a subresource that is a kind of its own.
pub(super) fn decode<K>(body: Body, kind: &str) -> Result<K>
where
    K: kcore::kind::Kind + schemars::JsonSchema,
{
    let bad = |error: String| Status::bad_request(format!("{kind} cannot be decoded: {error}"));
    match body {
        Body::Typed(typed) => match typed.into_any().downcast::<K>() {
            Ok(typed) => Ok(*typed),
            Err(_) => Err(bad("it is of another kind".to_owned()).into()),
        },
        Body::Json(json) => {
            schema::weigh_as::<K>(&json).map_err(Status::from)?;
            serde_json::from_slice(&json).map_err(|error| bad(error.to_string()).into())
        }
    }
}

struct Bind {
    binding: Binding,
    node: String,
    now: Time,
}

impl Change for Bind {
    fn apply(&self, _: &Server, row: &Row, current: &Object) -> Result<Box<dyn Typed>> {
        let mut typed = typed_of(current)?.boxed_clone();
        let resource = &row.resource;
        let name = &current.meta().name;
        let conflict = |why: String| Status::conflict(&resource.group, "pods/binding", name, &why);
        if let Some(uid) = self.binding.metadata.uid.as_deref().filter(|uid| !uid.is_empty())
            && uid != current.meta().uid
        {
            return Err(conflict(format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                current.meta().uid
            ))
            .into());
        }
        if current.meta().deletion.is_some() {
            return Err(conflict(format!(
                "pod {name} is being deleted, cannot be assigned to a host"
            ))
            .into());
        }
        let pod = cast_mut::<Pod>(&mut *typed);
        let spec = pod.spec.get_or_insert_default();
        if let Some(node) = spec.node_name.as_deref().filter(|node| !node.is_empty()) {
            return Err(conflict(format!("pod {name} is already assigned to node {node:?}")).into());
        }
        if spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
            return Err(conflict(format!("pod {name} has non-empty .spec.schedulingGates")).into());
        }
        spec.node_name = Some(self.node.clone());
        if let Some(annotations) = &self.binding.metadata.annotations {
            pod.metadata.annotations.get_or_insert_default().extend(annotations.clone());
        }
        let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
        conditions.retain(|condition| condition.type_ != "PodScheduled");
        conditions.push(PodCondition {
            type_: "PodScheduled".to_owned(),
            status: "True".to_owned(),
            last_transition_time: Some(self.now.clone()),
            ..PodCondition::default()
        });
        Ok(typed)
    }
}
