//! What the agent's own API shows of the node.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::hub::Hub;
use crate::pod::config::POD_UID_LABEL;
use crate::runtime::{ContainerFilter, ContainerState, SandboxFilter, SandboxState};
use crate::server::{LogSource, NodeView};
use crate::{Error, Result};

/// The node, as its agent's own API shows it.
#[derive(Debug)]
pub(super) struct View(pub(super) Arc<Hub>);

#[async_trait]
impl NodeView for View {
    fn pods(&self) -> Vec<Arc<Pod>> {
        let with_status = |record: &Arc<super::record::Record>| {
            let pod = record.pod();
            match record.status() {
                Some(status) => {
                    let mut pod = Pod::clone(&pod);
                    pod.status = Some((*status).clone());
                    Arc::new(pod)
                }
                None => pod,
            }
        };
        self.0.records().iter().map(with_status).collect()
    }

    async fn running_pods(&self) -> Result<Vec<Arc<Pod>>> {
        let ready = SandboxFilter::default().state(Some(SandboxState::Ready));
        let sandboxes = self.0.runtime.sandboxes().list(ready).await?;
        let running = ContainerFilter::default().state(Some(ContainerState::Running));
        let mut containers: BTreeMap<String, Vec<Container>> = BTreeMap::new();
        for found in self.0.runtime.containers().list(running).await? {
            let Some(uid) = found.labels.get(POD_UID_LABEL) else { continue };
            let (name, image) = (found.name, Some(found.image));
            let container = Container { name, image, ..Container::default() };
            containers.entry(uid.clone()).or_default().push(container);
        }
        let pods = sandboxes.into_iter().map(|sandbox| {
            let mut pod = Pod::default();
            let containers = containers.remove(&sandbox.uid).unwrap_or_default();
            pod.metadata.name = Some(sandbox.name);
            pod.metadata.namespace = Some(sandbox.namespace);
            pod.metadata.uid = Some(sandbox.uid);
            pod.spec = Some(PodSpec { containers, ..PodSpec::default() });
            Arc::new(pod)
        });
        Ok(pods.collect())
    }

    async fn log(&self, pod: &Pod, container: &str, container_id: &str) -> Result<LogSource> {
        let missing = || Error::NotFound { kind: "container", id: container_id.to_owned() };
        let record = self.0.record(crate::pod::uid(pod)).ok_or_else(missing)?;
        let (_, id) = container_id.split_once("://").ok_or_else(missing)?;
        let observed = record.observed();
        let mut runs = observed.runs(container);
        let run = runs.find(|run| run.summary.id.as_str() == id).ok_or_else(missing)?;
        let path = run.log_path.clone().ok_or_else(|| Error::InvalidState {
            kind: "container",
            id: id.to_owned(),
            state: "without a log".to_owned(),
            needed: "one whose runtime writes logs",
        })?;
        let id = id.to_owned();
        Ok(LogSource::new(path, async move {
            let mut situations = record.situations();
            loop {
                situations.borrow_and_update();
                let observed = record.observed();
                if !observed.running().any(|run| run.summary.id.as_str() == id) {
                    return;
                }
                if situations.changed().await.is_err() {
                    return;
                }
            }
        }))
    }

    fn sync_loop(&self) -> Result<(), String> {
        self.0.trouble.borrow().clone().map_or(Ok(()), Err)
    }
}
