//! The pods that wait for a node.
//!
//! A pod is *active* (to be tried, in the order of the QueueSort plugin), in *backoff* (to be
//! tried once its time has come), *unschedulable* (waiting for an event that may help) or *in
//! flight* (being tried). Events that happen while a pod is in flight are remembered, so that none
//! is missed: <https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/>.

mod heap;
mod meanwhile;
mod nominated;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kcore::collections::HashMap;
use tokio::time::Instant;

use crate::framework::{Action, ClusterEvent, EventResource, Framework, Happening, Status};
use crate::snapshot::PodInfo;
use heap::Heap;
use meanwhile::Meanwhile;
pub use nominated::{Kept, Nominator};
use slot::{Group, GroupKey, Pace, Place, Slot, Waits};
pub use slot::{Popped, QueueLengths, QueuedPod};

/// How long a pod waits after its first failed attempt.
pub const INITIAL_BACKOFF: Duration = Duration::from_secs(1);
/// The longest a pod waits after a failed attempt.
pub const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// A pod that has been unschedulable for so long is tried again without any event.
pub const UNSCHEDULABLE_FLUSH: Duration = Duration::from_secs(5 * 60);
/// A pod that had no more attempts than these need not wait out its backoff while there is
/// nothing else to be tried. Beyond, pods that wake each other could keep the scheduler busy.
pub const EARLY_ATTEMPTS: u32 = 3;
/// The least that a pod waits after a PreEnqueue plugin has failed on it.
pub const LEAST_FAULT_BACKOFF: Duration = Duration::from_millis(100);
/// The most events that are remembered for pods in flight; beyond, such pods are tried again as
/// if an event could have helped.
pub const IN_FLIGHT_EVENTS: usize = 10_000;

/// The queue. It never waits itself: whoever owns it asks for the next time anything is due.
#[derive(Debug)]
pub struct SchedulingQueue {
    /// The initial backoff and the longest.
    waits: (Duration, Duration),
    slots: HashMap<Arc<str>, Slot>,
    active: Heap,
    backoff: BTreeMap<(Instant, u64), Arc<str>>,
    /// The same for pods that wait it out in any case: their last attempt ended in an error, or
    /// they had many.
    patient: BTreeMap<(Instant, u64), Arc<str>>,
    /// Pods in `parked` and `gated`, by who turned them away.
    groups: BTreeMap<GroupKey, Group>,
    /// Pods in `parked` for which a node is kept, by that node.
    rooms: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Unschedulable pods by ticket, the longest there first.
    parked: BTreeMap<u64, Arc<str>>,
    /// Pods that a PreEnqueue plugin keeps out, by ticket.
    gated: BTreeMap<u64, Arc<str>>,
    in_flight: BTreeMap<u64, Arc<str>>,
    meanwhile: Meanwhile,
    tickets: u64,
    /// Pods that a PreEnqueue plugin has failed on, and how, that nobody was told of yet.
    faults: BTreeMap<Arc<str>, (Arc<PodInfo>, Status)>,
    /// Which nodes are kept for which pods.
    pub nominated: Nominator,
}

impl Default for SchedulingQueue {
    fn default() -> Self {
        Self::new(INITIAL_BACKOFF, MAX_BACKOFF)
    }
}

impl SchedulingQueue {
    /// An empty queue with these times of backoff: the first, and the longest.
    #[must_use]
    pub fn new(initial_backoff: Duration, max_backoff: Duration) -> Self {
        Self {
            waits: (initial_backoff, max_backoff),
            slots: HashMap::default(),
            active: Heap::default(),
            backoff: BTreeMap::new(),
            patient: BTreeMap::new(),
            groups: BTreeMap::new(),
            rooms: BTreeMap::new(),
            parked: BTreeMap::new(),
            gated: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            meanwhile: Meanwhile::default(),
            tickets: 0,
            faults: BTreeMap::new(),
            nominated: Nominator::default(),
        }
    }

