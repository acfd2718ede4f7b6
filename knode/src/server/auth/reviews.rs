//! Questions to the API server, and their answers for a while.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kcore::client::{Api, DynClient};
use kcore::status::Status;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::User;
use super::cache::TtlCache;

/// How long it is believed who a token is for, or that it is for nobody.
pub const TOKEN_TTL: Duration = Duration::from_secs(2 * 60);
/// How long a permission is believed.
pub const AUTHORIZED_TTL: Duration = Duration::from_secs(5 * 60);
/// How long the lack of one is believed.
pub const UNAUTHORIZED_TTL: Duration = Duration::from_secs(30);
/// How many answers of each sort are kept.
pub const MAX_CACHED_ANSWERS: usize = 1024;
/// What is longer is asked about each time, in bytes.
pub const MAX_KEY_BYTES: usize = 10_000;
/// How long the API server may take to answer.
pub const REVIEW_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Access {
    user: User,
    verb: &'static str,
    subresource: &'static str,
}

#[derive(Debug)]
pub(super) struct Reviews {
    tokens: Api<TokenReview>,
    accesses: Api<SubjectAccessReview>,
    users: Mutex<TtlCache<String, Option<User>>>,
    answers: Mutex<TtlCache<Access, bool>>,
}

impl Reviews {
    pub(super) fn new(client: DynClient) -> Self {
        Self {
            tokens: Api::all(client.clone()),
            accesses: Api::all(client),
            users: Mutex::new(TtlCache::new(MAX_CACHED_ANSWERS)),
            answers: Mutex::new(TtlCache::new(MAX_CACHED_ANSWERS)),
        }
    }

    /// Who a token is for; none if it is for nobody.
    pub(super) async fn token(&self, token: &str) -> kcore::Result<Option<User>> {
        let key = token.to_owned();
        if let Some(known) = self.users.lock().get(&key, Instant::now()) {
            return Ok(known);
        }
        let spec = TokenReviewSpec { token: key.clone(), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let review = in_time(self.tokens.create(review)).await?;
        let status = review.status.as_ref();
        let known = status.filter(|status| status.authenticated.unwrap_or_default());
        let user = known.and_then(|status| status.user.clone()).map(|user| User {
            name: user.username.unwrap_or_default(),
            uid: user.uid.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        });
        if key.len() <= MAX_KEY_BYTES {
            self.users.lock().put(key, user.clone(), TOKEN_TTL, Instant::now());
        }
        Ok(user)
    }

    /// Whether a user may `verb` the node's subresource.
    pub(super) async fn access(
        &self,
        user: &User,
        verb: &'static str,
        subresource: &'static str,
        node_name: &str,
    ) -> kcore::Result<bool> {
        let key = Access { user: user.clone(), verb, subresource };
        if let Some(known) = self.answers.lock().get(&key, Instant::now()) {
            return Ok(known);
        }
        let attributes = ResourceAttributes {
            name: Some(node_name.to_owned()),
            resource: Some("nodes".into()),
            subresource: Some(subresource.to_owned()),
            verb: Some(verb.to_owned()),
            version: Some("v1".into()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(user.name.clone()),
            uid: some_text(&user.uid),
            groups: Some(user.groups.clone()),
            extra: (!user.extra.is_empty()).then(|| user.extra.clone()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let review = in_time(self.accesses.create(review)).await?;
        let allowed = review.status.as_ref().is_some_and(|status| status.allowed);
        if user.bytes() <= MAX_KEY_BYTES {
            let ttl = if allowed { AUTHORIZED_TTL } else { UNAUTHORIZED_TTL };
            self.answers.lock().put(key, allowed, ttl, Instant::now());
        }
        Ok(allowed)
    }
}

fn some_text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

async fn in_time<T>(review: impl Future<Output = kcore::Result<T>>) -> kcore::Result<T> {
    let late = |_| Err(Status::timeout("the review timed out", 1).into());
    tokio::time::timeout(REVIEW_TIMEOUT, review).await.unwrap_or_else(late)
}
