//! What is said often is written once, and nobody waits for it.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Event, ObjectReference};
use tokio::time::Instant;

use super::*;
use crate::client::{Api, ListOptions};
use crate::clock::Clock;
use crate::random::Random;
use crate::status::Status;
use crate::stop::StopToken;
use crate::testing::{FakeClient, Verb};

const SECOND: Duration = Duration::from_secs(1);

fn object(name: &str) -> ObjectReference {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.into());
    object.metadata.namespace = Some("web".into());
    object.metadata.uid = Some(format!("uid-of-{name}"));
    reference_to(&object)
}

fn recorder(fake: &FakeClient) -> EventRecorder {
    let source = Source { component: "tester".into(), host: "node-1".into() };
    let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
    EventRecorder::new(fake.shared(), source, clock, Random::seeded(1))
}

/// Runs the recorder until all that waits is written.
async fn written(fake: &FakeClient, recorder: &EventRecorder) -> Vec<Event> {
    let stop = StopToken::new();
    let running = recorder.clone();
    let task = tokio::spawn({
        let stop = stop.clone();
        async move { running.run(stop).await }
    });
    tokio::time::sleep(300 * SECOND).await;
    stop.stop();
    task.await.unwrap();
    let list = Api::<Event>::all(fake.shared()).list(&ListOptions::default()).await.unwrap();
    list.items.iter().map(|event| (**event).clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_same_thing_said_again_raises_a_count() {
    let fake = FakeClient::new();
    let recorder = recorder(&fake);
    for _ in 0..3 {
        recorder.normal(&object("a"), "Created", "made it");
        tokio::time::sleep(SECOND).await;
    }
    let events = written(&fake, &recorder).await;
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!((event.count, event.type_.as_deref()), (Some(3), Some("Normal")));
    assert_eq!(event.metadata.namespace.as_deref(), Some("web"));
    assert!(event.metadata.name.as_deref().unwrap().starts_with("a."));
    assert_eq!(event.source.as_ref().unwrap().component.as_deref(), Some("tester"));
    let (first, last) = (event.first_timestamp.clone(), event.last_timestamp.clone());
    assert_eq!(last.unwrap().0.duration_since(first.unwrap().0).as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn events_of_cluster_scoped_objects_go_to_the_default_namespace() {
    let fake = FakeClient::new();
    let recorder = recorder(&fake);
    let node = ObjectReference { namespace: None, ..object("node-1") };
    recorder.warning(&node, "Lost", "not seen for 50 s");
    let events = written(&fake, &recorder).await;
    assert_eq!(events[0].metadata.namespace.as_deref(), Some("default"));
    assert_eq!(events[0].type_.as_deref(), Some("Warning"));
}

#[tokio::test(start_paused = true)]
async fn ten_similar_messages_become_one_event() {
    let fake = FakeClient::new();
    let recorder = recorder(&fake);
    for at in 0..15 {
        recorder.warning(&object("a"), "Failed", format!("try {at} failed"));
    }
    recorder.warning(&object("a"), "Other", "of another sort");
    let events = written(&fake, &recorder).await;
    assert_eq!(events.len(), 9 + 1 + 1);
    let combined: Vec<_> = events
        .iter()
        .filter(|event| event.message.as_deref().unwrap().starts_with("(combined"))
        .collect();
    assert_eq!(combined.len(), 1);
    assert_eq!(combined[0].count, Some(6));
    let message = combined[0].message.as_deref();
    assert_eq!(message, Some("(combined from similar events): try 14 failed"));
}

#[tokio::test(start_paused = true)]
async fn similar_messages_far_apart_are_told_apart() {
    let source = Source::default();
    let mut correlator = Correlator::new(source, Random::seeded(1));
    for at in 0..20 {
        let occurrence = Occurrence {
            object: object("a"),
            event_type: EventType::Normal,
            reason: "Tick".into(),
            message: format!("tick {at}"),
            at: "2026-01-01T00:00:00Z".parse().unwrap(),
        };
        let Plan::Create(event) = correlator.plan(occurrence, Instant::now()) else {
            panic!("tick {at} is its own event")
        };
        assert_eq!(event.message, Some(format!("tick {at}")));
        tokio::time::sleep(601 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn too_much_about_one_object_is_not_heard() {
    let fake = FakeClient::new();
    let recorder = recorder(&fake);
    for _ in 0..100 {
        recorder.normal(&object("a"), "Loud", "again");
    }
    recorder.normal(&object("b"), "Quiet", "once");
    let events = written(&fake, &recorder).await;
    let count_of = |name: &str| {
        let about = |event: &&Event| event.involved_object.name.as_deref() == Some(name);
        events.iter().find(about).and_then(|event| event.count)
    };
    assert_eq!((count_of("a"), count_of("b")), (Some(25), Some(1)));
    // One more is let through each 300 s, and shows all that was said.
    recorder.normal(&object("a"), "Loud", "again");
    let events = written(&fake, &recorder).await;
    assert!(events.iter().any(|event| event.count == Some(101)));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_the_oldest_and_counts() {
    let fake = FakeClient::new();
    let recorder = recorder(&fake);
    for at in 0..QUEUE_CAPACITY + 5 {
        recorder.normal(&object(&format!("o{at}")), "Made", "made it");
    }
    assert_eq!(recorder.dropped(), 5);
    let events = written(&fake, &recorder).await;
    assert_eq!(events.len(), QUEUE_CAPACITY);
    assert!(events.iter().all(|event| event.involved_object.name.as_deref() != Some("o4")));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_out_and_a_refusal_is_not() {
    let fake = FakeClient::new();
    let recorder = recorder(&fake);
    fake.fail_next(Verb::Create, Status::internal("planted"));
    fake.fail_next(Verb::Create, Status::too_many_requests("planted", 1));
    recorder.normal(&object("a"), "Made", "made it");
    assert_eq!(written(&fake, &recorder).await.len(), 1);
    fake.fail_next(Verb::Create, Status::forbidden("", "events", "", "the namespace is going"));
    recorder.normal(&object("b"), "Made", "made it");
    assert_eq!(written(&fake, &recorder).await.len(), 1);
    assert_eq!(recorder.dropped(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_expired_on_the_server_is_made_again() {
    let fake = FakeClient::new();
    let recorder = recorder(&fake);
    recorder.normal(&object("a"), "Made", "made it");
    let events = written(&fake, &recorder).await;
    let api = Api::<Event>::namespaced(fake.shared(), "web");
    let name = events[0].metadata.name.as_deref().unwrap();
    api.delete(name, &Default::default()).await.unwrap();
    recorder.normal(&object("a"), "Made", "made it");
    assert_eq!(written(&fake, &recorder).await[0].count, Some(2));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_writer_loses_no_event() {
    let fake = FakeClient::new();
    let recorder = recorder(&fake);
    fake.fail_next(Verb::Create, Status::internal("planted"));
    recorder.normal(&object("a"), "Made", "made it");
    {
        let mut run = std::pin::pin!(recorder.run(StopToken::new()));
        assert!(futures::poll!(&mut run).is_pending(), "it waits for the next try");
    }
    assert_eq!(written(&fake, &recorder).await[0].count, Some(1));
}
