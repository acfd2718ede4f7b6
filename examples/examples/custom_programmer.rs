//! A `NetworkProgrammer` from scratch: it forwards TCP and picks endpoints at random.
//!
//! `cargo test -p kubrick-examples --example custom_programmer` runs the seam's whole suite against
//! it; run as a program it forwards one connection and prints where it went.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use kcore::random::Random;
use knet::table::{ChangeSet, Protocol, Scope, ServicePort, ServiceTable};
use knet::{Failure, NetworkProgrammer, Result, SyncReport};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What one address leads to, shared with the task that serves it.
type Target = Arc<Mutex<(ServicePort, Scope)>>;

/// Forwards TCP connections to a random usable endpoint; with affinity, to the client's own.
#[derive(Debug)]
struct RandomForwarder {
    random: Random,
    forwards: Mutex<BTreeMap<SocketAddr, (Target, AbortHandle)>>,
}

impl RandomForwarder {
    fn new(random: Random) -> Self {
        Self { random, forwards: Mutex::default() }
    }

    async fn open(&self, address: SocketAddr, target: Target) -> std::io::Result<AbortHandle> {
        let listener = TcpListener::bind(address).await?;
        let random = self.random.fork();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, peer)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let endpoint = choose(&target, peer, &random);
                connections.spawn(forward(client, endpoint));
            }
        });
        Ok(task.abort_handle())
    }
}

fn choose(target: &Target, peer: SocketAddr, random: &Random) -> Option<SocketAddr> {
    let target = target.lock();
    let (port, scope) = &*target;
    let usable = port.usable(*scope);
    let number = match (port.affinity, peer) {
        // The same client address always comes out at the same endpoint.
        (Some(_), SocketAddr::V4(peer)) => u64::from(peer.ip().to_bits()),
        _ => random.next_u64(),
    };
    let at = number.checked_rem(usable.len() as u64)?;
    usable.get(usize::try_from(at).ok()?).map(|endpoint| endpoint.address)
}

async fn forward(mut client: TcpStream, endpoint: Option<SocketAddr>) {
    let dialed = match endpoint {
        Some(endpoint) => TcpStream::connect(endpoint).await.ok(),
        None => None,
    };
    match dialed {
        Some(mut server) => {
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        }
        None => {
            let _ = client.set_zero_linger();
        }
    }
}

#[async_trait::async_trait]
impl NetworkProgrammer for RandomForwarder {
    async fn sync(&self, desired: &ServiceTable, _changed: &ChangeSet) -> Result<SyncReport> {
        let wanted: BTreeMap<_, _> = desired
            .addresses()
            .filter(|(frontend, ..)| frontend.protocol == Protocol::Tcp)
            .map(|(frontend, scope, name, port)| (frontend.address, (scope, name, port)))
            .collect();
        self.forwards.lock().retain(|address, (_, task)| {
            let stays = wanted.contains_key(address);
            if !stays {
                task.abort();
            }
            stays
        });
        let mut failures = Vec::new();
        for (address, (scope, name, port)) in wanted {
            if let Some((target, _)) = self.forwards.lock().get(&address) {
                *target.lock() = (port.clone(), scope);
                continue;
            }
            let target = Arc::new(Mutex::new((port.clone(), scope)));
            match self.open(address, Arc::clone(&target)).await {
                Ok(task) => drop(self.forwards.lock().insert(address, (target, task))),
                Err(error) => failures.push(Failure {
                    service: name.clone(),
                    address,
                    protocol: Protocol::Tcp,
                    why: error.to_string(),
                }),
            }
        }
        Ok(SyncReport::new(self.forwards.lock().len(), failures))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let server = TcpListener::bind("127.0.0.1:0").await?;
    let mut port = ServicePort::new("127.91.0.1".parse()?, 8_080, Protocol::Tcp);
    port.endpoints = vec![knet::table::Endpoint::new(server.local_addr()?)];
    let mut table = ServiceTable::default();
    let name = knet::table::ServicePortName {
        namespace: "default".into(),
        name: "web".into(),
        port: String::new(),
    };
    table.services.insert(name, port);
    let programmer = RandomForwarder::new(Random::from_entropy());
    programmer.sync(&table, &ChangeSet::between(&ServiceTable::default(), &table)).await?;
    print!("{table}");
    let (_client, accepted) =
        tokio::try_join!(TcpStream::connect("127.91.0.1:8080"), server.accept())?;
    println!("accepted from {}", accepted.1);
    println!("custom_programmer: ok");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    knet::conformance::suite!(
        random_forwarder,
        knet::conformance::Capabilities::default().data_path(),
        || async { RandomForwarder::new(Random::seeded(1)) }
    );
}
