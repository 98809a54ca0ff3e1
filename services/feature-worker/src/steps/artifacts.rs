use std::time::Duration;

use feature_store::{Cause, Feature, StepRun};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::outputs::Artifact;
use super::{Artifacts, StepError};
use crate::upstreams::{Object, Upstreams};

const PATCH: &str = "change.patch";
const LOG: &str = "verify.log";

/// Returns the keys of all that a feature may leave behind, whether it came to that or not.
pub(crate) fn artifact_keys(feature: Uuid) -> [String; 2] {
    [PATCH, LOG].map(|name| key(feature, name))
}

fn key(feature: Uuid, name: &str) -> String {
    format!("{feature}/{name}")
}

/// What a feature leaves behind.
pub(crate) struct Made<'a> {
    pub(crate) feature: &'a Feature,
    pub(crate) patch: &'a str,
    /// What the verification wrote, if there was one.
    pub(crate) log: Option<&'a str>,
    /// How long it is kept, from when the step first began: a repeat stores the same.
    pub(crate) kept_for: Duration,
}

/// Stores what a feature leaves behind.
pub(crate) async fn artifacts(upstreams: &impl Upstreams, run: &StepRun, made: &Made<'_>) -> Result<Artifacts, StepError> {
    let began: jiff::Timestamp = run.started_at.parse().map_err(|_| StepError::lasting(Cause::Internal, "the step's begin is no time"))?;
    let expires_at = began.as_second().saturating_add(i64::try_from(made.kept_for.as_secs()).unwrap_or(i64::MAX));
    let mut files = vec![(PATCH, "text/x-diff; charset=utf-8", made.patch)];
    files.extend(made.log.map(|log| (LOG, "text/plain; charset=utf-8", log)));
    let mut stored = Vec::with_capacity(files.len());
    for (name, content_type, text) in files {
        let (key, sha256) = (key(made.feature.id, name), hex::encode(Sha256::digest(text.as_bytes())));
        let body = text.as_bytes().to_vec();
        let object = Object { key: key.clone(), body, content_type, sha256: sha256.clone(), expires_at };
        upstreams.store(object).await.map_err(StepError::of(Cause::Artifacts))?;
        stored.push(Artifact { key, sha256 });
    }
    Ok(Artifacts { artifacts: stored, expires_at })
}
