//! The gRPC prober: `grpc.health.v1.Health/Check` over HTTP/2.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>

use std::net::IpAddr;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;

use super::{MAX_MESSAGE_BYTES, Outcome, Verdict, tcp};

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    pub(super) service: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

const SERVING: i32 = 1;
const UNIMPLEMENTED: i32 = 12;
/// Compression flag and length in front of each message.
const PREFIX_BYTES: usize = 5;

pub(super) async fn probe(address: IpAddr, port: u16, service: &str, timeout: Duration) -> Outcome {
    let target = std::net::SocketAddr::new(address, port);
    let stream = match tcp::connect(&address.to_string(), port, timeout).await {
        Ok(stream) => stream,
        Err(message) => {
            let text = format!(
                "timeout: failed to connect service {target:?} within {timeout:?}: {message}"
            );
            return Outcome::new(Verdict::Failure, text);
        }
    };
    match tokio::time::timeout(timeout, check(stream, &target.to_string(), service)).await {
        Ok(Ok(status)) => judge(status),
        Ok(Err(message)) => Outcome::new(Verdict::Failure, message),
        Err(_) => {
            let text = format!("timeout: health rpc did not complete within {timeout:?}");
            Outcome::new(Verdict::Failure, text)
        }
    }
}

fn judge(status: i32) -> Outcome {
    let name = match status {
        SERVING => return Outcome::new(Verdict::Success, "service healthy"),
        0 => "UNKNOWN",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNRECOGNIZED",
    };
    Outcome::new(Verdict::Failure, format!("service unhealthy (responded with {name:?})"))
}

async fn check(
    stream: tokio::net::TcpStream,
    authority: &str,
    service: &str,
) -> Result<i32, String> {
    let show = |error: hyper::Error| format!("error: health rpc failed: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(show)?;
    // It ends when the sender is dropped, which the end of this function does.
    tokio::spawn(connection);
    let message = HealthCheckRequest { service: service.to_owned() };
    let request = Request::post(format!("http://{authority}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", super::USER_AGENT)
        .body(Full::new(frame(&message)))
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(show)?;
    if !response.status().is_success() {
        return Err(format!(
            "error: health rpc failed: unexpected HTTP status {}",
            response.status()
        ));
    }
    let headers = response.headers().clone();
    let body = Limited::new(response.into_body(), MAX_MESSAGE_BYTES)
        .collect()
        .await
        .map_err(|error| format!("error: health rpc failed: {error}"))?;
    let code = body.trailers().unwrap_or(&headers).get("grpc-status");
    let code = code.and_then(|code| code.to_str().ok()).and_then(|code| code.parse().ok());
    match code.unwrap_or(2) {
        0 => decode(&body.to_bytes()),
        UNIMPLEMENTED => Err("error: this server does not implement the grpc health protocol \
                              (grpc.health.v1.Health)"
            .to_owned()),
        code => Err(format!("error: health rpc failed: rpc error: code = {code}")),
    }
}

/// A message with its gRPC prefix.
pub(super) fn frame(message: &impl Message) -> Bytes {
    let body = message.encode_to_vec();
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + body.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    framed.put_slice(&body);
    framed.freeze()
}

fn decode(framed: &[u8]) -> Result<i32, String> {
    let body = match framed.split_at_checked(PREFIX_BYTES) {
        Some((prefix, body)) if prefix[0] == 0 => body,
        _ => return Err("error: health rpc failed: malformed response".to_owned()),
    };
    HealthCheckResponse::decode(body)
        .map(|response| response.status)
        .map_err(|error| format!("error: health rpc failed: {error}"))
}
