//! `token`: tokens of ServiceAccounts, issued and believed.
//! <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/>

mod bound;
mod judge;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec, TokenRequestStatus};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kcore::client::{Body, Path, WriteOptions};
use kcore::kind::Kind;
use kcore::name::Resource;
use kcore::object::Object;
use kcore::status::Status;

use super::subresource::decode;
use super::{AdmissionRequest, Identity, Operation, Result, Server, namespace_of};
use crate::admission::ClusterView;
use crate::auth::ServiceAccountTokens;
use crate::auth::service_account::{Claims, Private, Reference};
use crate::strategy::{FieldErrors, FieldPath};
use crate::versions::{of, read, take};
use bound::Bound;

/// Seconds that a token lives if nobody says otherwise, and the bounds of what may be said.
const DEFAULT_S: i64 = 60 * 60;
const LEAST_S: i64 = 10 * 60;
const MOST_S: i64 = 1 << 32;
/// The group of what is sent.
const GROUP: &str = "authentication.k8s.io";

impl Server {
    /// Issues a token of a ServiceAccount.
    pub(super) async fn issue_token(
        &self,
        user: &Identity,
        path: Path<'_>,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Object> {
        let tokens = self.options.tokens.as_ref().ok_or_else(Status::no_such_path)?;
        let mut request: TokenRequest = decode(body, "TokenRequest")?;
        adopt(&mut request.metadata, path)?;
        self.catch_up().await?;
        let namespace = path.namespace.unwrap_or_default();
        let account = self.of_kind::<ServiceAccount>(namespace, path.name)?;
        let mut spec: TokenRequestSpec = take(request.spec);
        complete(&mut spec, tokens);
        validate(&spec)?;
        request.spec = of(spec);
        self.admit_token(user, path, &mut request, options).await?;
        let spec: TokenRequestSpec = take(request.spec);
        let asked = spec.bound_object_ref.as_ref();
        let bound = self.bound(asked, namespace, path.name)?;
        self.check_node(user, &spec, &bound, (namespace, path.name))?;
        let now = self.options.clock.now();
        let claims = self.claims(tokens, path, (&spec, bound), &account);
        let token = tokens.issue(&claims).map_err(Status::internal)?;
        request.metadata.creation_timestamp = Some(Time(now));
        // A date beyond the end of time is none that a token has: it lives 2^32 seconds at most.
        let expires = jiff::Timestamp::from_second(claims.exp).map_err(Status::internal)?;
        request.status =
            Some(TokenRequestStatus { expiration_timestamp: of(Time(expires)), token: of(token) });
        request.spec = of(spec);
        Object::from_typed(request).map_err(|error| Status::internal(error).into())
    }

    fn claims(
        &self,
        tokens: &ServiceAccountTokens,
        path: Path<'_>,
        (spec, bound): (&TokenRequestSpec, Bound),
        account: &Object,
    ) -> Claims {
        let now = self.options.clock.now().as_second();
        let namespace = path.namespace.unwrap_or_default().to_owned();
        let Bound { node, pod, secret, .. } = bound;
        let serviceaccount =
            Reference { name: path.name.to_owned(), uid: account.meta().uid.clone() };
        Claims {
            aud: read(&spec.audiences).into_owned(),
            exp: now.saturating_add(spec.expiration_seconds.unwrap_or(DEFAULT_S)),
            iat: now,
            iss: tokens.issuer().to_owned(),
            jti: self.options.random.uuid(),
            sub: Identity::service_account(&namespace, path.name, "").name,
            private: Private { namespace, node, pod, secret, serviceaccount },
            nbf: now,
        }
    }

    /// Asks the admission plugins. Their defaults are those of ServiceAccounts, and stay out.
    async fn admit_token(
        &self,
        user: &Identity,
        path: Path<'_>,
        token: &mut TokenRequest,
        options: &WriteOptions,
    ) -> Result<()> {
        let request = AdmissionRequest {
            user,
            operation: Operation::Create,
            resource: path.resource,
            subresource: path.subresource,
            namespace: namespace_of(path),
            name: path.name,
            old: None,
            dry_run: options.dry_run,
            cluster: self,
        };
        for plugin in self.plugins().iter().filter(|plugin| plugin.handles(&request)) {
            plugin.admit(&request, Some(&mut *token)).await?;
        }
        self.admit_final(&request, Some(&*token)).await
    }

    /// An object, as of the last write this server has seen.
    fn of_kind<K: Kind>(&self, namespace: &str, name: &str) -> Result<Object> {
        let resource = Resource::of::<K>();
        let namespace = if resource.namespaced { namespace } else { "" };
        ClusterView::get(self, &resource, namespace, name)
            .ok_or_else(|| Status::not_found(&resource.group, &resource.plural, name).into())
    }
}

/// The request is for the account that the path names.
fn adopt(meta: &mut ObjectMeta, path: Path<'_>) -> Result<()> {
    let mut errors = FieldErrors::default();
    let mut same = |member: &str, sent: &mut Option<String>, wanted: &str| match sent.as_deref() {
        None | Some("") => *sent = Some(wanted.to_owned()),
        Some(sent) if sent == wanted => {}
        Some(sent) => errors.invalid(
            &FieldPath::new("metadata").child(member),
            sent,
            format_args!("must match the service account {member} if specified"),
        ),
    };
    same("name", &mut meta.name, path.name);
    same("namespace", &mut meta.namespace, path.namespace.unwrap_or_default());
    refuse(path.name, errors)
}

/// What nobody said.
fn complete(spec: &mut TokenRequestSpec, tokens: &ServiceAccountTokens) {
    let audiences: Vec<String> = read(&spec.audiences).into_owned();
    if audiences.is_empty() {
        spec.audiences = of(tokens.own_audiences().to_vec());
    }
    let asked = spec.expiration_seconds.unwrap_or(DEFAULT_S);
    spec.expiration_seconds = Some(tokens.lifetime(asked));
}

fn validate(spec: &TokenRequestSpec) -> Result<()> {
    let mut errors = FieldErrors::default();
    let seconds = spec.expiration_seconds.unwrap_or(DEFAULT_S);
    let field = FieldPath::new("spec").child("expirationSeconds");
    if seconds < LEAST_S {
        errors.invalid(&field, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > MOST_S {
        errors.invalid(&field, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    refuse("", errors)
}

fn refuse(name: &str, errors: FieldErrors) -> Result<()> {
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid(GROUP, "TokenRequest", name, errors.into_causes()).into()),
    }
}
