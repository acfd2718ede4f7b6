//! `resourceFieldRef`: a container's limit or request as a number.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/#downwardapi-resourceFieldRef>

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, ResourceFieldSelector, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use kcore::quantity::Quantity;

use super::Allocatable;
use crate::{Error, Result};

/// The resource of `container` (or of the container that the selector names) in units of the
/// divisor, rounded up. A limit that is not set is the pod's, or else what the node can give.
pub(crate) fn compute_resource(
    selector: &ResourceFieldSelector,
    pod: &Pod,
    container: Option<&str>,
    allocatable: &Allocatable,
    field: &str,
) -> Result<String> {
    let fail = |name: &str, reason: String| Error::InvalidConfig {
        field: format!("{field}.{name}"),
        reason,
    };
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let name = named.or(container).unwrap_or_default();
    let Some(resources) = resources_of(pod, name) else {
        return Err(fail("containerName", format!("container {name} not found")));
    };
    let divisor = divisor(selector).map_err(|reason| fail("divisor", reason))?;
    let unsupported =
        || fail("resource", format!("unsupported container resource : {}", selector.resource));
    let (which, resource) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    let known = matches!(resource, "cpu" | "memory" | "ephemeral-storage");
    if !known && !resource.starts_with("hugepages-") {
        return Err(unsupported());
    }
    let amount = match which {
        "limits" => limit(pod, resources, resource, allocatable),
        "requests" => set(resources.and_then(|own| own.requests.as_ref()), resource),
        _ => return Err(unsupported()),
    };
    let amount = amount.map_err(|reason| fail("resource", reason))?.unwrap_or(Quantity::ZERO);
    Ok(match resource {
        "cpu" => divide_up(amount.milli(), divisor.milli()),
        _ => divide_up(amount.units(), divisor.units()),
    })
}

/// What a container of the pod, of whatever sort, asks for.
fn resources_of<'a>(pod: &'a Pod, name: &str) -> Option<Option<&'a ResourceRequirements>> {
    let spec = pod.spec.as_ref()?;
    let mut ordinary = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    if let Some(container) = ordinary.find(|container| container.name == name) {
        return Some(container.resources.as_ref());
    }
    let mut ephemeral = spec.ephemeral_containers.iter().flatten();
    let found = ephemeral.find(|container| container.name == name)?;
    Some(found.resources.as_ref())
}

fn divisor(selector: &ResourceFieldSelector) -> Result<Quantity, String> {
    let one = Quantity::from_milli(1000);
    let Some(divisor) = selector.divisor.as_ref().filter(|text| !text.0.is_empty()) else {
        return Ok(one);
    };
    let divisor = Quantity::from_api(divisor).map_err(|error| error.to_string())?;
    Ok(if divisor.is_zero() { one } else { divisor })
}

type Amounts = BTreeMap<String, ApiQuantity>;

fn set(amounts: Option<&Amounts>, resource: &str) -> Result<Option<Quantity>, String> {
    let Some(amount) = amounts.and_then(|amounts| amounts.get(resource)) else { return Ok(None) };
    Quantity::from_api(amount).map(Some).map_err(|error| error.to_string())
}

fn limit(
    pod: &Pod,
    resources: Option<&ResourceRequirements>,
    resource: &str,
    allocatable: &Allocatable,
) -> Result<Option<Quantity>, String> {
    let own = set(resources.and_then(|own| own.limits.as_ref()), resource)?;
    if own.is_some_and(|own| !own.is_zero()) {
        return Ok(own);
    }
    let pods = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let pods = set(pods.and_then(|pods| pods.limits.as_ref()), resource)?;
    Ok(match (resource, pods.filter(|pods| !pods.is_zero())) {
        ("cpu", pods) => Some(pods.unwrap_or(allocatable.cpu)),
        ("memory", pods) => Some(pods.unwrap_or(allocatable.memory)),
        ("ephemeral-storage", pods) => Some(pods.unwrap_or(allocatable.ephemeral_storage)),
        // Huge pages are never overcommitted: no limit is none.
        _ => own,
    })
}

