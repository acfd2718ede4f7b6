//! Cases of [`Sandboxes`](crate::runtime::Sandboxes).
#![allow(missing_docs, reason = "a case is named by what it holds")]

use std::time::Duration;

use super::Program;
use super::world::{World, until};
use crate::Error;
use crate::runtime::{ContainerFilter, ContainerState, SandboxFilter, SandboxId, SandboxState};

pub async fn run_reports_a_ready_sandbox(world: World) {
    let config = world.pod("a").attempt(3u32).annotations([("note", "kept")]);
    let id = world.runtime().sandboxes().run(config).await.unwrap();
    let summary = world.runtime().sandboxes().status(&id).await.unwrap().summary;
    assert_eq!(summary.id, id);
    assert_eq!(summary.state, SandboxState::Ready);
    assert_eq!((summary.name.as_str(), summary.namespace.as_str()), ("a", "suite"));
    assert_eq!((summary.uid.as_str(), summary.attempt), ("uid-a", 3));
    assert_eq!(summary.labels["pod"], "a");
    assert_eq!(summary.annotations["note"], "kept");
}

pub async fn run_refuses_a_second_sandbox_of_the_same_attempt(world: World) {
    let first = world.sandbox("a").await;
    let sandboxes = world.runtime().sandboxes();
    let second = sandboxes.run(world.pod("a")).await;
    assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");
    sandboxes.run(world.pod("a").attempt(1u32)).await.unwrap();
    sandboxes.stop(&first).await.unwrap();
    sandboxes.remove(&first).await.unwrap();
    world.sandbox("a").await;
}

pub async fn each_sandbox_has_an_address_of_its_own(world: World) {
    let mut seen = Vec::new();
    for number in 0..10 {
        let id = world.sandbox(&format!("pod-{number}")).await;
        let status = world.runtime().sandboxes().status(&id).await.unwrap();
        assert!(!status.ips.is_empty() && !seen.contains(&status.ips[0]), "{status:?}");
        seen.push(status.ips[0]);
    }
    let shared = world.pod("host").host_network(true);
    let shared = world.runtime().sandboxes().run(shared).await.unwrap();
    let status = world.runtime().sandboxes().status(&shared).await.unwrap();
    assert!(status.ips.iter().all(|ip| !seen.contains(ip)), "{status:?}");
}

/// N1.
pub async fn sandboxes_survive_a_restart_of_the_agent(mut world: World) {
    let (ready, stopped) = (world.sandbox("a").await, world.sandbox("b").await);
    world.runtime().sandboxes().stop(&stopped).await.unwrap();
    let before = world.runtime().sandboxes().status(&ready).await.unwrap();
    world.restart().await;
    assert_eq!(world.runtime().sandboxes().status(&ready).await.unwrap(), before);
    let stopped = world.runtime().sandboxes().status(&stopped).await.unwrap();
    assert_eq!(stopped.summary.state, SandboxState::NotReady);
    let next = world.sandbox("c").await;
    let next = world.runtime().sandboxes().status(&next).await.unwrap();
    assert!(next.ips.iter().all(|ip| !before.ips.contains(ip)), "{next:?}");
}

pub async fn stop_sandbox_kills_its_containers(world: World) {
    let (sandbox, other) = (world.sandbox("a").await, world.sandbox("b").await);
    let container = world.start(&sandbox, "c", Program::Sleep).await;
    let waiting = world.create(&sandbox, world.config("waits", &Program::Sleep)).await;
    let neighbor = world.start(&other, "c", Program::Sleep).await;
    world.runtime().sandboxes().stop(&sandbox).await.unwrap();
    let status = world.runtime().sandboxes().status(&sandbox).await.unwrap();
    assert_eq!(status.summary.state, SandboxState::NotReady);
    assert_ne!(world.exit(&container).await.code, 0);
    let refused = world.runtime().containers().start(&waiting).await;
    assert!(matches!(refused, Err(Error::InvalidState { .. })), "{refused:?}");
    assert_eq!(world.status(&neighbor).await.state(), ContainerState::Running);
    world.runtime().containers().stop(&neighbor, Duration::ZERO).await.unwrap();
}

pub async fn stop_sandbox_is_idempotent(world: World) {
    let sandbox = world.sandbox("a").await;
    for _ in 0..2 {
        world.runtime().sandboxes().stop(&sandbox).await.unwrap();
    }
    world.runtime().sandboxes().stop(&SandboxId::from("no-such-sandbox")).await.unwrap();
}

pub async fn remove_sandbox_removes_its_containers(world: World) {
    let sandbox = world.sandbox("a").await;
    let container = world.start(&sandbox, "c", Program::Sleep).await;
    world.runtime().sandboxes().remove(&sandbox).await.unwrap();
    assert!(world.runtime().sandboxes().status(&sandbox).await.unwrap_err().is_not_found());
    assert!(world.runtime().containers().status(&container).await.unwrap_err().is_not_found());
}

pub async fn remove_sandbox_is_idempotent(world: World) {
    let sandbox = world.sandbox("a").await;
    for _ in 0..2 {
        world.runtime().sandboxes().remove(&sandbox).await.unwrap();
    }
}

/// N4.
pub async fn removed_sandboxes_leave_nothing_behind(world: World) {
    for round in 0..3 {
        let sandbox = world.sandbox(&format!("pod-{round}")).await;
        world.start(&sandbox, "sleeps", Program::Sleep).await;
        world.ready(&sandbox, "stays", Program::IgnoreRequests).await;
        let ended = world.start(&sandbox, "ends", Program::Exit(0)).await;
        world.exit(&ended).await;
        world.create(&sandbox, world.config("waits", &Program::Sleep)).await;
        world.runtime().sandboxes().remove(&sandbox).await.unwrap();
    }
    let containers = world.runtime().containers().list(ContainerFilter::default()).await.unwrap();
    assert!(containers.is_empty(), "{containers:?}");
    until("nothing is left", async || {
        let left = world.fixture().leftovers();
        left.is_empty().then_some(())
    })
    .await;
}

pub async fn status_of_an_unknown_sandbox_is_not_found(world: World) {
    let status = world.runtime().sandboxes().status(&SandboxId::from("no-such-sandbox")).await;
    assert!(status.unwrap_err().is_not_found());
}

pub async fn list_sandboxes_filters_by_id_state_and_labels(world: World) {
    let (a, b) = (world.sandbox("a").await, world.sandbox("b").await);
    world.runtime().sandboxes().stop(&b).await.unwrap();
    let list = async |filter: SandboxFilter| {
        let found = world.runtime().sandboxes().list(filter).await.unwrap();
        found.into_iter().map(|summary| summary.id).collect::<Vec<_>>()
    };
    let all = SandboxFilter::default;
    let mut both = vec![a.clone(), b.clone()];
    both.sort();
    assert_eq!(list(all()).await, both);
    assert_eq!(list(all().id(a.clone())).await, vec![a.clone()]);
    assert_eq!(list(all().state(SandboxState::Ready)).await, vec![a.clone()]);
    assert_eq!(list(all().labels([("pod", "b")])).await, [b]);
    assert_eq!(list(all().labels([("pod", "a"), ("x", "y")])).await, []);
}
