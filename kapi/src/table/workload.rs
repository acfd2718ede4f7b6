//! Pods and what makes them.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet,
};
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, MetricSpec, MetricTarget, MetricValueStatus,
};
use k8s_openapi::api::batch::v1::{CronJob, Job, JobStatus};
use k8s_openapi::api::core::v1::{PodTemplate, ReplicationController};
use serde_json::Value;

use super::cell::{
    NONE, UNKNOWN, age_of, ago, containers, human, images, labels, list_or_none, name_of, or_none,
    seconds_between, selector,
};
use super::pod::POD;
use super::printer::{
    CONTAINERS, IMAGES, Printer, SELECTOR, age, cells, column, name, number, printer, text,
};
use crate::versions::read;

pub(super) fn printer(group: &str, kind: &str) -> Option<&'static Printer> {
    Some(match (group, kind) {
        ("", "Pod") => &POD,
        ("", "PodTemplate") => &POD_TEMPLATE,
        ("", "ReplicationController") => &REPLICATION_CONTROLLER,
        ("apps", "Deployment") => &DEPLOYMENT,
        ("apps", "ReplicaSet") => &REPLICA_SET,
        ("apps", "StatefulSet") => &STATEFUL_SET,
        ("apps", "DaemonSet") => &DAEMON_SET,
        ("apps", "ControllerRevision") => &CONTROLLER_REVISION,
        ("batch", "Job") => &JOB,
        ("batch", "CronJob") => &CRON_JOB,
        ("autoscaling", "HorizontalPodAutoscaler") => &AUTOSCALER,
        _ => return None,
    })
}

static POD_TEMPLATE: Printer = printer!(
    PodTemplate,
    |template, _| {
        let spec = template.template.as_ref().and_then(|template| template.spec.as_ref());
        let meta = template.template.as_ref().and_then(|template| template.metadata.as_ref());
        cells![
            name_of(&template.metadata),
            containers(spec),
            images(spec),
            labels(meta.and_then(|meta| meta.labels.as_ref())),
        ]
    },
    [
        name(),
        text("Containers", "The names of the containers."),
        text("Images", "The images of the containers."),
        text("Pod Labels", "The labels of the pods made from it."),
    ]
);

static DEPLOYMENT: Printer = printer!(
    Deployment,
    |object, now| {
        let spec = read(&object.spec);
        let status = object.status.clone().unwrap_or_default();
        let pod = spec.template.spec.as_ref();
        cells![
            name_of(&object.metadata),
            format!("{}/{}", status.ready_replicas.unwrap_or(0), spec.replicas.unwrap_or(0)),
            status.updated_replicas.unwrap_or(0),
            status.available_replicas.unwrap_or(0),
            age_of(&object.metadata, now),
            containers(pod),
            images(pod),
            selector(&spec.selector),
        ]
    },
    [
        name(),
        text("Ready", "How many pods are ready, of how many."),
        number("Up-to-date", "How many pods are of the current template."),
        number("Available", "How many pods have been ready for long enough."),
        age(),
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ]
);

static REPLICA_SET: Printer = printer!(
    ReplicaSet,
    |object, now| {
        let spec = read(&object.spec);
        let status = object.status.clone().unwrap_or_default();
        let pod = spec.template.as_ref().and_then(|template| template.spec.as_ref());
        cells![
            name_of(&object.metadata),
            spec.replicas.unwrap_or(0),
            status.replicas,
            status.ready_replicas.unwrap_or(0),
            age_of(&object.metadata, now),
            containers(pod),
            images(pod),
            selector(&spec.selector),
        ]
    },
    [
        name(),
        number("Desired", "How many pods are wanted."),
        number("Current", "How many pods there are."),
        number("Ready", "How many pods are ready."),
        age(),
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ]
);

static REPLICATION_CONTROLLER: Printer = printer!(
    ReplicationController,
    |object, now| {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let pod = spec.template.as_ref().and_then(|template| template.spec.as_ref());
        cells![
            name_of(&object.metadata),
            spec.replicas.unwrap_or(0),
            status.replicas,
            status.ready_replicas.unwrap_or(0),
            age_of(&object.metadata, now),
            containers(pod),
            images(pod),
            labels(spec.selector.as_ref()),
        ]
    },
    [
        name(),
        number("Desired", "How many pods are wanted."),
        number("Current", "How many pods there are."),
        number("Ready", "How many pods are ready."),
        age(),
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ]
);

