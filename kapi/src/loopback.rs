//! The range of loopback addresses that Pods of a cluster without root have.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// A range within `127.0.0.0/8`, out of which a cluster that runs without root gives its Pods
/// addresses of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopbackCidr {
    network: Ipv4Addr,
    prefix: u8,
}

/// Why a text is no range of loopback addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no range of loopback addresses: name one within 127.0.0.0/8, as 127.64.0.0/10")]
pub struct LoopbackCidrError(String);

impl LoopbackCidr {
    /// Whether an address is in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else { return false };
        mask(address, self.prefix) == self.network
    }
}

/// The network of an address. The prefix is between 8 and 32.
fn mask(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << (32 - u32::from(prefix))))
}

impl fmt::Display for LoopbackCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for LoopbackCidr {
    type Err = LoopbackCidrError;

    fn from_str(text: &str) -> Result<Self, LoopbackCidrError> {
        let parse = || {
            let (network, prefix) = text.split_once('/')?;
            let (network, prefix): (Ipv4Addr, u8) = (network.parse().ok()?, prefix.parse().ok()?);
            let exact = (8..=32).contains(&prefix) && mask(network, prefix) == network;
            (exact && network.is_loopback()).then_some(Self { network, prefix })
        };
        parse().ok_or_else(|| LoopbackCidrError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_those_outside_loopback_refused() {
        let range: LoopbackCidr = "127.64.0.0/10".parse().unwrap();
        assert_eq!(range.to_string(), "127.64.0.0/10");
        for (address, inside) in
            [("127.64.0.1", true), ("127.127.255.255", true), ("127.0.0.1", false), ("::1", false)]
        {
            assert_eq!(range.contains(address.parse().unwrap()), inside, "{address}");
        }
        for bad in ["10.0.0.0/8", "127.0.0.1/8", "127.0.0.0/7", "127.0.0.0", "::1/128", "x/8"] {
            assert!(bad.parse::<LoopbackCidr>().is_err(), "{bad}");
        }
        let all: LoopbackCidr = "127.0.0.0/8".parse().unwrap();
        assert!(all.contains("127.0.0.1".parse().unwrap()));
        let one: LoopbackCidr = "127.0.0.9/32".parse().unwrap();
        assert!(one.contains("127.0.0.9".parse().unwrap()));
        assert!(!one.contains("127.0.0.8".parse().unwrap()));
    }
}
