//! The dynamic loader's cache, `/etc/ld.so.cache`.

use std::path::PathBuf;

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER_SIZE: usize = 48;
const ENTRY_SIZE: usize = 24;

/// Reads the cache's pairs of library name and file, in the loader's order.
///
/// Variants for special processors are left out: an image must run on every machine of its architecture. A cache that can't be
/// understood is empty, since the standard folders are searched as well.
pub(super) fn parse(bytes: &[u8]) -> Vec<(String, PathBuf)> {
    // An old-format cache may come first; offsets count from the new format's own header.
    let Some(start) = bytes.windows(MAGIC.len()).position(|window| window == MAGIC) else {
        return Vec::new();
    };
    let cache = &bytes[start..];
    let count = number(cache, MAGIC.len()).unwrap_or_default();
    (0..count)
        .map_while(|index| entry(cache, HEADER_SIZE + index * ENTRY_SIZE))
        .filter(|entry| entry.processor_features == 0)
        .map(|entry| (entry.name, PathBuf::from(entry.path)))
        .collect()
}

struct Entry {
    name: String,
    path: String,
    processor_features: u64,
}

fn entry(cache: &[u8], at: usize) -> Option<Entry> {
    let features = cache.get(at + 16..)?.first_chunk::<8>()?;
    Some(Entry {
        name: text(cache, number(cache, at + 4)?)?,
        path: text(cache, number(cache, at + 8)?)?,
        processor_features: u64::from_le_bytes(*features),
    })
}

fn number(cache: &[u8], at: usize) -> Option<usize> {
    let bytes = cache.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

fn text(cache: &[u8], at: usize) -> Option<String> {
    let rest = cache.get(at..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_machines_cache_knows_the_c_library() {
        let entries = parse(&std::fs::read("/etc/ld.so.cache").unwrap());
        assert!(entries.iter().any(|(name, path)| name == "libc.so.6" && path.is_file()), "{} entries", entries.len());
    }

    proptest! {
        #[test]
        fn damaged_caches_never_panic(count in any::<u32>(), tail in prop::collection::vec(any::<u8>(), 0..300)) {
            let bytes = [MAGIC, &count.to_le_bytes(), &tail].concat();
            prop_assert!(parse(&bytes).len() <= bytes.len());
        }
    }
}
