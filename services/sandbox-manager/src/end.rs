//! How a run ended: the result, and the outcome that is counted.

use std::time::Instant;

use feature_api::sandbox;
use metrics::{counter, histogram};

use crate::runtime::Ended;

/// What ended a command from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its time.
    Time,
    /// Its memory, as found by looking at it.
    Memory,
    /// The size of its workspace.
    Workspace,
}

/// Makes the result.
///
/// The memory limit ended a command if it killed something in it and the command did not succeed.
pub(crate) fn result(ended: Ended, cause: Option<Cause>, truncated: bool, started: Instant, isolation: &[String]) -> sandbox::Result {
    let oom_killed = cause == Some(Cause::Memory) || ended.oom_kills > 0 && ended.exit_code != 0;
    sandbox::Result {
        exit_code: ended.exit_code,
        oom_killed,
        timed_out: cause == Some(Cause::Time),
        truncated,
        duration_ms: u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX),
        isolation: isolation.to_vec(),
    }
}

/// A run that is counted; one that is dropped was given up by its client.
pub(crate) struct Counted {
    started: Instant,
    outcome: &'static str,
}

impl Counted {
    /// Begins to count.
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), outcome: "cancelled" }
    }

    /// Notes how it ended.
    pub(crate) fn end(&mut self, result: Option<&sandbox::Result>, oom_kills: u64) {
        counter!("sandbox_oom_kills_total").increment(oom_kills.max(result.is_some_and(|result| result.oom_killed).into()));
        self.outcome = match result {
            None => "error",
            Some(result) if result.timed_out => "timed_out",
            Some(result) if result.oom_killed => "oom_killed",
            Some(result) if result.exit_code == 0 => "completed",
            Some(_) => "failed",
        };
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        histogram!("sandbox_execution_duration_seconds", "outcome" => self.outcome).record(self.started.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_limit_ended_only_what_did_not_succeed() {
        let of = |exit_code, oom_kills, cause| {
            let result = result(Ended { exit_code, oom_kills }, cause, false, Instant::now(), &[]);
            (result.oom_killed, result.timed_out)
        };
        assert_eq!(of(0, 1, None), (false, false));
        assert_eq!(of(137, 1, None), (true, false));
        assert_eq!(of(137, 0, None), (false, false));
        assert_eq!(of(137, 0, Some(Cause::Memory)), (true, false));
        assert_eq!(of(143, 0, Some(Cause::Time)), (false, true));
    }
}
