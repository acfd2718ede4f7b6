//! What the examples share: the program their pods run, the tour, a small HTTP client.

pub mod hello;
pub mod http;
pub mod tour;
