//! Texts of cells that several kinds share.

use std::collections::BTreeMap;
use std::fmt::Display;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};

pub(super) const NONE: &str = "<none>";
pub(super) const UNKNOWN: &str = "<unknown>";
pub(super) const UNSET: &str = "<unset>";

/// A span of time as people read it: two units at most, fewer the longer it is.
pub(super) fn human(seconds: i64) -> String {
    const DAY: i64 = 24;
    const YEAR: i64 = 365 * DAY;
    let two = |large: i64, unit: &str, small: i64, rest: &str| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{rest}"),
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        _ if seconds < 120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 2 * DAY => format!("{hours}h"),
        _ if hours < 8 * DAY => two(hours / DAY, "d", hours % DAY, "h"),
        _ if hours < 2 * YEAR => format!("{}d", hours / DAY),
        _ if hours < 8 * YEAR => two(hours / YEAR, "y", hours / DAY % 365, "d"),
        _ => format!("{}y", hours / YEAR),
    }
}

/// How long ago something was.
pub(super) fn ago(time: Option<&Time>, now: Timestamp) -> String {
    since(time.map(|time| time.0), now)
}

pub(super) fn since(time: Option<Timestamp>, now: Timestamp) -> String {
    time.map_or_else(|| UNKNOWN.to_owned(), |time| human(seconds_between(time, now)))
}

/// Whole seconds from one time to another; a fraction counts for nothing.
pub(super) fn seconds_between(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_secs()
}

pub(super) fn age_of(meta: &ObjectMeta, now: Timestamp) -> String {
    ago(meta.creation_timestamp.as_ref(), now)
}

pub(super) fn name_of(meta: &ObjectMeta) -> String {
    meta.name.clone().unwrap_or_default()
}

/// A text, or what stands for none.
pub(super) fn or_none(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or(NONE).to_owned()
}

/// The items with commas between, or what stands for none.
pub(super) fn list_or_none<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let list: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    or_none(Some(&list.join(",")))
}

/// The first items with commas between, and how many there are more.
pub(super) fn some_of(items: &[String], most: usize, none: &str) -> String {
    match items.len() {
        0 => none.to_owned(),
        count if count <= most => items.join(","),
        count => format!("{} + {} more...", items[..most].join(","), count - most),
    }
}

/// `a=1,b=2`
pub(super) fn labels(labels: Option<&BTreeMap<String, String>>) -> String {
    list_or_none(labels.into_iter().flatten().map(|(name, value)| format!("{name}={value}")))
}

/// A label selector in its short form.
pub(super) fn selector(selector: &LabelSelector) -> String {
    let equal = selector.match_labels.iter().flatten();
    let mut parts: Vec<(String, String)> =
        equal.map(|(name, value)| (name.clone(), format!("{name}={value}"))).collect();
    for wanted in selector.match_expressions.iter().flatten() {
        let (key, mut values) = (&wanted.key, wanted.values.clone().unwrap_or_default());
        values.sort();
        let values = values.join(",");
        let part = match wanted.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.clone(),
            "DoesNotExist" => format!("!{key}"),
            other => format!("{key} {other} ({values})"),
        };
        parts.push((key.clone(), part));
    }
    parts.sort_by(|(one, _), (other, _)| one.cmp(other));
    list_or_none(parts.into_iter().map(|(_, part)| part))
}

/// The names of a template's containers.
pub(super) fn containers(spec: Option<&PodSpec>) -> String {
    let all = spec.into_iter().flat_map(|spec| &spec.containers);
    all.map(|container| container.name.as_str()).collect::<Vec<_>>().join(",")
}

/// The images of a template's containers.
pub(super) fn images(spec: Option<&PodSpec>) -> String {
    let all = spec.into_iter().flat_map(|spec| &spec.containers);
    let images: Vec<&str> = all.map(|c| c.image.as_deref().unwrap_or_default()).collect();
    images.join(",")
}
