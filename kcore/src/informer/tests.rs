//! An informer shows what the server has, whatever happens in between.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use std::sync::Arc;

use super::*;
use crate::client::{Api, Client, DeleteOptions};
use crate::name::Resource;
use crate::random::Random;
use crate::selector::LabelSelector;
use crate::status::Status;
use crate::stop::{StopGuard, StopToken};
use crate::testing::{FakeClient, Verb};

const SECOND: Duration = Duration::from_secs(1);

type Seen = Arc<Mutex<Vec<String>>>;

struct World {
    fake: FakeClient,
    api: Api<ConfigMap>,
    informer: SharedInformer<ConfigMap>,
    seen: Seen,
    _registration: Registration,
    _stop: StopGuard,
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.into());
    object.metadata.labels = Some([("value".to_owned(), value.to_owned())].into());
    object.data = Some([("value".to_owned(), value.to_owned())].into());
    object
}

fn value(object: &ConfigMap) -> String {
    object.data.as_ref().map_or_else(String::new, |data| data["value"].clone())
}

fn log(informer: &SharedInformer<ConfigMap>) -> (Seen, Registration) {
    let seen = Seen::default();
    let sink = Arc::clone(&seen);
    let show = |o: &ConfigMap| format!("{}={}", o.metadata.name.as_deref().unwrap(), value(o));
    let registration = informer.on_change(move |change| {
        sink.lock().push(match change {
            Change::Added(new) => format!("+{}", show(&new)),
            Change::Updated { old, new } => format!("{}>{}", show(&old), value(&new)),
            Change::Deleted(old) => format!("-{}", show(&old)),
        });
    });
    (seen, registration)
}

impl World {
    fn new(options: InformerOptions) -> Self {
        let fake = FakeClient::new();
        let informer = SharedInformer::new(fake.shared(), options, Random::seeded(1));
        let (seen, _registration) = log(&informer);
        let stop = StopToken::new();
        let running = informer.clone();
        tokio::spawn({
            let stop = stop.clone();
            async move { running.run(stop).await }
        });
        let api = Api::namespaced(fake.shared(), "default");
        Self { fake, api, informer, seen, _registration, _stop: stop.stop_on_drop() }
    }

    async fn set(&self, name: &str, to: &str) {
        if self.api.get_opt(name).await.unwrap().is_some() {
            self.api.update(config_map(name, to)).await.unwrap();
        } else {
            self.api.create(config_map(name, to)).await.unwrap();
        }
    }

    async fn delete(&self, name: &str) {
        self.api.delete(name, &DeleteOptions::default()).await.unwrap();
    }

