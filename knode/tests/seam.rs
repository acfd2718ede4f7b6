//! What the seam must carry, and what the suite must catch: a CRI adapter with streaming, mocks,
//! and planted faults.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::stream::BoxStream;
use knode::conformance::{CASES, Capabilities, Capability, Fixture, Program, run_case};
use knode::fake::{Behavior, FakeRuntime, Options};
use knode::runtime::*;
use knode::{Error, Result};
use tokio::sync::mpsc;

/// How a client of containerd looks behind the seam. It compiles; nobody answers.
#[derive(Debug, Clone)]
struct CriAdapter {
    rest: FakeRuntime,
}

#[async_trait]
impl Exec for CriAdapter {
    async fn exec_sync(
        &self,
        id: &ContainerId,
        command: &[String],
        options: ExecOptions,
    ) -> Result<ExecOutput> {
        self.rest.exec_sync(id, command, options).await
    }

    fn streaming(&self) -> Option<Box<dyn Streaming>> {
        Some(Box::new(self.clone()))
    }
}

/// CRI answers with a URL; the adapter connects, and hands out the streams of that connection.
fn connect(url: String, streams: StreamOptions) -> Session {
    let (near, _far) = tokio::io::duplex(64);
    let (read, write) = tokio::io::split(near);
    let (resize, _sizes) = mpsc::channel(1);
    let exit = async move { Err(Error::NotFound { kind: "session", id: url }) };
    let mut session = Session::new(exit.boxed());
    session.stdin = streams.stdin.then(|| Box::new(write) as _);
    session.stdout = streams.stdout.then(|| Box::new(read) as _);
    session.resize = streams.tty.then_some(resize);
    session
}

#[async_trait]
impl Streaming for CriAdapter {
    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        streams: StreamOptions,
    ) -> Result<Session> {
        Ok(connect(format!("http://node/exec/{id}?{}", command.join("+")), streams))
    }

    async fn attach(&self, id: &ContainerId, streams: StreamOptions) -> Result<Session> {
        Ok(connect(format!("http://node/attach/{id}"), streams))
    }

    async fn port_forward(&self, id: &SandboxId, port: u16) -> Result<Session> {
        let streams = StreamOptions::default().stdin(true).stdout(true);
        Ok(connect(format!("http://node/portforward/{id}/{port}"), streams))
    }
}

#[async_trait]
impl Stats for CriAdapter {
    async fn list(&self, filter: ContainerFilter) -> Result<Vec<ContainerStats>> {
        Stats::list(&self.rest, filter).await
    }
}

impl Events for CriAdapter {
    fn subscribe(&self) -> BoxStream<'static, Result<ContainerEvent>> {
        self.rest.subscribe()
    }
}

#[tokio::test]
async fn a_cri_adapter_with_streaming_fits_the_seam() {
    let exec: Arc<dyn Exec> = Arc::new(CriAdapter { rest: FakeRuntime::new(Options::default()) });
    let streaming: Box<dyn Streaming> = exec.streaming().unwrap();
    let options = StreamOptions::default().stdin(true).stdout(true).tty(true);
    let session = streaming.exec(&"c".into(), &["sh".to_owned()], options).await.unwrap();
    assert!(session.stdin.is_some() && session.stdout.is_some() && session.stderr.is_none());
    let resize = session.resize.unwrap();
    resize.try_send(TerminalSize { width: 80, height: 25 }).unwrap_err();
    assert!(session.exit.await.is_err());
    let forward = streaming.port_forward(&"p".into(), 80).await.unwrap();
    assert!(forward.stdin.is_some() && forward.resize.is_none());
}

#[cfg(feature = "mock")]
#[tokio::test]
async fn mocks_stand_in_for_a_runtime() {
    let mut runtime = MockRuntime::default();
    runtime.containers.expect_stop().once().returning(|_, _| Ok(()));
    let runtime: Arc<dyn Runtime> = Arc::new(runtime);
    runtime.containers().stop(&"c".into(), Duration::ZERO).await.unwrap();
    assert!(runtime.events().is_none());
}

/// A fault to plant in an otherwise good backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    LosesExitCodes,
    ListsAllStates,
    ForgetsAnnotations,
    StatusOfUnknownIsUnknown,
}

#[derive(Debug)]
struct Faulty {
    good: FakeRuntime,
    fault: Fault,
}

