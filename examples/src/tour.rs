//! A tour of a cluster: what is applied runs, is probed, replaced, balanced, rolled and collected.
//!
//! It sees the cluster through a client alone, so it can be taken through any distribution whose
//! nodes know the image `hello:1` (see [`crate::hello`]).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kcore::client::{Api, DeleteOptions, DynClient, ListOptions, Patch, Propagation};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{hello, http};

/// How long one step may take.
const STEP_LIMIT: Duration = Duration::from_secs(60);
/// How often the cluster is asked whether a step is done.
const POLL: Duration = Duration::from_millis(10);
/// Requests that are open at once during the rolling update.
const LOAD: usize = 4;

/// The tour, from the moment it begins.
#[derive(Debug)]
pub struct Tour {
    client: DynClient,
    began: Instant,
}

impl Tour {
    /// Begins now.
    #[must_use]
    pub fn new(client: DynClient) -> Self {
        Self { client, began: Instant::now() }
    }

    /// Counts the time from then on.
    #[must_use]
    pub fn since(mut self, began: Instant) -> Self {
        self.began = began;
        self
    }

    /// Says that a step is done, and when.
    fn done(&self, what: &str) {
        println!("{:>7.3} s  {what}", self.began.elapsed().as_secs_f64());
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(Arc::clone(&self.client), "default")
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(Arc::clone(&self.client), "default")
    }

    /// Goes through all steps.
    ///
    /// # Errors
    /// If a step fails, or takes longer than a minute.
    pub async fn take(&self) -> anyhow::Result<()> {
        let nodes: Api<Node> = Api::all(Arc::clone(&self.client));
        nodes.list(&ListOptions::default()).await?;
        self.done("API ready");
        wait_for("a node is Ready", async || {
            Ok(nodes.list(&ListOptions::default()).await?.items.iter().any(|node| is_ready(node)))
        })
        .await?;
        self.done("node Ready");
        let service = self.apply().await?;
        self.answered_by_all(service, 3).await?;
        self.kill_one(service).await?;
        self.fail_a_readiness_probe(service).await?;
        self.roll_under_load(service).await?;
        self.scale(5).await?;
        self.answered_by_all(service, 5).await?;
        self.delete(service).await
    }

    /// Applies the Deployment and its Service, and returns where the Service is.
    async fn apply(&self) -> anyhow::Result<SocketAddr> {
        let mut manifest: Value = serde_json::from_str(include_str!("hello.json"))?;
        let deployment = serde_json::from_value(manifest["deployment"].take())?;
        let service: Service = serde_json::from_value(manifest["service"].take())?;
        self.deployments().create(deployment).await?;
        let services: Api<Service> = Api::namespaced(Arc::clone(&self.client), "default");
        let service = services.create(service).await?;
        self.done("Deployment of three applied");
        self.available(3).await?;
        self.done("Deployment of three available");
        let spec = service.spec.clone().unwrap_or_default();
        let ip = spec.cluster_ip.context("the Service has no cluster address")?;
        let port = spec.ports.iter().flatten().next().context("the Service has no port")?.port;
        Ok(SocketAddr::new(ip.parse()?, u16::try_from(port)?))
    }

    /// Waits until a rollout of so many replicas is complete.
    async fn available(&self, replicas: i32) -> anyhow::Result<()> {
        wait_for("the Deployment is available", async || {
            let deployment = self.deployments().get("hello").await?;
            let status = deployment.status.clone().unwrap_or_default();
            Ok(status.observed_generation == deployment.metadata.generation
                && status.available_replicas == Some(replicas)
                && status.updated_replicas == Some(replicas)
                && status.replicas == Some(replicas))
        })
        .await
    }