    /// A pod without a node is new, or has changed.
    pub fn set(&mut self, pod: Arc<PodInfo>, framework: &Arc<Framework>, now: Instant) {
        let before = self.slots.get(pod.uid()).map(|slot| slot.queued.pod.nominated_node().len());
        let kept = self.nominated.node_of(pod.uid()).cloned();
        match kept {
            // It was nominated a moment ago, and the API does not know yet.
            Some(node) if before == Some(0) && pod.nominated_node().is_empty() => {
                self.nominated.set(&pod, &node);
            }
            _ => self.nominated.set(&pod, pod.nominated_node()),
        }
        let Some(slot) = self.slots.get_mut(pod.uid()) else {
            let queued = QueuedPod {
                pod,
                since: now,
                first: now,
                attempts: 0,
                rejected_by: BTreeSet::new(),
            };
            self.tickets += 1;
            let (ticket, place) = (self.tickets, Place::Gated);
            let framework = Arc::clone(framework);
            let slot = Slot { queued, framework, place, ticket, waits: None };
            let uid = Arc::clone(slot.queued.pod.shared_uid());
            self.slots.insert(Arc::clone(&uid), slot);
            return self.enqueue(&uid, now, Pace::AtOnce);
        };
        slot.queued.pod = pod;
        let uid = Arc::clone(slot.queued.pod.shared_uid());
        let place = slot.place;
        match place {
            Place::Gated => self.enqueue(&uid, now, Pace::AtOnce),
            // Its order may have changed with it.
            Place::Active => self.activate(&uid),
            // The room that it waits for is not kept for it any more, or another one is.
            Place::Unschedulable if self.waits_for_another_room(&uid) => {
                self.enqueue(&uid, now, Pace::Backoff);
            }
            _ => {}
        }
    }

    fn waits_for_another_room(&self, uid: &str) -> bool {
        let waits = self.slots.get(uid).and_then(|slot| slot.waits.as_ref());
        matches!(waits, Some(Waits::Room(node)) if self.nominated.node_of(uid) != Some(node))
    }

    /// A pod that waits or is being tried, as it was last set.
    #[must_use]
    pub fn pod(&self, uid: &str) -> Option<&Arc<PodInfo>> {
        self.slots.get(uid).map(|slot| &slot.queued.pod)
    }

    /// A pod is gone, or has a node.
    pub fn remove(&mut self, uid: &str) {
        self.nominated.remove(uid);
        self.faults.remove(uid);
        if self.slots.contains_key(uid) {
            self.leave(uid);
            self.slots.remove(uid);
            self.trim();
        }
    }

    /// The pod to try next.
    pub fn pop(&mut self, now: Instant) -> Option<Popped> {
        self.flush(now);
        loop {
            let Some((uid, ticket)) = self.active.pop() else {
                // With nothing else to do, a pod that something may have helped need not wait.
                let (_, uid) = self.backoff.first_key_value()?;
                let uid = Arc::clone(uid);
                self.enqueue(&uid, now, Pace::AtOnce);
                continue;
            };
            let Some(slot) = self.slots.get_mut(&uid).filter(|slot| slot.ticket == ticket) else {
                continue;
            };
            self.tickets += 1;
            slot.ticket = self.tickets;
            slot.place = Place::InFlight(self.meanwhile.now());
            slot.queued.attempts = slot.queued.attempts.saturating_add(1);
            self.in_flight.insert(slot.ticket, Arc::clone(&uid));
            return Some(Popped {
                pod: Arc::clone(&slot.queued.pod),
                framework: Arc::clone(&slot.framework),
                attempts: slot.queued.attempts,
                ticket: slot.ticket,
            });
        }
    }

    /// The pod of an attempt as it is now; `None` if it is gone or bound by now.
    #[must_use]
    pub fn current(&self, popped: &Popped) -> Option<&Arc<PodInfo>> {
        let slot = self.slots.get(popped.pod.uid())?;
        (slot.ticket == popped.ticket).then_some(&slot.queued.pod)
    }

    /// The attempt has failed: the pod waits for an event that may help against `rejected_by`, or
    /// for its backoff if nobody in particular turned it away.
    pub fn put_back(&mut self, popped: &Popped, rejected_by: BTreeSet<Arc<str>>, now: Instant) {
        let Some(slot) = self.slots.get_mut(popped.pod.uid()) else { return };
        let Place::InFlight(since) = slot.place else { return };
        if slot.ticket != popped.ticket {
            return;
        }
        slot.queued.rejected_by = rejected_by;
        slot.queued.since = now;
        let (queued, framework) = (&slot.queued, &slot.framework);
        let again = queued.rejected_by.is_empty()
            || self.meanwhile.since(since).is_none_or(|mut missed| {
                missed.any(|happening| {
                    framework.may_help(&queued.pod, &queued.rejected_by, happening)
                })
            });
        let uid = Arc::clone(queued.pod.shared_uid());
        if again {
            self.enqueue(&uid, now, Pace::Backoff)
        } else {
            self.park(&uid, Place::Unschedulable)
        }
        self.trim();
    }

    /// The attempt has succeeded.
    pub fn done(&mut self, popped: &Popped) {
        if self.current(popped).is_some() {
            self.remove(popped.pod.uid());
        }
    }

