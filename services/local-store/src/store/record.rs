//! What is known of an object, written after its body: one file holds both, so that no crash can part them.
//!
//! The file ends with the record as JSON, its length in bytes (64 bits, little endian), and eight letters that name this form.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{StoreError, disk};

const FORM: &[u8; 8] = b"object01";
/// Length of what follows the record.
const END: u64 = 16;
/// More than any record: keys end at 1 KiB, headers at 64 KiB.
const LONGEST: u64 = 1024 * 1024;

/// What a client says of its object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attributes {
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) content_type: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_language: Option<String>,
    pub(crate) cache_control: Option<String>,
}

/// An object without its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Object {
    pub(crate) key: String,
    /// Length of the body, in bytes.
    pub(crate) size: u64,
    /// Entity tag: the body's MD5, in hexadecimal.
    pub(crate) tag: String,
    /// Milliseconds since 1970.
    pub(crate) modified: u64,
    pub(crate) attributes: Attributes,
}

impl Object {
    /// Returns the time of its last write.
    pub(crate) fn modified_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.modified)
    }
}

/// Returns what follows the body in the object's file.
pub(super) fn ending(object: &Object) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(object)?;
    let length = bytes.len() as u64;
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(FORM);
    Ok(bytes)
}

/// Reads the record of an object's file, and leaves the file at the start of the body.
pub(super) fn read(file: &mut File, path: &Path) -> Result<Object, StoreError> {
    let broken = |why| StoreError::Broken { path: path.to_owned(), why };
    let read = |file: &mut File, at: u64, length: u64| -> io::Result<Vec<u8>> {
        file.seek(SeekFrom::Start(at))?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let length = file.metadata().map_err(disk("read", path))?.len();
    let end_at = length.checked_sub(END).ok_or_else(|| broken("it is too short"))?;
    let end = read(file, end_at, END).map_err(disk("read", path))?;
    let (record_length, form) = end.split_at_checked(8).ok_or_else(|| broken("it is too short"))?;
    if form != FORM {
        return Err(broken("it does not end as this version ends them"));
    }
    let record_length = record_length.try_into().map(u64::from_le_bytes).map_err(|_| broken("it is too short"))?;
    let record_at = end_at.checked_sub(record_length).filter(|_| record_length <= LONGEST);
    let record_at = record_at.ok_or_else(|| broken("its record has no possible length"))?;
    let record = read(file, record_at, record_length).map_err(disk("read", path))?;
    let object: Object = serde_json::from_slice(&record).map_err(|_| broken("its record is not JSON of the form expected"))?;
    if object.size != record_at {
        return Err(broken("its body does not have the recorded length"));
    }
    file.seek(SeekFrom::Start(0)).map_err(disk("read", path))?;
    Ok(object)
}
