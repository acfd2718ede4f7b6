//! The pod lifecycle event generator: tells of what happens in the runtime.
//!
//! A runtime with events is listed seldom, to be sure; one without is listed each second.
//! <https://kubernetes.io/docs/tasks/administer-cluster/switch-to-evented-pleg/>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt as _};
use kcore::stop::StopToken;
use tokio::time::Instant;

use super::hub::Hub;
use super::observe::look;
use super::record::Record;
use crate::Result;
use crate::pod::config::POD_UID_LABEL;
use crate::runtime::{ContainerEvent, ContainerFilter, SandboxFilter, SandboxId};

/// How often a runtime without events is listed.
pub const RELIST_INTERVAL: Duration = Duration::from_secs(1);
/// How often one with events is.
pub const EVENTED_RELIST_INTERVAL: Duration = Duration::from_secs(300);
/// A runtime that has not been listed for so long is not healthy.
pub const RELIST_THRESHOLD: Duration = Duration::from_secs(180);
/// Events that are taken together.
const MAX_BATCH: usize = 256;

/// Watches the runtime until `stop`.
pub(super) async fn run(hub: Arc<Hub>, stop: StopToken, beat: impl Fn(Instant) + Send) {
    let events = hub.runtime.events();
    let interval = events.map_or(RELIST_INTERVAL, |_| EVENTED_RELIST_INTERVAL);
    let mut events = events.map(crate::runtime::Events::subscribe);
    let mut known = BTreeMap::new();
    loop {
        match relist(&hub, &mut known).await {
            Ok(()) => beat(Instant::now()),
            Err(error) => tracing::warn!(%error, "the runtime cannot be listed"),
        }
        let next = Instant::now() + interval;
        loop {
            kcore::select! {
                () = stop.stopped() => return,
                batch = next_batch(&mut events) => match batch {
                    Some(batch) => if batch.is_err() || !handle(&hub, batch).await { break },
                    None => { events = None; break }
                },
                () = tokio::time::sleep_until(next) => break,
            }
        }
    }
}

type Stream = BoxStream<'static, Result<ContainerEvent>>;

/// The next events that are there together; `None` once there will be none.
async fn next_batch(events: &mut Option<Stream>) -> Option<Result<BTreeSet<SandboxId>>> {
    let Some(stream) = events else { return std::future::pending().await };
    let mut batch = BTreeSet::new();
    let mut next = Some(stream.next().await?);
    while let Some(event) = next {
        match event {
            Ok(event) => batch.insert(event.sandbox),
            Err(error) => return Some(Err(error)),
        };
        if batch.len() >= MAX_BATCH {
            break;
        }
        next = futures::FutureExt::now_or_never(stream.next()).flatten();
    }
    Some(Ok(batch))
}

/// Looks at the pods that something happened to. False if all have to be looked at.
async fn handle(hub: &Hub, batch: Result<BTreeSet<SandboxId>>) -> bool {
    let Ok(batch) = batch else { return false };
    let pods: BTreeSet<String> = batch.iter().filter_map(|id| hub.owner(id)).collect();
    for record in pods.iter().filter_map(|uid| hub.record(uid)) {
        look_and_tell(hub, &record).await;
    }
    true
}

/// Looks at a pod, and wakes whoever works for it if something is new.
async fn look_and_tell(hub: &Hub, record: &Record) {
    match look(hub, record).await {
        Ok(true) => {
            hub.publish(record);
            record.wake();
        }
        Ok(false) => {}
        Err(error) => tracing::warn!(pod = record.uid, %error, "a pod cannot be looked at"),
    }
}

/// What a list shows of one pod: its sandboxes' and containers' states.
type Shape = Vec<(String, u8)>;

/// Lists everything and looks at the pods of which something is another than before.
async fn relist(hub: &Hub, known: &mut BTreeMap<String, Shape>) -> Result<()> {
    let mut shapes: BTreeMap<String, Shape> = BTreeMap::new();
    for sandbox in hub.runtime.sandboxes().list(SandboxFilter::default()).await? {
        let Some(uid) = sandbox.labels.get(POD_UID_LABEL) else { continue };
        hub.own_sandbox(uid, &sandbox.id);
        let shape = shapes.entry(uid.clone()).or_default();
        shape.push((sandbox.id.to_string(), sandbox.state as u8));
    }
    for container in hub.runtime.containers().list(ContainerFilter::default()).await? {
        let Some(uid) = container.labels.get(POD_UID_LABEL) else { continue };
        let shape = shapes.entry(uid.clone()).or_default();
        shape.push((container.id.to_string(), container.state as u8));
    }
    let before = std::mem::replace(known, shapes);
    let pods: BTreeSet<&String> = known.keys().chain(before.keys()).collect();
    for uid in pods {
        if known.get(uid) == before.get(uid) {
            continue;
        }
        if let Some(record) = hub.record(uid) {
            look_and_tell(hub, &record).await;
        }
    }
    Ok(())
}

/// Removes sandboxes of pods that the API does not know (N4). It is called once the API's pods
/// are known.
pub(super) async fn remove_orphans(hub: &Hub) -> Result<()> {
    for sandbox in hub.runtime.sandboxes().list(SandboxFilter::default()).await? {
        let Some(uid) = sandbox.labels.get(POD_UID_LABEL) else { continue };
        if hub.record(uid).is_some() {
            continue;
        }
        tracing::info!(pod = sandbox.name, namespace = sandbox.namespace, "removing an orphan");
        let removed = async {
            super::stop::stop_orphan(hub, &sandbox.id).await?;
            hub.runtime.sandboxes().remove(&sandbox.id).await
        };
        if let Err(error) = removed.await {
            tracing::warn!(pod = sandbox.name, %error, "an orphan cannot be removed");
        }
    }
    let known = hub.records().iter().map(|record| record.uid.clone()).collect();
    hub.volumes.remove_orphans(&known).await
}
