//! x
/// x
pub fn shim_main() {}
