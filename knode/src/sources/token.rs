//! Tokens of a pod's ServiceAccount: asked for, kept, and renewed in good time.
//! <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#launch-a-pod-using-service-account-token-projection>

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use kcore::client::{Body, Client, Path, WriteOptions};
use kcore::name::Resource;
use serde::Deserialize;
use serde_json::json;

use super::Source;
use super::resolve::MAX_PARALLEL_READS;

/// Seconds that a token lives if its volume does not say.
pub const DEFAULT_EXPIRATION_SECONDS: i64 = 3600;
/// A token is renewed when this many of ten parts of its life are over.
const RENEWED_AT: i32 = 8;
/// A token is renewed at this age, however long it lives.
const OLDEST: SignedDuration = SignedDuration::from_hours(24);

/// What a volume wants of a token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct TokenWish {
    /// Whom it is for; empty for the API server.
    pub audience: String,
    /// How long it is to live.
    pub expiration_seconds: i64,
}

impl TokenWish {
    /// What a projection wants.
    #[must_use]
    pub fn of(projection: &ServiceAccountTokenProjection) -> Self {
        Self {
            audience: projection.audience.clone().unwrap_or_default(),
            expiration_seconds: projection.expiration_seconds.unwrap_or(DEFAULT_EXPIRATION_SECONDS),
        }
    }
}

/// A token of a pod's ServiceAccount. It has no `Debug`: it is a secret (X8).
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The token.
    pub text: String,
    /// When it was asked for.
    pub issued: Timestamp,
    /// Until when it is good.
    pub expires: Timestamp,
}

impl Token {
    /// Whether it is time for another one.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        let life = self.expires.duration_since(self.issued);
        let age = now.duration_since(self.issued);
        age >= OLDEST || age >= life * RENEWED_AT / 10
    }
}

/// What of the answer is looked at: the types differ from version to version.
#[derive(Deserialize)]
struct Answer {
    status: AnswerStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerStatus {
    token: String,
    expiration_timestamp: Timestamp,
}

/// Every token that a pod wants: those it has, as long as they are not due, or new ones.
pub(super) async fn read_tokens(
    client: &dyn Client,
    pod: &Pod,
    wishes: impl IntoIterator<Item = TokenWish>,
    seen: &BTreeMap<TokenWish, Source<Token>>,
    now: Timestamp,
) -> BTreeMap<TokenWish, Source<Token>> {
    let reads = wishes.into_iter().map(|wish| async move {
        let last = seen.get(&wish);
        let source = match last {
            Some(Source::Found(token)) if !token.is_due(now) => Source::Found(Arc::clone(token)),
            _ => renew(client, pod, &wish, last, now).await,
        };
        (wish, source)
    });
    stream::iter(reads).buffer_unordered(MAX_PARALLEL_READS).collect().await
}

/// Another token, or the last one while it is good and there is no other (N2).
async fn renew(
    client: &dyn Client,
    pod: &Pod,
    wish: &TokenWish,
    last: Option<&Source<Token>>,
    now: Timestamp,
) -> Source<Token> {
    let error = match request(client, pod, wish, now).await {
        Ok(token) => return Source::found(token),
        Err(error) => error,
    };
    // It says nothing of tokens that there are.
    tracing::warn!(audience = wish.audience, error, "a token cannot be had");
    match last {
        Some(Source::Found(token)) if now < token.expires => Source::Found(Arc::clone(token)),
        _ => Source::Unavailable(format!("failed to fetch token: {error}")),
    }
}

async fn request(
    client: &dyn Client,
    pod: &Pod,
    wish: &TokenWish,
    now: Timestamp,
) -> Result<Token, String> {
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
    let account = account.filter(|name| !name.is_empty()).unwrap_or("default");
    let meta = &pod.metadata;
    let audiences: Vec<&str> =
        Some(wish.audience.as_str()).filter(|one| !one.is_empty()).into_iter().collect();
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": audiences,
            "expirationSeconds": wish.expiration_seconds,
            "boundObjectRef": {
                "apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid},
        },
    });
    let resource = Resource::of::<ServiceAccount>();
    let path = Path::object(&resource, meta.namespace.as_deref(), account).subresource("token");
    let body = Body::Json(body.to_string().into());
    let reply = client.create(path, body, &WriteOptions::default()).await;
    let reply = reply.map_err(|error| match error.status() {
        Some(status) => status.message.clone(),
        None => error.to_string(),
    })?;
    let answer: Answer = serde_json::from_slice(&reply.to_json())
        .map_err(|_| "the answer of the API server holds no token".to_owned())?;
    let AnswerStatus { token, expiration_timestamp } = answer.status;
    Ok(Token { text: token, issued: now, expires: expiration_timestamp })
}

