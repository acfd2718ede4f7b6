//! `ProcessRuntime` under the suite, and what only it has.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use knode::Error;
use knode::conformance::{Capabilities, Fixture, Program, shell_program};
use knode::logs::{LogOptions, Rotation, never_ends, rotated_files};
use knode::process::{Options, ProcessRuntime, Program as HostProgram};
use knode::runtime::{
    ContainerConfig, ContainerFilter, ContainerId, ContainerState, ContainerStatus, Exit,
    PullOptions, Runtime, SandboxConfig, SandboxFilter, SandboxId,
};

/// A runtime in a directory of its own.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("runtime")
    }

    fn open(&self) -> ProcessRuntime {
        ProcessRuntime::new(self.root(), options()).unwrap()
    }
}

fn options() -> Options {
    Options::default().shim_path(PathBuf::from(env!("CARGO_BIN_EXE_knode-shim")))
}

impl Drop for Place {
    fn drop(&mut self) {
        // A failed case must not leave its processes to the machine.
        for pid in processes_of(&self.root()) {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Processes whose environment names the directory: shims and containers.
fn processes_of(root: &Path) -> Vec<i32> {
    let marker = root.as_os_str().as_encoded_bytes();
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.windows(marker.len()).any(|window| window == marker))
    })
    .collect()
}

#[async_trait]
impl Fixture for Place {
    async fn open(&self) -> Arc<dyn Runtime> {
        Arc::new(Place::open(self))
    }

    fn program(&self, program: &Program) -> ContainerConfig {
        shell_program("host", program)
    }

    fn scratch(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    fn leftovers(&self) -> Vec<String> {
        let processes = processes_of(&self.root()).into_iter().map(|pid| format!("process {pid}"));
        let names = ["sandboxes", "containers"].into_iter().flat_map(|kind| {
            std::fs::read_dir(self.root().join(kind))
                .unwrap()
                .map(|entry| entry.unwrap().path().display().to_string())
        });
        processes.chain(names).collect()
    }
}

knode::conformance::suite!(
    process_runtime,
    Capabilities::default()
        .addresses()
        .processes()
        .mounts()
        .logs()
        .exec()
        .adoption()
        .stats()
        .events(),
    || async { Place::new() }
);

fn shell(name: &str, script: &str) -> ContainerConfig {
    ContainerConfig::default()
        .name(name)
        .image("host")
        .command(["sh", "-c"])
        .args([script])
        .log_path(PathBuf::from(format!("{name}.log")))
}

async fn pod(place: &Place, runtime: &ProcessRuntime, uid: &str) -> SandboxId {
    let config = SandboxConfig::default().name(uid).uid(uid).log_directory(place.scratch());
    runtime.sandboxes().run(config).await.unwrap()
}

async fn start(runtime: &ProcessRuntime, pod: &SandboxId, config: ContainerConfig) -> ContainerId {
    let container = runtime.containers().create(pod, config).await.unwrap();
    runtime.containers().start(&container).await.unwrap();
    container
}

async fn status(runtime: &ProcessRuntime, id: &ContainerId) -> ContainerStatus {
    runtime.containers().status(id).await.unwrap()
}

async fn exit(runtime: &ProcessRuntime, id: &ContainerId) -> Exit {
    eventually("the container ends", async || status(runtime, id).await.exit).await
}

/// Looks until there is something; half a minute is more than a loaded machine needs.
async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..3000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain until {what}");
}

async fn log(runtime: &ProcessRuntime, id: &ContainerId) -> String {
    let path = status(runtime, id).await.log_path.unwrap();
    let pieces = knode::logs::read(path, LogOptions::default().rotated(true), never_ends());
    let pieces: Vec<_> = pieces.map(|piece| piece.unwrap().to_vec()).collect().await;
    String::from_utf8(pieces.concat()).unwrap()
}

fn stat_field(pid: i32, field: usize) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, back) = stat.rsplit_once(')').unwrap();
    back.split_ascii_whitespace().nth(field - 3).unwrap().parse().unwrap()
}

/// N4: a process that fled its group and its session is ended with its container.
#[tokio::test]
async fn what_a_container_leaves_behind_is_killed() {
    let place = Place::new();
    let runtime = place.open();
    let pod = pod(&place, &runtime, "a").await;
    let script = "setsid sleep 3600 & (sleep 3600 &) ; exit 4";
    let container = start(&runtime, &pod, shell("c", script)).await;
    assert_eq!(exit(&runtime, &container).await.code, 4);
    eventually("no process is left", async || processes_of(&place.root()).is_empty().then_some(()))
        .await;
}

