use std::time::Duration;

use tokio::time::Instant;

use crate::kubelet::Probe;

/// Wait before a container that is not ready is asked for the second time; it doubles with each question.
const SOON: Duration = Duration::from_millis(100);
/// Longest wait between two questions to a container that is not ready, if its probe's period is not shorter.
const SOON_MOST: Duration = Duration::from_millis(500);
/// Shortest period.
const SHORTEST: Duration = Duration::from_millis(10);

/// How often a container is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// As the probe says.
    Steady,
    /// More often: it is not ready.
    Eager,
}

/// Says when to ask, and which answers count: one in each period.
pub(super) struct Times {
    period: Duration,
    /// Wait between two questions.
    wait: Duration,
    most: Duration,
    /// From then on an answer counts; none: at once.
    due: Option<Instant>,
}

impl Times {
    /// Begins with the first question.
    pub(super) fn new(probe: &Probe, pace: Pace) -> Self {
        let period = probe.period.max(SHORTEST);
        let (wait, most) = match pace {
            Pace::Steady => (period, period),
            Pace::Eager => (SOON.min(period), SOON_MOST.min(period)),
        };
        Self { period, wait, most, due: None }
    }

    /// Tells whether the answer to what was asked at `asked` counts however it is.
    pub(super) fn is_due(&mut self, asked: Instant) -> bool {
        let is_due = self.due.is_none_or(|due| asked >= due);
        if is_due {
            self.due = Some(asked + self.period);
        }
        is_due
    }

    /// Says when to ask again.
    pub(super) fn next(&mut self, asked: Instant) -> Instant {
        let next = asked + self.wait;
        self.wait = (self.wait * 2).min(self.most);
        self.due.map_or(next, |due| due.min(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::Check;

    /// Asks nine times and returns the milliseconds at which, with a `!` where the answer counts however it is.
    fn asked(period: u64, pace: Pace) -> String {
        let period = Duration::from_millis(period);
        let (initial_delay, timeout) = (Duration::ZERO, Duration::from_secs(1));
        let probe = Probe { check: Check::Tcp { port: 1 }, initial_delay, period, timeout, success_threshold: 1, failure_threshold: 3 };
        let mut times = Times::new(&probe, pace);
        let begin = Instant::now();
        let mut at = begin;
        let mut shown = Vec::new();
        for _ in 0..9 {
            let mark = if times.is_due(at) { "!" } else { "" };
            shown.push(format!("{}{mark}", (at - begin).as_millis()));
            at = times.next(at);
        }
        shown.join(" ")
    }

    #[test]
    fn one_answer_in_each_period_counts_however_often_is_asked() {
        for (period, pace, expected) in [
            (2000, Pace::Steady, "0! 2000! 4000! 6000! 8000! 10000! 12000! 14000! 16000!"),
            (2000, Pace::Eager, "0! 100 300 700 1200 1700 2000! 2500 3000"),
            (300, Pace::Eager, "0! 100 300! 600! 900! 1200! 1500! 1800! 2100!"),
            (50, Pace::Eager, "0! 50! 100! 150! 200! 250! 300! 350! 400!"),
        ] {
            assert_eq!(asked(period, pace), expected, "{period} {pace:?}");
        }
    }
}
