//! Servers and tables for the suite, on loopback addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::table::{ChangeSet, Endpoint, Protocol, ServicePort, ServicePortName, ServiceTable};
use crate::{NetworkProgrammer, SyncReport};

/// How long a single exchange may take.
const EXCHANGE: Duration = Duration::from_secs(10);

/// A cluster address that no other case of this process uses: 127.90.x.y.
pub(super) fn cluster_ip() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that run the suite at once start at different places of the range.
    let start = std::process::id().wrapping_mul(97);
    let number = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 0xfffe + 1;
    let [_, _, high, low] = number.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 90, high, low))
}

/// A server that says who it is, then echoes.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be listened on");
        let address = listener.local_addr().expect("a bound socket has an address");
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = stream.write_all(&address.port().to_be_bytes()).await;
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        Self { address, task: task.abort_handle() }
    }
}

/// A TCP Service on an address of its own.
pub(super) fn service(servers: &[&Server]) -> ServicePort {
    let mut port = ServicePort::new(cluster_ip(), 8_080, Protocol::Tcp);
    port.endpoints = servers.iter().map(|server| Endpoint::new(server.address)).collect();
    port
}

pub(super) fn front(port: &ServicePort) -> SocketAddr {
    SocketAddr::new(port.cluster_ips[0], port.port)
}

pub(super) fn table(ports: &[&ServicePort]) -> ServiceTable {
    let mut table = ServiceTable::default();
    for (at, port) in ports.iter().enumerate() {
        let name = ServicePortName {
            namespace: "suite".to_owned(),
            name: format!("s{at}"),
            port: String::new(),
        };
        table.services.insert(name, (*port).clone());
    }
    table
}

/// Syncs from one table to the next.
pub(super) async fn sync(
    programmer: &dyn NetworkProgrammer,
    old: &ServiceTable,
    new: &ServiceTable,
) -> SyncReport {
    let changes = ChangeSet::between(old, new);
    programmer.sync(new, &changes).await.expect("the table is accepted")
}

/// Connects and returns the connection with the server it reached.
pub(super) async fn connect(address: SocketAddr) -> Option<(TcpStream, u16)> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let mut who = [0; 2];
        stream.read_exact(&mut who).await.ok()?;
        Some((stream, u16::from_be_bytes(who)))
    };
    tokio::time::timeout(EXCHANGE, exchange).await.expect("it answers or refuses in time")
}

/// Sends a word through an open connection and gets it back.
pub(super) async fn echo(stream: &mut TcpStream, word: &[u8]) -> bool {
    let exchange = async {
        stream.write_all(word).await.ok()?;
        let mut back = vec![0; word.len()];
        stream.read_exact(&mut back).await.ok()?;
        (back == word).then_some(())
    };
    tokio::time::timeout(EXCHANGE, exchange).await.is_ok_and(|outcome| outcome.is_some())
}
