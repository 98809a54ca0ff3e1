//! Content digests as OCI writes them.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ImageError;

const PREFIX: &str = "sha256:";

/// A SHA-256 content digest in its OCI form, `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// Computes the digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(format!("{PREFIX}{}", hex::encode(Sha256::digest(content))))
    }

    /// Computes the digest of a file.
    ///
    /// # Errors
    /// [`ImageError::Read`] if it can't be read.
    pub fn of_file(path: &Path) -> Result<Self, ImageError> {
        let failed = |source| ImageError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let mut digest = Sha256::new();
        let mut part = vec![0; 1 << 20];
        loop {
            let read = file.read(&mut part).map_err(failed)?;
            if read == 0 {
                return Ok(Self(format!("{PREFIX}{}", hex::encode(digest.finalize()))));
            }
            digest.update(&part[..read]);
        }
    }

    /// Returns the whole text, `sha256:...`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the 64 hexadecimal digits, the name of a blob's file in an image layout.
    pub fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let hex = text.strip_prefix(PREFIX).unwrap_or_default();
        let valid = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if valid { Ok(Self(text.to_owned())) } else { Err(ImageError::InvalidDigest { text: text.to_owned() }) }
    }
}

impl TryFrom<String> for Digest {
    type Error = ImageError;

    fn try_from(text: String) -> Result<Self, ImageError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_content_has_the_known_digest() {
        let known = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), known);
        assert_eq!(known.parse::<Digest>().unwrap().hex(), &known[7..]);
    }

    #[test]
    fn anything_but_64_lower_case_digits_is_refused() {
        let upper = format!("sha256:{}", "A".repeat(64));
        for text in ["", "sha256:", "sha256:abc", "md5:0", "e3b0c442", upper.as_str()] {
            assert!(text.parse::<Digest>().is_err(), "{text:?} must be refused");
        }
    }
}
