//! Looks at what the runtime has of a pod.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt as _;

use super::hub::Hub;
use super::record::Record;
use crate::Result;
use crate::logs::{self, LogOptions};
use crate::pod::config::{MESSAGE_PATH_ANNOTATION, MESSAGE_POLICY_ANNOTATION, POD_UID_LABEL};
use crate::pod::observed::Observed;
use crate::runtime::{
    ContainerFilter, ContainerId, ContainerState, ContainerStatus, SandboxFilter,
};

/// What is read of a message file, in bytes.
/// <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>
const MAX_MESSAGE_BYTES: u64 = 4096;
/// What is read of a log in place of a message, in bytes.
const MAX_FALLBACK_BYTES: usize = 2048;
/// What is read of a log in place of a message, in lines.
const MAX_FALLBACK_LINES: u64 = 80;

/// Looks at what the runtime has of a pod, and remembers it. True if it is news.
pub(super) async fn look(hub: &Hub, record: &Record) -> Result<bool> {
    let look = record.begin_look();
    let mut observed = observe(hub, &record.uid).await?;
    let known = record.observed();
    observed.messages = messages(&observed, &known.messages).await;
    hub.own(&record.uid, &observed);
    Ok(record.saw(look, Arc::new(observed)))
}

/// What the runtime has of a pod.
async fn observe(hub: &Hub, uid: &str) -> Result<Observed> {
    let label = [(POD_UID_LABEL, uid)];
    let sandboxes = hub.runtime.sandboxes();
    let mut found = Vec::new();
    for summary in sandboxes.list(SandboxFilter::default().labels(label)).await? {
        match sandboxes.status(&summary.id).await {
            Ok(status) => found.push(status),
            // It was removed meanwhile.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    let containers = hub.runtime.containers();
    let mut seen = Vec::new();
    for summary in containers.list(ContainerFilter::default().labels(label)).await? {
        match containers.status(&summary.id).await {
            Ok(status) => seen.push(status),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Observed::new(found, seen))
}

/// What containers that ended left to be read. What was read before is not read again.
async fn messages(
    observed: &Observed,
    known: &BTreeMap<ContainerId, String>,
) -> BTreeMap<ContainerId, String> {
    let mut messages = BTreeMap::new();
    for status in observed.containers() {
        let id = &status.summary.id;
        if status.state() != ContainerState::Exited {
            continue;
        }
        let message = match known.get(id) {
            Some(known) => known.clone(),
            None => message(status).await,
        };
        messages.insert(id.clone(), message);
    }
    messages
}

async fn message(status: &ContainerStatus) -> String {
    let annotations = &status.summary.annotations;
    let Some(path) = annotations.get(MESSAGE_PATH_ANNOTATION) else { return String::new() };
    let own = read_start(Path::new(path).to_owned()).await;
    let failed = status.exit.as_ref().is_some_and(|exit| exit.code != 0);
    let policy = annotations.get(MESSAGE_POLICY_ANNOTATION).map(String::as_str);
    if own.is_empty() && failed && policy == Some("FallbackToLogsOnError") {
        return match &status.log_path {
            Some(log) => tail(log).await,
            None => String::new(),
        };
    }
    own
}

/// The first bytes of a file; none if it cannot be read, as there may be no message.
async fn read_start(path: PathBuf) -> String {
    let read = tokio::task::spawn_blocking(move || {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(MAX_MESSAGE_BYTES).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    });
    let bytes = read.await.ok().and_then(Result::<_, std::io::Error>::ok).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last lines of a log.
async fn tail(path: &Path) -> String {
    let options = LogOptions::default().tail_lines(Some(MAX_FALLBACK_LINES));
    let mut pieces = logs::read(path, options, logs::never_ends());
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = pieces.next().await {
        bytes.extend_from_slice(&piece);
        let beyond = bytes.len().saturating_sub(MAX_FALLBACK_BYTES);
        bytes.drain(..beyond);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
