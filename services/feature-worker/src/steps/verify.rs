use feature_api::git::ArchiveRequest;
use feature_api::sandbox::Spec;
use feature_store::{Cause, StepRun};

use super::{Look, Made, Plan, Push, StepError, Verify, artifacts};
use crate::upstreams::{Ran, Upstreams};

/// Lines of a failed command's output that the reason repeats.
const LAST_LINES: usize = 20;

/// What is verified, and how.
pub(crate) struct Tree<'a> {
    pub(crate) look: &'a Look,
    pub(crate) plan: &'a Plan,
    pub(crate) push: &'a Push,
}

/// Runs the plan's command on the tree of the commit that was pushed.
///
/// If it fails, what was `made` is stored at once, with all that the command wrote: no step comes after this one.
pub(crate) async fn verify(
    upstreams: &impl Upstreams,
    run: &StepRun,
    Tree { look, plan, push }: Tree<'_>,
    made: Made<'_>,
) -> Result<Verify, StepError> {
    let tree = ArchiveRequest { remote: Some(look.remote()), branch: push.branch.clone(), commit: push.commit.clone() };
    let spec = Spec { id: run.step_id.to_string(), command: plan.verify.clone(), ..Spec::default() };
    let ran = upstreams.run(tree, spec).await.map_err(StepError::of(Cause::Sandbox))?;
    // The database keeps no NUL.
    let log = ran.log.replace('\0', "\u{fffd}");
    if ran.exit_code != 0 || ran.timed_out || ran.oom_killed {
        // A command that was killed in time may still have ended with 0 where it caught the signal.
        let exit_code = if ran.exit_code == 0 { 1 } else { ran.exit_code };
        let stored = artifacts(upstreams, run, &Made { log: Some(&log), ..made }).await;
        // What is to be told is that the verification failed; a store that is away as well changes nothing of it.
        let left = stored.inspect_err(|error| tracing::warn!(reason = error.failure.to_string(), "the log of a verification is lost")).ok();
        return Err(StepError { left, ..StepError::lasting(Cause::Verification { exit_code }, &detail(&ran)) });
    }
    Ok(Verify { command: plan.verify.clone(), duration_ms: ran.duration_ms, truncated: ran.truncated, isolation: ran.isolation, log })
}

fn detail(ran: &Ran) -> String {
    let lines: Vec<&str> = ran.log.trim_end().lines().collect();
    let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
    let why = match (ran.timed_out, ran.oom_killed) {
        (true, _) => "the time limit ended it\n",
        (_, true) => "the memory limit ended it\n",
        _ => "",
    };
    format!("{why}{last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_repeats_the_last_lines() {
        let log: String = (0..30).map(|line| format!("line {line}\n")).collect();
        let detail = detail(&Ran { timed_out: true, log, ..Ran::default() });
        assert!(detail.starts_with("the time limit ended it\nline 10\n") && detail.ends_with("line 29"), "{detail}");
    }
}
