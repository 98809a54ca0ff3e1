use feature_api::git::ArchiveRequest;
use feature_api::sandbox::Spec;
use feature_store::{Cause, StepRun};

use super::{Look, Plan, Push, StepError, Verify};
use crate::upstreams::{Ran, Upstreams};

/// Lines of a failed command's output that the reason repeats.
const LAST_LINES: usize = 20;

/// Runs the plan's command on the tree of the commit that was pushed.
pub(crate) async fn verify(
    upstreams: &impl Upstreams,
    run: &StepRun,
    (look, plan, push): (&Look, &Plan, &Push),
) -> Result<Verify, StepError> {
    let tree = ArchiveRequest { remote: Some(look.remote()), branch: push.branch.clone(), commit: push.commit.clone() };
    let spec = Spec { id: run.step_id.to_string(), command: plan.verify.clone(), ..Spec::default() };
    let ran = upstreams.run(tree, spec).await.map_err(StepError::of(Cause::Sandbox))?;
    if ran.exit_code != 0 || ran.timed_out || ran.oom_killed {
        // A command that was killed in time may still have ended with 0 where it caught the signal.
        let exit_code = if ran.exit_code == 0 { 1 } else { ran.exit_code };
        return Err(StepError::lasting(Cause::Verification { exit_code }, &detail(&ran)));
    }
    Ok(Verify {
        command: plan.verify.clone(),
        duration_ms: ran.duration_ms,
        truncated: ran.truncated,
        isolation: ran.isolation,
        // The database keeps no NUL.
        log: ran.log.replace('\0', "\u{fffd}"),
    })
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