static STATEFUL_SET: Printer = printer!(
    StatefulSet,
    |object, now| {
        let spec = read(&object.spec);
        let ready = object.status.as_ref().and_then(|status| status.ready_replicas);
        let pod = spec.template.spec.as_ref();
        cells![
            name_of(&object.metadata),
            format!("{}/{}", ready.unwrap_or(0), spec.replicas.unwrap_or(0)),
            age_of(&object.metadata, now),
            containers(pod),
            images(pod),
        ]
    },
    [name(), text("Ready", "How many pods are ready, of how many."), age(), CONTAINERS, IMAGES,]
);

static DAEMON_SET: Printer = printer!(
    DaemonSet,
    |object, now| {
        let spec = read(&object.spec);
        let status = object.status.clone().unwrap_or_default();
        let pod = spec.template.spec.as_ref();
        cells![
            name_of(&object.metadata),
            status.desired_number_scheduled,
            status.current_number_scheduled,
            status.number_ready,
            status.updated_number_scheduled.unwrap_or(0),
            status.number_available.unwrap_or(0),
            labels(pod.and_then(|pod| pod.node_selector.as_ref())),
            age_of(&object.metadata, now),
            containers(pod),
            images(pod),
            selector(&spec.selector),
        ]
    },
    [
        name(),
        number("Desired", "How many nodes should run a pod."),
        number("Current", "How many nodes run a pod that should."),
        number("Ready", "How many of these pods are ready."),
        number("Up-to-date", "How many nodes run a pod of the current template."),
        number("Available", "How many pods have been ready for long enough."),
        text("Node Selector", "The labels of the nodes that should run a pod."),
        age(),
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ]
);

static CONTROLLER_REVISION: Printer = printer!(
    ControllerRevision,
    |object, now| {
        let owners = object.metadata.owner_references.iter().flatten();
        let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
        let controller = controller.map(|owner| {
            let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
            let dot = if group.is_empty() { "" } else { "." };
            format!("{}{dot}{group}/{}", owner.kind.to_lowercase(), owner.name)
        });
        cells![
            name_of(&object.metadata),
            or_none(controller.as_deref()),
            object.revision,
            age_of(&object.metadata, now),
        ]
    },
    [
        name(),
        text("Controller", "What the revision is a revision of."),
        number("Revision", "Its number."),
        age(),
    ]
);

static JOB: Printer = printer!(
    Job,
    job,
    [
        name(),
        text("Status", "The state of the job."),
        text("Completions", "How many pods have succeeded, of how many."),
        text("Duration", "How long the job has run."),
        age(),
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ]
);

fn job(job: &Job, now: Timestamp) -> Vec<Value> {
    let spec = job.spec.clone().unwrap_or_default();
    let status = job.status.clone().unwrap_or_default();
    let succeeded = status.succeeded.unwrap_or(0);
    let completions = match (spec.completions, spec.parallelism) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, Some(many)) if many > 1 => format!("{succeeded}/1 of {many}"),
        _ => format!("{succeeded}/1"),
    };
    let duration = status.start_time.as_ref().map_or_else(String::new, |start| {
        let end = status.completion_time.as_ref().map_or(now, |end| end.0);
        human(seconds_between(start.0, end))
    });
    let pod = spec.template.spec.as_ref();
    cells![
        name_of(&job.metadata),
        job_state(job, &status),
        completions,
        duration,
        age_of(&job.metadata, now),
        containers(pod),
        images(pod),
        spec.selector.as_ref().map_or_else(|| NONE.to_owned(), selector),
    ]
}

fn job_state(job: &Job, status: &JobStatus) -> &'static str {
    let is = |condition: &str| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.any(|one| one.type_ == condition && one.status == "True")
    };
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if job.metadata.deletion_timestamp.is_some() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

static CRON_JOB: Printer = printer!(
    CronJob,
    |object, now| {
        let spec = read(&object.spec);
        let status = object.status.clone().unwrap_or_default();
        let pod = spec.job_template.spec.as_ref().and_then(|job| job.template.spec.as_ref());
        let last = status.last_schedule_time.as_ref();
        let wanted = spec.job_template.spec.as_ref().and_then(|job| job.selector.as_ref());
        cells![
            name_of(&object.metadata),
            spec.schedule.clone(),
            or_none(spec.time_zone.as_deref()),
            if spec.suspend == Some(true) { "True" } else { "False" },
            status.active.iter().flatten().count(),
            last.map_or_else(|| NONE.to_owned(), |last| ago(Some(last), now)),
            age_of(&object.metadata, now),
            containers(pod),
            images(pod),
            wanted.map_or_else(|| NONE.to_owned(), selector),
        ]
    },
    [
        name(),
        text("Schedule", "When it runs, in the format of cron."),
        text("Timezone", "The time zone of the schedule."),
        column("Suspend", "boolean", 0, "Whether further runs are suspended."),
        number("Active", "How many jobs run now."),
        text("Last Schedule", "When a job was last started."),
        age(),
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ]
);

