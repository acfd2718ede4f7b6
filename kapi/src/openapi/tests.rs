//! The documents' structure, as kubectl reads it.

use super::*;

fn parsed(group: &str, version: &str) -> Value {
    let registry = Registry::built_in();
    let document = document(&registry, group, version).unwrap();
    serde_json::from_slice(&document.plain().unwrap()).unwrap()
}

#[test]
fn the_index_names_every_group_version_by_its_content() {
    let registry = Registry::built_in();
    let index = index(&registry);
    for row in registry.rows() {
        let path = path_of(&row.resource.group, &row.resource.version);
        let url = index["paths"][&path]["serverRelativeURL"].as_str().unwrap();
        assert!(url.starts_with(&format!("/openapi/v3/{path}?hash=")), "{url}");
    }
    assert_eq!(index, super::index(&Registry::built_in()), "two servers give the same hashes");
    assert!(document(&registry, "none", "v1").is_none());
}

#[test]
fn kinds_say_who_they_are_and_how_their_lists_merge() {
    let apps = parsed("apps", "v1");
    let schemas = &apps["components"]["schemas"];
    let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
    let gvk = json!([{"group": "apps", "version": "v1", "kind": "Deployment"}]);
    assert_eq!(deployment["x-kubernetes-group-version-kind"], gvk);
    let list = &schemas["io.k8s.api.apps.v1.DeploymentList"];
    assert_eq!(list["x-kubernetes-group-version-kind"][0]["kind"], "DeploymentList");
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    let strategy = &schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"];
    let target = "#/components/schemas/io.k8s.api.apps.v1.DeploymentStrategy";
    assert_eq!(strategy["allOf"], json!([{"$ref": target}]));
    assert!(strategy["description"].is_string());
    let port = &schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
    assert_eq!(port["format"], "int-or-string");
}

#[test]
fn every_reference_leads_to_a_schema() {
    let registry = Registry::built_in();
    for row in registry.rows() {
        let found = document(&registry, &row.resource.group, &row.resource.version).unwrap();
        let bytes = found.plain().unwrap();
        let whole: Value = serde_json::from_slice(&bytes).unwrap();
        let schemas = whole["components"]["schemas"].as_object().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        for rest in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
            let name = rest.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
        assert!(!text.contains("$defs"));
    }
}

#[test]
fn operations_carry_what_kubectl_looks_for() {
    let core = parsed("", "v1");
    let pod = &core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"];
    let names = |operation: &Value| -> Vec<String> {
        let all = operation["parameters"].as_array().unwrap();
        all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let patch = &pod["patch"];
    for name in ["fieldValidation", "fieldManager", "dryRun", "force"] {
        assert!(names(patch).contains(&name.to_owned()), "{name}");
    }
    assert_eq!(patch["x-kubernetes-action"], "patch");
    let gvk = json!({"group": "", "version": "v1", "kind": "Pod"});
    assert_eq!(patch["x-kubernetes-group-version-kind"], gvk);
    assert_eq!(patch["operationId"], "patchCoreV1NamespacedPod");
    let log = &core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/log"]["get"];
    assert_eq!(log["operationId"], "readCoreV1NamespacedPodLog");
    assert!(names(log).contains(&"tailLines".to_owned()));
    assert_eq!(log["responses"]["200"]["content"]["text/plain"]["schema"]["type"], "string");
    let pods = &core["paths"]["/api/v1/namespaces/{namespace}/pods"];
    assert_eq!(pods["delete"]["operationId"], "deleteCoreV1CollectionNamespacedPod");
    assert!(names(&pods["get"]).contains(&"labelSelector".to_owned()));
    let all = &core["paths"]["/api/v1/pods"]["get"];
    assert_eq!(all["operationId"], "listCoreV1PodForAllNamespaces");
    let apps = parsed("apps", "v1");
    let scale = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"];
    assert_eq!(scale["put"]["x-kubernetes-group-version-kind"]["kind"], "Scale");
    let rbac = parsed("rbac.authorization.k8s.io", "v1");
    let roles = &rbac["paths"]["/apis/rbac.authorization.k8s.io/v1/clusterroles"];
    assert_eq!(roles["post"]["operationId"], "createRbacAuthorizationV1ClusterRole");
}
