//! Never two leaders, and soon another one.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::*;
use crate::client::Api;
use crate::clock::Clock;
use crate::component::{Context, Distribution, component_fn};
use crate::random::Random;
use crate::stop::StopToken;
use crate::testing::{FakeClient, Link};

const SECOND: Duration = Duration::from_secs(1);

/// Who worked, and when.
type Log = Arc<Mutex<Vec<(String, Instant)>>>;

fn clock(seed: u64) -> Clock {
    // Every replica's clock is off by its own years: nobody may believe another's.
    Clock::starting_at(format!("20{:02}-01-01T00:00:00Z", 10 + seed).parse().unwrap())
}

/// A candidate that, while it leads, works each 100 ms, deaf to being told to stop.
fn candidate(fake: &FakeClient, seed: u64, log: &Log) -> (FakeClient, StopToken) {
    let (link, stop) = (fake.another(), StopToken::new());
    let name = format!("replica-{seed}");
    let config = LeaderConfig::new("kube-system", "test", name.clone());
    let elector = LeaderElector::new(link.shared(), config, clock(seed), Random::seeded(seed));
    let (log, token) = (Arc::clone(log), stop.clone());
    tokio::spawn(async move {
        while !token.is_stopped() {
            let (log, name, mine) = (Arc::clone(&log), name.clone(), token.clone());
            let term = elector.run(&token, |_told| async move {
                while !mine.is_stopped() {
                    log.lock().push((name.clone(), Instant::now()));
                    tokio::time::sleep(SECOND / 10).await;
                }
            });
            term.await;
        }
    });
    (link, stop)
}

/// The stretches of work: who, from when, until when. Nobody works in another's stretch.
fn stretches(log: &Log) -> Vec<(String, Instant, Instant)> {
    let mut all: Vec<(String, Instant, Instant)> = Vec::new();
    for (name, at) in &*log.lock() {
        match all.last_mut() {
            Some((last, _, until)) if last == name && *at - *until <= SECOND => *until = *at,
            _ => all.push((name.clone(), *at, *at)),
        }
    }
    all
}

