//! Whether a token is believed: its signature, its time, whom it is for, what it is bound to (X5).

use k8s_openapi::api::core::v1::{Node, Pod, Secret, ServiceAccount};
use kcore::kind::Kind;

use super::super::{Identity, Server};
use crate::auth::ServiceAccountTokens;
use crate::auth::service_account::Reference;

/// Seconds for which a token outlives the time of deletion of what it is bound to: whoever ends
/// may still say goodbye.
const AFTER_DELETION_S: i64 = 60;

/// The bearer of a token, and for whom it is meant of those that were asked for.
type Bearer = (Identity, Vec<String>);

impl Server {
    /// Names the bearer of a token that says it is this issuer's.
    pub(in crate::server) async fn bearer(
        &self,
        tokens: &ServiceAccountTokens,
        token: &str,
        wanted: &[String],
    ) -> Result<Bearer, String> {
        let claims = self.verified.read(tokens, token)?;
        if claims.iss != tokens.issuer() {
            return Err("the token is another issuer's".to_owned());
        }
        claims.is_in_time(self.options.clock.now().as_second())?;
        let meant = claims.aud.iter().filter(|audience| wanted.contains(audience));
        let meant: Vec<String> = meant.cloned().collect();
        if meant.is_empty() {
            return Err(format!(
                "token audiences {:?} is invalid for the target audiences {wanted:?}",
                claims.aud
            ));
        }
        // An empty cache would take every object for gone.
        self.ready().await.map_err(|status| status.message.clone())?;
        let private = &claims.private;
        let namespace = private.namespace.as_str();
        self.still::<ServiceAccount>(namespace, &private.serviceaccount).await?;
        if let Some(secret) = &private.secret {
            self.still::<Secret>(namespace, secret).await?;
        }
        match (&private.pod, &private.node) {
            (Some(pod), _) => self.still::<Pod>(namespace, pod).await?,
            // Beside a Pod the node only tells where it runs.
            (None, Some(node)) => self.still::<Node>("", node).await?,
            (None, None) => {}
        }
        Ok((claims.identity(), meant))
    }

    /// Whether an object is there, is the same one, and has not been deleted for too long.
    async fn still<K: Kind>(&self, namespace: &str, wanted: &Reference) -> Result<(), String> {
        let gone = |what: &str| Err(format!("{} {:?} {what}", K::KIND, wanted.name));
        let mut found = self.of_kind::<K>(namespace, &wanted.name);
        if found.is_err() {
            // Another server may have made it a moment ago.
            self.catch_up().await.map_err(|status| status.message.clone())?;
            found = self.of_kind::<K>(namespace, &wanted.name);
        }
        let Ok(object) = found else { return gone("is gone") };
        if object.meta().uid != wanted.uid {
            return gone("is another one than the token is bound to");
        }
        let latest = self.options.clock.now().as_second() - AFTER_DELETION_S;
        match object.meta().deletion {
            Some(deleted) if deleted.as_second() < latest => gone("has been deleted"),
            _ => Ok(()),
        }
    }
}
