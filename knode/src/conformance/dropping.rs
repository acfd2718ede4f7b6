//! Cases of dropped futures: each is dropped after every number of polls.
#![allow(missing_docs, reason = "a case is named by what it holds")]

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::Program;
use super::world::{World, until};
use crate::Error;
use crate::runtime::{ContainerState, SandboxFilter, SandboxState};

/// No operation needs more polls than this.
const MAX_POLLS: usize = 200;

/// Polls a future so often and drops it; its result if it had one by then.
async fn poll_times<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

pub async fn a_dropped_run_leaves_a_whole_sandbox_or_none(world: World) {
    for polls in 0..MAX_POLLS {
        let name = format!("pod-{polls}");
        let sandboxes = world.runtime().sandboxes();
        let done = poll_times(sandboxes.run(world.pod(&name)), polls).await.is_some();
        // Either it can be run now, or it is there.
        let id = until("the sandbox is there or can be run", async || {
            match sandboxes.run(world.pod(&name)).await {
                Ok(id) => Some(id),
                Err(Error::AlreadyExists { .. }) => {
                    let mine = SandboxFilter::default().labels([("pod", name.as_str())]);
                    sandboxes.list(mine).await.unwrap().pop().map(|summary| summary.id)
                }
                Err(other) => panic!("{other:?}"),
            }
        })
        .await;
        let status = sandboxes.status(&id).await.unwrap();
        assert_eq!(status.summary.state, SandboxState::Ready);
        if done {
            return;
        }
    }
    panic!("running a sandbox took more than {MAX_POLLS} polls");
}

pub async fn a_dropped_start_starts_or_can_be_repeated(world: World) {
    let sandbox = world.sandbox("a").await;
    for polls in 0..MAX_POLLS {
        let config = world.config(&format!("c{polls}"), &Program::Sleep);
        let id = world.create(&sandbox, config).await;
        let containers = world.runtime().containers();
        let done = poll_times(containers.start(&id), polls).await.is_some();
        until("the container runs", async || {
            if world.status(&id).await.state() == ContainerState::Running {
                return Some(());
            }
            match containers.start(&id).await {
                Ok(()) | Err(Error::InvalidState { .. }) => None,
                Err(other) => panic!("{other:?}"),
            }
        })
        .await;
        containers.remove(&id).await.unwrap();
        if done {
            return;
        }
    }
    panic!("starting a container took more than {MAX_POLLS} polls");
}

pub async fn a_dropped_stop_still_ends_the_container(world: World) {
    let sandbox = world.sandbox("a").await;
    for polls in 1..MAX_POLLS {
        let id = world.ready(&sandbox, &format!("c{polls}"), Program::IgnoreRequests).await;
        let stop = world.runtime().containers().stop(&id, Duration::from_millis(50));
        let done = poll_times(stop, polls).await.is_some();
        assert_eq!(world.exit(&id).await.code, 137);
        world.runtime().containers().remove(&id).await.unwrap();
        if done {
            return;
        }
    }
    panic!("stopping a container took more than {MAX_POLLS} polls");
}
