//! What the files of the store look like: lines of a checksum and a JSON value.

use std::collections::BTreeMap;

use provision_model::{Digest, Manifest, ResourceId};
use provision_objects::{Change, Objects, record};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StoreError;

/// Newest format that this version reads and the one that it writes.
pub(super) const FORMAT: u64 = 1;

/// First line of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    format: u64,
    pub(super) log: u64,
    pub(super) revision: u64,
    pub(super) made: u64,
    pub(super) seed: String,
    /// Objects that follow.
    count: usize,
}

impl Header {
    pub(super) fn of(objects: &Objects, seed: &str, log: u64) -> Self {
        Self {
            format: FORMAT,
            log,
            revision: objects.revision(),
            made: objects.made(),
            seed: seed.to_owned(),
            count: objects.iter().count(),
        }
    }
}

/// One line of a log: what one write came to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) revision: u64,
    pub(super) made: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) put: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) gone: Vec<String>,
}

impl Entry {
    /// Sums changes up: of several of one object the last counts.
    pub(super) fn of(changes: &[Change], revision: u64, made: u64) -> Self {
        let last: BTreeMap<&ResourceId, &Change> = changes.iter().map(|change| (&change.id, change)).collect();
        let (gone, there): (Vec<&Change>, Vec<&Change>) = last.into_values().partition(|change| change.is_gone);
        Self {
            revision,
            made,
            put: there.iter().map(|change| record(&change.after)).collect(),
            gone: gone.iter().map(|change| change.id.key()).collect(),
        }
    }
}

/// What a log holds.
pub(super) struct Parsed {
    pub(super) entries: Vec<Entry>,
    /// Bytes up to the end of the last good line.
    pub(super) length: u64,
}

/// Writes one line.
pub(super) fn line(value: &impl Serialize) -> String {
    // Maps with text keys, numbers and texts can always be written.
    let text = serde_json::to_string(value).unwrap_or_default();
    format!("{} {text}\n", Digest::of_bytes(text.as_bytes()).short(16))
}

fn read<'l, T: Deserialize<'l>>(line: &'l str) -> Option<T> {
    let (sum, text) = line.split_at_checked(17)?;
    let good = sum.strip_suffix(' ') == Some(Digest::of_bytes(text.as_bytes()).short(16));
    if good { serde_json::from_str(text).ok() } else { None }
}

/// Writes a whole snapshot.
pub(super) fn write_snapshot(header: &Header, objects: &Objects) -> String {
    let mut text = line(header);
    for (_, stored) in objects.iter() {
        text.push_str(&line(&record(stored)));
    }
    text
}

/// Returns the format of a snapshot by its first line; `None` if it can't be told.
pub(super) fn format_of(first: &str) -> Option<u64> {
    read::<Value>(first)?["format"].as_u64()
}

/// Reads a snapshot. It is written as a whole: nothing of it may be missing.
pub(super) fn snapshot(bytes: &[u8], file: &str) -> Result<(Header, Vec<Value>), StoreError> {
    let damaged = |line: usize| StoreError::Damaged { file: file.to_owned(), line };
    let text = std::str::from_utf8(bytes).map_err(|_| damaged(1))?;
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let found = read::<Value>(first).and_then(|header| header["format"].as_u64()).ok_or_else(|| damaged(1))?;
    if found > FORMAT {
        return Err(StoreError::Newer { found, known: FORMAT });
    }
    let header: Header = read(first).ok_or_else(|| damaged(1))?;
    let records = lines.enumerate().map(|(place, line)| read(line).ok_or_else(|| damaged(place + 2))).collect::<Result<Vec<Value>, _>>()?;
    if records.len() != header.count {
        return Err(damaged(records.len() + 2));
    }
    Ok((header, records))
}

/// Reads a log. What a crash did to its last line ends it; a bad line before is damage.
pub(super) fn log(bytes: &[u8], file: &str) -> Result<Parsed, StoreError> {
    let mut parsed = Parsed { entries: Vec::new(), length: 0 };
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(bytes) = lines.next() {
        let text = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix('\n'));
        match text.and_then(read) {
            Some(entry) => {
                parsed.entries.push(entry);
                parsed.length += bytes.len() as u64;
            }
            None if lines.peek().is_none() => break,
            None => return Err(StoreError::Damaged { file: file.to_owned(), line: parsed.entries.len() + 1 }),
        }
    }
    Ok(parsed)
}

/// Arranges records by the key of their object.
pub(super) fn by_key(records: Vec<Value>, file: &str) -> Result<BTreeMap<String, Value>, StoreError> {
    let keyed = records.into_iter().enumerate().map(|(place, value)| {
        let manifest = Manifest::try_from(value).map_err(|_| StoreError::Damaged { file: file.to_owned(), line: place + 2 })?;
        Ok((manifest.id().key(), Value::from(manifest)))
    });
    keyed.collect()
}
