//! The Kubernetes API server as a value.
