//! Where PodTopologySpread and InterPodAffinity let pods go.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kcore::clock::Clock;
use kcore::informer::Informers;
use kcore::object::Object;
use kcore::random::Random;
use serde_json::json;

use crate::framework::{
    Args, CycleState, Feasible, Handle, PreFilterPlugin, PreScorePlugin, Status,
};
use crate::offline::NoServer;
use crate::plugins::PodTopologySpread;
use crate::snapshot::{NodeInfo, Snapshot};
use crate::testing::{node, pod};

#[test]
fn what_selects_a_pod_is_looked_up_once_in_its_cycle() {
    let service = || {
        let json = json!({"metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "web"}}});
        Object::from_typed(serde_json::from_value::<Service>(json).unwrap()).unwrap()
    };
    let snapshot = Snapshot::new(vec![NodeInfo::new(node("a").build())]);
    // One that is picked by a Service, one that a ReplicaSet nobody knows yet will pick, and one
    // that nothing picks.
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1",
        "controller": true}]);
    let owned = pod("p").label("app", "web").metadata("ownerReferences", owner);
    for (pod, before, after) in [
        (pod("p").label("app", "web"), true, Status::success()),
        (pod("p").label("app", "web"), false, Status::skip()),
        (owned, false, Status::skip()),
        (pod("p"), true, Status::skip()),
    ] {
        let informers = Informers::new(Arc::new(NoServer), Random::seeded(0));
        let handle = Handle::new("default", Arc::new(NoServer), Clock::system(), Random::seeded(0))
            .with_informers(informers.clone());
        let plugin = PodTopologySpread::new(&Args::default(), &handle).unwrap();
        let services = informers.of::<Service>();
        let (mut state, pod) = (CycleState::default(), pod.info());
        if before {
            services.objects().indexer().put(service());
        }
        assert_eq!(plugin.pre_filter(&mut state, &pod, &snapshot).status, Status::skip());
        // Nobody hears of it, so that only another look would find it.
        services.objects().indexer().put(service());
        let list = || vec![0];
        let found = plugin.pre_score(&mut state, &pod, &snapshot, &Feasible::new(1, &list));
        assert_eq!(found, after, "{:?}", pod.pod());
    }
}
