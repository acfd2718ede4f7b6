//! What a token is bound to: it is worth nothing once that is gone (X5).

use std::sync::Arc;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use kcore::object::Object;
use kcore::status::Status;

use super::super::{Identity, Result, Server};
use crate::auth::service_account::Reference;
use crate::versions::read;

/// The group of node agents, and what their names begin with.
const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";

/// The objects that a token names.
#[derive(Default)]
pub(super) struct Bound {
    pub(super) node: Option<Reference>,
    pub(super) pod: Option<Reference>,
    pub(super) secret: Option<Reference>,
    /// The Pod, if it is bound to one.
    seen: Option<Arc<Pod>>,
}

fn reference(object: &Object) -> Reference {
    Reference { name: object.meta().name.clone(), uid: object.meta().uid.clone() }
}

fn text(member: &Option<String>) -> &str {
    member.as_deref().unwrap_or_default()
}

impl Server {
    /// Finds what a token is to be bound to.
    pub(super) fn bound(
        &self,
        asked: Option<&BoundObjectReference>,
        namespace: &str,
        account: &str,
    ) -> Result<Bound> {
        let Some(asked) = asked else { return Ok(Bound::default()) };
        let (kind, name) = (text(&asked.kind), text(&asked.name));
        let (group, version) =
            text(&asked.api_version).rsplit_once('/').unwrap_or(("", text(&asked.api_version)));
        let mut bound = Bound::default();
        let object = match (group, kind) {
            ("", "Pod") => {
                let object = self.of_kind::<Pod>(namespace, name)?;
                let pod = object.view::<Pod>().map_err(Status::internal)?;
                let spec = pod.spec.as_ref();
                if spec.and_then(|spec| spec.service_account_name.as_deref()) != Some(account) {
                    return Err(Status::bad_request(format!(
                        "cannot bind token for serviceaccount {account:?} to pod running with \
                         different serviceaccount name."
                    ))
                    .into());
                }
                let node = spec.and_then(|spec| spec.node_name.as_deref());
                if let Some(node) = node.filter(|node| !node.is_empty()) {
                    // A node that is gone is told by its name alone, as upstream does.
                    let named = Reference { name: node.to_owned(), uid: String::new() };
                    let found = self.of_kind::<Node>("", node);
                    bound.node = Some(found.map_or(named, |node| reference(&node)));
                }
                bound.pod = Some(reference(&object));
                bound.seen = Some(pod);
                object
            }
            ("", "Node") => {
                let object = self.of_kind::<Node>("", name)?;
                bound.node = Some(reference(&object));
                object
            }
            ("", "Secret") => {
                let object = self.of_kind::<Secret>(namespace, name)?;
                bound.secret = Some(reference(&object));
                object
            }
            _ => {
                return Err(Status::bad_request(format!(
                    "cannot bind token to object of type {group}/{version}, Kind={kind}"
                ))
                .into());
            }
        };
        let uid = text(&asked.uid);
        if !uid.is_empty() && uid != object.meta().uid {
            return Err(Status::conflict("", kind, name, &other_uid(uid)).into());
        }
        Ok(bound)
    }

    /// A node's agent gets tokens for the Pods that run there, and for whom those want them (X3).
    /// <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction>
    pub(super) fn check_node(
        &self,
        user: &Identity,
        spec: &TokenRequestSpec,
        bound: &Bound,
        (namespace, account): (&str, &str),
    ) -> Result<()> {
        let Some(node) = user.name.strip_prefix(NODE_PREFIX).filter(|_| user.is_in(NODES)) else {
            return Ok(());
        };
        let refused =
            |why: &str| Err(Status::forbidden("", "serviceaccounts", account, why).into());
        let asked = spec.bound_object_ref.as_ref();
        let Some(pod) = &bound.seen else {
            return refused("node requested token not bound to a pod");
        };
        if asked.is_none_or(|asked| text(&asked.uid).is_empty()) {
            return refused("node requested token with a pod binding without a uid");
        }
        let runs_on = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if runs_on != Some(node) {
            return refused("node requested token bound to a pod scheduled on a different node");
        }
        let own = self.options.tokens.as_ref().map_or(&[] as &[String], |t| t.own_audiences());
        let audiences = read(&spec.audiences);
        if audiences.as_slice() == own && wants_own(pod) {
            return Ok(());
        }
        match audiences.iter().find(|audience| !wants(pod, audience)) {
            None => Ok(()),
            Some(audience) => refused(&format!(
                "audience {audience:?} not found in pod spec volume, {:?} is not authorized to \
                 request tokens for this audience in namespace {namespace:?}",
                user.name
            )),
        }
    }
}

/// The audiences of a Pod's token volumes; empty for the API server.
fn audiences(pod: &Pod) -> impl Iterator<Item = &str> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let projected = volumes.filter_map(|volume| volume.projected.as_ref());
    let sources = projected.flat_map(|projected| projected.sources.iter().flatten());
    let tokens = sources.filter_map(|source| source.service_account_token.as_ref());
    tokens.map(|token| token.audience.as_deref().unwrap_or_default())
}

fn wants(pod: &Pod, audience: &str) -> bool {
    audiences(pod).any(|wanted| wanted == audience)
}

fn wants_own(pod: &Pod) -> bool {
    wants(pod, "")
}

fn other_uid(uid: &str) -> String {
    format!(
        "the UID in the bound object reference ({uid}) does not match the UID in record. The \
         object might have been deleted and then recreated"
    )
}
