//! The keys that instructions are encrypted with and looked up by.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;
use uuid::Uuid;

use crate::error::StoreError;

const KEY_LENGTH: usize = 32;
/// With or without `=` at the end: both are in use.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// Why a token is not a key; holds nothing of the token.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Not base64.
    #[error("the token is not base64")]
    Encoding,
    /// Of another length.
    #[error("the token holds {0} bytes, it must hold 32")]
    Length(usize),
}

/// What is to be made, in the user's words; `Debug` does not show it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Instruction(String);

impl Instruction {
    /// Wraps the words.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }

    /// Returns the words, for the one place that sends them to where they belong.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Instruction(hidden)")
    }
}

/// The active encryption key and the lookup key; `Debug` shows the encryption key's id only.
///
/// An encrypted instruction is the key's id (a byte), the nonce (12 bytes), and the text with its tag by AES-256-GCM; bound to the
/// feature by its id, so that it can't be moved to another one.
pub struct Keys {
    id: u8,
    encryption: RandomizedNonceKey,
    lookup: hmac::Key,
}

impl Keys {
    /// Reads both keys from tokens: 32 bytes each in base64.
    ///
    /// # Errors
    /// [`KeyError`] with the first token that is not a key.
    pub fn from_tokens(encryption: &str, lookup: &str) -> Result<Self, KeyError> {
        let (encryption, lookup) = (key_of(encryption)?, key_of(lookup)?);
        // Made of the key itself, so that nobody has to number keys; it tells an eighth of a byte's worth of nothing about it.
        let id = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &encryption), b"feature-store key id").as_ref()[0];
        let encryption = RandomizedNonceKey::new(&AES_256_GCM, &encryption).map_err(|_| KeyError::Length(encryption.len()))?;
        Ok(Self { id, encryption, lookup: hmac::Key::new(hmac::HMAC_SHA256, &lookup) })
    }

    /// Tells whether a text is a token of a key.
    ///
    /// # Errors
    /// [`KeyError`] if not.
    pub fn check_token(token: &str) -> Result<(), KeyError> {
        key_of(token).map(drop)
    }

    pub(crate) fn seal(&self, feature: Uuid, instruction: &Instruction) -> Result<Vec<u8>, StoreError> {
        let mut sealed = instruction.expose().as_bytes().to_vec();
        let nonce = self.encryption.seal_in_place_append_tag(Aad::from(feature.as_bytes()), &mut sealed);
        let nonce = nonce.map_err(|_| StoreError::Instruction { action: "encrypt", id: feature, cause: "no randomness".to_owned() })?;
        Ok([&[self.id], &nonce.as_ref()[..], &sealed].concat())
    }

    pub(crate) fn open(&self, feature: Uuid, sealed: &[u8]) -> Result<Instruction, StoreError> {
        let refused = |cause: String| StoreError::Instruction { action: "decrypt", id: feature, cause };
        let (id, rest) = sealed.split_first().ok_or_else(|| refused("it is empty".to_owned()))?;
        if *id != self.id {
            return Err(refused(format!("it is encrypted with key {id:02x}, the active one is {:02x}", self.id)));
        }
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or_else(|| refused("it is too short".to_owned()))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused("it is too short".to_owned()))?;
        let mut text = text.to_vec();
        let words = self.encryption.open_in_place(nonce, Aad::from(feature.as_bytes()), &mut text);
        let words = words.map_err(|_| refused("it was changed, or belongs to another feature or key".to_owned()))?;
        String::from_utf8(words.to_vec()).map(Instruction).map_err(|_| refused("it is not text".to_owned()))
    }

    /// Returns the same bytes for instructions that differ in white space only; who has no key learns nothing from them but that.
    pub(crate) fn lookup(&self, instruction: &Instruction) -> Vec<u8> {
        let normal = instruction.expose().split_whitespace().collect::<Vec<_>>().join(" ");
        hmac::sign(&self.lookup, normal.as_bytes()).as_ref().to_vec()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({:02x})", self.id)
    }
}

fn key_of(token: &str) -> Result<[u8; KEY_LENGTH], KeyError> {
    let bytes = BASE64.decode(token.trim()).map_err(|_| KeyError::Encoding)?;
    bytes.try_into().map_err(|bytes: Vec<u8>| KeyError::Length(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn keys(seed: u8) -> Keys {
        let token = |byte| BASE64.encode([byte; KEY_LENGTH]);
        Keys::from_tokens(&token(seed), &token(seed ^ 0xff)).unwrap()
    }

    fn cause(result: Result<Instruction, StoreError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn what_is_sealed_opens_for_its_feature_with_its_key_only() {
        let instruction = Instruction::new("add a canary-7fd1 to the mine");
        let sealed = keys(1).seal(ID, &instruction).unwrap();
        assert_eq!(keys(1).open(ID, &sealed).unwrap(), instruction);
        assert!(!sealed.windows(6).any(|bytes| bytes == b"canary"));
        assert_ne!(sealed, keys(1).seal(ID, &instruction).unwrap(), "no nonce twice");
        assert!(cause(keys(2).open(ID, &sealed)).contains("encrypted with key"));
        assert!(cause(keys(1).open(Uuid::nil(), &sealed)).contains("belongs to another feature"));
        for (at, short) in [(0, "empty"), (5, "too short"), (20, "was changed")] {
            assert!(cause(keys(1).open(ID, &sealed[..at])).contains(short), "{at}");
        }
        let mut changed = sealed;
        changed[15] ^= 1;
        assert!(cause(keys(1).open(ID, &changed)).contains("was changed"));
    }

    #[test]
    fn equal_instructions_are_found_by_equal_bytes() {
        let lookup = |words: &str| keys(1).lookup(&Instruction::new(words));
        assert_eq!(lookup("make  it\n blue "), lookup("make it blue"));
        assert_ne!(lookup("make it blue"), lookup("make it red"));
        assert_ne!(lookup("make it blue"), keys(2).lookup(&Instruction::new("make it blue")));
    }

    #[test]
    fn tokens_that_are_no_keys_are_refused_without_being_shown() {
        let good = BASE64.encode([1; KEY_LENGTH]);
        assert!(Keys::check_token(&good).is_ok() && Keys::check_token(good.trim_end_matches('=')).is_ok());
        for (token, expected) in [("", KeyError::Length(0)), ("Y2FuYXJ5", KeyError::Length(6)), ("canary-7fd1!", KeyError::Encoding)] {
            let error = Keys::from_tokens(token, &good).unwrap_err();
            assert_eq!((error, Keys::from_tokens(&good, token).unwrap_err()), (expected, expected));
            assert!(!error.to_string().contains("canary"));
        }
    }

    #[test]
    fn nothing_shows_a_key_or_an_instruction() {
        assert_eq!(format!("{:?}", keys(1)).len(), "Keys(00)".len());
        assert_eq!(format!("{:?}", Instruction::new("canary")), "Instruction(hidden)");
    }
}
