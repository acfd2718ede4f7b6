//! The router in user space: it listens on the Services' addresses itself.
//!
//! No root is needed where the addresses are out of the loopback range. A Service's connections
//! are proxied one by one, so a connection lives on while the Service's endpoints change, and ends
//! with this process.

mod balance;
mod tcp;
mod udp;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::AbortHandle;

use crate::table::{ChangeSet, Frontend, Protocol, Scope, ServicePort, ServiceTable};
use crate::{Failure, NetworkProgrammer, Result, SyncReport};
use balance::Balancer;

/// Proxies Services' connections from user space, over TCP and UDP.
///
/// Dropping it closes all its sockets and connections.
#[derive(Debug, Default)]
pub struct UserspaceProgrammer {
    /// Held across a sync, so that two syncs never work on one address.
    syncing: tokio::sync::Mutex<()>,
    proxies: Mutex<BTreeMap<Frontend, Proxy>>,
}

/// A socket that is served.
#[derive(Debug)]
struct Proxy {
    balancer: Arc<Balancer>,
    task: AbortHandle,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl UserspaceProgrammer {
    /// One that serves nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The addresses that are served.
    #[must_use]
    pub fn served(&self) -> Vec<Frontend> {
        self.proxies.lock().keys().copied().collect()
    }
}

/// Takes an address and starts to serve it.
async fn open(frontend: Frontend, balancer: Arc<Balancer>) -> std::io::Result<Proxy> {
    let served = Arc::clone(&balancer);
    let task = match frontend.protocol {
        Protocol::Tcp => {
            let listener = TcpListener::bind(frontend.address).await?;
            tokio::spawn(tcp::serve(listener, served))
        }
        Protocol::Udp => {
            let socket = UdpSocket::bind(frontend.address).await?;
            tokio::spawn(udp::serve(socket, served))
        }
        Protocol::Sctp => {
            return Err(std::io::Error::new(
                std::io::ErrorKind::Unsupported,
                "SCTP needs a kernel data path",
            ));
        }
    };
    Ok(Proxy { balancer, task: task.abort_handle() })
}

/// Why an address could not be taken, and what to do about it.
fn explain(address: SocketAddr, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => format!(
            "{error}: ports below 1024 need the right to bind them; use a port from 1024 on, or \
             lower net.ipv4.ip_unprivileged_port_start"
        ),
        std::io::ErrorKind::AddrInUse => {
            format!("{error}: another program listens on {address}")
        }
        std::io::ErrorKind::AddrNotAvailable => format!(
            "{error}: {} is not an address of this machine; take the Services' range out of \
             127.0.0.0/8, or use a kernel data path",
            address.ip()
        ),
        _ => error.to_string(),
    }
}

#[async_trait]
impl NetworkProgrammer for UserspaceProgrammer {
    async fn sync(&self, desired: &ServiceTable, _changed: &ChangeSet) -> Result<SyncReport> {
        let _turn = self.syncing.lock().await;
        let mut wanted: BTreeMap<Frontend, (Scope, ServicePort)> = BTreeMap::new();
        let mut failures = Vec::new();
        let mut names = BTreeMap::new();
        for (frontend, scope, name, port) in desired.addresses() {
            if names.contains_key(&frontend) {
                failures.push(Failure {
                    service: name.clone(),
                    address: frontend.address,
                    protocol: frontend.protocol,
                    why: format!("another Service has {} already", frontend.address),
                });
                continue;
            }
            names.insert(frontend, name.clone());
            wanted.insert(frontend, (scope, port.clone()));
        }
        // What is gone is closed first: its address may be another one's now.
        self.proxies.lock().retain(|frontend, _| wanted.contains_key(frontend));
        for (frontend, (scope, port)) in wanted {
            if let Some(proxy) = self.proxies.lock().get(&frontend) {
                proxy.balancer.update(&port, scope);
                continue;
            }
            let balancer = Arc::new(Balancer::new(&port, scope));
            match open(frontend, balancer).await {
                Ok(proxy) => drop(self.proxies.lock().insert(frontend, proxy)),
                Err(error) => failures.push(Failure {
                    service: names[&frontend].clone(),
                    address: frontend.address,
                    protocol: frontend.protocol,
                    why: explain(frontend.address, &error),
                }),
            }
        }
        Ok(SyncReport::new(self.proxies.lock().len(), failures))
    }
}
