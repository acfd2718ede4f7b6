//! Cases of [`Containers`](crate::runtime::Containers) that every backend runs.
#![allow(missing_docs, reason = "a case is named by what it holds")]

use std::time::Duration;

use super::Program;
use super::world::World;
use crate::Error;
use crate::runtime::{
    ContainerFilter, ContainerId, ContainerState, REASON_COMPLETED, REASON_ERROR,
    REASON_START_ERROR, SandboxId,
};

/// Longer than any program of the suite takes to end when asked.
const GRACE: Duration = Duration::from_secs(30);
/// Short, and never enough for one that ignores the request.
const SHORT_GRACE: Duration = Duration::from_millis(300);

fn unknown() -> ContainerId {
    ContainerId::from("no-such-container")
}

pub async fn create_reports_a_created_container(world: World) {
    let sandbox = world.sandbox("a").await;
    let config = world.config("c", &Program::Sleep).attempt(2u32).annotations([("note", "kept")]);
    let image = config.image.clone();
    let id = world.create(&sandbox, config).await;
    let status = world.status(&id).await;
    let summary = &status.summary;
    assert_eq!((&summary.id, &summary.sandbox), (&id, &sandbox));
    assert_eq!((summary.name.as_str(), summary.attempt), ("c", 2));
    assert_eq!(summary.image, image);
    assert_eq!(summary.state, ContainerState::Created);
    assert_eq!(summary.annotations["note"], "kept");
    assert!(!status.image_id.is_empty());
    assert_eq!((status.started_at, status.exit), (None, None));
}

pub async fn create_refuses_a_stopped_or_unknown_sandbox(world: World) {
    let sandbox = world.sandbox("a").await;
    let config = world.config("c", &Program::Sleep);
    world.create(&sandbox, config.clone()).await;
    world.runtime().sandboxes().stop(&sandbox).await.unwrap();
    let config = config.attempt(1u32);
    let refused = world.runtime().containers().create(&sandbox, config.clone()).await;
    assert!(matches!(refused, Err(Error::InvalidState { .. })), "{refused:?}");
    let nowhere = SandboxId::from("no-such-sandbox");
    let refused = world.runtime().containers().create(&nowhere, config).await;
    assert!(refused.unwrap_err().is_not_found());
}

pub async fn create_refuses_a_second_container_of_the_same_attempt(world: World) {
    let sandbox = world.sandbox("a").await;
    let config = world.config("c", &Program::Sleep);
    let first = world.create(&sandbox, config.clone()).await;
    let second = world.runtime().containers().create(&sandbox, config.clone()).await;
    assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");
    world.create(&sandbox, config.clone().attempt(1u32)).await;
    world.runtime().containers().remove(&first).await.unwrap();
    world.create(&sandbox, config).await;
}

