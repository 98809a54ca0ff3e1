//! Tokens that may be used once only, and were.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Refusal;

/// Most tokens that are remembered; each until it has expired.
const MOST: usize = 100_000;
/// Longest id of a token.
const MAX_ID: usize = 256;

/// The ids of used tokens, with the time since 1970 after which each has expired.
///
/// Known to this process only: with several replicas, clients of one token must reach the same one.
#[derive(Default)]
pub(super) struct Seen(Mutex<HashMap<String, Duration>>);

impl Seen {
    /// Notes the use of a token.
    pub(super) fn use_once(&self, id: String, until: Duration, now: Duration) -> Result<(), Refusal> {
        if id.is_empty() || id.len() > MAX_ID {
            return Err(Refusal::Invalid("its id is empty or too long"));
        }
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains_key(&id) {
            return Err(Refusal::Invalid("it was used before"));
        }
        if seen.len() >= MOST {
            seen.retain(|_, until| *until > now);
        }
        if seen.len() >= MOST {
            // Letting it in without noting it would let it in twice.
            return Err(Refusal::Unknown("too many tokens are in use"));
        }
        seen.insert(id, until);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_once_and_memory_is_bounded() {
        let seen = Seen::default();
        let at = Duration::from_secs;
        assert_eq!(seen.use_once("a".to_owned(), at(100), at(0)), Ok(()));
        assert_eq!(seen.use_once("a".to_owned(), at(100), at(50)), Err(Refusal::Invalid("it was used before")));
        for index in 1..MOST {
            assert_eq!(seen.use_once(index.to_string(), at(100), at(50)), Ok(()));
        }
        assert_eq!(seen.use_once("b".to_owned(), at(200), at(99)), Err(Refusal::Unknown("too many tokens are in use")));
        assert_eq!(seen.use_once("b".to_owned(), at(200), at(100)), Ok(()), "what has expired makes room");
        assert_eq!(seen.0.lock().unwrap().len(), 1);
    }
}
