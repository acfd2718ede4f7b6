//! One request, from its head to its reply.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use kcore::client::{Body as ObjectBody, Deleted, Patch, Path, Preconditions};
use kcore::name::Resource;
use kcore::status::{Reason, Status};

use super::manager::write_options;
use super::negotiate::{Form, Shape, negotiate};
use super::path::{Query, ResourcePath, Target, propagation};
use super::respond::{Writer, json_reply, reply, status_reply, warn, watch_reply};
use super::{BoxError, RequestBody, ResponseBody, body, discovery, health};
use crate::api_server::ApiServer;
use crate::auth::{Attributes, Credentials, Identity};
use crate::registry::{Row, Subresource};
use crate::schema::{FieldValidation, validate_fields};
use crate::server::{Result, Server, Written};

/// How long a request may take that is no watch.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Shortest time a watch is held open if the client names none; up to twice as long.
const MIN_WATCH: Duration = Duration::from_secs(1800);

/// The certificate that a client presented, in DER, its chain verified. A listener puts it into
/// the request's extensions.
#[derive(Debug, Clone)]
pub struct PeerCertificate(pub Arc<[u8]>);

/// An API server as a `tower::Service` over HTTP requests.
#[derive(Debug, Clone)]
pub struct ApiService {
    pub(super) server: Arc<Server>,
    /// Whom every request is from; otherwise its credentials tell.
    identity: Option<Arc<Identity>>,
}

impl ApiServer {
    /// The server as a `tower::Service`: requests are authenticated by what they bring.
    #[must_use]
    pub fn service(&self) -> ApiService {
        ApiService { server: Arc::clone(&self.server), identity: None }
    }

    /// The server as a `tower::Service` whose requests are all from `identity`: what a client
    /// library needs to run over it in process.
    #[must_use]
    pub fn service_as(&self, identity: Identity) -> ApiService {
        ApiService { server: Arc::clone(&self.server), identity: Some(Arc::new(identity)) }
    }
}

type ReplyFuture = Pin<Box<dyn Future<Output = Result2> + Send>>;
type Result2 = std::result::Result<Response<ResponseBody>, Infallible>;

impl<B> tower::Service<Request<B>> for ApiService
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ReplyFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        // Boxed on entry, so that everything behind is compiled once.
        let request = request.map(|body| {
            let bytes = |mut data: B::Data| data.copy_to_bytes(data.remaining());
            body.map_frame(move |frame| frame.map_data(bytes)).map_err(Into::into).boxed_unsync()
        });
        Box::pin(async move { Ok(this.handle(request).await) })
    }
}

impl<B> tower::Service<Request<B>> for ApiServer
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ReplyFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.service().call(request)
    }
}

/// What is known of a request once its head has been read.
pub(super) struct Head {
    method: Method,
    path: String,
    pub(super) query: Query,
    headers: HeaderMap,
    pub(super) user: Arc<Identity>,
}

impl ApiService {
    async fn handle(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let began = tokio::time::Instant::now();
        let verb = verb_of(&request);
        let target = Target::parse(request.uri().path());
        let outcome = tokio::time::timeout(REQUEST_TIMEOUT, self.try_handle(request)).await;
        let response = match outcome {
            Ok(Ok(response)) => response,
            Ok(Err(status)) => status_reply(&status),
            Err(_) => status_reply(&Status::timeout(
                "Timeout: request did not complete within the allotted timeout",
                1,
            )),
        };
        // Paths that name no kind are not told apart: strangers choose them.
        let registry = &self.server.registry;
        let known = match &target {
            Target::Resource(path) => registry.find(&path.group, &path.version, &path.plural),
            Target::Other => None,
        };
        let (group, plural) =
            known.map_or(("", ""), |row| (&row.resource.group, &row.resource.plural));
        let code = response.status().as_u16();
        self.server.metrics.request(verb, group, plural, code, began.elapsed());
        response
    }

    async fn try_handle(&self, request: Request<RequestBody>) -> Result<Response<ResponseBody>> {
        let (parts, body) = request.into_parts();
        let user = match &self.identity {
            Some(identity) => Arc::clone(identity),
            None => Arc::new(self.authenticate(&parts).await?),
        };
        let user = self.impersonate(user, &parts.headers).await?;
        let head = Head {
            path: parts.uri.path().to_owned(),
            query: Query::parse(parts.uri.query()),
            method: parts.method,
            headers: parts.headers,
            user,
        };
        match Target::parse(&head.path) {
            Target::Resource(target) => self.resource(&head, &target, body).await,
            Target::Other => self.other(&head).await,
        }
    }

