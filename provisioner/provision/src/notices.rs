//! What people should know of a platform where it runs: what is kept and not enforced, what its parts don't do, which ports are taken.

use std::collections::{BTreeMap, BTreeSet};

use provision_apply::Progress;
use provision_local::not_enforced;
use provision_model::{Desired, Finding, GroupKind, Plan, Severity};

use crate::cluster::AnyCluster;
use crate::error::CliError;
use crate::session::Session;

const OF_MACHINE: &str = "this-machine";
const OF_OBJECT: &str = "known-limit";

/// Lists the notices about wanted objects, as findings of their plan.
pub(crate) async fn about_plan(session: &Session, desired: &Desired) -> Result<Vec<Finding>, CliError> {
    let manifests = || desired.objects.iter().map(|object| &object.manifest);
    let kinds = manifests().map(|manifest| manifest.group_kind()).collect();
    let of_machine = about_engine(session, &kinds).await?.into_iter().map(|text| (OF_MACHINE, text));
    let of_objects = provision_apply::notices(manifests()).into_iter().map(|text| (OF_OBJECT, text));
    Ok(of_machine.chain(of_objects).map(|(code, text)| Finding::new(Severity::Info, code, text)).collect())
}

/// Lists what this machine does not do as objects of these kinds want it, and what its runtime has to say; nothing on a cluster.
pub(crate) async fn about_engine(session: &Session, kinds: &BTreeSet<GroupKind>) -> Result<Vec<String>, CliError> {
    let AnyCluster::Local(cluster) = session.run.cluster.as_ref() else { return Ok(Vec::new()) };
    let mut texts = kept_only(kinds);
    texts.extend(cluster.notices().await.map_err(|source| CliError::cluster("ask what this machine does not enforce", source))?);
    Ok(texts)
}

/// Tells what the runtime has found out since the plan was shown.
pub(crate) async fn tell_new(session: &Session, plan: &Plan) {
    let AnyCluster::Local(cluster) = session.run.cluster.as_ref() else { return };
    // They explain what happened; the run has ended as it has without them.
    let texts = cluster.notices().await.unwrap_or_default();
    for text in texts.into_iter().filter(|text| !plan.findings.iter().any(|finding| finding.message == *text)) {
        (session.run.progress)(Progress::Finding { finding: Finding::warning(OF_MACHINE, text) });
    }
}

/// Says of kinds that are kept and have no effect why that is so, kinds of one reason together.
fn kept_only(kinds: &BTreeSet<GroupKind>) -> Vec<String> {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for kind in kinds {
        if let Some(why) = not_enforced(kind) {
            by_reason.entry(why).or_default().push(&kind.kind);
        }
    }
    by_reason.into_iter().map(|(why, kinds)| format!("{}: not enforced locally: {why}", kinds.join(", "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_without_effect_are_named_once_for_each_reason() {
        let kinds = [
            ("", "Service"),
            ("apps", "Deployment"),
            ("networking.k8s.io", "NetworkPolicy"),
            ("networking.k8s.io", "Ingress"),
            ("policy", "PodDisruptionBudget"),
            ("rbac.authorization.k8s.io", "Role"),
            ("rbac.authorization.k8s.io", "RoleBinding"),
        ];
        let kinds = kinds.into_iter().map(|(group, kind)| GroupKind::new(group, kind)).collect();
        let texts = [
            "NetworkPolicy: not enforced locally: all programs of one machine reach each other",
            "Ingress: not enforced locally: nothing listens beyond this machine",
            "PodDisruptionBudget: not enforced locally: there is one machine, which is not drained",
            "Role, RoleBinding: not enforced locally: whoever reaches the socket may do everything",
        ];
        assert_eq!(kept_only(&kinds), texts);
    }
}
