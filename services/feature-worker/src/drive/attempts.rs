//! A step until it is done: its record before and after, its repeats, and the waits between them.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use feature_store::{Cause, Failure, StepRun, StepType};
use futures::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument;

use super::watch::Watch;
use super::{Driver, Interrupted, Left};
use crate::counts::{self, StepEnd};
use crate::journal::Journal;
use crate::steps::StepError;
use crate::upstreams::Upstreams;

/// Longest wait between two attempts, if nobody asks for more.
const LONGEST: Duration = Duration::from_secs(60);
/// Longest wait that an upstream may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(600);
/// How many attempts more than the tries may end without a word: workers that were killed in them.
const CRASHES: u32 = 20;

impl<J: Journal, U: Upstreams> Driver<J, U> {
    /// Does a step, or returns what it came to before.
    pub(super) async fn step<T, F>(&self, watch: &mut Watch<'_, J>, step: StepType, body: impl Fn(StepRun) -> F) -> Result<T, Interrupted>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, StepError>>,
    {
        loop {
            if !watch.may_begin() {
                return Err(Interrupted::Left(Left::Stopping));
            }
            let run = self.journal.begin(watch.feature, step).await?;
            let attempt = run.attempt;
            if let Some(output) = run.output {
                return serde_json::from_value(output).map_err(|_| internal(step, "its record can't be read"));
            }
            if attempt > self.options.tries.saturating_add(CRASHES) {
                return Err(internal(step, "no attempt of it came to an end"));
            }
            let (span, started) = (tracing::info_span!("step", step = step.name(), attempt), Instant::now());
            let work = AssertUnwindSafe(body(run).instrument(span)).catch_unwind();
            let result = tokio::select! {
                result = work => result,
                left = watch.must_leave() => return Err(Interrupted::Left(left)),
            };
            let result = result.unwrap_or_else(|_| Err(StepError::lasting(Cause::Internal, "the step panicked")));
            let took = started.elapsed();
            watch.worked += took;
            match self.record(watch, step, (attempt, took), result).await? {
                Recorded::Done(value) => return Ok(value),
                Recorded::Again(wait) => watch.rest(wait).await.map_err(Interrupted::Left)?,
            }
        }
    }

    /// Records how an attempt ended, and says what comes next.
    async fn record<T: Serialize>(
        &self,
        watch: &Watch<'_, J>,
        step: StepType,
        (attempt, took): (u32, Duration),
        result: Result<T, StepError>,
    ) -> Result<Recorded<T>, Interrupted> {
        let error = match result {
            Ok(value) => {
                let output = serde_json::to_value(&value).map_err(|_| internal(step, "its output can't be recorded"))?;
                self.journal.finish(watch.feature, step, &output).await?;
                counts::step_ended(step, StepEnd::Completed, took);
                return Ok(Recorded::Done(value));
            }
            Err(error) => error,
        };
        let last = !error.transient || attempt >= self.options.tries;
        let left = error.left.as_ref().and_then(|left| serde_json::to_value(left).ok());
        self.journal.fail(watch.feature, step, &error.failure, left.as_ref()).await?;
        counts::step_ended(step, if last { StepEnd::Failed } else { StepEnd::Retried }, took);
        if last {
            return Err(Interrupted::Failed(error.failure));
        }
        let wait = wait_after(self.options.backoff, attempt, error.retry_after);
        tracing::warn!(step = step.name(), attempt, wait_ms = wait.as_millis(), reason = error.failure.to_string(), "step is repeated");
        Ok(Recorded::Again(wait))
    }
}

enum Recorded<T> {
    Done(T),
    Again(Duration),
}

fn internal(step: StepType, what: &str) -> Interrupted {
    Interrupted::Failed(Failure::new(Cause::Internal, &format!("step {}: {what}", step.name())))
}

/// Returns the wait after an attempt that failed; the first attempt is 1.
fn wait_after(first: Duration, attempt: u32, asked: Option<Duration>) -> Duration {
    let own = first.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(LONGEST);
    asked.map_or(own, |asked| own.max(asked.min(LONGEST_ASKED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_heed_what_is_asked_for() {
        let seconds = Duration::from_secs;
        for (attempt, asked, expected) in [
            (1, None, seconds(1)),
            (2, None, seconds(2)),
            (5, None, seconds(16)),
            (50, None, seconds(60)),
            (1, Some(seconds(30)), seconds(30)),
            (5, Some(seconds(3)), seconds(16)),
            (1, Some(seconds(86_400)), seconds(600)),
        ] {
            assert_eq!(wait_after(seconds(1), attempt, asked), expected, "attempt {attempt}, asked {asked:?}");
        }
    }
}