async fn lease(fake: &FakeClient) -> k8s_openapi::api::coordination::v1::LeaseSpec {
    let api = Api::<Lease>::namespaced(fake.shared(), "kube-system");
    api.get("test").await.unwrap().spec.clone().unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_the_other_takes_over_after_the_lease_c9() {
    for link in [Link::Refused, Link::Silent, Link::AnswersLost] {
        let (fake, log) = (FakeClient::new(), Log::default());
        let (first, _) = candidate(&fake, 1, &log);
        tokio::time::sleep(SECOND).await;
        let _second = candidate(&fake, 2, &log);
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(stretches(&log).len(), 1, "who holds the lease keeps it");
        let cut = Instant::now();
        first.link(link);
        tokio::time::sleep(60 * SECOND).await;
        let work = stretches(&log);
        assert_eq!(work.len(), 2, "{link:?}");
        let (stopped, started) = (work[0].2, work[1].1);
        assert!(stopped - cut < 10 * SECOND, "{link:?}: it worked on for {:?}", stopped - cut);
        assert!(started - stopped >= 5 * SECOND, "{link:?}: after {:?}", started - stopped);
        // The lease ended at most 15 s after the cut (17 s if a renewal still went through), and
        // candidates look each 2 s, up to 4.4 s by jitter.
        assert!(started - cut < 22 * SECOND, "{link:?}: it took {:?}", started - cut);
        let spec = lease(&fake).await;
        assert_eq!(spec.holder_identity.as_deref(), Some("replica-2"));
        assert_eq!((spec.lease_transitions, spec.lease_duration_seconds), (Some(1), Some(15)));
    }
}

#[tokio::test(start_paused = true)]
async fn partitions_never_make_two_leaders_c8_c9() {
    for seed in 0..10 {
        let (fake, log, random) = (FakeClient::new(), Log::default(), Random::seeded(seed));
        let candidates: Vec<_> = (0..3).map(|at| candidate(&fake, at, &log)).collect();
        for _ in 0..60 {
            let links = [Link::Up, Link::Up, Link::Refused, Link::Silent, Link::AnswersLost];
            for (link, _) in &candidates {
                link.link(links[usize::try_from(random.below(5)).unwrap()]);
            }
            tokio::time::sleep(Duration::from_millis(random.below(20_000))).await;
        }
        for (link, _) in &candidates {
            link.link(Link::Up);
        }
        let healed = Instant::now();
        tokio::time::sleep(40 * SECOND).await;
        let work = stretches(&log);
        for pair in work.windows(2).filter(|pair| pair[0].0 != pair[1].0) {
            let gap = pair[1].1 - pair[0].2;
            assert!(gap >= 5 * SECOND, "seed {seed}: {pair:?} are {gap:?} apart");
        }
        assert!(work.len() > 3, "seed {seed}: leaders changed");
        assert!(work.last().unwrap().2 > healed + 39 * SECOND, "seed {seed}: one leads at last");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_told_to_stop_gives_the_lease_up() {
    let (fake, log) = (FakeClient::new(), Log::default());
    let (_, stop) = candidate(&fake, 1, &log);
    tokio::time::sleep(SECOND).await;
    let _second = candidate(&fake, 2, &log);
    tokio::time::sleep(10 * SECOND).await;
    stop.stop();
    tokio::time::sleep(10 * SECOND).await;
    let work = stretches(&log);
    assert_eq!(work.len(), 2);
    assert!(work[1].1 - work[0].2 < 5 * SECOND, "the other need not wait for the lease to end");
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_while_slow_work_stops() {
    let fake = FakeClient::new();
    let config = LeaderConfig::new("kube-system", "test", "slow");
    let elector = LeaderElector::new(fake.shared(), config, clock(1), Random::seeded(1));
    let stop = StopToken::new();
    let term = tokio::spawn({
        let stop = stop.clone();
        async move {
            let work = |told: StopToken| async move {
                told.stopped().await;
                tokio::time::sleep(60 * SECOND).await;
                "done"
            };
            elector.run(&stop, work).await
        }
    });
    tokio::time::sleep(SECOND).await;
    stop.stop();
    tokio::time::sleep(50 * SECOND).await;
    assert_eq!(lease(&fake).await.holder_identity.as_deref(), Some("slow"));
    assert_eq!(term.await.unwrap(), Term::Ended("done"));
    assert_eq!(lease(&fake).await.holder_identity.as_deref(), Some(""));
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_is_stolen_stops_at_its_next_look() {
    let (fake, log) = (FakeClient::new(), Log::default());
    let _first = candidate(&fake, 1, &log);
    tokio::time::sleep(5 * SECOND).await;
    let api = Api::<Lease>::namespaced(fake.shared(), "kube-system");
    let mut stolen = (*api.get("test").await.unwrap()).clone();
    stolen.spec.as_mut().unwrap().holder_identity = Some("thief".into());
    api.update(stolen).await.unwrap();
    let at = Instant::now();
    tokio::time::sleep(10 * SECOND).await;
    let work = stretches(&log);
    assert!(work.len() == 1 && work[0].2 - at <= 2 * SECOND, "{work:?}");
}

#[tokio::test(start_paused = true)]
async fn an_elected_component_runs_in_one_distribution_at_a_time_c9() {
    let (fake, log) = (FakeClient::new(), Log::default());
    let distribution = |seed: u64| {
        let name = format!("replica-{seed}");
        let config = LeaderConfig::new("kube-system", "test", name.clone());
        let log = Arc::clone(&log);
        let work = component_fn("controllers", move |ctx: Context| {
            let (log, name) = (Arc::clone(&log), name.clone());
            async move {
                log.lock().push((name, Instant::now()));
                ctx.stop().stopped().await;
                Ok(())
            }
        });
        Distribution::new()
            .random(Random::seeded(seed))
            .with(Elected::new(fake.shared(), config, work))
            .start()
    };
    let (one, two) = (distribution(1), distribution(2));
    one.ready().await;
    two.ready().await;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(log.lock().len(), 1, "the other is ready, and waits");
    let (leader, other) = if log.lock()[0].0 == "replica-1" { (one, two) } else { (two, one) };
    assert!(leader.stop().await.is_clean());
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(log.lock().len(), 2);
    assert!(other.stop().await.is_clean());
    assert_eq!(lease(&fake).await.holder_identity.as_deref(), Some(""));
}
