//! Finding out who a request is from.

use kcore::status::Status;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Result, Server};
use crate::auth::{Credentials, Identity, ServiceAccountTokens};

impl Server {
    /// Names the caller: by certificate, then by whatever the authenticators know, then as nobody.
    ///
    /// # Errors
    /// 401 if credentials were sent and nobody accepts them.
    pub(crate) async fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Identity> {
        let own = self.own_audiences();
        self.authenticate_for(credentials, own).await.map(|(identity, _)| identity)
    }

    /// Whom a token has to be meant for that names nobody.
    pub(super) fn own_audiences(&self) -> &[String] {
        self.options.tokens.as_ref().map_or(&[], ServiceAccountTokens::own_audiences)
    }

    /// The same, for whoever else the caller's token is to be meant for; also which of those it is
    /// meant for. What knows of no audiences is meant for this server.
    pub(super) async fn authenticate_for(
        &self,
        credentials: &Credentials<'_>,
        audiences: &[String],
    ) -> Result<(Identity, Vec<String>)> {
        if let Some(identity) = credentials.certificate.and_then(by_certificate) {
            return Ok((identity, Vec::new()));
        }
        if let (Some(tokens), Some(bearer)) = (&self.options.tokens, credentials.bearer)
            && tokens.is_own(bearer)
        {
            return self.bearer(tokens, bearer, audiences).await.map_err(|why| {
                tracing::debug!(why, "token refused");
                Status::unauthorized().into()
            });
        }
        let own = self.own_audiences();
        let meant = || audiences.iter().filter(|one| own.contains(one)).cloned().collect();
        for authenticator in &self.options.authenticators {
            match authenticator.authenticate(credentials).await {
                Ok(Some(identity)) => return Ok((identity, meant())),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "request refused");
                    return Err(Status::unauthorized().into());
                }
            }
        }
        match credentials.bearer {
            Some(_) => Err(Status::unauthorized().into()),
            None => Ok((Identity::anonymous(), Vec::new())),
        }
    }
}

/// A client certificate's common name is the user, its organizations the groups.
/// <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates>
fn by_certificate(der: &[u8]) -> Option<Identity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok());
    Some(Identity::user(name, groups))
}
