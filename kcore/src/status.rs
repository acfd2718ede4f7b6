//! The error every API server answers with.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a request failed, in the API's closed vocabulary.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[non_exhaustive]
pub enum Reason {
    /// 401: the caller is not known.
    Unauthorized,
    /// 403: the caller may not do this.
    Forbidden,
    /// 404: there is no such object or resource.
    NotFound,
    /// 409: an object of that name exists.
    AlreadyExists,
    /// 409: the write was based on a state that is no longer the current one.
    Conflict,
    /// 410: the version asked for is gone.
    Gone,
    /// 422: the object breaks a rule of its kind.
    Invalid,
    /// 410: the version or continue token asked for has been compacted.
    Expired,
    /// 500: the request can be tried again on another server.
    ServerTimeout,
    /// 504: the request took too long.
    Timeout,
    /// 429: the server is busy; wait before the next try.
    TooManyRequests,
    /// 400: the request itself is malformed.
    BadRequest,
    /// 405: the resource has no such verb.
    MethodNotAllowed,
    /// 406: none of the accepted media types can be served.
    NotAcceptable,
    /// 413: the body is too large.
    RequestEntityTooLarge,
    /// 415: the body's media type is not understood.
    UnsupportedMediaType,
    /// 500: a defect or a broken dependency.
    InternalError,
    /// 503: the service is not available.
    ServiceUnavailable,
    /// No reason was given, or one that is not known here.
    #[default]
    #[serde(rename = "", other)]
    Unknown,
}

/// One thing wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Cause {
    /// What kind of mistake it is, such as `FieldValueInvalid`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The mistake, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Path of the field at fault.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// What a [`Status`] is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// The object's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The object's API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The object's kind or resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The object's uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// All that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Seconds to wait before the next try; zero if none are asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

/// The outcome of a request that returns no object: all errors, and some successes.
/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", default)]
#[error("{message}")]
pub struct Status {
    /// `Success` or `Failure`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// The outcome in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "is_unknown")]
    pub reason: Reason,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// The HTTP status code.
    pub code: u16,
    /// Opaque token with which an expired list can go on, inconsistently.
    #[serde(skip)]
    pub continue_token: Option<String>,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            status: "Failure".into(),
            message: String::new(),
            reason: Reason::Unknown,
            details: None,
            code: 500,
            continue_token: None,
        }
    }
}

impl Status {
    /// A failure.
    #[must_use]
    pub fn failure(code: u16, reason: Reason, message: impl Into<String>) -> Self {
        Self { message: message.into(), reason, code, ..Self::default() }
    }

    /// A success without an object.
    #[must_use]
    pub fn success() -> Self {
        Self { status: "Success".into(), code: 200, ..Self::default() }
    }

