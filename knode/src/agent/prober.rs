//! Asks a pod's probes, and tells what they say.
//!
//! One future a probe and run of a container, all within the pod's own task; time is tokio's one
//! timer wheel.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Probe};
use tokio::time::Instant;

use super::hub::Hub;
use super::record::Record;
use crate::pod::status::Fate;
use crate::pod::{self, Health, Member, Role, members};
use crate::probe::{
    Gate, MAX_PROBE_ATTEMPTS, Outcome, ProbeKind, ProbeResult, ProbeSpec, ProbeState, Situation,
    Target, Verdict, compute_gate, compute_result, probe_spec,
};
use crate::runtime::{ContainerId, ContainerState, ContainerStatus};

const KINDS: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];

fn probe_of(container: &Container, kind: ProbeKind) -> Option<&Probe> {
    match kind {
        ProbeKind::Startup => container.startup_probe.as_ref(),
        ProbeKind::Liveness => container.liveness_probe.as_ref(),
        ProbeKind::Readiness => container.readiness_probe.as_ref(),
    }
}

fn word(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "Startup",
        ProbeKind::Liveness => "Liveness",
        ProbeKind::Readiness => "Readiness",
    }
}

/// Asks the probes of a pod for as long as the future is polled.
///
/// It never ends: the pod's worker does.
pub(super) async fn run(hub: Arc<Hub>, record: Arc<Record>) {
    let pod = record.pod();
    if let Some(spec) = &pod.spec
        && members(spec).any(|member| is_probed(&member.container))
    {
        ask_all(&hub, &record, spec).await;
    }
    std::future::pending().await
}

fn is_probed(container: &Container) -> bool {
    KINDS.iter().any(|kind| probe_of(container, *kind).is_some())
}

