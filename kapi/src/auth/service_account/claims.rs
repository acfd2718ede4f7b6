//! What a token says.
//! <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#schema-for-service-account-private-claims>

use serde::{Deserialize, Serialize};

use crate::auth::Identity;

/// Seconds by which clocks may differ.
const LEEWAY_S: i64 = 60;
/// The prefix of what is known of a token's bearer beside the name.
const EXTRA: &str = "authentication.kubernetes.io";

/// The claims of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) aud: Vec<String>,
    /// Seconds since 1970, as all times here.
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) iss: String,
    pub(crate) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(crate) private: Private,
    pub(crate) nbf: i64,
    pub(crate) sub: String,
}

/// What only Kubernetes says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Private {
    pub(crate) namespace: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) node: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) pod: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) secret: Option<Reference>,
    pub(crate) serviceaccount: Reference,
}

/// An object and no other of its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) uid: String,
}

impl Claims {
    /// Whether the token may be used at a time, in seconds since 1970.
    pub(crate) fn is_in_time(&self, now: i64) -> Result<(), &'static str> {
        if now.saturating_sub(LEEWAY_S) > self.exp {
            return Err("service account token has expired");
        }
        if now.saturating_add(LEEWAY_S) < self.nbf {
            return Err("service account token is not valid yet");
        }
        Ok(())
    }

    /// The bearer.
    pub(crate) fn identity(&self) -> Identity {
        let account = &self.private.serviceaccount;
        let mut identity =
            Identity::service_account(&self.private.namespace, &account.name, &account.uid);
        let mut add = |key: &str, value: &str| {
            if !value.is_empty() {
                identity.extra.insert(format!("{EXTRA}/{key}"), vec![value.to_owned()]);
            }
        };
        if !self.jti.is_empty() {
            add("credential-id", &format!("JTI={}", self.jti));
        }
        for (kind, object) in [("node", &self.private.node), ("pod", &self.private.pod)] {
            if let Some(Reference { name, uid }) = object {
                add(&format!("{kind}-name"), name);
                add(&format!("{kind}-uid"), uid);
            }
        }
        identity
    }
}