fn divide_up(amount: i64, divisor: i64) -> String {
    // The API refuses negative divisors.
    let divisor = divisor.max(1);
    let (quotient, rest) = (amount / divisor, amount % divisor);
    (quotient + i64::from(rest > 0)).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn value(selector: Value) -> Result<String> {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [
            {"name": "c", "resources": {
                "limits": {"cpu": "1500m", "memory": "100Mi", "hugepages-2Mi": "4Mi"},
                "requests": {"cpu": "1", "memory": "10000001", "ephemeral-storage": "1Gi"},
            }},
            {"name": "bare"},
        ], "initContainers": [{"name": "init"}]}}))
        .unwrap();
        let quantity = |text: &str| text.parse::<Quantity>().unwrap();
        let allocatable = Allocatable::default()
            .cpu(quantity("7900m"))
            .memory(quantity("16Gi"))
            .ephemeral_storage(quantity("20G"));
        let selector = serde_json::from_value(selector).unwrap();
        compute_resource(&selector, &pod, Some("c"), &allocatable, "f")
    }

    #[test]
    fn amounts_are_divided_and_rounded_up() {
        let check = |selector: Value, expect: &str| {
            assert_eq!(value(selector.clone()).unwrap(), expect, "{selector}");
        };
        check(json!({"resource": "limits.cpu"}), "2");
        check(json!({"resource": "limits.cpu", "divisor": "0"}), "2");
        check(json!({"resource": "limits.cpu", "divisor": "1m"}), "1500");
        check(json!({"resource": "requests.cpu"}), "1");
        check(json!({"resource": "limits.memory"}), "104857600");
        check(json!({"resource": "limits.memory", "divisor": "1Mi"}), "100");
        check(json!({"resource": "requests.memory", "divisor": "1M"}), "11");
        check(json!({"resource": "requests.ephemeral-storage", "divisor": "1Mi"}), "1024");
        check(json!({"resource": "limits.hugepages-2Mi"}), "4194304");
        check(json!({"resource": "requests.hugepages-2Mi"}), "0");
    }

    #[test]
    fn a_limit_that_is_not_set_is_what_the_node_can_give() {
        let check = |container: &str, resource: &str, expect: &str| {
            let selector = json!({"resource": resource, "containerName": container});
            assert_eq!(value(selector).unwrap(), expect, "{container} {resource}");
        };
        check("c", "limits.ephemeral-storage", "20000000000");
        check("bare", "limits.cpu", "8");
        check("bare", "limits.memory", "17179869184");
        check("bare", "limits.hugepages-2Mi", "0");
        check("bare", "requests.cpu", "0");
        check("init", "limits.cpu", "8");
    }

    #[test]
    fn a_pods_own_limit_comes_before_the_nodes() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "containers": [{"name": "c"}], "resources": {"limits": {"cpu": "2"}},
        }}))
        .unwrap();
        let selector = serde_json::from_value(json!({"resource": "limits.cpu"})).unwrap();
        let allocatable = Allocatable::default().cpu(Quantity::from_milli(8000));
        let value = compute_resource(&selector, &pod, Some("c"), &allocatable, "f").unwrap();
        assert_eq!(value, "2");
    }

    #[test]
    fn what_is_no_resource_is_named() {
        let check = |selector: Value, expect: &str| {
            assert_eq!(value(selector).unwrap_err().to_string(), expect);
        };
        let unsupported = "f.resource: unsupported container resource : limits.gpu";
        check(json!({"resource": "limits.gpu"}), unsupported);
        let unsupported = "f.resource: unsupported container resource : cpu";
        check(json!({"resource": "cpu"}), unsupported);
        check(
            json!({"resource": "limits.cpu", "containerName": "x"}),
            "f.containerName: container x not found",
        );
    }
}
