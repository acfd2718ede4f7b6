//! `FakeRuntime` under the suite, its price, and its determinism.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use knode::conformance::{Capabilities, Fixture, Program};
use knode::fake::{Behavior, Command, FakeRuntime, OnRequest, Options};
use knode::probe::{Action, ProbeSpec, Prober as _, Target, Verdict};
use knode::runtime::{
    ContainerConfig, ContainerId, Events as _, ExecOptions, PullOptions, Runtime, SandboxConfig,
};

/// The programs of the suite as scripts, found by a container's command.
fn script(config: &ContainerConfig) -> Arc<Behavior> {
    let obey = OnRequest::default().exit_code(7);
    let number = |at: usize| config.command.get(at).and_then(|word| word.parse::<i32>().ok());
    let behavior = match config.command.first().map(String::as_str) {
        Some("exit") => {
            Behavior::default().exit_after(Duration::ZERO).exit_code(number(1).unwrap_or_default())
        }
        Some("end-when-asked") => Behavior::default().on_request(obey),
        Some("ignore") => Behavior::default().on_request(None),
        Some("missing") => Behavior::default().start_error(
            "exec: \"kubrick-no-such-command\": executable file not found in $PATH".to_owned(),
        ),
        _ => Behavior::default(),
    };
    let flood = Command::default().stdout("x".repeat(1 << 20));
    let print = Command::default().stdout("out\n").stderr("err\n");
    let hang = Command::default().takes(Duration::from_secs(3600));
    Arc::new(
        behavior
            .command(["exit", "3"], Command::default().exit_code(3))
            .command(["print"], print)
            .command(["ignore"], hang)
            .command(["flood"], flood),
    )
}

struct Place(FakeRuntime);

impl Place {
    fn new() -> Self {
        let options = Options::default().script(script).absent("kubrick.invalid/no-such-image:v0");
        Self(FakeRuntime::new(options))
    }
}

#[async_trait]
impl Fixture for Place {
    async fn open(&self) -> Arc<dyn Runtime> {
        Arc::new(self.0.clone())
    }

    fn program(&self, program: &Program) -> ContainerConfig {
        let command = match program {
            Program::Exit(code) => vec!["exit".to_owned(), code.to_string()],
            Program::EndWhenAsked => vec!["end-when-asked".to_owned()],
            Program::IgnoreRequests => vec!["ignore".to_owned()],
            Program::Print { .. } => vec!["print".to_owned()],
            Program::Flood(_) => vec!["flood".to_owned()],
            Program::Missing => vec!["missing".to_owned()],
            _ => vec!["sleep".to_owned()],
        };
        ContainerConfig::default().image("scripted").command(command)
    }

    fn scratch(&self) -> PathBuf {
        PathBuf::from("/nowhere")
    }
}

knode::conformance::suite!(
    fake_runtime,
    Capabilities::default()
        .simulated()
        .addresses()
        .exec()
        .adoption()
        .image_removal()
        .resources()
        .stats()
        .events(),
    || async { Place::new() }
);

async fn started(runtime: &FakeRuntime, uid: &str, image: &str) -> ContainerId {
    let config = SandboxConfig::default().name(uid).namespace("default").uid(uid).labels([
        ("io.kubernetes.pod.name", uid),
        ("io.kubernetes.pod.namespace", "default"),
        ("io.kubernetes.pod.uid", uid),
    ]);
    let pod = runtime.sandboxes().run(config).await.unwrap();
    runtime.images().pull(image, PullOptions::default()).await.unwrap();
    let config = ContainerConfig::default()
        .name("main")
        .image(image)
        .labels([("io.kubernetes.container.name", "main"), ("io.kubernetes.pod.uid", uid)]);
    let container = runtime.containers().create(&pod, config).await.unwrap();
    runtime.containers().start(&container).await.unwrap();
    container
}