    /// Something happened: pods it may help are tried again, after what is left of their backoff.
    pub fn happened(&mut self, happening: &Happening, now: Instant) {
        if !self.in_flight.is_empty() {
            self.meanwhile.push(happening);
        }
        let mut helped: Vec<Arc<str>> = Vec::new();
        for ((_, plugins), group) in &self.groups {
            if !group.framework.listens(plugins, happening) {
                continue;
            }
            let may_help = |uid: &&Arc<str>| {
                self.slots.get(*uid).is_some_and(|slot| {
                    group.framework.may_help(&slot.queued.pod, plugins, happening)
                })
            };
            helped.extend(group.pods.values().filter(may_help).cloned());
        }
        let may_help = |uid: &&Arc<str>| {
            self.slots.get(*uid).is_some_and(|slot| {
                let queued = &slot.queued;
                slot.framework.may_help(&queued.pod, &queued.rejected_by, happening)
            })
        };
        match left_node(happening) {
            Some(node) => {
                let waiting = self.rooms.get(node).into_iter().flatten();
                helped.extend(waiting.filter(may_help).cloned());
            }
            None => {
                let waiting = self.rooms.values().flatten();
                helped.extend(waiting.filter(may_help).cloned());
            }
        }
        for uid in helped {
            self.enqueue(&uid, now, Pace::Backoff);
        }
    }

    /// Something happened to a waiting pod itself.
    pub fn happened_to(&mut self, uid: &str, happening: &Happening, now: Instant) {
        let helps = self.slots.get(uid).is_some_and(|slot| {
            let queued = &slot.queued;
            matches!(slot.place, Place::Unschedulable | Place::Gated)
                && slot.framework.may_help(&queued.pod, &queued.rejected_by, happening)
        });
        if helps {
            self.enqueue(&Arc::from(uid), now, Pace::Backoff);
        } else if self.slots.get(uid).is_some_and(|s| matches!(s.place, Place::InFlight(_))) {
            self.meanwhile.push(happening);
        }
    }

