//! Constraints of pods that have none of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{ReplicationController, Service, TopologySpreadConstraint};
use kcore::informer::{Change, Lister, Registration};
use kcore::object::controller_of;
use kcore::selector::LabelSelector;

use super::constraint::{Constraint, Constraints, HOSTNAME, Unlabeled, ZONE};
use crate::framework::Handle;
use crate::plugins::volumes::specified;
use crate::snapshot::PodInfo;

/// Where the constraints come from.
#[derive(Debug, Clone)]
pub(super) enum Defaults {
    /// Upstream's: loosely over nodes and zones.
    System,
    /// Those of the arguments.
    List(Vec<TopologySpreadConstraint>),
}

/// Finds the pods that belong together with a pod: those of its Services and of its controller.
pub(super) struct Selectors {
    services: Lister<Service>,
    controllers: Lister<ReplicationController>,
    replica_sets: Lister<ReplicaSet>,
    stateful_sets: Lister<StatefulSet>,
    changes: Arc<AtomicU64>,
    _registrations: [Registration; 2],
}

impl Selectors {
    pub(super) fn new(handle: &Handle) -> Self {
        let informers = handle.informers();
        let services = informers.of::<Service>();
        let controllers = informers.of::<ReplicationController>();
        let changes = Arc::new(AtomicU64::new(1));
        let [of_services, of_controllers] = [(); 2].map(|()| Arc::clone(&changes));
        // Those of the other controllers never change.
        let _registrations = [
            services.on_change(move |change| {
                if selects_others(&change, |s| s.spec.as_ref()?.selector.as_ref()) {
                    of_services.fetch_add(1, Ordering::Release);
                }
            }),
            controllers.on_change(move |change| {
                let changed = matches!(change, Change::Updated { .. });
                if changed && selects_others(&change, |c| c.spec.as_ref()?.selector.as_ref()) {
                    of_controllers.fetch_add(1, Ordering::Release);
                }
            }),
        ];
        Self {
            services: services.lister(),
            controllers: controllers.lister(),
            replica_sets: informers.of::<ReplicaSet>().lister(),
            stateful_sets: informers.of::<StatefulSet>().lister(),
            changes,
            _registrations,
        }
    }

    /// Grows whenever Services, or controllers whose selectors can change, select other pods.
    pub(super) fn version(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// What selects the pods that belong with this one; `None` if nothing does. The second says
    /// whether that is final as long as the [version](Self::version) stays as it is.
    fn of(&self, pod: &PodInfo) -> (Option<LabelSelector>, bool) {
        let mut labels = BTreeMap::new();
        for service in self.services.list_in(pod.namespace(), &LabelSelector::everything()) {
            let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone());
            let Some(selector) = selector.filter(|selector| !selector.is_empty()) else { continue };
            if LabelSelector::from_labels(&selector).matches(pod.labels()) {
                labels.extend(selector);
            }
        }
        let mut fixed = true;
        let mut more = None;
        if let Some(owner) = controller_of(&pod.pod().metadata) {
            let (namespace, name) = (pod.namespace(), owner.name.as_str());
            match (owner.api_version.as_str(), owner.kind.as_str()) {
                ("v1", "ReplicationController") => {
                    let found = self.controllers.get(namespace, name);
                    fixed = found.is_some();
                    let spec = found.and_then(|found| found.spec.clone());
                    labels.extend(spec.and_then(|spec| spec.selector).unwrap_or_default());
                }
                ("apps/v1", "ReplicaSet") => {
                    let found = self.replica_sets.get(namespace, name);
                    fixed = found.is_some();
                    let spec = found.and_then(|found| specified(found.spec.clone()));
                    more = spec.map(|spec: ReplicaSetSpec| spec.selector);
                }
                ("apps/v1", "StatefulSet") => {
                    let found = self.stateful_sets.get(namespace, name);
                    fixed = found.is_some();
                    let spec = found.and_then(|found| specified(found.spec.clone()));
                    more = spec.map(|spec: StatefulSetSpec| spec.selector);
                }
                _ => {}
            }
        }
        let mut selector = LabelSelector::from_labels(&labels);
        if let Some(Ok(more)) = more.map(|more| LabelSelector::from_api(Some(&more))) {
            for wanted in more.requirements() {
                // It has been a requirement before, so it is a valid one.
                let _ = selector.push(wanted.key.clone(), wanted.operator, wanted.values.clone());
            }
        }
        ((!selector.is_empty()).then_some(selector), fixed)
    }

    /// The constraints of a pod without any of its own, and whether they may be remembered.
    pub(super) fn constraints(&self, defaults: &Defaults, pod: &PodInfo) -> (Constraints, bool) {
        if matches!(defaults, Defaults::List(list) if list.is_empty()) {
            return (Constraints::default(), true);
        }
        let (selector, fixed) = self.of(pod);
        let Some(selector) = selector else { return (Constraints::default(), fixed) };
        let constraints = match defaults {
            Defaults::System => {
                let all = [(HOSTNAME, 3), (ZONE, 5)];
                let all = all.map(|(key, skew)| Constraint::soft(key, skew, selector.clone()));
                Constraints::of(all.into_iter(), Unlabeled::Ranked)
            }
            Defaults::List(list) => {
                let all = list.iter().map(|constraint| {
                    let mut constraint = Constraint::new(constraint, pod.labels());
                    constraint.selector = selector.clone();
                    constraint
                });
                Constraints::of(all, Unlabeled::LeftOut)
            }
        };
        (constraints, fixed)
    }
}

/// Whether a selector is another one than before.
fn selects_others<K>(
    change: &Change<Arc<K>>,
    selector: impl Fn(&K) -> Option<&BTreeMap<String, String>>,
) -> bool {
    let of = |object: Option<&Arc<K>>| object.and_then(|object| selector(object).cloned());
    change.is_deleted() || of(change.before()) != of(change.after())
}

impl fmt::Debug for Selectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selectors").field("version", &self.version()).finish_non_exhaustive()
    }
}
