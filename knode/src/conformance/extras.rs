//! Cases of what a backend must declare: processes, mounts, logs, exec, adoption, and more.
#![allow(missing_docs, reason = "a case is named by what it holds")]

use std::time::Duration;

use futures::StreamExt as _;

use super::world::{World, until};
use super::{Capability, Program};
use crate::Error;
use crate::logs::{Stream, parse};
use crate::runtime::{
    ContainerEventKind, ContainerFilter, ContainerState, ExecOptions, Mount, Resources,
};

const GRACE: Duration = Duration::from_secs(30);

fn print(stdout: &[&str], stderr: &[&str]) -> Program {
    let lines = |lines: &[&str]| lines.iter().map(ToString::to_string).collect();
    Program::Print { stdout: lines(stdout), stderr: lines(stderr) }
}

pub async fn containers_see_their_environment_and_nothing_else(world: World) {
    let sandbox = world.sandbox("a").await;
    let config = world.config("c", &Program::PrintEnvironment);
    let config = config.envs([("GREETING", "first"), ("GREETING", "hello world"), ("EMPTY", "")]);
    let container = world.create(&sandbox, config).await;
    world.runtime().containers().start(&container).await.unwrap();
    assert_eq!(world.exit(&container).await.code, 0);
    let log = world.log_with(&container, "GREETING").await;
    assert!(log.contains(" F GREETING=hello world\n") && log.contains(" F EMPTY=\n"), "{log}");
    assert!(log.contains(" F PATH="), "{log}");
    // Cargo gives tests this one; a container must not inherit it.
    assert!(!log.contains("CARGO"), "{log}");
}

pub async fn containers_see_their_mounts(world: World) {
    let sandbox = world.sandbox("a").await;
    let host = world.fixture().scratch().join("volume");
    std::fs::create_dir_all(&host).unwrap();
    std::fs::write(host.join("key"), "from the host\n").unwrap();
    let config = world.config("c", &Program::PrintFile("/etc/settings/key".to_owned()));
    let config = config.mounts([Mount::new(&host, "/etc/settings").read_only(true)]);
    let container = world.create(&sandbox, config).await;
    assert_eq!(world.status(&container).await.mounts.len(), 1);
    world.runtime().containers().start(&container).await.unwrap();
    assert_eq!(world.exit(&container).await.code, 0);
    world.log_with(&container, "from the host").await;
    world.runtime().containers().remove(&container).await.unwrap();
    assert!(host.join("key").exists(), "removing a container must not touch its volumes");
}

pub async fn logs_hold_stdout_and_stderr_in_cri_format(world: World) {
    let sandbox = world.sandbox("a").await;
    let program = print(&["one", "two words"], &["oh no"]);
    let container = world.start(&sandbox, "c", program).await;
    world.exit(&container).await;
    let log = world.log_with(&container, "oh no").await;
    let entries: Vec<_> = log.lines().map(|line| parse(line.as_bytes()).unwrap()).collect();
    let of = |stream: Stream| {
        let of_it = entries.iter().filter(move |entry| entry.stream == stream);
        of_it.map(|entry| String::from_utf8_lossy(entry.content)).collect::<Vec<_>>()
    };
    assert_eq!(of(Stream::Stdout), ["one", "two words"]);
    assert_eq!(of(Stream::Stderr), ["oh no"]);
    assert!(entries.iter().all(|entry| !entry.partial), "{log}");
}

/// N1.
pub async fn a_running_container_is_adopted_with_its_log(mut world: World) {
    let sandbox = world.sandbox("a").await;
    let container = world.start(&sandbox, "c", Program::Tick).await;
    let before = world.status(&container).await;
    if !world.has(Capability::Logs) {
        world.restart().await;
        assert_eq!(world.status(&container).await, before);
        return;
    }
    let log = world.log_with(&container, "tick").await;
    world.restart().await;
    assert_eq!(world.status(&container).await, before);
    let path = before.log_path.unwrap();
    until("the log goes on", async || {
        let now = std::fs::read_to_string(&path).unwrap();
        (now.len() > log.len() && now.starts_with(&log)).then_some(())
    })
    .await;
    world.runtime().sandboxes().remove(&sandbox).await.unwrap();
    until("nothing is left", async || world.fixture().leftovers().is_empty().then_some(())).await;
}

pub async fn an_adopted_container_can_be_stopped(mut world: World) {
    let sandbox = world.sandbox("a").await;
    let polite = world.ready(&sandbox, "polite", Program::EndWhenAsked).await;
    let stubborn = world.ready(&sandbox, "stubborn", Program::IgnoreRequests).await;
    world.restart().await;
    world.runtime().containers().stop(&polite, GRACE).await.unwrap();
    assert_eq!(world.exit(&polite).await.code, 7);
    world.runtime().containers().stop(&stubborn, Duration::from_millis(50)).await.unwrap();
    assert_eq!(world.exit(&stubborn).await.code, 137);
}

/// N1.
pub async fn an_exit_that_nobody_watched_is_reported(mut world: World) {
    let sandbox = world.sandbox("a").await;
    let container = world.start(&sandbox, "c", Program::Exit(9)).await;
    world.crash();
    world.restart().await;
    assert_eq!(world.exit(&container).await.code, 9);
    let again = world.runtime().containers().start(&container).await;
    assert!(matches!(again, Err(Error::InvalidState { .. })), "{again:?}");
}

