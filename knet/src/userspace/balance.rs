//! Choosing an endpoint: round robin, or the client's own.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kcore::collections::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::table::{Scope, ServicePort};

/// Clients whose endpoint is remembered; the one that was away longest is forgotten first.
const MAX_CLIENTS: usize = 65_536;

/// The endpoints of one address, and whose turn it is.
#[derive(Debug)]
pub(super) struct Balancer(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    endpoints: Vec<SocketAddr>,
    affinity: Option<Duration>,
    next: usize,
    clients: HashMap<IpAddr, (SocketAddr, Instant)>,
}

impl Balancer {
    pub(super) fn new(port: &ServicePort, scope: Scope) -> Self {
        let this = Self(Mutex::default());
        this.update(port, scope);
        this
    }

    /// Takes over a new state of the Service.
    pub(super) fn update(&self, port: &ServicePort, scope: Scope) {
        let mut state = self.0.lock();
        let endpoints: Vec<SocketAddr> =
            port.usable(scope).iter().map(|endpoint| endpoint.address).collect();
        state.clients.retain(|_, (endpoint, _)| endpoints.contains(endpoint));
        if port.affinity.is_none() {
            state.clients.clear();
        }
        state.affinity = port.affinity;
        state.endpoints = endpoints;
    }

    /// Whether new traffic may still go to an endpoint.
    pub(super) fn has(&self, endpoint: SocketAddr) -> bool {
        self.0.lock().endpoints.contains(&endpoint)
    }

    /// The endpoints a client is to try, in order: each once, the first its own or the next in
    /// turn.
    pub(super) fn order(&self, client: IpAddr) -> Vec<SocketAddr> {
        let mut state = self.0.lock();
        let count = state.endpoints.len();
        if count == 0 {
            return Vec::new();
        }
        let now = Instant::now();
        let own = state.affinity.and_then(|affinity| {
            let (endpoint, seen) = state.clients.get(&client)?;
            let fresh = now.duration_since(*seen) < affinity;
            state.endpoints.iter().position(|known| known == endpoint).filter(|_| fresh)
        });
        let first = own.unwrap_or_else(|| {
            state.next = (state.next + 1) % count;
            state.next
        });
        (0..count).map(|step| state.endpoints[(first + step) % count]).collect()
    }

    /// Remembers which endpoint a client ended up with.
    pub(super) fn chosen(&self, client: IpAddr, endpoint: SocketAddr) {
        let mut state = self.0.lock();
        let Some(affinity) = state.affinity else { return };
        let now = Instant::now();
        if state.clients.len() >= MAX_CLIENTS {
            state.clients.retain(|_, (_, seen)| now.duration_since(*seen) < affinity);
            if state.clients.len() >= MAX_CLIENTS {
                let oldest = state.clients.iter().min_by_key(|(_, (_, seen))| *seen);
                if let Some(oldest) = oldest.map(|(client, _)| *client) {
                    state.clients.remove(&oldest);
                }
            }
        }
        state.clients.insert(client, (endpoint, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Endpoint, Protocol};

    fn port(endpoints: &[&str]) -> ServicePort {
        let mut port = ServicePort::new("10.0.0.1".parse().unwrap(), 80, Protocol::Tcp);
        port.endpoints = endpoints.iter().map(|at| Endpoint::new(at.parse().unwrap())).collect();
        port
    }

    fn client(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    #[test]
    fn endpoints_take_turns() {
        let balancer = Balancer::new(&port(&["10.1.0.1:1", "10.1.0.2:1"]), Scope::Internal);
        let first: Vec<SocketAddr> = (0..4).map(|_| balancer.order(client(1))[0]).collect();
        assert_eq!(first[0], first[2]);
        assert_ne!(first[0], first[1]);
        assert_eq!(balancer.order(client(1)).len(), 2, "the others follow, for a refused dial");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_keeps_its_endpoint_until_it_has_been_away() {
        let mut port = port(&["10.1.0.1:1", "10.1.0.2:1", "10.1.0.3:1"]);
        port.affinity = Some(Duration::from_secs(10));
        let balancer = Balancer::new(&port, Scope::Internal);
        let own = balancer.order(client(1))[0];
        balancer.chosen(client(1), own);
        for _ in 0..5 {
            balancer.order(client(2));
            assert_eq!(balancer.order(client(1))[0], own);
        }
        port.endpoints.retain(|endpoint| endpoint.address != own);
        balancer.update(&port, Scope::Internal);
        let other = balancer.order(client(1))[0];
        assert_ne!(other, own);
        balancer.chosen(client(1), other);
        tokio::time::sleep(Duration::from_secs(11)).await;
        let turns: Vec<SocketAddr> = (0..2).map(|_| balancer.order(client(1))[0]).collect();
        assert_ne!(turns[0], turns[1], "after its time it takes turns again");
    }
}
