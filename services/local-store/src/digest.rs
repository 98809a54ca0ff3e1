//! Checks of what arrived against what the client says it sent.

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{Checksum, ChecksumAlgorithm, PutObjectInput};

/// What a client says of its body's digests: with the request's head, or after the body.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    md5: Option<String>,
    sums: Checksum,
    /// Digests that are announced and follow the body.
    announced: Option<ChecksumAlgorithm>,
}

/// The digests of a body while it arrives.
pub(crate) struct Digests {
    md5: Md5,
    sums: ChecksumHasher,
}

/// The digests of a whole body.
pub(crate) struct Found {
    md5: [u8; 16],
    sums: Checksum,
}

impl Expected {
    /// Takes the digests from a request's head.
    pub(crate) fn of(input: &mut PutObjectInput) -> Self {
        let sums = Checksum {
            checksum_crc32: input.checksum_crc32.take(),
            checksum_crc32c: input.checksum_crc32c.take(),
            checksum_crc64nvme: input.checksum_crc64nvme.take(),
            checksum_sha1: input.checksum_sha1.take(),
            checksum_sha256: input.checksum_sha256.take(),
            ..Checksum::default()
        };
        Self { md5: input.content_md5.take(), sums, announced: input.checksum_algorithm.take() }
    }

    /// Adds the digests that followed the body.
    pub(crate) fn add(&mut self, trailers: &HeaderMap) {
        let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let sums = &mut self.sums;
        for (sum, name) in [
            (&mut sums.checksum_crc32, "x-amz-checksum-crc32"),
            (&mut sums.checksum_crc32c, "x-amz-checksum-crc32c"),
            (&mut sums.checksum_crc64nvme, "x-amz-checksum-crc64nvme"),
            (&mut sums.checksum_sha1, "x-amz-checksum-sha1"),
            (&mut sums.checksum_sha256, "x-amz-checksum-sha256"),
        ] {
            *sum = sum.take().or_else(|| text(name));
        }
    }

    /// Returns digests that compute what is expected, and what is announced to be.
    pub(crate) fn digests(&self) -> Digests {
        let announced = |name: &str| self.announced.as_ref().is_some_and(|algorithm| algorithm.as_str() == name);
        let sums = &self.sums;
        Digests {
            md5: Md5::new(),
            sums: ChecksumHasher {
                crc32: wanted(sums.checksum_crc32.as_ref(), announced(ChecksumAlgorithm::CRC32)),
                crc32c: wanted(sums.checksum_crc32c.as_ref(), announced(ChecksumAlgorithm::CRC32C)),
                crc64nvme: wanted(sums.checksum_crc64nvme.as_ref(), announced(ChecksumAlgorithm::CRC64NVME)),
                sha1: wanted(sums.checksum_sha1.as_ref(), announced(ChecksumAlgorithm::SHA1)),
                sha256: wanted(sums.checksum_sha256.as_ref(), announced(ChecksumAlgorithm::SHA256)),
            },
        }
    }

    /// Returns the first digest that is not as expected; one that was expected but not computed is not.
    pub(crate) fn differs(&self, found: &Found) -> Option<&'static str> {
        let (expected, sums) = (&self.sums, &found.sums);
        let md5 = STANDARD.encode(found.md5);
        [
            ("Content-MD5", self.md5.as_ref(), Some(&md5)),
            ("CRC32", expected.checksum_crc32.as_ref(), sums.checksum_crc32.as_ref()),
            ("CRC32C", expected.checksum_crc32c.as_ref(), sums.checksum_crc32c.as_ref()),
            ("CRC64NVME", expected.checksum_crc64nvme.as_ref(), sums.checksum_crc64nvme.as_ref()),
            ("SHA1", expected.checksum_sha1.as_ref(), sums.checksum_sha1.as_ref()),
            ("SHA256", expected.checksum_sha256.as_ref(), sums.checksum_sha256.as_ref()),
        ]
        .into_iter()
        .find(|(_, expected, found)| expected.is_some() && expected != found)
        .map(|(name, ..)| name)
    }
}

fn wanted<D: Default>(expected: Option<&String>, announced: bool) -> Option<D> {
    (expected.is_some() || announced).then(D::default)
}

impl Digests {
    /// Takes the next part of the body.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sums.update(bytes);
    }

    /// Ends the body.
    pub(crate) fn finish(self) -> Found {
        Found { md5: self.md5.finalize(), sums: self.sums.finalize() }
    }
}

impl Found {
    /// Returns the entity tag: the MD5 in hexadecimal.
    pub(crate) fn tag(&self) -> String {
        hex::encode(self.md5)
    }
}