pub async fn update_changes_the_resources_of_a_running_container(world: World) {
    let sandbox = world.sandbox("a").await;
    let container = world.start(&sandbox, "c", Program::Sleep).await;
    let resources = Resources::default().memory_bytes(64 << 20).cpu_shares(512);
    world.runtime().containers().update(&container, resources).await.unwrap();
    assert_eq!(world.status(&container).await.state(), ContainerState::Running);
    world.runtime().sandboxes().remove(&sandbox).await.unwrap();
}

pub async fn reopen_log_continues_in_a_new_file(world: World) {
    let sandbox = world.sandbox("a").await;
    let container = world.start(&sandbox, "c", Program::Tick).await;
    world.log_with(&container, "tick").await;
    let path = world.status(&container).await.log_path.unwrap();
    let moved = path.with_extension("moved");
    std::fs::rename(&path, &moved).unwrap();
    world.runtime().containers().reopen_log(&container).await.unwrap();
    world.log_with(&container, "tick").await;
    assert!(moved.exists());
    world.runtime().sandboxes().remove(&sandbox).await.unwrap();
}

pub async fn exec_returns_output_and_exit_code(world: World) {
    let sandbox = world.sandbox("a").await;
    let container = world.start(&sandbox, "c", Program::Sleep).await;
    let exec = world.runtime().exec();
    let command = world.command(&print(&["out"], &["err"]));
    let output = exec.exec_sync(&container, &command, ExecOptions::default()).await.unwrap();
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(output.exit_code, 0);
    let command = world.command(&Program::Exit(3));
    let output = exec.exec_sync(&container, &command, ExecOptions::default()).await.unwrap();
    assert_eq!(output.exit_code, 3);
    assert_eq!(world.status(&container).await.state(), ContainerState::Running);
    world.runtime().sandboxes().remove(&sandbox).await.unwrap();
}

pub async fn exec_is_killed_at_its_timeout(world: World) {
    let sandbox = world.sandbox("a").await;
    let container = world.start(&sandbox, "c", Program::Sleep).await;
    let command = world.command(&Program::IgnoreRequests);
    let options = ExecOptions::default().timeout(Duration::from_millis(100));
    let late = world.runtime().exec().exec_sync(&container, &command, options).await;
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    assert_eq!(world.status(&container).await.state(), ContainerState::Running);
    world.runtime().sandboxes().remove(&sandbox).await.unwrap();
    until("nothing is left", async || world.fixture().leftovers().is_empty().then_some(())).await;
}

pub async fn exec_output_is_bounded(world: World) {
    let sandbox = world.sandbox("a").await;
    let container = world.start(&sandbox, "c", Program::Sleep).await;
    let command = world.command(&Program::Flood(1 << 20));
    let options = ExecOptions::default().output_limit(1000usize);
    let output = world.runtime().exec().exec_sync(&container, &command, options).await.unwrap();
    assert_eq!((output.stdout.len(), output.exit_code), (1000, 0));
    world.runtime().sandboxes().remove(&sandbox).await.unwrap();
}

pub async fn exec_refuses_a_container_that_does_not_run(world: World) {
    let sandbox = world.sandbox("a").await;
    let container = world.start(&sandbox, "c", Program::Exit(0)).await;
    world.exit(&container).await;
    let command = world.command(&Program::Exit(0));
    let exec = world.runtime().exec();
    let refused = exec.exec_sync(&container, &command, ExecOptions::default()).await;
    assert!(matches!(refused, Err(Error::InvalidState { .. })), "{refused:?}");
    let unknown = "no-such-container".into();
    let refused = exec.exec_sync(&unknown, &command, ExecOptions::default()).await;
    assert!(refused.unwrap_err().is_not_found());
}

pub async fn stats_report_running_containers(world: World) {
    let sandbox = world.sandbox("a").await;
    let running = world.start(&sandbox, "runs", Program::Sleep).await;
    let ended = world.start(&sandbox, "ended", Program::Exit(0)).await;
    world.exit(&ended).await;
    let stats = world.runtime().stats().expect("it was declared");
    let found = stats.list(ContainerFilter::default()).await.unwrap();
    assert_eq!(found.iter().map(|stats| &stats.id).collect::<Vec<_>>(), [&running]);
    assert!(found[0].memory_bytes > 0 && found[0].processes > 0, "{found:?}");
    world.runtime().sandboxes().remove(&sandbox).await.unwrap();
}

pub async fn events_tell_the_life_of_a_container(world: World) {
    let mut events = world.runtime().events().expect("it was declared").subscribe();
    let sandbox = world.sandbox("a").await;
    let container = world.start(&sandbox, "c", Program::Exit(0)).await;
    let mut next = async || {
        let next = tokio::time::timeout(GRACE, events.next()).await.expect("an event in time");
        let event = next.unwrap().unwrap();
        assert_eq!((&event.container, &event.sandbox), (&container, &sandbox));
        event.kind
    };
    assert_eq!(next().await, ContainerEventKind::Created);
    assert_eq!(next().await, ContainerEventKind::Started);
    assert_eq!(next().await, ContainerEventKind::Stopped);
    // What an event tells has happened when it is heard.
    assert_eq!(world.status(&container).await.state(), ContainerState::Exited);
    world.runtime().containers().remove(&container).await.unwrap();
    assert_eq!(next().await, ContainerEventKind::Deleted);
}
