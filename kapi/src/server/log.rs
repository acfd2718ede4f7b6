//! `log`: what a container wrote, streamed from its node's agent.
//! <https://kubernetes.io/docs/concepts/cluster-administration/logging/#basic-logging-in-kubernetes>

use std::fmt::Write as _;

use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kcore::client::Path;
use kcore::name::Resource;
use kcore::status::{Reason, Status};

use super::{Identity, Result, Server};
use crate::admission::ClusterView;
use crate::nodes::{NodeAddress, NodeBody, compute_address};
use crate::strategy::{FieldErrors, FieldPath};

/// Bytes of an agent's refusal that are passed on.
const MAX_REFUSAL: usize = 50_000;
/// The streams that can be asked for.
const STREAMS: [&str; 3] = ["All", "Stderr", "Stdout"];

/// What is wanted of a log.
/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-read-log-of-the-specified-pod>
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LogOptions {
    pub(crate) container: String,
    pub(crate) follow: bool,
    pub(crate) previous: bool,
    pub(crate) timestamps: bool,
    pub(crate) since_seconds: Option<i64>,
    pub(crate) since_time: Option<Timestamp>,
    pub(crate) tail_lines: Option<i64>,
    pub(crate) limit_bytes: Option<i64>,
    pub(crate) stream: Option<String>,
    pub(crate) skip_verification: bool,
}

impl LogOptions {
    /// What is wrong with the options.
    fn validate(&self, errors: &mut FieldErrors) {
        let positive = "must be greater than 0";
        if let Some(lines) = self.tail_lines.filter(|lines| *lines < 0) {
            let detail = "must be greater than or equal to 0";
            errors.invalid(&FieldPath::new("tailLines"), lines, detail);
        }
        if let Some(bytes) = self.limit_bytes.filter(|bytes| *bytes < 1) {
            errors.invalid(&FieldPath::new("limitBytes"), bytes, positive);
        }
        match (self.since_seconds, self.since_time) {
            (Some(_), Some(_)) => errors.forbidden(
                &FieldPath::new(""),
                "at most one of `sinceTime` or `sinceSeconds` may be specified",
            ),
            (Some(seconds), None) if seconds < 1 => {
                errors.invalid(&FieldPath::new("sinceSeconds"), seconds, positive);
            }
            _ => {}
        }
        let Some(stream) = self.stream.as_deref() else { return };
        if !STREAMS.contains(&stream) {
            errors.not_supported(&FieldPath::new("stream"), stream, &STREAMS);
        }
        if stream != "All" && self.tail_lines.is_some() {
            errors.forbidden(
                &FieldPath::new(""),
                "`tailLines` and specific `stream` are mutually exclusive for now",
            );
        }
    }

    /// The query that an agent understands.
    fn query(&self) -> String {
        let mut query = String::new();
        let mut add = |name: &str, value: &str| {
            let separator = if query.is_empty() { "" } else { "&" };
            // Writing to a string does not fail.
            let _ = write!(query, "{separator}{name}={value}");
        };
        for (name, on) in
            [("follow", self.follow), ("previous", self.previous), ("timestamps", self.timestamps)]
        {
            if on {
                add(name, "true");
            }
        }
        let numbers = [
            ("limitBytes", self.limit_bytes),
            ("sinceSeconds", self.since_seconds),
            ("tailLines", self.tail_lines),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                add(name, &number.to_string());
            }
        }
        if let Some(time) = self.since_time {
            add("sinceTime", &time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        }
        if let Some(stream) = &self.stream {
            add("stream", stream);
        }
        query
    }
}

impl Server {
    /// The reply of a node's agent to a request for a log; nothing for a Pod without a node.
    pub(crate) async fn log(
        &self,
        user: &Identity,
        path: Path<'_>,
        options: &LogOptions,
    ) -> Result<Option<Response<NodeBody>>> {
        self.ready().await?;
        self.authorize_path(user, "get", path).await?;
        let mut errors = FieldErrors::default();
        options.validate(&mut errors);
        if !errors.is_empty() {
            let causes = errors.into_causes();
            return Err(Status::invalid("", "PodLogOptions", path.name, causes).into());
        }
        self.catch_up().await?;
        let namespace = path.namespace.unwrap_or_default();
        let pod = ClusterView::get(self, path.resource, namespace, path.name)
            .ok_or_else(|| Status::not_found("", "pods", path.name))?;
        let pod = pod.view::<Pod>().map_err(Status::internal)?;
        let container = choose_container(&pod, &options.container)?;
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let Some(node) = node.filter(|node| !node.is_empty()) else { return Ok(None) };
        let mut address = self.node_address(node)?;
        address.skip_verification = options.skip_verification;
        let target =
            format!("/containerLogs/{namespace}/{}/{container}?{}", path.name, options.query());
        let target = target.trim_end_matches('?');
        let reply = self.ask_node(&address, target).await?;
        Ok(Some(check_reply(reply, "pods/log", path.name).await?))
    }

