//! The members of a cluster, one of which is asked at a time.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::uri::PathAndQuery;
use parking_lot::RwLock;
use tokio::time::{Instant, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic_prost::ProstCodec;

use super::super::proto::{AuthenticateRequest, AuthenticateResponse, path};
use super::EtcdOptions;
use super::failure::{EtcdError, Failure, Kind};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a silent connection is tried; etcd refuses more than one ping in 5 s.
const PING_INTERVAL: Duration = Duration::from_secs(6);

/// How long a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// The most tries of one operation.
const MAX_ATTEMPTS: u32 = 64;

/// The pause after every member failed once; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// Whether an operation may be done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Safety {
    /// It may: it reads, or doing it again changes nothing.
    Repeatable,
    /// Only if it provably was not done before.
    Once,
}

/// One member, or a balancer before some.
pub(super) struct Member {
    pub(super) url: String,
    pub(super) channel: Channel,
}

/// Every member, and which one is asked.
pub(super) struct Members {
    members: Vec<Member>,
    current: AtomicUsize,
    user: Option<(String, String)>,
    token: RwLock<Option<MetadataValue<Ascii>>>,
    timeout: Duration,
    attempt_timeout: Duration,
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<&str> = self.members.iter().map(|member| &member.url[..]).collect();
        f.debug_struct("Members").field("endpoints", &urls).finish_non_exhaustive()
    }
}

/// A channel to a client URL, which connects when it is used.
fn channel(url: &str, options: &EtcdOptions) -> Result<Channel, EtcdError> {
    let wrong = |error: tonic::transport::Error| {
        let reason = std::error::Error::source(&error).map(ToString::to_string);
        EtcdError::new(url, format!("cannot be used: {}", reason.unwrap_or(error.to_string())))
    };
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(EtcdError::new(url, "is no endpoint: write http://HOST:PORT or https://…"));
    }
    let mut endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(wrong)?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    if url.starts_with("https://") {
        let mut tls = ClientTlsConfig::new();
        if let Some(pem) = &options.ca_pem {
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        if let (Some(cert), Some(key)) = (&options.cert_pem, &options.key_pem) {
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        if let Some(name) = &options.server_name {
            tls = tls.domain_name(name);
        }
        endpoint = endpoint.tls_config(tls).map_err(wrong)?;
    }
    Ok(endpoint.connect_lazy())
}

impl Members {
    pub(super) fn new(options: &EtcdOptions) -> Result<Self, EtcdError> {
        let member =
            |url: &String| Ok(Member { url: url.clone(), channel: channel(url, options)? });
        let members: Vec<Member> =
            options.endpoints.iter().map(member).collect::<Result<_, EtcdError>>()?;
        if members.is_empty() {
            return Err(EtcdError::new("", "has no endpoints: name at least one"));
        }
        Ok(Self {
            members,
            current: AtomicUsize::new(0),
            user: options.user.clone(),
            token: RwLock::new(None),
            timeout: options.timeout,
            attempt_timeout: options.attempt_timeout,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    /// The member that is asked now, and its number.
    pub(super) fn current(&self) -> (usize, &Member) {
        let at = self.current.load(Ordering::Relaxed) % self.members.len();
        (at, &self.members[at])
    }

    /// Another one is asked from now on, unless somebody has seen to that already.
    pub(super) fn turn_from(&self, at: usize) {
        let next = (at + 1) % self.members.len();
        let _ = self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A request as every member wants it: only one that knows a leader is to begin, and it is to
    /// know who asks.
    pub(super) fn request<M>(&self, message: M) -> tonic::Request<M> {
        let mut request = tonic::Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("hasleader", MetadataValue::from_static("true"));
        if let Some(token) = &*self.token.read() {
            metadata.insert("token", token.clone());
        }
        request
    }

    /// Asks one member, once. Requests of its own state (`local`) are answered without a leader.
    pub(super) async fn ask<Req, Res>(
        &self,
        member: &Member,
        path: &'static str,
        request: tonic::Request<Req>,
        limit: usize,
    ) -> Result<Res, Failure>
    where
        Req: prost::Message + Send + Sync + 'static,
        Res: prost::Message + Default + Send + Sync + 'static,
    {
        let failed = |status| Failure::of(&member.url, status);
        let mut grpc = tonic::client::Grpc::new(member.channel.clone())
            .max_decoding_message_size(limit)
            .max_encoding_message_size(usize::MAX);
        grpc.ready().await.map_err(|error| failed(tonic::Status::from_error(Box::new(error))))?;
        let codec = ProstCodec::<Req, Res>::default();
        let answer = grpc.unary(request, PathAndQuery::from_static(path), codec).await;
        answer.map(tonic::Response::into_inner).map_err(failed)
    }

    /// Asks members, one after the other, for as long as that is safe and time is left.
    pub(super) async fn call<Req, Res>(
        &self,
        path: &'static str,
        message: Req,
        limit: usize,
        safety: Safety,
    ) -> Result<Res, Failure>
    where
        Req: prost::Message + Clone + Send + Sync + 'static,
        Res: prost::Message + Default + Send + Sync + 'static,
    {
        let deadline = Instant::now() + self.timeout;
        let mut pause = FIRST_PAUSE;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (at, member) = self.current();
            let until = deadline.min(Instant::now() + self.attempt_timeout);
            self.authenticate(member, until).await?;
            let asking = self.ask(member, path, self.request(message.clone()), limit);
            let result = timeout_at(until, asking).await;
            let failure = match result.unwrap_or_else(|_| Err(Failure::late(&member.url))) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match failure.kind {
                Kind::Refused(_) | Kind::AnswerTooLarge => return Err(failure),
                Kind::Token => self.forget_token(),
                Kind::Undone | Kind::Unknown => self.turn_from(at),
            }
            let again = failure.kind != Kind::Unknown || safety == Safety::Repeatable;
            if !again || attempt == MAX_ATTEMPTS || Instant::now() >= deadline {
                return Err(failure);
            }
            if (attempt as usize).is_multiple_of(self.members.len()) {
                tokio::time::sleep_until(deadline.min(Instant::now() + pause)).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        }
    }

    /// The token is not valid any more: the next call fetches another one.
    pub(super) fn forget_token(&self) {
        *self.token.write() = None;
    }

    /// Fetches a token if there is a user and none was fetched yet.
    pub(super) async fn authenticate(
        &self,
        member: &Member,
        until: Instant,
    ) -> Result<(), Failure> {
        let Some((name, password)) = &self.user else { return Ok(()) };
        if self.token.read().is_some() {
            return Ok(());
        }
        let message = AuthenticateRequest { name: name.clone(), password: password.clone() };
        let request = tonic::Request::new(message);
        let asking = self.ask(member, path::AUTHENTICATE, request, MAX_TOKEN_BYTES);
        let answer: Result<AuthenticateResponse, Failure> =
            timeout_at(until, asking).await.unwrap_or_else(|_| Err(Failure::late(&member.url)));
        match answer {
            Ok(answer) => {
                let token = MetadataValue::try_from(answer.token).map_err(|_| Failure {
                    kind: Kind::Unknown,
                    error: EtcdError::new(&member.url, "gave a token that cannot be sent"),
                })?;
                *self.token.write() = Some(token);
                Ok(())
            }
            // Whoever cannot be reached will not be reached by the call either, which knows what
            // to do then.
            Err(failure) if matches!(failure.kind, Kind::Refused(_)) => Err(failure),
            Err(_) => Ok(()),
        }
    }
}

/// The largest answer that carries a token.
const MAX_TOKEN_BYTES: usize = 64 << 10;
