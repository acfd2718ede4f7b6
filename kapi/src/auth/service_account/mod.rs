//! Tokens of ServiceAccounts: who signs them, what they say, and for whom they are.
//! <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens>

mod claims;
mod jwt;
mod verified;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

pub(crate) use claims::{Claims, Private, Reference};
pub(crate) use verified::Verified;

/// Where the keys are that tokens are verified with, below the issuer.
pub(crate) const JWKS_PATH: &str = "/openid/v1/jwks";
/// Where what an issuer says of itself is.
pub(crate) const CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";

/// Signs tokens, and knows what was signed: a file's key, or one that never leaves its hardware.
///
/// **Contract**, for whoever implements one:
/// - What `sign` returns, `verify` takes, for the key and the algorithm that the signer names.
/// - `verify` takes nothing else: not another message, key or algorithm, and never `none`.
/// - `keys` are those whose signatures `verify` takes, as JWKs, and no private ones.
/// - Neither `Debug` nor an error shows a private key (X8).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot sign tokens",
    note = "use `kapi::serve::ServiceAccountKey`, a key in a file"
)]
pub trait TokenSigner: Debug + Send + Sync + 'static {
    /// The name of the key that signs.
    fn key_id(&self) -> &str;

    /// How it signs, as in RFC 7518: `ES256`.
    fn algorithm(&self) -> &str;

    /// The signature of a message.
    ///
    /// # Errors
    /// If the key cannot be used now.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// Whether a signature is that of a message, by a key and an algorithm.
    fn verify(&self, key_id: &str, algorithm: &str, message: &[u8], signature: &[u8]) -> bool;

    /// The public keys, as JWKs of RFC 7517.
    fn keys(&self) -> Vec<Value>;
}

/// Reads a token as if its signature were good.
#[cfg(feature = "fuzz")]
pub(crate) fn read_unverified(token: &str) {
    #[derive(Debug)]
    struct Gullible;

    impl TokenSigner for Gullible {
        fn key_id(&self) -> &'static str {
            ""
        }
        fn algorithm(&self) -> &'static str {
            ""
        }
        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SignError> {
            Ok(Vec::new())
        }
        fn verify(&self, _: &str, _: &str, _: &[u8], _: &[u8]) -> bool {
            true
        }
        fn keys(&self) -> Vec<Value> {
            Vec::new()
        }
    }

    let _ = jwt::issuer(token);
    if let Ok(claims) = jwt::decode(token, &Gullible) {
        let _ = (claims.is_in_time(0), claims.is_in_time(i64::MAX), claims.identity());
        let again = jwt::encode(&claims, &Gullible).expect("what was read can be written");
        assert_eq!(jwt::decode(&again, &Gullible).as_ref(), Ok(&claims));
    }
}

macro_rules! forward {
    ($($wrapper:ident),*) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl<S: TokenSigner + ?Sized> TokenSigner for $wrapper<S> {
            fn key_id(&self) -> &str {
                (**self).key_id()
            }
            fn algorithm(&self) -> &str {
                (**self).algorithm()
            }
            fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
                (**self).sign(message)
            }
            fn verify(&self, key: &str, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
                (**self).verify(key, algorithm, message, signature)
            }
            fn keys(&self) -> Vec<Value> {
                (**self).keys()
            }
        }
    )*};
}

forward!(Arc, Box);

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("no token can be signed: {0}")]
pub struct SignError(pub String);

/// What an API server issues tokens as, and which ones it takes.
#[derive(Debug, Clone)]
pub struct ServiceAccountTokens {
    issuer: String,
    audiences: Vec<String>,
    jwks_uri: String,
    longest: Option<Duration>,
    signer: Arc<dyn TokenSigner>,
}

impl ServiceAccountTokens {
    /// The issuer of a cluster that is told no other one.
    pub const DEFAULT_ISSUER: &'static str = "https://kubernetes.default.svc.cluster.local";

    /// Issues tokens under a URL, and takes those that are meant for it.
    #[must_use]
    pub fn new(issuer: impl Into<String>, signer: impl TokenSigner) -> Self {
        let issuer = issuer.into();
        Self {
            audiences: vec![issuer.clone()],
            jwks_uri: format!("{}{JWKS_PATH}", issuer.trim_end_matches('/')),
            issuer,
            longest: None,
            signer: Arc::new(signer),
        }
    }

    /// Whom tokens have to be meant for that this server takes, instead of the issuer; the first
    /// ones are given to tokens that name nobody.
    #[must_use]
    pub fn audiences<S: Into<String>>(mut self, audiences: impl IntoIterator<Item = S>) -> Self {
        self.audiences = audiences.into_iter().map(Into::into).collect();
        self
    }

    /// Where others find the keys, if it is not below the issuer.
    #[must_use]
    pub fn jwks_uri(mut self, uri: impl Into<String>) -> Self {
        self.jwks_uri = uri.into();
        self
    }

    /// How long a token lives at most; who asks for more gets this.
    #[must_use]
    pub fn longest(mut self, longest: Duration) -> Self {
        self.longest = Some(longest);
        self
    }

    /// Whom tokens are meant for that name nobody.
    pub(crate) fn own_audiences(&self) -> &[String] {
        &self.audiences
    }

    /// The seconds that a token lives of which so many are asked.
    pub(crate) fn lifetime(&self, asked: i64) -> i64 {
        let longest = self.longest.map(|longest| longest.as_secs());
        let longest = longest.and_then(|seconds| i64::try_from(seconds).ok());
        longest.map_or(asked, |longest| asked.min(longest))
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs claims.
    pub(crate) fn issue(&self, claims: &Claims) -> Result<String, SignError> {
        jwt::encode(claims, &*self.signer)
    }

    /// What a token says, if it is signed by a key of this issuer; its time, its audience and
    /// what it is bound to are still to be judged.
    pub(crate) fn read(&self, token: &str) -> Result<Claims, &'static str> {
        jwt::decode(token, &*self.signer)
    }

    /// Whether a token claims to be of this issuer, whoever signed it.
    pub(crate) fn is_own(&self, token: &str) -> bool {
        jwt::issuer(token).is_some_and(|issuer| issuer == self.issuer)
    }

    /// What is said of the issuer to those who verify its tokens elsewhere.
    /// <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery>
    pub(crate) fn configuration(&self) -> Value {
        json!({
            "issuer": self.issuer,
            "jwks_uri": self.jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.signer.algorithm()],
        })
    }

    /// The keys of the issuer.
    pub(crate) fn jwks(&self) -> Value {
        json!({"keys": self.signer.keys()})
    }
}
