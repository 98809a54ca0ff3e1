//! What each step does: requests to the upstreams made of what the steps before came to. Nothing here is remembered.

mod artifacts;
mod outputs;
mod verify;

use feature_api::git::{ApplyRequest, LookRequest, ReadRequest, Remote};
use feature_api::llm::{File, PatchRequest, PlanRequest};
use feature_api::repository::RecordHeadRequest;
use feature_store::{Cause, Failure, Feature, Instruction, StepRun};

use crate::upstreams::{UpstreamError, Upstreams};

pub(crate) use artifacts::{Made, artifact_keys, artifacts};
pub(crate) use outputs::{Artifacts, Look, Patch, Plan, Push, Verify};
pub(crate) use verify::{Tree, verify};

/// Most files that a plan's patch is made from; the git service reads no more at once.
const FILES: usize = 100;

/// Why a step did not end well, and whether a repeat can help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepError {
    pub(crate) failure: Failure,
    pub(crate) transient: bool,
    pub(crate) retry_after: Option<std::time::Duration>,
    /// What it left in the object store all the same.
    pub(crate) left: Option<Artifacts>,
}

impl StepError {
    /// Makes an error that a repeat can't mend.
    pub(crate) fn lasting(cause: Cause, detail: &str) -> Self {
        Self { failure: Failure::new(cause, detail), transient: false, retry_after: None, left: None }
    }

    fn of(cause: Cause) -> impl Fn(UpstreamError) -> Self {
        move |error| Self {
            failure: Failure::new(cause, &error.message),
            transient: error.transient,
            retry_after: error.retry_after,
            left: None,
        }
    }
}

/// Finds out what the repository is and what is in it.
pub(crate) async fn look(upstreams: &impl Upstreams, feature: &Feature) -> Result<Look, StepError> {
    let repository = upstreams.resolve(&feature.repository_url).await.map_err(StepError::of(Cause::Fetch))?;
    let remote = Remote { url: feature.repository_url.clone(), credential: repository.credential.clone() };
    let request = LookRequest { remote: Some(remote), branch: repository.default_branch };
    let seen = upstreams.look(request).await.map_err(StepError::of(Cause::Fetch))?;
    let head = RecordHeadRequest { url: feature.repository_url.clone(), branch: seen.branch.clone(), head: seen.head.clone() };
    // What is last known of a repository is for people; no feature fails for it.
    if let Err(error) = upstreams.record_head(head).await {
        tracing::warn!(error = error.message, "the repository's head was not noted");
    }
    Ok(Look {
        url: feature.repository_url.clone(),
        credential: repository.credential,
        branch: seen.branch,
        head: seen.head,
        paths: seen.paths,
        truncated: seen.truncated,
    })
}

/// Asks for a plan.
pub(crate) async fn plan(upstreams: &impl Upstreams, run: &StepRun, instruction: &Instruction, look: &Look) -> Result<Plan, StepError> {
    let request = PlanRequest { instruction: instruction.expose().to_owned(), tree: look.paths.clone(), step_id: run.step_id.to_string() };
    let planned = upstreams.plan(request).await.map_err(StepError::of(Cause::Plan))?;
    let usage = planned.usage.unwrap_or_default();
    Ok(Plan {
        summary: planned.summary,
        files: planned.files,
        verify: planned.verify,
        model: planned.model,
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
    })
}

/// Reads the planned files and asks for a patch.
pub(crate) async fn patch(
    upstreams: &impl Upstreams,
    run: &StepRun,
    instruction: &Instruction,
    (look, plan): (&Look, &Plan),
) -> Result<Patch, StepError> {
    let of = StepError::of(Cause::Patch);
    let paths: Vec<String> = plan.files.iter().take(FILES).cloned().collect();
    let files = if paths.is_empty() {
        Vec::new()
    } else {
        let request = ReadRequest { remote: Some(look.remote()), commit: look.head.clone(), paths };
        upstreams.read(request).await.map_err(&of)?.files
    };
    let request = PatchRequest {
        instruction: instruction.expose().to_owned(),
        summary: plan.summary.clone(),
        tree: look.paths.clone(),
        files: files.into_iter().map(|file| File { path: file.path, content: file.content }).collect(),
        step_id: run.step_id.to_string(),
    };
    let written = upstreams.patch(request).await.map_err(&of)?;
    // The database keeps no NUL, and git takes no text patch that holds one.
    if written.patch.trim().is_empty() || written.patch.contains('\0') {
        return Err(StepError::lasting(Cause::Patch, "the model's patch is empty or not text"));
    }
    let usage = written.usage.unwrap_or_default();
    let (input_tokens, output_tokens) = (usage.input_tokens, usage.output_tokens);
    Ok(Patch { patch: written.patch, model: written.model, input_tokens, output_tokens })
}

/// Commits the patch and pushes it on the feature's branch.
pub(crate) async fn push(
    upstreams: &impl Upstreams,
    run: &StepRun,
    feature: &Feature,
    (look, plan, patch): (&Look, &Plan, &Patch),
) -> Result<Push, StepError> {
    let branch = branch(feature);
    let request = ApplyRequest {
        remote: Some(look.remote()),
        base: look.head.clone(),
        branch: branch.clone(),
        patch: patch.patch.clone(),
        message: message(&plan.summary),
        // The same in every attempt, so that every attempt makes the same commit.
        committed_at: run.started_at.clone(),
        step_id: run.step_id.to_string(),
    };
    let applied = upstreams.apply(request).await.map_err(StepError::of(Cause::Push))?;
    Ok(Push { branch, commit: applied.commit, tree: applied.tree, paths: applied.paths })
}

/// Returns the name of the branch that a feature's change goes to.
pub(crate) fn branch(feature: &Feature) -> String {
    format!("feature/{}", feature.id)
}

/// Makes a commit message: the plan's first line, short, and the whole of it below if there is more.
fn message(summary: &str) -> String {
    let plain: String = summary.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    let plain = plain.trim();
    let first = plain.lines().next().unwrap_or_default().trim();
    let subject: String = first.chars().take(72).collect();
    match subject.as_str() {
        "" => "Change made for a feature".to_owned(),
        subject if subject == plain => subject.to_owned(),
        subject => format!("{subject}\n\n{plain}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_message_has_a_short_first_line() {
        let long = "x".repeat(80);
        for (summary, expected) in [
            ("Add a page", "Add a page".to_owned()),
            ("Add a page\nand a test", "Add a page\n\nAdd a page\nand a test".to_owned()),
            (" \u{1b}[31m\n", "[31m".to_owned()),
            ("", "Change made for a feature".to_owned()),
            (&long, format!("{}\n\n{long}", "x".repeat(72))),
        ] {
            assert_eq!(message(summary), expected);
        }
    }
}
