//! A scheduler as a process of its own, against any Kubernetes API: `scheduler --kubeconfig F`.
//!
//! `--config F` reads a `KubeSchedulerConfiguration`, whose profiles are the scheduler names it is
//! responsible for. Of several copies one leads, unless `--leader-elect false` says that there is
//! but one; the others take over when it does not renew its lease.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use kcore::client::{DynClient, KubeClient};
use kcore::component::Distribution;
use kcore::leader::{Elected, LeaderConfig};
use kcore::random::Random;
use ksched::Scheduler;
use ksched::config::SchedulerConfig;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kubrick_examples::program::{asked_to_stop, start};

/// Objects are made by one thread and dropped by another all the time: the allocator matters.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str =
    "usage: scheduler --kubeconfig F [--config KubeSchedulerConfiguration] [--leader-elect BOOL]";

/// What the command line says.
#[derive(Default)]
struct Arguments {
    kubeconfig: PathBuf,
    config: Option<PathBuf>,
    /// Wins over the configuration's word.
    leader_elect: Option<bool>,
}

impl Arguments {
    fn parse() -> anyhow::Result<Self> {
        let mut this = Self::default();
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value =
                arguments.next().with_context(|| format!("{name} needs a value; {USAGE}"))?;
            match name.as_str() {
                "--kubeconfig" => this.kubeconfig = value.into(),
                "--config" => this.config = Some(value.into()),
                "--leader-elect" => {
                    let wanted = value.parse();
                    let wanted = wanted
                        .with_context(|| format!("--leader-elect {value}: not true or false"))?;
                    this.leader_elect = Some(wanted);
                }
                other => bail!("{other} is not known; {USAGE}"),
            }
        }
        anyhow::ensure!(!this.kubeconfig.as_os_str().is_empty(), "--kubeconfig is needed; {USAGE}");
        Ok(this)
    }

    fn config(&self) -> anyhow::Result<Option<SchedulerConfig>> {
        let Some(path) = &self.config else { return Ok(None) };
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("{} cannot be read", path.display()))?;
        let config = SchedulerConfig::from_yaml(&text);
        Ok(Some(config.with_context(|| format!("{} cannot be used", path.display()))?))
    }

    /// The election to take part in, if any: as upstream does it, copies elect one of them.
    fn election(&self, config: Option<&SchedulerConfig>, identity: &str) -> Option<LeaderConfig> {
        let stock = || LeaderConfig::new("kube-system", "kube-scheduler", identity);
        match (self.leader_elect, config) {
            (Some(false), _) => None,
            (wanted, Some(config)) => {
                let configured = config.leader_election(identity);
                configured.or_else(|| wanted.map(|_| stock()))
            }
            (_, None) => Some(stock()),
        }
    }
}

fn main() -> ExitCode {
    start("scheduler", run)
}

#[tokio::main]
async fn run() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments = Arguments::parse()?;
    let config = arguments.config()?;
    let client = client(&arguments.kubeconfig).await?;
    let mut scheduler = Scheduler::new(Arc::clone(&client));
    if let Some(config) = &config {
        scheduler = scheduler.config(config);
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let identity = format!("{}_{}", host.trim(), Random::from_entropy().uuid());
    println!("identity: {identity}");
    let cluster = match arguments.election(config.as_ref(), &identity) {
        Some(election) => Distribution::new().with(Elected::new(client, election, scheduler)),
        None => Distribution::new().with(scheduler),
    };
    let stopped = cluster.run(asked_to_stop()).await;
    anyhow::ensure!(stopped.is_clean(), "stopped by force: {stopped:?}");
    Ok(())
}

/// Sees the cluster that a kubeconfig names.
async fn client(path: &Path) -> anyhow::Result<DynClient> {
    let config = Kubeconfig::read_from(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(config, &options).await?;
    Ok(Arc::new(KubeClient::new(kube::Client::try_from(config)?)))
}