/// N1, N4: nobody knows how such a container ended, and nothing of it goes on unseen.
#[tokio::test]
async fn a_killed_shim_ends_its_container() {
    use rustix::process::{Pid, Signal, kill_process};
    let place = Place::new();
    let runtime = place.open();
    let pod = pod(&place, &runtime, "a").await;
    let container = start(&runtime, &pod, shell("c", "sleep 3600 & sleep 3600")).await;
    let shim_of = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.starts_with(b"KUBRICK_SHIM="))
    };
    let shim = processes_of(&place.root()).into_iter().find(shim_of).unwrap();
    kill_process(Pid::from_raw(shim).unwrap(), Signal::KILL).unwrap();
    let exit = exit(&runtime, &container).await;
    assert_eq!((exit.code, exit.message.as_str()), (137, "the container's shim was killed"));
    eventually("no process is left", async || processes_of(&place.root()).is_empty().then_some(()))
        .await;
}

/// A terminal sends Ctrl-C to the foreground group of its session.
#[tokio::test]
async fn containers_are_in_no_session_or_group_of_the_agent() {
    let place = Place::new();
    let runtime = place.open();
    let pod = pod(&place, &runtime, "a").await;
    start(&runtime, &pod, shell("c", "sleep 3600")).await;
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let processes = processes_of(&place.root());
    assert!(processes.len() >= 2, "{processes:?}");
    for pid in processes {
        assert_ne!(stat_field(pid, 6), stat_field(own, 6), "session of {pid}");
        assert_ne!(stat_field(pid, 5), stat_field(own, 5), "group of {pid}");
    }
    runtime.shutdown(Duration::from_secs(30)).await.unwrap();
    assert!(processes_of(&place.root()).is_empty());
}

#[tokio::test]
async fn a_shim_rotates_the_log_and_loses_nothing() {
    let place = Place::new();
    let rotation = Rotation::default().max_bytes(20_000u64).max_files(50u32);
    let runtime = ProcessRuntime::new(place.root(), options().rotation(rotation)).unwrap();
    let pod = pod(&place, &runtime, "a").await;
    let script = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; printf end";
    let container = start(&runtime, &pod, shell("c", script)).await;
    exit(&runtime, &container).await;
    let path = status(&runtime, &container).await.log_path.unwrap();
    assert!(!rotated_files(&path).unwrap().is_empty());
    let expect: String = (0..5000).map(|number| format!("line {number}\n")).collect();
    assert_eq!(log(&runtime, &container).await, expect + "end");
}

#[tokio::test]
async fn processes_know_their_pod() {
    let place = Place::new();
    let web = HostProgram::new("/bin/sh").args(["-c", "echo $MODE $POD_IP $HOSTNAME; pwd"]);
    let options = options().program("web", web.envs([("MODE", "image")]));
    let options = options.pod_cidr("127.77.0.0/16").unwrap();
    let runtime = ProcessRuntime::new(place.root(), options).unwrap();
    let pod = pod(&place, &runtime, "web-0").await;
    let config = ContainerConfig::default().name("c").image("web:latest");
    let config = config.log_path("c.log").working_dir("/data/deep");
    let container = start(&runtime, &pod, config).await;
    exit(&runtime, &container).await;
    let log = log(&runtime, &container).await;
    assert!(log.starts_with("image 127.77.0.1 web-0\n"), "{log}");
    assert!(log.ends_with("/root/data/deep\n"), "{log}");
}

#[tokio::test]
async fn addresses_are_bounded_and_come_back() {
    let place = Place::new();
    let options = options().pod_cidr("127.78.0.0/30").unwrap();
    let runtime = ProcessRuntime::new(place.root(), options).unwrap();
    let first = pod(&place, &runtime, "a").await;
    pod(&place, &runtime, "b").await;
    let config = SandboxConfig::default().name("c").uid("c");
    let refused = runtime.sandboxes().run(config.clone()).await;
    assert!(matches!(refused, Err(Error::Exhausted { limit: 2, .. })), "{refused:?}");
    runtime.sandboxes().remove(&first).await.unwrap();
    runtime.sandboxes().run(config).await.unwrap();
}