    /// The pods that answer at the Service, by name, of `count` requests.
    async fn answerers(
        &self,
        service: SocketAddr,
        count: usize,
    ) -> anyhow::Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for _ in 0..count {
            let text = http::get(service, "/").await?;
            names.insert(text.split(' ').next().unwrap_or_default().to_owned());
        }
        Ok(names)
    }

    async fn answered_by_all(&self, service: SocketAddr, pods: usize) -> anyhow::Result<()> {
        wait_for("every pod answers at the Service", async || {
            Ok(self.answerers(service, 4 * pods).await.is_ok_and(|names| names.len() == pods))
        })
        .await?;
        self.done(&format!("requests to {service} answered by all {pods} pods"));
        Ok(())
    }

    /// The address of a pod that answers at the Service, its name and its process.
    async fn victim(&self, service: SocketAddr) -> anyhow::Result<(SocketAddr, String, i32)> {
        let text = http::get(service, "/").await?;
        let mut words = text.split_whitespace();
        let name = words.next().context("no name")?.to_owned();
        let process = words.nth(1).context("no process")?.parse()?;
        let pod = self.pods().get(&name).await?;
        let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref());
        let ip = ip.context("the pod has no address")?.parse()?;
        Ok((SocketAddr::new(ip, hello::PORT), name, process))
    }

    async fn kill_one(&self, service: SocketAddr) -> anyhow::Result<()> {
        let (_, name, process) = self.victim(service).await?;
        let pid = rustix::process::Pid::from_raw(process).context("no process number")?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        wait_for("the killed process is replaced", async || {
            let pod = self.pods().get(&name).await?;
            let status = pod.status.clone().unwrap_or_default();
            let restarts = status.container_statuses.iter().flatten().map(|it| it.restart_count);
            Ok(restarts.sum::<i32>() == 1 && is_pod_ready(&pod))
        })
        .await?;
        self.done(&format!("process {process} of {name} killed and replaced"));
        Ok(())
    }

    async fn fail_a_readiness_probe(&self, service: SocketAddr) -> anyhow::Result<()> {
        let (address, name, _) = self.victim(service).await?;
        http::send("POST", address, "/unready").await?;
        wait_for("the pod is taken out of the Service", async || {
            Ok(!self.answerers(service, 12).await?.contains(&name))
        })
        .await?;
        self.done(&format!("{name} is not ready and out of the Service"));
        http::send("POST", address, "/ready").await?;
        wait_for("the pod is back in the Service", async || {
            Ok(self.answerers(service, 12).await?.contains(&name))
        })
        .await?;
        self.done(&format!("{name} is ready and back in the Service"));
        Ok(())
    }

    async fn roll_under_load(&self, service: SocketAddr) -> anyhow::Result<()> {
        let stop = kcore::stop::StopToken::new();
        let mut load = tokio::task::JoinSet::new();
        for _ in 0..LOAD {
            let stop = stop.clone();
            load.spawn(async move {
                let (mut answered, mut failed) = (0_u64, Vec::new());
                while !stop.is_stopped() {
                    match http::get(service, "/").await {
                        Ok(_) => answered += 1,
                        Err(error) => failed.push(format!("{error:#}")),
                    }
                }
                (answered, failed)
            });
        }
        let env = json!([{ "name": "VERSION", "value": "2" }]);
        let container = json!({ "name": "hello", "env": env });
        let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        let patch = Patch::Strategic(patch.to_string().into());
        self.deployments().patch("hello", patch).await?;
        self.available(3).await?;
        wait_for("only the new version is left", async || {
            Ok(self.pods().list(&ListOptions::default()).await?.items.len() == 3)
        })
        .await?;
        ensure!(http::get(service, "/").await?.contains(" 2 "), "the old version answers");
        stop.stop();
        let (mut answered, mut failed) = (0, Vec::new());
        while let Some(ended) = load.join_next().await {
            let (more, errors) = ended?;
            answered += more;
            failed.extend(errors);
        }
        let failures = failed.len();
        ensure!(failed.is_empty(), "{failures} requests failed: {:?}", failed.first());
        self.done(&format!(
            "rolled to version 2: {answered} requests meanwhile, {failures} failed"
        ));
        Ok(())
    }

    async fn scale(&self, replicas: i32) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}).to_string().into());
        self.deployments().patch("hello", patch).await?;
        self.available(replicas).await?;
        self.done(&format!("scaled to {replicas}"));
        Ok(())
    }

    async fn delete(&self, service: SocketAddr) -> anyhow::Result<()> {
        let cascade = DeleteOptions::default().propagation(Propagation::Foreground);
        self.deployments().delete("hello", &cascade).await?;
        let services: Api<Service> = Api::namespaced(Arc::clone(&self.client), "default");
        services.delete("hello", &DeleteOptions::default()).await?;
        wait_for("everything of the Deployment is gone", async || {
            let gone = self.deployments().get_opt("hello").await?.is_none();
            Ok(gone && self.pods().list(&ListOptions::default()).await?.items.is_empty())
        })
        .await?;
        wait_for("the Service answers no more", async || {
            Ok(http::get(service, "/").await.is_err())
        })
        .await?;
        self.done("deleted, with everything that was made of it");
        Ok(())
    }
}

/// Asks again and again until `test` holds. A step that fails once may hold later.
async fn wait_for(what: &str, test: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + STEP_LIMIT;
    loop {
        match test().await {
            Ok(true) => return Ok(()),
            Ok(false) if Instant::now() < deadline => {}
            Ok(false) => anyhow::bail!("this did not come true in time: {what}"),
            Err(error) if Instant::now() >= deadline => return Err(error.context(what.to_owned())),
            Err(_) => {}
        }
        tokio::time::sleep(POLL).await;
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True")
}

fn is_pod_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True")
}
