//! What an API server can be told when it is made.

use std::sync::Arc;

use kcore::clock::Clock;
use kcore::random::Random;

use crate::admission::AdmissionPlugin;
use crate::auth::{Authenticator, Authorizer};

/// Options of an API server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) admission: Vec<Arc<dyn AdmissionPlugin>>,
    pub(crate) authorizers: Vec<Arc<dyn Authorizer>>,
    pub(crate) authenticators: Vec<Arc<dyn Authenticator>>,
    pub(crate) rbac: bool,
    pub(crate) shared_store: bool,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            random: Random::from_entropy(),
            admission: Vec::new(),
            authorizers: Vec::new(),
            authenticators: Vec::new(),
            rbac: true,
            shared_store: false,
        }
    }
}

impl ServerOptions {
    /// Takes the time from this clock instead of the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Draws uids and name suffixes from this source.
    #[must_use]
    pub fn random(mut self, random: Random) -> Self {
        self.random = random;
        self
    }

    /// Adds an admission plugin behind those already there.
    #[must_use]
    pub fn admission(mut self, plugin: impl AdmissionPlugin) -> Self {
        self.admission.push(Arc::new(plugin));
        self
    }

    /// Asks this authorizer too, after role-based access control.
    #[must_use]
    pub fn authorizer(mut self, authorizer: impl Authorizer) -> Self {
        self.authorizers.push(Arc::new(authorizer));
        self
    }

    /// Asks this authenticator too, after client certificates.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticators.push(Arc::new(authenticator));
        self
    }

    /// Leaves role-based access control out; the authorizers added decide alone.
    #[must_use]
    pub fn without_rbac(mut self) -> Self {
        self.rbac = false;
        self
    }

    /// Other API servers write to the same store: a read that must be the most recent asks the
    /// store for its revision first.
    #[must_use]
    pub fn shared_store(mut self) -> Self {
        self.shared_store = true;
        self
    }
}