#[tokio::test]
async fn a_directory_has_one_runtime() {
    let place = Place::new();
    let first = place.open();
    let second = ProcessRuntime::new(place.root(), options());
    assert!(matches!(second, Err(Error::InUse { .. })), "{second:?}");
    drop(first);
    place.open();
}

/// N4: a crash at any write of create, start or remove is swept when the runtime is opened again.
#[tokio::test]
async fn half_made_and_half_removed_things_are_swept() {
    let place = Place::new();
    let runtime = place.open();
    let pod = pod(&place, &runtime, "a").await;
    let waiting = runtime.containers().create(&pod, shell("c", "exit 0")).await.unwrap();
    drop(runtime);
    let containers = place.root().join("containers");
    for name in ["half-made/root", "removed-x/root"] {
        std::fs::create_dir_all(containers.join(name)).unwrap();
        std::fs::create_dir_all(place.root().join("sandboxes").join(name)).unwrap();
    }
    // The agent died after it had asked for the shim, before the shim had written anything.
    std::fs::write(containers.join(waiting.as_str()).join("control"), "").unwrap();
    let runtime = place.open();
    let all = runtime.sandboxes().list(SandboxFilter::default()).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(status(&runtime, &waiting).await.state(), ContainerState::Created);
    runtime.containers().start(&waiting).await.unwrap();
    assert_eq!(exit(&runtime, &waiting).await.code, 0);
    runtime.sandboxes().remove(&pod).await.unwrap();
    assert!(place.leftovers().is_empty(), "{:?}", place.leftovers());
}

#[tokio::test]
async fn pulling_an_unknown_program_names_the_known_ones() {
    let place = Place::new();
    let runtime = place.open();
    let error = runtime.images().pull("nginx:1", PullOptions::default()).await.unwrap_err();
    let expect = "failed to pull image \"nginx:1\": no such program, known are host";
    assert_eq!(error.to_string(), expect);
}

#[tokio::test]
async fn a_shim_that_is_none_is_a_start_error() {
    let place = Place::new();
    let options = Options::default().shim_path(PathBuf::from("/bin/true"));
    let runtime = ProcessRuntime::new(place.root(), options).unwrap();
    let pod = pod(&place, &runtime, "a").await;
    let container = runtime.containers().create(&pod, shell("c", "exit 0")).await.unwrap();
    let error = runtime.containers().start(&container).await.unwrap_err();
    assert!(error.to_string().ends_with("the shim /bin/true did not answer"), "{error}");
    assert_eq!(exit(&runtime, &container).await.code, 128);
}

/// N1: the agent is a process of its own here, and is killed as an operator's `kill -9` would.
#[tokio::test]
async fn containers_outlive_a_killed_agent() {
    let place = Place::new();
    // The agent's part is played by this very test binary, run for one test.
    let mut agent = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "plays_the_agent_when_asked", "--nocapture"])
        .env("KNODE_TEST_AGENT", place.root())
        .env("KNODE_TEST_LOGS", place.scratch())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let log_path = place.scratch().join("c.log");
    eventually("the container ticks", async || {
        std::fs::read_to_string(&log_path).unwrap_or_default().contains("tick").then_some(())
    })
    .await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    let runtime = place.open();
    let all = runtime.containers().list(ContainerFilter::default()).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].state, ContainerState::Running);
    let seen = log(&runtime, &all[0].id).await.len();
    eventually("it goes on", async || (log(&runtime, &all[0].id).await.len() > seen).then_some(()))
        .await;
    runtime.sandboxes().remove(&all[0].sandbox).await.unwrap();
    assert!(place.leftovers().is_empty(), "{:?}", place.leftovers());
}

/// The other process of the test above; by itself it only checks that nobody asked.
#[tokio::test]
async fn plays_the_agent_when_asked() {
    let Some(root) = std::env::var_os("KNODE_TEST_AGENT") else {
        assert!(std::env::var_os("KNODE_TEST_LOGS").is_none());
        return;
    };
    let logs = PathBuf::from(std::env::var_os("KNODE_TEST_LOGS").unwrap());
    let runtime = ProcessRuntime::new(root, options()).unwrap();
    let config = SandboxConfig::default().name("a").uid("a").log_directory(logs);
    let pod = runtime.sandboxes().run(config).await.unwrap();
    start(&runtime, &pod, shell("c", "while :; do echo tick; sleep 0.05; done")).await;
    std::future::pending::<()>().await;
}
