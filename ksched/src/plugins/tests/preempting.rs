//! Who has to leave for whom: see also the reference that is compared with at length.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

use crate::framework::Profile;
use crate::testing::{Cluster, PodBuilder, node, pod};

fn running(name: &str, on: &str, cpu: &str, priority: i32) -> PodBuilder {
    pod(name).uid(name).cpu(cpu).priority(priority).on(on).label("app", name)
}

fn budget(app: &str, allowed: i32, disrupted: &[&str]) -> Value {
    let disrupted: serde_json::Map<String, Value> =
        disrupted.iter().map(|name| ((*name).to_owned(), "2026-01-02T03:04:05Z".into())).collect();
    json!({"metadata": {"name": app, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": allowed, "disruptedPods": disrupted, "currentHealthy": 1,
            "desiredHealthy": 1, "expectedPods": 1}})
}

fn cluster(pods: &[PodBuilder], budgets: &[Value]) -> Cluster {
    let nodes = Cluster::new(["a", "b"].map(|name| node(name).cpu("4")));
    let nodes = pods.iter().cloned().fold(nodes, Cluster::running);
    budgets.iter().cloned().fold(nodes, Cluster::json::<PodDisruptionBudget>)
}

fn chosen(pods: &[PodBuilder], budgets: &[Value]) -> String {
    cluster(pods, budgets).nominate(pod("new").cpu("3").priority(100)).unwrap()
}

#[test]
fn budgets_weigh_more_than_priorities() {
    let cheap = running("x", "a", "3", 1);
    let dear = running("y", "b", "3", 50);
    let both = [cheap, dear];
    for (budgets, expected) in [
        (vec![], "a"),
        (vec![budget("x", 0, &[])], "b"),
        (vec![budget("x", 1, &[])], "a"),
        (vec![budget("x", 0, &[]), budget("y", 0, &[])], "a"),
        // It is on its way out already, which the budget knows.
        (vec![budget("x", 0, &["x"])], "a"),
        (vec![budget("x", 0, &["another"])], "b"),
    ] {
        assert_eq!(chosen(&both, &budgets), expected, "{budgets:?}");
    }
    // One budget is enough to be broken, and one that is another namespace's is none.
    let mut elsewhere = budget("x", 0, &[]);
    elsewhere["metadata"]["namespace"] = "elsewhere".into();
    assert_eq!(chosen(&both, &[elsewhere]), "a");
    let mut everybody = budget("all", 0, &[]);
    everybody["spec"]["selector"] = json!({});
    assert_eq!(chosen(&both, &[everybody]), "a", "an empty selector protects nobody");
    let mut twice = budget("x", 0, &[]);
    twice["metadata"]["name"] = "second".into();
    assert_eq!(chosen(&both, &[budget("x", 1, &[]), twice]), "b");
}

#[test]
fn the_most_important_pods_are_spared_and_those_behind_a_budget_before_them() {
    let on_a =
        |who: [(&str, i32); 3]| who.map(|(name, priority)| running(name, "a", "1", priority));
    let left = |pods: &[PodBuilder], budgets: &[Value]| {
        // Two of three may stay; whoever goes decides between the nodes.
        let rival = running("rival", "b", "4", 5);
        let all: Vec<PodBuilder> = pods.iter().cloned().chain([rival]).collect();
        cluster(&all, budgets).nominate(pod("new").cpu("2").priority(100)).unwrap()
    };
    // The least important one goes: that hurts less than the rival on `b`.
    assert_eq!(left(&on_a([("x", 4), ("y", 60), ("z", 70)]), &[]), "a");
    assert_eq!(left(&on_a([("x", 6), ("y", 60), ("z", 70)]), &[]), "b");
    // It is spared as it is behind a budget, and the next one would have to go.
    let pods = on_a([("x", 4), ("y", 60), ("z", 70)]);
    assert_eq!(left(&pods, &[budget("x", 0, &[])]), "b");
    let victims = |cpu: &str, budgets: &[Value]| {
        let one = Cluster::new([node("a").cpu("4")]);
        let one = pods.iter().cloned().fold(one, Cluster::running);
        let one = budgets.iter().cloned().fold(one, Cluster::json::<PodDisruptionBudget>);
        one.victims(pod("new").cpu(cpu).priority(100)).unwrap()
    };
    assert_eq!(victims("2", &[]), ["x"]);
    assert_eq!(victims("3", &[]), ["y", "x"]);
    assert_eq!(victims("2", &[budget("x", 0, &[])]), ["y"]);
    assert_eq!(victims("3", &[budget("x", 0, &[])]), ["z", "y"]);
    assert_eq!(victims("4", &[budget("x", 0, &[])]), ["z", "y", "x"]);
}