    /// Lets the informer catch up, whatever backoff it is in.
    async fn settle(&self) {
        tokio::time::sleep(120 * SECOND).await;
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock())
    }

    fn cached(&self) -> Vec<String> {
        self.informer.lister().list().iter().map(|object| value(object)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn handlers_see_each_change_and_listers_the_state() {
    let world = World::new(InformerOptions::default());
    world.set("a", "1").await;
    world.informer.wait_for_sync().await;
    world.set("a", "2").await;
    world.set("b", "1").await;
    world.settle().await;
    world.delete("a").await;
    world.settle().await;
    assert_eq!(world.seen(), ["+a=1", "a=1>2", "+b=1", "-a=2"]);
    let lister = world.informer.lister();
    assert_eq!((world.cached(), lister.len()), (vec!["1".to_owned()], 1));
    let one = lister.get("default", "b").unwrap();
    assert!(Arc::ptr_eq(&one, &lister.get("default", "b").unwrap()), "shared, never copied");
    assert!(lister.get("default", "a").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_list_comes_in_pages() {
    let world = World::new(InformerOptions::default().page_size(2));
    for at in 0..5 {
        world.set(&format!("c{at}"), "x").await;
    }
    world.informer.wait_for_sync().await;
    assert_eq!((world.cached().len(), world.fake.calls(Verb::List)), (5, 3));
}

#[tokio::test(start_paused = true)]
async fn initial_events_fill_the_cache_without_a_list() {
    let world = World::new(InformerOptions::default().initial(InitialState::Stream));
    world.set("a", "1").await;
    world.informer.wait_for_sync().await;
    world.set("b", "2").await;
    world.settle().await;
    assert_eq!((world.cached(), world.fake.calls(Verb::List)), (vec!["1".into(), "2".into()], 0));
}

#[tokio::test(start_paused = true)]
async fn what_vanished_during_a_relist_is_told_as_deleted_c10() {
    let world = World::new(InformerOptions::default());
    world.set("a", "1").await;
    world.set("b", "1").await;
    world.informer.wait_for_sync().await;
    world.settle().await;
    world.fake.outage(Some(Status::internal("planted")));
    world.fake.close_watches();
    world.settle().await;
    world.fake.outage(None);
    world.delete("a").await;
    world.set("b", "2").await;
    world.fake.compact();
    world.settle().await;
    assert_eq!(world.seen(), ["+a=1", "+b=1", "b=1>2", "-a=1"]);
    assert_eq!(world.informer.status().lists, 2);
}

#[tokio::test(start_paused = true)]
async fn an_object_created_anew_in_a_gap_is_told_as_another() {
    let world = World::new(InformerOptions::default());
    world.set("a", "1").await;
    world.informer.wait_for_sync().await;
    world.settle().await;
    world.fake.hide_next_event();
    world.delete("a").await;
    world.set("a", "2").await;
    world.settle().await;
    assert_eq!(world.seen(), ["+a=1", "-a=1", "+a=2"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_goes_on_where_it_was() {
    let world = World::new(InformerOptions::default());
    world.informer.wait_for_sync().await;
    for at in 0..5 {
        world.settle().await;
        world.fake.close_watches();
        world.set("a", &at.to_string()).await;
    }
    world.settle().await;
    assert_eq!((world.cached(), world.fake.calls(Verb::List)), (vec!["4".to_owned()], 1));
    assert_eq!(world.seen(), ["+a=0", "a=0>1", "a=1>2", "a=2>3", "a=3>4"]);
}

#[tokio::test(start_paused = true)]
async fn dropping_any_non_final_events_does_not_change_the_end_state_c5() {
    // Four objects take eight changes each; every seed hides another subsequence of all but the
    // last change of each.
    for seed in 0..50 {
        let (random, world) = (Random::seeded(seed), World::new(InformerOptions::default()));
        world.informer.wait_for_sync().await;
        for at in 0..8 {
            for name in ["a", "b", "c", "d"] {
                if at < 7 && random.chance(0.5) {
                    world.fake.hide_next_event();
                }
                let there = world.api.get_opt(name).await.unwrap().is_some();
                match there && at < 7 && random.chance(0.3) {
                    true => world.delete(name).await,
                    false => world.set(name, &format!("{name}{at}")).await,
                }
                if random.chance(0.1) {
                    world.fake.compact();
                    world.fake.close_watches();
                }
            }
        }
        world.settle().await;
        assert_eq!(world.cached(), ["a7", "b7", "c7", "d7"], "seed {seed}");
        assert_eq!(replay(&world.seen()), ["a=a7", "b=b7", "c=c7", "d=d7"], "seed {seed}");
    }
}

/// The state that a handler knows who did what it was told, and was told nothing impossible.
fn replay(seen: &[String]) -> Vec<String> {
    let mut state = std::collections::BTreeMap::<String, String>::new();
    for line in seen {
        if let Some(added) = line.strip_prefix('+') {
            let (name, value) = added.split_once('=').unwrap();
            assert!(state.insert(name.into(), value.into()).is_none(), "{line}");
        } else if let Some(gone) = line.strip_prefix('-') {
            let (name, _) = gone.split_once('=').unwrap();
            assert!(state.remove(name).is_some(), "{line}");
        } else {
            let (name, change) = line.split_once('=').unwrap();
            let (old, new) = change.split_once('>').unwrap();
            assert_eq!(state.insert(name.into(), new.into()).as_deref(), Some(old), "{line}");
        }
    }
    state.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_410_relists_with_growing_jittered_delays_c10() {
    let world = World::new(InformerOptions::default());
    for _ in 0..400 {
        world.fake.fail_next(Verb::Watch, Status::expired("planted"));
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    let lists = world.fake.calls(Verb::List);
    // 0.8 s doubling to 30 s, up to twice that by jitter: between 10 and 20 a stretch of 600 s
    // once the cap is reached, and six before.
    assert!((10..=30).contains(&lists), "{lists} lists in 600 s");
    assert!(world.informer.has_synced(), "each list reaches the cache");
}

#[tokio::test(start_paused = true)]
async fn many_informers_do_not_relist_together_c10() {
    let fake = FakeClient::new();
    fake.outage(Some(Status::too_many_requests("planted", 10)));
    let stop = StopToken::new();
    let random = Random::seeded(1);
    for _ in 0..50 {
        let options = InformerOptions::default();
        let informer = SharedInformer::<ConfigMap>::new(fake.shared(), options, random.fork());
        let stop = stop.clone();
        tokio::spawn(async move { informer.run(stop).await });
    }
    tokio::time::sleep(Duration::from_millis(9_999)).await;
    assert_eq!(fake.calls(Verb::List), 50, "nobody comes back before the server's Retry-After");
    tokio::time::sleep(Duration::from_millis(1_001)).await;
    let after = fake.calls(Verb::List) - 50;
    assert!((1..=15).contains(&after), "{after} of 50 came back within one second of ten");
    fake.outage(None);
    stop.stop();
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_comes_late_is_told_what_is_there() {
    let world = World::new(InformerOptions::default());
    world.set("a", "1").await;
    world.informer.wait_for_sync().await;
    let (seen, registration) = log(&world.informer);
    assert_eq!(*seen.lock(), ["+a=1"]);
    drop(registration);
    world.set("b", "1").await;
    world.settle().await;
    assert_eq!(*seen.lock(), ["+a=1"], "a handler that is gone is told nothing");
}

#[tokio::test(start_paused = true)]
async fn indices_follow_the_objects() {
    let world = World::new(InformerOptions::default());
    world.set("a", "red").await;
    world.informer.wait_for_sync().await;
    let by_value = world.informer.add_index("value", |object| vec![value(object)]);
    assert_eq!(by_value, world.informer.add_index("value", |_| Vec::new()), "one by that name");
    world.set("b", "red").await;
    world.settle().await;
    let lister = world.informer.lister();
    assert_eq!(lister.by_index(by_value, "red").len(), 2);
    world.set("a", "blue").await;
    world.delete("b").await;
    world.settle().await;
    assert!(lister.by_index(by_value, "red").is_empty());
    assert_eq!(lister.indexer().index_values(by_value), ["blue"]);
    let labels: LabelSelector = "value=blue".parse().unwrap();
    assert_eq!(lister.list_in("default", &labels).len(), 1);
    assert!(lister.list_in("defaul", &labels).is_empty());
}

#[tokio::test(start_paused = true)]
async fn dependents_are_found_by_their_owners_uid() {
    let world = World::new(InformerOptions::default());
    let owner = world.api.create(config_map("owner", "x")).await.unwrap();
    let mut dependent = config_map("dependent", "y");
    dependent.metadata.owner_references = Some(vec![crate::object::controller_reference(&*owner)]);
    world.api.create(dependent).await.unwrap();
    world.informer.wait_for_sync().await;
    let uid = owner.metadata.uid.as_deref().unwrap();
    let owned = world.informer.lister().owned_by(uid);
    assert_eq!(owned[0].metadata.name.as_deref(), Some("dependent"));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_decoded_holds_the_sync_back() {
    let world = World::new(InformerOptions::default());
    let bad = br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"bad"},"data":7}"#;
    let resource = Resource::of::<ConfigMap>();
    let path = crate::client::Path::collection(&resource, Some("default"));
    let body = crate::client::Body::Json(bad.to_vec().into());
    world.fake.create(path, body, &Default::default()).await.unwrap();
    world.settle().await;
    assert!(!world.informer.has_synced());
    let status = world.informer.status();
    assert!(status.last_error.as_deref().unwrap().contains("default/bad"), "{status:?}");
    world.delete("bad").await;
    world.informer.wait_for_sync().await;
}

#[tokio::test(start_paused = true)]
async fn controllers_share_one_informer_a_kind() {
    let fake = FakeClient::new();
    let informers = Informers::new(fake.shared(), Random::seeded(1));
    let one = informers.of::<ConfigMap>();
    let running = crate::component::Distribution::new().with(informers.clone()).start();
    running.ready().await;
    let two = informers.of::<ConfigMap>();
    assert!(Arc::ptr_eq(one.objects().indexer(), two.objects().indexer()));
    assert_eq!(fake.calls(Verb::List), 1);
    // One that is asked for while the bag runs is run as well.
    let metadata = informers.metadata(Resource::of::<ConfigMap>());
    metadata.wait_for_sync().await;
    assert!(informers.has_synced() && informers.all().len() == 2);
    assert!(running.stop().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_second_run_takes_over_when_the_first_is_dropped() {
    let fake = FakeClient::new();
    let options = InformerOptions::default();
    let informer = SharedInformer::<ConfigMap>::new(fake.shared(), options, Random::seeded(1));
    let stop = StopToken::new();
    let spawn = || {
        tokio::spawn({
            let (informer, stop) = (informer.clone(), stop.clone());
            async move { informer.run(stop).await }
        })
    };
    let (first, second) = (spawn(), spawn());
    informer.wait_for_sync().await;
    first.abort();
    let api = Api::<ConfigMap>::namespaced(fake.shared(), "default");
    api.create(config_map("a", "1")).await.unwrap();
    let start = Instant::now();
    while informer.lister().is_empty() {
        tokio::time::sleep(SECOND).await;
        assert!(start.elapsed() < 60 * SECOND);
    }
    assert_eq!(fake.calls(Verb::List), 1, "it goes on from where the first was");
    stop.stop();
    second.await.unwrap();
}
