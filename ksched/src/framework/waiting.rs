//! Pods that Permit plugins hold back.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Status;
use crate::snapshot::PodInfo;

/// The pods between the choice of their node and their binding, for as long as a Permit plugin
/// makes them wait. Clones are one list.
#[derive(Debug, Clone, Default)]
pub struct WaitingPods(Arc<Mutex<BTreeMap<String, Arc<Waiting>>>>);

#[derive(Debug)]
struct Waiting {
    pod: Arc<PodInfo>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// The plugins that have not yet allowed it, and until when they wait.
    pending: BTreeMap<Arc<str>, Instant>,
    rejected: Option<(Arc<str>, Status)>,
}

impl WaitingPods {
    /// The pods that wait, in the order of their uids.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<PodInfo>> {
        self.0.lock().values().map(|waiting| Arc::clone(&waiting.pod)).collect()
    }

    /// `plugin` lets a pod go on. False if it does not wait.
    pub fn allow(&self, uid: &str, plugin: &str) -> bool {
        self.with(uid, |state| {
            state.pending.remove(plugin);
        })
    }

    /// `plugin` turns a waiting pod away. False if it does not wait.
    pub fn reject(&self, uid: &str, plugin: &str, reason: impl Into<String>) -> bool {
        let status = Status::unschedulable(reason.into());
        self.with(uid, |state| {
            state.rejected.get_or_insert_with(|| (plugin.into(), status));
        })
    }

    fn with(&self, uid: &str, change: impl FnOnce(&mut State)) -> bool {
        let Some(waiting) = self.0.lock().get(uid).cloned() else { return false };
        change(&mut waiting.state.lock());
        waiting.changed.notify_one();
        true
    }

    /// Lists the pod as waiting until the guard is dropped.
    pub(crate) fn enter(
        &self,
        pod: &Arc<PodInfo>,
        pending: BTreeMap<Arc<str>, Instant>,
    ) -> Entered {
        let state = Mutex::new(State { pending, rejected: None });
        let waiting = Arc::new(Waiting { pod: Arc::clone(pod), state, changed: Notify::new() });
        self.0.lock().insert(pod.uid().to_owned(), Arc::clone(&waiting));
        Entered { list: self.clone(), waiting }
    }
}

/// A pod in the list; leaves it when dropped.
pub(crate) struct Entered {
    list: WaitingPods,
    waiting: Arc<Waiting>,
}

impl Entered {
    /// Waits until every plugin has allowed the pod, or one has not.
    pub(crate) async fn verdict(&self) -> Result<(), (Arc<str>, Status)> {
        loop {
            let changed = self.waiting.changed.notified();
            let next = {
                let state = self.waiting.state.lock();
                if let Some(rejected) = &state.rejected {
                    return Err(rejected.clone());
                }
                let next = state.pending.iter().min_by_key(|(_, until)| **until);
                let Some((plugin, until)) = next else { return Ok(()) };
                (Arc::clone(plugin), *until)
            };
            kcore::select! {
                () = changed => {}
                () = tokio::time::sleep_until(next.1) => {
                    let why = format!("rejected due to timeout after waiting at plugin {}", next.0);
                    return Err((next.0, Status::unschedulable(why)));
                }
            }
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut list = self.list.0.lock();
        if list.get(self.waiting.pod.uid()).is_some_and(|now| Arc::ptr_eq(now, &self.waiting)) {
            list.remove(self.waiting.pod.uid());
        }
    }
}