    async fn authenticate(&self, parts: &http::request::Parts) -> Result<Identity> {
        let bearer = parts
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .map(str::trim);
        let certificate = parts.extensions.get::<PeerCertificate>();
        let credentials = Credentials { bearer, certificate: certificate.map(|peer| &*peer.0) };
        self.server.authenticate(&credentials).await
    }

    /// Who the caller wants to be taken for, if it may.
    /// <https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/>
    async fn impersonate(&self, user: Arc<Identity>, headers: &HeaderMap) -> Result<Arc<Identity>> {
        let values = |name: &str| -> Vec<String> {
            let all = headers.get_all(name).iter();
            all.filter_map(|value| value.to_str().ok()).map(ToOwned::to_owned).collect()
        };
        let unknown = headers.keys().map(http::HeaderName::as_str).find(|name| {
            name.starts_with("impersonate-")
                && !matches!(*name, "impersonate-user" | "impersonate-group")
        });
        if let Some(unknown) = unknown {
            // Acting as somebody else than was asked for would be worse than not acting.
            return Err(Status::bad_request(format!(
                "header {unknown} is not served: impersonate by Impersonate-User and \
                 Impersonate-Group alone"
            ))
            .into());
        }
        let groups = values("impersonate-group");
        let Some(name) = values("impersonate-user").pop() else {
            if groups.is_empty() {
                return Ok(user);
            }
            return Err(Status::bad_request(
                "requested impersonation of groups without impersonating a user",
            )
            .into());
        };
        let account = name.strip_prefix("system:serviceaccount:").and_then(|r| r.split_once(':'));
        let (resource, namespace, target) = match account {
            Some((namespace, name)) => ("serviceaccounts", namespace, name),
            None => ("users", "", name.as_str()),
        };
        let ask = async |resource: &str, namespace: &str, name: &str| {
            let attributes = Attributes {
                user: &user,
                verb: "impersonate",
                group: "",
                resource,
                subresource: "",
                namespace,
                name,
                path: "",
            };
            self.server.authorize(&attributes).await
        };
        ask(resource, namespace, target).await?;
        for group in &groups {
            ask("groups", "", group).await?;
        }
        if name == Identity::anonymous().name {
            return Ok(Arc::new(Identity::anonymous()));
        }
        Ok(Arc::new(match account {
            Some((namespace, name)) if groups.is_empty() => {
                Identity::service_account(namespace, name, "")
            }
            _ => Identity::user(name, groups),
        }))
    }

    async fn other(&self, head: &Head) -> Result<Response<ResponseBody>> {
        let path = head.path.trim_end_matches('/');
        let path = if path.is_empty() { "/" } else { path };
        let verb = head.method.as_str().to_lowercase();
        let attributes = Attributes {
            user: &head.user,
            verb: &verb,
            group: "",
            resource: "",
            subresource: "",
            namespace: "",
            name: "",
            path,
        };
        if !matches!(path, "/healthz" | "/livez" | "/readyz" | "/version") {
            self.server.ready().await?;
            self.server.authorize(&attributes).await?;
        }
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return Err(Status::failure(
                405,
                Reason::MethodNotAllowed,
                "the server does not allow this method on the requested resource",
            )
            .into());
        }
        if matches!(path, "/healthz" | "/livez" | "/readyz") {
            let (well, text) = health::check(&self.server, path, &head.query).await;
            let code = if well { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
            return Ok(reply(code, "text/plain; charset=utf-8", text));
        }
        if path == "/metrics" {
            let text = self.server.metrics.render(&self.server.cache);
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            return Ok(reply(StatusCode::OK, kind, text));
        }
        if path.starts_with("/openapi") {
            super::document::prepare(&self.server).await?;
        }
        self.document(head, path)
    }

    /// The documents that tell clients what is served.
    fn document(&self, head: &Head, path: &str) -> Result<Response<ResponseBody>> {
        let registry = &self.server.registry;
        let aggregated = wants_aggregated(&head.headers);
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        if let Some(tokens) = &self.server.options.tokens
            && let Some(response) = super::document::issuer(tokens, path)
        {
            return Ok(response);
        }
        let value = match segments.as_slice() {
            ["version"] => health::version(),
            ["api" | "apis"] if aggregated => {
                let core = segments[0] == "api";
                let json = discovery::aggregated(registry, core).to_string();
                let kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
                return Ok(reply(StatusCode::OK, kind, json));
            }
            ["api"] => discovery::core_versions(""),
            ["apis"] => discovery::group_list(registry),
            ["apis", group] => found(discovery::group(registry, group))?,
            ["api", version] => found(discovery::resources(registry, "", version))?,
            ["apis", group, version] => found(discovery::resources(registry, group, version))?,
            ["openapi", "v3"] => crate::openapi::index(registry),
            ["openapi", "v3", "api", version] => {
                return openapi(crate::openapi::document(registry, "", version), head);
            }
            ["openapi", "v3", "apis", group, version] => {
                return openapi(crate::openapi::document(registry, group, version), head);
            }
            [""] => serde_json::json!({"paths": [
                "/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v3",
                "/readyz", "/version"]}),
            _ => return Err(Status::no_such_path().into()),
        };
        let json = value.to_string().into_bytes();
        Ok(json_reply(StatusCode::OK, json, Form::JSON, &head.headers))
    }

