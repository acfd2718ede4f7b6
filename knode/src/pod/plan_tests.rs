//! Plans in tables: a pod, what there is of it, what is to be done.

use serde_json::json;

use super::super::builders::{Seen, now, pod, seen, with_spec};
use super::*;

fn plan(pod: &Pod, seen: &Seen) -> PodActions {
    let Seen { observed, health, backoffs, .. } = seen;
    compute_pod_actions(pod, Situation { observed, health, backoffs, now: now() })
}

/// A plan as one line.
fn told(actions: &PodActions) -> String {
    let mut words = Vec::new();
    if actions.finish {
        words.push("finish".to_owned());
    }
    words.extend(actions.create_sandbox.map(|attempt| format!("sandbox {attempt}")));
    words.extend(actions.kill.iter().map(|kill| {
        let again = if kill.restarts { "" } else { " for good" };
        format!("kill {} {:?}{again}", kill.id, kill.reason)
    }));
    words.extend(actions.start.iter().map(|start| {
        let adopted = start.created.as_ref().map_or(String::new(), |_| " as created".to_owned());
        format!("start {}#{}{adopted}", start.name, start.attempt)
    }));
    words.extend(actions.hold.iter().map(|it| format!("hold {} {:?}", it.name, it.remaining)));
    words.extend(actions.remove_sandboxes.iter().map(|id| format!("drop {id}")));
    words.extend(actions.remove.iter().map(|id| format!("remove {id}")));
    words.join(", ")
}

fn check(table: &[(&str, &str, &str)]) {
    for (spec, text, expect) in table {
        let pod = pod(spec);
        let actions = plan(&pod, &seen(&pod, text));
        assert_eq!(told(&actions), *expect, "{spec} | {text}");
        let idle = expect.split(", ").all(|word| word.is_empty() || word.starts_with("hold"));
        assert_eq!(actions.is_empty(), idle, "{spec} | {text}");
    }
}

#[test]
fn a_sandbox_comes_first_and_comes_again_when_it_is_lost() {
    check(&[
        ("Always m:a m:b", "", "sandbox 0"),
        ("Never m:a", "", "sandbox 0"),
        ("Always m:a m:b", "s0", "start a#0, start b#0"),
        ("Always m:a", "s0!", "sandbox 1"),
        ("Never m:a", "s0!", "sandbox 1"),
        ("Always m:a", "s0! a#0=137", "sandbox 1"),
        ("OnFailure m:a", "s0! a#0=137", "sandbox 1"),
        ("Always m:a", "s0! a#0=137 s1", "start a#1"),
        ("OnFailure m:a m:b", "s0! a#0=0 b#0=137 s1", "start b#1"),
        // Sandboxes without a use go; one with the previous run of a container stays.
        ("Always m:a", "s0! s1! s2 a#0=run", "drop s1, drop s0"),
        ("Always m:a", "s0! a#0=1 s1 a#1=run", ""),
        ("Always m:a", "s0 s1 a#0=run", "drop s0"),
        ("Always m:a", "s0! s1!", "sandbox 2, drop s0"),
    ]);
}

#[test]
fn a_pod_that_restarts_nothing_ends_with_its_sandbox() {
    check(&[
        ("Never m:a", "s0! a#0=137", "finish"),
        ("Never m:a m:b", "s0! a#0=137 b#0=created", "finish"),
        ("Never i:one m:a", "s0! one#0=0", "finish"),
        ("Never s:proxy m:a", "s0! proxy#0=137", "finish"),
        ("OnFailure i:one m:a", "s0! one#0=0", "sandbox 1"),
    ]);
}

#[test]
fn init_containers_run_one_after_another() {
    check(&[
        ("Always i:one i:two m:a", "s0", "start one#0"),
        ("Always i:one i:two m:a", "s0 one#0=run", ""),
        ("Always i:one i:two m:a", "s0 one#0=0", "start two#0"),
        ("Always i:one i:two m:a", "s0 one#0=0 two#0=0", "start a#0"),
        ("Always i:one i:two m:a", "s0 one#0=0 two#0=0 a#0=run", ""),
        // One that failed is run again, or has failed for good.
        ("Always i:one m:a", "s0 one#0=1", "start one#1"),
        ("OnFailure i:one m:a", "s0 one#0=1", "start one#1"),
        ("Never i:one m:a", "s0 one#0=1", "finish"),
        ("Always i:one m:a", "s0 one#0=1 ~one", "hold one 6s"),
        // What the runtime has forgotten of them is not run again.
        ("Always i:one i:two m:a", "s0 two#0=0", "start a#0"),
        ("Always i:one m:a", "s0 a#0=run", ""),
        // In a new sandbox all of them run again.
        ("Always i:one m:a", "s0! one#0=0 a#0=137 s1", "start one#1"),
        ("Always i:one m:a", "s0! one#0=0 a#0=137 s1 one#1=0", "start a#1"),
        // An image that changes is for the next run.
        ("Always i:one m:a", "s0 one#0=old", ""),
    ]);
}

