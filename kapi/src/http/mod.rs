//! The API over HTTP: a `tower::Service` over the same pipeline that local clients use.

mod body;
mod discovery;
mod document;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod health;
mod log;
mod manager;
mod negotiate;
mod path;
mod respond;
mod service;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

pub use service::{ApiService, PeerCertificate};

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A request's body, whatever brought it.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;
/// A response's body.
pub type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;