static AUTOSCALER: Printer = printer!(
    HorizontalPodAutoscaler,
    |object, now| {
        let spec = read(&object.spec);
        let status = object.status.clone().unwrap_or_default();
        let target = &spec.scale_target_ref;
        let least = spec.min_replicas.map_or_else(|| UNSET_REPLICAS.to_owned(), |n| n.to_string());
        cells![
            name_of(&object.metadata),
            format!("{}/{}", target.kind, target.name),
            targets(object),
            least,
            spec.max_replicas,
            *read(&status.current_replicas),
            age_of(&object.metadata, now),
        ]
    },
    [
        name(),
        text("Reference", "What is scaled."),
        text("Targets", "The metrics: what they are, and what they should be."),
        text("MinPods", "The fewest pods."),
        number("MaxPods", "The most pods."),
        number("Replicas", "How many pods there are."),
        age(),
    ]
);

const UNSET_REPLICAS: &str = super::cell::UNSET;
/// Metrics that a row shows at most.
const MAX_TARGETS: usize = 2;

fn targets(object: &HorizontalPodAutoscaler) -> String {
    let spec = read(&object.spec);
    let metrics = spec.metrics.as_deref();
    let all: Vec<String> = metrics
        .unwrap_or_default()
        .iter()
        .enumerate()
        .map(|(at, metric)| target(object, at, metric))
        .collect();
    match all.len() {
        more if more > MAX_TARGETS => {
            format!("{} + {} more...", all[..MAX_TARGETS].join(", "), more - MAX_TARGETS)
        }
        _ if all.is_empty() => NONE.to_owned(),
        _ => all.join(", "),
    }
}

fn target(object: &HorizontalPodAutoscaler, at: usize, metric: &MetricSpec) -> String {
    let status = object.status.as_ref().and_then(|status| status.current_metrics.as_ref());
    let now = status.and_then(|metrics| metrics.get(at));
    let current = |pick: fn(
        &k8s_openapi::api::autoscaling::v2::MetricStatus,
    ) -> Option<MetricValueStatus>| now.and_then(pick);
    match metric.type_.as_str() {
        "Resource" => metric.resource.as_ref().map(|wanted| {
            let now = current(|now| now.resource.as_ref().map(|now| now.current.clone()));
            format!("{}: {}", wanted.name, ratio(now, &wanted.target))
        }),
        "ContainerResource" => metric.container_resource.as_ref().map(|wanted| {
            let now = current(|now| now.container_resource.as_ref().map(|now| now.current.clone()));
            format!("{}: {}", wanted.name, ratio(now, &wanted.target))
        }),
        "Pods" => metric.pods.as_ref().map(|wanted| {
            let now = current(|now| now.pods.as_ref().map(|now| now.current.clone()));
            ratio(now, &wanted.target)
        }),
        "Object" => metric.object.as_ref().map(|wanted| {
            let now = current(|now| now.object.as_ref().map(|now| now.current.clone()));
            ratio(now, &wanted.target)
        }),
        "External" => metric.external.as_ref().map(|wanted| {
            let now = current(|now| now.external.as_ref().map(|now| now.current.clone()));
            ratio(now, &wanted.target)
        }),
        _ => None,
    }
    .unwrap_or_else(|| "<unknown type>".to_owned())
}

/// What a metric is, of what it should be.
fn ratio(now: Option<MetricValueStatus>, target: &MetricTarget) -> String {
    let now = now.unwrap_or_default();
    let or_unknown = |value: Option<String>| value.unwrap_or_else(|| UNKNOWN.to_owned());
    if let Some(wanted) = &target.average_value {
        return format!("{}/{} (avg)", or_unknown(now.average_value.map(|v| v.0)), wanted.0);
    }
    if let Some(wanted) = target.average_utilization {
        let now = now.average_utilization.map(|percent| format!("{percent}%"));
        return format!("{}/{wanted}%", or_unknown(now));
    }
    let wanted = target.value.as_ref().map(|value| value.0.clone());
    format!("{}/{}", or_unknown(now.value.map(|value| value.0)), list_or_none(wanted))
}
