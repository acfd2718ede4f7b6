//! Pod addresses out of a loopback range.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::{Error, Result};

/// A range of addresses in CIDR notation, as `127.64.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    base: u32,
    prefix: u8,
}

impl Cidr {
    /// How many addresses it has for pods: all but the first and the last.
    #[must_use]
    pub fn capacity(self) -> u32 {
        self.size().saturating_sub(2)
    }

    /// Whether it holds `address`.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits().wrapping_sub(self.base) < self.size()
    }

    fn size(self) -> u32 {
        1u32.checked_shl(32 - u32::from(self.prefix)).unwrap_or(u32::MAX)
    }
}

impl FromStr for Cidr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |reason: &str| Error::InvalidConfig {
            field: "pod_cidr".to_owned(),
            reason: format!("{text:?} {reason}"),
        };
        let (base, prefix) = text
            .split_once('/')
            .and_then(|(base, prefix)| {
                Some((base.parse::<Ipv4Addr>().ok()?, prefix.parse::<u8>().ok()?))
            })
            .ok_or_else(|| invalid("is no IPv4 range, as 127.64.0.0/16"))?;
        if !(8..=30).contains(&prefix) {
            return Err(invalid("must have a prefix of 8 to 30 bits"));
        }
        let base = base.to_bits() & (u32::MAX << (32 - u32::from(prefix)));
        if !Ipv4Addr::from_bits(base).is_loopback() {
            return Err(invalid("is not within 127.0.0.0/8, the only one usable without root"));
        }
        Ok(Self { base, prefix })
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.base), self.prefix)
    }
}

/// Which addresses of a range are in use.
///
/// The next one is always behind the last one given, so that a late packet for a pod that is gone
/// does not soon reach another.
#[derive(Debug)]
pub(super) struct AddressPool {
    cidr: Cidr,
    used: BTreeSet<u32>,
    last: u32,
}

impl AddressPool {
    pub(super) fn new(cidr: Cidr) -> Self {
        Self { cidr, used: BTreeSet::new(), last: 0 }
    }

    /// Notes an address that a sandbox already has.
    pub(super) fn adopt(&mut self, address: Ipv4Addr) {
        if self.cidr.contains(address) {
            let offset = address.to_bits() - self.cidr.base;
            self.used.insert(offset);
            self.last = self.last.max(offset);
        }
    }

    pub(super) fn allocate(&mut self) -> Result<Ipv4Addr> {
        let capacity = self.cidr.capacity();
        if self.used.len() >= capacity as usize {
            return Err(Error::Exhausted { what: "pod addresses", limit: u64::from(capacity) });
        }
        loop {
            self.last = self.last % capacity + 1;
            if self.used.insert(self.last) {
                return Ok(Ipv4Addr::from_bits(self.cidr.base + self.last));
            }
        }
    }

    pub(super) fn release(&mut self, address: Ipv4Addr) {
        self.used.remove(&address.to_bits().wrapping_sub(self.cidr.base));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_run_out_and_come_back() {
        let mut pool = AddressPool::new("127.64.0.0/30".parse().unwrap());
        let first = pool.allocate().unwrap();
        assert_eq!(first, Ipv4Addr::new(127, 64, 0, 1));
        assert_eq!(pool.allocate().unwrap(), Ipv4Addr::new(127, 64, 0, 2));
        assert!(matches!(pool.allocate(), Err(Error::Exhausted { limit: 2, .. })));
        pool.release(first);
        assert_eq!(pool.allocate().unwrap(), first);
    }

    #[test]
    fn a_freed_address_waits_for_its_turn() {
        let mut pool = AddressPool::new("127.64.0.0/16".parse().unwrap());
        pool.adopt(Ipv4Addr::new(127, 64, 0, 9));
        let next = pool.allocate().unwrap();
        pool.release(next);
        assert_eq!(pool.allocate().unwrap(), Ipv4Addr::new(127, 64, 0, 11));
    }

    #[test]
    fn a_range_must_be_loopback() {
        for text in ["10.0.0.0/16", "127.0.0.0", "127.0.0.0/31", "127.0.0.0/99", "x/8"] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        assert_eq!("127.64.3.4/16".parse::<Cidr>().unwrap().to_string(), "127.64.0.0/16");
    }
}
