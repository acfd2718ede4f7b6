//! What names of priority classes come to.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::scheduling::v1beta1::PodGroup;
use kapi::auth::Identity;
use kapi::{ApiServer, ServerOptions};
use kcore::client::{Api, DynClient};
use kcore::kind::Kind;
use kstore::MemoryStore;
use serde_json::{Value, json};

fn client() -> DynClient {
    let options = ServerOptions::default().pod_groups();
    Arc::new(ApiServer::with(MemoryStore::new(), options).client(Identity::admin()))
}

fn object<K: Kind>(json: Value) -> K {
    serde_json::from_value(json).unwrap()
}

fn pods(client: &DynClient) -> Api<Pod> {
    Api::namespaced(Arc::clone(client), "default")
}

fn groups(client: &DynClient) -> Api<PodGroup> {
    Api::namespaced(Arc::clone(client), "default")
}

fn class(name: &str, value: i32, default: bool, policy: &str) -> PriorityClass {
    object(json!({"metadata": {"name": name}, "value": value, "globalDefault": default,
        "preemptionPolicy": policy}))
}

/// A pod and a group whose specs say the same of priority.
fn both(name: &str, said: &Value) -> (Pod, PodGroup) {
    let with = |mut spec: Value| {
        let fields = said.as_object().unwrap().clone();
        spec.as_object_mut().unwrap().extend(fields);
        json!({"metadata": {"name": name}, "spec": spec})
    };
    let pod = with(json!({"containers": [{"name": "c", "image": "i"}]}));
    (object(pod), object(with(json!({"schedulingPolicy": {"gang": {"minCount": 2}}}))))
}

#[tokio::test(start_paused = true)]
async fn pods_and_groups_are_given_what_their_class_says() {
    let client = client();
    let classes: Api<PriorityClass> = Api::all(Arc::clone(&client));
    classes.create(class("high", 1000, false, "Never")).await.unwrap();
    let expect = |class: Option<&str>, priority: i32, policy: &str| {
        (class.map(str::to_owned), Some(priority), Some(policy.to_owned()))
    };
    let check = async |name: &str, said: Value, expected: (Option<String>, _, Option<String>)| {
        let (pod, group) = both(name, &said);
        let spec = pods(&client).create(pod).await.unwrap().spec.clone().unwrap();
        let pod = (spec.priority_class_name, spec.priority, spec.preemption_policy);
        assert_eq!(pod, expected, "{name}");
        let spec = groups(&client).create(group).await.unwrap().spec.clone();
        let group = (spec.priority_class_name, spec.priority, spec.preemption_policy);
        assert_eq!(group, expected, "{name}");
    };
    check("a", json!({"priorityClassName": "high"}), expect(Some("high"), 1000, "Never")).await;
    check("b", json!({}), expect(None, 0, "PreemptLowerPriority")).await;
    let same = json!({"priorityClassName": "high", "priority": 1000});
    check("c", same, expect(Some("high"), 1000, "Never")).await;
    classes.create(class("usual", 7, true, "PreemptLowerPriority")).await.unwrap();
    check("d", json!({}), expect(Some("usual"), 7, "PreemptLowerPriority")).await;
}

#[tokio::test(start_paused = true)]
async fn what_contradicts_the_class_is_refused_and_so_is_a_class_that_is_not_there() {
    let client = client();
    let computed = "priority admission controller computed";
    let from = "from the given PriorityClass name";
    let given = "must not be provided in SPEC";
    for (said, expected) in [
        (
            json!({"priority": 5}),
            format!("the integer value of priority (5) {given}; {computed} 0 {from}"),
        ),
        (
            json!({"preemptionPolicy": "Never"}),
            format!(
                "the string value of PreemptionPolicy (Never) {given}; \
                 {computed} PreemptLowerPriority {from}"
            ),
        ),
        (json!({"priorityClassName": "no"}), "no PriorityClass with name no was found".to_owned()),
    ] {
        let (pod, group) = both("p", &said);
        let of_pod = pods(&client).create(pod).await.unwrap_err();
        let of_group = groups(&client).create(group).await.unwrap_err();
        for (error, resource, spec) in [
            (of_pod, "pods", "pod spec"),
            (of_group, "podgroups.scheduling.k8s.io", "pod group spec"),
        ] {
            let why = expected.replace("SPEC", spec);
            let status = error.status().unwrap();
            let expected = format!("{resource} \"p\" is forbidden: {why}");
            assert_eq!(status.message, expected, "A9");
            assert_eq!(status.code, 403);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_keeps_its_priority_when_an_update_does_not_name_it() {
    let client = client();
    let (_, group) = both("g", &json!({}));
    groups(&client).create(group.clone()).await.unwrap();
    let mut grown = group;
    grown.spec.scheduling_policy.gang.as_mut().unwrap().min_count = 3;
    let updated = groups(&client).update(grown).await.unwrap();
    assert_eq!(updated.spec.priority, Some(0));
    assert_eq!(updated.spec.scheduling_policy.gang.as_ref().unwrap().min_count, 3);
}

#[tokio::test(start_paused = true)]
async fn there_is_one_default_class() {
    let client = client();
    let classes: Api<PriorityClass> = Api::all(client);
    let policy = "PreemptLowerPriority";
    let first = classes.create(class("first", 1, true, policy)).await.unwrap();
    let error = classes.create(class("second", 2, true, policy)).await.unwrap_err();
    assert_eq!(
        error.status().unwrap().message,
        "priorityclasses.scheduling.k8s.io \"second\" is forbidden: PriorityClass first is already \
         marked as default. Only one default can exist"
    );
    let mut same = PriorityClass::clone(&first);
    same.description = Some("the usual".to_owned());
    classes.update(same).await.unwrap();
    classes.create(class("second", 2, false, policy)).await.unwrap();
}
