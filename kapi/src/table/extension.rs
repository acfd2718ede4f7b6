//! What extends the API.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ParamKind, ParamRef, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;

use super::cell::{UNSET, age_of, name_of};
use super::printer::{Printer, age, cells, name, number, printer, text};
use crate::versions::read;

pub(super) fn printer(group: &str, kind: &str) -> Option<&'static Printer> {
    const ADMISSION: &str = "admissionregistration.k8s.io";
    Some(match (group, kind) {
        (ADMISSION, "MutatingWebhookConfiguration") => &MUTATING,
        (ADMISSION, "ValidatingWebhookConfiguration") => &VALIDATING,
        (ADMISSION, "ValidatingAdmissionPolicy") => &POLICY,
        (ADMISSION, "ValidatingAdmissionPolicyBinding") => &POLICY_BINDING,
        ("apiregistration.k8s.io", "APIService") => &API_SERVICE,
        _ => return None,
    })
}

macro_rules! webhooks {
    ($kind:ty) => {
        printer!(
            $kind,
            |object, now| {
                let count = object.webhooks.iter().flatten().count();
                cells![name_of(&object.metadata), count, age_of(&object.metadata, now)]
            },
            [name(), number("Webhooks", "How many webhooks it names."), age()]
        )
    };
}

static MUTATING: Printer = webhooks!(MutatingWebhookConfiguration);
static VALIDATING: Printer = webhooks!(ValidatingWebhookConfiguration);

fn param_kind(kind: Option<&ParamKind>) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    kind.map_or_else(
        || UNSET.to_owned(),
        |kind| format!("{}/{}", part(&kind.api_version), part(&kind.kind)),
    )
}

fn param_ref(param: Option<&ParamRef>) -> String {
    let Some(param) = param else { return UNSET.to_owned() };
    let namespace = param.namespace.as_deref().unwrap_or("*");
    match (&param.name, &param.selector) {
        (Some(name), _) => format!("{namespace}/{name}"),
        (None, Some(selector)) => super::cell::selector(selector),
        (None, None) => UNSET.to_owned(),
    }
}

static POLICY: Printer = printer!(
    ValidatingAdmissionPolicy,
    |object, now| {
        let spec = object.spec.clone().unwrap_or_default();
        cells![
            name_of(&object.metadata),
            spec.validations.iter().flatten().count(),
            param_kind(spec.param_kind.as_ref()),
            age_of(&object.metadata, now),
        ]
    },
    [
        name(),
        number("Validations", "How many rules it has."),
        text("ParamKind", "The kind of its parameters."),
        age(),
    ]
);

static POLICY_BINDING: Printer = printer!(
    ValidatingAdmissionPolicyBinding,
    |object, now| {
        let spec = read(&object.spec);
        cells![
            name_of(&object.metadata),
            spec.policy_name.clone(),
            param_ref(spec.param_ref.as_ref()),
            age_of(&object.metadata, now),
        ]
    },
    [
        name(),
        text("PolicyName", "The policy that it puts to work."),
        text("ParamRef", "The parameters that it gives the policy."),
        age(),
    ]
);

static API_SERVICE: Printer = printer!(
    APIService,
    |object, now| {
        let service = object.spec.as_ref().and_then(|spec| spec.service.as_ref());
        let service = service.map_or_else(
            || "Local".to_owned(),
            |service| {
                let part = |part: &Option<String>| part.clone().unwrap_or_default();
                format!("{}/{}", part(&service.namespace), part(&service.name))
            },
        );
        let conditions = object.status.as_ref().and_then(|status| status.conditions.as_ref());
        let available = conditions.into_iter().flatten().find(|one| one.type_ == "Available");
        let available = available.map_or_else(
            || "Unknown".to_owned(),
            |one| match (one.status.as_str(), &one.reason) {
                ("True", _) | (_, None) => one.status.clone(),
                (status, Some(reason)) => format!("{status} ({reason})"),
            },
        );
        cells![name_of(&object.metadata), service, available, age_of(&object.metadata, now)]
    },
    [
        name(),
        text("Service", "Who serves it."),
        text("Available", "Whether it can be reached."),
        age(),
    ]
);