    /// When anything becomes due by itself.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let waits = [&self.backoff, &self.patient];
        let backoff = waits.iter().filter_map(|list| list.keys().next()).map(|(at, _)| *at).min();
        let parked = self.parked.values().next().and_then(|uid| self.slots.get(uid));
        let parked = parked.map(|slot| slot.queued.since + UNSCHEDULABLE_FLUSH);
        backoff.into_iter().chain(parked).min()
    }

    /// How many pods wait where.
    #[must_use]
    pub fn lengths(&self) -> QueueLengths {
        let mut lengths = QueueLengths::default();
        for slot in self.slots.values() {
            *match slot.place {
                Place::Active => &mut lengths.active,
                Place::Backoff(_) => &mut lengths.backoff,
                Place::Unschedulable => &mut lengths.unschedulable,
                Place::Gated => &mut lengths.gated,
                Place::InFlight(_) => &mut lengths.in_flight,
            } += 1;
        }
        lengths
    }

    /// Moves what is due.
    fn flush(&mut self, now: Instant) {
        loop {
            let first = [&self.backoff, &self.patient]
                .into_iter()
                .filter_map(|list| list.first_key_value())
                .find(|((at, _), _)| *at <= now);
            let Some((_, uid)) = first else { break };
            let uid = Arc::clone(uid);
            self.enqueue(&uid, now, Pace::Backoff);
        }
        // Tickets grow with time, so the longest parked come first.
        let due: Vec<Arc<str>> = self
            .parked
            .values()
            .filter_map(|uid| self.slots.get(uid))
            .take_while(|slot| slot.queued.since + UNSCHEDULABLE_FLUSH <= now)
            .map(|slot| Arc::clone(slot.queued.pod.shared_uid()))
            .collect();
        for uid in due {
            self.enqueue(&uid, now, Pace::Backoff);
        }
    }

    /// Puts a pod where it may be tried, unless a PreEnqueue plugin keeps it out.
    fn enqueue(&mut self, uid: &Arc<str>, now: Instant, pace: Pace) {
        let Some(slot) = self.slots.get_mut(uid) else { return };
        let ready = slot.queued.ready_at(self.waits);
        match slot.framework.gate(&slot.queued.pod) {
            None => {}
            Some((plugin, status)) if status.is_rejected() => {
                slot.queued.rejected_by = [plugin].into();
                return self.park(uid, Place::Gated);
            }
            Some((_, status)) => return self.failed(uid, status, now),
        }
        if pace == Pace::Backoff && ready > now {
            self.leave(uid);
            self.tickets += 1;
            let Some(slot) = self.slots.get_mut(uid) else { return };
            slot.ticket = self.tickets;
            slot.place = Place::Backoff(ready);
            let queued = &slot.queued;
            let patient = queued.rejected_by.is_empty() || queued.attempts > EARLY_ATTEMPTS;
            let list = if patient { &mut self.patient } else { &mut self.backoff };
            list.insert((ready, slot.ticket), Arc::clone(uid));
        } else {
            self.activate(uid);
        }
    }

    /// A PreEnqueue plugin has failed: no event says when it will not any more, so the pod comes
    /// again after a backoff, as one does whose attempt ended in an error.
    fn failed(&mut self, uid: &Arc<str>, status: Status, now: Instant) {
        self.leave(uid);
        self.tickets += 1;
        let Some(slot) = self.slots.get_mut(uid) else { return };
        let queued = &mut slot.queued;
        queued.attempts = queued.attempts.saturating_add(1);
        (queued.since, queued.rejected_by) = (now, BTreeSet::new());
        let ready = queued.ready_at(self.waits).max(now + LEAST_FAULT_BACKOFF);
        self.faults.insert(Arc::clone(uid), (Arc::clone(&queued.pod), status));
        (slot.ticket, slot.place) = (self.tickets, Place::Backoff(ready));
        self.patient.insert((ready, slot.ticket), Arc::clone(uid));
    }

    /// Whether there are pods that a PreEnqueue plugin has failed on.
    #[must_use]
    pub fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// The pods that a PreEnqueue plugin has failed on since they were last asked for, and how.
    pub fn take_faults(&mut self) -> Vec<(Arc<PodInfo>, Status)> {
        std::mem::take(&mut self.faults).into_values().collect()
    }

    fn activate(&mut self, uid: &Arc<str>) {
        self.leave(uid);
        self.tickets += 1;
        let Some(slot) = self.slots.get_mut(uid) else { return };
        slot.ticket = self.tickets;
        slot.place = Place::Active;
        self.active.push(slot.ticket, &slot.queued, &slot.framework);
        let slots = &self.slots;
        self.active.compact(|uid, ticket| {
            slots.get(uid).is_some_and(|slot| slot.ticket == ticket && slot.place == Place::Active)
        });
    }

    fn park(&mut self, uid: &Arc<str>, place: Place) {
        self.leave(uid);
        self.tickets += 1;
        let Some(slot) = self.slots.get_mut(uid) else { return };
        (slot.ticket, slot.place) = (self.tickets, place);
        let list = if place == Place::Gated { &mut self.gated } else { &mut self.parked };
        list.insert(slot.ticket, Arc::clone(uid));
        if let Some(node) = self.nominated.node_of(uid).filter(|_| place != Place::Gated) {
            slot.waits = Some(Waits::Room(Arc::clone(node)));
            self.rooms.entry(Arc::clone(node)).or_default().insert(Arc::clone(uid));
            return;
        }
        let key = (Arc::clone(&slot.framework.name), slot.queued.rejected_by.clone());
        slot.waits = Some(Waits::Events(key.clone()));
        let framework = &slot.framework;
        let group = self
            .groups
            .entry(key)
            .or_insert_with(|| Group { framework: Arc::clone(framework), pods: BTreeMap::new() });
        group.pods.insert(slot.ticket, Arc::clone(uid));
    }

    /// Takes a pod out of the list it is in. The heap finds out by the ticket.
    fn leave(&mut self, uid: &str) {
        let Some(slot) = self.slots.get_mut(uid) else { return };
        match slot.waits.take() {
            None => {}
            Some(Waits::Events(key)) => {
                if let Some(group) = self.groups.get_mut(&key) {
                    group.pods.remove(&slot.ticket);
                    if group.pods.is_empty() {
                        self.groups.remove(&key);
                    }
                }
            }
            Some(Waits::Room(node)) => {
                if let Some(waiting) = self.rooms.get_mut(&node) {
                    waiting.remove(uid);
                    if waiting.is_empty() {
                        self.rooms.remove(&node);
                    }
                }
            }
        }
        match slot.place {
            Place::Active => {}
            Place::Backoff(at) => {
                self.backoff.remove(&(at, slot.ticket));
                self.patient.remove(&(at, slot.ticket));
            }
            Place::Unschedulable => drop(self.parked.remove(&slot.ticket)),
            Place::Gated => drop(self.gated.remove(&slot.ticket)),
            Place::InFlight(_) => drop(self.in_flight.remove(&slot.ticket)),
        }
    }

    /// Forgets the events that every pod in flight has seen.
    fn trim(&mut self) {
        let since = self.in_flight.values().next().and_then(|uid| {
            let slot = self.slots.get(uid)?;
            if let Place::InFlight(since) = slot.place { Some(since) } else { None }
        });
        self.meanwhile.trim(since);
    }
}

/// The node that a pod has left, if that is what happened.
fn left_node(happening: &Happening) -> Option<&str> {
    let event = ClusterEvent::new(EventResource::AssignedPod, Action::DELETE);
    let pod = happening.old.as_ref().filter(|_| happening.event == event)?.pod()?;
    Some(pod.node_name()).filter(|node| !node.is_empty())
}