#[test]
fn of_the_equally_important_the_one_that_started_last_leaves_then_the_one_of_the_larger_uid() {
    let started = |pod: PodBuilder, at: &str| pod.status("startTime", at.into());
    let (old, new) = ("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z");
    // One of both can stay.
    let leaves = |x: PodBuilder, y: PodBuilder| {
        let cluster = Cluster::new([node("a").cpu("4")]).running(x).running(y);
        cluster.victims(pod("new").cpu("2").priority(100)).unwrap()
    };
    let (x, y) = (running("x", "a", "2", 5), running("y", "a", "2", 5));
    assert_eq!(leaves(started(x.clone(), new), started(y.clone(), old)), ["x"]);
    assert_eq!(leaves(started(x.clone(), old), started(y.clone(), new)), ["y"]);
    assert_eq!(leaves(x.clone(), started(y.clone(), new)), ["x"], "it has not started");
    assert_eq!(leaves(started(x.clone(), new), started(y.clone(), new)), ["y"]);
    assert_eq!(leaves(started(x.uid("z"), new), started(y, new)), ["x"]);
    // Of two nodes, the one whose most important victim started last.
    let pair = |x: &str, y: &str| {
        [started(running("x", "a", "3", 5), x), started(running("y", "b", "3", 5), y)]
    };
    assert_eq!(chosen(&pair(new, old), &[]), "a");
    assert_eq!(chosen(&pair(old, new), &[]), "b");
    // One that has not started is the latest of all; of two that are alike the first node is taken.
    let fresh = [running("x", "a", "3", 5), started(running("y", "b", "3", 5), new)];
    assert_eq!(chosen(&fresh, &[]), "a");
    assert_eq!(chosen(&pair(new, new), &[]), "a");
}

#[test]
fn fewer_victims_and_smaller_sums_hurt_less() {
    let one = [running("x", "a", "3", 5)];
    let two = [running("y", "b", "2", 5), running("z", "b", "2", -9)];
    let all: Vec<PodBuilder> = one.iter().chain(&two).cloned().collect();
    // Below zero is still more than nobody.
    assert_eq!(chosen(&all, &[]), "a");
}

#[test]
fn whoever_waits_for_victims_that_leave_makes_no_others_leave() {
    let leaving = |reason: &str| {
        running("x", "a", "3", 5)
            .metadata("deletionTimestamp", "2026-01-02T03:04:05Z".into())
            .status(
                "conditions",
                json!([{"type": "DisruptionTarget", "status": "True", "reason": reason}]),
            )
    };
    let waiting = |priority: i32| {
        pod("new").cpu("3").priority(priority).status("nominatedNodeName", "a".into())
    };
    let refused = "preemption: not eligible due to a terminating pod on the nominated node.";
    let by = |reason: &str, pod: PodBuilder| {
        cluster(&[leaving(reason), running("y", "b", "3", 5)], &[]).nominate(pod)
    };
    let message = by("PreemptionByScheduler", waiting(100)).unwrap_err();
    assert!(message.ends_with(refused), "{message}");
    // It leaves for another reason.
    assert!(by("EvictionByEvictionAPI", waiting(100)).is_ok());
    assert!(by("PreemptionByScheduler", pod("new").cpu("3").priority(100)).is_ok());
    // Its node can never take it any more, so it looks elsewhere.
    let cordoned = Cluster::new([node("a").cpu("4").cordoned(), node("b").cpu("4")])
        .running(leaving("PreemptionByScheduler"))
        .running(running("y", "b", "3", 5));
    assert_eq!(cordoned.nominate(waiting(100)).as_deref(), Ok("b"));
    let mut never = waiting(100);
    never = never.spec("preemptionPolicy", "Never".into());
    let message = by("EvictionByEvictionAPI", never).unwrap_err();
    assert!(message.ends_with("not eligible due to preemptionPolicy=Never."), "{message}");
}

#[test]
fn arguments_out_of_range_are_refused() {
    let (percent, absolute) = ("minCandidateNodesPercentage", "minCandidateNodesAbsolute");
    for (args, expected) in [
        (json!({percent: 101}), "not in valid range [0, 100]"),
        (json!({percent: -1}), "not in valid range [0, 100]"),
        (json!({absolute: -1}), "not in valid range [0, inf)"),
        (json!({percent: 0, absolute: 0}), "cannot have both"),
    ] {
        let profile = Profile::default().args("DefaultPreemption", args.clone());
        let error = Cluster::new([]).profile(profile).framework().map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(expected), "{args}: {error}");
    }
}
