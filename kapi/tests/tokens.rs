//! Tokens of ServiceAccounts: issued, believed, and no longer believed (X5, X3).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use kapi::auth::{Identity, ServiceAccountTokens, StaticTokens};
use kapi::serve::ServiceAccountKey;
use kapi::{ApiServer, ServerOptions};
use kcore::clock::Clock;
use kstore::MemoryStore;
use serde_json::{Value, json};
use tower::ServiceExt as _;

const ISSUER: &str = ServiceAccountTokens::DEFAULT_ISSUER;
const STATIC: &str = "0123456789abcdef";

struct World {
    api: ApiServer,
}

type Reply = (u16, Value);

async fn read(service: kapi::http::ApiService, request: Request<Full<bytes::Bytes>>) -> Reply {
    let response = service.oneshot(request).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).unwrap())
}

fn request(method: &str, path: &str, body: &Value) -> Request<Full<bytes::Bytes>> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request::builder().method(method).uri(path);
    request.header("content-type", "application/json").body(Full::new(body.into())).unwrap()
}

impl World {
    async fn new() -> Self {
        Self::with(|tokens| tokens).await
    }

    /// A cluster with the account `robot`, the node `n1`, and there the Pod `web` of the account.
    async fn with(change: impl Fn(ServiceAccountTokens) -> ServiceAccountTokens) -> Self {
        let key = ServiceAccountKey::ephemeral().unwrap();
        let fixed = StaticTokens::new().token(STATIC, Identity::user("fixed", ["g"])).unwrap();
        let options = ServerOptions::default()
            .clock(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()))
            .authenticator(fixed)
            .service_account_tokens(change(ServiceAccountTokens::new(ISSUER, key)));
        let this = Self { api: ApiServer::with(MemoryStore::new(), options) };
        this.create("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
        this.create(
            "/api/v1/namespaces/default/serviceaccounts",
            json!({"metadata": {"name": "robot"}}),
        )
        .await;
        this.pod("web", "n1").await;
        this
    }

    async fn pod(&self, name: &str, node: &str) -> String {
        let pod = json!({"metadata": {"name": name}, "spec": {
            "nodeName": node, "serviceAccountName": "robot",
            "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "t", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token"}},
                {"serviceAccountToken": {"path": "vault", "audience": "vault"}}]}}]}});
        let made = self.create("/api/v1/namespaces/default/pods", pod).await;
        made["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    async fn create(&self, path: &str, body: Value) -> Value {
        let (code, reply) = self.admin("POST", path, body).await;
        assert_eq!(code, 201, "{reply}");
        reply
    }

    async fn admin(&self, method: &str, path: &str, body: Value) -> Reply {
        read(self.api.service_as(Identity::admin()), request(method, path, &body)).await
    }

    async fn ask_as(&self, who: Identity, spec: Value) -> Reply {
        let path = "/api/v1/namespaces/default/serviceaccounts/robot/token";
        read(self.api.service_as(who), request("POST", path, &json!({"spec": spec}))).await
    }

    async fn ask(&self, spec: Value) -> Reply {
        self.ask_as(Identity::admin(), spec).await
    }

    async fn token(&self, spec: Value) -> String {
        let (code, reply) = self.ask(spec).await;
        assert_eq!(code, 201, "{reply}");
        reply["status"]["token"].as_str().unwrap().to_owned()
    }

    /// Who a bearer is for the server, or 401.
    async fn whoami(&self, token: &str) -> Reply {
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let mut request = request("POST", path, &json!({}));
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        let (code, reply) = read(self.api.service(), request).await;
        (code, reply["status"]["userInfo"].clone())
    }

    async fn is_believed(&self, token: &str) -> bool {
        let (code, who) = self.whoami(token).await;
        assert!(matches!(code, 201 | 401), "{code} {who}");
        code == 201
    }

    async fn review(&self, token: &str, audiences: &[&str]) -> Value {
        let review = json!({"spec": {"token": token, "audiences": audiences}});
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        self.create(path, review).await["status"].clone()
    }

    async fn delete(&self, path: &str) {
        let options = json!({"gracePeriodSeconds": 0});
        let (code, reply) = self.admin("DELETE", path, options).await;
        assert_eq!(code, 200, "{reply}");
    }
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn bound(kind: &str, name: &str) -> Value {
    json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name}})
}

