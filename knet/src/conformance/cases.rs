//! One function per line of the Contract.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};

use super::fixture::{Server, cluster_ip, connect, echo, front, service, sync, table};
use crate::NetworkProgrammer;
use crate::table::{Endpoint, Protocol, ServicePort, ServiceTable};

/// Connections in cases that count who answers.
const ROUNDS: usize = 40;

async fn answering(address: SocketAddr) -> BTreeSet<u16> {
    let mut seen = BTreeSet::new();
    for _ in 0..ROUNDS {
        let (_, who) = connect(address).await.expect("a usable endpoint answers");
        seen.insert(who);
    }
    seen
}

fn empty() -> ServiceTable {
    ServiceTable::default()
}

pub(super) async fn routes_to_ready_endpoints(programmer: &dyn NetworkProgrammer) {
    let (ready, waiting) = (Server::start().await, Server::start().await);
    let mut port = service(&[&ready, &waiting]);
    port.endpoints[1].ready = false;
    port.endpoints[1].serving = false;
    sync(programmer, &empty(), &table(&[&port])).await;
    assert_eq!(answering(front(&port)).await, [ready.address.port()].into());
}

pub(super) async fn spreads_connections(programmer: &dyn NetworkProgrammer) {
    let servers = [Server::start().await, Server::start().await, Server::start().await];
    let port = service(&servers.each_ref());
    sync(programmer, &empty(), &table(&[&port])).await;
    assert_eq!(answering(front(&port)).await.len(), 3);
}

pub(super) async fn follows_endpoint_changes(programmer: &dyn NetworkProgrammer) {
    let (first, second) = (Server::start().await, Server::start().await);
    let before = service(&[&first]);
    sync(programmer, &empty(), &table(&[&before])).await;
    assert_eq!(answering(front(&before)).await, [first.address.port()].into());
    let mut after = before.clone();
    after.endpoints = vec![Endpoint::new(second.address)];
    sync(programmer, &table(&[&before]), &table(&[&after])).await;
    assert_eq!(answering(front(&after)).await, [second.address.port()].into());
}

pub(super) async fn refuses_without_endpoints(programmer: &dyn NetworkProgrammer) {
    let port = service(&[]);
    sync(programmer, &empty(), &table(&[&port])).await;
    assert!(connect(front(&port)).await.is_none(), "somebody answered for nobody");
}

pub(super) async fn forgets_removed_services(programmer: &dyn NetworkProgrammer) {
    let server = Server::start().await;
    let port = service(&[&server]);
    sync(programmer, &empty(), &table(&[&port])).await;
    assert!(connect(front(&port)).await.is_some());
    sync(programmer, &table(&[&port]), &empty()).await;
    assert!(connect(front(&port)).await.is_none(), "the address is still served");
    sync(programmer, &empty(), &table(&[&port])).await;
    assert!(connect(front(&port)).await.is_some(), "the address cannot be taken again");
}

pub(super) async fn keeps_open_connections(programmer: &dyn NetworkProgrammer) {
    let (first, second) = (Server::start().await, Server::start().await);
    let before = service(&[&first]);
    sync(programmer, &empty(), &table(&[&before])).await;
    let (mut open, _) = connect(front(&before)).await.expect("the endpoint answers");
    let mut after = before.clone();
    after.endpoints.push(Endpoint::new(second.address));
    sync(programmer, &table(&[&before]), &table(&[&after])).await;
    assert!(echo(&mut open, b"still there").await, "the connection broke");
}

pub(super) async fn keeps_clients_on_their_endpoint(programmer: &dyn NetworkProgrammer) {
    let servers = [Server::start().await, Server::start().await, Server::start().await];
    let mut port = service(&servers.each_ref());
    port.affinity = Some(Duration::from_secs(600));
    sync(programmer, &empty(), &table(&[&port])).await;
    assert_eq!(answering(front(&port)).await.len(), 1);
}

pub(super) async fn syncing_twice_changes_nothing(programmer: &dyn NetworkProgrammer) {
    let server = Server::start().await;
    let port = service(&[&server]);
    let first = sync(programmer, &empty(), &table(&[&port])).await;
    let open = connect(front(&port)).await;
    let second = sync(programmer, &table(&[&port]), &table(&[&port])).await;
    assert_eq!(first, second);
    if let Some((mut open, _)) = open {
        assert!(echo(&mut open, b"still there").await, "the connection broke");
        assert!(connect(front(&port)).await.is_some());
    }
}

pub(super) async fn reports_what_it_cannot_serve(programmer: &dyn NetworkProgrammer) {
    let server = Server::start().await;
    let (taken, fine) = (service(&[&server]), service(&[&server]));
    let squatter = TcpListener::bind(front(&taken)).await.expect("the address is free");
    let report = sync(programmer, &empty(), &table(&[&taken, &fine])).await;
    let addresses: Vec<SocketAddr> = report.failures.iter().map(|f| f.address).collect();
    assert_eq!(addresses, [front(&taken)]);
    assert!(connect(front(&fine)).await.is_some(), "the other Service does not work");
    drop(squatter);
    let report = sync(programmer, &table(&[&taken, &fine]), &table(&[&taken, &fine])).await;
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert!(connect(front(&taken)).await.is_some());
}

pub(super) async fn routes_udp(programmer: &dyn NetworkProgrammer) {
    let server = UdpSocket::bind("127.0.0.1:0").await.expect("loopback can be bound");
    let address = server.local_addr().expect("a bound socket has an address");
    let echoing = tokio::spawn(async move {
        let mut datagram = [0; 64];
        while let Ok((length, from)) = server.recv_from(&mut datagram).await {
            let _ = server.send_to(&datagram[..length], from).await;
        }
    });
    let mut port = ServicePort::new(cluster_ip(), 8_053, Protocol::Udp);
    port.endpoints = vec![Endpoint::new(address)];
    sync(programmer, &empty(), &table(&[&port])).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.expect("loopback can be bound");
    client.connect(front(&port)).await.expect("the address can be reached");
    let mut answer = [0; 64];
    for word in [&b"one"[..], &b"two"[..]] {
        client.send(word).await.expect("a datagram can be sent");
        let received = tokio::time::timeout(Duration::from_secs(10), client.recv(&mut answer));
        let length = received.await.expect("an answer comes").expect("it can be received");
        assert_eq!(&answer[..length], word);
    }
    echoing.abort();
}
