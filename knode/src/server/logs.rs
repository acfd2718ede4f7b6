//! `/containerLogs`: which run of a container is meant, and how its log is to be read.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::query::Query;
use crate::logs::{LogOptions, StreamSelection};

/// The id of the container whose log is meant, as the pod's status has it: the one that runs, or
/// else the last one that did; with `previous` the one before.
///
/// # Errors
/// Why there is no log, in upstream's words; the API server passes them on to whoever asked.
pub fn compute_log_container(pod: &Pod, container: &str, previous: bool) -> Result<String, String> {
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    let place = format!("container {container:?} in pod {pod_name:?}");
    let Some(status) = status_of(pod, container) else {
        return Err(format!("{place} is not available"));
    };
    let id_of = |id: Option<&String>| id.filter(|id| !id.is_empty()).cloned();
    let state = status.state.as_ref();
    let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    let last_id = id_of(last.and_then(|last| last.container_id.as_ref()));
    if previous {
        let message = format!("previous terminated {place} not found");
        return last_id.ok_or(message);
    }
    if state.is_some_and(|state| state.running.is_some()) {
        return Ok(status.container_id.clone().unwrap_or_default());
    }
    if let Some(terminated) = state.and_then(|state| state.terminated.as_ref()) {
        // Where the next run did not start, its end has no id.
        let id = id_of(terminated.container_id.as_ref()).or(last_id);
        return id.ok_or_else(|| format!("{place} is terminated"));
    }
    if last.is_some() {
        return last_id.ok_or_else(|| format!("{place} is terminated"));
    }
    let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) else {
        return Err(format!("{place} is waiting to start - no logs yet"));
    };
    let why = match waiting.reason.as_deref().unwrap_or_default() {
        "ErrImagePull" => "image can't be pulled",
        "ImagePullBackOff" => "trying and failing to pull image",
        reason => reason,
    };
    Err(format!("{place} is waiting to start: {why}"))
}

fn status_of<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let ordinary = status.container_statuses.iter().flatten();
    let init = status.init_container_statuses.iter().flatten();
    let ephemeral = status.ephemeral_container_statuses.iter().flatten();
    ordinary.chain(init).chain(ephemeral).find(|status| status.name == container)
}

/// Whether the pod's specification has a container of that name, of any sort.
pub(super) fn has_container(pod: &Pod, container: &str) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let mut ordinary = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut ephemeral = spec.ephemeral_containers.iter().flatten();
    ordinary.any(|found| found.name == container) || ephemeral.any(|found| found.name == container)
}

/// What a query asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogRequest {
    pub(super) previous: bool,
    pub(super) options: LogOptions,
}

