//! Reserve, Permit and profiles, over an API server in this process.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod};
use kapi::ApiServer;
use kapi::auth::Identity;
use kcore::client::{Api, DynClient};
use kcore::clock::Clock;
use kcore::component::{Component, Context};
use kcore::random::Random;
use kcore::stop::{StopGuard, StopToken};
use ksched::framework::{
    CycleState, ExtensionPoints, Handle, Permit, PermitPlugin, Profile, ReservePlugin,
    SchedulerPlugin, Status, plugin_fn,
};
use ksched::snapshot::PodInfo;
use ksched::testing::{node, pod};
use ksched::{Error, Scheduler};
use kstore::MemoryStore;
use parking_lot::Mutex;

type Log = Arc<Mutex<Vec<String>>>;

/// Notes what it is asked, and lets the first of a pair wait for the second.
#[derive(Debug)]
struct Pairs {
    log: Log,
    handle: Handle,
}

impl SchedulerPlugin for Pairs {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.reserve(self.clone());
        points.permit(self);
    }
}

impl ReservePlugin for Pairs {
    fn reserve(&self, _: &mut CycleState, pod: &PodInfo, _: &str) -> Status {
        self.log.lock().push(format!("reserve {}", pod.name()));
        Status::success()
    }

    fn unreserve(&self, _: &mut CycleState, pod: &PodInfo, _: &str) {
        self.log.lock().push(format!("unreserve {}", pod.name()));
    }
}

#[async_trait]
impl PermitPlugin for Pairs {
    async fn permit(&self, _: &CycleState, pod: &PodInfo, _: &str) -> Permit {
        if pod.name() != "second" {
            return Permit::Wait(Duration::from_secs(30));
        }
        for waiting in self.handle.waiting_pods().list() {
            self.handle.waiting_pods().allow(waiting.uid(), "Pairs");
        }
        Permit::Allow
    }
}

async fn world() -> (ApiServer, Api<Pod>) {
    let api = ApiServer::new(MemoryStore::new());
    let admin: DynClient = Arc::new(api.client(Identity::admin()));
    let nodes: Api<Node> = Api::all(Arc::clone(&admin));
    let mut wanted = (*node("a").cpu("4").build()).clone();
    let created = nodes.create(wanted.clone()).await.unwrap();
    wanted.metadata = created.metadata.clone();
    nodes.update_status(wanted).await.unwrap();
    (api, Api::namespaced(admin, "default"))
}

fn context() -> (Context, StopGuard) {
    let stop = StopToken::new();
    let ctx = Context::new(Clock::system(), Random::seeded(5)).with_stop(stop.clone());
    (ctx, stop.stop_on_drop())
}

fn run(api: &ApiServer, change: impl FnOnce(Scheduler) -> Scheduler) -> StopGuard {
    let scheduler = change(Scheduler::new(api.client(Identity::component("scheduler"))));
    let (ctx, guard) = context();
    tokio::spawn(async move { scheduler.run(ctx).await.unwrap() });
    guard
}

async fn is_bound(pods: &Api<Pod>, name: &str) -> bool {
    pods.get(name).await.unwrap().spec.as_ref().unwrap().node_name.is_some()
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_permission_and_gives_back_what_it_reserved_after_its_time() {
    let (api, pods) = world().await;
    let log = Log::default();
    let seen = Arc::clone(&log);
    let _running = run(&api, |scheduler| {
        scheduler.plugin(plugin_fn("Pairs", move |_, handle: &Handle| {
            Ok(Pairs { log: Arc::clone(&seen), handle: handle.clone() })
        }))
    });
    pods.create((*pod("first").build()).clone()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(*log.lock(), ["reserve first"]);
    assert!(!is_bound(&pods, "first").await);
    tokio::time::sleep(Duration::from_secs(21)).await;
    assert_eq!(log.lock()[..2], ["reserve first", "unreserve first"]);
    // It is tried again, and the second of the pair lets it go on.
    tokio::time::sleep(Duration::from_secs(4)).await;
    pods.create((*pod("second").build()).clone()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(is_bound(&pods, "second").await);
    assert!(is_bound(&pods, "first").await, "{:?}", log.lock());
}

#[tokio::test(start_paused = true)]
async fn each_profile_schedules_its_own_pods() {
    let (api, pods) = world().await;
    let _running =
        run(&api, |scheduler| scheduler.profile(Profile::new("batch").disable("TaintToleration")));
    pods.create((*pod("mine").scheduler("batch").build()).clone()).await.unwrap();
    pods.create((*pod("other").build()).clone()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(is_bound(&pods, "mine").await && !is_bound(&pods, "other").await);
}

#[tokio::test]
async fn a_wrong_configuration_says_what_would_be_right() {
    let (api, _) = world().await;
    let build = |profile: Profile| -> Error {
        let (ctx, _guard) = context();
        let scheduler = Scheduler::new(api.client(Identity::admin())).profile(profile);
        scheduler.build(&ctx).unwrap_err()
    };
    for (profile, expected) in [
        (Profile::default().disable("Nope"), "unknown plugin \"Nope\""),
        (Profile::default().weight("NodeName", -1), "must be from 1 to 100"),
        (Profile::default().disable("PrioritySort"), "0 queue sort plugins"),
        (Profile::default().disable("DefaultBinder"), "no bind plugin"),
        (Profile::default().args("NodeAffinity", 7.into()), "arguments of plugin"),
    ] {
        let error = build(profile).to_string();
        assert!(error.contains(expected) && error.contains("default-scheduler"), "{error}");
    }
}
