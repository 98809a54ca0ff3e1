use std::net::Ipv4Addr;

use provision_model::Digest;
use serde_json::Value;

/// How one host's objects differ from another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where UIDs come from.
    pub uids: Uids,
    /// Addresses of Services.
    pub services: Addresses,
    /// Whether a deleted pod stays until the host says that nothing of it runs, and a claim until its data is gone.
    pub graceful: bool,
}

/// Where UIDs come from: equal sources give equal ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uids {
    /// Counted from 1, the same in every cluster.
    Counted,
    /// Drawn from a seed that no other cluster has.
    Seeded(String),
}

impl Uids {
    /// Returns the UID of that number.
    pub(crate) fn at(&self, number: u64) -> String {
        match self {
            Self::Counted => format!("00000000-0000-4000-8000-{number:012x}"),
            Self::Seeded(seed) => {
                let digest = Digest::of_json(&Value::from(format!("{seed}/{number}")));
                let hex = digest.short(32);
                format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
            }
        }
    }
}

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The first; it is given to nobody.
    pub first: Ipv4Addr,
    /// How many; at least two.
    pub count: u32,
}

impl Addresses {
    /// Returns a free address, beginning with the one that belongs to `serial`; `None` when all are taken.
    pub fn free(&self, serial: u64, is_taken: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
        let usable = u64::from(self.count.saturating_sub(1).max(1));
        let nth = |offset: u64| Ipv4Addr::from(u32::from(self.first).wrapping_add(1 + u32::try_from(offset % usable).unwrap_or(0)));
        (0..usable).map(|step| nth(serial.wrapping_add(step))).find(|address| !is_taken(*address))
    }
}
