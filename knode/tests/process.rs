//! `ProcessRuntime` under the suite, and what only it has.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use knode::conformance::{Capabilities, Fixture, Program, shell_program};
use knode::process::{Options, ProcessRuntime};
use knode::runtime::{ContainerConfig, Runtime};

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
