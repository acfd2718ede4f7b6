//! What the agent knows of one pod, shared by everything that works for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodStatus};
use kcore::event::reference_to;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::pod::observed::HealthMap;
use crate::pod::status::Fate;
use crate::pod::{self, Health, Observed, Waiting};
use crate::runtime::ContainerId;

/// What the agent knows of one pod.
///
/// Three write to it: the dispatcher (what the API says), whoever looks at the runtime (what is
/// there), and the pod's probes. The pod's worker and its status are made from it.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) uid: String,
    state: Mutex<State>,
    /// Wakes the worker.
    wake: Notify,
    /// Counts changes of what probes depend on.
    situation: watch::Sender<u64>,
    /// Given when the pod is to end, or is to end sooner.
    ending: watch::Sender<Option<Duration>>,
}

#[derive(Debug)]
struct State {
    pod: Arc<Pod>,
    removed: bool,
    fate: Fate,
    observed: Arc<Observed>,
    /// The number of the look that `observed` came from.
    look: u64,
    looks: u64,
    waiting: BTreeMap<String, Waiting>,
    health: HealthMap,
    status: Option<Arc<PodStatus>>,
    seen_at: Timestamp,
    /// Nothing of the pod is left on the node.
    gone: bool,
}

/// A look at the runtime that has begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look(u64);

impl Record {
    pub(super) fn new(pod: Arc<Pod>, now: Timestamp) -> Self {
        let uid = pod::uid(&pod).to_owned();
        let state = State {
            pod,
            removed: false,
            fate: Fate::Lives,
            observed: Arc::default(),
            look: 0,
            looks: 0,
            waiting: BTreeMap::new(),
            health: BTreeMap::new(),
            status: None,
            seen_at: now,
            gone: false,
        };
        let record = Self {
            uid,
            state: Mutex::new(state),
            wake: Notify::new(),
            situation: watch::Sender::new(0),
            ending: watch::Sender::new(None),
        };
        record.decide();
        record
    }

    /// The pod as the API last showed it.
    pub(super) fn pod(&self) -> Arc<Pod> {
        Arc::clone(&self.state.lock().pod)
    }

    /// What events of this pod refer to.
    pub(super) fn reference(&self) -> ObjectReference {
        reference_to(&*self.pod())
    }

    /// The API shows the pod so; what is older than what is known is no news.
    pub(super) fn update(&self, pod: Arc<Pod>) {
        {
            let mut state = self.state.lock();
            if version(&pod) <= version(&state.pod) {
                return;
            }
            state.pod = pod;
        }
        self.decide();
    }

    /// The API has no such pod any more.
    pub(super) fn removed(&self) {
        self.state.lock().removed = true;
        self.decide();
    }

    pub(super) fn is_removed(&self) -> bool {
        self.state.lock().removed
    }

    /// The pod has failed, for a reason that its containers do not know.
    pub(super) fn fail(&self, reason: &str, message: &str) {
        {
            let mut state = self.state.lock();
            if state.fate == Fate::Lives {
                state.fate = Fate::Fails(reason.to_owned(), message.to_owned());
            }
        }
        self.decide();
    }

    /// The pod's work is done.
    pub(super) fn finish(&self) {
        {
            let mut state = self.state.lock();
            if state.fate == Fate::Lives {
                state.fate = Fate::Ends;
            }
        }
        self.decide();
    }

    /// Decides whether the pod is to live, and how long it has. A grace only shrinks (D6).
    fn decide(&self) {
        let mut state = self.state.lock();
        let deleted = state.removed || state.pod.metadata.deletion_timestamp.is_some();
        let terminal = pod::is_terminal(pod::phase(&state.pod));
        if state.fate == Fate::Lives && (deleted || terminal) {
            state.fate = Fate::Ends;
        }
        if state.fate != Fate::Lives {
            let grace = pod::grace(&state.pod);
            self.ending.send_if_modified(|known| {
                let shorter = known.is_none_or(|known| grace < known);
                if shorter {
                    *known = Some(grace);
                }
                shorter
            });
        }
        drop(state);
        self.situation.send_modify(|count| *count = count.wrapping_add(1));
        self.wake.notify_one();
    }

