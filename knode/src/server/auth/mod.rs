//! Who asks, and whether they may: client certificates, TokenReview, SubjectAccessReview.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/>

mod attributes;
mod cache;
mod certificate;
mod reviews;

use std::collections::BTreeMap;
use std::fmt::Debug;

use jiff::Timestamp;
use kcore::client::DynClient;
use kcore::clock::Clock;

pub use attributes::{Attributes, compute_attributes};
pub use certificate::{Peer, read_peer};
pub use reviews::{
    AUTHORIZED_TTL, MAX_CACHED_ANSWERS, MAX_KEY_BYTES, REVIEW_TIMEOUT, TOKEN_TTL, UNAUTHORIZED_TTL,
};

use reviews::Reviews;

/// Somebody who is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct User {
    /// Their name.
    pub name: String,
    /// Their uid, if they have one.
    pub uid: String,
    /// Their groups.
    pub groups: Vec<String>,
    /// What else is known of them.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Whoever shows neither certificate nor token.
    #[must_use]
    pub fn anonymous() -> Self {
        let groups = vec!["system:unauthenticated".to_owned()];
        Self { name: "system:anonymous".into(), groups, ..Self::default() }
    }

    /// The bytes it would take as a key.
    fn bytes(&self) -> usize {
        let extra = self.extra.iter().flat_map(|(key, values)| std::iter::once(key).chain(values));
        let texts = self.groups.iter().chain(extra).map(String::len);
        self.name.len() + self.uid.len() + texts.sum::<usize>()
    }
}

/// Where requests without certificate and token go on, as [`User::anonymous`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Anonymous {
    /// Nowhere: 401.
    #[default]
    Refused,
    /// At exactly these paths, as `/healthz`.
    Paths(Vec<String>),
    /// Everywhere.
    Everywhere,
}

impl Anonymous {
    fn allows(&self, path: &str) -> bool {
        match self {
            Self::Refused => false,
            Self::Paths(paths) => paths.iter().any(|allowed| allowed == path),
            Self::Everywhere => true,
        }
    }
}

/// Asks the API server who somebody is and what they may do on this node.
///
/// Answers are kept for a while, as upstream does: [`TOKEN_TTL`], [`AUTHORIZED_TTL`] and
/// [`UNAUTHORIZED_TTL`]; without an API server nobody new gets in.
#[derive(Debug)]
pub struct Auth {
    reviews: Reviews,
    node_name: String,
    anonymous: Anonymous,
    clock: Clock,
}

/// Why a request goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) message: String,
}

impl Refusal {
    fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl Auth {
    /// Asks through `client` about the node `node_name`.
    #[must_use]
    pub fn new(client: DynClient, node_name: impl Into<String>, clock: Clock) -> Self {
        let (reviews, anonymous) = (Reviews::new(client), Anonymous::default());
        Self { reviews, node_name: node_name.into(), anonymous, clock }
    }

    /// Where nobody need be known.
    #[must_use]
    pub fn anonymous(mut self, anonymous: Anonymous) -> Self {
        self.anonymous = anonymous;
        self
    }

    /// The time, for what a request asks relative to it.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Who asks. A certificate comes first; a token that is not good is refused even where
    /// nobody need be known.
    pub(super) async fn authenticate(
        &self,
        peer: Option<&Peer>,
        token: Option<&str>,
        path: &str,
    ) -> Result<User, Refusal> {
        let unauthorized = || Refusal::new(401, "Unauthorized");
        // A connection may outlive the certificate it was opened with.
        let peer = peer.filter(|peer| peer.not_after >= self.clock.now());
        if let Some(peer) = peer {
            return Ok(peer.user.clone());
        }
        if let Some(token) = token {
            return match self.reviews.token(token).await {
                Ok(user) => user.ok_or_else(unauthorized),
                Err(error) => {
                    tracing::warn!(%error, "a token cannot be reviewed");
                    Err(unauthorized())
                }
            };
        }
        if self.anonymous.allows(path) { Ok(User::anonymous()) } else { Err(unauthorized()) }
    }

    /// Whether `user` may: one of the subresources that a path stands for is enough.
    pub(super) async fn authorize(
        &self,
        user: &User,
        attributes: &Attributes,
    ) -> Result<(), Refusal> {
        let (name, verb) = (&user.name, attributes.verb);
        for subresource in &attributes.subresources {
            match self.reviews.access(user, verb, subresource, &self.node_name).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, user = name, verb, subresource, "access is unknown");
                    let message = format!(
                        "Authorization error (user={name}, verb={verb}, resource=nodes, \
                         subresource={subresource})"
                    );
                    return Err(Refusal::new(500, message));
                }
            }
        }
        let subresources = attributes.subresources.join(" ");
        let message = format!(
            "Forbidden (user={name}, verb={verb}, resource=nodes, \
             subresource(s)=[{subresources}])\n"
        );
        Err(Refusal::new(403, message))
    }
}

#[cfg(test)]
mod tests;
