//! The range that Services get their addresses from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use kcore::random::Random;

/// Addresses of an IPv6 range that are handed out; more nobody needs.
const MAX_HOST_BITS: u32 = 20;

/// A range of addresses for Services.
/// <https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation/>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceCidr {
    network: IpAddr,
    prefix: u8,
}

/// Why a text is no usable range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no range for Services: {1}")]
pub struct ServiceCidrError(String, &'static str);

impl Default for ServiceCidr {
    /// `10.96.0.0/12`.
    fn default() -> Self {
        Self { network: IpAddr::V4(Ipv4Addr::new(10, 96, 0, 0)), prefix: 12 }
    }
}

impl ServiceCidr {
    /// How many addresses are handed out: not the network's own, not the broadcast address.
    #[must_use]
    pub fn size(&self) -> u32 {
        let bits = match self.network {
            IpAddr::V4(_) => 32 - u32::from(self.prefix),
            IpAddr::V6(_) => (128 - u32::from(self.prefix)).min(MAX_HOST_BITS),
        };
        1_u32.checked_shl(bits).map_or(u32::MAX, |all| all.saturating_sub(2))
    }

    /// The first address: the API server's own Service has it.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.address(0)
    }

    /// The address number `index`, counted from zero.
    fn address(&self, index: u32) -> IpAddr {
        match self.network {
            IpAddr::V4(network) => {
                IpAddr::V4(Ipv4Addr::from_bits(network.to_bits().wrapping_add(index + 1)))
            }
            IpAddr::V6(network) => IpAddr::V6(Ipv6Addr::from_bits(
                network.to_bits().wrapping_add(u128::from(index) + 1),
            )),
        }
    }

    /// Whether an address is one that can be handed out.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let offset = match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                u128::from(address.to_bits()).checked_sub(u128::from(network.to_bits()))
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                address.to_bits().checked_sub(network.to_bits())
            }
            _ => None,
        };
        offset.is_some_and(|offset| (1..=u128::from(self.size())).contains(&offset))
    }

    /// An address for which `taken` is false: first at random in the upper part of the range,
    /// which is kept for that, then wherever one is left.
    pub(crate) fn pick(&self, random: &Random, taken: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
        /// Random tries before the range is walked.
        const TRIES: usize = 32;
        let size = self.size();
        // Upstream keeps the lower part, 16 to 256 addresses, for those who choose their own.
        let lower = (size / 16).clamp(16, 256).min(size);
        let upper = u64::from(size - lower);
        let at_random = (0..TRIES).filter(|_| upper > 0).map(|_| {
            // Below `size`, so it fits.
            self.address(lower + random.below(upper) as u32)
        });
        at_random
            .chain((lower..size).chain(0..lower).map(|index| self.address(index)))
            .find(|address| !taken(address))
    }
}

impl fmt::Display for ServiceCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for ServiceCidr {
    type Err = ServiceCidrError;

    fn from_str(text: &str) -> Result<Self, ServiceCidrError> {
        let bad = |why| ServiceCidrError(text.to_owned(), why);
        let (network, prefix) =
            text.split_once('/').ok_or(bad("write it as ADDRESS/BITS, such as 10.96.0.0/12"))?;
        let network: IpAddr = network.parse().map_err(|_| bad("the address is none"))?;
        let prefix: u8 = prefix.parse().map_err(|_| bad("the number of bits is none"))?;
        let (bits, aligned) = match network {
            IpAddr::V4(v4) => {
                let host = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
                (32, v4.to_bits() & host == 0)
            }
            IpAddr::V6(v6) => {
                let host = u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
                (128, v6.to_bits() & host == 0)
            }
        };
        match () {
            () if prefix > bits - 4 => Err(bad("it must hold at least 16 addresses")),
            () if prefix == 0 => Err(bad("it must not hold every address")),
            () if !aligned => Err(bad("the address has bits set behind the prefix")),
            () => Ok(Self { network, prefix }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_from_the_range_and_never_twice() {
        let cidr: ServiceCidr = "10.0.0.0/27".parse().unwrap();
        let random = Random::seeded(1);
        let mut taken = std::collections::BTreeSet::new();
        while let Some(address) = cidr.pick(&random, |address| taken.contains(address)) {
            assert!(cidr.contains(address));
            assert!(taken.insert(address));
        }
        assert_eq!(taken.len(), 30);
        assert!(!cidr.contains("10.0.0.0".parse().unwrap()));
        assert!(!cidr.contains("10.0.0.31".parse().unwrap()));
    }

    #[test]
    fn ranges_that_make_no_sense_are_refused() {
        for text in ["10.0.0.0", "10.0.0.1/24", "x/8", "10.0.0.0/31", "0.0.0.0/0", "10.0.0.0/99"] {
            assert!(text.parse::<ServiceCidr>().is_err(), "{text}");
        }
        assert_eq!("fd00::/108".parse::<ServiceCidr>().unwrap().first().to_string(), "fd00::1");
    }
}
