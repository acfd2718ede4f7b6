//! The queue never loses a key, never hands one to two workers, and keeps its times.

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

async fn next<T: Item>(queue: &WorkQueue<T>) -> Claim<T> {
    queue.get().await.expect("the queue is open")
}

#[tokio::test(start_paused = true)]
async fn an_item_added_twice_comes_out_once() {
    let queue = WorkQueue::new();
    assert_eq!(queue.add(1), Added::Queued);
    assert_eq!(queue.add(1), Added::Duplicate);
    queue.add(2);
    let (one, two) = (next(&queue).await, next(&queue).await);
    assert_eq!((*one, *two), (1, 2));
    one.done();
    two.done();
    assert!(queue.try_get().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_item_added_while_in_work_comes_back_only_when_done() {
    let queue = WorkQueue::new();
    queue.add("a");
    let claim = next(&queue).await;
    queue.add("a");
    queue.add("a");
    assert!(queue.try_get().is_none(), "two workers never hold one key");
    claim.done();
    next(&queue).await.done();
    assert!(queue.try_get().is_none());
    assert_eq!(queue.metrics().adds, 2);
}

#[tokio::test(start_paused = true)]
async fn delayed_items_come_in_time_and_the_earliest_delay_counts() {
    let queue = WorkQueue::new();
    let start = Instant::now();
    queue.add_after("late", 10 * SECOND);
    queue.add_after("soon", 20 * SECOND);
    assert_eq!(queue.add_after("soon", 5 * SECOND), Added::Queued);
    assert_eq!(queue.add_after("soon", 30 * SECOND), Added::Duplicate);
    let soon = next(&queue).await;
    assert_eq!((*soon, start.elapsed()), ("soon", 5 * SECOND));
    soon.done();
    let late = next(&queue).await;
    assert_eq!((*late, start.elapsed()), ("late", 10 * SECOND));
    late.done();
    assert_eq!(queue.metrics().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_wakes_for_an_item_with_an_earlier_delay() {
    let queue = WorkQueue::new();
    queue.add_after(1, 60 * SECOND);
    let waiter = tokio::spawn({
        let queue = queue.clone();
        async move { *next(&queue).await }
    });
    tokio::time::sleep(SECOND).await;
    let start = Instant::now();
    queue.add_after(2, SECOND);
    assert_eq!(waiter.await.unwrap(), 2);
    assert_eq!(start.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn every_ready_item_finds_a_waiting_worker() {
    let queue = WorkQueue::<u32>::new();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let queue = queue.clone();
        workers.spawn(async move {
            let claim = next(&queue).await;
            tokio::time::sleep(SECOND).await;
            claim.done();
            Instant::now()
        });
    }
    tokio::time::sleep(SECOND).await;
    for item in 0..5 {
        queue.add_after(item, SECOND);
    }
    let start = Instant::now();
    while let Some(ended) = workers.join_next().await {
        assert_eq!(ended.unwrap() - start, 2 * SECOND, "all work in parallel");
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_get_at_any_poll_loses_no_item() {
    let queue = WorkQueue::new();
    for round in 0..100_u32 {
        {
            let mut get = std::pin::pin!(queue.get());
            assert!(futures::poll!(&mut get).is_pending());
            if round % 2 == 0 {
                queue.add(round);
            } else {
                queue.add_after(round, MS);
            }
        }
        let claim = tokio::time::timeout(SECOND, next(&queue)).await.expect("it is not lost");
        assert_eq!(*claim, round);
        claim.done();
    }
}

#[tokio::test(start_paused = true)]
async fn a_wake_meant_for_a_dropped_get_reaches_the_next_one() {
    let queue = WorkQueue::new();
    let mut first = Box::pin(queue.get());
    let mut second = Box::pin(queue.get());
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut second).is_pending());
    queue.add(1);
    drop(first);
    let claim = tokio::time::timeout(SECOND, second).await.expect("the wake is handed on");
    claim.unwrap().done();
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_dropped_goes_back_through_the_limiter() {
    let queue = WorkQueue::new();
    queue.add("a");
    drop(next(&queue).await);
    assert_eq!((queue.retries(&"a"), queue.len()), (1, 0));
    let start = Instant::now();
    let claim = next(&queue).await;
    assert_eq!(start.elapsed(), 5 * MS);
    claim.succeed();
    assert_eq!(queue.retries(&"a"), 0);
}

#[tokio::test(start_paused = true)]
async fn retries_double_from_five_milliseconds_to_a_thousand_seconds() {
    let mut limiter = ItemBackoff::default();
    let delays: Vec<_> = (0..20).map(|_| limiter.when(&"a", Instant::now())).collect();
    assert_eq!(delays[..4], [5 * MS, 10 * MS, 20 * MS, 40 * MS]);
    assert_eq!((delays[17], delays[18]), (655_360 * MS, 1000 * SECOND));
    assert_eq!(limiter.when(&"b", Instant::now()), 5 * MS);
    limiter.forget(&"a");
    assert_eq!(limiter.when(&"a", Instant::now()), 5 * MS);
}

#[tokio::test(start_paused = true)]
async fn the_bucket_gives_a_hundred_at_once_then_ten_a_second() {
    let mut limiter = MaxOf(ItemBackoff::default(), TokenBucket::default());
    for item in 0..100 {
        assert_eq!(limiter.when(&item, Instant::now()), 5 * MS);
    }
    assert_eq!(limiter.when(&100, Instant::now()), 100 * MS);
    assert_eq!(limiter.when(&101, Instant::now()), 200 * MS);
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(limiter.when(&102, Instant::now()), 5 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_and_counts() {
    let queue = WorkQueue::with(2, ItemBackoff::default());
    queue.add(1);
    queue.add_after(2, SECOND);
    assert_eq!(queue.add(3), Added::Full);
    assert_eq!(queue.add_after(3, SECOND), Added::Full);
    assert_eq!(queue.add(2), Added::Queued, "what is held already does not need room");
    assert_eq!(queue.metrics().rejected, 2);
    // An item in work always comes back, or its change would be lost.
    let claim = next(&queue).await;
    queue.add(9);
    claim.retry();
    assert!(queue.known().contains(&1));
}

#[tokio::test(start_paused = true)]
async fn shutdown_hands_out_what_is_ready_then_ends() {
    let queue = WorkQueue::new();
    queue.add(1);
    queue.add_after(2, SECOND);
    queue.shut_down();
    assert_eq!(queue.add(3), Added::ShutDown);
    next(&queue).await.done();
    assert!(queue.get().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_work_in_progress_and_for_what_it_added() {
    let queue = WorkQueue::new();
    queue.add(1);
    let claim = next(&queue).await;
    queue.add(1);
    let drained = tokio::spawn({
        let queue = queue.clone();
        async move { queue.drain().await }
    });
    let idle_worker = tokio::spawn({
        let queue = queue.clone();
        async move { queue.get().await.map(|claim| claim.done()) }
    });
    tokio::time::sleep(SECOND).await;
    assert!(!drained.is_finished());
    claim.done();
    drained.await.unwrap();
    assert_eq!(idle_worker.await.unwrap(), Some(()), "the change during the work is worked on");
    assert!(queue.get().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn metrics_tell_depth_latency_and_work() {
    let queue = WorkQueue::new();
    queue.add(1);
    tokio::time::sleep(2 * SECOND).await;
    let claim = next(&queue).await;
    tokio::time::sleep(3 * SECOND).await;
    let running = queue.metrics();
    assert_eq!((running.processing, running.longest_running), (1, 3 * SECOND));
    claim.retry();
    tokio::time::sleep(SECOND).await;
    let metrics = queue.metrics();
    assert_eq!((metrics.depth, metrics.adds, metrics.retries), (1, 2, 1));
    assert_eq!(metrics.latency.sum, 2 * SECOND);
    assert_eq!((metrics.work_duration.mean(), metrics.work_duration.count), (3 * SECOND, 1));
}

#[tokio::test(start_paused = true)]
async fn an_item_that_rests_is_handed_out_later() {
    let queue = WorkQueue::new();
    queue.add("a");
    queue.add("b");
    let claim = queue.get().await.unwrap();
    // Added while in work, and once more while it rests.
    queue.add("a");
    claim.succeed_and_rest(Duration::from_secs(4));
    queue.add("a");
    queue.get().await.unwrap().succeed_and_rest(Duration::from_secs(9));
    let began = tokio::time::Instant::now();
    let claim = queue.get().await.unwrap();
    assert_eq!((*claim, began.elapsed()), ("a", Duration::from_secs(4)));
    claim.succeed();
    // What rests and is added afterwards waits for the end of its rest too.
    queue.add("b");
    let claim = queue.get().await.unwrap();
    assert_eq!((*claim, began.elapsed()), ("b", Duration::from_secs(9)));
    claim.succeed();
    queue.add("b");
    assert_eq!(*queue.get().await.unwrap(), "b", "its rest is over");
    assert_eq!(began.elapsed(), Duration::from_secs(9));
}
