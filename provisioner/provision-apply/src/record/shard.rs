//! Inventories as compressed, content-addressed pieces.

use std::collections::BTreeMap;

use provision_model::{Digest, ResourceId};

use super::{Inventory, Shard, StoredObject};

/// Objects in a shard, on average at most.
const SHARD_OBJECTS: usize = 128;
/// Bytes of a piece at most: half of what a ConfigMap may hold.
const BLOB_BYTES: usize = 512 * 1024;
const LEVEL: i32 = 3;
/// A shard is not read beyond this size, whatever its pieces claim.
const SHARD_LIMIT: usize = 1 << 30;

/// One piece, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) bytes: Vec<u8>,
}

/// Splits an inventory into shards, so that a change of one object changes one shard.
///
/// # Errors
/// What the compression says.
pub(crate) fn encode(inventory: &Inventory) -> Result<(Vec<Shard>, Vec<Blob>), std::io::Error> {
    let count = inventory.len().div_ceil(SHARD_OBJECTS).max(1).next_power_of_two();
    let mut buckets: Vec<BTreeMap<&ResourceId, &StoredObject>> = vec![BTreeMap::new(); count];
    for (id, object) in inventory {
        if let Some(bucket) = buckets.get_mut(bucket_of(id, count)) {
            bucket.insert(id, object);
        }
    }
    let mut shards = Vec::with_capacity(count);
    let mut blobs = Vec::new();
    for bucket in buckets.iter().filter(|bucket| !bucket.is_empty()) {
        let text = serde_json::to_vec(bucket).map_err(std::io::Error::other)?;
        let pieces: Vec<Blob> = zstd::bulk::compress(&text, LEVEL)?
            .chunks(BLOB_BYTES)
            .map(|bytes| Blob { digest: Digest::of_bytes(bytes), bytes: bytes.to_vec() })
            .collect();
        shards.push(Shard { digest: Digest::of_bytes(&text), blobs: pieces.iter().map(|piece| piece.digest.clone()).collect() });
        blobs.extend(pieces);
    }
    Ok((shards, blobs))
}

/// Reads a shard back from its joined pieces.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn decode(shard: &Shard, compressed: &[u8]) -> Result<Inventory, String> {
    let text = decompress(compressed).map_err(|error| format!("it can't be unpacked: {error}"))?;
    if Digest::of_bytes(&text) != shard.digest {
        return Err("its content does not have the recorded digest".to_owned());
    }
    serde_json::from_slice(&text).map_err(|error| format!("it can't be read: {error}"))
}

fn decompress(compressed: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut text = Vec::new();
    zstd::stream::read::Decoder::new(compressed)?.take(SHARD_LIMIT as u64).read_to_end(&mut text)?;
    Ok(text)
}

fn bucket_of(id: &ResourceId, count: usize) -> usize {
    let hash = u32::from_str_radix(Digest::of_bytes(id.key().as_bytes()).short(8), 16).unwrap_or_default();
    hash as usize % count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Wanted;
    use provision_model::{Manifest, ObjectOptions, Origin};
    use serde_json::json;

    fn inventory(count: usize, content: impl Fn(usize) -> String) -> Inventory {
        (0..count)
            .map(|number| {
                let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c{number}"), "namespace": "n"},
                    "data": {"a": content(number)}});
                let manifest = Manifest::try_from(value).unwrap();
                let wanted = Wanted {
                    manifest: manifest.clone(),
                    origin: Origin::new("t.yaml", 1, 1),
                    depends_on: Vec::new(),
                    options: ObjectOptions::default(),
                };
                (manifest.id(), StoredObject { wanted: Some(wanted), recorded: None })
            })
            .collect()
    }

    fn read_back(shards: &[Shard], blobs: &[Blob]) -> Inventory {
        let mut all = Inventory::new();
        for shard in shards {
            let bytes: Vec<u8> = shard
                .blobs
                .iter()
                .flat_map(|digest| blobs.iter().find(|blob| blob.digest == *digest).map(|blob| blob.bytes.clone()).unwrap_or_default())
                .collect();
            all.append(&mut decode(shard, &bytes).unwrap());
        }
        all
    }

    #[test]
    fn an_inventory_survives_the_round_trip_and_one_change_costs_one_shard() {
        let before = inventory(1_000, |number| format!("value {number}"));
        let (shards, blobs) = encode(&before).unwrap();
        assert_eq!(shards.len(), 8);
        assert_eq!(read_back(&shards, &blobs), before);
        let (changed, _) = encode(&inventory(1_000, |number| if number == 7 { "new".into() } else { format!("value {number}") })).unwrap();
        assert_eq!(changed.iter().filter(|shard| !shards.contains(shard)).count(), 1);
    }

    #[test]
    fn what_no_config_map_holds_is_split() {
        let mut seed = 1_u64;
        let noise: String = (0..3_000_000)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(b' ' + u8::try_from(seed >> 57).unwrap_or_default() % 90)
            })
            .collect();
        let big = inventory(1, |_| noise.clone());
        let (shards, blobs) = encode(&big).unwrap();
        assert!(blobs.len() > 2 && blobs.iter().all(|blob| blob.bytes.len() <= BLOB_BYTES), "{}", blobs.len());
        assert_eq!(read_back(&shards, &blobs), big);
    }

    #[test]
    fn a_damaged_shard_is_found() {
        let (shards, blobs) = encode(&inventory(1, |_| "x".into())).unwrap();
        let other = encode(&inventory(1, |_| "y".into())).unwrap().1;
        assert!(decode(&shards[0], &other[0].bytes).unwrap_err().contains("digest"));
        assert!(decode(&shards[0], &blobs[0].bytes[1..]).is_err());
    }
}