    pub(super) fn fate(&self) -> Fate {
        self.state.lock().fate.clone()
    }

    /// Told when the pod is to end, and again when it is to end sooner.
    pub(super) fn ending(&self) -> watch::Receiver<Option<Duration>> {
        self.ending.subscribe()
    }

    /// Waits until the pod is to end.
    pub(super) async fn ends(&self) {
        // The sender is held by self.
        let _ = self.ending().wait_for(Option::is_some).await;
    }

    /// Waits until there may be something to do.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Told whenever what probes depend on may have changed.
    pub(super) fn situations(&self) -> watch::Receiver<u64> {
        self.situation.subscribe()
    }

    /// A look at the runtime begins.
    pub(super) fn begin_look(&self) -> Look {
        let mut state = self.state.lock();
        state.looks += 1;
        Look(state.looks)
    }

    /// What a look has shown; an older look than the last one is no news. True if something is
    /// another than before.
    pub(super) fn saw(&self, look: Look, observed: Arc<Observed>) -> bool {
        let mut state = self.state.lock();
        if look.0 <= state.look {
            return false;
        }
        state.look = look.0;
        if *state.observed == *observed {
            return false;
        }
        state.health.retain(|id, _| observed.running().any(|status| status.summary.id == *id));
        state.observed = observed;
        drop(state);
        self.situation.send_modify(|count| *count = count.wrapping_add(1));
        true
    }

    pub(super) fn observed(&self) -> Arc<Observed> {
        Arc::clone(&self.state.lock().observed)
    }

    pub(super) fn health(&self) -> HealthMap {
        self.state.lock().health.clone()
    }

    /// A probe says something new of a container. True if it is news.
    pub(super) fn change_health(
        &self,
        id: &ContainerId,
        initial: Health,
        change: impl FnOnce(&mut Health),
    ) -> bool {
        let mut state = self.state.lock();
        let before = state.health.get(id).copied();
        let mut health = before.unwrap_or(initial);
        change(&mut health);
        if before == Some(health) {
            return false;
        }
        state.health.insert(id.clone(), health);
        drop(state);
        self.situation.send_modify(|count| *count = count.wrapping_add(1));
        self.wake.notify_one();
        true
    }

    /// Why a container waits. True if it is news.
    pub(super) fn waits(&self, name: &str, waiting: Option<Waiting>) -> bool {
        let mut state = self.state.lock();
        match waiting {
            Some(waiting) => {
                state.waiting.insert(name.to_owned(), waiting.clone()) != Some(waiting)
            }
            None => state.waiting.remove(name).is_some(),
        }
    }

    pub(super) fn waiting(&self) -> BTreeMap<String, Waiting> {
        self.state.lock().waiting.clone()
    }

    pub(super) fn seen_at(&self) -> Timestamp {
        self.state.lock().seen_at
    }

    /// Keeps the newest status; true if it says something new.
    pub(super) fn publish(&self, status: PodStatus) -> bool {
        let mut state = self.state.lock();
        if state.status.as_deref() == Some(&status) {
            return false;
        }
        state.status = Some(Arc::new(status));
        true
    }

    /// The newest status, if there is one.
    pub(super) fn status(&self) -> Option<Arc<PodStatus>> {
        self.state.lock().status.clone()
    }

    /// Nothing of the pod is left on the node.
    pub(super) fn set_gone(&self) {
        self.state.lock().gone = true;
    }

    pub(super) fn is_gone(&self) -> bool {
        self.state.lock().gone
    }
}

/// The pod's resource version; the API's are numbers that grow (A1).
fn version(pod: &Pod) -> u64 {
    let version = pod.metadata.resource_version.as_deref();
    version.and_then(|version| version.parse().ok()).unwrap_or_default()
}