#[tokio::test(start_paused = true)]
async fn probes_find_what_the_script_says() {
    let second = Duration::from_secs(1);
    let web = Behavior::default().healthy_after(2 * second).unhealthy_after(4 * second);
    let runtime = FakeRuntime::new(Options::default().image("web", web));
    let container = started(&runtime, "a", "web").await;
    let spec = ProbeSpec::new(Action::TcpSocket { host: None, port: 80 });
    let address = [10, 0, 0, 1].into();
    let mut found = Vec::new();
    for _ in 0..6 {
        let outcome = runtime.probe(&spec, Target::new(address, &container, &runtime)).await;
        found.push(outcome.verdict == Verdict::Success);
        tokio::time::sleep(second).await;
    }
    assert_eq!(found, [false, false, true, true, false, false]);
    runtime.set_healthy(&container, true).unwrap();
    let outcome = runtime.probe(&spec, Target::new(address, &container, &runtime)).await;
    assert_eq!(outcome.verdict, Verdict::Success);
}

#[tokio::test(start_paused = true)]
async fn logs_are_there_once_it_started() {
    let web = Behavior::default().log(["listening", "ready"]);
    let runtime = FakeRuntime::new(Options::default().image("web", web));
    let container = started(&runtime, "a", "web").await;
    let log = String::from_utf8(runtime.log(&container).unwrap()).unwrap();
    let at = "2026-01-01T00:00:00Z stdout F";
    assert_eq!(log, format!("{at} listening\n{at} ready\n"));
    let exec = runtime.exec();
    let output = exec.exec_sync(&container, &["x".into()], ExecOptions::default()).await.unwrap();
    assert_eq!(output.exit_code, 0);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_the_script_refuses_is_a_start_error() {
    let broken = Behavior::default().start_error("exec: no such file".to_owned());
    let runtime = FakeRuntime::new(Options::default().image("broken", broken));
    let pod = runtime.sandboxes().run(SandboxConfig::default().uid("a")).await.unwrap();
    runtime.images().pull("broken", PullOptions::default()).await.unwrap();
    let config = ContainerConfig::default().name("main").image("broken");
    let container = runtime.containers().create(&pod, config).await.unwrap();
    let error = runtime.containers().start(&container).await.unwrap_err();
    assert!(error.to_string().ends_with("exec: no such file"), "{error}");
    let exit = runtime.containers().status(&container).await.unwrap().exit.unwrap();
    assert_eq!((exit.code, exit.reason.as_str()), (128, "StartError"));
}

#[tokio::test(start_paused = true)]
async fn two_runs_tell_the_same_events() {
    let run = async || {
        let job = Behavior::default().exit_after(Duration::from_millis(1500)).exit_code(1);
        let runtime = FakeRuntime::new(Options::default().image("job", job));
        let mut events = runtime.subscribe();
        for number in 0..20 {
            started(&runtime, &format!("pod-{number}"), "job").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut seen = Vec::new();
        while seen.len() < 60 {
            seen.push(events.next().await.unwrap().unwrap());
        }
        seen
    };
    assert_eq!(run().await, run().await);
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_learns_what_it_lost() {
    let runtime = FakeRuntime::new(Options::default());
    let mut events = runtime.subscribe();
    for number in 0..600 {
        started(&runtime, &format!("pod-{number}"), "web").await;
    }
    let lost = events.next().await.unwrap().unwrap_err();
    assert_eq!(lost.to_string(), "176 events were lost, list again");
    assert!(events.next().await.unwrap().is_ok());
}

/// Bytes this thread holds.
mod counted {
    #![allow(unsafe_code, reason = "an allocator that counts can only be written so")]
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    thread_local!(static HELD: Cell<isize> = const { Cell::new(0) });

    struct Counting;

    fn add(bytes: isize) {
        let _ = HELD.try_with(|held| held.set(held.get() + bytes));
    }

    // SAFETY: every call is passed to the system's allocator as it came.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            add(layout.size().cast_signed());
            // SAFETY: the caller's promise is passed on.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            add(-layout.size().cast_signed());
            // SAFETY: the caller's promise is passed on.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    pub(super) fn held() -> isize {
        HELD.get()
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_nodes_of_ten_pods_cost_less_than_a_kilobyte_a_pod() {
    let before = counted::held();
    let options = Options::default();
    let mut nodes = Vec::new();
    for node in 0..1000 {
        let runtime = FakeRuntime::new(options.clone());
        for pod in 0..10 {
            started(&runtime, &format!("pod-{node}-{pod}"), "web").await;
        }
        nodes.push(runtime);
    }
    let per_pod = (counted::held() - before) / 10_000;
    assert!(per_pod < 1024, "{per_pod} bytes a pod");
}
