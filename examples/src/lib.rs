//! What the examples share: how they start and end, the program their pods run, the tour,
//! and the backends that are written from scratch.

pub mod function_runtime;
pub mod hello;
pub mod http;
pub mod log_store;
pub mod program;
pub mod tour;
