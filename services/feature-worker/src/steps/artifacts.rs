use std::time::Duration;

use feature_store::{Cause, Feature, StepRun};
use sha2::{Digest, Sha256};

use super::outputs::Artifact;
use super::{Artifacts, Patch, StepError, Verify};
use crate::upstreams::{Object, Upstreams};

/// Stores what the feature leaves behind: the patch, and what the verification wrote.
///
/// They are kept for a time from when the step first began, so that a repeat stores the same.
pub(crate) async fn artifacts(
    upstreams: &impl Upstreams,
    run: &StepRun,
    feature: &Feature,
    (patch, verify): (&Patch, Option<&Verify>),
    kept_for: Duration,
) -> Result<Artifacts, StepError> {
    let began: jiff::Timestamp = run.started_at.parse().map_err(|_| StepError::lasting(Cause::Internal, "the step's begin is no time"))?;
    let expires_at = began.as_second().saturating_add(i64::try_from(kept_for.as_secs()).unwrap_or(i64::MAX));
    let mut files = vec![("change.patch", "text/x-diff; charset=utf-8", &patch.patch)];
    files.extend(verify.map(|verify| ("verify.log", "text/plain; charset=utf-8", &verify.log)));
    let mut stored = Vec::with_capacity(files.len());
    for (name, content_type, text) in files {
        let (key, sha256) = (format!("{}/{name}", feature.id), hex::encode(Sha256::digest(text.as_bytes())));
        let body = text.clone().into_bytes();
        let object = Object { key: key.clone(), body, content_type, sha256: sha256.clone(), expires_at };
        upstreams.store(object).await.map_err(StepError::of(Cause::Artifacts))?;
        stored.push(Artifact { key, sha256 });
    }
    Ok(Artifacts { artifacts: stored, expires_at })
}
