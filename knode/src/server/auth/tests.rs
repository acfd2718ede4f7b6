//! Authentication and authorization against a scripted API server.

use std::sync::Arc;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewStatus, UserInfo};
use k8s_openapi::api::authorization::v1::{SubjectAccessReview, SubjectAccessReviewStatus};
use kcore::client::{Body, MockClient};
use kcore::object::Object;
use parking_lot::Mutex;

use super::reviews::{AUTHORIZED_TTL, TOKEN_TTL, UNAUTHORIZED_TTL};
use super::*;

type Asked = Arc<Mutex<Vec<String>>>;

/// Knows the token `good`, and lets `robot` at `nodes/metrics` and `admin` at `nodes/proxy`.
fn auth() -> (Auth, Asked) {
    let asked = Asked::default();
    let mut client = MockClient::new();
    let keep = asked.clone();
    client.expect_create().returning(move |_, body, _| {
        let Body::Typed(body) = body else { panic!("a typed client sends typed values") };
        let body = body.into_any();
        match body.downcast::<TokenReview>() {
            Ok(review) => {
                keep.lock().push(format!("token {}", review.spec.token));
                if review.spec.token == "unlucky" {
                    return Err(kcore::Error::Transport("gone".into()));
                }
                Object::from_typed(answer_token(*review))
            }
            Err(body) => {
                let review = body.downcast::<SubjectAccessReview>().unwrap();
                keep.lock().push(shown(&review));
                if review.spec.user.as_deref() == Some("unlucky") {
                    return Err(kcore::Error::Transport("gone".into()));
                }
                Object::from_typed(answer_access(*review))
            }
        }
    });
    (Auth::new(Arc::new(client), "n1", Clock::system()), asked)
}

fn shown(review: &SubjectAccessReview) -> String {
    let attributes = review.spec.resource_attributes.clone().unwrap();
    let text = |text: Option<String>| text.unwrap_or_default();
    format!(
        "{} may {} {}/{} {}",
        text(review.spec.user.clone()),
        text(attributes.verb),
        text(attributes.resource),
        text(attributes.subresource),
        text(attributes.name)
    )
}

fn answer_token(mut review: TokenReview) -> TokenReview {
    let good = review.spec.token == "good";
    let user = UserInfo {
        username: Some("robot".into()),
        groups: Some(vec!["system:authenticated".into()]),
        ..UserInfo::default()
    };
    review.status = Some(TokenReviewStatus {
        authenticated: Some(good),
        user: good.then_some(user),
        ..TokenReviewStatus::default()
    });
    review
}

fn answer_access(mut review: SubjectAccessReview) -> SubjectAccessReview {
    let asked = shown(&review);
    let allowed = asked.starts_with("robot may get nodes/metrics")
        || asked.starts_with("admin may get nodes/proxy");
    review.status = Some(SubjectAccessReviewStatus { allowed, ..Default::default() });
    review
}

fn peer(name: &str) -> Peer {
    let user = User { name: name.into(), ..User::default() };
    Peer { user, not_after: Timestamp::MAX }
}

#[tokio::test(start_paused = true)]
async fn tokens_are_reviewed_and_remembered() {
    let (auth, asked) = auth();
    for _ in 0..3 {
        let user = auth.authenticate(None, Some("good"), "/pods").await.unwrap();
        assert_eq!(user.name, "robot");
        let refused = auth.authenticate(None, Some("bad"), "/pods").await.unwrap_err();
        assert_eq!(refused, Refusal::new(401, "Unauthorized"));
    }
    assert_eq!(*asked.lock(), ["token good", "token bad"]);
    tokio::time::advance(TOKEN_TTL).await;
    auth.authenticate(None, Some("good"), "/pods").await.unwrap();
    assert_eq!(asked.lock().len(), 3);
    let long = "x".repeat(MAX_KEY_BYTES + 1);
    for _ in 0..2 {
        auth.authenticate(None, Some(&long), "/pods").await.unwrap_err();
    }
    assert_eq!(asked.lock().len(), 5, "a long token is not kept");
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_lets_nobody_in() {
    let (auth, asked) = auth();
    for _ in 0..2 {
        let refused = auth.authenticate(None, Some("unlucky"), "/pods").await.unwrap_err();
        assert_eq!(refused.status, 401);
    }
    assert_eq!(asked.lock().len(), 2, "silence is not remembered");
    let user = User { name: "unlucky".into(), ..User::default() };
    let refused = auth.authorize(&user, &compute_attributes("GET", "/metrics")).await.unwrap_err();
    let expect =
        "Authorization error (user=unlucky, verb=get, resource=nodes, subresource=metrics)";
    assert_eq!(refused, Refusal::new(500, expect));
}

#[tokio::test]
async fn certificates_come_first_while_they_are_good() {
    let (auth, _) = auth();
    let user = auth.authenticate(Some(&peer("admin")), Some("bad"), "/").await.unwrap();
    assert_eq!(user.name, "admin");
    let expired = Peer { not_after: Timestamp::MIN, ..peer("admin") };
    let refused = auth.authenticate(Some(&expired), None, "/").await.unwrap_err();
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn nobody_is_let_in_only_where_that_is_configured() {
    let allowed = async |anonymous: Anonymous, path: &str, token: Option<&str>| {
        let auth = auth().0.anonymous(anonymous);
        auth.authenticate(None, token, path).await.is_ok_and(|user| user == User::anonymous())
    };
    let some = Anonymous::Paths(vec!["/healthz".into()]);
    assert!(!allowed(Anonymous::Refused, "/healthz", None).await);
    assert!(allowed(some.clone(), "/healthz", None).await);
    assert!(!allowed(some, "/healthz/ping", None).await);
    assert!(allowed(Anonymous::Everywhere, "/pods", None).await);
    assert!(!allowed(Anonymous::Everywhere, "/pods", Some("bad")).await);
}

#[tokio::test(start_paused = true)]
async fn access_is_reviewed_narrow_first_and_remembered() {
    let (auth, asked) = auth();
    let user = |name: &str| User { name: name.into(), ..User::default() };
    let (robot, admin) = (user("robot"), user("admin"));
    let pods = compute_attributes("GET", "/pods");
    for _ in 0..2 {
        auth.authorize(&admin, &pods).await.unwrap();
    }
    assert_eq!(*asked.lock(), ["admin may get nodes/pods n1", "admin may get nodes/proxy n1"]);
    auth.authorize(&robot, &compute_attributes("GET", "/metrics")).await.unwrap();
    let refused = auth.authorize(&robot, &pods).await.unwrap_err();
    let expect = "Forbidden (user=robot, verb=get, resource=nodes, subresource(s)=[pods proxy])\n";
    assert_eq!(refused, Refusal::new(403, expect));
    // A refusal is believed for less long than a permission.
    let count = || asked.lock().len();
    let before = count();
    tokio::time::advance(UNAUTHORIZED_TTL).await;
    auth.authorize(&admin, &pods).await.unwrap();
    assert_eq!(count(), before + 1, "nodes/pods is asked again, nodes/proxy is not");
    tokio::time::advance(AUTHORIZED_TTL).await;
    auth.authorize(&admin, &pods).await.unwrap();
    assert_eq!(count(), before + 3);
}
