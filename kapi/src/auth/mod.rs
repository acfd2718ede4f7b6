//! Who asks, and whether they may.

mod identity;
pub(crate) mod rbac;
pub(crate) mod service_account;
mod tokens;

use std::fmt::Debug;

use async_trait::async_trait;

pub use identity::Identity;
pub use service_account::{ServiceAccountTokens, SignError, TokenSigner};
pub use tokens::{ShortToken, StaticTokens};

/// What a request wants to do, as authorizers judge it.
/// <https://kubernetes.io/docs/reference/access-authn-authz/authorization/#review-your-request-attributes>
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Who asks.
    pub user: &'a Identity,
    /// The verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`,
    /// `deletecollection`, or an HTTP method in lower case for other paths.
    pub verb: &'a str,
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The plural; empty for paths that are no resources.
    pub resource: &'a str,
    /// The subresource, or empty.
    pub subresource: &'a str,
    /// The namespace; empty for cluster-wide requests.
    pub namespace: &'a str,
    /// The object's name; empty for collections.
    pub name: &'a str,
    /// The path, for what is no resource.
    pub path: &'a str,
}

/// What an authorizer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The request goes ahead.
    Allow,
    /// The request is refused, whatever others say.
    Deny(String),
    /// The authorizer has no opinion; the next one is asked, and the last one's silence refuses.
    NoOpinion(String),
}

/// Decides what a request may do.
///
/// **Contract**: the same attributes get the same answer until the rules change; no answer is
/// slower than a read of the cluster's state.
#[async_trait]
#[diagnostic::on_unimplemented(message = "`{Self}` cannot authorize requests")]
pub trait Authorizer: Debug + Send + Sync + 'static {
    /// Judges a request.
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision;
}

/// Who a request says it is from, before anybody believes it.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// The bearer token, if one was sent.
    pub bearer: Option<&'a str>,
    /// The client's certificate in DER, if one was presented and its chain verified.
    pub certificate: Option<&'a [u8]>,
}

/// Finds out who a request is from.
///
/// **Contract**: `None` means the credentials are not of this authenticator's sort; an error means
/// they are, and they are bad.
#[async_trait]
#[diagnostic::on_unimplemented(message = "`{Self}` cannot authenticate requests")]
pub trait Authenticator: Debug + Send + Sync + 'static {
    /// Names the caller.
    async fn authenticate(
        &self,
        credentials: &Credentials<'_>,
    ) -> Result<Option<Identity>, BadCredentials>;
}

/// Credentials that were understood and are not valid.
#[derive(Debug, thiserror::Error)]
#[error("credentials are not valid: {0}")]
pub struct BadCredentials(pub String);
