use crate::kubelet::Probe;

/// Counts answers until they are a verdict: as many equal ones in a row as the probe wants.
pub(super) struct Counter {
    success: u32,
    failure: u32,
    verdict: Option<bool>,
    last: bool,
    row: u32,
    is_first: bool,
}

impl Counter {
    /// Counts for a probe whose verdict so far is given; none: there is none yet.
    pub(super) fn new(probe: &Probe, verdict: Option<bool>) -> Self {
        Self {
            success: probe.success_threshold.max(1),
            failure: probe.failure_threshold.max(1),
            verdict,
            last: false,
            row: 0,
            is_first: true,
        }
    }

    /// Tells whether no question was asked yet; afterwards one counts as asked.
    pub(super) fn take_first(&mut self) -> bool {
        std::mem::take(&mut self.is_first)
    }

    /// Counts one answer; returns the verdict if it is another one than before.
    pub(super) fn count(&mut self, good: bool) -> Option<bool> {
        self.row = if self.last == good { self.row.saturating_add(1) } else { 1 };
        self.last = good;
        let threshold = if good { self.success } else { self.failure };
        let turns = self.row >= threshold && self.verdict != Some(good);
        turns.then(|| {
            self.verdict = Some(good);
            good
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::Check;
    use std::time::Duration;

    fn verdicts(start: Option<bool>, success: u32, failure: u32, answers: &str) -> String {
        let second = Duration::from_secs(1);
        let probe = Probe {
            check: Check::Tcp { port: 1 },
            initial_delay: second,
            period: second,
            timeout: second,
            success_threshold: success,
            failure_threshold: failure,
        };
        let mut counter = Counter::new(&probe, start);
        let shown = |verdict| match verdict {
            None => '.',
            Some(true) => '+',
            Some(false) => '-',
        };
        answers.chars().map(|answer| shown(counter.count(answer == '1'))).collect()
    }

    #[test]
    fn a_verdict_turns_after_as_many_equal_answers_as_wanted() {
        for (start, success, failure, answers, expected) in [
            (Some(false), 1, 3, "0010110001", "..+.....-+"),
            (Some(true), 1, 3, "00100011", ".....-+."),
            (Some(false), 2, 1, "1011", "...+"),
            (None, 1, 3, "000", "..-"),
            (None, 1, 1, "1", "+"),
        ] {
            assert_eq!(verdicts(start, success, failure, answers), expected, "{answers}");
        }
    }
}
