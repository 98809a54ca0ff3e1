//! How often each conversation was refused.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

/// Most conversations that are remembered; beyond it they begin anew.
const REMEMBERED: usize = 10_000;

/// What makes a conversation one: its system prompt and its first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConversationId([u8; 32]);

impl ConversationId {
    pub(crate) fn of(system: &str, first: &str) -> Self {
        let hash = Sha256::new().chain_update((system.len() as u64).to_le_bytes()).chain_update(system).chain_update(first);
        Self(hash.finalize().into())
    }
}

/// The conversations that were refused and not yet answered.
#[derive(Default)]
pub(crate) struct Conversations {
    refused: Mutex<HashMap<ConversationId, u32>>,
}

impl Conversations {
    /// Tells whether this request is one of the first `times` of its conversation, and counts it; the one after them begins anew.
    pub(crate) fn refuses(&self, id: ConversationId, times: u32) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let count = refused.get(&id).copied().unwrap_or(0);
        if count >= times {
            refused.remove(&id);
            return false;
        }
        if refused.len() >= REMEMBERED {
            refused.clear();
        }
        refused.insert(id, count + 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_conversation_is_refused_as_often_as_is_asked_and_then_anew() {
        let conversations = Conversations::default();
        let one = ConversationId::of("system", "one");
        let asked: Vec<bool> = (0..6).map(|_| conversations.refuses(one, 2)).collect();
        assert_eq!(asked, [true, true, false, true, true, false]);
        assert!(!conversations.refuses(one, 0));
    }

    #[test]
    fn conversations_do_not_count_for_each_other() {
        let conversations = Conversations::default();
        assert!(conversations.refuses(ConversationId::of("system", "one"), 1));
        assert!(conversations.refuses(ConversationId::of("system", "two"), 1));
        assert!(conversations.refuses(ConversationId::of("systemo", "ne"), 1));
        assert!(!conversations.refuses(ConversationId::of("system", "one"), 1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let conversations = Conversations::default();
        for number in 0..=REMEMBERED {
            conversations.refuses(ConversationId::of("", &number.to_string()), 1);
        }
        assert_eq!(conversations.refused.lock().unwrap().len(), 1);
    }
}
