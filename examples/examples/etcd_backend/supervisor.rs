//! The process that starts the others, and starts again what dies.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use kapi::serve::{ClusterCa, ServiceAccountKey, kubeconfig};
use kcore::clock::Clock;
use kcore::stop::StopToken;
use kubrick_examples::program::asked_to_stop;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::flags::Flags;

/// How long a process that died is left dead.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// How long a process may take to end when it is asked to.
const STOP_GRACE: Duration = Duration::from_secs(20);

pub(crate) async fn run(flags: &Flags) -> anyhow::Result<()> {
    let (directory, now) = (&flags.data_dir, Clock::system().now());
    // Every server has its certificate from this authority, and finds it here.
    let ca = ClusterCa::open(&directory.join("pki"), now)?;
    ServiceAccountKey::open(&directory.join("pki"))?;
    let admin = ca.client("kubernetes-admin", &["system:masters"], now)?;
    let path = directory.join("kubeconfig");
    let url = format!("https://{}", flags.front()?);
    kubeconfig(&path, &url, &ca, "kubernetes-admin", &admin)?;
    println!("kubeconfig: {}", path.display());
    let stop = StopToken::new();
    let mut processes = JoinSet::new();
    for address in &flags.listen {
        let name = format!("api-server {address}");
        let arguments = flags.arguments("api-server", &[*address]);
        processes.spawn(keep(name, arguments, stop.clone()));
    }
    let arguments = flags.arguments("node", &flags.listen);
    processes.spawn(keep("node".to_owned(), arguments, stop.clone()));
    asked_to_stop().await;
    stop.stop();
    while let Some(ended) = processes.join_next().await {
        ended.context("a process was not looked after")??;
    }
    Ok(())
}

/// Keeps one process running until the supervisor stops.
async fn keep(name: String, arguments: Vec<String>, stop: StopToken) -> anyhow::Result<()> {
    let this = std::env::current_exe().context("this program cannot find itself")?;
    loop {
        let mut child = Command::new(&this)
            .args(&arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        println!("{name}: process {}", child.id().unwrap_or_default());
        kcore::select! {
            () = stop.stopped() => return end(&mut child).await,
            status = child.wait() => println!("{name}: ended ({})", status?),
        }
        kcore::select! {
            () = stop.stopped() => return Ok(()),
            () = tokio::time::sleep(RESTART_PAUSE) => {}
        }
    }
}

/// Asks a process to end, and ends it if it does not.
async fn end(child: &mut Child) -> anyhow::Result<()> {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(id) = id.and_then(rustix::process::Pid::from_raw) {
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
    }
    match tokio::time::timeout(STOP_GRACE, child.wait()).await {
        Ok(status) => drop(status?),
        Err(_) => child.kill().await?,
    }
    Ok(())
}