    async fn resource(
        &self,
        head: &Head,
        target: &ResourcePath,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let row = self
            .server
            .registry
            .find(&target.group, &target.version, &target.plural)
            .ok_or_else(Status::no_such_path)?;
        let row = Arc::clone(row);
        if target.namespace.is_some() && !row.resource.namespaced {
            return Err(Status::no_such_path().into());
        }
        let resource = row.resource.clone();
        let path = path_of(&resource, target);
        let collection = target.name.is_empty();
        let log = row.subresource(&target.subresource) == Some(Subresource::Log);
        match (&head.method, collection) {
            (&Method::GET | &Method::HEAD, false) if log => self.log(head, path).await,
            (&Method::GET | &Method::HEAD, _) => self.read(head, &row, target, path).await,
            (&Method::POST, _) | (&Method::PUT, false) => self.write(head, &row, path, body).await,
            (&Method::PATCH, false) => self.patch(head, &row, path, body).await,
            (&Method::DELETE, _) => self.delete(head, &row, path, collection, body).await,
            (method, _) => Err(Status::method_not_allowed(
                &resource.group,
                &resource.plural,
                &method.as_str().to_lowercase(),
            )
            .into()),
        }
    }

    fn writer(&self, head: &Head, row: &Arc<Row>) -> Result<Writer> {
        Ok(Writer {
            row: Arc::clone(row),
            form: negotiate(&head.headers)?,
            include: head.query.get("includeObject").unwrap_or_default().to_owned(),
            now: self.server.options.clock.now(),
        })
    }

    async fn read(
        &self,
        head: &Head,
        row: &Arc<Row>,
        target: &ResourcePath,
        path: Path<'_>,
    ) -> Result<Response<ResponseBody>> {
        let writer = self.writer(head, row)?;
        let collection = target.name.is_empty();
        if target.watch || head.query.flag("watch") {
            let mut options = head.query.watch_options()?;
            let mut path = path;
            if !collection {
                options.fields =
                    std::mem::take(&mut options.fields).and("metadata.name", path.name);
                path.name = "";
            }
            let stream = self.server.watch(&head.user, path, &options).await?;
            let asked = head.query.parsed::<u64>("timeoutSeconds")?.filter(|s| *s > 0);
            let timeout = asked.map_or_else(
                || self.server.options.random.jitter(MIN_WATCH, 1.0),
                Duration::from_secs,
            );
            return Ok(watch_reply(writer, stream, timeout));
        }
        if collection {
            let options = head.query.list_options()?;
            let list = self.server.list(&head.user, path, &options).await?;
            let json = writer.list(&list)?;
            return Ok(json_reply(StatusCode::OK, json, writer.form, &head.headers));
        }
        let options = head.query.get_options()?;
        let object = self.server.get(&head.user, path, &options).await?;
        object_reply(StatusCode::OK, &writer, &object, &head.headers)
    }

    /// A create or a replacement: what differs is the call and the code of its success.
    async fn write(
        &self,
        head: &Head,
        row: &Arc<Row>,
        path: Path<'_>,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let options = write_options(&head.query, &head.headers, &head.method, false)?;
        let writer = self.writer(head, row)?;
        let json = body::object(&head.headers, body::read(body).await?)?;
        let warnings = self.check_fields(row, path, &json, &options.field_validation)?;
        let body = ObjectBody::Json(json);
        let (code, object) = if head.method == Method::POST {
            let object = self.server.create(&head.user, path, body, &options).await?;
            (StatusCode::CREATED, object)
        } else {
            let written = self.server.update(&head.user, path, body, &options).await?;
            (code_of(&written), written.object)
        };
        let mut response = object_reply(code, &writer, &object, &head.headers)?;
        warn(&mut response, &warnings);
        Ok(response)
    }

    async fn patch(
        &self,
        head: &Head,
        row: &Arc<Row>,
        path: Path<'_>,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let writer = self.writer(head, row)?;
        let patch = body::patch(&head.headers, body::read(body).await?)?;
        let applies = matches!(patch, Patch::Apply(_));
        let mut options = write_options(&head.query, &head.headers, &head.method, applies)?;
        if options.field_validation.is_empty() {
            "Warn".clone_into(&mut options.field_validation);
        }
        let (written, warnings) = self.server.patch(&head.user, path, patch, &options).await?;
        let code = code_of(&written);
        let mut response = object_reply(code, &writer, &written.object, &head.headers)?;
        warn(&mut response, &warnings);
        Ok(response)
    }

