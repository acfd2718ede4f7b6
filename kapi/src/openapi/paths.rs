//! The paths of a kind, and what each takes and gives.

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::Binding;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Patch, Status};
use serde_json::{Map, Value, json};

use super::schemas::{gvk, name_of, reference};
use crate::registry::{Row, Subresource, Verbs};

const OBJECT_FORMS: [&str; 2] = ["application/json", "application/yaml"];
const PATCH_FORMS: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// What an operation does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Create,
    Read,
    ReadLog,
    List,
    Replace,
    Patch,
    Delete,
    DeleteCollection,
}

impl Action {
    /// HTTP's method, Kubernetes' name for it, and the verb that operation ids begin with.
    const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Create => ("post", "post", "create"),
            Self::Read | Self::ReadLog => ("get", "get", "read"),
            Self::List => ("get", "list", "list"),
            Self::Replace => ("put", "put", "replace"),
            Self::Patch => ("patch", "patch", "patch"),
            Self::Delete => ("delete", "delete", "delete"),
            Self::DeleteCollection => ("delete", "deletecollection", "delete"),
        }
    }
}

/// What the operations of one path speak of.
struct Speech<'a> {
    row: &'a Row,
    /// The schema of requests and replies.
    schema: String,
    kind: Value,
    /// The name that operation ids end in: `NamespacedDeploymentStatus`.
    name: String,
}

/// Adds a kind's paths to a document.
pub(super) fn describe(row: &Row, paths: &mut Map<String, Value>) {
    let resource = &row.resource;
    let root = match resource.group.as_ref() {
        "" => format!("/api/{}", resource.version),
        group => format!("/apis/{group}/{}", resource.version),
    };
    let (scope, scoped) = match resource.namespaced {
        true => ("/namespaces/{namespace}", "Namespaced"),
        false => ("", ""),
    };
    let collection = format!("{root}{scope}/{}", resource.plural);
    let speech = |name: String| Speech {
        row,
        schema: row.schema.name(),
        kind: gvk(&resource.group, &resource.version, &resource.kind),
        name,
    };
    let own = speech(format!("{scoped}{}", resource.kind));
    if row.verbs == Verbs::CreateOnly {
        paths.insert(collection.clone(), own.path(&collection, &[Action::Create]));
        return;
    }
    let actions = [Action::Create, Action::List, Action::DeleteCollection];
    paths.insert(collection.clone(), own.path(&collection, &actions));
    if resource.namespaced {
        let all = format!("{root}/{}", resource.plural);
        let everywhere = speech(format!("{}ForAllNamespaces", resource.kind));
        paths.insert(all.clone(), everywhere.path(&all, &[Action::List]));
    }
    let one = format!("{collection}/{{name}}");
    let actions = [Action::Read, Action::Replace, Action::Patch, Action::Delete];
    paths.insert(one.clone(), own.path(&one, &actions));
    for sub in &row.subresources {
        let path = format!("{one}/{}", sub.name());
        let (speech, actions) = subresource(row, *sub, &own.name);
        paths.insert(path.clone(), speech.path(&path, actions));
    }
}

fn subresource<'a>(row: &'a Row, sub: Subresource, name: &str) -> (Speech<'a>, &'static [Action]) {
    let own = || {
        let resource = &row.resource;
        (row.schema.name(), gvk(&resource.group, &resource.version, &resource.kind))
    };
    let (schema, kind) = match sub {
        Subresource::Scale => (name_of::<Scale>(), gvk("autoscaling", "v1", "Scale")),
        Subresource::Binding => (name_of::<Binding>(), gvk("", "v1", "Binding")),
        Subresource::Eviction => (name_of::<Eviction>(), gvk("policy", "v1", "Eviction")),
        Subresource::Token => {
            let kind = gvk("authentication.k8s.io", "v1", "TokenRequest");
            (name_of::<TokenRequest>(), kind)
        }
        _ => own(),
    };
    let actions: &[Action] = match sub {
        Subresource::Binding | Subresource::Eviction | Subresource::Token => &[Action::Create],
        Subresource::Finalize => &[Action::Replace],
        Subresource::Log => &[Action::ReadLog],
        _ => &[Action::Read, Action::Replace, Action::Patch],
    };
    let name = format!("{name}{}", capitalized(sub.name()));
    (Speech { row, schema, kind, name }, actions)
}

