//! The status manager: writes what the agent says of its pods, and ends them in the API.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kcore::client::{Api, DeleteOptions};

use super::hub::Hub;
use super::record::Record;
use crate::pod::status::merge_status;
use crate::pod::uid;

/// How many statuses are written at once.
pub const STATUS_WRITERS: usize = 4;
/// How often a write is tried again that met another one.
const MAX_CONFLICTS: usize = 8;

/// Writes statuses until the queue is shut down.
pub(super) async fn run(hub: Arc<Hub>) {
    while let Some(claim) = hub.statuses.get().await {
        let Some(record) = hub.record(&claim) else {
            claim.succeed();
            continue;
        };
        match write(&hub, &record).await {
            Ok(()) => claim.succeed(),
            Err(error) => {
                tracing::warn!(pod = Hub::described(&record), %error, "a status is not written");
                claim.retry();
            }
        }
    }
}

/// Writes the newest status of a pod, and deletes the pod if nothing of it is left.
async fn write(hub: &Hub, record: &Record) -> kcore::Result<()> {
    let mut pod = record.pod();
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let name = pod.metadata.name.clone().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(Arc::clone(&hub.client), namespace);
    // Whether nothing is left is asked before the status is: what is said last is complete.
    let gone = record.is_gone();
    let Some(ours) = record.status() else { return Ok(()) };
    let mut conflicts = 0;
    loop {
        let known = pod.status.clone().unwrap_or_default();
        let merged = merge_status(&known, &ours);
        if merged == known {
            break;
        }
        let mut next = Pod::clone(&pod);
        next.status = Some(merged);
        match api.update_status(next).await {
            Ok(written) => {
                // The next write begins from this one, before an informer shows it.
                record.update(Arc::clone(&written));
                pod = written;
                break;
            }
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) if error.is_conflict() && conflicts < MAX_CONFLICTS => {
                conflicts += 1;
                match api.get_opt(&name).await? {
                    Some(found) if uid(&found) == record.uid => pod = found,
                    // It is another pod by now.
                    _ => return Ok(()),
                }
            }
            Err(error) => return Err(error),
        }
    }
    if gone && pod.metadata.deletion_timestamp.is_some() {
        let options = DeleteOptions::default().grace_period_seconds(0).uid(record.uid.as_str());
        match api.delete(&name, &options).await {
            Err(error) if !error.is_not_found() && !error.is_conflict() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