    /// Where the agent of a node listens.
    fn node_address(&self, name: &str) -> Result<NodeAddress> {
        let node = ClusterView::get(self, &Resource::of::<Node>(), "", name)
            .ok_or_else(|| Status::not_found("", "nodes", name))?;
        let node = node.view::<Node>().map_err(Status::internal)?;
        compute_address(&node, &self.options.node_addresses)
            .map_err(|why| Status::internal(format!("node {name:?}: {why}")).into())
    }

    /// Sends a GET to an agent.
    async fn ask_node(&self, node: &NodeAddress, target: &str) -> Result<Response<NodeBody>> {
        let Some(connector) = &self.options.nodes else {
            return Err(Status::failure(
                501,
                Reason::Unknown,
                "this API server does not reach nodes: give it a node connector",
            )
            .into());
        };
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = Request::get(target).body(body).map_err(Status::internal)?;
        connector.send(node, request).await.map_err(|error| {
            let url = format!("https://{}{target}", node.authority());
            Status::failure(500, Reason::InternalError, format!("Get {url:?}: {error}")).into()
        })
    }
}

/// The container whose log is meant.
fn choose_container(pod: &Pod, asked: &str) -> Result<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let containers: Vec<&str> =
        spec.iter().flat_map(|spec| &spec.containers).map(|c| c.name.as_str()).collect();
    let inits: Vec<&str> = spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten())
        .map(|c| c.name.as_str())
        .collect();
    let mut ephemeral = spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    if !asked.is_empty() {
        let known = containers.contains(&asked)
            || inits.contains(&asked)
            || ephemeral.any(|container| container.name == asked);
        return match known {
            true => Ok(asked.to_owned()),
            false => {
                Err(Status::bad_request(format!("container {asked} is not valid for pod {name}"))
                    .into())
            }
        };
    }
    let mut words = format!("a container name must be specified for pod {name}");
    match containers.as_slice() {
        [only] => return Ok((*only).to_owned()),
        [] => {}
        many => {
            // Writing to a string does not fail.
            let _ = write!(words, ", choose one of: [{}]", many.join(" "));
            if !inits.is_empty() {
                let _ = write!(words, " or one of the init containers: [{}]", inits.join(" "));
            }
        }
    }
    Err(Status::bad_request(words).into())
}

/// Turns an agent's refusal into the API's.
async fn check_reply(
    reply: Response<NodeBody>,
    resource: &str,
    name: &str,
) -> Result<Response<NodeBody>> {
    let code = reply.status().as_u16();
    if (200..=206).contains(&code) {
        return Ok(reply);
    }
    let (mut body, mut text) = (reply.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        let broken = |error| Status::internal(format!("the node's reply broke: {error}"));
        if let Ok(data) = frame.map_err(broken)?.into_data() {
            text.extend_from_slice(&data[..data.len().min(MAX_REFUSAL - text.len())]);
        }
        if text.len() == MAX_REFUSAL {
            break;
        }
    }
    Err(refusal(code, &String::from_utf8_lossy(&text), resource, name).into())
}

/// The status for an agent's refusal, in upstream's words.
fn refusal(code: u16, text: &str, resource: &str, name: &str) -> Status {
    let (reason, words) = match code {
        300..=399 => return Status::internal("redirects forbidden"),
        400 => return Status::bad_request(text),
        500 => return Status::internal(text),
        401 => (
            Reason::Unauthorized,
            "the server has asked for the client to provide credentials".to_owned(),
        ),
        403 => (Reason::Forbidden, text.to_owned()),
        404 => (Reason::NotFound, "the server could not find the requested resource".to_owned()),
        405 => (
            Reason::MethodNotAllowed,
            "the server does not allow this method on the requested resource".to_owned(),
        ),
        429 => (
            Reason::TooManyRequests,
            "the server has received too many requests and has asked us to try again later"
                .to_owned(),
        ),
        503 => (
            Reason::ServiceUnavailable,
            "the server is currently unable to handle the request".to_owned(),
        ),
        504 => (
            Reason::Timeout,
            "the server was unable to return a response in the time allotted, but may still be \
             processing the request"
                .to_owned(),
        ),
        501.. => (
            Reason::InternalError,
            format!("an error on the server ({text:?}) has prevented the request from succeeding"),
        ),
        _ => (
            Reason::Unknown,
            format!(
                "the server responded with the status code {code} but did not return more \
                 information"
            ),
        ),
    };
    // The verb before the resource is empty: nobody tells the checker which one it was.
    Status::failure(code, reason, format!("{words} ( {resource} {name})")).about("", resource, name)
}