    /// Says which object the outcome is about. `kind` is a resource or a kind, as upstream has it
    /// for the reason at hand.
    #[must_use]
    pub fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        let details = self.details.get_or_insert_default();
        details.group = group.into();
        details.kind = kind.into();
        details.name = name.into();
        self
    }

    /// Adds what is wrong.
    #[must_use]
    pub fn because(mut self, causes: Vec<Cause>) -> Self {
        self.details.get_or_insert_default().causes = causes;
        self
    }

    /// Asks the caller to wait before the next try.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    /// 404 for an object. `resource` is its plural, with the group behind a dot.
    #[must_use]
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        Self::failure(404, Reason::NotFound, format!("{} {name:?} not found", at(group, resource)))
            .about(group, resource, name)
    }

    /// 404 for a path nothing is served at.
    #[must_use]
    pub fn no_such_path() -> Self {
        Self::failure(404, Reason::NotFound, "the server could not find the requested resource")
            .about("", "", "")
    }

    /// 409 for a name that is taken.
    #[must_use]
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", at(group, resource));
        Self::failure(409, Reason::AlreadyExists, message).about(group, resource, name)
    }

    /// 409 for a write that lost a race or missed its precondition.
    #[must_use]
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", at(group, resource));
        Self::failure(409, Reason::Conflict, message).about(group, resource, name)
    }

    /// 422 for an object that breaks its kind's rules.
    #[must_use]
    pub fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        let list: Vec<String> =
            causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let words = match list.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} {name:?} is invalid: {words}", at(group, kind));
        Self::failure(422, Reason::Invalid, message).about(group, kind, name).because(causes)
    }

    /// 403 for a request that authorization or admission refuses.
    #[must_use]
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = match (resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{} is forbidden: {why}", at(group, resource)),
            (false, false) => format!("{} {name:?} is forbidden: {why}", at(group, resource)),
        };
        Self::failure(403, Reason::Forbidden, message).about(group, resource, name)
    }

    /// 401.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::failure(401, Reason::Unauthorized, "Unauthorized")
    }

    /// 400.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, Reason::BadRequest, message)
    }

    /// 410 for a resource version or continue token that has been compacted.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, Reason::Expired, message)
    }

    /// 405 for a verb the resource does not have.
    #[must_use]
    pub fn method_not_allowed(group: &str, resource: &str, verb: &str) -> Self {
        let message =
            format!("{verb} is not supported on resources of kind {:?}", at(group, resource));
        Self::failure(405, Reason::MethodNotAllowed, message).about(group, resource, "")
    }

    /// 429, with the seconds to wait.
    #[must_use]
    pub fn too_many_requests(message: impl Into<String>, seconds: u32) -> Self {
        Self::failure(429, Reason::TooManyRequests, message).retry_after(seconds)
    }

    /// 500.
    #[must_use]
    pub fn internal(message: impl fmt::Display) -> Self {
        let message = format!("Internal error occurred: {message}");
        Self::failure(500, Reason::InternalError, message)
    }

    /// 504, for a wait that came to its end.
    #[must_use]
    pub fn timeout(message: impl Into<String>, seconds: u32) -> Self {
        Self::failure(504, Reason::Timeout, message).retry_after(seconds)
    }

    /// The object as servers send it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct ListMeta<'a> {
            #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
            continue_token: Option<&'a str>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
            kind: &'static str,
            api_version: &'static str,
            metadata: ListMeta<'a>,
            #[serde(flatten)]
            status: &'a Status,
        }
        let wire = Wire {
            kind: "Status",
            api_version: "v1",
            metadata: ListMeta { continue_token: self.continue_token.as_deref() },
            status: self,
        };
        // Strings, numbers and vectors of them always have a JSON form.
        serde_json::to_vec(&wire).unwrap_or_default()
    }
}

fn at(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(seconds: &u32) -> bool {
    *seconds == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_unknown(reason: &Reason) -> bool {
    *reason == Reason::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_the_ones_clients_match_on() {
        let check = |status: Status, code: u16, message: &str| {
            assert_eq!((status.code, status.message.as_str()), (code, message));
        };
        check(Status::not_found("", "pods", "a"), 404, "pods \"a\" not found");
        check(
            Status::already_exists("apps", "deployments", "web"),
            409,
            "deployments.apps \"web\" already exists",
        );
        check(
            Status::conflict("", "pods", "a", "why"),
            409,
            "Operation cannot be fulfilled on pods \"a\": why",
        );
        let cause =
            |field: &str| Cause { field: field.into(), message: "m".into(), ..Cause::default() };
        check(Status::invalid("", "Pod", "a", vec![cause("x")]), 422, "Pod \"a\" is invalid: x: m");
        check(
            Status::invalid("apps", "Deployment", "a", vec![cause("x"), cause("y")]),
            422,
            "Deployment.apps \"a\" is invalid: [x: m, y: m]",
        );
    }

    #[test]
    fn wire_form_round_trips() {
        let status = Status::too_many_requests("busy", 3);
        let json = status.to_json();
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(value["kind"], "Status");
        assert_eq!(value["details"]["retryAfterSeconds"], 3);
        assert_eq!(serde_json::from_slice::<Status>(&json).unwrap(), status);
    }

    #[test]
    fn a_reason_nobody_knows_is_read_as_unknown() {
        let status: Status = serde_json::from_str(r#"{"reason":"Brewing","code":418}"#).unwrap();
        assert_eq!(status.reason, Reason::Unknown);
    }
}