/// Keeps one question open for each probe of each container that runs.
async fn ask_all(hub: &Arc<Hub>, record: &Arc<Record>, spec: &PodSpec) {
    let mut situations = record.situations();
    let mut asked: BTreeSet<(ContainerId, &'static str)> = BTreeSet::new();
    let mut probes = FuturesUnordered::new();
    loop {
        situations.borrow_and_update();
        let observed = record.observed();
        asked.retain(|(id, _)| observed.running().any(|status| status.summary.id == *id));
        for member in members(spec).filter(|member| member.role != Role::Ephemeral) {
            let latest = observed.latest(member.name());
            let Some(run) = latest.filter(|it| it.state() == ContainerState::Running) else {
                continue;
            };
            for kind in KINDS {
                let Some(probe) = probe_of(&member.container, kind) else { continue };
                if asked.insert((run.summary.id.clone(), word(kind))) {
                    let asker = Asker::new(hub, record, &member, run, kind);
                    probes.push(asker.run(probe_spec(probe, &member.container)));
                }
            }
        }
        kcore::select! {
            changed = situations.changed() => if changed.is_err() { return },
            Some(()) = probes.next() => {}
        }
    }
}

/// Asks one probe of one run of a container.
struct Asker {
    hub: Arc<Hub>,
    record: Arc<Record>,
    id: ContainerId,
    #[cfg(feature = "server")]
    name: String,
    field_path: String,
    kind: ProbeKind,
    since: Instant,
    initial: Health,
}

impl Asker {
    fn new(
        hub: &Arc<Hub>,
        record: &Arc<Record>,
        member: &Member<'_>,
        run: &ContainerStatus,
        kind: ProbeKind,
    ) -> Self {
        let started = run.started_at.unwrap_or(run.summary.created_at);
        let ran = Duration::try_from(hub.now().duration_since(started)).unwrap_or_default();
        let now = Instant::now();
        let api_id = format!("{}://{}", hub.runtime_name, run.summary.id);
        let pod = record.pod();
        let api = api_status(&pod, member.name());
        Self {
            hub: Arc::clone(hub),
            record: Arc::clone(record),
            id: run.summary.id.clone(),
            #[cfg(feature = "server")]
            name: member.name().to_owned(),
            field_path: pod::field_path(member),
            kind,
            since: now.checked_sub(ran).unwrap_or(now),
            initial: Health::adopted(&member.container, api, &api_id),
        }
    }

    async fn run(self, spec: crate::Result<ProbeSpec>) {
        let spec = match spec {
            Ok(spec) => spec,
            Err(error) => {
                let message = format!("{} probe errored: {error}", word(self.kind));
                self.event("Unhealthy", &message);
                return;
            }
        };
        let mut situations = self.record.situations();
        let mut state = ProbeState::new(self.kind);
        let holds = match self.kind {
            ProbeKind::Startup => self.initial.started,
            ProbeKind::Readiness => self.initial.ready,
            ProbeKind::Liveness => false,
        };
        if holds {
            state.result = ProbeResult::Success;
        }
        loop {
            situations.borrow_and_update();
            let Some(situation) = self.situation() else { return };
            match compute_gate(&spec, &state, situation, Instant::now()) {
                Gate::Ask => state = self.ask(&spec, &state).await,
                Gate::Wait(until) => {
                    self.tell(state.result);
                    kcore::select! {
                        changed = situations.changed() => if changed.is_err() { return },
                        () = tokio::time::sleep_until(until) => {}
                    }
                }
                Gate::Rest(result) => {
                    self.tell(result);
                    if situations.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// How the container is; `None` once this run of it is over.
    fn situation(&self) -> Option<Situation> {
        let observed = self.record.observed();
        observed.running().find(|status| status.summary.id == self.id)?;
        let health = self.record.health().get(&self.id).copied().unwrap_or(self.initial);
        let situation = if health.started {
            Situation::started(self.since)
        } else {
            Situation::starting(self.since)
        };
        let ends = self.record.fate() != Fate::Lives;
        Some(if ends { situation.terminating() } else { situation })
    }

    async fn ask(&self, spec: &ProbeSpec, state: &ProbeState) -> ProbeState {
        let asked_at = Instant::now();
        let pod = self.record.pod();
        let Some(address) = self.hub.address(&pod, &self.record.observed()) else {
            return compute_result(spec, state, Verdict::Unknown, asked_at);
        };
        let target = Target::new(address, &self.id, self.hub.runtime.exec());
        let mut outcome = Outcome::new(Verdict::Unknown, "");
        for _ in 0..MAX_PROBE_ATTEMPTS {
            outcome = self.hub.options.prober.probe(spec, target).await;
            if outcome.verdict != Verdict::Unknown {
                break;
            }
        }
        #[cfg(feature = "server")]
        self.count(&pod, outcome.verdict);
        self.tell_of(&outcome);
        let next = compute_result(spec, state, outcome.verdict, asked_at);
        self.tell(next.result);
        next
    }

    #[cfg(feature = "server")]
    fn count(&self, pod: &Pod, verdict: Verdict) {
        let whose = crate::server::ProbeLabels {
            pod: pod.metadata.name.as_deref().unwrap_or_default(),
            namespace: pod.metadata.namespace.as_deref().unwrap_or_default(),
            pod_uid: pod::uid(pod),
            container: &self.name,
        };
        self.hub.metrics.count_probe(self.kind, verdict, whose);
    }

    fn tell_of(&self, outcome: &Outcome) {
        let (word, message) = (word(self.kind), &outcome.message);
        match outcome.verdict {
            Verdict::Success => {}
            Verdict::Warning => {
                self.event("ProbeWarning", &format!("{word} probe warning: {message}"))
            }
            Verdict::Failure => self.event("Unhealthy", &format!("{word} probe failed: {message}")),
            Verdict::Unknown => self.event(
                "Unhealthy",
                &format!("{word} probe errored and resulted in unknown state: {message}"),
            ),
        }
    }

    fn event(&self, reason: &str, message: &str) {
        let mut reference = self.record.reference();
        reference.field_path = Some(self.field_path.clone());
        self.hub.recorder.warning(&reference, reason, message);
    }

    /// Tells what the probe says of the container, if that is news.
    fn tell(&self, result: ProbeResult) {
        let kind = self.kind;
        let changed =
            self.record.change_health(&self.id, self.initial, |health| match (kind, result) {
                (ProbeKind::Startup, ProbeResult::Success) => health.started = true,
                (ProbeKind::Startup, ProbeResult::Failure) => health.startup_failed = true,
                (ProbeKind::Liveness, result) => {
                    health.liveness_failed = result == ProbeResult::Failure;
                }
                (ProbeKind::Readiness, result) => health.ready = result == ProbeResult::Success,
                (ProbeKind::Startup, ProbeResult::Unknown) => {}
            });
        if changed {
            self.hub.publish(&self.record);
        }
    }
}

/// What the API says of a container.
fn api_status<'a>(
    pod: &'a Pod,
    name: &str,
) -> Option<&'a k8s_openapi::api::core::v1::ContainerStatus> {
    let status = pod.status.as_ref()?;
    let lists = [&status.container_statuses, &status.init_container_statuses];
    lists.into_iter().flatten().flatten().find(|status| status.name == name)
}
