//! A block of loopback addresses that no other platform of this machine uses.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;

/// Addresses of one block.
const SIZE: u32 = 4096;
/// The first block; below are addresses that systems use themselves (127.0.0.53, 127.0.1.1).
const FIRST: u32 = u32::from_be_bytes([127, 16, 0, 0]);
const BLOCKS: u32 = (u32::from_be_bytes([127, 240, 0, 0]) - FIRST) / SIZE;
/// Port that holds a block by being bound at its first address; the kernel gives it back whatever happens to us.
const HOLD: u16 = 47_319;

/// A block of 4096 addresses of 127.0.0.0/8 that is ours as long as this lives. Its first two are never given to anyone.
#[derive(Debug)]
pub struct Block {
    first: u32,
    _hold: UdpSocket,
}

impl Block {
    /// Takes a block if no other platform holds it.
    pub fn take(first: Ipv4Addr) -> Option<Self> {
        let first = u32::from(first);
        let hold = UdpSocket::bind((Ipv4Addr::from(first + 1), HOLD)).ok()?;
        Some(Self { first, _hold: hold })
    }

    /// Takes a free block, always the same one for the same folder as far as possible.
    pub fn take_free(folder: &Path) -> Option<Self> {
        let mut hasher = DefaultHasher::new();
        folder.hash(&mut hasher);
        let start = u32::try_from(hasher.finish() % u64::from(BLOCKS)).unwrap_or(0);
        let used = used_blocks();
        let free = (0..BLOCKS).map(|step| FIRST + (start + step) % BLOCKS * SIZE).filter(|first| !used.contains(first));
        free.into_iter().find_map(|first| Self::take(Ipv4Addr::from(first)))
    }

    /// Returns its first address.
    pub fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.first)
    }
}

/// Finds blocks in which something listens: programs of a platform whose supervisor does not run now.
fn used_blocks() -> BTreeSet<u32> {
    let text = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    blocks_of(&text)
}

fn blocks_of(table: &str) -> BTreeSet<u32> {
    let local = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)?.split_once(':'));
    // The kernel prints the address as a number in its own byte order.
    let address = |(address, _port): (&str, &str)| Some(u32::from_be(u32::from_str_radix(address, 16).ok()?));
    local.filter_map(address).filter(|address| *address >= FIRST).map(|address| address - (address - FIRST) % SIZE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_of_one_only_and_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let first = Block::take_free(folder.path()).unwrap();
        assert!(Block::take(first.first()).is_none());
        let second = Block::take_free(folder.path()).unwrap();
        assert_ne!(first.first(), second.first(), "the same folder, side by side");
        let address = first.first();
        drop(first);
        assert!(Block::take(address).is_some());
    }

    #[test]
    fn what_listens_in_a_block_is_seen() {
        let table = "  sl  local_address rem_address\n   0: 0510107F:1F90 00000000:0000 0A\n   1: 0100007F:0035 00000000:0000 0A\n";
        assert_eq!(blocks_of(table), BTreeSet::from([u32::from_be_bytes([127, 16, 16, 0])]));
    }
}
