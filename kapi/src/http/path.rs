//! Request paths and queries.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>

use std::borrow::Cow;
use std::str::FromStr;

use kcore::client::{
    DeleteOptions, GetOptions, ListOptions, Propagation, VersionMatch, WatchOptions, WriteOptions,
};
use kcore::status::Status;
use percent_encoding::percent_decode_str;

use crate::server::Result;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A resource.
    Resource(ResourcePath),
    /// Anything else: health, discovery, documents.
    Other,
}

/// The parts of a resource's path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ResourcePath {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) subresource: String,
    /// What follows the subresource, as `proxy` has it.
    pub(super) rest: String,
    /// Whether the path is one of the old `watch/` ones.
    pub(super) watch: bool,
}

impl Target {
    /// Reads a path. Paths shorter than a resource's are discovery's.
    pub(super) fn parse(path: &str) -> Self {
        let segments: Vec<Cow<'_, str>> = path
            .trim_matches('/')
            .split('/')
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy())
            .collect();
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        match segments.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => Self::resource("", version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => {
                Self::resource(group, version, rest)
            }
            _ => Self::Other,
        }
    }

    fn resource(group: &str, version: &str, mut rest: &[&str]) -> Self {
        let mut this = ResourcePath {
            group: group.to_owned(),
            version: version.to_owned(),
            ..ResourcePath::default()
        };
        if let ["watch", more @ ..] = rest
            && !more.is_empty()
        {
            this.watch = true;
            rest = more;
        }
        if let ["namespaces", namespace, more @ ..] = rest {
            // The namespace's own subresources hang where its resources do.
            let own = matches!(more, [] | ["status" | "finalize"]) && group.is_empty();
            if !own && !more.is_empty() {
                this.namespace = Some((*namespace).to_owned());
                rest = more;
            }
        }
        let mut parts = rest.iter().map(|part| (*part).to_owned());
        this.plural = parts.next().unwrap_or_default();
        this.name = parts.next().unwrap_or_default();
        this.subresource = parts.next().unwrap_or_default();
        this.rest = parts.collect::<Vec<_>>().join("/");
        Self::Resource(this)
    }
}

/// A request's query, decoded.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        let decode = |text: &str| {
            percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
        };
        let pairs = query.into_iter().flat_map(|query| query.split('&'));
        Self(
            pairs
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(value, "true" | "1" | "True" | "t"))
    }

    /// A switch, as parameters of logs are: on with any value but `false` and `0`.
    pub(super) fn switch(&self, name: &str) -> bool {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.is_some_and(|(_, value)| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|error| {
            Status::bad_request(format!("invalid value {value:?} of parameter {name}: {error}"))
                .into()
        })
    }

    fn resource_version(&self) -> Result<Option<u64>> {
        let Some(value) = self.get("resourceVersion") else { return Ok(None) };
        value.parse().map(Some).map_err(|_| {
            Status::bad_request(format!(
                "resourceVersion: Invalid value: {value:?}: strconv.ParseUint: parsing {value:?}: \
                 invalid syntax"
            ))
            .into()
        })
    }

    fn version_match(&self) -> Result<Option<VersionMatch>> {
        match self.get("resourceVersionMatch") {
            None => Ok(None),
            Some("NotOlderThan") => Ok(Some(VersionMatch::NotOlderThan)),
            Some("Exact") => Ok(Some(VersionMatch::Exact)),
            Some(other) => Err(Status::bad_request(format!(
                "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \
                 \"NotOlderThan\""
            ))
            .into()),
        }
    }

    pub(super) fn get_options(&self) -> Result<GetOptions> {
        let mut options = GetOptions::default();
        options.resource_version = self.resource_version()?;
        Ok(options)
    }

    pub(super) fn list_options(&self) -> Result<ListOptions> {
        let mut options = ListOptions::default();
        options.labels = self.parsed("labelSelector")?.unwrap_or_default();
        options.fields = self.parsed("fieldSelector")?.unwrap_or_default();
        options.resource_version = self.resource_version()?;
        options.version_match = self.version_match()?;
        options.limit = self.parsed("limit")?;
        options.continue_token = self.get("continue").map(ToOwned::to_owned);
        Ok(options)
    }

    pub(super) fn watch_options(&self) -> Result<WatchOptions> {
        let list = self.list_options()?;
        let mut options = WatchOptions::default().labels(list.labels).fields(list.fields);
        options.resource_version = list.resource_version;
        options.bookmarks = self.flag("allowWatchBookmarks");
        options.send_initial_events = self.flag("sendInitialEvents");
        match (self.has("sendInitialEvents"), list.version_match) {
            (true, Some(VersionMatch::NotOlderThan)) | (false, None) => Ok(options),
            (true, _) => Err(Status::bad_request(
                "resourceVersionMatch: Forbidden: sendInitialEvents requires setting \
                 resourceVersionMatch to NotOlderThan",
            )
            .into()),
            (false, Some(_)) => Err(Status::bad_request(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch \
                 unless sendInitialEvents is provided",
            )
            .into()),
        }
    }

    pub(super) fn write_options(&self) -> Result<WriteOptions> {
        let mut options = WriteOptions::default();
        options.dry_run = self.dry_run()?;
        options.field_manager = self.get("fieldManager").unwrap_or_default().to_owned();
        options.force = self.flag("force");
        options.field_validation = self.get("fieldValidation").unwrap_or_default().to_owned();
        Ok(options)
    }

    pub(super) fn dry_run(&self) -> Result<bool> {
        match self.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(Status::bad_request(format!(
                "dryRun: Unsupported value: {other:?}: supported values: \"All\""
            ))
            .into()),
        }
    }

    pub(super) fn delete_options(&self) -> Result<DeleteOptions> {
        let mut options = DeleteOptions::default();
        options.dry_run = self.dry_run()?;
        options.grace_period_seconds = self.parsed("gracePeriodSeconds")?;
        options.propagation = self.get("propagationPolicy").map(propagation).transpose()?;
        if let Some(orphan) = self.parsed::<bool>("orphanDependents")? {
            let policy = if orphan { Propagation::Orphan } else { Propagation::Background };
            options.propagation = Some(policy);
        }
        Ok(options)
    }
}