#[test]
fn sidecars_start_in_the_order_of_init_containers_and_stay() {
    check(&[
        ("Always s:p i:one m:a", "s0", "start p#0"),
        ("Always s:p i:one m:a", "s0 p#0=starting", ""),
        ("Always s:p i:one m:a", "s0 p#0=run", "start one#0"),
        ("Always i:one s:p m:a", "s0 one#0=0 p#0=run", "start a#0"),
        ("Always i:one s:p m:a", "s0 one#0=0 p#0=starting", ""),
        // One that ended is started again, whatever its code and the pod's policy.
        ("Never s:p m:a", "s0 p#0=0 a#0=run", "start p#1"),
        ("Never s:p m:a", "s0 p#0=3 a#0=run", "start p#1"),
        ("Always s:p m:a", "s0 p#0=1 a#0=run ~p", "hold p 6s"),
        ("Always s:p m:a", "s0 p#0=sick a#0=run", "kill p#0 Liveness"),
        ("Always s:p m:a", "s0 p#0=stuck", "kill p#0 Startup"),
        ("Always s:p m:a", "s0 p#0=old a#0=run", "kill p#0 Changed, start p#1"),
        // What comes later goes on meanwhile; the main containers wait for the last one.
        ("Always s:p i:one m:a", "s0 p#0=1 one#0=run ~p", "hold p 6s"),
        ("Always s:p i:one m:a", "s0 p#0=1 one#0=0 ~p", "start a#0, hold p 6s"),
        ("Always s:p i:one m:a", "s0 p#0=1 one#0=1", "start p#1, start one#1"),
        ("Always s:p m:a", "s0 p#0=1 ~p", "hold p 6s"),
        // They keep no pod alive.
        ("Never s:p m:a", "s0 p#0=run a#0=0", "finish"),
        ("OnFailure s:p m:a", "s0 p#0=run a#0=0", "finish"),
        ("Always s:p m:a", "s0 p#0=run a#0=0", "start a#1"),
    ]);
}

#[test]
fn main_containers_restart_as_the_policy_says() {
    for (policy, well, ill) in [
        ("Always", "start a#1", "start a#1"),
        ("OnFailure", "finish", "start a#1"),
        ("Never", "finish", "finish"),
    ] {
        let spec = format!("{policy} m:a");
        check(&[(&spec, "s0 a#0=0", well), (&spec, "s0 a#0=1", ill), (&spec, "s0 a#0=137", ill)]);
        let spec = format!("{policy} m:a m:b");
        let others = |expect: &str| expect.replace("finish", "");
        check(&[
            (&spec, "s0 a#0=0 b#0=run", &others(well)),
            (&spec, "s0 a#0=1 b#0=run", &others(ill)),
        ]);
    }
    check(&[
        ("Always m:a", "s0 a#3=1 ~a", "hold a 6s"),
        ("Always m:a m:b", "s0 a#0=1 b#0=1 ~a", "start b#1, hold a 6s"),
    ]);
}

