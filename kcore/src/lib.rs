//! API machinery and client-go in miniature.
//!
//! Start at [`clock::Clock`] and [`random::Random`]: whatever reads time or draws chance in this
//! workspace does so through them, which is what lets a whole cluster be simulated from one seed.

pub mod clock;
pub mod collections;
mod macros;
pub mod random;

#[doc(hidden)]
pub use tokio as __tokio;
