//! Every stock plugin that decides, held to the contracts of its extension points; and plugins that
//! break them are found out.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ksched::framework::{
    Action, Basis, CycleState, EnqueueExtensions, EventRegistration, EventResource,
    ExtensionPoints, FilterClasses, FilterPlugin, GroupVerdict, Normalization, Profile,
    ReservePlugin, SchedulerPlugin, ScorePlugin, Status, plugin_fn,
};
use ksched::snapshot::{NodeGroup, NodeInfo, PodInfo};
use ksched::testing::check_plugin;

#[test]
fn stock_plugins_keep_their_contracts() {
    let mut asked = 0;
    for factory in ksched::plugins::stock() {
        let name = factory.name().to_owned();
        if ["PrioritySort", "DefaultBinder"].contains(&name.as_str()) {
            continue;
        }
        let checked = check_plugin(factory, Profile::default(), 7).unwrap_or_else(|broken| {
            panic!("{name}: {broken}");
        });
        asked += checked.filters + checked.scores;
        if ["NodeResourcesFit", "NodeResourcesBalancedAllocation", "TaintToleration"]
            .contains(&name.as_str())
        {
            assert!(checked.groups > 500, "{name}: {checked:?}");
        }
        if ["InterPodAffinity", "PodTopologySpread"].contains(&name.as_str()) {
            assert!(checked.classes > 200, "{name}: {checked:?}");
        }
        if ["NodeResourcesFit", "InterPodAffinity", "NodePorts"].contains(&name.as_str()) {
            assert!(checked.events > 0, "{name}: {checked:?}");
        }
    }
    assert!(asked > 5_000, "{asked}");
}

/// What is wrong with a plugin.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Impure,
    OutOfRange,
    KeepsTooMuch,
    UnsoundHint,
    UnreservesOnce,
    WrongGroups,
    WrongClasses,
}

#[derive(Debug)]
struct Faulty {
    fault: Fault,
    calls: AtomicUsize,
}

impl SchedulerPlugin for Faulty {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        match self.fault {
            Fault::OutOfRange | Fault::KeepsTooMuch => points.score(self),
            Fault::UnreservesOnce => points.reserve(self),
            Fault::Impure | Fault::WrongGroups | Fault::WrongClasses => points.filter(self),
            Fault::UnsoundHint => {
                points.filter(self.clone());
                points.enqueue_extensions(self);
            }
        }
    }
}

impl FilterPlugin for Faulty {
    fn filter(&self, _: &CycleState, _: &PodInfo, node: &NodeInfo) -> Status {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let fits = match self.fault {
            Fault::Impure => call.is_multiple_of(3),
            _ => node.pods().is_empty(),
        };
        if fits { Status::success() } else { Status::unschedulable("no") }
    }

    fn classes(&self) -> Option<&dyn FilterClasses> {
        (self.fault == Fault::WrongClasses).then_some(self)
    }

    fn filter_group(&self, _: &CycleState, _: &PodInfo, _: &NodeGroup<'_>) -> Option<GroupVerdict> {
        (self.fault == Fault::WrongGroups).then_some(GroupVerdict::Pass)
    }
}

impl FilterClasses for Faulty {
    fn basis(&self, _: &CycleState) -> Basis {
        Basis::default()
    }

    fn class(
        &self,
        _: &CycleState,
        _: &PodInfo,
        _: u32,
        _: &NodeInfo,
        into: &mut Vec<i64>,
    ) -> bool {
        into.push(0);
        true
    }

    fn filter_class(&self, _: &CycleState, _: &PodInfo, _: &[i64]) -> Status {
        Status::success()
    }
}

impl ScorePlugin for Faulty {
    fn score(&self, _: &CycleState, pod: &PodInfo, _: &NodeInfo) -> Result<i64, Status> {
        match self.fault {
            // Replicas differ in their uid, which the signature leaves out.
            Fault::KeepsTooMuch => Ok(i64::try_from(pod.uid().len()).unwrap()),
            _ => Ok(101),
        }
    }

    fn keeps(&self) -> Option<Normalization> {
        (self.fault == Fault::KeepsTooMuch).then_some(Normalization::None)
    }
}

impl ReservePlugin for Faulty {
    fn reserve(&self, _: &mut CycleState, _: &PodInfo, _: &str) -> Status {
        self.calls.store(1, Ordering::Relaxed);
        Status::success()
    }

    fn unreserve(&self, _: &mut CycleState, _: &PodInfo, _: &str) {
        assert_eq!(self.calls.swap(0, Ordering::Relaxed), 1, "nothing is reserved");
    }
}

impl EnqueueExtensions for Faulty {
    fn events_to_register(&self) -> Vec<EventRegistration> {
        vec![EventRegistration::new(EventResource::Node, Action::DELETE)]
    }
}

#[test]
fn broken_contracts_are_found_out_by_name() {
    for (fault, expected) in [
        (Fault::Impure, "filter_is_pure"),
        (Fault::OutOfRange, "scores_are_in_range: 101"),
        (Fault::KeepsTooMuch, "kept_answers_hold"),
        (Fault::UnsoundHint, "hints_are_sound"),
        (Fault::WrongGroups, "groups_hold"),
        (Fault::WrongClasses, "classes_hold"),
        (Fault::UnreservesOnce, "unreserve_can_be_repeated"),
    ] {
        let factory =
            plugin_fn("Faulty", move |_, _| Ok(Faulty { fault, calls: AtomicUsize::new(0) }));
        let broken = check_plugin(factory, Profile::default(), 1).unwrap_err();
        assert!(broken.contains(expected), "{fault:?}: {broken}");
    }
}
