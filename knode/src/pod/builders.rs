//! Pods and what the runtime has of them, from one line each: what the tables of tests are in.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::backoff::Backoffs;
use super::config::{HASH_ANNOTATION, container_hash};
use super::observed::{Health, HealthMap, Observed};
use super::{member, status::Waiting};
use crate::runtime::{
    ContainerConfig, ContainerId, ContainerState, ContainerStatus, ContainerSummary, Exit,
    SandboxConfig, SandboxId, SandboxState, SandboxStatus, SandboxSummary,
};

/// The time of every table.
pub(super) fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

/// When containers ended: four seconds before.
pub(super) fn ended_at() -> Timestamp {
    now() - SignedDuration::from_secs(4)
}

/// A pod out of `POLICY i:init s:sidecar m:main e:ephemeral`.
pub(super) fn pod(text: &str) -> Pod {
    let (policy, rest) = text.split_once(' ').unwrap();
    let mut spec = json!({"restartPolicy": policy, "containers": []});
    for word in rest.split_whitespace() {
        let (kind, name) = word.split_once(':').unwrap();
        let mut container = json!({"name": name, "image": format!("{name}:1")});
        let list = match kind {
            "i" => "initContainers",
            "s" => {
                container["restartPolicy"] = json!("Always");
                "initContainers"
            }
            "e" => "ephemeralContainers",
            _ => "containers",
        };
        match spec[list].as_array_mut() {
            Some(list) => list.push(container),
            None => spec[list] = json!([container]),
        }
    }
    with_spec(spec)
}

pub(super) fn with_spec(spec: Value) -> Pod {
    let metadata = json!({"name": "p", "namespace": "ns", "uid": "u", "generation": 7});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

/// What the agent knows of a pod.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) observed: Observed,
    pub(super) health: HealthMap,
    pub(super) backoffs: Backoffs,
    pub(super) waiting: BTreeMap<String, Waiting>,
}

/// Out of words, in the order things happened:
///
/// * `s0`, `s1!`: a sandbox by its attempt; with a mark it is not ready any more
/// * `main#2=run`: a container by name and attempt, in the last sandbox, and how it is: `run`,
///   `created`, `unknown`, an exit code; running with `sick` (liveness failed), `stuck` (startup
///   failed), `starting` (not started yet), `unready`, `old` (made from another image)
/// * `~main`: it waits for ten seconds after its last end
pub(super) fn seen(pod: &Pod, text: &str) -> Seen {
    let mut seen = Seen::default();
    let (mut sandboxes, mut containers) = (Vec::<SandboxStatus>::new(), Vec::new());
    for word in text.split_whitespace() {
        if let Some((name, how)) = word.split_once('=') {
            let sandbox = sandboxes.last().unwrap().summary.id.clone();
            let container = container(pod, &sandbox, name, how);
            if let Some(health) = health(pod, &container, how) {
                seen.health.insert(container.summary.id.clone(), health);
            }
            containers.push(container);
        } else if let Some(name) = word.strip_prefix('~') {
            seen.backoffs.tried(name, None);
            let waiting = Waiting::new("CrashLoopBackOff", "back-off");
            seen.waiting.insert(name.to_owned(), waiting);
        } else {
            sandboxes.push(sandbox(word));
        }
    }
    seen.observed = Observed::new(sandboxes, containers);
    seen
}

fn sandbox(word: &str) -> SandboxStatus {
    let (id, state) = match word.strip_suffix('!') {
        Some(id) => (id, SandboxState::NotReady),
        None => (word, SandboxState::Ready),
    };
    let attempt: u32 = id[1..].parse().unwrap();
    let config = SandboxConfig::default().attempt(attempt);
    let summary = SandboxSummary::new(id.into(), &config, state, now());
    SandboxStatus::new(summary, vec![format!("10.0.0.{attempt}").parse().unwrap()])
}

fn container(pod: &Pod, sandbox: &SandboxId, name: &str, how: &str) -> ContainerStatus {
    let (name, attempt) = name.split_once('#').unwrap();
    let attempt: u32 = attempt.parse().unwrap();
    let id = ContainerId::from(format!("{name}#{attempt}"));
    let spec = member(pod.spec.as_ref().unwrap(), name).unwrap().container.into_owned();
    let hash = if how == "old" { "another".to_owned() } else { container_hash(&spec) };
    let config = ContainerConfig::default()
        .name(name)
        .attempt(attempt)
        .image(spec.image.unwrap())
        .annotations([(HASH_ANNOTATION, hash)]);
    let code = how.parse::<i32>().ok();
    let state = match how {
        "created" => ContainerState::Created,
        "unknown" => ContainerState::Unknown,
        _ if code.is_some() => ContainerState::Exited,
        _ => ContainerState::Running,
    };
    let summary = ContainerSummary::new(id, sandbox.clone(), &config, state, now());
    let started =
        (state != ContainerState::Created).then(|| ended_at() - SignedDuration::from_secs(60));
    ContainerStatus::new(summary, "image")
        .started_at(started)
        .exit(code.map(|code| Exit::with_code(code, ended_at())))
}

fn health(pod: &Pod, container: &ContainerStatus, how: &str) -> Option<Health> {
    let spec = member(pod.spec.as_ref()?, &container.summary.name)?.container.into_owned();
    let mut health = Health::initial(&spec);
    match how {
        "sick" => health.liveness_failed = true,
        "stuck" => {
            health.started = false;
            health.startup_failed = true;
        }
        "starting" => health.started = false,
        "unready" => health.ready = false,
        _ => return None,
    }
    Some(health)
}