pub async fn create_refuses_an_absent_image(world: World) {
    let sandbox = world.sandbox("a").await;
    let config = world.config("c", &Program::Sleep).image(world.fixture().unknown_image());
    let refused = world.runtime().containers().create(&sandbox, config).await;
    assert!(refused.unwrap_err().is_not_found());
    let left = world.runtime().containers().list(ContainerFilter::default()).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

pub async fn start_runs_the_container(world: World) {
    let sandbox = world.sandbox("a").await;
    let container = world.start(&sandbox, "c", Program::Sleep).await;
    let status = world.status(&container).await;
    assert_eq!(status.state(), ContainerState::Running);
    assert!(status.started_at.unwrap() >= status.summary.created_at);
    assert_eq!(status.exit, None);
    world.runtime().sandboxes().remove(&sandbox).await.unwrap();
}

pub async fn start_refuses_a_container_that_ran_or_is_unknown(world: World) {
    let sandbox = world.sandbox("a").await;
    let containers = world.runtime().containers();
    let running = world.start(&sandbox, "runs", Program::Sleep).await;
    let ended = world.start(&sandbox, "ended", Program::Exit(0)).await;
    world.exit(&ended).await;
    for container in [&running, &ended] {
        let refused = containers.start(container).await;
        assert!(matches!(refused, Err(Error::InvalidState { .. })), "{refused:?}");
    }
    assert!(containers.start(&unknown()).await.unwrap_err().is_not_found());
    world.runtime().sandboxes().remove(&sandbox).await.unwrap();
}

pub async fn start_of_a_missing_command_is_a_start_error(world: World) {
    let sandbox = world.sandbox("a").await;
    let container = world.create(&sandbox, world.config("c", &Program::Missing)).await;
    let error = world.runtime().containers().start(&container).await.unwrap_err();
    let expect = "exec: \"kubrick-no-such-command\": executable file not found in $PATH";
    match &error {
        Error::StartFailed { message, .. } => assert!(message.contains(expect), "{message}"),
        other => panic!("{other:?}"),
    }
    let exit = world.exit(&container).await;
    assert_eq!((exit.code, exit.reason.as_str()), (128, REASON_START_ERROR));
    assert!(exit.message.contains(expect), "{exit:?}");
    assert_eq!(world.status(&container).await.started_at, None);
}

pub async fn stop_asks_before_it_kills(world: World) {
    let sandbox = world.sandbox("a").await;
    let container = world.ready(&sandbox, "c", Program::EndWhenAsked).await;
    world.runtime().containers().stop(&container, GRACE).await.unwrap();
    let exit = world.status(&container).await.exit.unwrap();
    assert_eq!((exit.code, exit.reason.as_str()), (7, REASON_ERROR));
    let patient = world.ready(&sandbox, "patient", Program::EndWhenAsked).await;
    world.runtime().containers().stop(&patient, Duration::MAX).await.unwrap();
    assert_eq!(world.status(&patient).await.exit.unwrap().code, 7);
}

pub async fn stop_kills_what_ignores_the_request(world: World) {
    let sandbox = world.sandbox("a").await;
    for (name, grace) in [("short", SHORT_GRACE), ("none", Duration::ZERO)] {
        let container = world.ready(&sandbox, name, Program::IgnoreRequests).await;
        world.runtime().containers().stop(&container, grace).await.unwrap();
        let status = world.status(&container).await;
        assert_eq!(status.state(), ContainerState::Exited);
        let exit = status.exit.unwrap();
        assert_eq!((exit.code, exit.reason.as_str()), (137, REASON_ERROR));
    }
}

pub async fn stop_container_is_idempotent(world: World) {
    let sandbox = world.sandbox("a").await;
    let containers = world.runtime().containers();
    let container = world.start(&sandbox, "c", Program::Exit(3)).await;
    world.exit(&container).await;
    for _ in 0..2 {
        containers.stop(&container, GRACE).await.unwrap();
    }
    assert_eq!(world.exit(&container).await.code, 3);
    let waiting = world.create(&sandbox, world.config("waits", &Program::Sleep)).await;
    containers.stop(&waiting, GRACE).await.unwrap();
    containers.stop(&unknown(), GRACE).await.unwrap();
}

pub async fn remove_kills_a_running_container(world: World) {
    let sandbox = world.sandbox("a").await;
    let container = world.ready(&sandbox, "c", Program::IgnoreRequests).await;
    world.runtime().containers().remove(&container).await.unwrap();
    let status = world.runtime().containers().status(&container).await;
    assert!(status.unwrap_err().is_not_found());
}

pub async fn remove_container_is_idempotent(world: World) {
    let sandbox = world.sandbox("a").await;
    let container = world.create(&sandbox, world.config("c", &Program::Sleep)).await;
    for _ in 0..2 {
        world.runtime().containers().remove(&container).await.unwrap();
    }
    world.runtime().containers().remove(&unknown()).await.unwrap();
}

pub async fn status_reports_exit_codes(world: World) {
    let sandbox = world.sandbox("a").await;
    for (code, reason) in [(0, REASON_COMPLETED), (1, REASON_ERROR), (42, REASON_ERROR)] {
        let container = world.start(&sandbox, &format!("c{code}"), Program::Exit(code)).await;
        let exit = world.exit(&container).await;
        assert_eq!((exit.code, exit.reason.as_str(), exit.signal), (code, reason, None));
        let status = world.status(&container).await;
        assert!(exit.finished_at >= status.started_at.unwrap(), "{status:?}");
    }
}

pub async fn status_of_an_unknown_container_is_not_found(world: World) {
    assert!(world.runtime().containers().status(&unknown()).await.unwrap_err().is_not_found());
}

pub async fn list_containers_filters_by_id_sandbox_state_and_labels(world: World) {
    let (one, two) = (world.sandbox("a").await, world.sandbox("b").await);
    let created = world.create(&one, world.config("created", &Program::Sleep)).await;
    let running = world.start(&one, "running", Program::Sleep).await;
    let ended = world.start(&two, "ended", Program::Exit(0)).await;
    world.exit(&ended).await;
    let list = async |filter: ContainerFilter| {
        let found = world.runtime().containers().list(filter).await.unwrap();
        found.into_iter().map(|summary| summary.id).collect::<Vec<_>>()
    };
    let all = ContainerFilter::default;
    let sorted = |mut ids: Vec<ContainerId>| {
        ids.sort();
        ids
    };
    let everything = sorted(vec![created.clone(), running.clone(), ended.clone()]);
    assert_eq!(list(all()).await, everything);
    assert_eq!(list(all().id(ended.clone())).await, vec![ended.clone()]);
    assert_eq!(list(all().sandbox(two.clone())).await, vec![ended.clone()]);
    assert_eq!(list(all().state(ContainerState::Running)).await, [running]);
    assert_eq!(list(all().labels([("container", "created")])).await, [created]);
    assert_eq!(list(all().sandbox(two).state(ContainerState::Running)).await, []);
    world.runtime().sandboxes().remove(&one).await.unwrap();
}
