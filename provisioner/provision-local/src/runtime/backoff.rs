use std::time::Duration;

use crate::kubelet::Restart;

/// How long a container that ends again and again rests before it is started anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Rest after the second end in a row; there is none after the first. Each further one doubles it.
    pub first: Duration,
    /// Longest rest.
    pub most: Duration,
    /// A run of this length makes earlier ends forgotten.
    pub reset: Duration,
}

impl Default for Backoff {
    /// A tenth of what a cluster has (10 s to 5 min): nothing else than this container suffers from its ends here.
    fn default() -> Self {
        Self { first: Duration::from_secs(1), most: Duration::from_secs(30), reset: Duration::from_secs(600) }
    }
}

impl Backoff {
    /// Returns the rest after so many ends in a row.
    pub(super) fn rest(&self, ends: u32) -> Duration {
        match ends.checked_sub(2) {
            None => Duration::ZERO,
            Some(doublings) => self.doubled(doublings),
        }
    }

    /// Returns the rest after so many attempts in a row that came to nothing before a program ran.
    pub(super) fn retry(&self, attempts: u32) -> Duration {
        self.doubled(attempts.saturating_sub(1))
    }

    fn doubled(&self, doublings: u32) -> Duration {
        self.first.saturating_mul(2_u32.saturating_pow(doublings)).min(self.most)
    }

    /// Counts one more end after a run of that length.
    pub(super) fn count(&self, ends: u32, ran: Duration) -> u32 {
        if ran >= self.reset { 1 } else { ends.saturating_add(1) }
    }
}

/// Tells whether a container is started again after it ended with that code.
pub(super) fn restarts(restart: Restart, exit_code: i32) -> bool {
    match restart {
        Restart::Always => true,
        Restart::OnFailure => exit_code != 0,
        Restart::Never => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_up_to_the_longest_and_start_anew_after_a_long_run() {
        let backoff = Backoff::default();
        let rests: Vec<u64> = (0..9).map(|ends| backoff.rest(ends).as_secs()).collect();
        assert_eq!(rests, [0, 0, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(backoff.rest(u32::MAX), backoff.most);
        assert_eq!(backoff.count(5, Duration::from_secs(599)), 6);
        assert_eq!(backoff.count(5, Duration::from_secs(600)), 1);
    }

    #[test]
    fn policies_look_at_the_exit_code() {
        let table = [(Restart::Always, 0, true), (Restart::Always, 1, true), (Restart::OnFailure, 0, false), (Restart::OnFailure, 1, true)];
        for (restart, code, expected) in table.into_iter().chain([(Restart::Never, 0, false), (Restart::Never, 1, false)]) {
            assert_eq!(restarts(restart, code), expected, "{restart:?} {code}");
        }
    }
}