#[async_trait]
impl Containers for Faulty {
    async fn create(&self, pod: &SandboxId, mut config: ContainerConfig) -> Result<ContainerId> {
        if self.fault == Fault::ForgetsAnnotations {
            config.annotations.clear();
        }
        self.good.create(pod, config).await
    }
    async fn start(&self, id: &ContainerId) -> Result<()> {
        self.good.start(id).await
    }
    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        Containers::stop(&self.good, id, grace).await
    }
    async fn remove(&self, id: &ContainerId) -> Result<()> {
        Containers::remove(&self.good, id).await
    }
    async fn status(&self, id: &ContainerId) -> Result<ContainerStatus> {
        let status = Containers::status(&self.good, id).await;
        match (self.fault, status) {
            (Fault::LosesExitCodes, Ok(mut status)) => {
                if let Some(exit) = status.exit.as_mut().filter(|exit| exit.code == 42) {
                    exit.code = 1;
                }
                Ok(status)
            }
            (Fault::StatusOfUnknownIsUnknown, Err(_)) if id.as_str() == "no-such-container" => {
                Err(Error::Unsupported { operation: "status", runtime: "faulty" })
            }
            (_, status) => status,
        }
    }
    async fn list(&self, mut filter: ContainerFilter) -> Result<Vec<ContainerSummary>> {
        if self.fault == Fault::ListsAllStates {
            filter.state = None;
        }
        Containers::list(&self.good, filter).await
    }
    async fn update(&self, id: &ContainerId, resources: Resources) -> Result<()> {
        self.good.update(id, resources).await
    }
    async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
        self.good.reopen_log(id).await
    }
}

#[async_trait]
impl Runtime for Faulty {
    fn sandboxes(&self) -> &dyn Sandboxes {
        &self.good
    }
    fn containers(&self) -> &dyn Containers {
        self
    }
    fn images(&self) -> &dyn Images {
        &self.good
    }
    fn exec(&self) -> &dyn Exec {
        &self.good
    }
    fn stats(&self) -> Option<&dyn Stats> {
        None
    }
    fn events(&self) -> Option<&dyn Events> {
        None
    }
    async fn version(&self) -> Result<Version> {
        self.good.version().await
    }
    async fn status(&self) -> Result<RuntimeStatus> {
        Runtime::status(&self.good).await
    }
}

struct Place(Fault);

#[async_trait]
impl Fixture for Place {
    async fn open(&self) -> Arc<dyn Runtime> {
        let ends = |code: i32| Behavior::default().exit_after(Duration::ZERO).exit_code(code);
        let options = [0, 1, 3, 42].into_iter().fold(Options::default(), |options, code| {
            options.image(format!("exit-{code}"), ends(code))
        });
        Arc::new(Faulty { good: FakeRuntime::new(options), fault: self.0 })
    }

    fn program(&self, program: &Program) -> ContainerConfig {
        ContainerConfig::default().image(match program {
            Program::Exit(code) => format!("exit-{code}"),
            _ => "sleep".to_owned(),
        })
    }

    fn scratch(&self) -> PathBuf {
        PathBuf::from("/nowhere")
    }
}

/// The cases that fail, of a few that need no special program.
fn failing(fault: Fault) -> Vec<&'static str> {
    use knode::conformance::containers as cases;
    let mut failed = Vec::new();
    macro_rules! run {
        ($($case:ident)*) => { $(
            assert!(CASES.contains(&(stringify!($case), Capability::Base)));
            let capabilities = Capabilities::default().simulated();
            let run = || run_case(
                stringify!($case),
                Capability::Base,
                capabilities,
                || async move { Place(fault) },
                cases::$case,
            );
            if std::panic::catch_unwind(AssertUnwindSafe(run)).is_err() {
                failed.push(stringify!($case));
            }
        )* };
    }
    run!(
        create_reports_a_created_container
        create_refuses_a_second_container_of_the_same_attempt
        start_runs_the_container
        stop_container_is_idempotent
        remove_container_is_idempotent
        status_reports_exit_codes
        status_of_an_unknown_container_is_not_found
        list_containers_filters_by_id_sandbox_state_and_labels
    );
    failed
}

#[test]
fn a_planted_fault_fails_exactly_the_case_that_names_it() {
    for (fault, expect) in [
        (Fault::None, &[][..]),
        (Fault::LosesExitCodes, &["status_reports_exit_codes"]),
        (Fault::ForgetsAnnotations, &["create_reports_a_created_container"]),
        (Fault::StatusOfUnknownIsUnknown, &["status_of_an_unknown_container_is_not_found"]),
        (Fault::ListsAllStates, &["list_containers_filters_by_id_sandbox_state_and_labels"]),
    ] {
        assert_eq!(failing(fault), expect, "{fault:?}");
    }
}
