//! How the server reaches the agents of nodes: a seam of its own, since agents may live in the
//! same process, behind a tunnel, or behind HTTPS.
//! <https://kubernetes.io/docs/concepts/architecture/control-plane-node-communication/>

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use k8s_openapi::api::core::v1::Node;

use crate::http::BoxError;

/// A body of a request to a node, or of its reply.
pub type NodeBody = UnsyncBoxBody<Bytes, BoxError>;

/// The port on which an agent listens that does not publish one.
pub const DEFAULT_PORT: u16 = 10_250;

/// What kind of address a node publishes.
/// <https://kubernetes.io/docs/reference/node/node-status/#addresses>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressType {
    /// The node's host name.
    Hostname,
    /// A name that the cluster's network resolves.
    InternalDns,
    /// An address within the cluster's network.
    InternalIp,
    /// A name that the world resolves.
    ExternalDns,
    /// An address that the world reaches.
    ExternalIp,
}

impl AddressType {
    /// The order in which an API server prefers them if it is told nothing.
    pub const PREFERRED: [Self; 5] =
        [Self::Hostname, Self::InternalDns, Self::InternalIp, Self::ExternalDns, Self::ExternalIp];

    /// Its name in a Node's status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hostname => "Hostname",
            Self::InternalDns => "InternalDNS",
            Self::InternalIp => "InternalIP",
            Self::ExternalDns => "ExternalDNS",
            Self::ExternalIp => "ExternalIP",
        }
    }
}

/// Where a node's agent listens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeAddress {
    /// The Node's name.
    pub name: String,
    /// The address or host name.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether the agent's certificate goes unchecked, as whoever asks for it wanted.
    pub skip_verification: bool,
}

impl NodeAddress {
    /// An agent whose certificate is checked.
    #[must_use]
    pub fn new(name: impl Into<String>, host: impl Into<String>, port: u16) -> Self {
        Self { name: name.into(), host: host.into(), port, skip_verification: false }
    }

    /// Leaves the agent's certificate unchecked.
    #[must_use]
    pub fn skip_verification(mut self) -> Self {
        self.skip_verification = true;
        self
    }

    /// Host and port as a URL has them: an IPv6 address is put in brackets.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Why a node's agent cannot be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The agent did not answer in time.
    #[error("dial {address}: no answer within {seconds} s; check that the node agent is running")]
    Timeout {
        /// Where it should listen.
        address: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The connection was refused or broke.
    #[error("dial {address}: {source}")]
    Dial {
        /// Where it should listen.
        address: String,
        /// Why it failed.
        source: BoxError,
    },
    /// The agent's certificate is not the cluster's.
    #[error("verify {address}: {source}")]
    Verify {
        /// Where it listens.
        address: String,
        /// What is wrong with the certificate.
        source: BoxError,
    },
    /// The connection broke before the reply.
    #[error("{address} sent no reply: {source}")]
    Reply {
        /// Where it listens.
        address: String,
        /// Why it failed.
        source: BoxError,
    },
}

/// Sends requests to the agents of nodes.
///
/// **Contract**, for whoever implements one:
/// - `send` returns when the head of the reply is there; its body streams afterwards, no faster
///   than it is read.
/// - An agent that cannot be reached is an error within a bound of the connector's own.
/// - Dropping the future, or the body of the reply, ends the request at the agent.
/// - Redirects are not followed: the reply is handed over as it came.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot reach the agents of nodes",
    note = "use `kapi::serve::HttpsNodes`, which speaks HTTPS as kubelets do"
)]
pub trait NodeConnector: Debug + Send + Sync + 'static {
    /// Sends a request, whose URI holds path and query alone, to a node's agent.
    async fn send(
        &self,
        node: &NodeAddress,
        request: http::Request<NodeBody>,
    ) -> Result<http::Response<NodeBody>, ConnectError>;
}

macro_rules! forward {
    ($($wrapper:ident),*) => {$(
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<C: NodeConnector + ?Sized> NodeConnector for $wrapper<C> {
            async fn send(
                &self,
                node: &NodeAddress,
                request: http::Request<NodeBody>,
            ) -> Result<http::Response<NodeBody>, ConnectError> {
                (**self).send(node, request).await
            }
        }
    )*};
}

forward!(Arc, Box);

/// Where a node's agent listens, by what its status says: the first of the preferred types that
/// it has.
///
/// # Errors
/// The addresses it has, if none is of a preferred type.
pub fn compute_address(node: &Node, preferred: &[AddressType]) -> Result<NodeAddress, String> {
    let status = node.status.as_ref();
    let known: Vec<(&str, &str)> = status
        .and_then(|status| status.addresses.as_ref())
        .into_iter()
        .flatten()
        .map(|address| (address.type_.as_str(), address.address.as_str()))
        .collect();
    let found = preferred
        .iter()
        .find_map(|kind| known.iter().find(|(name, _)| *name == kind.name()))
        .ok_or_else(|| {
            let known: Vec<String> =
                known.iter().map(|(kind, address)| format!("{{{kind} {address}}}")).collect();
            format!("no preferred addresses found; known addresses: [{}]", known.join(" "))
        })?;
    let port = status
        .and_then(|status| status.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref())
        .and_then(|endpoint| u16::try_from(endpoint.port).ok())
        .filter(|port| *port > 0)
        .unwrap_or(DEFAULT_PORT);
    let name = node.metadata.name.clone().unwrap_or_default();
    Ok(NodeAddress::new(name, found.1, port))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(addresses: &[(&str, &str)], port: i32) -> Node {
        let addresses: Vec<_> = addresses
            .iter()
            .map(|(kind, address)| json!({"type": kind, "address": address}))
            .collect();
        serde_json::from_value(json!({"metadata": {"name": "n"}, "status": {
            "addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}}))
        .unwrap()
    }

    #[test]
    fn an_agent_is_where_the_first_preferred_address_says() {
        let check = |addresses: &[(&str, &str)], port, expected: Result<&str, &str>| {
            let found = compute_address(&node(addresses, port), &AddressType::PREFERRED);
            let found = found.map(|address| address.authority());
            assert_eq!(found.as_deref().map_err(String::as_str), expected);
        };
        check(&[("InternalIP", "10.0.0.1"), ("Hostname", "a")], 10_251, Ok("a:10251"));
        check(&[("ExternalIP", "1.2.3.4"), ("InternalIP", "10.0.0.1")], 0, Ok("10.0.0.1:10250"));
        check(&[("InternalIP", "fd00::1")], 1, Ok("[fd00::1]:1"));
        check(&[], 1, Err("no preferred addresses found; known addresses: []"));
        check(
            &[("Other", "x")],
            1,
            Err("no preferred addresses found; known addresses: [{Other x}]"),
        );
    }
}