impl Speech<'_> {
    /// The description of a path and of what can be done there.
    fn path(&self, path: &str, actions: &[Action]) -> Value {
        let mut described = Map::new();
        let mut parameters = Vec::new();
        for name in ["name", "namespace"] {
            if path.contains(&format!("{{{name}}}")) {
                parameters.push(json!({
                    "name": name, "in": "path", "required": true,
                    "description": format!("{name} of the {}", self.row.resource.kind),
                    "schema": {"type": "string", "uniqueItems": true}}));
            }
        }
        parameters.push(query("pretty", "string", "Whether the reply is printed for people."));
        for action in actions {
            let (method, ..) = action.names();
            described.insert(method.to_owned(), self.operation(*action));
        }
        described.insert("parameters".to_owned(), Value::Array(parameters));
        Value::Object(described)
    }

    fn operation(&self, action: Action) -> Value {
        let (_, name, verb) = action.names();
        let resource = &self.row.resource;
        let collection = if action == Action::DeleteCollection { "Collection" } else { "" };
        let id = format!(
            "{verb}{}{}{collection}{}",
            group_name(&resource.group),
            capitalized(&resource.version),
            self.name
        );
        let mut tag = group_name(&resource.group);
        tag[..1].make_ascii_lowercase();
        let mut operation = json!({
            "operationId": id,
            "tags": [format!("{tag}_{}", resource.version)],
            "description": format!("{verb} {}", resource.kind),
            "x-kubernetes-action": name,
            "x-kubernetes-group-version-kind": self.kind,
            "parameters": parameters(action),
            "responses": self.responses(action),
        });
        let body = match action {
            Action::Create | Action::Replace => {
                json!({"content": content(&["*/*"], &self.schema), "required": true})
            }
            Action::Patch => {
                json!({"content": content(&PATCH_FORMS, &name_of::<Patch>()), "required": true})
            }
            Action::Delete | Action::DeleteCollection => {
                json!({"content": content(&["*/*"], &name_of::<DeleteOptions>())})
            }
            Action::Read | Action::ReadLog | Action::List => return operation,
        };
        operation["requestBody"] = body;
        operation
    }

    fn responses(&self, action: Action) -> Value {
        let list = format!("{}List", self.schema);
        let status = name_of::<Status>();
        let (codes, schema): (&[&str], &str) = match action {
            Action::Create => (&["200", "201", "202"], &self.schema),
            Action::Replace | Action::Patch => (&["200", "201"], &self.schema),
            Action::ReadLog => return log_responses(),
            Action::Read => (&["200"], &self.schema),
            Action::List => (&["200"], &list),
            Action::Delete => (&["200", "202"], &status),
            Action::DeleteCollection => (&["200"], &status),
        };
        let mut responses = Map::new();
        for code in codes {
            let words = match *code {
                "200" => "OK",
                "201" => "Created",
                _ => "Accepted",
            };
            let content = content(&OBJECT_FORMS, schema);
            let reply = json!({"description": words, "content": content});
            responses.insert((*code).to_owned(), reply);
        }
        responses.insert("401".to_owned(), json!({"description": "Unauthorized"}));
        Value::Object(responses)
    }
}

/// A log is text, whatever the media type is called.
fn log_responses() -> Value {
    let text = json!({"schema": {"type": "string"}});
    let forms = ["text/plain", "application/json", "application/yaml"];
    let content: Map<String, Value> =
        forms.iter().map(|form| ((*form).to_owned(), text.clone())).collect();
    json!({
        "200": {"description": "OK", "content": content},
        "401": {"description": "Unauthorized"}})
}