/// Reads the query, or says with which status and text it is refused.
pub(super) fn compute_log_request(
    query: &Query,
    now: Timestamp,
) -> Result<LogRequest, (u16, &'static str)> {
    let undecodable = (400, "{\"message\": \"Unable to decode query.\"}");
    let invalid = (422, "{\"message\": \"Invalid request.\"}");
    let number = |name: &str| -> Result<Option<i64>, (u16, &'static str)> {
        query.get(name).map(|text| text.parse().map_err(|_| undecodable)).transpose()
    };
    let at_least = |value: Option<i64>, least: i64| match value {
        Some(value) if value < least => Err(invalid),
        value => Ok(value.and_then(|value| u64::try_from(value).ok())),
    };
    // `tail` is the old name, and "all" the same as nothing.
    let tail_lines = match query.get("tail").filter(|tail| !tail.is_empty()) {
        Some("all") => None,
        Some(_) => number("tail")?,
        None => number("tailLines")?,
    };
    let tail_lines = at_least(tail_lines, 0)?;
    let limit_bytes = at_least(number("limitBytes")?, 1)?;
    let since_seconds = at_least(number("sinceSeconds")?, 1)?;
    let since_time = query.get("sinceTime").filter(|text| !text.is_empty());
    let since_time = since_time.map(|text| text.parse::<Timestamp>().map_err(|_| undecodable));
    let since = match (since_seconds, since_time.transpose()?) {
        (Some(_), Some(_)) => return Err(invalid),
        (Some(seconds), None) => {
            let ago = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            Some(now.checked_sub(ago).unwrap_or(Timestamp::MIN))
        }
        (None, since) => since,
    };
    let stream = match query.get("stream").unwrap_or("All") {
        "All" => StreamSelection::All,
        "Stdout" => StreamSelection::Stdout,
        "Stderr" => StreamSelection::Stderr,
        _ => return Err(invalid),
    };
    if stream != StreamSelection::All && tail_lines.is_some() {
        return Err(invalid);
    }
    let options = LogOptions::default()
        .follow(query.flag("follow"))
        .tail_lines(tail_lines)
        .limit_bytes(limit_bytes)
        .timestamps(query.flag("timestamps"))
        .since(since)
        .stream(stream);
    Ok(LogRequest { previous: query.flag("previous"), options })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn chosen(status: Value, previous: bool) -> Result<String, String> {
        let mut status = status;
        status["name"] = json!("c");
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p"}, "status": {"containerStatuses": [status]},
        }))
        .unwrap();
        compute_log_container(&pod, "c", previous)
    }

    #[test]
    fn the_run_that_is_meant_is_found_in_the_status() {
        let check = |status: Value, previous: bool, expect: &str| {
            assert_eq!(chosen(status.clone(), previous).as_deref(), Ok(expect), "{status}");
        };
        let ended = |id: &str| json!({"terminated": {"exitCode": 0, "containerID": id}});
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let running = json!({"containerID": "r://2", "state": {"running": {}},
            "lastState": ended("r://1")});
        check(running.clone(), false, "r://2");
        check(running, true, "r://1");
        check(json!({"state": ended("r://3")}), false, "r://3");
        check(json!({"state": ended(""), "lastState": ended("r://1")}), false, "r://1");
        check(json!({"state": waiting, "lastState": ended("r://1")}), false, "r://1");
    }

    #[test]
    fn why_there_is_no_log_is_said_in_upstreams_words() {
        let check = |status: Value, previous: bool, expect: &str| {
            assert_eq!(chosen(status.clone(), previous).unwrap_err(), expect, "{status}");
        };
        let waiting = |reason: &str| json!({"state": {"waiting": {"reason": reason}}});
        let place = "container \"c\" in pod \"p\"";
        for (reason, why) in [
            ("ContainerCreating", "ContainerCreating"),
            ("ErrImagePull", "image can't be pulled"),
            ("ImagePullBackOff", "trying and failing to pull image"),
        ] {
            check(waiting(reason), false, &format!("{place} is waiting to start: {why}"));
        }
        check(json!({}), false, &format!("{place} is waiting to start - no logs yet"));
        let ended = json!({"state": {"terminated": {"exitCode": 1}}});
        check(ended, false, &format!("{place} is terminated"));
        check(json!({}), true, &format!("previous terminated {place} not found"));
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}})).unwrap();
        let none = compute_log_container(&pod, "c", false).unwrap_err();
        assert_eq!(none, format!("{place} is not available"));
    }

    #[test]
    fn queries_become_options() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let check = |query: &str, previous: bool, options: LogOptions| {
            let found = compute_log_request(&Query::parse(query), now);
            assert_eq!(found, Ok(LogRequest { previous, options }), "{query}");
        };
        let base = LogOptions::default;
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        check("", false, base());
        check("follow=true&timestamps=1&previous", true, base().follow(true).timestamps(true));
        check("tailLines=0", false, base().tail_lines(0));
        check("tail=7&tailLines=3", false, base().tail_lines(7));
        check("tail=all&tailLines=3", false, base());
        check("limitBytes=10", false, base().limit_bytes(10));
        check("sinceSeconds=60", false, base().since(start));
        check("sinceTime=2026-01-01T00%3A00%3A00Z", false, base().since(start));
        check("stream=Stderr", false, base().stream(StreamSelection::Stderr));
        check("stream=All&tailLines=1", false, base().tail_lines(1));
    }

    #[test]
    fn queries_that_make_no_sense_are_refused() {
        let check = |query: &str, expect: u16| {
            let refused = compute_log_request(&Query::parse(query), Timestamp::UNIX_EPOCH);
            assert_eq!(refused.unwrap_err().0, expect, "{query}");
        };
        check("tailLines=x", 400);
        check("tailLines=", 400);
        check("sinceTime=yesterday", 400);
        check("tailLines=-1", 422);
        check("limitBytes=0", 422);
        check("sinceSeconds=0", 422);
        check("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", 422);
        check("stream=stdout", 422);
        check("stream=Stdout&tailLines=1", 422);
    }
}
