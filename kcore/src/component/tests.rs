//! Components are started in order, started again when they fail, and stopped in reverse.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

use super::*;
use crate::stop::StopToken;

const SECOND: Duration = Duration::from_secs(1);

type Log = Arc<Mutex<Vec<String>>>;

fn logged(name: &'static str, log: &Log) -> impl Component {
    let log = Arc::clone(log);
    component_fn(name, move |ctx: Context| {
        let log = Arc::clone(&log);
        async move {
            log.lock().push(format!("{name} starts"));
            ctx.stop().stopped().await;
            log.lock().push(format!("{name} stops"));
            Ok(())
        }
    })
}

/// Fails at its first `failures` runs in the way of `fail`, then works.
fn failing(failures: u32, fail: fn() -> Result) -> impl Component {
    let runs = AtomicU32::new(0);
    component_fn("shaky", move |ctx: Context| {
        let fails = runs.fetch_add(1, Ordering::Relaxed) < failures;
        async move {
            if fails {
                return fail();
            }
            ctx.stop().stopped().await;
            Ok(())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn starts_in_order_and_stops_in_reverse() {
    let log = Log::default();
    let running = Distribution::new().with(logged("a", &log)).with(logged("b", &log)).start();
    running.ready().await;
    assert!(running.stop().await.is_clean());
    assert_eq!(*log.lock(), ["a starts", "b starts", "b stops", "a stops"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_restarts_with_backoff_and_shows_in_health() {
    let running = Distribution::new()
        .with(failing(2, || Err("the disk is full".into())))
        .restart_backoff(crate::backoff::BackoffPolicy::new(SECOND, 8 * SECOND))
        .start();
    let start = Instant::now();
    tokio::task::yield_now().await;
    assert!(!running.health().is_ready());
    assert_eq!(running.health().to_string(), "[-]shaky failed: the disk is full\n");
    running.ready().await;
    assert_eq!(start.elapsed(), 3 * SECOND);
    assert_eq!(running.health().of("shaky").unwrap().restarts, 2);
    assert!(running.stop().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_one_run_of_one_component() {
    let log = Log::default();
    let panicking = failing(1, || panic!("a planted panic"));
    let running = Distribution::new().with(panicking).with(logged("b", &log)).start();
    tokio::task::yield_now().await;
    let health = running.health();
    assert_eq!(
        health.of("shaky").unwrap().state,
        State::Failed("panicked: a planted panic".into())
    );
    running.ready().await;
    assert_eq!(*log.lock(), ["b starts"]);
}

#[tokio::test(start_paused = true)]
async fn endless_failures_never_restart_faster_than_the_bound() {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let failing = component_fn("broken", move |_ctx| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Err("no".into()) }
    });
    let running = Distribution::new().with(failing).start();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(runs.load(Ordering::Relaxed) <= 8 + 120, "{runs:?} runs in an hour");
    assert!(running.stop().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_component_that_is_done_is_not_started_again() {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let once = component_fn("bootstrap", move |_ctx| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok(()) }
    });
    let running = Distribution::new().with(once).start();
    running.ready().await;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(running.health().components[0].state, State::Finished);
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_component_that_says_not_ready_at_once_never_looks_ready() {
    let slow = component_fn("slow", |ctx: Context| async move {
        ctx.health().not_ready("caches are not synced");
        tokio::time::sleep(5 * SECOND).await;
        ctx.health().ready();
        ctx.stop().stopped().await;
        Ok(())
    });
    let running = Distribution::new().with(slow).start();
    let start = Instant::now();
    tokio::task::yield_now().await;
    assert_eq!(running.health().to_string(), "[-]slow failed: caches are not synced\n");
    running.ready().await;
    assert_eq!(start.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_component_that_will_not_stop_is_dropped_after_the_grace_time() {
    let log = Log::default();
    let deaf = component_fn("deaf", |_ctx| std::future::pending());
    let distribution = Distribution::new().with(logged("a", &log)).with(deaf);
    let board = distribution.board();
    let running = distribution.stop_grace(10 * SECOND).start();
    tokio::time::sleep(SECOND).await;
    let start = Instant::now();
    let stopped = running.stop().await;
    assert_eq!(stopped.aborted, ["deaf"]);
    assert_eq!(start.elapsed(), 11 * SECOND);
    assert_eq!(*log.lock(), ["a starts", "a stops"], "the others still stop by themselves");
    assert!(board.health().components.iter().all(|c| c.state == State::Stopped));
}

#[tokio::test(start_paused = true)]
async fn two_distributions_never_notice_each_other() {
    let (one, two) = (Log::default(), Log::default());
    let shutdown = StopToken::new();
    let first = tokio::spawn(
        Distribution::new()
            .with(logged("a", &one))
            .with(failing(u32::MAX, || panic!("a planted panic")))
            .run(shutdown.clone()),
    );
    let second = Distribution::new().with(logged("a", &two)).start();
    second.ready().await;
    shutdown.stop();
    assert!(first.await.unwrap().is_clean());
    assert!(second.health().is_ready());
    assert_eq!(*two.lock(), ["a starts"]);
    drop(second);
    tokio::task::yield_now().await;
    assert_eq!(*two.lock(), ["a starts", "a stops"], "a bag that is dropped stops its parts");
}