/// Reads a propagation policy.
pub(super) fn propagation(text: &str) -> Result<Propagation> {
    match text {
        "Orphan" => Ok(Propagation::Orphan),
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        other => Err(Status::bad_request(format!(
            "propagationPolicy: Unsupported value: {other:?}: supported values: \"Foreground\", \
             \"Background\", \"Orphan\""
        ))
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_documented() {
        let check = |path: &str, expected: (&str, &str, &str, Option<&str>, &str, &str)| {
            let Target::Resource(found) = Target::parse(path) else { panic!("{path}") };
            let found = (
                found.group.as_str(),
                found.version.as_str(),
                found.plural.as_str(),
                found.namespace.as_deref(),
                found.name.as_str(),
                found.subresource.as_str(),
            );
            assert_eq!(found, expected, "{path}");
        };
        check("/api/v1/pods", ("", "v1", "pods", None, "", ""));
        check("/api/v1/namespaces/a/pods/b/log", ("", "v1", "pods", Some("a"), "b", "log"));
        check("/api/v1/namespaces", ("", "v1", "namespaces", None, "", ""));
        check("/api/v1/namespaces/a", ("", "v1", "namespaces", None, "a", ""));
        check("/api/v1/namespaces/a/finalize", ("", "v1", "namespaces", None, "a", "finalize"));
        check(
            "/apis/apps/v1/namespaces/a/deployments",
            ("apps", "v1", "deployments", Some("a"), "", ""),
        );
        check("/api/v1/watch/namespaces/a/pods", ("", "v1", "pods", Some("a"), "", ""));
        check("/api/v1/nodes/a%2Fb", ("", "v1", "nodes", None, "a/b", ""));
        for path in ["/", "/api", "/api/v1", "/apis/apps/v1", "/healthz", "/openapi/v3/api/v1"] {
            assert_eq!(Target::parse(path), Target::Other, "{path}");
        }
    }

    #[test]
    fn queries_are_decoded_and_bad_ones_named() {
        let query = Query::parse(Some("labelSelector=app%3Dweb&limit=5&watch=1&x=a+b"));
        assert_eq!(query.list_options().unwrap().labels.to_string(), "app=web");
        assert!(query.flag("watch"));
        assert_eq!(query.get("x"), Some("a b"));
        let bad = Query::parse(Some("limit=many"));
        assert!(bad.list_options().unwrap_err().message.contains("limit"));
        let bad = Query::parse(Some("dryRun=Some"));
        assert_eq!(bad.write_options().unwrap_err().code, 400);
    }
}
