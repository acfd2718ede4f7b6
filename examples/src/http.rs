//! A request over a connection of its own, as load tests and tours need it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends a request without a body and returns the status code and the body.
///
/// # Errors
/// If there is no whole answer within five seconds.
pub async fn send(method: &str, address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let answer = async {
        let mut stream = TcpStream::connect(address).await?;
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = tokio::time::timeout(TIMEOUT, answer).await.context("no answer in time")??;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("the answer broke off") };
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((code.context("the answer has no status code")?, body.to_owned()))
}

/// Gets `path`, and is content with 200 alone.
///
/// # Errors
/// If there is no such answer.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    match send("GET", address, path).await? {
        (200, body) => Ok(body),
        (code, body) => bail!("{code}: {body}"),
    }
}
