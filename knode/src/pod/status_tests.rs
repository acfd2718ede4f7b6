//! Statuses in tables: a pod, what there is of it, what the API is told.

use k8s_openapi::api::core::v1::PodCondition;
use serde_json::{Value, json};

use super::super::builders::{now, pod, seen};
use super::*;

/// The status of a pod whose fate is `fate`.
fn status_of(pod: &Pod, text: &str, fate: &Fate) -> PodStatus {
    let known = seen(pod, text);
    compute_pod_status(
        pod,
        &StatusFacts {
            observed: &known.observed,
            health: &known.health,
            waiting: &known.waiting,
            fate,
            host_ips: &["192.0.2.1".parse().unwrap()],
            runtime: "fake",
            before: None,
            seen_at: now(),
            now: now(),
        },
    )
}

fn fails() -> Fate {
    Fate::Fails("Evicted".to_owned(), "too much".to_owned())
}

/// The phase while the pod lives, once it is to end, and once it has failed.
fn check_phases(table: &[(&str, &str, [&str; 3])]) {
    for (spec, text, expect) in table {
        let pod = pod(spec);
        let phases = [Fate::Lives, Fate::Ends, fails()]
            .map(|fate| status_of(&pod, text, &fate).phase.unwrap());
        assert_eq!(phases, *expect, "{spec} | {text}");
    }
}

#[test]
fn the_phase_follows_the_main_containers() {
    let (p, r, s, f) = ("Pending", "Running", "Succeeded", "Failed");
    check_phases(&[
        ("Always m:a", "", [p, f, f]),
        ("Always m:a", "s0", [p, f, f]),
        ("Always m:a", "s0 a#0=created", [p, f, f]),
        ("Always m:a m:b", "s0 a#0=run", [p, p, p]),
        ("Always m:a m:b", "s0 a#0=0", [p, f, f]),
        ("Always m:a m:b", "s0 a#0=run b#0=run", [r, r, r]),
        ("Always m:a m:b", "s0 a#0=run b#0=1", [r, r, r]),
        ("Never m:a m:b", "s0 a#0=run b#0=1", [r, r, r]),
        // All have ended: what the policy restarts goes on.
        ("Always m:a", "s0 a#0=0", [r, s, f]),
        ("Always m:a", "s0 a#0=1", [r, f, f]),
        ("Always m:a", "s0 a#0=1 ~a", [r, f, f]),
        ("OnFailure m:a", "s0 a#0=0", [s, s, f]),
        ("OnFailure m:a", "s0 a#0=1", [r, f, f]),
        ("OnFailure m:a m:b", "s0 a#0=0 b#0=1", [r, f, f]),
        ("Never m:a", "s0 a#0=0", [s, s, f]),
        ("Never m:a", "s0 a#0=1", [f, f, f]),
        ("Never m:a m:b", "s0 a#0=0 b#0=1", [f, f, f]),
        // A new sandbox, whose containers come again.
        ("Always m:a", "s0! a#0=137 s1", [r, f, f]),
        // Whoever looks at a pod does not keep it.
        ("Never m:a e:look", "s0 a#0=run look#0=0", [r, r, r]),
        ("Never m:a e:look", "s0 a#0=0 look#0=0", [s, s, f]),
    ]);
}

#[test]
fn the_phase_is_pending_until_init_containers_and_sidecars_are_through() {
    let (p, r, s, f) = ("Pending", "Running", "Succeeded", "Failed");
    check_phases(&[
        ("Always i:one m:a", "s0 one#0=run", [p, p, p]),
        ("Always i:one m:a", "s0 one#0=0", [p, f, f]),
        ("Always i:one m:a", "s0 one#0=0 a#0=run", [r, r, r]),
        ("Always i:one m:a", "s0 one#0=1", [p, f, f]),
        ("Always i:one m:a", "s0 one#0=1 ~one", [p, f, f]),
        ("OnFailure i:one m:a", "s0 one#0=1", [p, f, f]),
        ("Never i:one m:a", "s0 one#0=1", [f, f, f]),
        // What once failed is an old story when the main containers have run.
        ("Never i:one m:a", "s0 one#0=1 a#0=run", [r, r, r]),
        ("Never s:p i:one m:a", "s0 p#0=run one#0=1", [p, p, p]),
        ("Never s:p i:one m:a", "s0 p#0=137 one#0=1", [f, f, f]),
        ("Always s:p m:a", "s0 p#0=starting", [p, p, p]),
        ("Always s:p m:a", "s0 p#0=run", [p, p, p]),
        ("Always s:p m:a", "s0 p#0=run a#0=run", [r, r, r]),
        ("Always s:p m:a", "s0 p#0=1 a#0=run ~p", [r, r, r]),
        ("Always s:p m:a", "s0 a#0=run", [p, p, p]),
        ("Never s:p m:a", "s0 p#0=run a#0=0", [r, r, r]),
        ("Never s:p m:a", "s0 p#0=137 a#0=0", [s, s, f]),
    ]);
}

