//! Kinds that are served in several groups or versions and stored in one.

use k8s_openapi::api::{autoscaling, core, events};
use kcore::kind::{Kind, Typed};

use crate::versions::{of, read, take};

const METRICS_ANNOTATION: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CONDITIONS_ANNOTATION: &str = "autoscaling.alpha.kubernetes.io/conditions";
const CURRENT_METRICS_ANNOTATION: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const BEHAVIOR_ANNOTATION: &str = "autoscaling.alpha.kubernetes.io/behavior";

fn owned<K: Kind>(object: Box<dyn Typed>) -> K {
    let object = object.into_any().downcast::<K>();
    *object.unwrap_or_else(|_| unreachable!("a row converts its own kind, {}", K::KIND))
}

/// `events.k8s.io/v1` to `v1`.
pub(crate) fn event_to_core(object: Box<dyn Typed>) -> Box<dyn Typed> {
    let event: events::v1::Event = owned(object);
    Box::new(core::v1::Event {
        metadata: event.metadata,
        involved_object: event.regarding.unwrap_or_default(),
        related: event.related,
        reason: event.reason,
        message: event.note,
        action: event.action,
        type_: event.type_,
        event_time: event.event_time,
        reporting_component: event.reporting_controller,
        reporting_instance: event.reporting_instance,
        count: event.deprecated_count,
        first_timestamp: event.deprecated_first_timestamp,
        last_timestamp: event.deprecated_last_timestamp,
        source: event.deprecated_source,
        series: event.series.map(|series| core::v1::EventSeries {
            count: Some(series.count),
            last_observed_time: Some(series.last_observed_time),
        }),
    })
}

/// `v1` to `events.k8s.io/v1`.
pub(crate) fn event_from_core(object: Box<dyn Typed>) -> Box<dyn Typed> {
    let event: core::v1::Event = owned(object);
    Box::new(events::v1::Event {
        metadata: event.metadata,
        regarding: Some(event.involved_object),
        related: event.related,
        reason: event.reason,
        note: event.message,
        action: event.action,
        type_: event.type_,
        event_time: event.event_time,
        reporting_controller: event.reporting_component,
        reporting_instance: event.reporting_instance,
        deprecated_count: event.count,
        deprecated_first_timestamp: event.first_timestamp,
        deprecated_last_timestamp: event.last_timestamp,
        deprecated_source: event.source,
        series: event.series.and_then(|series| {
            Some(events::v1::EventSeries {
                count: series.count.unwrap_or_default(),
                last_observed_time: series.last_observed_time?,
            })
        }),
    })
}

/// `autoscaling/v1` to `autoscaling/v2`. What v1 cannot express travels in annotations, as in
/// upstream.
pub(crate) fn autoscaler_to_v2(object: Box<dyn Typed>) -> Box<dyn Typed> {
    use autoscaling::v2;
    let mut old: autoscaling::v1::HorizontalPodAutoscaler = owned(object);
    let mut metrics =
        take_annotation::<Vec<v2::MetricSpec>>(&mut old, METRICS_ANNOTATION).unwrap_or_default();
    let spec = read(&old.spec).into_owned();
    if let Some(percent) = spec.target_cpu_utilization_percentage {
        metrics.insert(0, cpu_metric(percent));
    }
    let behavior = take_annotation(&mut old, BEHAVIOR_ANNOTATION);
    let conditions = take_annotation(&mut old, CONDITIONS_ANNOTATION);
    let current = take_annotation(&mut old, CURRENT_METRICS_ANNOTATION);
    let target = spec.scale_target_ref;
    Box::new(v2::HorizontalPodAutoscaler {
        metadata: old.metadata,
        spec: of(v2::HorizontalPodAutoscalerSpec {
            behavior,
            max_replicas: spec.max_replicas,
            min_replicas: spec.min_replicas,
            metrics: (!metrics.is_empty()).then_some(metrics),
            scale_target_ref: v2::CrossVersionObjectReference {
                api_version: target.api_version,
                kind: target.kind,
                name: target.name,
            },
        }),
        status: old.status.map(|status| v2::HorizontalPodAutoscalerStatus {
            conditions,
            current_metrics: current,
            current_replicas: of(take(status.current_replicas)),
            desired_replicas: status.desired_replicas,
            last_scale_time: status.last_scale_time,
            observed_generation: status.observed_generation,
        }),
    })
}