#[test]
fn a_containers_own_rules_come_before_its_policy_and_that_before_the_pods() {
    let rule = |operator: &str, values: &[i32]| {
        let codes = json!({"operator": operator, "values": values});
        json!([{"action": "Restart", "exitCodes": codes}])
    };
    let table = [
        // The pod's policy, the container's, its rules; which of 0, 1, 42 are run again.
        ("Never", None, Some(rule("In", &[42])), [false, false, true]),
        ("Never", None, Some(rule("NotIn", &[42])), [true, true, false]),
        ("Never", Some("OnFailure"), None, [false, true, true]),
        ("Never", Some("Always"), None, [true, true, true]),
        ("Always", Some("Never"), None, [false, false, false]),
        ("Always", Some("Never"), Some(rule("In", &[42])), [false, false, true]),
        ("Always", Some("OnFailure"), Some(rule("In", &[0])), [true, true, true]),
        ("OnFailure", None, Some(rule("Unknown", &[0])), [false, true, true]),
    ];
    for (pods, own, rules, again) in table {
        let mut container = json!({"name": "a", "image": "a:1"});
        if let Some(own) = own {
            container["restartPolicy"] = json!(own);
        }
        if let Some(rules) = rules {
            container["restartPolicyRules"] = rules;
        }
        let pod = with_spec(json!({"restartPolicy": pods, "containers": [container]}));
        for (code, again) in [0, 1, 42].into_iter().zip(again) {
            let actions = plan(&pod, &seen(&pod, &format!("s0 a#0={code}")));
            let expect = if again { "start a#1" } else { "finish" };
            assert_eq!(told(&actions), expect, "{pods} {container} {code}");
        }
    }
}

#[test]
fn containers_are_killed_for_their_probes_and_their_definition() {
    check(&[
        ("Always m:a", "s0 a#0=sick", "kill a#0 Liveness"),
        ("OnFailure m:a", "s0 a#0=sick", "kill a#0 Liveness"),
        ("Never m:a", "s0 a#0=sick", "kill a#0 Liveness for good"),
        ("Always m:a", "s0 a#0=stuck", "kill a#0 Startup"),
        ("OnFailure m:a", "s0 a#0=stuck", "kill a#0 Startup"),
        ("Never m:a", "s0 a#0=stuck", "kill a#0 Startup for good"),
        // Whatever the policy says, a new definition is run.
        ("Always m:a", "s0 a#0=old", "kill a#0 Changed, start a#1"),
        ("OnFailure m:a", "s0 a#0=old", "kill a#0 Changed, start a#1"),
        ("Never m:a", "s0 a#0=old", "kill a#0 Changed, start a#1"),
        ("Always m:a", "s0 a#0=unknown", "kill a#0 Unknown"),
        // Traffic is not the runtime's matter.
        ("Always m:a", "s0 a#0=unready", ""),
    ]);
    let message = |reason, restarts| {
        Kill { id: "x".into(), name: "a".to_owned(), reason, restarts }.message()
    };
    let texts = [
        message(KillReason::Liveness, true),
        message(KillReason::Startup, false),
        message(KillReason::Changed, true),
        message(KillReason::Unknown, true),
    ];
    assert_eq!(
        texts,
        [
            "Container a failed liveness probe, will be restarted",
            "Container a failed startup probe",
            "Container a definition changed, will be restarted",
            "Container a is in an unknown state, try killing it before restart",
        ]
    );
}

#[test]
fn a_created_container_is_adopted_and_ephemeral_ones_run_once() {
    check(&[
        ("Always m:a", "s0 a#0=created", "start a#0 as created"),
        ("Never m:a", "s0 a#0=created", "start a#0 as created"),
        ("Always m:a", "s0! a#0=created s1", "start a#1"),
        ("Always i:one m:a", "s0 one#0=created", "start one#0 as created"),
        ("Always m:a e:look", "s0 a#0=run", "start look#0"),
        ("Always m:a e:look", "s0 a#0=run look#0=0", ""),
        ("Always m:a e:look", "s0 a#0=run look#0=1", ""),
        ("Always m:a e:look", "s0 a#0=run look#0=run", ""),
        ("Always i:one m:a e:look", "s0 one#0=run", "start look#0"),
    ]);
}

#[test]
fn the_last_run_and_the_one_before_it_are_kept() {
    check(&[
        ("Always m:a", "s0 a#0=1 a#1=run", ""),
        ("Always m:a", "s0 a#0=1 a#1=1 a#2=run", "remove a#0"),
        ("Always m:a", "s0 a#0=1 a#1=1 a#2=1 a#3=1 ~a", "hold a 6s, remove a#1, remove a#0"),
        ("Always m:a", "s0 a#0=run a#1=1 a#2=run", ""),
    ]);
    let pod = pod("Always m:a");
    let start = plan(&pod, &seen(&pod, "s0 a#0=1")).start.remove(0);
    assert_eq!(start.last_run, Some(SignedDuration::from_secs(60)), "for the backoff");
    let pod = with_spec(json!({"containers": []}));
    assert!(plan(&pod, &seen(&pod, "s0")).finish, "nothing to do is done");
    assert!(plan(&Pod::default(), &Seen::default()).is_empty());
}
