//! The shim as a program of its own, for who cannot re-execute itself (a test binary).
//!
//! Pass its path as [`knode::process::Options::shim_path`].

use std::process::ExitCode;

fn main() -> ExitCode {
    knode::process::shim_main();
    // Reached only when nobody asked for a shim: this program has no other purpose.
    ExitCode::from(2)
}