#[tokio::test(start_paused = true)]
async fn a_token_says_whose_it_is_and_is_believed_x5() {
    let world = World::new().await;
    let (code, reply) = world.ask(bound("Pod", "web")).await;
    assert_eq!((code, &reply["kind"]), (201, &json!("TokenRequest")), "{reply}");
    assert_eq!(reply["metadata"]["name"], "robot");
    assert_eq!(reply["spec"]["expirationSeconds"], 3600);
    assert_eq!(reply["status"]["expirationTimestamp"], "2026-01-01T01:00:00Z");
    let token = reply["status"]["token"].as_str().unwrap();
    let said = claims(token);
    assert_eq!((&said["iss"], &said["aud"]), (&json!(ISSUER), &json!([ISSUER])));
    assert_eq!(said["sub"], "system:serviceaccount:default:robot");
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 3600);
    let own = &said["kubernetes.io"];
    assert_eq!((&own["pod"]["name"], &own["node"]["name"]), (&json!("web"), &json!("n1")));
    let (code, who) = world.whoami(token).await;
    assert_eq!(code, 201);
    assert_eq!(who["username"], "system:serviceaccount:default:robot");
    assert_eq!(who["uid"], own["serviceaccount"]["uid"]);
    assert!(who["groups"].as_array().unwrap().contains(&json!("system:serviceaccounts:default")));
    let extra = &who["extra"];
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], json!(["web"]));
    assert_eq!(extra["authentication.kubernetes.io/node-name"], json!(["n1"]));
    let id = format!("JTI={}", said["jti"].as_str().unwrap());
    assert_eq!(extra["authentication.kubernetes.io/credential-id"], json!([id]));
    // It may do what the account may.
    let path = "/.well-known/openid-configuration";
    let mut asked = request("GET", path, &Value::Null);
    let bearer = format!("Bearer {token}").parse().unwrap();
    asked.headers_mut().insert("authorization", bearer);
    let (code, document) = read(world.api.service(), asked).await;
    assert_eq!((code, &document["issuer"]), (200, &json!(ISSUER)));
    assert_eq!(document["jwks_uri"], format!("{ISSUER}/openid/v1/jwks"));
    let (_, keys) = world.admin("GET", "/openid/v1/jwks", Value::Null).await;
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    let (code, _) = read(world.api.service(), request("GET", path, &Value::Null)).await;
    assert_eq!(code, 403, "X1: nobody without a name");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_changed_or_signed_by_another_is_refused_x5() {
    let (world, stranger) = (World::new().await, World::new().await);
    let token = world.token(json!({})).await;
    assert!(world.is_believed(&token).await);
    assert!(!world.is_believed(&stranger.token(json!({})).await).await);
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let mut said = claims(&token);
    said["kubernetes.io"]["serviceaccount"]["name"] = json!("default");
    said["sub"] = json!("system:serviceaccount:default:default");
    let forged = URL_SAFE_NO_PAD.encode(said.to_string());
    let honest = std::mem::replace(&mut parts[1], forged);
    assert!(!world.is_believed(&parts.join(".")).await);
    parts[1] = honest;
    parts[0] = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":""}"#);
    assert!(!world.is_believed(&parts.join(".")).await);
    parts[2] = String::new();
    assert!(!world.is_believed(&parts.join(".")).await);
    for broken in ["..", "a.b.c", "", "e30.e30.", &token[..token.len() - 1], &format!("{token}x")] {
        assert!(!world.is_believed(broken).await, "{broken}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_with_its_time_x5() {
    let world = World::new().await;
    let token = world.token(json!({"expirationSeconds": 600})).await;
    tokio::time::advance(Duration::from_secs(600)).await;
    assert!(world.is_believed(&token).await, "clocks differ");
    tokio::time::advance(Duration::from_secs(62)).await;
    assert!(!world.is_believed(&token).await);
    let status = world.review(&token, &[]).await;
    assert_eq!(status["authenticated"], false, "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_with_what_it_is_bound_to_x5() {
    let world = World::new().await;
    let secret = json!({"metadata": {"name": "s"}});
    world.create("/api/v1/namespaces/default/secrets", secret).await;
    let free = world.token(json!({})).await;
    for (kind, name, path) in [
        ("Pod", "web", "/api/v1/namespaces/default/pods/web"),
        ("Secret", "s", "/api/v1/namespaces/default/secrets/s"),
        ("Node", "n1", "/api/v1/nodes/n1"),
    ] {
        let token = world.token(bound(kind, name)).await;
        assert!(world.is_believed(&token).await, "{kind}");
        world.delete(path).await;
        assert!(!world.is_believed(&token).await, "{kind}");
        assert!(world.is_believed(&free).await);
    }
    // Another Pod of the same name is another one.
    let uid = world.pod("web", "n1").await;
    let token = world.token(bound("Pod", "web")).await;
    world.delete("/api/v1/namespaces/default/pods/web").await;
    assert_ne!(world.pod("web", "n1").await, uid);
    assert!(!world.is_believed(&token).await);
    // So is another account.
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    world.delete(&format!("{accounts}/robot")).await;
    assert!(!world.is_believed(&free).await);
    world.create(accounts, json!({"metadata": {"name": "robot"}})).await;
    assert!(!world.is_believed(&free).await);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_for_its_audience_x5() {
    let world = World::new().await;
    let vault = world.token(json!({"audiences": ["vault", "door"]})).await;
    assert!(!world.is_believed(&vault).await, "it is not for this server");
    let status = world.review(&vault, &["door", "wall"]).await;
    assert_eq!(status["authenticated"], true);
    assert_eq!(status["audiences"], json!(["door"]));
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:robot");
    for audiences in [&["wall"][..], &[]] {
        let status = world.review(&vault, audiences).await;
        assert_ne!(status["authenticated"], true, "{audiences:?}");
        assert_eq!(status["error"], "invalid bearer token");
    }
    let own = world.token(json!({})).await;
    assert_eq!(world.review(&own, &[]).await["audiences"], json!([ISSUER]));
    // What knows of no audiences is for this server alone.
    assert_eq!(world.review(STATIC, &[]).await["authenticated"], true);
    assert_eq!(world.review(STATIC, &[ISSUER]).await["audiences"], json!([ISSUER]));
    assert_ne!(world.review(STATIC, &["vault"]).await["authenticated"], true);
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (code, refused) = world.admin("POST", path, json!({"spec": {}})).await;
    assert_eq!(code, 400, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_issued_says_why() {
    let world = World::new().await;
    let check = async |spec: Value, code: u16, words: &str| {
        let (found, reply) = world.ask(spec.clone()).await;
        let message = reply["message"].as_str().unwrap_or_default();
        assert!(found == code && message.contains(words), "{spec}: {found} {message}");
    };
    let seconds = |seconds: i64| json!({"expirationSeconds": seconds});
    check(seconds(599), 422, "may not specify a duration less than 10 minutes").await;
    check(seconds((1 << 32) + 1), 422, "may not specify a duration larger than 2^32").await;
    check(bound("Pod", "nope"), 404, "pods \"nope\" not found").await;
    check(bound("ConfigMap", "x"), 400, "cannot bind token to object of type /v1").await;
    let other = json!({"metadata": {"name": "other"}, "spec": {
        "containers": [{"name": "c", "image": "i"}]}});
    world.create("/api/v1/namespaces/default/pods", other).await;
    check(bound("Pod", "other"), 400, "different serviceaccount name").await;
    let mut wrong = bound("Pod", "web");
    wrong["boundObjectRef"]["uid"] = json!("17");
    check(wrong, 409, "does not match the UID in record").await;
    let path = "/api/v1/namespaces/default/serviceaccounts/nope/token";
    assert_eq!(world.admin("POST", path, json!({})).await.0, 404);
    let path = "/api/v1/namespaces/default/serviceaccounts/robot/token";
    let (code, reply) = world.admin("POST", path, json!({"metadata": {"name": "other"}})).await;
    assert_eq!(code, 422, "{reply}");
    assert_eq!(world.admin("GET", path, Value::Null).await.0, 405);
    let longest = World::with(|tokens| tokens.longest(Duration::from_secs(900))).await;
    assert_eq!(longest.ask(seconds(3600)).await.1["spec"]["expirationSeconds"], 900);
    // Without an issuer there is no such path.
    let bare = ApiServer::new(MemoryStore::new());
    let service = bare.service_as(Identity::admin());
    assert_eq!(read(service, request("POST", path, &json!({}))).await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_node_gets_tokens_for_the_pods_that_run_there_x3() {
    let world = World::new().await;
    world.create("/api/v1/nodes", json!({"metadata": {"name": "n2"}})).await;
    let elsewhere = world.pod("elsewhere", "n2").await;
    let uid = world.pod("here", "n1").await;
    let bound = |name: &str, uid: &str, audiences: &[&str]| {
        json!({"audiences": audiences, "boundObjectRef": {
            "apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}})
    };
    let check = async |spec: Value, words: Option<&str>| {
        let (code, reply) = world.ask_as(Identity::node("n1"), spec).await;
        let message = reply["message"].as_str().unwrap_or_default();
        match words {
            None => assert_eq!(code, 201, "{message}"),
            Some(words) => assert!(code == 403 && message.contains(words), "{code} {message}"),
        }
    };
    check(bound("here", &uid, &[]), None).await;
    check(bound("here", &uid, &["vault"]), None).await;
    check(bound("here", &uid, &["bank"]), Some("audience \"bank\" not found in pod")).await;
    check(json!({}), Some("node requested token not bound to a pod")).await;
    check(bound("here", "", &[]), Some("pod binding without a uid")).await;
    check(bound("elsewhere", &elsewhere, &[]), Some("scheduled on a different node")).await;
}

#[tokio::test(start_paused = true)]
async fn tokens_are_in_no_debug_x8() {
    let world = World::new().await;
    let token = world.token(json!({})).await;
    assert!(world.is_believed(&token).await);
    let shown = format!("{:?}", Arc::new(&world.api));
    assert!(!shown.contains(token.rsplit('.').next().unwrap()), "{shown}");
}
