//! Finding out who a request is from.

use kcore::status::Status;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Result, Server};
use crate::auth::{Credentials, Identity};

impl Server {
    /// Names the caller: by certificate, then by whatever the authenticators know, then as nobody.
    ///
    /// # Errors
    /// 401 if credentials were sent and nobody accepts them.
    pub(crate) async fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Identity> {
        if let Some(identity) = credentials.certificate.and_then(by_certificate) {
            return Ok(identity);
        }
        for authenticator in &self.options.authenticators {
            match authenticator.authenticate(credentials).await {
                Ok(Some(identity)) => return Ok(identity),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "request refused");
                    return Err(Status::unauthorized().into());
                }
            }
        }
        match credentials.bearer {
            Some(_) => Err(Status::unauthorized().into()),
            None => Ok(Identity::anonymous()),
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
