use futures::stream::{StreamExt, TryStreamExt, iter};
use provision_model::{Manifest, Observed, Prediction, ResourceId};

use crate::{ApplyError, Cluster, ClusterError, Fingerprints, RunContext, SecretStore, WriteMode, secrets};

const PARALLEL: usize = 24;

/// Asks the API server what it would do with each of the manifests (dry-run) and puts the answers into `observed`.
///
/// # Errors
/// [`ApplyError`] when the cluster can't be asked or a secret value can't be had.
pub async fn predict<C: Cluster, S: SecretStore, K>(
    cx: &RunContext<C, S, K>,
    observed: &mut Observed,
    manifests: Vec<Manifest>,
) -> Result<(), ApplyError> {
    let fingerprints = Fingerprints::new(observed.fingerprint_salt.clone());
    let answers: Vec<(ResourceId, Prediction)> = iter(manifests)
        .map(|manifest| {
            let (cx, fingerprints) = (cx.clone(), fingerprints.clone());
            async move { ask(&cx, &fingerprints, &manifest).await.map(|prediction| (manifest.id(), prediction)) }
        })
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    observed.predicted.extend(answers);
    Ok(())
}

async fn ask<C: Cluster, S: SecretStore, K>(
    cx: &RunContext<C, S, K>,
    fingerprints: &Fingerprints,
    manifest: &Manifest,
) -> Result<Prediction, ApplyError> {
    let sent = secrets::resolve(manifest, cx.secrets.as_ref(), &cx.redactor).await?;
    match cx.cluster.apply(&sent, WriteMode::DryRun).await {
        Ok(result) => Ok(Prediction::Accepted(fingerprints.mask(&result, &cx.redactor))),
        Err(ClusterError::Invalid { message, causes, .. }) => {
            let message = cx.redactor.clean(&message);
            Ok(if is_immutability(&causes, &message) { Prediction::Immutable(message) } else { Prediction::Refused(message) })
        }
        Err(
            error @ (ClusterError::Admission { .. }
            | ClusterError::Quota { .. }
            | ClusterError::Conflict { .. }
            | ClusterError::NotFound { .. }),
        ) => Ok(Prediction::Refused(cx.redactor.clean(&error.to_string()))),
        Err(error) => Err(ApplyError::cluster_failed(format!("ask what would happen to {}", manifest.id()))(error)),
    }
}

/// Tells whether every cause says that a field can't change in place. A mere mistake in a value never counts.
fn is_immutability(causes: &[(String, String, String)], message: &str) -> bool {
    if causes.is_empty() {
        return says_immutable(message);
    }
    causes.iter().all(|(field, reason, message)| says_immutable(message) || (message.is_empty() && is_fixed_in_secrets(field, reason)))
}

/// The words about a Secret may be withheld: then the field and the reason tell.
fn is_fixed_in_secrets(field: &str, reason: &str) -> bool {
    matches!((field, reason), ("data" | "stringData" | "immutable", "FieldValueForbidden") | ("type", "FieldValueInvalid"))
}

fn says_immutable(message: &str) -> bool {
    let forms = [
        "field is immutable",
        "is immutable after creation",
        "may not be changed",
        "may not change once set",
        "cannot change roleref",
        "updates to statefulset spec for fields other than",
        "updates to parameters are forbidden",
        "updates to provisioner are forbidden",
        "updates to reclaimpolicy are forbidden",
        "updates to volumebindingmode are forbidden",
        "field can not be less than previous value",
        "field can not be less than status.capacity",
        "spec is immutable",
        "immutable field",
    ];
    let message = message.to_lowercase();
    forms.iter().any(|form| message.contains(form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_immutability_counts_as_such() {
        let cause = |message: &str| ("spec".to_owned(), "FieldValueInvalid".to_owned(), message.to_owned());
        for (causes, expected) in [
            (vec![cause("Invalid value: {\"a\":1}: field is immutable")], true),
            (vec![cause("Forbidden: updates to statefulset spec for fields other than 'replicas', 'template' are forbidden")], true),
            (vec![cause("Invalid value: x: field is immutable when `immutable` is set"), cause("field is immutable")], true),
            (vec![cause("field is immutable"), cause("Invalid value: 70000: must be between 1 and 65535, inclusive")], false),
            (vec![cause("Invalid value: 70000: must be between 1 and 65535, inclusive")], false),
            (vec![("data".to_owned(), "FieldValueForbidden".to_owned(), String::new())], true),
            (vec![("data".to_owned(), "FieldValueInvalid".to_owned(), String::new())], false),
        ] {
            assert_eq!(is_immutability(&causes, ""), expected, "{causes:?}");
        }
    }
}
