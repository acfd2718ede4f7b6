#![doc = include_str!("../README.md")]

pub mod admission;
mod api_server;
pub mod auth;
mod bootstrap;
mod cache;
mod client;
mod fields;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
pub mod http;
mod loopback;
mod metrics;
pub mod nodes;
mod openapi;
mod patch;
mod protobuf;
mod registry;
mod schema;
#[cfg(feature = "serve")]
pub mod serve;
mod server;
mod service_cidr;
mod strategy;
mod table;
mod versions;
mod yaml;

pub use api_server::ApiServer;
pub use client::LocalClient;
pub use loopback::{LoopbackCidr, LoopbackCidrError};
pub use server::ServerOptions;
pub use service_cidr::{ServiceCidr, ServiceCidrError};
