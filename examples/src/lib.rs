//! What the examples share: how they start and end, the program their pods run, the tour.

pub mod hello;
pub mod http;
pub mod program;
pub mod tour;