#[cfg(test)]
mod tests {
    use kcore::client::MockClient;
    use kcore::object::Object;
    use kcore::status::{Reason, Status};
    use parking_lot::Mutex;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_token_is_renewed_at_four_fifths_of_its_life_or_after_a_day() {
        let check = |life: i64, age: i64, expect: bool| {
            let token = Token { text: String::new(), issued: at(100), expires: at(100 + life) };
            assert_eq!(token.is_due(at(100 + age)), expect, "{age} of {life}");
        };
        check(600, 0, false);
        check(600, 479, false);
        check(600, 480, true);
        check(3600, 2879, false);
        check(3600, 2880, true);
        check(1 << 32, 24 * 3600 - 1, false);
        check(1 << 32, 24 * 3600, true);
    }

    /// Answers with tokens that count, or not at all.
    fn server(asked: &Arc<Mutex<Vec<serde_json::Value>>>, well: &Arc<Mutex<bool>>) -> MockClient {
        let (asked, well) = (Arc::clone(asked), Arc::clone(well));
        let mut client = MockClient::new();
        client.expect_create().returning(move |path, body, _| {
            assert_eq!((path.name.as_str(), path.subresource.as_str()), ("robot", "token"));
            if !*well.lock() {
                let no = Status::failure(403, Reason::Forbidden, "no relationship");
                return Err(no.into());
            }
            let Body::Json(json) = body else { panic!("it is sent as JSON") };
            let body: serde_json::Value = serde_json::from_slice(&json).unwrap();
            let mut asked = asked.lock();
            asked.push(body["spec"].clone());
            let reply = json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                "metadata": {"name": "robot"},
                "status": {"token": format!("t{}", asked.len()),
                    "expirationTimestamp": "1970-01-01T00:10:00Z"}});
            Object::from_json(reply.to_string().as_bytes(), None)
        });
        client
    }

    #[tokio::test]
    async fn a_token_is_kept_until_it_is_due_and_while_there_is_no_other_n2() {
        let (asked, well) = (Arc::default(), Arc::new(Mutex::new(true)));
        let client = server(&asked, &well);
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"namespace": "ns", "name": "p", "uid": "u"},
            "spec": {"serviceAccountName": "robot", "containers": []}}))
        .unwrap();
        let wish = TokenWish { audience: "vault".to_owned(), expiration_seconds: 600 };
        let read = async |seen: &BTreeMap<_, _>, now: i64| {
            read_tokens(&client, &pod, [wish.clone()], seen, at(now)).await
        };
        let text = |tokens: &BTreeMap<TokenWish, Source<Token>>| match &tokens[&wish] {
            Source::Found(token) => token.text.clone(),
            Source::Unavailable(why) => why.clone(),
            Source::Missing => String::new(),
        };
        let first = read(&BTreeMap::new(), 0).await;
        assert_eq!(text(&first), "t1");
        assert_eq!(
            asked.lock()[0],
            json!({"audiences": ["vault"], "expirationSeconds": 600, "boundObjectRef": {
                "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}})
        );
        assert_eq!(text(&read(&first, 479).await), "t1");
        assert_eq!(text(&read(&first, 480).await), "t2");
        *well.lock() = false;
        assert_eq!(text(&read(&first, 599).await), "t1");
        assert_eq!(text(&read(&first, 600).await), "failed to fetch token: no relationship");
        assert!(!format!("{first:?}").contains("t1"), "X8");
    }
}