    /// Holds a body against its kind's schema, as the request asks (A5).
    fn check_fields(
        &self,
        row: &Row,
        path: Path<'_>,
        json: &[u8],
        directive: &str,
    ) -> Result<Vec<String>> {
        let directive: FieldValidation = directive.parse().map_err(Status::bad_request)?;
        let own = path.subresource.is_empty() || path.subresource == "status";
        if !own || directive == FieldValidation::Ignore {
            return Ok(Vec::new());
        }
        validate_fields(row, json, directive)
    }

    async fn delete(
        &self,
        head: &Head,
        row: &Arc<Row>,
        path: Path<'_>,
        collection: bool,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let mut options = head.query.delete_options()?;
        let mut writer = self.writer(head, row)?;
        if writer.form.shape == Shape::Table {
            writer.form.shape = Shape::Whole;
        }
        let sent = body::read(body).await?;
        if !sent.is_empty() {
            let json = body::object(&head.headers, sent)?;
            read_delete_options(&json, &mut options)?;
        }
        if collection {
            let list = head.query.list_options()?;
            let deleted = self.server.delete_collection(&head.user, path, &options, &list).await?;
            let json = writer.list(&deleted)?;
            return Ok(json_reply(StatusCode::OK, json, writer.form, &head.headers));
        }
        match self.server.delete(&head.user, path, &options).await? {
            Deleted::Pending(object) => {
                object_reply(StatusCode::OK, &writer, &object, &head.headers)
            }
            Deleted::Gone(status) => Ok(status_reply(&status)),
        }
    }
}

/// Takes the options of a delete out of its body.
fn read_delete_options(json: &[u8], options: &mut kcore::client::DeleteOptions) -> Result<()> {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
    let sent: DeleteOptions = serde_json::from_slice(json).map_err(|error| {
        Status::bad_request(format!("DeleteOptions cannot be decoded: {error}"))
    })?;
    if sent.grace_period_seconds.is_some() {
        options.grace_period_seconds = sent.grace_period_seconds;
    }
    if let Some(policy) = &sent.propagation_policy {
        options.propagation = Some(propagation(policy)?);
    }
    if sent.orphan_dependents == Some(true) {
        options.propagation = Some(kcore::client::Propagation::Orphan);
    }
    options.dry_run |= sent.dry_run.iter().flatten().any(|value| value == "All");
    if let Some(sent) = sent.preconditions {
        let resource_version = sent
            .resource_version
            .map(|version| version.parse())
            .transpose()
            .map_err(|_| Status::bad_request("preconditions.resourceVersion: Invalid value"))?;
        options.preconditions = Preconditions { uid: sent.uid, resource_version };
    }
    Ok(())
}

/// The code of a write that may have created its object.
fn code_of(written: &Written) -> StatusCode {
    if written.created { StatusCode::CREATED } else { StatusCode::OK }
}

fn path_of<'a>(resource: &'a Resource, target: &'a ResourcePath) -> Path<'a> {
    Path {
        resource,
        namespace: target.namespace.as_deref(),
        name: &target.name,
        subresource: &target.subresource,
    }
}

fn object_reply(
    code: StatusCode,
    writer: &Writer,
    object: &kcore::object::Object,
    headers: &HeaderMap,
) -> Result<Response<ResponseBody>> {
    Ok(json_reply(code, writer.object(object)?, writer.form, headers))
}

fn found(value: Option<serde_json::Value>) -> Result<serde_json::Value> {
    value.ok_or_else(|| Status::no_such_path().into())
}

fn openapi(
    document: Option<&crate::openapi::Document>,
    head: &Head,
) -> Result<Response<ResponseBody>> {
    let document = document.ok_or_else(Status::no_such_path)?;
    super::document::openapi(document, &head.headers, head.query.get("hash"))
}

/// The verb under which a request is counted.
fn verb_of(request: &Request<RequestBody>) -> &'static str {
    let query = request.uri().query().unwrap_or_default();
    match *request.method() {
        Method::GET if query.contains("watch=true") || query.contains("watch=1") => "WATCH",
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}

fn wants_aggregated(headers: &HeaderMap) -> bool {
    headers.get_all(http::header::ACCEPT).iter().any(|value| {
        value.to_str().is_ok_and(|value| {
            value.split(',').any(|one| {
                one.contains("g=apidiscovery.k8s.io")
                    && one.contains("v=v2")
                    && !one.contains("v=v2beta1")
                    && one.contains("as=APIGroupDiscoveryList")
                    && one.trim_start().starts_with("application/json")
            })
        })
    })
}
