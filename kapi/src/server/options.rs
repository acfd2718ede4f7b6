//! What an API server can be told when it is made.

use std::ops::RangeInclusive;
use std::sync::Arc;

use kcore::clock::Clock;
use kcore::random::Random;

use crate::admission::{AdmissionPlugin, stock};
use crate::auth::{Authenticator, Authorizer, ServiceAccountTokens};
use crate::loopback::LoopbackCidr;
use crate::nodes::{AddressType, NodeConnector};
use crate::service_cidr::ServiceCidr;

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
    pub(crate) service_cidr: ServiceCidr,
    pub(crate) node_ports: RangeInclusive<u16>,
    pub(crate) nodes: Option<Arc<dyn NodeConnector>>,
    pub(crate) node_addresses: Vec<AddressType>,
    pub(crate) loopback_pod_cidr: Option<LoopbackCidr>,
    pub(crate) pod_groups: bool,
    pub(crate) tokens: Option<ServiceAccountTokens>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            random: Random::from_entropy(),
            admission: stock(),
            authorizers: Vec::new(),
            authenticators: Vec::new(),
            rbac: true,
            shared_store: false,
            service_cidr: ServiceCidr::default(),
            node_ports: 30_000..=32_767,
            nodes: None,
            node_addresses: AddressType::PREFERRED.to_vec(),
            loopback_pod_cidr: None,
            pod_groups: false,
            tokens: None,
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

    /// Leaves the stock admission plugins out; those added decide alone.
    #[must_use]
    pub fn without_stock_admission(mut self) -> Self {
        self.admission.clear();
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

    /// Gives Services their addresses out of this range. A cluster keeps the range it started with.
    #[must_use]
    pub fn service_cidr(mut self, cidr: ServiceCidr) -> Self {
        self.service_cidr = cidr;
        self
    }

    /// Gives Services their node ports out of this range.
    #[must_use]
    pub fn node_ports(mut self, ports: RangeInclusive<u16>) -> Self {
        self.node_ports = ports;
        self
    }

    /// Reaches the agents of nodes through this connector: logs need it.
    #[must_use]
    pub fn nodes(mut self, connector: impl NodeConnector) -> Self {
        self.nodes = Some(Arc::new(connector));
        self
    }

    /// Reaches a node's agent at the first of these types of address that its Node has, instead of
    /// in the order of [`AddressType::PREFERRED`].
    #[must_use]
    pub fn node_addresses(mut self, preferred: impl IntoIterator<Item = AddressType>) -> Self {
        self.node_addresses = preferred.into_iter().collect();
        self
    }

    /// Lets endpoints of Services have loopback addresses of this range, which Pods of a cluster
    /// without root have. Without it none may, as everywhere.
    #[must_use]
    pub fn loopback_pod_cidr(mut self, cidr: LoopbackCidr) -> Self {
        self.loopback_pod_cidr = Some(cidr);
        self
    }

    /// Serves PodGroups and Workloads of `scheduling.k8s.io/v1beta1`, which is off by default, as
    /// beta versions are.
    /// <https://kubernetes.io/docs/concepts/workloads/workload-api/>
    #[must_use]
    pub fn pod_groups(mut self) -> Self {
        self.pod_groups = true;
        self
    }

    /// Issues tokens of ServiceAccounts, and takes them. Without it there is no `token`
    /// subresource.
    #[must_use]
    pub fn service_account_tokens(mut self, tokens: ServiceAccountTokens) -> Self {
        self.tokens = Some(tokens);
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
