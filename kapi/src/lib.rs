//! The Kubernetes API server as a value.

mod cache;
mod registry;
mod schema;
mod strategy;
