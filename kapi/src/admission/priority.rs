//! What the name of a priority class comes to.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kcore::kind::Typed;
use kcore::name::Resource;
use kcore::status::Status;

use super::{AdmissionPlugin, AdmissionRequest, Operation};
use crate::strategy::optional;

/// What whoever is given no policy does.
const DEFAULT_POLICY: &str = "PreemptLowerPriority";

/// Turns the name of a priority class into a number, for Pods and PodGroups, and sees to it that
/// there is one default class.
/// <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#priority>
#[derive(Debug, Default, Clone, Copy)]
pub struct Priority;

/// The fields of a spec that are about priority, and what messages call the spec.
struct Fields<'a> {
    of: &'static str,
    class_name: &'a mut Option<String>,
    priority: &'a mut Option<i32>,
    policy: &'a mut Option<String>,
}

fn fields(object: &mut dyn Typed) -> Option<Fields<'_>> {
    let any = object.as_any_mut();
    if any.is::<Pod>() {
        let spec = any.downcast_mut::<Pod>()?.spec.as_mut()?;
        return Some(Fields {
            of: "pod spec",
            class_name: &mut spec.priority_class_name,
            priority: &mut spec.priority,
            policy: &mut spec.preemption_policy,
        });
    }
    k8s_openapi::k8s_if_ge_1_37! {
        use k8s_openapi::api::scheduling::v1beta1::PodGroup;
        let spec = &mut any.downcast_mut::<PodGroup>()?.spec;
        return Some(Fields {
            of: "pod group spec",
            class_name: &mut spec.priority_class_name,
            priority: &mut spec.priority,
            policy: &mut spec.preemption_policy,
        });
    }
    #[allow(unreachable_code, reason = "older versions of the API end here")]
    None
}

fn is_group(request: &AdmissionRequest<'_>) -> bool {
    k8s_openapi::k8s_if_ge_1_37! {
        return request.is::<k8s_openapi::api::scheduling::v1beta1::PodGroup>();
    }
    #[allow(unreachable_code, reason = "older versions of the API end here")]
    {
        let _ = request;
        false
    }
}

/// A refusal; boxed, since it is large and most writes are not refused.
fn forbidden(request: &AdmissionRequest<'_>, why: &str) -> Box<Status> {
    let resource = request.resource;
    Box::new(Status::forbidden(&resource.group, &resource.plural, request.name, why))
}

/// The classes that are the default. Of several the lowest counts, so that nobody is raised by
/// mistake: it comes first.
fn defaults(request: &AdmissionRequest<'_>) -> Vec<Arc<PriorityClass>> {
    let classes = request.cluster.list(&Resource::of::<PriorityClass>(), None);
    let classes = classes.iter().filter_map(|object| object.view::<PriorityClass>().ok());
    let mut classes: Vec<_> = classes.filter(|class| class.global_default == Some(true)).collect();
    classes.sort_by_key(|class| optional::<i32>(class.value));
    classes
}

/// The class of a name, or the cluster's default one.
fn class(
    request: &AdmissionRequest<'_>,
    name: Option<&str>,
) -> Result<Option<Arc<PriorityClass>>, Box<Status>> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(defaults(request).into_iter().next());
    };
    let found = request.cluster.get(&Resource::of::<PriorityClass>(), "", name);
    let class = found.and_then(|object| object.view::<PriorityClass>().ok());
    let missing = || forbidden(request, &format!("no PriorityClass with name {name} was found"));
    class.map(Some).ok_or_else(missing)
}

/// Fills in what the class says, and refuses what contradicts it.
fn establish(request: &AdmissionRequest<'_>, fields: Fields<'_>) -> Result<(), Box<Status>> {
    let class = class(request, fields.class_name.as_deref())?;
    let value: i32 =
        class.as_ref().and_then(|class| optional::<i32>(class.value)).unwrap_or_default();
    let contradicts = |what: &str, given: &str, computed: &str| {
        let why = format!(
            "the {what} ({given}) must not be provided in {}; priority admission controller \
             computed {computed} from the given PriorityClass name",
            fields.of
        );
        Err(forbidden(request, &why))
    };
    if let Some(given) = fields.priority.filter(|given| *given != value) {
        let (given, computed) = (given.to_string(), value.to_string());
        return contradicts("integer value of priority", &given, &computed);
    }
    let policy = class.as_ref().and_then(|class| class.preemption_policy.clone());
    let policy = policy.unwrap_or_else(|| DEFAULT_POLICY.to_owned());
    if let Some(given) = fields.policy.as_ref().filter(|given| **given != policy) {
        return contradicts("string value of PreemptionPolicy", given, &policy);
    }
    if let Some(class) = &class {
        fields.class_name.clone_from(&class.metadata.name);
    }
    *fields.priority = Some(value);
    *fields.policy = Some(policy);
    Ok(())
}

#[async_trait]
impl AdmissionPlugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        let classes = request.is::<PriorityClass>() && request.operation != Operation::Delete;
        let creates = request.operation == Operation::Create;
        classes || (creates && (request.is::<Pod>() || is_group(request)))
    }

    async fn admit(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&mut dyn Typed>,
    ) -> Result<(), Status> {
        match object.and_then(fields) {
            Some(fields) => establish(request, fields).map_err(|refusal| *refusal),
            None => Ok(()),
        }
    }

    async fn validate(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&dyn Typed>,
    ) -> Result<(), Status> {
        let class = object.and_then(|object| object.as_any().downcast_ref::<PriorityClass>());
        let Some(class) = class.filter(|class| class.global_default == Some(true)) else {
            return Ok(());
        };
        let others = defaults(request);
        let other = others.iter().find(|other| other.metadata.name != class.metadata.name);
        match other.and_then(|other| other.metadata.name.as_deref()) {
            Some(name) => {
                let why = format!(
                    "PriorityClass {name} is already marked as default. Only one default can exist"
                );
                Err(*forbidden(request, &why))
            }
            None => Ok(()),
        }
    }
}