fn log_parameters() -> [Value; 10] {
    [
        query("container", "string", "Which container; the only one if empty."),
        query("follow", "boolean", "Whether the log is followed as it grows."),
        query(
            "insecureSkipTLSVerifyBackend",
            "boolean",
            "Whether the certificate of the node's agent goes unchecked.",
        ),
        query("limitBytes", "integer", "How many bytes are sent at most."),
        query("previous", "boolean", "Whether the log is that of the container before."),
        query("sinceSeconds", "integer", "How old lines are at most, in seconds."),
        query("sinceTime", "string", "From which time on lines are sent, RFC 3339."),
        query("stream", "string", "Which stream: All, Stdout or Stderr."),
        query("tailLines", "integer", "How many lines from the end are sent."),
        query("timestamps", "boolean", "Whether each line begins with its time."),
    ]
}

fn content(forms: &[&str], schema: &str) -> Value {
    let forms = forms.iter().map(|form| ((*form).to_owned(), json!({"schema": reference(schema)})));
    Value::Object(forms.collect())
}

fn query(name: &str, kind: &str, description: &str) -> Value {
    json!({
        "name": name, "in": "query", "description": description,
        "schema": {"type": kind, "uniqueItems": true}})
}

/// The query parameters that say which objects of a collection are meant.
fn selectors() -> [Value; 8] {
    [
        query("continue", "string", "Where the last page of a list ended."),
        query("fieldSelector", "string", "Which objects, by their fields; all if empty."),
        query("labelSelector", "string", "Which objects, by their labels; all if empty."),
        query("limit", "integer", "How many objects a page has at most."),
        query("resourceVersion", "string", "Which version of the state is wanted."),
        query("resourceVersionMatch", "string", "How resourceVersion is meant."),
        query("sendInitialEvents", "boolean", "Whether a watch begins with what there is."),
        query("timeoutSeconds", "integer", "How long the call may take, in seconds."),
    ]
}

/// The query parameters of an operation.
fn parameters(action: Action) -> Value {
    let dry_run = query("dryRun", "string", "`All`: do everything but store the result.");
    let mut all = Vec::new();
    match action {
        Action::Read => {}
        Action::ReadLog => all.extend(log_parameters()),
        Action::Create | Action::Replace | Action::Patch => {
            all.push(dry_run);
            all.push(query("fieldManager", "string", "Who manages the fields that are written."));
            all.push(query(
                "fieldValidation",
                "string",
                "What is done about unknown and duplicate fields: Ignore, Warn (the default), \
                 Strict.",
            ));
        }
        Action::List => {
            all.push(query("allowWatchBookmarks", "boolean", "Whether a watch sends bookmarks."));
            all.extend(selectors());
            all.push(query("watch", "boolean", "Whether changes are sent as they happen."));
        }
        Action::Delete | Action::DeleteCollection => {
            all.push(dry_run);
            all.push(query("gracePeriodSeconds", "integer", "Seconds until it goes; 0 for now."));
            all.push(query("orphanDependents", "boolean", "Older form of propagationPolicy."));
            all.push(query(
                "propagationPolicy",
                "string",
                "What becomes of dependents: Orphan, Background, Foreground.",
            ));
        }
    }
    match action {
        Action::Patch => {
            all.push(query("force", "boolean", "Take over fields; for server-side apply alone."));
        }
        Action::DeleteCollection => all.extend(selectors()),
        _ => {}
    }
    Value::Array(all)
}

/// `rbac.authorization.k8s.io` is `RbacAuthorization`, the core group `Core`.
fn group_name(group: &str) -> String {
    match group.strip_suffix(".k8s.io").unwrap_or(group) {
        "" => "Core".to_owned(),
        group => group.split('.').map(capitalized).collect(),
    }
}

fn capitalized(word: &str) -> String {
    let mut word = word.to_owned();
    if let Some(first) = word.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    word
}
