//! Bearer tokens that are known beforehand.

use std::fmt;

use async_trait::async_trait;

use super::{Authenticator, BadCredentials, Credentials, Identity};

/// Letters a token has at least: fewer could be guessed.
const MIN_LETTERS: usize = 16;

/// Knows callers by fixed bearer tokens.
/// <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#static-token-file>
#[derive(Clone, Default)]
pub struct StaticTokens {
    known: Vec<(String, Identity)>,
}

/// A token that is too short to be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the token of {0:?} has fewer than {MIN_LETTERS} letters, make a longer one")]
pub struct ShortToken(String);

impl StaticTokens {
    /// Nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whoever brings `token` is `identity`.
    ///
    /// # Errors
    /// If the token is too short.
    pub fn token(
        mut self,
        token: impl Into<String>,
        identity: Identity,
    ) -> Result<Self, ShortToken> {
        let token = token.into();
        if token.len() < MIN_LETTERS {
            return Err(ShortToken(identity.name));
        }
        self.known.push((token, identity));
        Ok(self)
    }
}

impl fmt::Debug for StaticTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Tokens are secrets (X8).
        f.debug_list().entries(self.known.iter().map(|(_, identity)| &identity.name)).finish()
    }
}

/// Compares without telling by its duration where the two differ.
fn same(one: &str, other: &str) -> bool {
    let differing = one.bytes().zip(other.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && differing == 0
}

#[async_trait]
impl Authenticator for StaticTokens {
    async fn authenticate(
        &self,
        credentials: &Credentials<'_>,
    ) -> Result<Option<Identity>, BadCredentials> {
        let Some(sent) = credentials.bearer else { return Ok(None) };
        let found = self.known.iter().find(|(token, _)| same(token, sent));
        Ok(found.map(|(_, identity)| identity.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_names_its_owner_and_no_other() {
        let tokens = StaticTokens::new().token("0123456789abcdef", Identity::admin()).unwrap();
        let ask = async |bearer: Option<&str>| {
            let credentials = Credentials { bearer, certificate: None };
            tokens.authenticate(&credentials).await.unwrap().map(|identity| identity.name)
        };
        assert_eq!(ask(Some("0123456789abcdef")).await.as_deref(), Some("kubernetes-admin"));
        assert_eq!(ask(Some("0123456789abcdeX")).await, None);
        assert_eq!(ask(Some("0123456789abcdef0")).await, None);
        assert_eq!(ask(None).await, None);
        assert!(!format!("{tokens:?}").contains("0123"), "X8");
        assert!(StaticTokens::new().token("short", Identity::admin()).is_err());
    }
}