/// `autoscaling/v2` to `autoscaling/v1`.
pub(crate) fn autoscaler_from_v2(object: Box<dyn Typed>) -> Box<dyn Typed> {
    use autoscaling::v1;
    let mut new: autoscaling::v2::HorizontalPodAutoscaler = owned(object);
    let mut spec = read(&new.spec).into_owned();
    let mut metrics = spec.metrics.take().unwrap_or_default();
    let cpu = metrics.iter().position(|metric| cpu_percent(metric).is_some());
    let percent = cpu.map(|at| metrics.remove(at)).as_ref().and_then(cpu_percent);
    let status = new.status.take();
    let annotations = new.metadata.annotations.get_or_insert_default();
    put_annotation(annotations, METRICS_ANNOTATION, (!metrics.is_empty()).then_some(&metrics));
    put_annotation(annotations, BEHAVIOR_ANNOTATION, spec.behavior.as_ref());
    if let Some(status) = &status {
        put_annotation(annotations, CONDITIONS_ANNOTATION, status.conditions.as_ref());
        put_annotation(annotations, CURRENT_METRICS_ANNOTATION, status.current_metrics.as_ref());
    }
    if annotations.is_empty() {
        new.metadata.annotations = None;
    }
    let target = spec.scale_target_ref;
    Box::new(v1::HorizontalPodAutoscaler {
        metadata: new.metadata,
        spec: of(v1::HorizontalPodAutoscalerSpec {
            max_replicas: spec.max_replicas,
            min_replicas: spec.min_replicas,
            scale_target_ref: v1::CrossVersionObjectReference {
                api_version: target.api_version,
                kind: target.kind,
                name: target.name,
            },
            target_cpu_utilization_percentage: percent,
        }),
        status: status.map(|status| v1::HorizontalPodAutoscalerStatus {
            current_cpu_utilization_percentage: None,
            current_replicas: of(take(status.current_replicas)),
            desired_replicas: status.desired_replicas,
            last_scale_time: status.last_scale_time,
            observed_generation: status.observed_generation,
        }),
    })
}

fn cpu_metric(percent: i32) -> autoscaling::v2::MetricSpec {
    autoscaling::v2::MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(autoscaling::v2::ResourceMetricSource {
            name: "cpu".to_owned(),
            target: autoscaling::v2::MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(percent),
                ..Default::default()
            },
        }),
        ..Default::default()
    }
}

fn cpu_percent(metric: &autoscaling::v2::MetricSpec) -> Option<i32> {
    let resource = metric.resource.as_ref().filter(|resource| resource.name == "cpu")?;
    resource.target.average_utilization
}

fn take_annotation<T: serde::de::DeserializeOwned>(
    object: &mut autoscaling::v1::HorizontalPodAutoscaler,
    name: &str,
) -> Option<T> {
    let text = object.metadata.annotations.as_mut()?.remove(name)?;
    serde_json::from_str(&text).ok()
}

fn put_annotation<T: serde::Serialize>(
    annotations: &mut std::collections::BTreeMap<String, String>,
    name: &str,
    value: Option<&T>,
) {
    if let Some(text) = value.and_then(|value| serde_json::to_string(value).ok()) {
        annotations.insert(name.to_owned(), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_autoscaler_survives_the_way_through_v1() {
        let json = serde_json::json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "a"},
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"},
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 50}}},
                    {"type": "Resource", "resource": {"name": "memory",
                        "target": {"type": "Utilization", "averageUtilization": 70}}}],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}});
        let start: autoscaling::v2::HorizontalPodAutoscaler = serde_json::from_value(json).unwrap();
        let v1: autoscaling::v1::HorizontalPodAutoscaler =
            owned(autoscaler_from_v2(Box::new(start.clone())));
        assert_eq!(v1.spec.target_cpu_utilization_percentage, Some(50));
        let mut back: autoscaling::v2::HorizontalPodAutoscaler =
            owned(autoscaler_to_v2(Box::new(v1)));
        back.metadata.annotations = None;
        assert_eq!(back.spec, start.spec);
    }

    #[test]
    fn an_event_survives_the_way_through_its_new_group() {
        let event = core::v1::Event {
            message: Some("m".into()),
            reason: Some("r".into()),
            count: Some(3),
            ..Default::default()
        };
        let there = event_from_core(Box::new(event.clone()));
        assert_eq!(owned::<core::v1::Event>(event_to_core(there)), event);
    }
}
