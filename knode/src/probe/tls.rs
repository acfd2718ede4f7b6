//! TLS that trusts anybody: a probe asks whether a container answers, not who it is.

use kcore::tls::{ClientTls, ConnectError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub(super) async fn connect(
    host: &str,
    stream: TcpStream,
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, String> {
    let connector = ClientTls::trusting_anybody().connector().map_err(|error| error.to_string())?;
    let connected = connector.connect(host, stream).await;
    connected.map_err(|error: ConnectError| error.to_string())
}
