//! What every example that runs processes needs: how it starts, what its pods run, how it ends.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use knode::process::{Options, ProcessRuntime, Program};
use tokio::signal::unix::{SignalKind, signal};

use crate::hello;

/// Runs an example, unless this process was started as a container's shim or as [`hello`].
/// What goes wrong is one line.
pub fn start(name: &str, run: impl FnOnce() -> anyhow::Result<()>) -> ExitCode {
    // First thing: the shim must not have threads when it forks, nor signal handlers.
    knode::process::shim_main();
    if let Some(ended) = hello::main_if_asked() {
        return ended;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A runtime of processes below `directory`, which knows the image `hello:1` besides `host`.
///
/// # Errors
/// If the directory cannot be used, or the range is no loopback range.
pub fn process_runtime(directory: &Path, pod_cidr: &str) -> anyhow::Result<ProcessRuntime> {
    let this = std::env::current_exe().context("this program cannot find itself")?;
    let hello = Program::new(this).args([hello::ARGUMENT]);
    let options = Options::default().program("hello:1", hello).pod_cidr(pod_cidr)?;
    Ok(ProcessRuntime::new(directory, options)?)
}

/// Waits for Ctrl-C, or for what a supervisor sends.
pub async fn asked_to_stop() {
    // Without a handler the signal ends the process, as it would anyhow.
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    kcore::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
