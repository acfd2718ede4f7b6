//! The TCP prober.

use std::time::Duration;

use tokio::net::TcpStream;

use super::{Outcome, Verdict};

pub(super) async fn probe(host: &str, port: u16, timeout: Duration) -> Outcome {
    match connect(host, port, timeout).await {
        Ok(_) => Outcome::new(Verdict::Success, ""),
        Err(message) => Outcome::new(Verdict::Failure, message),
    }
}

/// Connects, or says why not in the words that operators know.
pub(super) async fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    let shown =
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            let why = match error.kind() {
                std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                std::io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
                _ => error.to_string(),
            };
            Err(format!("dial tcp {shown}: connect: {why}"))
        }
        Err(_) => Err(format!("dial tcp {shown}: i/o timeout")),
    }
}