#[test]
fn a_final_phase_never_changes_and_a_reason_is_told_at_once() {
    for last in ["Succeeded", "Failed"] {
        let mut pod = pod("Always m:a");
        pod.status = Some(PodStatus { phase: Some(last.to_owned()), ..PodStatus::default() });
        for text in ["", "s0 a#0=run", "s0 a#0=1"] {
            let phase = status_of(&pod, text, &Fate::Lives).phase;
            assert_eq!(phase.as_deref(), Some(last), "{text}");
        }
    }
    let status = status_of(&pod("Always m:a"), "s0 a#0=run", &fails());
    assert_eq!(status.reason.as_deref(), Some("Evicted"));
    assert_eq!(status.message.as_deref(), Some("too much"));
}

/// A container's status as JSON, from whichever list it is in.
fn container(status: &PodStatus, name: &str) -> Value {
    let lists = [
        &status.init_container_statuses,
        &status.container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let found = lists.into_iter().flatten().flatten().find(|it| it.name == name).unwrap();
    serde_json::to_value(found).unwrap()
}

#[test]
fn containers_say_how_they_are_and_how_they_were() {
    let table = [
        ("Always m:a", "", "waiting ContainerCreating"),
        ("Always i:one m:a", "", "waiting PodInitializing"),
        ("Always m:a", "s0 a#0=created", "waiting ContainerCreating"),
        ("Always m:a", "s0 a#0=unknown", "waiting ContainerStatusUnknown"),
        ("Always m:a", "s0 a#0=run", "running, started, ready"),
        ("Always m:a", "s0 a#0=starting", "running, ready"),
        ("Always m:a", "s0 a#0=unready", "running, started"),
        ("Always m:a", "s0 a#3=0", "terminated 0 Completed, restarts 3"),
        ("Always m:a", "s0 a#0=1 a#1=run", "running, started, ready, restarts 1, last 1 Error"),
        ("Always m:a", "s0 a#1=7 ~a", "waiting CrashLoopBackOff, restarts 1, last 7 Error"),
        ("Never m:a", "s0 a#0=7 ~a", "terminated 7 Error"),
    ];
    for (spec, text, expect) in table {
        let status = container(&status_of(&pod(spec), text, &Fate::Lives), "a");
        let mut words = Vec::new();
        for kind in ["waiting", "running", "terminated"] {
            let state = &status["state"][kind];
            if !state.is_null() {
                let code = state["exitCode"].as_i64().map_or(String::new(), |it| format!(" {it}"));
                let reason = state["reason"].as_str().map_or(String::new(), |it| format!(" {it}"));
                words.push(format!("{kind}{code}{reason}"));
            }
        }
        words.extend((status["started"] == true).then(|| "started".to_owned()));
        // A container that has not started gets no traffic whatever its readiness says.
        let ready = status["ready"] == true || text.contains("starting");
        words.extend(ready.then(|| "ready".to_owned()));
        let restarts = status["restartCount"].as_i64().unwrap();
        words.extend((restarts > 0).then(|| format!("restarts {restarts}")));
        let last = &status["lastState"]["terminated"];
        words
            .extend((!last.is_null()).then(|| {
                format!("last {} {}", last["exitCode"], last["reason"].as_str().unwrap())
            }));
        assert_eq!(words.join(", "), expect, "{spec} | {text}");
    }
    let starting = status_of(&pod("Always m:a"), "s0 a#0=starting", &Fate::Lives);
    assert_eq!(container(&starting, "a")["ready"], false);
    let init = status_of(&pod("Always i:one i:two m:a"), "s0 one#0=0 two#0=1", &Fate::Lives);
    assert_eq!(
        container(&init, "one")["ready"],
        true,
        "an init container is ready once it is done"
    );
    assert_eq!(container(&init, "two")["ready"], false);
    let init = status_of(&pod("Always i:one m:a"), "s0 one#0=run", &Fate::Lives);
    assert_eq!(container(&init, "one")["ready"], false);
}

#[test]
fn a_container_that_the_runtime_has_lost_ended_for_unknown_reasons() {
    let mut pod = pod("Always m:a");
    let before = status_of(&pod, "s0 a#2=run", &Fate::Lives);
    pod.status = Some(before);
    let status = container(&status_of(&pod, "s1", &Fate::Lives), "a");
    assert_eq!(status["restartCount"], 3);
    assert_eq!(status["state"]["waiting"]["reason"], "ContainerCreating");
    let last = &status["lastState"]["terminated"];
    assert_eq!(
        (&last["exitCode"], &last["reason"]),
        (&json!(137), &json!("ContainerStatusUnknown"))
    );
    let status = container(&status_of(&pod, "", &Fate::Ends), "a");
    assert_eq!(status["state"]["terminated"]["reason"], "ContainerStatusUnknown");
    // One that the API knows as ended stays as it was.
    pod.status = Some(status_of(&pod, "s0 a#2=5", &Fate::Ends));
    let status = container(&status_of(&pod, "", &Fate::Ends), "a");
    assert_eq!(status["state"]["terminated"]["exitCode"], 5);
}

fn conditions(status: &PodStatus) -> BTreeMap<String, PodCondition> {
    let all = status.conditions.iter().flatten();
    all.map(|condition| (condition.type_.clone(), condition.clone())).collect()
}

/// Ours, as `+Ready -Initialized(reason: message)`, in their order.
fn told(status: &PodStatus) -> String {
    let words = status.conditions.iter().flatten().map(|it| {
        let sign = if it.status == "True" { '+' } else { '-' };
        let short: String = it.type_.chars().filter(char::is_ascii_uppercase).collect();
        let reason = it.reason.as_ref().map_or(String::new(), |reason| format!("({reason})"));
        format!("{sign}{short}{reason}")
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn conditions_tell_how_far_a_pod_is() {
    // PodReadyToStartContainers, Initialized, Ready, ContainersReady, PodScheduled.
    let none = "(ContainersNotReady)";
    let table = [
        ("Always m:a", "", format!("-PRTSC +I -R{none} -CR{none} +PS")),
        ("Always m:a", "s0", format!("+PRTSC +I -R{none} -CR{none} +PS")),
        ("Always m:a", "s0 a#0=run", "+PRTSC +I +R +CR +PS".to_owned()),
        ("Always m:a", "s0 a#0=unready", format!("+PRTSC +I -R{none} -CR{none} +PS")),
        ("Always m:a", "s0! a#0=137", format!("-PRTSC +I -R{none} -CR{none} +PS")),
        (
            "Always i:one m:a",
            "s0 one#0=run",
            format!("+PRTSC -I(ContainersNotInitialized) -R{none} -CR{none} +PS"),
        ),
        ("Always i:one m:a", "s0 one#0=0", format!("+PRTSC +I -R{none} -CR{none} +PS")),
        (
            "Always s:p m:a",
            "s0 p#0=starting",
            format!("+PRTSC -I(ContainersNotInitialized) -R{none} -CR{none} +PS"),
        ),
        ("Always s:p m:a", "s0 p#0=run a#0=run", "+PRTSC +I +R +CR +PS".to_owned()),
        ("Always s:p m:a", "s0 p#0=unready a#0=run", format!("+PRTSC +I -R{none} -CR{none} +PS")),
        (
            "Never m:a",
            "s0! a#0=0",
            "-PRTSC +I(PodCompleted) -R(PodCompleted) -CR(PodCompleted) +PS".to_owned(),
        ),
        ("Never m:a", "s0! a#0=1", "-PRTSC +I -R(PodFailed) -CR(PodFailed) +PS".to_owned()),
    ];
    for (spec, text, expect) in table {
        let status = status_of(&pod(spec), text, &Fate::Lives);
        assert_eq!(told(&status), expect, "{spec} | {text}");
        assert!(conditions(&status).values().all(|it| it.observed_generation == Some(7)));
    }
    let status = status_of(&pod("Always m:a m:b i:one"), "s0", &Fate::Lives);
    let message = |kind: &str| conditions(&status)[kind].message.clone().unwrap_or_default();
    assert_eq!(message("Initialized"), "containers with incomplete status: [one]");
    assert_eq!(message("ContainersReady"), "containers with unready status: [a b]");
}

#[test]
fn readiness_gates_hold_a_pod_back_and_foreign_conditions_stay() {
    let gate = "example.com/fed";
    let foreign = |status: &str| json!({"type": gate, "status": status, "reason": "Mine"});
    let table = [
        (
            None,
            "-",
            "corresponding condition of pod readiness gate \"example.com/fed\" does not exist.",
        ),
        (
            Some(foreign("False")),
            "-",
            "the status of pod readiness gate \"example.com/fed\" is not \"True\", but False",
        ),
        (Some(foreign("True")), "+", ""),
    ];
    for (condition, sign, message) in table {
        let mut pod = pod("Always m:a");
        let gates = serde_json::from_value(json!([{"conditionType": gate}])).unwrap();
        pod.spec.as_mut().unwrap().readiness_gates = Some(gates);
        let api = json!({"conditions": condition.iter().collect::<Vec<_>>()});
        pod.status = Some(serde_json::from_value(api).unwrap());
        let status = status_of(&pod, "s0 a#0=run", &Fate::Lives);
        let all = conditions(&status);
        let ready = &all["Ready"];
        assert_eq!(ready.status, if sign == "+" { "True" } else { "False" });
        assert_eq!(ready.message.clone().unwrap_or_default(), message);
        assert_eq!(all["ContainersReady"].status, "True");
        let kept = all.get(gate).map(|it| serde_json::to_value(it).unwrap());
        assert_eq!(kept, condition, "what others say is theirs");
    }
}

#[test]
fn a_condition_keeps_the_time_of_its_last_change() {
    let mut pod = pod("Always m:a");
    let then = "2020-02-02T02:02:02Z".parse().unwrap();
    let mut before = status_of(&pod, "s0 a#0=unready", &Fate::Lives);
    for condition in before.conditions.iter_mut().flatten() {
        condition.last_transition_time = Some(Time(then));
    }
    pod.status = Some(before);
    let all = conditions(&status_of(&pod, "s0 a#0=run", &Fate::Lives));
    let changed = |kind: &str| all[kind].last_transition_time.as_ref().map(|time| time.0);
    for kind in ["Initialized", "PodReadyToStartContainers", "PodScheduled"] {
        assert_eq!(changed(kind), Some(then), "{kind}");
    }
    for kind in ["Ready", "ContainersReady"] {
        assert_eq!(changed(kind), Some(now()), "{kind}");
    }
}

#[test]
fn addresses_and_what_others_keep_stay() {
    let mut pod = pod("Always m:a");
    let api = json!({
        "qosClass": "BestEffort", "nominatedNodeName": "n", "podIP": "10.9.9.9",
        "podIPs": [{"ip": "10.9.9.9"}], "startTime": "2020-02-02T02:02:02Z",
    });
    pod.status = Some(serde_json::from_value(api).unwrap());
    let status = status_of(&pod, "", &Fate::Lives);
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    assert_eq!(status.nominated_node_name.as_deref(), Some("n"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.9.9.9"), "of a sandbox that is gone");
    assert_eq!(status.host_ip.as_deref(), Some("192.0.2.1"));
    assert_eq!(status.start_time, Some(Time("2020-02-02T02:02:02Z".parse().unwrap())));
    assert_eq!(status.observed_generation, Some(7));
    let status = status_of(&pod, "s0! s1", &Fate::Lives);
    assert_eq!(status.pod_ip.as_deref(), Some("10.0.0.1"), "of the newest sandbox");
    pod.spec.as_mut().unwrap().host_network = Some(true);
    let status = status_of(&pod, "s0", &Fate::Lives);
    assert_eq!(status.pod_ip.as_deref(), Some("192.0.2.1"));
}
