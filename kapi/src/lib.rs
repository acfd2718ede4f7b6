//! The Kubernetes API server as a value.

mod registry;
mod schema;
mod strategy;
